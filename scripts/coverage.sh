#!/usr/bin/env bash
# Builds with coverage instrumentation, runs the unit and integration tests, and prints the line and
# branch coverage of src/ per file and in total. Fails if the total is below the thresholds.
#
# Usage: scripts/coverage.sh [-h]
#
# Lines with a comment "UNTESTED: reason" are excluded, as no test can reach them; so are the branches
# of assertions, since only a bug takes the other one.

set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

# Minimum coverage of src/ in percent.
readonly MIN_LINES=90 MIN_BRANCHES=80
readonly BUILD=build/coverage

make_instrumented() {
    make -s --no-print-directory -j"$(cpu_count)" BUILD="$BUILD" OPTIMIZE='-O0 -g' HARDENING= \
        SANITIZE='--coverage -fprofile-update=atomic' "$@"
}

run_gcovr() {
    gcovr --root . --filter src/ --sort-percentage \
        --exclude-lines-by-pattern '.*UNTESTED: .*' \
        --exclude-branches-by-pattern '^\s*assert\(.*' \
        --fail-under-line "$MIN_LINES" --fail-under-branch "$MIN_BRANCHES" "$@" "$BUILD"
}

main() {
    reject_arguments "$@"
    cd "$ROOT"
    command -v gcovr >/dev/null || die "gcovr is not installed; run scripts/install-deps.sh test"
    make_instrumented tests
    find "$BUILD" -name '*.gcda' -delete
    make_instrumented check
    run_gcovr --txt "$BUILD/coverage.txt" --print-summary
    cat "$BUILD/coverage.txt"
}

main "$@"
