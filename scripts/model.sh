#!/usr/bin/env bash
# Model-checks the send queue, the budget of agent runs and the calls of tools: Spin explores every
# interleaving of test/model/send_queue.pml, with its parts send_queue_*.pml, of agent_runs.pml and of
# tool_rounds.pml.
#
# Usage: scripts/model.sh [-h]
#
# First every property must hold. Then each rule of the code is removed from the model in turn, and the
# property that depends on it must fail: a check that cannot fail proves nothing. The last line counts
# both; the status is 1 if anything failed. Spin's output is in build/model/.

set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

readonly MODELS=$ROOT/test/model
readonly WORK=$ROOT/build/model
readonly PARALLEL_CHECKS=2 # of up to MEMORY_MB each
readonly MEMORY_MB=450
readonly DEPTH=10000

# The files of a model, in order.
readonly -A PARTS=(
    [send_queue]="send_queue.pml send_queue_workers.pml send_queue_world.pml send_queue_properties.pml"
    [agent_runs]="agent_runs.pml"
    [tool_rounds]="tool_rounds.pml"
)

# Workloads: what the bounds allow to happen.
readonly WAKES="-DWAKES=1 -DFAILURES=0 -DHOLDS=0"
readonly WAKES_HELD="-DWAKES=1 -DFAILURES=0 -DNOTIFICATIONS=2"
readonly PAUSES="-DPAUSES=2 -DFAILURES=2 -DHOLDS=0"
readonly PAUSED_WAKES="-DPAUSES=2 -DWAKES=1 -DHOLDS=0 -DNOTIFICATIONS=2"
readonly ENDLESS_PAUSE="-DPAUSES=NEVER -DHOLDS=0"
readonly THREE_LANES="-DLANES=3 -DWORKERS=3 -DPAUSES=2 -DFAILING_LANES=1 -DHOLDS=0 -DCLOSES=0 -DHANGS=0"
readonly LOST_MARKS="-DLOST_MARKS=2 -DFAILURES=0 -DHOLDS=0"
readonly TRIPS="-DTRIPS=2 -DFAILURES=0 -DHOLDS=0"
readonly LIMIT="-DLIMIT=1 -DHOLDS=0"
readonly AHEAD="-DAHEAD=1 -DLANES=1 -DHOLDS=0 -DHANGS=0"

# MODEL PROPERTY [DEFINITION...]: the name of an LTL formula, of a state that the model's process "guard"
# finds, "no_deadlock", or "safety" for all but the formulas. The definitions choose the workload.
readonly PROPERTIES=(
    "send_queue safety"
    "send_queue safety -DFAILURES=2 -DHOLDS=0"
    "send_queue safety -DWITHDRAWALS=1 -DHOLDS=0"
    "send_queue safety -DWORKERS=3 -DHOLDS=0"
    "send_queue safety $WAKES"
    "send_queue safety $WAKES_HELD"
    "send_queue safety $PAUSES"
    "send_queue safety $PAUSED_WAKES"
    "send_queue safety $THREE_LANES"
    "send_queue safety -DLOST_MARKS=1 -DHOLDS=0"
    "send_queue safety $LOST_MARKS"
    "send_queue safety $TRIPS"
    "send_queue safety $LIMIT"
    "send_queue safety $AHEAD"
    "send_queue safety $AHEAD -DWORKERS=3 -DFAILURES=0"
    "send_queue safety -DAHEAD=1 -DFAILURES=0 -DHANGS=0"
    "send_queue every_notification_ends -DFAILURES=2 -DCLOSES=0"
    "send_queue every_notification_ends $PAUSES -DCLOSES=0"
    "send_queue every_notification_ends $LOST_MARKS -DCLOSES=0"
    "send_queue every_notification_ends $TRIPS -DCLOSES=0"
    "send_queue every_notification_ends $AHEAD -DCLOSES=0"
    "send_queue other_lanes_flow $ENDLESS_PAUSE -DCLOSES=0"
    "send_queue shutdown_ends"
    "send_queue shutdown_ends $WAKES -DNOTIFICATIONS=2"
    "send_queue shutdown_ends $ENDLESS_PAUSE"
    "agent_runs safety"
    "agent_runs safety -DSPELLINGS=1"
    "tool_rounds safety -DCRASHES=3 -DFAULTS=3 -DLOST_WRITES=2"
    "tool_rounds safety -DLOST_WRITES=0"
)

