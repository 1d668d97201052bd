#!/usr/bin/env bash
# Measures countable aspects of the code's readability and prints them next to their limits.
#
# Usage: scripts/measure-code.sh [--code | --trace | -v] [-h]
#
# --code: files per 1,000 lines of code, comment share, lengths of functions and files, and number of
# types, in src/ and include/. --trace: builds a runtime that records its calls, lets it deliver one
# notification from the sandbox, and counts the functions that the worker runs from taking the entry
# to finishing it, their files, and how often consecutive calls are in different files; src/base and
# src/telemetry do not count. The agent is one that is not due to be woken, as in nearly all
# deliveries: one that waits for its wake-up is also reported as online, once in its interval. Default: both. -v also lists the calls. The concepts that a reader needs
# to follow one delivery are listed in docs/architecture.md and counted by hand.

set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

readonly TRACED=build/trace
readonly TIMEOUT_S=20
work=
sandbox_pid=
runtime_pid=

clean_up() {
    trap - EXIT
    if [[ -n $runtime_pid ]]; then stop_process "$runtime_pid" "$TIMEOUT_S" || true; fi
    if [[ -n $sandbox_pid ]]; then stop_process "$sandbox_pid" "$TIMEOUT_S" || true; fi
    if [[ -n $work ]]; then rm -rf "$work"; fi
}

measure_code() {
    local files=()
    mapfile -t files < <(find src include -name '*.[ch]' | sort)
    python3 tools/measure_code.py code "${files[@]}"
}

# -O0, so that no call is inlined; no PIE, so that addresses can be looked up in the binary.
build_traced() {
    local object=$TRACED/trace_calls.o
    mkdir -p "$TRACED"
    cc -std=gnu17 -D_GNU_SOURCE -O1 -fno-pie -c -o "$object" test/bench/trace_calls.c
    make -s --no-print-directory -j"$(cpu_count)" BUILD="$TRACED" HARDENING= \
        OPTIMIZE='-O0 -g -finstrument-functions' CFLAGS=-fno-pie LDFLAGS="-no-pie $object" \
        "$TRACED/mission-control-runtime" "$TRACED/mission-control-sandbox"
}

start_programs() {
    local url
    clear_environment
    export ACCOUNT_ID=k57dem0acc0xnt000000000000000000
    SERVICE_TOKEN=mc_service_${ACCOUNT_ID}_$(random_hex 16)
    OPENCLAW_GATEWAY_TOKEN=$(random_hex 16)
    export SERVICE_TOKEN OPENCLAW_GATEWAY_TOKEN
    launch "$work/sandbox.log" "$TRACED/mission-control-sandbox" --demo --port 0 &
    sandbox_pid=$!
    url=$(wait_for_line "$sandbox_pid" "$work/sandbox.log" "listening on " "$TIMEOUT_S") ||
        die "the sandbox did not start"
    port=${url##*:}
    export CONVEX_URL=http://127.0.0.1:$port OPENCLAW_GATEWAY_URL=http://127.0.0.1:$port
    export STATE_DIR=$work/state HEALTH_PORT=0 DELIVERY_INTERVAL=300
    MISSION_CONTROL_TRACE=$work/trace launch "$work/runtime.log" \
        "$TRACED/mission-control-runtime" &
    runtime_pid=$!
}

measure_trace() {
    local task
    build_traced
    work=$(mktemp -d)
    trap clean_up EXIT
    start_programs
    task=$(http_request GET "$port" "/sandbox/state?tables=tasks" | json_get tasks.0._id)
    http_request POST "$port" /sandbox/message \
        "{\"task\":\"$task\",\"content\":\"@friday please look\"}" >/dev/null
    wait_for_line "$runtime_pid" "$work/runtime.log" "Delivered " "$TIMEOUT_S" >/dev/null ||
        die "the notification was not delivered: $(tail -n 3 "$work/runtime.log")"
    stop_process "$runtime_pid" "$TIMEOUT_S" || die "the runtime did not shut down cleanly"
    runtime_pid=
    python3 tools/measure_code.py trace "$work/trace" "$TRACED/mission-control-runtime" "$@"
}

main() {
    cd "$ROOT"
    case ${1-} in
    "") measure_code && measure_trace ;;
    -v) measure_code && measure_trace -v ;;
    --code) measure_code ;;
    --trace) measure_trace ;;
    *) reject_arguments "$@" ;;
    esac
}

main "$@"
