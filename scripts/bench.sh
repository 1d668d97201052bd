#!/usr/bin/env bash
# Measures the runtime against the sandbox, both on this machine, and prints a table.
#
# Usage: scripts/bench.sh [-h]
#
# BENCH_RUNS (3) runs of each measurement, of which the table shows the median; BENCH_IDLE_S (20)
# seconds of idling. With two cores or more the runtime has one of its own. All numbers, with each
# single run, go to bench/results.json. This measures; it does not judge: its status is 0 when all
# was measured.
#
# "ideal" is what the agents alone would take, were nothing else to cost time; for start, memory and
# idling it is the limit that the project sets itself.

set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"
# Numbers are written with a point.
export LC_ALL=C

readonly BUILD=${BUILD:-build}
readonly RUNS=${BENCH_RUNS:-3} IDLE_S=${BENCH_IDLE_S:-20}
readonly RESULTS=bench/results.json
readonly START_LIMIT_S=20 STOP_LIMIT_S=20 WAIT_LIMIT_MS=300000 SETTLE_S=3
# An id as the backend makes them.
readonly ACCOUNT=k57bench0acc0xnt0000000000000000
folder=
sandbox_pid=
runtime_pid=
port=
sandbox_on=()
runtime_on=()
rows=()

fail() {
    warn "bench.sh: $*"
    if [[ -s $folder/runtime.log ]]; then tail -n 20 "$folder/runtime.log" >&2; fi
    exit 1
}

stop_both() {
    local status=0
    if [[ -n $runtime_pid ]]; then stop_process "$runtime_pid" "$STOP_LIMIT_S" || status=$?; fi
    runtime_pid=
    if [[ -n $sandbox_pid ]]; then stop_process "$sandbox_pid" "$STOP_LIMIT_S" || true; fi
    sandbox_pid=
    return "$status"
}

clean_up() {
    trap - EXIT INT TERM HUP
    stop_both || true
    if [[ -n $folder ]]; then rm -rf "$folder"; fi
}

# The cores that this process may use, a line each.
cores() {
    local part
    taskset -cp $$ | sed 's/.*: //' | tr ',' '\n' | while IFS=- read -r part last; do
        seq "$part" "${last:-$part}"
    done
}