# MODEL RULE PROPERTY [DEFINITION...]: the property must fail once the rule is removed from the model.
readonly BROKEN=(
    "send_queue LANE_BUSY one_per_lane"
    "send_queue SETTLED_REMEMBERED asked_once"
    "send_queue SIGNAL_ON_OFFER every_notification_ends"
    "send_queue SIGNAL_ON_OFFER no_missed_wakeup"
    "send_queue SIGNAL_ON_TAKE no_missed_wakeup -DWORKERS=3 -DHOLDS=0"
    "send_queue BROADCAST_ON_RESUME every_notification_ends"
    "send_queue BROADCAST_ON_CLOSE shutdown_ends"
    "send_queue BROADCAST_ON_CLOSE no_deadlock"
    "send_queue WAIT_FOR_DUE every_notification_ends"
    "send_queue ADVANCE_CHECKS no_forbidden_send"
    "send_queue COUNT_BEFORE_SEND runs_recorded"
    "send_queue TAKE_BACK_ON_REFUSAL runs_recorded"
    "send_queue ACTIVITY_ENDS activities_are_true"
    "send_queue CLOSE_ALLOWS_WRITE write_backs_finish"
    "send_queue REQUEUE_AFTER_CLOSE reply_kept"
    "send_queue DRAINED_CHECKS_HEAP write_backs_finish"
    "send_queue DEADLINE no_take_after_deadline"
    "send_queue LANE_BUSY one_per_lane $WAKES"
    "send_queue WAKE_LIMIT wakes_limited $WAKES"
    "send_queue SIGNAL_ON_WAKE no_missed_wakeup $WAKES"
    "send_queue SIGNAL_ON_FINISH no_missed_wakeup $WAKES"
    "send_queue BROADCAST_ON_RESUME no_missed_wakeup $WAKES_HELD"
    "send_queue PAUSE_HOLDS_SENDS no_early_send $PAUSES"
    "send_queue PAUSE_HOLDS_WAKES no_early_send $PAUSED_WAKES"
    "send_queue PAUSE_ALLOWS_WRITE no_missed_wakeup $PAUSES"
    "send_queue PAUSE_ALLOWS_WRITE write_backs_finish $PAUSES"
    "send_queue PAUSE_IS_PASSED_OVER other_lanes_flow $ENDLESS_PAUSE"
    "send_queue PAUSE_IS_OVER_AT_CLOSE shutdown_ends $ENDLESS_PAUSE"
    "send_queue WAIT_FOR_RESUME every_notification_ends $PAUSES"
    "send_queue WAIT_FOR_RESUME no_missed_wakeup $PAUSES"
    "send_queue SIGNAL_FOR_RESUME no_missed_wakeup $THREE_LANES"
    "send_queue RESUME_REMEMBERED no_missed_wakeup $THREE_LANES"
    "send_queue ACKNOWLEDGE_AGAIN every_notification_ends $LOST_MARKS"
    "send_queue ACKNOWLEDGE_ONLY asked_once $LOST_MARKS"
    "send_queue PAGE_AFTER_END no_needless_mark $LOST_MARKS"
    "send_queue SIGNAL_ON_ACKNOWLEDGE no_missed_wakeup $LOST_MARKS"
    "send_queue NEWER_POLICY every_notification_ends $TRIPS"
    "send_queue TICKET_CHECKED no_late_trip $TRIPS"
    "send_queue TICKET_WITH_PERMISSION no_late_trip $TRIPS"
    "send_queue SIGNAL_ON_ADVANCE no_missed_wakeup $LIMIT"
    "send_queue LOOK_LEAVES_LANE one_per_lane $AHEAD"
    "send_queue LOOK_HOLDS_SENDS no_overtaking $AHEAD"
    "send_queue TURN_NEEDS_LANE one_per_lane $AHEAD"
    "send_queue TURN_IN_ORDER no_overtaking $AHEAD"
    "send_queue TURN_HOLDS_LANE one_per_lane $AHEAD"
    "agent_runs COUNT_AT_CLAIM never_over_the_limit"
    "agent_runs TASK_LIMIT never_over_the_limit"
    "agent_runs ROOT_LIMIT never_over_the_limit"
    "agent_runs TAKE_BACK all_runs_are_used"
    "agent_runs TAKE_BACK_OF_PERIOD never_over_the_limit"
    "agent_runs PEOPLE_ARE_EXEMPT people_are_heard"
    "agent_runs PERSON_RESETS_TASK all_runs_are_used"
    "agent_runs PERSON_RESETS_ONCE never_over_the_limit"
    "agent_runs PAIR_CLAIMED one_run_per_pair"
    "agent_runs HOLDER_MAY_ASK_AGAIN pair_is_held"
    "agent_runs NOTE_HELD one_note"
    "agent_runs PERSON_RESETS_NOTE note_is_given -DSPELLINGS=1"
    "agent_runs REFUSED_NOTE_IS_FORGOTTEN note_is_given"
    "agent_runs POSTED_NOTE_IS_OVER one_note"
    "tool_rounds START_BEFORE_CALL no_change_twice"
    "tool_rounds NO_CALL_UNRECORDED no_change_twice"
    "tool_rounds STARTED_ONCE no_change_twice"
    "tool_rounds CHANGES_REMEMBERED no_change_twice"
    "tool_rounds CHANGES_REMEMBERED changes_are_told"
    "tool_rounds ROUNDS_REMEMBERED no_change_twice"
    "tool_rounds REFUSED_IS_PUT_BACK refusals_are_no_changes"
    "tool_rounds SENT_BEFORE_RESULTS results_once -DLOST_WRITES=0"
    "tool_rounds WITHDRAWN_IF_REFUSED no_wasted_run"
    "tool_rounds ROUND_IS_RESUMED no_wasted_run"
)

