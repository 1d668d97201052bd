#!/usr/bin/env bash
# Measures what a scrape of /metrics takes under full load, and what it costs the deliveries.
#
# Usage: test/bench/scrape.sh [-h]
#
# Takes the programs in BUILD (build). Delivers SCRAPE_NOTIFICATIONS (3000) as fast as it goes,
# SCRAPE_RUNS (3) times without and as often with ten scrapes a second, in turn, and prints medians,
# and the time on a core that a scrape costs the runtime: name, unit and number, separated by tabs.
# The limits that the project sets itself: 5 ms for a scrape, and no difference between both times
# that stands out from that between runs. Another program on the same cores makes the numbers
# worthless. This measures; it does not judge.

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
runtime_on=()
others_on=()

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

# With two cores or more the runtime has one of its own.
choose_cores() {
    local cores
    command -v taskset >/dev/null || return 0
    # Those that this script may use, in words like "0-2,5".
    mapfile -t cores < <(taskset -cp $$ | sed 's/.*: //' | tr ',' '\n' | tr '-' ' ' |
        while read -r first last; do seq "$first" "${last:-$first}"; done)
    if ((${#cores[@]} >= 2)); then
        others_on=(taskset -c "${cores[0]}") runtime_on=(taskset -c "${cores[1]}")
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
    launch "$directory/sandbox.log" "${others_on[@]}" "$BUILD/mission-control-sandbox" --port 0 --latency-ms 0 &
    sandbox_pid=$!
    url=$(wait_for_line "$sandbox_pid" "$directory/sandbox.log" "listening on " "$START_LIMIT_S") ||
        fail "the sandbox does not start"
    port=${url##*:}
    http_request POST "$port" /sandbox/settings '{"hide_agents":true}' >/dev/null
    http_request POST "$port" /sandbox/load \
        "{\"notifications\":$NOTIFICATIONS,\"agents\":$AGENTS}" >/dev/null
}

start_runtime() {
    export CONVEX_URL=http://127.0.0.1:$port OPENCLAW_GATEWAY_URL=http://127.0.0.1:$port
    export STATE_DIR=$directory/state
    rm -rf "$directory/state" "$directory/runtime.log"
    launch "$directory/runtime.log" "${runtime_on[@]}" "$BUILD/mission-control-runtime" &
    runtime_pid=$!
    health_port=$(wait_for_line "$runtime_pid" "$directory/runtime.log" \
        "Listening on 127.0.0.1 port " "$START_LIMIT_S") || fail "the runtime does not start"
}

# start_scraper NUMBER SCRAPES: writes the microseconds of each scrape, a line each, until it is
# ended. With SCRAPES 0 it only is there, so that its own start costs both kinds of runs the same.
start_scraper() {
    launch "$directory/scrapes.$2.$1" "${others_on[@]}" python3 -u -c '
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

# Nanoseconds that the thread which answers has had a core.
server_cpu_ns() {
    local task
    for task in /proc/"$runtime_pid"/task/*; do
        if [[ $(<"$task/comm") == mc-http ]]; then awk '{ print $1 }' "$task/schedstat"; fi
    done
}

# run NUMBER SCRAPES: sets value to the milliseconds that all deliveries took.
run() {
    local began_ms answer
    start_sandbox
    began_ms=$(now_ms)
    start_runtime
    start_scraper "$1" "$2"
    answer=$(http_request GET "$port" "/sandbox/wait?delivered=$NOTIFICATIONS&timeout_ms=$WAIT_LIMIT_MS")
    value=$(($(now_ms) - began_ms))
    [[ $(json_get met <<<"$answer") == true ]] || fail "the deliveries did not end in time"
    server_cpu_ns >>"$directory/cpu.$2"
    stop_all
}

# pick PERCENT: of the numbers on standard input, a line each.
pick() {
    sort -n | awk -v percent="$1" '{ all[NR] = $1 }
        END { at = int(NR * percent / 100 + 0.999999); print all[at < 1 ? 1 : at] + 0 }'
}

# figure NAME UNIT NUMBER: a line of the result.
figure() {
    printf '%s\t%s\t%g\n' "$1" "$2" "$3"
}

main() {
    local i
    reject_arguments "$@"
    cd "$ROOT"
    command -v python3 >/dev/null || fail "python3 is missing"
    trap clean_up EXIT
    trap 'exit 130' INT TERM HUP
    directory=$(mktemp -d)
    set_secrets
    choose_cores
    for ((i = 1; i <= RUNS; i++)); do
        run "$i" 0
        echo "$value" >>"$directory/without"
        run "$i" 1
        echo "$value" >>"$directory/with"
    done
    cat "$directory"/scrapes.1.* | grep -xE '[0-9]+' >"$directory/scrapes"
    figure "scrape, median" ms "$(($(pick 50 <"$directory/scrapes")))e-3"
    figure "scrape, 99th percentile" ms "$(($(pick 99 <"$directory/scrapes")))e-3"
    figure "scrape, CPU" ms "$(($(awk '{ sum += $1 } END { printf "%.0f", sum }' \
        "$directory/cpu.1") / 1000 / $(wc -l <"$directory/scrapes")))e-3"
    figure "$NOTIFICATIONS deliveries" ms "$(pick 50 <"$directory/without")"
    figure "$NOTIFICATIONS deliveries while scraped" ms "$(pick 50 <"$directory/with")"
}

main "$@"
