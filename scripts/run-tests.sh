#!/usr/bin/env bash
# Runs cmocka test programs one after another: scripts/run-tests.sh PROGRAM...
# Each has a time limit of TEST_TIMEOUT seconds (120) and an empty TMPDIR of its own. The last line
# counts the tests of all programs; the status is 1 when a test failed or a program did not end well.
set -euo pipefail

limit_s=${TEST_TIMEOUT:-120}
work=$(mktemp -d "${TMPDIR:-/tmp}/mission-control-tests.XXXXXX")
trap 'rm -rf "$work"' EXIT

passed=0
failed=0

# Adds up the numbers in cmocka's lines "[  WORD  ] N test(s)".
count() {
    sed -n "s/^\[  $1  \] \([0-9][0-9]*\) test(s).*/\1/p" "$2" | awk '{ sum += $1 } END { print sum + 0 }'
}

explain() {
    case $1 in
    124 | 137) echo "did not end within $limit_s s" ;;
    *) if [ "$1" -gt 128 ]; then echo "ended by signal $(($1 - 128))"; else echo "exit status $1"; fi ;;
    esac
}

run() {
    local program=$1 name status=0 good bad
    name=$(basename "$(dirname "$program")")/$(basename "$program")
    mkdir -p "$work/$name"
    local log=$work/$name.log
    TMPDIR=$work/$name timeout -k 5 "$limit_s" "$program" >"$log" 2>&1 </dev/null || status=$?
    good=$(count PASSED "$log")
    bad=$(count FAILED "$log")
    # A crash ends the program before cmocka can count it.
    if [ "$status" -ne 0 ] && [ "$bad" -eq 0 ]; then
        bad=1
    fi
    passed=$((passed + good))
    failed=$((failed + bad))
    echo "$name"
    if [ "$bad" -eq 0 ]; then
        grep -E '^\[  (PASSED|SKIPPED)' "$log" || true
    else
        cat "$log"
        echo "$name: $(explain "$status")"
    fi
}

if [ $# -eq 0 ]; then
    echo "usage: $0 PROGRAM..." >&2
    exit 64
fi
for program in "$@"; do
    run "$program"
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
