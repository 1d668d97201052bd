#!/usr/bin/env bash
# Measures the runtime against the sandbox, both on this machine, and prints a table.
#
# Usage: scripts/bench.sh [--markdown FILE] [-h]
#
# Deliveries, processor time, memory and counts are measured on both versions of the backend.
#
# Builds both programs, pins everything to the same two cores, runs each scenario BENCH_RUNS (3)
# times, and prints the median, the single runs, the project's target, and the "ideal": the time the
# agents alone would take if nothing else cost any. The results also go to bench/results.json. Targets
# that are not met do not fail the script: the exit status is 0 if everything could be measured. Takes
# about three quarters of an hour.
#
#   BENCH_ONLY=start,chain   run only these scenarios; all: start, idle, deliveries, added, processor,
#                            floor, memory, chain, calls, conversation, skips, tools, wakes, tls,
#                            growth, counts, scrape, fleet, soak
#   BENCH_SKIP_SOAK=1        skip the soak
#   BENCH_SOAK_S (600)       duration of the soak in seconds
#   BENCH_IDLE_S (60)        duration of the idle measurement in seconds
#   BENCH_FLEET (200)        accounts in the scenario "fleet"
#   BENCH_CORES              the two cores, e.g. 2,3; default: the first two allowed
#   --markdown FILE          measure nothing; print the results in FILE as the table of
#                            docs/performance.md

set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

readonly BUILD=${BUILD:-build}

# The cores in this process's affinity mask, one per line.
allowed_cores() {
    local part last
    taskset -cp $$ | sed 's/.*: //' | tr ',' '\n' | while IFS=- read -r part last; do
        seq "$part" "${last:-$part}"
    done
}

first_two_cores() {
    allowed_cores | head -n 2 | paste -sd ,
}

run_benchmark() {
    scripts/install-deps.sh bench
    make -s --no-print-directory -j"$(cpu_count)" BUILD="$BUILD" all "$BUILD/test/bench/floor"
    BENCH_FLAGS=$({ make_variable OPTIMIZE && make_variable HARDENING; } | paste -sd ' ')
    BENCH_COMPILER=$("$(make_variable CC)" --version | head -n 1)
    export BUILD BENCH_FLAGS BENCH_COMPILER
    exec taskset -c "${BENCH_CORES:-$(first_two_cores)}" \
        env PYTHONDONTWRITEBYTECODE=1 python3 test/bench/run.py
}

main() {
    cd "$ROOT"
    case ${1-} in
    --markdown) PYTHONDONTWRITEBYTECODE=1 exec python3 test/bench/run.py --markdown "${2-$ROOT/bench/results.json}" ;;
    *) reject_arguments "$@" ;;
    esac
    run_benchmark
}

main "$@"
