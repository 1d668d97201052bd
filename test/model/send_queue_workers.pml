/*
 * What a worker does: a thread of worker_pool.c in send_queue_take, delivery_run (delivery.c),
 * heartbeat_run_wake and send_queue_finish. The workers are processes 0 and up.
 */

/* The conditions of find_work_locked. */
#define WRITE_BACK(entry) \
    (MAY_WRITE_BACK(entry) && (!closed || KEEPS(CLOSE_ALLOWS_WRITE)) && \
        (!IS_PAUSED(LANE_OF(entry)) || KEEPS(PAUSE_ALLOWS_WRITE)))
#define IN_FRONT(lane) (IS_PAUSED(lane) && HAS_SEND(lane))
#define IS_BLOCKED (!KEEPS(PAUSE_IS_PASSED_OVER) && (IN_FRONT(0) || IN_FRONT(1)))
#define SEND(entry) \
    (FIRST(entry, false) && SENDS_ALLOWED && BELOW_LIMIT && !IS_BLOCKED && \
        (!IS_PAUSED(LANE_OF(entry)) || !KEEPS(PAUSE_HOLDS_SENDS)))
#define WAKE(lane) \
    (wake_state[lane] == WAKE_READY && !busy[lane] && SENDS_ALLOWED && \
        (wakes_running < MAX_WAKES || !KEEPS(WAKE_LIMIT)) && \
        (!IS_PAUSED(lane) || !KEEPS(PAUSE_HOLDS_WAKES)))
#define ANY_WAKE (WAKES > 0 && (WAKE(0) || WAKE(1)))

/* queue_find_unseen_locked: the first of a lane that nobody has had. */
#define UNSEEN_BEFORE(entry) \
    ((IS_BEFORE(0, entry) && MAY_BE_LOOKED_AT(0)) || (IS_BEFORE(1, entry) && MAY_BE_LOOKED_AT(1)))
#define LOOK(entry) (MAY_BE_LOOKED_AT(entry) && !UNSEEN_BEFORE(entry))
#define ANY_LOOK (AHEAD && ANY(LOOK))

/* is_drained_locked */
#define STILL_DUE(entry) (WAITS(entry) && due_in[entry] < deadline_in && KEEPS(DRAINED_CHECKS_HEAP))
#define STILL_PAUSED(lane) (IS_PAUSED(lane) && HAS_SEND(lane) && !KEEPS(PAUSE_IS_OVER_AT_CLOSE))
#define DRAINED (closed && !ANY(STILL_DUE) && !(STILL_PAUSED(0) || STILL_PAUSED(1)))

inline wake(worker)
{
    worker_state[worker] = TAKING;
    wake_in[worker] = NEVER
}

#define SLEEPS(worker) ((worker) < WORKERS && worker_state[worker] == ASLEEP)
#define COUNT_SLEEPERS COUNT(SLEEPS)
#define NEXT(worker) (((worker) + 1) % WORKERS)

/* Wakes one sleeping worker: the favourite, else the next one after it. */
inline cond_signal()
{
    if
    :: SLEEPS(favourite) -> wake(favourite)
    :: !SLEEPS(favourite) && SLEEPS(NEXT(favourite)) -> wake(NEXT(favourite))
    :: !SLEEPS(favourite) && !SLEEPS(NEXT(favourite)) && SLEEPS(NEXT(favourite + 1)) ->
        wake(NEXT(favourite + 1))
    :: else
    fi
}

/* A signal may wake any waiter: choose one before each block that contains signals. */
inline choose_favourite()
{
    if
    :: favourite = 0
    :: COUNT_SLEEPERS > 1 -> favourite = 1
    :: COUNT_SLEEPERS > 1 && WORKERS > 2 -> favourite = 2
    fi
}

inline cond_broadcast()
{
    cond_signal();
    cond_signal();
    cond_signal()
}

inline wake_due_locked()
{
    for (index : 0 .. ENTRIES - 1) {
        if
        :: WAITS(index) && due_in[index] == 0 -> place[index] = READY; cond_signal()
        :: else
        fi
    }
    index = 0
}

