/*
 * Model of the send queue's protocol (src/delivery/send_queue.c) between the poller, two workers
 * and the shutdown, for three notifications in two lanes. scripts/model.sh lets Spin explore every
 * interleaving.
 *
 * Each atomic or d_step block is what the C code does while holding the queue's lock, or one
 * exchange with a server, and is named after the C function. Signals and waits are at the same
 * places as in the code.
 *
 * Simplifications: "replied" stands for every stage after the send, which the queue does not
 * distinguish either (work_class_of). If two lanes have work, either may be served, not only the one
 * that has waited longest. A settled id is forgotten with the first page that lacks it; the code
 * keeps it longer. Pages are never truncated, and allocations never fail. A run that has begun
 * succeeds, certainly did not take place, or hangs until the shutdown. There are no spurious
 * wakeups, since they could hide a missing signal. The poller polls continuously, so requested
 * polls are not modelled.
 *
 * -DWAKES=N adds N heartbeats ("wakes") of each of the two agents, with lower priority than the
 * deliveries of both unless they are overdue, which they may be at any time; at most MAX_WAKES run
 * at a time, and one per agent. While sends are held, ready wakes may be withdrawn; they are then
 * gone, as rescheduling is not modelled.
 *
 * -DBREAK=RULE removes one rule of the code. scripts/model.sh checks that Spin detects it.
 */
#define LANE_BUSY 1
#define SETTLED_REMEMBERED 2
#define SIGNAL_ON_OFFER 3
#define SIGNAL_ON_TAKE 4
#define BROADCAST_ON_RESUME 5
#define BROADCAST_ON_CLOSE 6
#define WAIT_FOR_DUE 7
#define ADVANCE_CHECKS 8
#define CLOSE_ALLOWS_WRITE 9
#define REQUEUE_AFTER_CLOSE 10
#define DRAINED_CHECKS_HEAP 11
#define DEADLINE 12
#define SIGNAL_ON_WAKE 13
#define SIGNAL_ON_FINISH 14
#define WAKE_LIMIT 15
#ifndef BREAK
#define BREAK 0
#endif
#define KEEPS(rule) (BREAK != rule)

/* Bounds of the state space; each increases the run time. */
#ifndef FAILURES
#define FAILURES 1 /* of the backend and the gateway */
#endif
#ifndef HOLDS
#define HOLDS 1 /* how often sends are held */
#endif
#ifndef WITHDRAWALS
#define WITHDRAWALS 0 /* of a notification by its author */
#endif

#ifndef WAKES
#define WAKES 0 /* of each agent */
#endif
#define MAX_WAKES 1

#ifndef WORKERS
#define WORKERS 2 /* or 3 */
#endif
#define LANES 2
#define ENTRIES 3
/* Entries 0 and 1 belong to one agent, 2 to the other; 3 and 4 are the wakes of the two. */
#if WAKES > 0
#define LANE_OF(entry) ((entry) < ENTRIES -> (entry) / 2 : (entry) - ENTRIES)
#else
#define LANE_OF(entry) ((entry) / 2)
#endif
#define IS_WAKE(entry) (WAKES > 0 && (entry) >= ENTRIES && (entry) < ENTRIES + LANES)
#ifndef NOTIFICATIONS
#define NOTIFICATIONS ENTRIES /* number that are created; the others are never listed */
#endif
#define CAPACITY 2
#define NO_ENTRY 7
#define NEVER 7

/* UNKNOWN: not in the queue. LEFT_OVER: in the queue, but left for the next startup. */
mtype = { UNKNOWN, READY, WAITING, RUNNING, LEFT_OVER, SETTLED };
mtype place[ENTRIES] = UNKNOWN;
bool replied[ENTRIES];
bool busy[LANES];
mtype = { NO_WAKE, WAKE_READY, WAKE_RUNNING };
mtype wake_state[LANES] = NO_WAKE;
byte wakes_running;
bool sends_held;
bool closed;

/* Times are ticks from now; 0 means now. */
byte due_in[ENTRIES];
byte deadline_in = NEVER;

