#!/usr/bin/env bash
# Runs ACCOUNTS (50) runtimes on one machine, by the unit for many accounts, against the sandbox,
# and prints what they take. Needs DEPLOY_ENGINE, the command of a container engine; DEPLOY_BASE may
# name another base image than debian:bookworm-slim.

# shellcheck source-path=SCRIPTDIR source=lib/checks.sh
. "$(dirname "$0")/lib/checks.sh"
# shellcheck source-path=SCRIPTDIR source=lib/machine.sh
. "$(dirname "$0")/lib/machine.sh"

readonly ACCOUNTS=${ACCOUNTS:-50} IDLE_S=30
readonly SANDBOX=http://127.0.0.1:3210

# on_machine FUNCTION ARGUMENT...: runs a function of this script on the machine.
on_machine() {
    inside "ACCOUNTS=$ACCOUNTS SANDBOX=$SANDBOX; $(declare -f account_id process_ids "$1"); $*"
}

# account_id NUMBER: in the sandbox's alphabet.
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

# Puts one user, agent and task of each account on the board, and its settings on the machine.
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

# A user and a state directory each, which no other of them can look into.
all_apart() {
    local pids users
    mapfile -t pids < <(process_ids)
    users=$(ps -o uid= -p "$(IFS=, && echo "${pids[*]}")" | sort -u | grep -vxc ' *0')
    ((users == ACCOUNTS))
    (($(stat -c %u /var/lib/private/mission-control/*/ | sort -u | wc -l) == ACCOUNTS))
    (($(stat -c %a /var/lib/private/mission-control/*/ | grep -cx 700) == ACCOUNTS))
}

# The longest name starts, and a longer one does not, rather than as a user that others are, too.
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

each_serves_its_own() {
    local i before
    before=$(curl -fsS "$SANDBOX/sandbox/stats" | grep -oE '"delivered": *[0-9]+' | grep -oE '[0-9]+')
    for ((i = 1; i <= ACCOUNTS; i++)); do
        curl -fsS -o /dev/null -d "{\"tasks\": [{\"title\": \"Task $i\", \"assign\": [\"agent$i\"],
            \"account\": \"$(account_id "$i")\"}]}" "$SANDBOX/sandbox/seed"
    done
    curl -fsS "$SANDBOX/sandbox/wait?delivered=$((before + ACCOUNTS))&timeout_ms=30000" |
        grep -q '"met": *true'
}

# One that is killed comes back; the others do not notice.
one_falls_alone() {
    local unit others try
    unit=mission-control-runtime@a1.service
    others=$(systemctl show -P InvocationID 'mission-control-runtime@*' | sort)
    systemctl kill --signal=KILL "$unit"
    for ((try = 0; try < 200; try++)); do
        sleep 0.1
        (($(systemctl show -P NRestarts "$unit") == 1)) && systemctl is-active --quiet "$unit" && break
    done
    (($(comm -12 <(echo "$others") \
        <(systemctl show -P InvocationID 'mission-control-runtime@*' | sort) |
        grep -c .) == ACCOUNTS - 1))
}

# Prints the sums over all of them: memory in KiB, and the time on a processor so far in ms.
measure() {
    local pid
    for pid in $(process_ids); do
        awk '/^(Rss|Pss|Anonymous):/ { print $1, $2 }' "/proc/$pid/smaps_rollup"
        cat "/proc/$pid/task/"*/schedstat | awk '{ sum += $1 } END { print "Cpu:", sum / 1000000 }'
    done | awk '{ sum[$1] += $2 } END {
        print int(sum["Rss:"]), int(sum["Pss:"]), int(sum["Anonymous:"]), int(sum["Cpu:"]) }'
}

print_figures() {
    local before rss pss anonymous cpu
    before=$(on_machine measure | cut -d ' ' -f 4)
    sleep "$IDLE_S"
    read -r rss pss anonymous cpu < <(on_machine measure)
    awk -v n="$ACCOUNTS" -v rss="$rss" -v pss="$pss" -v own="$anonymous" -v cpu="$((cpu - before))" \
        -v seconds="$IDLE_S" 'BEGIN {
        printf "%d runtimes, idle: %.0f MiB in all (%.1f MiB each; resident with what they share " \
            "%.1f MiB, anonymous %.1f MiB), %.2f %% of a core in all\n",
            n, pss / 1024, pss / 1024 / n, rss / 1024 / n, own / 1024 / n, cpu / seconds / 10 }'
}

stop_all() {
    systemctl stop 'mission-control-runtime@*'
    (($(systemctl show -P Result 'mission-control-runtime@*' | grep -vxc success || true) == 0))
}

main() {
    cd "$ROOT"
    if ! engine "$ACCOUNTS accounts on one machine"; then finish && return; fi
    check "a machine is built" build_machine
    start_machine
    check "it is up" booted
    if ((failed > 0)); then finish; fi
    check "it gets the settings of $ACCOUNTS accounts" on_machine set_up_accounts
    check "$ACCOUNTS runtimes start" on_machine start_all
    check "each is healthy" on_machine all_healthy
    check "each has a user and a directory of its own" on_machine all_apart
    check "a name that is too long is refused" on_machine long_name_is_refused
    check "each serves its own account" on_machine each_serves_its_own
    check "one that is killed comes back alone" on_machine one_falls_alone
    print_figures
    check "all stop in order" on_machine stop_all
    finish
}

main "$@"
