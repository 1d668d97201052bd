#!/usr/bin/env bash
# Builds for coverage, runs the unit and integration tests, and prints how much of src/ they reach:
# file by file, then lines and branches in all. Fails below the limits.
#
# Usage: scripts/coverage.sh [-h]
#
# A line that no test can reach carries a comment "UNTESTED: reason" and is not counted. Nor are the
# branches of assertions, whose other way is a bug.

set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

# Percent of the lines, and of the branches, of src/ that the tests have to reach.
readonly LEAST_LINES=90 LEAST_BRANCHES=80
readonly BUILD=build/coverage

make_covered() {
    make -s --no-print-directory -j"$(cpu_count)" BUILD="$BUILD" OPTIMIZE='-O0 -g' HARDENING= \
        SANITIZE='--coverage -fprofile-update=atomic' "$@"
}

report() {
    gcovr --root . --filter src/ --sort-percentage \
        --exclude-lines-by-pattern '.*UNTESTED: .*' \
        --exclude-branches-by-pattern '^\s*assert\(.*' \
        --fail-under-line "$LEAST_LINES" --fail-under-branch "$LEAST_BRANCHES" "$@" "$BUILD"
}

main() {
    case ${1-} in
    "") ;;
    -h | --help) usage && return ;;
    *) die_usage "$1" ;;
    esac
    cd "$ROOT"
    command -v gcovr >/dev/null || die "gcovr is missing: run scripts/install-deps.sh test"
    make_covered tests
    find "$BUILD" -name '*.gcda' -delete
    make_covered check
    report --txt "$BUILD/coverage.txt" --print-summary
    cat "$BUILD/coverage.txt"
}

main "$@"
