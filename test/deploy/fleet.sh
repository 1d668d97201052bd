#!/usr/bin/env bash
# Runs ACCOUNTS (200) runtimes on one machine with the template unit, against the sandbox, and prints
# their resource usage and whether the page of one slows the others. Needs DEPLOY_ENGINE, the command
# of a container engine; DEPLOY_BASE overrides the base image (debian:bookworm-slim).

# shellcheck source-path=SCRIPTDIR source=lib/checks.sh
. "$(dirname "$0")/lib/checks.sh"
# shellcheck source-path=SCRIPTDIR source=lib/machine.sh
. "$(dirname "$0")/lib/machine.sh"

readonly ACCOUNTS=${ACCOUNTS:-200} IDLE_S=30
readonly SANDBOX=http://127.0.0.1:3210

# machine_call FUNCTION ARGUMENT...: runs a function of this script on the machine.
machine_call() {
    machine_exec "ACCOUNTS=$ACCOUNTS SANDBOX=$SANDBOX; $(declare -f account_id process_ids health_times "$1"); $*"
}

# account_id NUMBER: prints an id in the sandbox's alphabet.
account_id() {
    printf 'k57f1eet%024d' "$1"
}

process_ids() {
    systemctl show -P MainPID 'mission-control-runtime@*' | grep -v '^0*$'
}

start_machine() {
    printf '#cloud-config\n{}\n' >"$work/user-data"
    boot_machine "$work/user-data"
}

# Adds each account with an agent to the board, and its settings to the machine.
set_up_accounts() {
    local i id separator='' accounts='' agents=''
    tar -xzf /srv/release/*.tar.gz -C /
    systemctl daemon-reload
    mkdir -p /etc/mission-control
    umask 077
    for ((i = 1; i <= ACCOUNTS; i++)); do
        id=$(account_id "$i")
        accounts+="$separator{\"id\": \"$id\", \"name\": \"Account $i\", \"secret\": \"s$i\"}"
        agents+="$separator{\"slug\": \"agent$i\", \"account\": \"$id\"}"
        separator=,
        echo "mc_service_${id}_s$i" >"/etc/mission-control/a$i.service_token"
        echo gateway_secret >"/etc/mission-control/a$i.openclaw_gateway_token"
        printf '%s\n' "ACCOUNT_ID=$id" "CONVEX_URL=$SANDBOX" "OPENCLAW_GATEWAY_URL=$SANDBOX" \
            "HEALTH_PORT=$((4000 + i))" >"/etc/mission-control/a$i.env"
    done
    curl -fsS -d "{\"accounts\": [$accounts], \"agents\": [$agents]}" "$SANDBOX/sandbox/seed"
}

start_all() {
    local i units=()
    for ((i = 1; i <= ACCOUNTS; i++)); do
        units+=("mission-control-runtime@a$i.service")
    done
    systemctl enable --now "${units[@]}"
    (($(process_ids | wc -l) == ACCOUNTS))
}

all_healthy() {
    local i
    for ((i = 1; i <= ACCOUNTS; i++)); do
        curl -fs --retry 20 --retry-delay 1 --retry-connrefused \
            "http://127.0.0.1:$((4000 + i))/health" | grep -q '"status": "healthy"'
    done
}

# Each has its own user and a state directory that no other can read.
all_isolated() {
    local pids users
    mapfile -t pids < <(process_ids)
    users=$(ps -o uid= -p "$(IFS=, && echo "${pids[*]}")" | sort -u | grep -vxc ' *0')
    ((users == ACCOUNTS))
    (($(stat -c %u /var/lib/private/mission-control/*/ | sort -u | wc -l) == ACCOUNTS))
    (($(stat -c %a /var/lib/private/mission-control/*/ | grep -cx 700) == ACCOUNTS))
}

# The longest name starts; a longer one must fail rather than share another's user.
long_name_is_refused() {
    local longest=a234567890123456789012345678 name
    for name in "$longest" "${longest}9"; do
        printf '%s\n' "ACCOUNT_ID=$(account_id 0)" "CONVEX_URL=$SANDBOX" HEALTH_PORT=0 \
            >"/etc/mission-control/$name.env"
        echo "mc_service_$(account_id 0)_s0" >"/etc/mission-control/$name.service_token"
    done
    systemctl start "mission-control-runtime@$longest"
    systemctl stop "mission-control-runtime@$longest"
    if systemctl start "mission-control-runtime@${longest}9"; then return 1; fi
    systemctl reset-failed
}

each_serves_its_account() {
    local i before
    before=$(curl -fsS "$SANDBOX/sandbox/stats" | grep -oE '"delivered": *[0-9]+' | grep -oE '[0-9]+')
    for ((i = 1; i <= ACCOUNTS; i++)); do
        curl -fsS -o /dev/null -d "{\"tasks\": [{\"title\": \"Task $i\", \"assign\": [\"agent$i\"],
            \"account\": \"$(account_id "$i")\"}]}" "$SANDBOX/sandbox/seed"
    done
    curl -fsS "$SANDBOX/sandbox/wait?delivered=$((before + ACCOUNTS))&timeout_ms=30000" |
        grep -q '"met": *true'
}

# A killed runtime is restarted; the others are not affected.
killed_one_restarts_alone() {
    local unit others deadline_s
    unit=mission-control-runtime@a1.service
    others=$(systemctl show -P InvocationID 'mission-control-runtime@*' | sort)
    systemctl kill --signal=KILL "$unit"
    deadline_s=$((SECONDS + 20))
    until (($(systemctl show -P NRestarts "$unit") == 1)) && systemctl is-active --quiet "$unit"; do
        ((SECONDS < deadline_s))
        sleep 0.1
    done
    (($(comm -12 <(echo "$others") \
        <(systemctl show -P InvocationID 'mission-control-runtime@*' | sort) |
        grep -c .) == ACCOUNTS - 1))
}

# Prints sums over all of them: memory in KiB, and so far CPU time in ms and times that a thread woke.
measure() {
    local pid
    for pid in $(process_ids); do
        awk '/^(Rss|Pss|Anonymous):/ { print $1, $2 }' "/proc/$pid/smaps_rollup"
        cat "/proc/$pid/task/"*/schedstat | awk '{ sum += $1 } END { print "Cpu:", sum / 1000000 }'
        awk '/^voluntary_ctxt_switches:/ { print "Woken:", $2 }' "/proc/$pid/task/"*/status
    done | awk '{ sum[$1] += $2 } END { print int(sum["Rss:"]), int(sum["Pss:"]),
        int(sum["Anonymous:"]), int(sum["Cpu:"]), int(sum["Woken:"]) }'
}

print_figures() {
    local cpu_before woken_before rss pss anonymous cpu woken
    read -r _ _ _ cpu_before woken_before < <(machine_call measure)
    sleep "$IDLE_S" # the time over which CPU usage is measured
    read -r rss pss anonymous cpu woken < <(machine_call measure)
    awk -v n="$ACCOUNTS" -v rss="$rss" -v pss="$pss" -v own="$anonymous" \
        -v cpu="$((cpu - cpu_before))" -v woken="$((woken - woken_before))" -v seconds="$IDLE_S" \
        'BEGIN {
        printf "%d idle runtimes: %.0f MiB PSS (%.1f MiB each; RSS %.1f MiB, " \
            "anonymous %.1f MiB), %.2f %% of a core in total, %.1f wake-ups a second each\n",
            n, pss / 1024, pss / 1024 / n, rss / 1024 / n, own / 1024 / n, cpu / seconds / 10,
            woken / seconds / n }'
}