/* Picks an entry of the class, from the preferred lane if possible, else from another. */
#if LANES == 3
#define PICK(class) \
    if \
    :: class(lane) -> entry = lane \
    :: !class(lane) && class((lane + 1) % 3) -> entry = (lane + 1) % 3 \
    :: else -> entry = (lane + 2) % 3 \
    fi
#else
#define PICK(class) \
    if \
    :: class(2) && (lane == 1 || !(class(0) || class(1))) -> entry = 2 \
    :: else -> entry = (class(0) -> 0 : 1) \
    fi
#endif

/* Only what is not taken ahead of its turn has the lane. */
inline take_lane_locked()
{
#if AHEAD
    looked[entry] = true;
    if
    :: ahead[entry]
    :: else ->
        overtaken = stage[entry] == KNOWN && LOOKED_AT_BEFORE(entry);
        busy[LANE_OF(entry)] = KEEPS(LANE_BUSY)
    fi
#else
    busy[LANE_OF(entry)] = KEEPS(LANE_BUSY)
#endif
}

inline take_work_locked()
{
    if
    :: ANY(WRITE_BACK) -> PICK(WRITE_BACK)
    :: !ANY(WRITE_BACK) && ANY(SEND) && !(overdue && ANY_WAKE) -> PICK(SEND)
#if AHEAD
    :: !ANY(WRITE_BACK) && !ANY(SEND) && ANY(LOOK) && !(overdue && ANY_WAKE) ->
        PICK(LOOK);
        ahead[entry] = true
#endif
    :: !ANY(WRITE_BACK) && ANY_WAKE && (overdue || (!ANY(SEND) && !ANY_LOOK)) ->
        entry = ENTRIES + (lane == 1 && WAKE(1) || !WAKE(0) -> 1 : 0)
    :: else
    fi;
    if
    :: entry != NO_ENTRY ->
        early_send =
            IS_PAUSED(LANE_OF(entry)) && (IS_WAKE(entry) || stage[entry % ENTRIES] == KNOWN);
        late_take = EXPIRED;
        take_lane_locked();
        activity[_pid] = entry
    :: else
    fi;
    if
    :: IS_WAKE(entry) -> wake_state[LANE_OF(entry)] = WAKE_RUNNING; wakes_running++
    :: entry != NO_ENTRY && !IS_WAKE(entry) -> place[entry] = RUNNING
    :: else
    fi
}

/*
 * resume_ms. A take that finds something has not looked at all lanes, so it keeps what an earlier
 * one saw; here it sees nothing by itself, which is the least that the code may see.
 */
inline note_pauses_locked()
{
#if PAUSES > 0
    pause_seen =
        (entry == NO_ENTRY -> NEXT_RESUME != NEVER : pause_seen && KEEPS(RESUME_REMEMBERED))
#else
    skip
#endif
}

#if PAUSES > 0
#define PAUSE_SEEN (pause_seen && KEEPS(SIGNAL_FOR_RESUME))
#else
#define PAUSE_SEEN false
#endif

/* wait_for_work_locked */
#define WATCHED_DUE (KEEPS(WAIT_FOR_DUE) -> NEXT_DUE : NEVER)
#define WATCHED_RESUME (KEEPS(WAIT_FOR_RESUME) -> NEXT_RESUME : NEVER)

/* One iteration of the loop in send_queue_take, from one wait to the next. */
inline try_to_take()
{
    wake(_pid);
    wake_due_locked();
    if
    :: !EXPIRED || !KEEPS(DEADLINE) -> take_work_locked(); note_pauses_locked()
    :: else
    fi;
    if
    :: entry != NO_ENTRY ->
        worker_state[_pid] = WORKING;
        if
        :: (NEXT_DUE != NEVER || LIMIT > 0 || PAUSE_SEEN) && KEEPS(SIGNAL_ON_TAKE) -> cond_signal()
        :: else
        fi
    :: entry == NO_ENTRY && DRAINED -> worker_state[_pid] = ENDED
    :: entry == NO_ENTRY && !DRAINED ->
        worker_state[_pid] = ASLEEP;
        wake_in[_pid] = LESS(WATCHED_DUE, WATCHED_RESUME)
    fi;
    lane = 0;
    overdue = false;
    favourite = 0
}

