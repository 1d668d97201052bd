/*
 * Model of what becomes of an agent's tool calls (src/delivery/acting.c, converse.c, tool_rounds.c):
 * one notification, a runtime that may be killed at any point and whose disk may refuse any write, a
 * backend that may lose its answers, and a gateway that may refuse, run the agent and lose its
 * answer, or pass it on. scripts/model.sh lets Spin explore every execution.
 *
 * The agent wants each of CHANGES changes, and calls for each that it has not been told about in
 * the current try. So a change is made twice if a call is repeated, and also if a later try is not
 * told what an earlier one did. For an uncertain change the agent is told to look first, which here
 * is as good as knowing.
 *
 * Simplifications: every call changes something, since the others may be repeated. There is one
 * worker: that no second one has the notification is what send_queue.pml proves. Reading the
 * context, the reply's way to the thread and the limits of rounds and runs are left out; what ends
 * early for one of these ends as a failed try does.
 *
 * -DBREAK=RULE removes one rule of the code, named beside it, and scripts/model.sh checks that Spin
 * detects it.
 */
#define START_BEFORE_CALL 1    /* record_call: tool_request_start, journal_save_calls */
#define NO_CALL_UNRECORDED 2   /* record_call: saved || !changes */
#define STARTED_ONCE 3         /* answer_call: tool_request_was_started */
#define CHANGES_REMEMBERED 4   /* tool_rounds_end_try: all_changes */
#define ROUNDS_REMEMBERED 5    /* tool_rounds_begin: all_changes */
#define REFUSED_IS_PUT_BACK 6  /* answer_call: tool_request_put_back */
#define SENT_BEFORE_RESULTS 7  /* stage_acting: tool_rounds_note_sent */
#define WITHDRAWN_IF_REFUSED 8 /* converse_withdraw: tool_rounds_note_sent(..., false) */
#define ROUND_IS_RESUMED 9     /* record_stage: tool_rounds_are_under_way */
#ifndef BREAK
#define BREAK 0
#endif
#define KEEPS(rule) (BREAK != rule)

/* Bounds of the state space; each increases the run time. */
#ifndef CRASHES
#define CRASHES 2
#endif
#ifndef LOST_WRITES
#define LOST_WRITES 1 /* that the disk refuses */
#endif
#ifndef FAULTS
#define FAULTS 2 /* of backend and gateway */
#endif
#define CHANGES 3 /* numbered from 1 */
#define CALLS 2   /* in one answer, at most */
#define NOTHING 0

/* The state that the spool keeps, and the same in memory. */
typedef rounds {
    byte wants[CALLS]; /* the change that the call makes, or NOTHING */
    bool started[CALLS];
    bool output[CALLS];
    bool sent;
    bool before[CHANGES + 1]; /* what earlier rounds and tries have changed, or may have */
};
rounds memory;
rounds disk;

byte crashes_left = CRASHES;
byte lost_writes_left = LOST_WRITES;
byte faults_left = FAULTS;

/* What is true, beyond what the code knows. */
byte made[CHANGES + 1];  /* how often */
bool heard[CHANGES + 1]; /* by the agent, in the present try */
bool refused[CALLS];     /* the call certainly changed nothing, as this process has seen */
bool received;           /* the agent has the results of the present round */
bool known_not_received;       /* and this process has seen that it certainly has not */
bool write_lost;         /* so the results may be sent again */

/* Violations, recorded where they happen. */
bool made_twice;
bool untold;       /* an agent's last words do not know of a change */
bool false_alarm;  /* a call that certainly changed nothing is remembered as a change */
bool sent_twice;   /* results that the agent has */
bool wasted_run;   /* the agent is asked anew although its round could go on */

#define CALLED(call) (memory.wants[call] != NOTHING)
#define IS_UNDER_WAY (memory.wants[0] != NOTHING && !memory.sent)

inline copy_rounds(to, from)
{
    for (index : 0 .. CALLS - 1) {
        to.wants[index] = from.wants[index];
        to.started[index] = from.started[index];
        to.output[index] = from.output[index]
    }
    to.sent = from.sent;
    for (index : 1 .. CHANGES) {
        to.before[index] = from.before[index]
    }
    index = 0
}

/* journal_save_calls; yields saved */
inline save()
{
    if
    :: d_step { copy_rounds(disk, memory); saved = true }
    :: lost_writes_left > 0 -> lost_writes_left--; write_lost = true; saved = false
    fi
}

/* remember_changes, and no calls any more */
inline forget_calls(remembers)
{
    for (call : 0 .. CALLS - 1) {
        if
        :: CALLED(call) && memory.started[call] ->
            false_alarm = false_alarm || refused[call];
            memory.before[memory.wants[call]] = memory.before[memory.wants[call]] || remembers
        :: else
        fi;
        memory.wants[call] = NOTHING;
        memory.started[call] = false;
        memory.output[call] = false;
        refused[call] = false
    }
    call = 0;
    memory.sent = false;
    received = false;
    known_not_received = false
}

#define MAY_CRASH \
    if \
    :: crashes_left > 0 -> crashes_left--; goto start \
    :: skip \
    fi

/* The agent calls for one or two of the changes that it knows nothing of, if there are any. */
#define WANTED(change) (!heard[change])
inline choose_calls()
{
    if
    :: WANTED(1) -> memory.wants[0] = 1
    :: WANTED(2) -> memory.wants[0] = 2
    :: WANTED(3) -> memory.wants[0] = 3
    fi;
    if
    :: skip
    :: WANTED(1) && memory.wants[0] != 1 -> memory.wants[1] = 1
    :: WANTED(2) && memory.wants[0] != 2 -> memory.wants[1] = 2
    :: WANTED(3) && memory.wants[0] != 3 -> memory.wants[1] = 3
    fi
}