# Prints the median and the 99th percentile of the times in ms that all but the first take to answer
# /health.
health_times() {
    local i
    for ((i = 2; i <= ACCOUNTS; i++)); do
        curl -fsS -o /dev/null -w '%{time_total}\n' "http://127.0.0.1:$((4000 + i))/health"
    done | sort -n | awk '{ times[NR] = $1 } END {
        printf "%.2f %.2f\n", 1000 * times[int((NR + 1) / 2)], 1000 * times[int(NR * 0.99 + 0.5)] }'
}

# The same while four readers ask for the page of the first one without pause.
health_times_beside_readers() {
    local readers=() i
    for ((i = 0; i < 4; i++)); do
        while curl -fsS http://127.0.0.1:4001/ http://127.0.0.1:4001/status; do
            :
        done >/dev/null 2>&1 &
        readers+=($!)
    done
    health_times
    kill "${readers[@]}"
}

print_page_figures() {
    local p50 p99 beside_p50 beside_p99
    read -r p50 p99 < <(machine_call health_times)
    read -r beside_p50 beside_p99 < <(machine_call health_times_beside_readers)
    echo "/health of the others: p50 $p50 ms, p99 $p99 ms; beside readers of the first one's page" \
        "p50 $beside_p50 ms, p99 $beside_p99 ms"
}

stop_all() {
    systemctl stop 'mission-control-runtime@*'
    (($(systemctl show -P Result 'mission-control-runtime@*' | grep -vxc success || true) == 0))
}

main() {
    cd "$ROOT"
    if ! has_engine "$ACCOUNTS accounts on one machine"; then finish && return; fi
    check "the machine is built" build_machine
    start_machine
    check "it boots" wait_for_boot
    if ((failed > 0)); then finish; fi
    check "$ACCOUNTS accounts are set up" machine_call set_up_accounts
    check "$ACCOUNTS runtimes start" machine_call start_all
    check "each is healthy" machine_call all_healthy
    check "each has its own user and directory" machine_call all_isolated
    check "a too long name is refused" machine_call long_name_is_refused
    check "each serves its own account" machine_call each_serves_its_account
    check "a killed runtime restarts, the others keep running" machine_call killed_one_restarts_alone
    print_figures
    print_page_figures
    check "all stop cleanly" machine_call stop_all
    finish
}

main "$@"