/* Yields an entry, or jumps to the label "ended". */
inline send_queue_take()
{
    atomic {
        worker_state[_pid] == TAKING || wake_in[_pid] == 0;
        if
        :: lane = 0
        :: lane = 1
        :: LANES == 3 -> lane = 2
        fi;
        if
        :: overdue = false
        :: ANY_WAKE && ANY(SEND) -> overdue = true
        fi;
        choose_favourite();
        d_step { try_to_take() }
        if
        :: worker_state[_pid] == WORKING
        :: worker_state[_pid] == ASLEEP -> goto take
        :: worker_state[_pid] == ENDED -> goto ended
        fi
    }
}

/* queue_leave_lane_locked: with its last entry a lane ends, and with it what it remembers. */
#define IN_LANE(entry, lane) \
    (LANE_OF(entry) == (lane) && place[entry] != UNKNOWN && place[entry] != SETTLED)
#define IN_USE(lane) \
    (IN_LANE(0, lane) || IN_LANE(1, lane) || IN_LANE(2, lane) || wake_state[lane] != NO_WAKE)
inline leave_lane_locked(which)
{
#if PAUSES > 0
    if
    :: !IN_USE(which) -> paused_for[which] = 0; failing[which] = false
    :: else
    fi
#else
    skip
#endif
}

#define HAS_FAILED(lane) ((lane) < LANES && failing[lane])
/* pause_lane_locked and record_run_locked; pause was chosen before. */
inline pause_lane_locked()
{
#if PAUSES > 0
    failing[LANE_OF(entry)] = (run_failed || failing[LANE_OF(entry)]) && !run_replied;
    if
    :: run_failed && COUNT(HAS_FAILED) < FAILING_LANES
    :: else -> paused_for[LANE_OF(entry)] = (pause > 0 -> pause : paused_for[LANE_OF(entry)])
    fi;
    run_failed = false;
    run_replied = false;
    pause = 0
#else
    skip
#endif
}

/*
 * The end of send_queue_finish. With deliveries only, the worker itself could take next whatever
 * this makes ready, so nothing would fail without the signal. But a wake frees two things at once,
 * its lane and a wake slot, and this worker can use only one of them.
 */
inline leave()
{
    pause_lane_locked();
    lane = LANE_OF(entry);
#if AHEAD
    busy[lane] = busy[lane] && ahead[entry] && KEEPS(LOOK_LEAVES_LANE);
    ahead[entry] = false;
#else
    busy[lane] = false;
#endif
    activity[_pid] = (KEEPS(ACTIVITY_ENDS) -> NO_ENTRY : entry);
    leave_lane_locked(lane);
    lane = 0;
    entry = NO_ENTRY;
    if
    :: KEEPS(SIGNAL_ON_FINISH) -> cond_signal()
    :: else
    fi;
    favourite = 0;
    worker_state[_pid] = TAKING
}

/* send_queue_finish with STAGE_SETTLED */
inline finish_settled()
{
    choose_favourite();
    d_step {
        assert(place[entry] == RUNNING);
        place[entry] = (KEEPS(SETTLED_REMEMBERED) -> SETTLED : UNKNOWN);
        leave()
    }
}

/* send_queue_finish of a wake, which is forgotten: the agent's slot becomes free. */
inline finish_wake()
{
    choose_favourite();
    d_step {
        assert(wake_state[LANE_OF(entry)] == WAKE_RUNNING);
        wake_state[LANE_OF(entry)] = NO_WAKE;
        wakes_running--;
        leave()
    }
}

inline back_to_known()
{
    assert(place[entry] == RUNNING);
    if
    :: stage[entry] == SENDING -> stage[entry] = KNOWN
    :: else
    fi
}

/* send_queue_finish with a delay: requeue_locked */
inline finish_waiting(delay)
{
    choose_favourite();
    d_step {
        back_to_known();
        if
        :: !closed || (stage[entry] != KNOWN && KEEPS(REQUEUE_AFTER_CLOSE)) ->
            place[entry] = WAITING;
            due_in[entry] = delay
        :: else -> place[entry] = LEFT_OVER
        fi;
        leave()
    }
}

