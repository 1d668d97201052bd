#!/usr/bin/env bash
# Has Spin go through every interleaving of the model of the send queue, test/model/send_queue.pml.
#
# Usage: scripts/model.sh [-h]
#
# First each property has to hold. Then each rule of the code is left out of the model in turn, and
# the property that it serves has to fail: a check that cannot fail proves nothing. The last line
# counts both; the status is 1 when anything failed. What Spin said is in build/model/.

set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

readonly MODEL=$ROOT/test/model/send_queue.pml
readonly WORK=$ROOT/build/model
readonly AT_ONCE=2 # checks; each may take some 450 MB
readonly MEMORY_MB=450
readonly DEPTH=10000
readonly WITH_WAKES="-DWAKES=1 -DFAILURES=0 -DHOLDS=0"
readonly WAKES_HELD="-DWAKES=1 -DFAILURES=0 -DNOTIFICATIONS=2"

# PROPERTY [WHAT THE BOARD IS]: the name of a formula, or "assertions" for those within the model,
# and for processes that wait for ever after the close.
readonly PROPERTIES=(
    "assertions -DFAILURES=2 -DWITHDRAWALS=1 -DHOLDS=0"
    "one_of_a_lane"
    "asked_once -DFAILURES=2"
    "reply_kept"
    "no_barred_send"
    "write_backs_end"
    "nothing_behind_the_deadline"
    "nobody_oversleeps"
    "nobody_oversleeps -DWORKERS=3 -DHOLDS=0"
    "each_ends -DFAILURES=2"
    "stop_ends"
    "nobody_oversleeps $WITH_WAKES"
    "one_of_a_lane $WITH_WAKES"
    "few_wakes $WITH_WAKES"
    "stop_ends $WITH_WAKES"
    "nobody_oversleeps $WAKES_HELD"
    "one_of_a_lane $WAKES_HELD"
)

# RULE PROPERTY [WHAT THE BOARD IS]: the property fails once the rule is left out.
readonly BROKEN=(
    "LANE_BUSY one_of_a_lane"
    "SETTLED_KNOWN asked_once"
    "SIGNAL_OF_OFFER each_ends"
    "SIGNAL_OF_OFFER nobody_oversleeps"
    "SIGNAL_OF_TAKE nobody_oversleeps -DWORKERS=3 -DHOLDS=0"
    "BROADCAST_OF_HOLD each_ends"
    "BROADCAST_OF_CLOSE stop_ends"
    "BROADCAST_OF_CLOSE assertions"
    "WAIT_FOR_DUE each_ends"
    "ADVANCE_ASKS no_barred_send"
    "CLOSE_LETS_WRITE write_backs_end"
    "PUT_BACK_AFTER_CLOSE reply_kept"
    "DRAINED_ASKS_HEAP write_backs_end"
    "DEADLINE nothing_behind_the_deadline"
    "LANE_BUSY one_of_a_lane $WITH_WAKES"
    "FEW_WAKES few_wakes $WITH_WAKES"
    "SIGNAL_OF_WAKE nobody_oversleeps $WITH_WAKES"
    "SIGNAL_OF_FINISH nobody_oversleeps $WITH_WAKES"
    "BROADCAST_OF_HOLD nobody_oversleeps $WAKES_HELD"
)

# verify FOLDER PROPERTY DEFINITION...: builds the verifier with OPTIMIZE, and runs it; what it says
# is in FOLDER/log.
verify() {
    local directory=$1 property=$2 search flags=(-DNFAIR=3)
    shift 2
    case $property in
    assertions) search=() flags=(-DSAFETY -DNOCLAIM) ;;
    each_ends | stop_ends) search=(-a -f -N "$property") ;; # under weak fairness
    *) search=(-a -N "$property") ;;
    esac
    mkdir -p "$directory"
    cd "$directory"
    spin -a "$@" "$MODEL" >spin.log 2>&1 || return
    "${CC:-cc}" "$OPTIMIZE" -w -DMEMLIM="$MEMORY_MB" "${flags[@]}" -o pan pan.c 2>cc.log || return
    ./pan "${search[@]}" -m"$DEPTH" -w22 >log 2>&1
}

# statistic PATTERN LOG: what the group of the pattern matches first.
statistic() {
    sed -nE "s/$1/\1/p" "$2" | head -n 1
}

describe() {
    local log=$1/log
    if [[ ! -e $log ]]; then
        echo "not run, see $1"
        return
    fi
    echo "$(statistic '^ *([0-9.e+]+) states, stored.*' "$log") states," \
        "$(statistic '^pan: elapsed time ([0-9.]+) seconds.*' "$log") s"
}

# Spin ends with status 0 whatever it finds, and also when it gave up half-way.
is_complete() {
    [[ -e $1 ]] && ! grep -qE 'too small|not completed|out of memory|MEMLIM|aborting' "$1"
}

# check_holds NUMBER PROPERTY DEFINITION...
check_holds() {
    local directory=$WORK/property-$1 property=$2 verdict=FAILED
    shift
    (OPTIMIZE=-O1 && verify "$directory" "$@") || true
    shift
    if is_complete "$directory/log" && grep -q 'errors: 0$' "$directory/log"; then verdict=holds; fi
    say "$property${*:+ ($*)}: $verdict, $(describe "$directory")"
}

# check_fails NUMBER RULE PROPERTY DEFINITION...
check_fails() {
    local directory=$WORK/broken-$1 rule=$2 property=$3 verdict="FAILED: not found by"
    shift 2
    # What fails does so early; the compiler would take longer than the search.
    (OPTIMIZE=-O0 && verify "$directory" "$1" -DBREAK="$rule" "${@:2}") || true
    if grep -qsE 'assertion violated|acceptance cycle|invalid end state \(at' "$directory/log" &&
        grep -q 'errors: 1$' "$directory/log"; then
        verdict="found by"
    fi
    say "without $rule: $verdict $property, $(describe "$directory")"
}

# in_turn CHECK LINE...: CHECK with the words of each line, AT_ONCE of them at a time.
in_turn() {
    local check=$1 number=0 line words
    shift
    for line in "$@"; do
        while (($(jobs -rp | wc -l) >= AT_ONCE)); do wait -n || true; done
        number=$((number + 1))
        read -ra words <<<"$line"
        "$check" "$number" "${words[@]}" >"$WORK/$check-$(printf '%02d' "$number")" &
    done
    wait
    cat "$WORK/$check"-*
}

main() {
    case ${1-} in
    "") ;;
    -h | --help) usage && return ;;
    *) die_usage "$1" ;;
    esac
    command -v spin >/dev/null || die "spin is missing: run scripts/install-deps.sh test"
    rm -rf "$WORK"
    mkdir -p "$WORK"
    in_turn check_holds "${PROPERTIES[@]}"
    in_turn check_fails "${BROKEN[@]}"
    local checks=$((${#PROPERTIES[@]} + ${#BROKEN[@]})) passed
    passed=$(cat "$WORK"/check_* | grep -cE ': (holds|found by)' || true)
    say "$passed passed, $((checks - passed)) failed"
    ((passed == checks))
}

main "$@"
