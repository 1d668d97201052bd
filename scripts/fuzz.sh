#!/usr/bin/env bash
# Runs libFuzzer programs: FUZZ_SECONDS=30 scripts/fuzz.sh PROGRAM..., each from the corpus in
# test/fuzz/corpus/TARGET, copied so that finds do not change it. With FUZZ_SECONDS=0 the corpus is
# only replayed. One target runs on each core. Prints a line per target; the status is 1 when one of
# them crashed.
set -euo pipefail

seconds=${FUZZ_SECONDS:-30}
root=$(cd "$(dirname "$0")/.." && pwd)
work=$root/build/fuzz
export seconds root work

statistic() {
    sed -n "s/^stat::$1: *//p" "$2" | tail -n 1
}

fuzz() {
    local program=$1 target status=0 verdict=ok
    target=$(basename "$program")
    target=${target%_fuzz}
    local corpus=$work/corpus/$target log=$work/$target.log
    mkdir -p "$corpus" "$work/crashes"
    if [ -d "$root/test/fuzz/corpus/$target" ]; then
        cp -R "$root/test/fuzz/corpus/$target/." "$corpus"
    fi
    local limits=(-timeout=10 -rss_limit_mb=2048 -print_final_stats=1
        "-artifact_prefix=$work/crashes/$target-")
    if [ "$seconds" -eq 0 ]; then
        limits+=(-runs=0)
        corpus=$root/test/fuzz/corpus/$target
    else
        limits+=("-max_total_time=$seconds")
    fi
    "$program" "${limits[@]}" "$corpus" >"$log" 2>&1 || status=$?
    if [ "$status" -ne 0 ]; then
        verdict="FAILED with status $status, see $log and $work/crashes"
    fi
    echo "$target: $(statistic number_of_executed_units "$log") inputs in $seconds s, $verdict"
    [ "$status" -eq 0 ]
}
export -f statistic fuzz

if [ $# -eq 0 ]; then
    echo "usage: $0 PROGRAM..." >&2
    exit 64
fi
# shellcheck disable=SC2016 # it is for the inner shell to expand
printf '%s\0' "$@" | xargs -0 -n 1 -P "$(nproc)" bash -euo pipefail -c 'fuzz "$1"' fuzz || exit 1