/* TAKING: about to enter send_queue_take, or signalled in it. ASLEEP: in cond_wait_until. */
mtype = { TAKING, ASLEEP, WORKING, ENDED };
mtype worker_state[WORKERS] = TAKING;
byte wake_in[WORKERS] = NEVER;

/* The environment. */
byte created;        /* notifications that exist */
bool gone[ENTRIES];  /* marked as delivered, or withdrawn */
byte runs[ENTRIES];  /* how often the agent was asked and may have run */
bool hangs;          /* the agent of entry 2 has stopped responding */
byte failures_left = FAILURES;

/* Violations, recorded where they happen. */
bool forbidden_send; /* an agent was asked after close, or while sends were held */
bool late_take;      /* an entry was handed out after the deadline */
bool missed_wakeup;  /* a worker sleeps although there is work */

#define EXPIRED (deadline_in == 0)
#define ANY(holds) (holds(0) || holds(1) || holds(2))
#define ALL(holds) (holds(0) && holds(1) && holds(2))
#define LESS(one, other) ((one) < (other) -> (one) : (other))

#define WAITS(entry) (place[entry] == WAITING)
#define DUE(entry) (WAITS(entry) -> due_in[entry] : NEVER)
#define NEXT_DUE LESS(DUE(0), LESS(DUE(1), DUE(2))) /* queue_next_due_locked */
#define COUNT_READY ((place[0] == READY) + (place[1] == READY) + (place[2] == READY))

/* Whether lane_lists_first may return the entry: the oldest of its class in an idle lane. */
#define LISTED(entry, class) \
    (place[entry] == READY && replied[entry] == class && !busy[LANE_OF(entry)])
#define FIRST(entry, class) (LISTED(entry, class) && !(entry == 1 && LISTED(0, class)))
#define WRITE_BACK(entry) (FIRST(entry, true) && (!closed || KEEPS(CLOSE_ALLOWS_WRITE)))
#define SEND(entry) (FIRST(entry, false) && !closed && !sends_held)
#define WAKE(lane) \
    (wake_state[lane] == WAKE_READY && !busy[lane] && !closed && !sends_held && \
        (wakes_running < MAX_WAKES || !KEEPS(WAKE_LIMIT)))
#define ANY_WAKE (WAKES > 0 && (WAKE(0) || WAKE(1)))

/* is_drained_locked */
#define STILL_DUE(entry) (WAITS(entry) && due_in[entry] < deadline_in && KEEPS(DRAINED_CHECKS_HEAP))
#define DRAINED (closed && !ANY(STILL_DUE))

inline wake(worker)
{
    worker_state[worker] = TAKING;
    wake_in[worker] = NEVER
}

#define SLEEPS(worker) ((worker) < WORKERS && worker_state[worker] == ASLEEP)
#define COUNT_SLEEPERS (SLEEPS(0) + SLEEPS(1) + SLEEPS(2))
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

/* Picks an entry of the class, from the preferred lane if possible, else from the other. */
#define PICK(class) \
    if \
    :: class(2) && (lane == 1 || !(class(0) || class(1))) -> entry = 2 \
    :: else -> entry = (class(0) -> 0 : 1) \
    fi

inline take_work_locked()
{
    if
    :: ANY(WRITE_BACK) -> PICK(WRITE_BACK)
    :: !ANY(WRITE_BACK) && ANY(SEND) && !(overdue && ANY_WAKE) -> PICK(SEND)
    :: !ANY(WRITE_BACK) && ANY_WAKE && (overdue || !ANY(SEND)) ->
        entry = ENTRIES + (lane == 1 && WAKE(1) || !WAKE(0) -> 1 : 0)
    :: else
    fi;
    if
    :: IS_WAKE(entry) ->
        wake_state[LANE_OF(entry)] = WAKE_RUNNING;
        wakes_running++;
        busy[LANE_OF(entry)] = KEEPS(LANE_BUSY);
        late_take = EXPIRED
    :: entry != NO_ENTRY && !IS_WAKE(entry) ->
        place[entry] = RUNNING;
        busy[LANE_OF(entry)] = KEEPS(LANE_BUSY);
        late_take = EXPIRED
    :: else
    fi
}