/* send_queue_finish without a delay, which a put back entry has: it signals twice. */
inline finish_ready()
{
    choose_favourite();
    d_step {
        back_to_known();
        place[entry] = READY;
        cond_signal();
        leave()
    }
}

/* attempt_retry, after a short or a long backoff */
inline fail()
{
    failures_left--;
    if
    :: finish_waiting(1)
    :: finish_waiting(2)
    fi
}

/* stage_replied and stage_written. The backend marks the notification before the worker knows. */
inline write_back()
{
    if
    :: gone[entry] = true
#if LOST_MARKS > 0
    :: lost_marks_left > 0 -> lost_marks_left--; lost[entry] = true
#endif
    :: failures_left > 0 -> fail(); goto take
    :: EXPIRED -> finish_ready(); goto take
    fi
}

/*
 * stage_known, with the context that it read: journal_begin_run counts the run. The worker may or
 * may not notice that the notification is gone: asking only once must not depend on it.
 */
inline begin_run()
{
    if
    :: gone[entry] -> goto settle
    :: failures_left > 0 -> fail(); goto take
    :: recorded[entry] = KEEPS(COUNT_BEFORE_SEND)
    fi
}

#if AHEAD
/* send_queue_take_turn, or the entry is given back */
#define MAY_TAKE_TURN(entry) \
    ((!busy[LANE_OF(entry)] || !KEEPS(TURN_NEEDS_LANE)) && SENDS_ALLOWED && BELOW_LIMIT && \
        (!(READY_BEFORE(entry) || LOOKED_AT_BEFORE(entry)) || !KEEPS(TURN_IN_ORDER)))
#define IS_READY_SEND(entry) (IS_READY(entry) && stage[entry] == KNOWN)
#define READY_BEFORE(entry) \
    ((IS_BEFORE(0, entry) && IS_READY_SEND(0)) || (IS_BEFORE(1, entry) && IS_READY_SEND(1)))
inline take_turn()
{
    if
    :: MAY_TAKE_TURN(entry) ->
        overtaken = READY_BEFORE(entry) || LOOKED_AT_BEFORE(entry);
        ahead[entry] = false;
        busy[LANE_OF(entry)] = KEEPS(TURN_HOLDS_LANE)
    :: else -> finish_ready(); goto take
    fi
}
#endif

/* send_queue_advance to STAGE_SENDING, which the request follows, or journal_undo_run */
inline advance_to_sending()
{
    if
    :: SENDS_ALLOWED || !KEEPS(ADVANCE_CHECKS) ->
        stage[entry] = SENDING;
        runs[entry]++;
#if TRIPS > 0
        ticket = policy_version;
        allowed_in = policy_version;
#endif
        forbidden_send = !SENDS_ALLOWED
    :: !SENDS_ALLOWED && KEEPS(ADVANCE_CHECKS) ->
        recorded[entry] = recorded[entry] && runs[entry] == 0 && !KEEPS(TAKE_BACK_ON_REFUSAL);
        finish_ready();
        goto take
    fi
}

inline take_back_run()
{
    runs[entry]--;
    recorded[entry] = false
}

#if TRIPS > 0
/* Several threads may publish what they saw of the breaker, in any order. */
inline send_queue_set_policy(version)
{
    if
    :: version > 0 && (version > policy_version || !KEEPS(NEWER_POLICY)) ->
        policy_version = version;
        cond_broadcast()
    :: else
    fi
}
#endif

#if PAUSES > 0
/* For as long as this lane is paused once the entry is finished. */
inline choose_pause()
{
    if
    :: PAUSES < NEVER -> pause = 1
    :: PAUSES > 1 -> pause = PAUSES
    fi
}

/* 429: there was no run, and the entry does not wait for less than the pause. */
inline be_rate_limited()
{
    take_back_run();
    choose_pause();
    failures_left--;
    if
    :: finish_waiting(pause)
    :: pause == 1 -> finish_waiting(2)
    fi
}