# run_spin DIR MODEL PROPERTY DEFINITION...: builds the verifier in DIR with $OPTIMIZE and runs it; output
# in DIR/log. In one file, so that the line numbers of a trail are those of DIR/MODEL.pml.
run_spin() {
    local dir=$1 model=$2 property=$3 parts search=() only=() flags=(-DSAFETY -DNOCLAIM)
    shift 3
    case $property in
    safety) ;;
    no_deadlock) only=(-DCHECK=no_deadlock) ;;
    every_notification_ends | other_lanes_flow | shutdown_ends) # under weak fairness
        search=(-a -f -N "$property") only=(-DCHECK=no_deadlock) flags=(-DNFAIR=3)
        ;;
    *) search=(-E) only=(-DCHECK="$property") ;;
    esac
    mkdir -p "$dir"
    read -ra parts <<<"${PARTS[$model]}"
    (cd "$MODELS" && cat "${parts[@]}") >"$dir/$model.pml"
    cd "$dir"
    spin -a "${only[@]}" "$@" "$model.pml" >spin.log 2>&1 || return
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

# check_holds NUMBER MODEL PROPERTY DEFINITION...
check_holds() {
    local dir=$WORK/property-$1 name="$2: $3" result=FAILED
    shift
    (OPTIMIZE=-O1 && run_spin "$dir" "$@") || true
    shift 2
    if is_complete "$dir/log" && grep -q 'errors: 0$' "$dir/log"; then result=holds; fi
    say "$name${*:+ ($*)}: $result, $(summarize "$dir")"
}

# check_fails NUMBER MODEL RULE PROPERTY DEFINITION...
check_fails() {
    local dir=$WORK/broken-$1 model=$2 rule=$3 property=$4 result="FAILED: not caught by"
    shift 4
    # A counterexample turns up early, so optimizing would take longer than the search.
    (OPTIMIZE=-O0 && run_spin "$dir" "$model" "$property" -DBREAK="$rule" "$@") || true
    if grep -qsE 'assertion violated|acceptance cycle|invalid end state \(at' "$dir/log" &&
        grep -q 'errors: 1$' "$dir/log"; then
        result="caught by"
    fi
    say "$model: without $rule: $result $property, $(summarize "$dir")"
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