/* tool_run, and what the backend makes of it */
inline carry_out()
{
    if
    :: made[memory.wants[call]]++
    :: faults_left > 0 -> faults_left--; made[memory.wants[call]]++ /* its answer is lost */
    :: faults_left > 0 -> faults_left-- /* it never arrived, or the function failed: not certain */
    :: faults_left > 0 -> /* refused by us, or it certainly never left */
        faults_left--;
        refused[call] = true;
        memory.started[call] = memory.started[call] && !KEEPS(REFUSED_IS_PUT_BACK)
    fi;
    made_twice = made_twice || made[memory.wants[call]] > 1
}

/* record_call; a call that may not be made is answered as refused */
inline record_call()
{
    memory.started[call] = true;
    if
    :: KEEPS(START_BEFORE_CALL) -> save()
    :: !KEEPS(START_BEFORE_CALL) -> saved = true
    fi;
    if
    :: saved || !KEEPS(NO_CALL_UNRECORDED) -> may_call = true
    :: else -> may_call = false; memory.started[call] = false; refused[call] = true
    fi
}

#define UNTOLD(change) (made[change] > 0 && !heard[change])

active proctype runtime()
{
    bool may_call;
    byte call;
    byte index;
    bool saved;
start: /* journal_restore: what is in memory, and what this process has seen, is gone */
    atomic {
        copy_rounds(memory, disk);
        for (call : 0 .. CALLS - 1) {
            refused[call] = false
        }
        call = 0;
        known_not_received = false
    }
    if
    :: IS_UNDER_WAY && KEEPS(ROUND_IS_RESUMED) -> goto acting
    :: IS_UNDER_WAY && !KEEPS(ROUND_IS_RESUMED) -> wasted_run = true
    :: !IS_UNDER_WAY
    fi;
known: /* stage_known: the next try, which begins without calls */
    atomic {
        wasted_run = wasted_run || known_not_received;
        forget_calls(KEEPS(CHANGES_REMEMBERED))
    }
    save(); /* journal_begin_run */
    MAY_CRASH;
    atomic {
        if
        :: faults_left > 0 -> faults_left--; goto known /* refused, or the answer is lost */
        :: skip
        fi;
        for (index : 1 .. CHANGES) {
            heard[index] = memory.before[index]
        }
        index = 0
    }
answer: /* take_reply, take_calls */
    atomic {
        if
        :: goto replied
        :: WANTED(1) || WANTED(2) || WANTED(3) ->
            forget_calls(KEEPS(ROUNDS_REMEMBERED));
            choose_calls()
        fi
    }
    MAY_CRASH;
acting: /* stage_acting, from its first call without an output */
    do
    :: call < CALLS && (!CALLED(call) || memory.output[call]) -> call++
    :: call < CALLS && CALLED(call) && !memory.output[call] ->
        if
        :: memory.started[call] && KEEPS(STARTED_ONCE) -> memory.output[call] = true /* interrupted */
        :: !memory.started[call] || !KEEPS(STARTED_ONCE) ->
            record_call();
            MAY_CRASH; /* or the shutdown comes between two calls */
            if
            :: may_call -> carry_out()
            :: !may_call
            fi;
            MAY_CRASH;
            memory.output[call] = true;
            save();
            MAY_CRASH
        fi
    :: call == CALLS -> call = 0; break
    od;
    memory.sent = KEEPS(SENT_BEFORE_RESULTS);
    save();
    MAY_CRASH;
    /* send_results */
    atomic {
        if
        :: faults_left > 0 -> /* certainly not received */
            faults_left--;
            known_not_received = true;
            if
            :: KEEPS(WITHDRAWN_IF_REFUSED) -> memory.sent = false; save(); goto refused_results
            :: !KEEPS(WITHDRAWN_IF_REFUSED) -> goto known
            fi
        :: skip
        fi;
        sent_twice = sent_twice || (received && !write_lost);
        received = true;
        known_not_received = false;
        for (call : 0 .. CALLS - 1) {
            if
            :: CALLED(call) -> heard[memory.wants[call]] = true
            :: else
            fi
        }
        call = 0
    }
    MAY_CRASH;
    if
    :: faults_left > 0 -> faults_left--; goto known /* the run failed, or its answer is lost */
    :: goto answer
    fi;
refused_results:
    MAY_CRASH;
    goto acting;
replied:
    untold = UNTOLD(1) || UNTOLD(2) || UNTOLD(3)
}

/* What has to hold; with -DCHECK=NAME only the one of that name is looked for. */
#define no_deadlock 0
#define no_change_twice 1
#define changes_are_told 2
#define refusals_are_no_changes 3
#define results_once 4
#define no_wasted_run 5

#ifdef CHECK
#define CHECKS(property) (CHECK == property)
#else
#define CHECKS(property) true
#endif
#define VIOLATES(property, violation) CHECKS(property) && (violation) -> assert(!property)

active proctype guard()
{
end:
    if
    :: VIOLATES(no_change_twice, made_twice)
    :: VIOLATES(changes_are_told, untold)
    :: VIOLATES(refusals_are_no_changes, false_alarm)
    :: VIOLATES(results_once, sent_twice)
    :: VIOLATES(no_wasted_run, wasted_run)
    fi
}