choose_cores() {
    local all
    command -v taskset >/dev/null || return 0
    mapfile -t all < <(cores)
    if ((${#all[@]} < 2)); then return; fi
    sandbox_on=(taskset -c "${all[0]}")
    runtime_on=(taskset -c "${all[1]}")
}

free_port() {
    local candidate
    while true; do
        candidate=$((20000 + RANDOM % 10000))
        is_open "$candidate" || break
    done
    echo "$candidate"
}

prepare() {
    set_secrets
    folder=$(mktemp -d)
    choose_cores
    mkdir -p "$(dirname "$RESULTS")"
}

set_secrets() {
    forget_environment
    export ACCOUNT_ID=$ACCOUNT OPENCLAW_VERSION=0
    SERVICE_TOKEN=mc_service_${ACCOUNT}_$(random_hex 16)
    OPENCLAW_GATEWAY_TOKEN=$(random_hex 16)
    export SERVICE_TOKEN OPENCLAW_GATEWAY_TOKEN
}

# start_sandbox LATENCY_MS: with an empty board and agents that take that long.
start_sandbox() {
    local url
    rm -f "$folder/sandbox.log"
    launch "$folder/sandbox.log" "${sandbox_on[@]}" "$BUILD/mission-control-sandbox" \
        --port 0 --latency-ms "$1" &
    sandbox_pid=$!
    url=$(wait_for_words "$sandbox_pid" "$folder/sandbox.log" "listening on " "$START_LIMIT_S") ||
        fail "the sandbox does not start"
    port=${url##*:}
}

# start_runtime WORKERS HEALTH_PORT: every other setting at its default.
start_runtime() {
    export CONVEX_URL=http://127.0.0.1:$port OPENCLAW_GATEWAY_URL=http://127.0.0.1:$port
    export STATE_DIR=$folder/state HEALTH_PORT=$2 DELIVERY_MAX_CONCURRENT_SESSIONS=$1
    rm -rf "$folder/state" "$folder/runtime.log"
    launch "$folder/runtime.log" "${runtime_on[@]}" "$BUILD/mission-control-runtime" &
    runtime_pid=$!
}

# ask METHOD PATH [BODY]: a request to the sandbox that has to work.
ask() {
    http "$1" "$port" "$2" "${3-}" || fail "the sandbox does not answer $1 $2"
}

# Microseconds of the sandbox's monotonic clock, out of an answer that carries it.
clock_of() {
    json_get now_us
}

# The notifications stand on the board when the runtime starts, so that no wait for the next poll is
# measured; its start is.
measure_delivery() {
    local count=$1 agents=$2 latency_ms=$3 workers=$4 began_us answer
    start_sandbox "$latency_ms"
    # So that nobody is woken meanwhile.
    ask POST /sandbox/settings '{"hide_agents":true}' >/dev/null
    ask POST /sandbox/load "{\"notifications\":$count,\"agents\":$agents}" >/dev/null
    began_us=$(ask GET /sandbox/stats | clock_of)
    start_runtime "$workers" 0
    answer=$(ask GET "/sandbox/wait?delivered=$count&timeout_ms=$WAIT_LIMIT_MS")
    [[ $(json_get met <<<"$answer") == true ]] || fail "$count deliveries did not end in time"
    value=$((($(clock_of <<<"$answer") - began_us) / 1000))
    stop_both || fail "the runtime did not stop as it should"
}

# answers_200 PORT: as http GET PORT /health, without a process of its own, which would take the time
# of the one that is measured.
answers_200() {
    local connection status=
    { exec {connection}<>"/dev/tcp/127.0.0.1/$1"; } 2>/dev/null || return 1
    printf 'GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n' >&"$connection"
    read -r _ status _ <&"$connection" || true
    exec {connection}>&-
    [[ $status == 200 ]]
}

measure_start() {
    local health_port began_us
    health_port=$(free_port)
    start_sandbox 0
    began_us=${EPOCHREALTIME/[.,]/}
    start_runtime 10 "$health_port"
    until answers_200 "$health_port"; do
        kill -0 "$runtime_pid" 2>/dev/null || fail "the runtime does not start"
    done
    value=$(((${EPOCHREALTIME/[.,]/} - began_us) / 1000))
    stop_both || fail "the runtime did not stop as it should"
}

# memory_kib FIELD: of the runtime, from the kernel's account of its pages.
memory_kib() {
    awk -v field="$1:" '$1 == field { print $2 }' "/proc/$runtime_pid/smaps_rollup"
}

# Nanoseconds that the runtime's threads have had a core.
cpu_ns() {
    cat /proc/"$runtime_pid"/task/*/schedstat | awk '{ sum += $1 } END { printf "%.0f\n", sum }'
}

# Sets resident, anonymous (KiB) and idle (thousandths of a percent of a core).
measure_idle() {
    local before after
    start_sandbox 0
    start_runtime 10 0
    ask GET "/sandbox/wait?action=listUndeliveredNotifications&calls=1&timeout_ms=20000" >/dev/null
    sleep "$SETTLE_S"
    before=$(cpu_ns)
    sleep "$IDLE_S"
    after=$(cpu_ns)
    resident=$(memory_kib Rss)
    anonymous=$(memory_kib Anonymous)
    idle=$(((after - before) / (IDLE_S * 10000)))
    stop_both || fail "the runtime did not stop as it should"
}

# The same without the workers, which do the sends.
control_cpu_ns() {
    local task
    for task in /proc/"$runtime_pid"/task/*; do
        [[ $(<"$task/comm") == mc-send-* ]] || cat "$task/schedstat"
    done | awk '{ sum += $1 } END { printf "%.0f\n", sum }'
}

# Sets woken (agents in the time) and control (thousandths of a percent of a core).
measure_heartbeats() {
    local count=$1 interval_min=$2 before after
    start_sandbox 0
    ask POST /sandbox/load \
        "{\"notifications\":$count,\"agents\":$count,\"heartbeatInterval\":$interval_min}" >/dev/null
    start_runtime 10 0
    answer=$(ask GET "/sandbox/wait?delivered=$count&timeout_ms=$WAIT_LIMIT_MS")
    [[ $(json_get met <<<"$answer") == true ]] || fail "$count deliveries did not end in time"
    sleep "$SETTLE_S"
    woken=$(ask GET /sandbox/stats | json_get gateway.requests)
    before=$(control_cpu_ns)
    sleep "$IDLE_S"
    after=$(control_cpu_ns)
    woken=$(($(ask GET /sandbox/stats | json_get gateway.requests) - woken))
    control=$(((after - before) / (IDLE_S * 10000)))
    stop_both || fail "the runtime did not stop as it should"
}

median() {
    printf '%s\n' "$@" | sort -n | awk '{ all[NR] = $1 } END { print all[int((NR + 1) / 2)] }'
}

# add_row NAME UNIT IDEAL DIVISOR RUN...: divides what was measured in whole numbers.
add_row() {
    local name=$1 unit=$2 ideal=$3 divisor=$4
    shift 4
    rows+=("$(awk -v name="$name" -v unit="$unit" -v ideal="$ideal" -v divisor="$divisor" \
        -v median="$(median "$@")" -v runs="$*" 'BEGIN {
            count = split(runs, run, " ")
            for (i = 1; i <= count; i++)
                list = list (i > 1 ? ", " : "") run[i] / divisor
            value = median / divisor
            ratio = ideal == "-" ? "-" : sprintf("%.2f", value / ideal)
            printf "%s\t%s\t%s\t%s\t%s\t%s\n", name, unit, value, ideal, ratio, list
        }')")
}

# bench_delivery NAME IDEAL_MS ARGUMENT...: as measure_delivery.
bench_delivery() {
    local name=$1 ideal_ms=$2 values=() value i
    shift 2
    for ((i = 0; i < RUNS; i++)); do
        measure_delivery "$@"
        values+=("$value")
    done
    warn "$name: ${values[*]} ms"
    add_row "$name" ms "$ideal_ms" 1 "${values[@]}"
}

bench_start() {
    local values=() value i
    for ((i = 0; i < RUNS; i++)); do
        measure_start
        values+=("$value")
    done
    warn "start: ${values[*]} ms"
    add_row "start to a 200 on /health" ms 100 1 "${values[@]}"
}

bench_idle() {
    local residents=() anonymouses=() idles=() resident anonymous idle i
    for ((i = 0; i < RUNS; i++)); do
        measure_idle
        residents+=("$resident")
        anonymouses+=("$anonymous")
        idles+=("$idle")
    done
    warn "idle: ${residents[*]} KiB resident"
    add_row "resident, 10 workers idle" MiB 13 1024 "${residents[@]}"
    add_row "of it anonymous" MiB 4 1024 "${anonymouses[@]}"
    add_row "processor while idle" "% core" 0.1 1000 "${idles[@]}"
}

bench_heartbeats() {
    local wokens=() controls=() woken control i
    for ((i = 0; i < RUNS; i++)); do
        measure_heartbeats 1000 1
        wokens+=("$((woken / IDLE_S))")
        controls+=("$control")
    done
    warn "1,000 agents: ${wokens[*]} woken a second"
    add_row "1,000 agents of 1 minute, woken in a second" "" 15 1 "${wokens[@]}"
    add_row "their control threads" "% core" 1 1000 "${controls[@]}"
}

print_table() {
    local name unit value ideal ratio runs row
    printf '\n%-46s %-7s %9s %9s %7s   %s\n' measurement unit median ideal ratio runs
    for row in "${rows[@]}"; do
        IFS=$'\t' read -r name unit value ideal ratio runs <<<"$row"
        printf '%-46s %-7s %9.4g %9s %7s   %s\n' "$name" "$unit" "$value" "$ideal" "$ratio" "$runs"
    done
}

processor() {
    sed -n 's/^model name[[:space:]]*: //p' /proc/cpuinfo | head -n 1
}

write_results() {
    local name unit value ideal ratio runs row separator=
    {
        printf '{"version": %s, "at": "%s", "processor": %s, "cores": %d, "results": [' \
            "$(json_string "$(cat VERSION)")" "$(date -u +%Y-%m-%dT%H:%M:%SZ)" \
            "$(json_string "$(processor)")" "$(cpu_count)"
        for row in "${rows[@]}"; do
            IFS=$'\t' read -r name unit value ideal ratio runs <<<"$row"
            printf '%s\n  {"name": "%s", "unit": "%s", "median": %s, "ideal": %s, "runs": [%s]}' \
                "$separator" "$name" "$unit" "$value" "${ideal/#-/null}" "$runs"
            separator=,
        done
        printf '\n]}\n'
    } >"$RESULTS"
}

run() {
    cd "$ROOT"
    scripts/install-deps.sh run
    make -s --no-print-directory -j"$(cpu_count)" BUILD="$BUILD" all
    trap clean_up EXIT
    trap 'exit 130' INT TERM HUP
    prepare
    # 1,000 runs of 50 ms by 20 agents are 50 in a row for each; 10 workers do as much in 100.
    bench_delivery "1,000 to 20 agents of 50 ms, 20 workers" 2500 1000 20 50 20
    bench_delivery "1,000 to 20 agents of 50 ms, 10 workers" 5000 1000 20 50 10
    bench_delivery "5,000 to 50 agents of 0 ms, 10 workers" - 5000 50 0 10
    bench_start
    bench_idle
    bench_heartbeats
    print_table
    write_results
    say
    say "Written to $RESULTS."
}

main() {
    case ${1-} in
    "") ;;
    -h | --help) usage && return ;;
    *) die_usage "$1" ;;
    esac
    run
}

main "$@"
