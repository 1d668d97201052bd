#!/usr/bin/env bash
# Measures the runtime against the sandbox, both on this machine, and prints a table.
#
# Usage: scripts/bench.sh [--markdown FILE] [-h]
#
# Builds both programs, keeps them to the same two cores, runs each scenario BENCH_RUNS (3) times,
# and shows the median beside each run, the project's target, and the "ideal": what the agents alone
# would take, were nothing else to cost time. All goes to bench/results.json as well. This measures;
# it does not judge: its status is 0 when all was measured. It takes about half an hour.
#
#   BENCH_ONLY=start,chain   only these scenarios, of start, idle, deliveries, added, processor,
#                            floor, memory, chain, tls, growth, counts, scrape and soak
#   BENCH_SKIP_SOAK=1        all but the soak
#   BENCH_SOAK_S (600)       seconds of the soak
#   BENCH_IDLE_S (60)        seconds of idling that are measured
#   BENCH_CORES              the two cores, e.g. 2,3; else the first two of those allowed
#   --markdown FILE          measures nothing: prints the results in FILE as docs/performance.md
#                            holds them

set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

readonly BUILD=${BUILD:-build}

# The cores that this process may use, a line each.
cores() {
    local part last
    taskset -cp $$ | sed 's/.*: //' | tr ',' '\n' | while IFS=- read -r part last; do
        seq "$part" "${last:-$part}"
    done
}

first_two_cores() {
    cores | head -n 2 | paste -sd ,
}

# make_value VARIABLE: one of the Makefile's variables.
make_value() {
    make -s --no-print-directory BUILD="$BUILD" --eval="print-value: ; @echo '\$($1)'" print-value |
        tr -s ' '
}

measure() {
    scripts/install-deps.sh bench
    make -s --no-print-directory -j"$(cpu_count)" BUILD="$BUILD" all "$BUILD/test/bench/floor"
    BENCH_FLAGS=$(make_value OPTIMIZE)\ $(make_value HARDENING)
    BENCH_COMPILER=$("$(make_value CC)" --version | head -n 1)
    export BUILD BENCH_FLAGS BENCH_COMPILER
    exec taskset -c "${BENCH_CORES:-$(first_two_cores)}" \
        env PYTHONDONTWRITEBYTECODE=1 python3 test/bench/run.py
}

main() {
    cd "$ROOT"
    case ${1-} in
    "") measure ;;
    --markdown) PYTHONDONTWRITEBYTECODE=1 exec python3 test/bench/run.py --markdown "${2-$ROOT/bench/results.json}" ;;
    -h | --help) usage ;;
    *) die_usage "$1" ;;
    esac
}

main "$@"
