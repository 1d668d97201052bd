#!/usr/bin/env bash
# Runs libFuzzer programs, one per core, each from its corpus in test/fuzz/corpus/TARGET.
#
# Usage: [FUZZ_SECONDS=30] scripts/fuzz.sh PROGRAM...
#
# The corpus is copied first, so new inputs do not change the committed one. FUZZ_SECONDS=0 only
# replays it. Prints one line per target, and the end of the log of one that failed; exits with 1 if
# any of them did.

set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

seconds=${FUZZ_SECONDS:-30}
work=$ROOT/build/fuzz
export seconds work

# libfuzzer_stat NAME LOG: a value that libFuzzer printed with -print_final_stats=1.
libfuzzer_stat() {
    sed -n "s/^stat::$1: *//p" "$2" | tail -n 1
}

fuzz_target() {
    local program=$1 target status=0 result=ok
    target=$(basename "$program")
    target=${target%_fuzz}
    local corpus=$work/corpus/$target log=$work/$target.log
    mkdir -p "$corpus" "$work/crashes"
    if [ -d "$ROOT/test/fuzz/corpus/$target" ]; then
        cp -R "$ROOT/test/fuzz/corpus/$target/." "$corpus"
    fi
    local limits=(-timeout=10 -rss_limit_mb=2048 -print_final_stats=1
        "-artifact_prefix=$work/crashes/$target-")
    if [ "$seconds" -eq 0 ]; then
        limits+=(-runs=0)
        corpus=$ROOT/test/fuzz/corpus/$target
    else
        limits+=("-max_total_time=$seconds")
    fi
    "$program" "${limits[@]}" "$corpus" >"$log" 2>&1 || status=$?
    if [ "$status" -ne 0 ]; then
        result="FAILED with status $status, see $log and $work/crashes"
    fi
    echo "$target: $(libfuzzer_stat number_of_executed_units "$log") inputs in $seconds s, $result"
    [ "$status" -eq 0 ] || { tail -n 40 "$log" && return 1; }
}
export -f libfuzzer_stat fuzz_target

case ${1-} in
"") usage >&2 && exit 64 ;;
-h | --help) usage && exit ;;
esac
# shellcheck disable=SC2016 # the inner shell expands it
printf '%s\0' "$@" |
    xargs -0 -n 1 -P "$(cpu_count)" bash -euo pipefail -c 'fuzz_target "$1"' fuzz_target || exit 1
