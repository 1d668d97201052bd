#!/usr/bin/env bash
# Model-checks the send queue: Spin explores every interleaving of test/model/send_queue.pml.
#
# Usage: scripts/model.sh [-h]
#
# First every property must hold. Then each rule of the code is removed from the model in turn, and the
# property that depends on it must fail: a check that cannot fail proves nothing. The last line counts
# both; the status is 1 if anything failed. Spin's output is in build/model/.

set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

readonly MODEL=$ROOT/test/model/send_queue.pml
readonly WORK=$ROOT/build/model
readonly PARALLEL_CHECKS=2 # of up to MEMORY_MB each
readonly MEMORY_MB=450
readonly DEPTH=10000
readonly WITH_WAKES="-DWAKES=1 -DFAILURES=0 -DHOLDS=0"
readonly WAKES_HELD="-DWAKES=1 -DFAILURES=0 -DNOTIFICATIONS=2"

# PROPERTY [DEFINITION...]: the name of an LTL formula, or "assertions" for the assertions in the model and
# for deadlocks after close. The definitions choose the workload.
readonly PROPERTIES=(
    "assertions -DFAILURES=2 -DWITHDRAWALS=1 -DHOLDS=0"
    "one_per_lane"
    "asked_once -DFAILURES=2"
    "reply_kept"
    "no_forbidden_send"
    "write_backs_finish"
    "no_take_after_deadline"
    "no_missed_wakeup"
    "no_missed_wakeup -DWORKERS=3 -DHOLDS=0"
    "every_notification_ends -DFAILURES=2"
    "shutdown_ends"
    "no_missed_wakeup $WITH_WAKES"
    "one_per_lane $WITH_WAKES"
    "wakes_limited $WITH_WAKES"
    "shutdown_ends $WITH_WAKES"
    "no_missed_wakeup $WAKES_HELD"
    "one_per_lane $WAKES_HELD"
)

# RULE PROPERTY [DEFINITION...]: the property must fail once the rule is removed from the model.
readonly BROKEN=(
    "LANE_BUSY one_per_lane"
    "SETTLED_REMEMBERED asked_once"
    "SIGNAL_ON_OFFER every_notification_ends"
    "SIGNAL_ON_OFFER no_missed_wakeup"
    "SIGNAL_ON_TAKE no_missed_wakeup -DWORKERS=3 -DHOLDS=0"
    "BROADCAST_ON_RESUME every_notification_ends"
    "BROADCAST_ON_CLOSE shutdown_ends"
    "BROADCAST_ON_CLOSE assertions"
    "WAIT_FOR_DUE every_notification_ends"
    "ADVANCE_CHECKS no_forbidden_send"
    "CLOSE_ALLOWS_WRITE write_backs_finish"
    "REQUEUE_AFTER_CLOSE reply_kept"
    "DRAINED_CHECKS_HEAP write_backs_finish"
    "DEADLINE no_take_after_deadline"
    "LANE_BUSY one_per_lane $WITH_WAKES"
    "WAKE_LIMIT wakes_limited $WITH_WAKES"
    "SIGNAL_ON_WAKE no_missed_wakeup $WITH_WAKES"
    "SIGNAL_ON_FINISH no_missed_wakeup $WITH_WAKES"
    "BROADCAST_ON_RESUME no_missed_wakeup $WAKES_HELD"
)

# run_spin DIR PROPERTY DEFINITION...: builds the verifier in DIR with $OPTIMIZE and runs it; output in
# DIR/log.
run_spin() {
    local dir=$1 property=$2 search flags=(-DNFAIR=3)
    shift 2
    case $property in
    assertions) search=() flags=(-DSAFETY -DNOCLAIM) ;;
    every_notification_ends | shutdown_ends) search=(-a -f -N "$property") ;; # under weak fairness
    *) search=(-a -N "$property") ;;
    esac
    mkdir -p "$dir"
    cd "$dir"
    spin -a "$@" "$MODEL" >spin.log 2>&1 || return
    "${CC:-cc}" "$OPTIMIZE" -w -DMEMLIM="$MEMORY_MB" "${flags[@]}" -o pan pan.c 2>cc.log || return
    ./pan "${search[@]}" -m"$DEPTH" -w22 >log 2>&1
}

# first_match PATTERN LOG: what the pattern's group matches in the first line that it matches.
first_match() {
    sed -nE "s/$1/\1/p" "$2" | head -n 1
}

# summarize DIR: number of states and time of a run.
summarize() {
    local log=$1/log
    if [[ ! -e $log ]]; then
        echo "not run, see $1"
        return
    fi
    echo "$(first_match '^ *([0-9.e+]+) states, stored.*' "$log") states," \
        "$(first_match '^pan: elapsed time ([0-9.]+) seconds.*' "$log") s"
}

# Spin exits with 0 whatever it finds, even if it ran out of memory before the end.
is_complete() {
    [[ -e $1 ]] && ! grep -qE 'too small|not completed|out of memory|MEMLIM|aborting' "$1"
}

# check_holds NUMBER PROPERTY DEFINITION...
check_holds() {
    local dir=$WORK/property-$1 property=$2 result=FAILED
    shift
    (OPTIMIZE=-O1 && run_spin "$dir" "$@") || true
    shift
    if is_complete "$dir/log" && grep -q 'errors: 0$' "$dir/log"; then result=holds; fi
    say "$property${*:+ ($*)}: $result, $(summarize "$dir")"
}

# check_fails NUMBER RULE PROPERTY DEFINITION...
check_fails() {
    local dir=$WORK/broken-$1 rule=$2 property=$3 result="FAILED: not caught by"
    shift 2
    # A counterexample turns up early, so optimizing would take longer than the search.
    (OPTIMIZE=-O0 && run_spin "$dir" "$1" -DBREAK="$rule" "${@:2}") || true
    if grep -qsE 'assertion violated|acceptance cycle|invalid end state \(at' "$dir/log" &&
        grep -q 'errors: 1$' "$dir/log"; then
        result="caught by"
    fi
    say "without $rule: $result $property, $(summarize "$dir")"
}

# run_checks CHECK LINE...: runs CHECK with the words of each line, PARALLEL_CHECKS at a time.
run_checks() {
    local check=$1 number=0 line words
    shift
    for line in "$@"; do
        while (($(jobs -rp | wc -l) >= PARALLEL_CHECKS)); do wait -n || true; done
        number=$((number + 1))
        read -ra words <<<"$line"
        "$check" "$number" "${words[@]}" >"$WORK/$check-$(printf '%02d' "$number")" &
    done
    wait
    cat "$WORK/$check"-*
}

main() {
    reject_arguments "$@"
    command -v spin >/dev/null || die "spin is not installed; run scripts/install-deps.sh test"
    rm -rf "$WORK"
    mkdir -p "$WORK"
    run_checks check_holds "${PROPERTIES[@]}"
    run_checks check_fails "${BROKEN[@]}"
    local checks=$((${#PROPERTIES[@]} + ${#BROKEN[@]})) passed
    passed=$(cat "$WORK"/check_* | grep -cE ': (holds|caught by)' || true)
    say "$passed passed, $((checks - passed)) failed"
    ((passed == checks))
}

main "$@"