/* One iteration of the loop in send_queue_take, from one wait to the next. */
inline try_to_take()
{
    wake(_pid);
    wake_due_locked();
    if
    :: !EXPIRED || !KEEPS(DEADLINE) -> take_work_locked()
    :: else
    fi;
    if
    :: entry != NO_ENTRY ->
        worker_state[_pid] = WORKING;
        if
        :: NEXT_DUE != NEVER && KEEPS(SIGNAL_ON_TAKE) -> cond_signal()
        :: else
        fi
    :: entry == NO_ENTRY && DRAINED -> worker_state[_pid] = ENDED
    :: entry == NO_ENTRY && !DRAINED ->
        worker_state[_pid] = ASLEEP;
        wake_in[_pid] = (KEEPS(WAIT_FOR_DUE) -> NEXT_DUE : NEVER)
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

/*
 * The end of send_queue_finish. With deliveries only, the worker itself could take next whatever
 * this makes ready, so nothing would fail without the signal. But a wake frees two things at once,
 * its lane and a wake slot, and this worker can use only one of them.
 */
inline leave()
{
    busy[LANE_OF(entry)] = false;
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

/* send_queue_finish with a delay: requeue_locked */
inline finish_waiting(delay)
{
    choose_favourite();
    d_step {
        assert(place[entry] == RUNNING);
        if
        :: !closed || (replied[entry] && KEEPS(REQUEUE_AFTER_CLOSE)) ->
            place[entry] = WAITING;
            due_in[entry] = delay
        :: else -> place[entry] = LEFT_OVER
        fi;
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
    :: failures_left > 0 -> fail(); goto take
    :: EXPIRED -> finish_waiting(1); goto take
    fi
}

/*
 * stage_known with the context it read, and send_queue_advance to STAGE_SENDING. The worker may or
 * may not notice that the notification is gone: asking only once must not depend on it.
 */
inline begin_send()
{
    if
    :: gone[entry] -> goto settle
    :: failures_left > 0 -> fail(); goto take
    :: (closed || sends_held) && KEEPS(ADVANCE_CHECKS) -> finish_waiting(1); goto take
    :: (!closed && !sends_held) || !KEEPS(ADVANCE_CHECKS) ->
        runs[entry]++;
        forbidden_send = closed || sends_held
    fi
}

/* A thread of worker_pool.c running delivery_run. The workers are processes 0 and 1. */
active [WORKERS] proctype worker()
{
    byte entry = NO_ENTRY;
    byte index;
    bit lane;
    bool overdue;
    byte favourite;
take:
    send_queue_take();
    atomic { /* heartbeat_run_wake: a wake that may not be sent is postponed, as is a failed one. */
        if
        :: IS_WAKE(entry) && (closed || sends_held) -> finish_wake(); goto take
        :: IS_WAKE(entry) && !closed && !sends_held -> goto wake_agent
        :: !IS_WAKE(entry)
        fi
    }
    atomic {
        if
        :: replied[entry] -> write_back(); goto settle
        :: !replied[entry] -> begin_send()
        fi
    }
    atomic { /* gateway_send, and what stage_sending does with its result */
        if
        :: replied[entry] = true; write_back()
        :: failures_left > 0 -> runs[entry]--; fail(); goto take
        :: entry == 2 -> hangs = true; goto hang
        fi
    }
settle:
    atomic {
        finish_settled();
        goto take
    }
wake_agent:
    atomic {
        finish_wake();
        goto take
    }
hang:
    atomic { /* stop_workers in runtime.c aborts transfers after the deadline. */
        EXPIRED -> finish_waiting(1);
        goto take
    }
ended:
    skip
}

inline add_row_locked()
{
    if
    :: listed[index] && place[index] == UNKNOWN && !closed && COUNT_READY < CAPACITY ->
        place[index] = READY;
        replied[index] = false;
        if
        :: KEEPS(SIGNAL_ON_OFFER) -> cond_signal()
        :: else
        fi
    :: else
    fi
}

#define UNUSED(entry) \
    ((place[entry] == READY || WAITS(entry)) && !replied[entry] && runs[entry] == 0)

inline drop_unlisted_locked()
{
    if
    :: !listed[index] && (UNUSED(index) || place[index] == SETTLED) ->
        place[index] = UNKNOWN;
        due_in[index] = 0
    :: else
    fi
}

inline send_queue_offer()
{
    for (index : 0 .. ENTRIES - 1) {
        add_row_locked()
    }
    for (index : 0 .. ENTRIES - 1) {
        drop_unlisted_locked();
        listed[index] = false
    }
    index = 0;
    favourite = 0
}

active proctype poller()
{
    bool listed[ENTRIES];
    byte index;
    byte favourite;
    do
    :: closed -> break
    :: !closed ->
        d_step { /* The backend composes its response, which is in flight from here on. */
            for (index : 0 .. ENTRIES - 1) {
                listed[index] = index < created && !gone[index]
            }
            index = 0
        }
        atomic {
            choose_favourite();
            d_step { send_queue_offer() }
        }
    od
}

#if WAKES > 0
/* send_queue_wake, called by the heartbeat thread */
inline send_queue_wake(agent)
{
    atomic {
        choose_favourite();
        d_step {
            if
            :: !closed && wake_state[agent] == NO_WAKE ->
                wake_state[agent] = WAKE_READY;
                if
                :: KEEPS(SIGNAL_ON_WAKE) -> cond_signal()
                :: else
                fi
            :: else
            fi;
            favourite = 0
        }
    }
}

active proctype scheduler()
{
    byte woken[LANES];
    byte favourite;
    do
    :: woken[0] < WAKES -> woken[0]++; send_queue_wake(0)
    :: woken[1] < WAKES -> woken[1]++; send_queue_wake(1)
    :: woken[0] == WAKES && woken[1] == WAKES -> break
    od
}
#endif

/* The users of the board. */
active proctype people()
{
    byte withdrawn;
    do
    :: created < NOTIFICATIONS -> created++
    :: created > 1 && withdrawn < WITHDRAWALS -> d_step { withdrawn++; gone[1] = true }
    :: created == NOTIFICATIONS -> break
    od
}

#if WAKES > 0
#define WITHDRAW(agent) \
    if \
    :: wake_state[agent] == WAKE_READY -> wake_state[agent] = NO_WAKE \
    :: else \
    fi

/* send_queue_withdraw_wake for all, by the heartbeat thread, unless the breaker closes at once. */
inline withdraw_wakes()
{
    if
    :: d_step { WITHDRAW(0); WITHDRAW(1) }
    :: skip
    fi
}
#endif

/* The circuit breaker and the operator: send_queue_hold. */
active proctype holder()
{
    byte held;
    byte favourite;
    do
    :: held < HOLDS ->
        d_step { held++; sends_held = true; cond_broadcast() }
#if WAKES > 0
        withdraw_wakes();
#endif
        d_step {
            sends_held = false;
            if
            :: KEEPS(BROADCAST_ON_RESUME) -> cond_broadcast()
            :: else
            fi
        }
    :: held == HOLDS -> break
    od
}

/* Makes all waiting entries ready, like make_ready_locked. */
inline send_queue_close()
{
    closed = true;
    for (index : 0 .. ENTRIES - 1) {
        if
        :: WAITS(index) -> place[index] = READY; due_in[index] = 0
        :: else
        fi
    }
    index = 0;
    if
    :: KEEPS(BROADCAST_ON_CLOSE) -> cond_broadcast()
    :: else -> cond_signal()
    fi
}

/* The main thread, which shuts down at any moment, or never. */
active proctype shutdown()
{
    byte index;
    byte favourite;
    if
    :: goto done
    :: skip
    fi;
    atomic {
        if
        :: deadline_in = 0
        :: deadline_in = 2
        fi;
        choose_favourite();
        d_step { send_queue_close() }
    }
done:
    skip
}

#define RUNS_DOWN(time) (time > 0 && time != NEVER)
#define SLEEPS_UNTIL(worker) (SLEEPS(worker) && RUNS_DOWN(wake_in[worker]))

inline tick(time)
{
    if
    :: RUNS_DOWN(time) -> time--
    :: else
    fi
}

/* Time may pass at any moment, as long as anything depends on it. */
active proctype clock()
{
    byte index;
end:
    do
    :: d_step {
        RUNS_DOWN(due_in[0]) || RUNS_DOWN(due_in[1]) || RUNS_DOWN(due_in[2]) ||
            ANY(SLEEPS_UNTIL) || RUNS_DOWN(deadline_in) ->
        for (index : 0 .. ENTRIES - 1) {
            tick(due_in[index])
        }
        for (index : 0 .. WORKERS - 1) {
            tick(wake_in[index])
        }
        index = 0;
        tick(deadline_in)
    }
    od
}

#define BOTH_AT_WORK (place[0] == RUNNING && place[1] == RUNNING)
#define AWAKE_AT_WORK(lane, work) (wake_state[lane] == WAKE_RUNNING && (work))
#define WAKE_AT_WORK \
    (WAKES > 0 && (AWAKE_AT_WORK(0, place[0] == RUNNING || place[1] == RUNNING) || \
        AWAKE_AT_WORK(1, place[2] == RUNNING)))
ltl one_per_lane { [] !(BOTH_AT_WORK || WAKE_AT_WORK) }

ltl wakes_limited { [] (wakes_running <= MAX_WAKES) }

#define ASKED_ONCE(entry) (runs[entry] <= 1)
ltl asked_once { [] ALL(ASKED_ONCE) }

ltl no_forbidden_send { [] !forbidden_send }

ltl no_take_after_deadline { [] !late_take }

/* A reply that the backend does not have yet is in a place where it will be found. */
#define REPLY_KEPT(entry) \
    (!replied[entry] || gone[entry] || (place[entry] != UNKNOWN && place[entry] != LEFT_OVER))
ltl reply_kept { [] ALL(REPLY_KEPT) }

/* A shutdown with enough time leaves no write-back that was due within that time. */
#define HAS_ENDED(worker) ((worker) >= WORKERS || worker_state[worker] == ENDED)
#define ALL_ENDED ALL(HAS_ENDED)
#define WRITTEN_BACK(entry) \
    (!replied[entry] || place[entry] == SETTLED || place[entry] == UNKNOWN || \
        (WAITS(entry) && due_in[entry] >= deadline_in))
ltl write_backs_finish { [] (ALL_ENDED && !EXPIRED -> ALL(WRITTEN_BACK)) }

/*
 * If a worker sleeps and none is about to take, then there is nothing to take, a worker will wake
 * at the next due time, and the shutdown is not waiting for one. A process, as it is too long for a
 * formula.
 */
#define ON_THE_WAY(worker) \
    ((worker) < WORKERS && (worker_state[worker] == TAKING || wake_in[worker] == 0))
#define TAKEABLE (!EXPIRED && (ANY(WRITE_BACK) || ANY(SEND) || ANY_WAKE))
#define WAKES_BY(worker, time) ((worker) < WORKERS && wake_in[worker] <= time)
#define WATCHED(time) (WAKES_BY(0, time) || WAKES_BY(1, time) || WAKES_BY(2, time))
active proctype guard()
{
end:
    ANY(SLEEPS) && !ANY(ON_THE_WAY) && (TAKEABLE || !WATCHED(NEXT_DUE) || DRAINED) ->
    missed_wakeup = true
}
ltl no_missed_wakeup { [] !missed_wakeup }

/* Without a shutdown every notification ends, even while another one's agent hangs. */
#define ENDS(entry) (gone[entry] || (entry == 2 && hangs))
ltl every_notification_ends { <> (closed || ALL(ENDS)) }

ltl shutdown_ends { [] (closed -> <> ALL_ENDED) }
