#!/usr/bin/env bash
# Measures how long a scrape of /metrics takes under full load, and how much it slows deliveries.
#
# Usage: test/bench/scrape.sh [-h]
#
# Uses the programs in BUILD (build). Delivers SCRAPE_NOTIFICATIONS (3000) as fast as possible, SCRAPE_RUNS
# (3) times without and with ten scrapes a second, alternately, and prints the medians and the CPU time of a
# scrape: name, unit and number, separated by tabs. Targets: 5 ms per scrape, and no difference between the
# two delivery times beyond the noise. Other programs on the same cores invalidate the numbers. It only
# measures; missed targets do not change the exit status.

set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/../../scripts/lib.sh"
export LC_ALL=C

readonly BUILD=${BUILD:-build}
readonly RUNS=${SCRAPE_RUNS:-3} NOTIFICATIONS=${SCRAPE_NOTIFICATIONS:-3000}
readonly AGENTS=100 START_LIMIT_S=20 STOP_LIMIT_S=20 WAIT_LIMIT_MS=300000
# An id as the backend makes them.
readonly ACCOUNT=k57scrape0acc0xnt000000000000000
directory=
sandbox_pid=
runtime_pid=
scraper_pid=
port=
health_port=
runtime_taskset=()
others_taskset=()

fail() {
    warn "scrape.sh: $*"
    exit 1
}

stop_all() {
    local pid
    for pid in $scraper_pid $runtime_pid $sandbox_pid; do
        stop_process "$pid" "$STOP_LIMIT_S" || true
    done
    scraper_pid='' runtime_pid='' sandbox_pid=''
}

clean_up() {
    trap - EXIT
    stop_all
    if [[ -n $directory ]]; then rm -rf "$directory"; fi
}

# Gives the runtime a core of its own if there are at least two.
pin_cores() {
    local cores
    command -v taskset >/dev/null || return 0
    # taskset prints the permitted cores like "0-2,5".
    mapfile -t cores < <(taskset -cp $$ | sed 's/.*: //' | tr ',' '\n' | tr '-' ' ' |
        while read -r first last; do seq "$first" "${last:-$first}"; done)
    if ((${#cores[@]} >= 2)); then
        others_taskset=(taskset -c "${cores[0]}") runtime_taskset=(taskset -c "${cores[1]}")
    fi
}

set_secrets() {
    clear_environment
    export ACCOUNT_ID=$ACCOUNT OPENCLAW_VERSION=0 HEALTH_PORT=0
    SERVICE_TOKEN=mc_service_${ACCOUNT}_$(random_hex 16)
    OPENCLAW_GATEWAY_TOKEN=$(random_hex 16)
    export SERVICE_TOKEN OPENCLAW_GATEWAY_TOKEN
}

start_sandbox() {
    local url
    rm -f "$directory/sandbox.log"
    launch "$directory/sandbox.log" "${others_taskset[@]}" "$BUILD/mission-control-sandbox" --port 0 --latency-ms 0 &
    sandbox_pid=$!
    url=$(wait_for_line "$sandbox_pid" "$directory/sandbox.log" "listening on " "$START_LIMIT_S") ||
        fail "the sandbox failed to start"
    port=${url##*:}
    http_request POST "$port" /sandbox/settings '{"hide_agents":true}' >/dev/null
    http_request POST "$port" /sandbox/load \
        "{\"notifications\":$NOTIFICATIONS,\"agents\":$AGENTS}" >/dev/null
}

start_runtime() {
    export CONVEX_URL=http://127.0.0.1:$port OPENCLAW_GATEWAY_URL=http://127.0.0.1:$port
    export STATE_DIR=$directory/state
    rm -rf "$directory/state" "$directory/runtime.log"
    launch "$directory/runtime.log" "${runtime_taskset[@]}" "$BUILD/mission-control-runtime" &
    runtime_pid=$!
    health_port=$(wait_for_line "$runtime_pid" "$directory/runtime.log" \
        "Listening on 127.0.0.1 port " "$START_LIMIT_S") || fail "the runtime failed to start"
}

# start_scraper NUMBER SCRAPES: writes the duration of each scrape in microseconds, one per line, until it is
# killed. With SCRAPES 0 it idles, so both kinds of runs bear the cost of starting it.
start_scraper() {
    launch "$directory/scrapes.$2.$1" "${others_taskset[@]}" python3 -u -c '
import http.client, sys, time
while int(sys.argv[2]) == 0:
    time.sleep(0.1)
while True:
    began = time.perf_counter()
    connection = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]), timeout=10)
    connection.request("GET", "/metrics")
    answer = connection.getresponse()
    assert answer.status == 200 and len(answer.read()) > 1000
    connection.close()
    print(int((time.perf_counter() - began) * 1e6))
    time.sleep(0.1)
' "$health_port" "$2" &
    scraper_pid=$!
}

# Prints the CPU time of the HTTP server's thread in nanoseconds.
server_cpu_ns() {
    local task
    for task in /proc/"$runtime_pid"/task/*; do
        if [[ $(<"$task/comm") == mc-http ]]; then awk '{ print $1 }' "$task/schedstat"; fi
    done
}

# measure_run NUMBER SCRAPES: sets took_ms to the time that all deliveries took.
measure_run() {
    local began_ms answer
    start_sandbox
    began_ms=$(now_ms)
    start_runtime
    start_scraper "$1" "$2"
    answer=$(http_request GET "$port" "/sandbox/wait?delivered=$NOTIFICATIONS&timeout_ms=$WAIT_LIMIT_MS")
    took_ms=$(($(now_ms) - began_ms))
    [[ $(json_get met <<<"$answer") == true ]] || fail "the deliveries did not complete in time"
    server_cpu_ns >>"$directory/cpu.$2"
    stop_all
}

# percentile PERCENT: prints that percentile of the numbers on stdin, one per line.
percentile() {
    sort -n | awk -v percent="$1" '{ all[NR] = $1 }
        END { at = int(NR * percent / 100 + 0.999999); print all[at < 1 ? 1 : at] + 0 }'
}

# print_figure NAME UNIT NUMBER: prints a line of the result.
print_figure() {
    printf '%s\t%s\t%g\n' "$1" "$2" "$3"
}

main() {
    local i
    reject_arguments "$@"
    cd "$ROOT"
    command -v python3 >/dev/null || fail "python3 is not installed"
    trap clean_up EXIT
    trap 'exit 130' INT TERM HUP
    directory=$(mktemp -d)
    set_secrets
    pin_cores
    for ((i = 1; i <= RUNS; i++)); do
        measure_run "$i" 0
        echo "$took_ms" >>"$directory/without"
        measure_run "$i" 1
        echo "$took_ms" >>"$directory/with"
    done
    cat "$directory"/scrapes.1.* | grep -xE '[0-9]+' >"$directory/scrapes"
    print_figure "scrape, median" ms "$(($(percentile 50 <"$directory/scrapes")))e-3"
    print_figure "scrape, 99th percentile" ms "$(($(percentile 99 <"$directory/scrapes")))e-3"
    print_figure "scrape, CPU" ms "$(($(awk '{ sum += $1 } END { printf "%.0f", sum }' \
        "$directory/cpu.1") / 1000 / $(wc -l <"$directory/scrapes")))e-3"
    print_figure "$NOTIFICATIONS deliveries" ms "$(percentile 50 <"$directory/without")"
    print_figure "$NOTIFICATIONS deliveries while scraped" ms "$(percentile 50 <"$directory/with")"
}

main "$@"