/* The run failed, which pauses the lane if those of others did as well. */
inline fail_run()
{
    take_back_run();
    choose_pause();
    run_failed = true;
    fail()
}
#endif

active [WORKERS] proctype worker()
{
    byte entry = NO_ENTRY;
    byte index;
    byte lane;
    bool overdue;
    byte favourite;
#if PAUSES > 0
    byte pause;
    bool run_failed;
    bool run_replied;
#endif
#if TRIPS > 0
    byte ticket;
    byte allowed_in;
#endif
take:
    send_queue_take();
#if WAKES > 0
    atomic { /* heartbeat_run_wake: a wake that may not be sent is postponed, as is a failed one. */
        if
        :: IS_WAKE(entry) && !SENDS_ALLOWED -> finish_wake(); goto take
        :: IS_WAKE(entry) && SENDS_ALLOWED -> goto wake_agent
        :: !IS_WAKE(entry)
        fi
    }
#endif
#if AHEAD
    atomic { /* judge_context: whether it is to be skipped is for the context to tell */
        if
        :: !ahead[entry]
        :: ahead[entry] -> stage[entry] = WRITTEN; write_back(); goto settle
        :: ahead[entry] && failures_left > 0 -> fail(); goto take
        :: ahead[entry] -> take_turn()
        fi
    }
#endif
    atomic {
        if
        :: stage[entry] != KNOWN -> write_back(); goto settle
        :: stage[entry] == KNOWN -> begin_run()
        fi
    }
    atomic { advance_to_sending() }
    atomic { /* gateway_send, and what stage_sending does with its result */
#if TRIPS > 0
        if
        :: trips_left > 0 -> trips_left--; goto unreachable
        :: ticket = 0; allowed_in = 0
        fi;
#endif
        if
#if LIMIT > 0
        :: goto reply
#else
        :: stage[entry] = REPLIED;
#if PAUSES > 0
            run_replied = true;
#endif
            write_back()
#endif
        :: failures_left > 0 -> take_back_run(); fail(); goto take
#if PAUSES > 0
        :: failures_left > 0 && (PAUSES < NEVER || LANE_OF(entry) == 0) ->
            be_rate_limited();
            goto take
        :: failures_left > 0 && PAUSES < NEVER -> fail_run(); goto take
#endif
        :: HANGS && entry == 2 -> hangs = true; goto hang
        fi
    }
settle:
    atomic {
        finish_settled();
        goto take
    }
#if LIMIT > 0
reply: /* send_queue_advance to STAGE_REPLIED, which frees a place among those that are sent */
    atomic {
        choose_favourite();
        d_step {
            stage[entry] = REPLIED;
            if
            :: KEEPS(SIGNAL_ON_ADVANCE) -> cond_signal()
            :: else
            fi;
            favourite = 0
        }
    }
    atomic {
        write_back();
        goto settle
    }
#endif
#if WAKES > 0
wake_agent:
    atomic {
#if PAUSES > 0
        if
        :: run_replied = true
        :: failures_left > 0 -> failures_left--; choose_pause()
        fi;
#endif
        finish_wake();
        goto take
    }
#endif
#if TRIPS > 0
unreachable:
    atomic { /* breaker_record_send, and a snapshot of what it decided */
        take_back_run();
        ticket = (KEEPS(TICKET_WITH_PERMISSION) -> ticket : policy_version);
        if
        :: (ticket == breaker_version || !KEEPS(TICKET_CHECKED)) && breaker_version % 2 == 0 ->
            late_trip = allowed_in != breaker_version;
            breaker_version++;
            ticket = breaker_version
        :: else -> ticket = 0
        fi;
        allowed_in = 0
    }
    atomic { /* breaker_control_apply */
        send_queue_set_policy(ticket);
        ticket = 0
    }
    atomic {
        finish_ready();
        goto take
    }
#endif
hang:
    atomic { /* stop_workers in runtime.c aborts transfers after the deadline. */
        EXPIRED -> finish_ready();
        goto take
    }
ended:
    skip
}
