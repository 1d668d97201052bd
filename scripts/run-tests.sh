#!/usr/bin/env bash
# Runs cmocka test programs, TEST_JOBS (3) at a time since most of them wait: run-tests.sh PROGRAM...
# Each has a time limit of TEST_TIMEOUT seconds (180) and an empty TMPDIR of its own. With TEST set
# to a pattern, e.g. '*lanes*', only the test cases run whose names match it. The last line counts
# the test cases of all programs; the status is 1 when one failed, when a program crashed or timed
# out, and when no case matches TEST.
set -euo pipefail

limit_s=${TEST_TIMEOUT:-180}
jobs_at_once=${TEST_JOBS:-3}
work=$(mktemp -d "${TMPDIR:-/tmp}/mission-control-tests.XXXXXX")
trap 'rm -rf "$work"' EXIT

passed=0
failed=0
skipped=0

# Adds up the numbers in cmocka's lines "[  WORD  ] N test(s)"; "SKIPPED" has one space after it.
count() {
    sed -n "s/^\[  $1  *\] \([0-9][0-9]*\) test(s).*/\1/p" "$2" | awk '{ sum += $1 } END { print sum + 0 }'
}

explain() {
    case $1 in
    124 | 137) echo "timed out after $limit_s s" ;;
    *) if [ "$1" -gt 128 ]; then echo "killed by signal $(($1 - 128))"; else echo "exit status $1"; fi ;;
    esac
}

name_of() {
    echo "$(basename "$(dirname "$1")")/$(basename "$1")"
}

# Runs one program; its output and its exit status go to files.
run() {
    local name status=0
    name=$(name_of "$1")
    mkdir -p "$work/$name"
    TMPDIR=$work/$name timeout -k 5 "$limit_s" "$1" >"$work/$name.log" 2>&1 </dev/null || status=$?
    echo "$status" >"$work/$name.status"
}

# Prints and counts the results of one program. A test that skips itself prints "skipped: REASON".
report() {
    local name status good bad left_out log
    name=$(name_of "$1")
    log=$work/$name.log
    status=$(cat "$work/$name.status")
    good=$(count PASSED "$log")
    bad=$(count FAILED "$log")
    left_out=$(count SKIPPED "$log")
    # A crash ends the program before cmocka can count it.
    if [ "$status" -ne 0 ] && [ "$bad" -eq 0 ]; then
        bad=1
    fi
    if [ -n "${TEST-}" ] && [ $((good + bad + left_out)) -eq 0 ]; then
        return
    fi
    passed=$((passed + good))
    failed=$((failed + bad))
    skipped=$((skipped + left_out))
    echo "$name"
    if [ "$bad" -eq 0 ]; then
        grep -E '^\[  (PASSED|SKIPPED)|^skipped: ' "$log" || true
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
    while [ "$(jobs -rp | wc -l)" -ge "$jobs_at_once" ]; do
        wait -n || true
    done
    run "$program" &
done
wait
for program in "$@"; do
    report "$program"
done
if [ -n "${TEST-}" ] && [ $((passed + failed + skipped)) -eq 0 ]; then
    echo "run-tests.sh: no test case matches TEST='$TEST'" >&2
    exit 1
fi
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
