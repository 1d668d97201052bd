/*
 * The protocol of the send queue (src/queue/send_queue.c) between the poller, two workers and the
 * stop, for three notifications in two lanes. scripts/model.sh has Spin go through every
 * interleaving of it.
 *
 * A block that is atomic or a d_step is what the C code does while it holds the queue's lock, or
 * one exchange with a server; the name of its function stands with it. Signals and waits are those
 * of the code, at the same places.
 *
 * Where the model is simpler: replied stands for every stage past the send, which the queue does
 * not tell apart either (class_of). Of two lanes with work any may be served, not the one that
 * waits longest. A settled id is forgotten with any page that lacks it; the code is slower to
 * forget. Pages are never cut, and no memory runs out. A run that began succeeds, certainly did not
 * take place, or hangs until the stop. Nobody wakes up without a cause: that could hide a signal
 * that is missing. The poller polls without being asked, so polls that are asked for are not in it.
 *
 * -DWAKES=N adds N wake-ups of each of the two agents, which stand behind the deliveries of both;
 * MOST_WAKES of them run at a time, and an agent has one at a time. While sends are held, those
 * that stand ready may be taken back; that they are put off is not in it, so they are gone.
 *
 * -DBREAK=RULE leaves out what keeps one rule. scripts/model.sh has Spin find that as well.
 */
#define LANE_BUSY 1
#define SETTLED_KNOWN 2
#define SIGNAL_OF_OFFER 3
#define SIGNAL_OF_TAKE 4
#define BROADCAST_OF_HOLD 5
#define BROADCAST_OF_CLOSE 6
#define WAIT_FOR_DUE 7
#define ADVANCE_ASKS 8
#define CLOSE_LETS_WRITE 9
#define PUT_BACK_AFTER_CLOSE 10
#define DRAINED_ASKS_HEAP 11
#define DEADLINE 12
#define SIGNAL_OF_WAKE 13
#define SIGNAL_OF_FINISH 14
#define FEW_WAKES 15
#ifndef BREAK
#define BREAK 0
#endif
#define KEEPS(rule) (BREAK != rule)

/* How much may happen; each makes the check longer. */
#ifndef FAILURES
#define FAILURES 1 /* of the backend and the gateway */
#endif
#ifndef HOLDS
#define HOLDS 1 /* times that sends are held */
#endif
#ifndef WITHDRAWALS
#define WITHDRAWALS 0 /* of a notification, by its author */
#endif

#ifndef WAKES
#define WAKES 0 /* of each agent */
#endif
#define MOST_WAKES 1

#ifndef WORKERS
#define WORKERS 2 /* or 3 */
#endif
#define LANES 2
#define ENTRIES 3
/* Entries 0 and 1 are for one agent, 2 for another; 3 and 4 are the wake-ups of the two. */
#if WAKES > 0
#define LANE_OF(entry) ((entry) < ENTRIES -> (entry) / 2 : (entry) - ENTRIES)
#else
#define LANE_OF(entry) ((entry) / 2)
#endif
#define IS_WAKE(entry) (WAKES > 0 && (entry) >= ENTRIES && (entry) < ENTRIES + LANES)
#ifndef NOTIFICATIONS
#define NOTIFICATIONS ENTRIES /* that come to exist; the others are never listed */
#endif
#define CAPACITY 2
#define NO_ENTRY 7
#define NEVER 7

/* UNKNOWN: not held. PUT_OFF: held, but left to the next start. */
mtype = { UNKNOWN, READY, WAITING, RUNNING, PUT_OFF, SETTLED };
mtype place[ENTRIES] = UNKNOWN;
bool replied[ENTRIES];
bool busy[LANES];
mtype = { NO_WAKE, WAKE_READY, WAKE_RUNNING };
mtype wake_up[LANES] = NO_WAKE;
byte wakes_running;
bool sends_held;
bool closed;

/* Times are ticks from now; what is 0 has come. */
byte due_in[ENTRIES];
byte deadline_in = NEVER;

/* TAKING: on the way into send_queue_take, or signalled there. ASLEEP: in cond_wait_until. */
mtype = { TAKING, ASLEEP, WORKING, ENDED };
mtype worker_state[WORKERS] = TAKING;
byte wake_in[WORKERS] = NEVER;

/* The world outside. */
byte created;        /* notifications that exist */
bool gone[ENTRIES];  /* marked as delivered, or withdrawn */
byte runs[ENTRIES];  /* how often the agent was asked, and may have run */
bool hangs;          /* the agent of entry 2 does not answer any more */
byte failures_left = FAILURES;

/* Violations that are seen where they happen. */
bool barred_send; /* an agent was asked after the close, or while sends were held */
bool late_take;   /* an entry was handed out behind the deadline */
bool overslept;   /* a worker sleeps although there is something to do */

#define EXPIRED (deadline_in == 0)
#define ANY(holds) (holds(0) || holds(1) || holds(2))
#define ALL(holds) (holds(0) && holds(1) && holds(2))
#define LESS(one, other) ((one) < (other) -> (one) : (other))

#define WAITS(entry) (place[entry] == WAITING)
#define DUE(entry) (WAITS(entry) -> due_in[entry] : NEVER)
#define NEXT_DUE LESS(DUE(0), LESS(DUE(1), DUE(2))) /* next_due_locked */
#define COUNT_READY ((place[0] == READY) + (place[1] == READY) + (place[2] == READY))

/* Whether lane_lists_first may be the entry: the oldest of its class in a lane that is not busy. */
#define LISTED(entry, class) \
    (place[entry] == READY && replied[entry] == class && !busy[LANE_OF(entry)])
#define FIRST(entry, class) (LISTED(entry, class) && !(entry == 1 && LISTED(0, class)))
#define WRITE_BACK(entry) (FIRST(entry, true) && (!closed || KEEPS(CLOSE_LETS_WRITE)))
#define SEND(entry) (FIRST(entry, false) && !closed && !sends_held)
#define WAKE(lane) \
    (wake_up[lane] == WAKE_READY && !busy[lane] && !closed && !sends_held && \
        (wakes_running < MOST_WAKES || !KEEPS(FEW_WAKES)))
#define ANY_WAKE (WAKES > 0 && (WAKE(0) || WAKE(1)))

/* is_drained_locked */
#define STILL_DUE(entry) (WAITS(entry) && due_in[entry] < deadline_in && KEEPS(DRAINED_ASKS_HEAP))
#define DRAINED (closed && !ANY(STILL_DUE))

inline wake(worker)
{
    worker_state[worker] = TAKING;
    wake_in[worker] = NEVER
}

#define SLEEPS(worker) ((worker) < WORKERS && worker_state[worker] == ASLEEP)
#define COUNT_SLEEPERS (SLEEPS(0) + SLEEPS(1) + SLEEPS(2))
#define NEXT(worker) (((worker) + 1) % WORKERS)

/* Wakes one of those who sleep: the favourite, or else the first behind it. */
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

/* Whom a signal wakes is open: precedes a block with signals. */
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

/* An entry of the class: of the preferred lane, which may be either, or else of the other one. */
#define PICK(class) \
    if \
    :: class(2) && (lane == 1 || !(class(0) || class(1))) -> entry = 2 \
    :: else -> entry = (class(0) -> 0 : 1) \
    fi

inline pick_locked()
{
    if
    :: ANY(WRITE_BACK) -> PICK(WRITE_BACK)
    :: !ANY(WRITE_BACK) && ANY(SEND) -> PICK(SEND)
    :: !ANY(WRITE_BACK) && !ANY(SEND) && ANY_WAKE ->
        entry = ENTRIES + (lane == 1 && WAKE(1) || !WAKE(0) -> 1 : 0)
    :: else
    fi;
    if
    :: IS_WAKE(entry) ->
        wake_up[LANE_OF(entry)] = WAKE_RUNNING;
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

/* One turn of the loop in send_queue_take, from one wait to the next. */
inline try_to_take()
{
    wake(_pid);
    wake_due_locked();
    if
    :: !EXPIRED || !KEEPS(DEADLINE) -> pick_locked()
    :: else
    fi;
    if
    :: entry != NO_ENTRY ->
        worker_state[_pid] = WORKING;
        if
        :: NEXT_DUE != NEVER && KEEPS(SIGNAL_OF_TAKE) -> cond_signal()
        :: else
        fi
    :: entry == NO_ENTRY && DRAINED -> worker_state[_pid] = ENDED
    :: entry == NO_ENTRY && !DRAINED ->
        worker_state[_pid] = ASLEEP;
        wake_in[_pid] = (KEEPS(WAIT_FOR_DUE) -> NEXT_DUE : NEVER)
    fi;
    lane = 0;
    favourite = 0
}

/* Ends with an entry, or at the label ended. */
inline send_queue_take()
{
    atomic {
        worker_state[_pid] == TAKING || wake_in[_pid] == 0;
        if
        :: lane = 0
        :: lane = 1
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
 * The end of send_queue_finish. Of deliveries, what it makes ready the worker itself could take
 * next, so nothing would fail without the signal. A wake-up frees two things at once, the lane and
 * a place among the wake-ups, and the worker can take but one.
 */
inline leave()
{
    busy[LANE_OF(entry)] = false;
    entry = NO_ENTRY;
    if
    :: KEEPS(SIGNAL_OF_FINISH) -> cond_signal()
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
        place[entry] = (KEEPS(SETTLED_KNOWN) -> SETTLED : UNKNOWN);
        leave()
    }
}

/* send_queue_finish of a wake-up, which is forgotten: the agent's slot is free. */
inline finish_wake()
{
    choose_favourite();
    d_step {
        assert(wake_up[LANE_OF(entry)] == WAKE_RUNNING);
        wake_up[LANE_OF(entry)] = NO_WAKE;
        wakes_running--;
        leave()
    }
}

/* send_queue_finish with a delay: put_back_locked */
inline finish_waiting(delay)
{
    choose_favourite();
    d_step {
        assert(place[entry] == RUNNING);
        if
        :: !closed || (replied[entry] && KEEPS(PUT_BACK_AFTER_CLOSE)) ->
            place[entry] = WAITING;
            due_in[entry] = delay
        :: else -> place[entry] = PUT_OFF
        fi;
        leave()
    }
}

/* try_again: after a short backoff or a long one */
inline fail()
{
    failures_left--;
    if
    :: finish_waiting(1)
    :: finish_waiting(2)
    fi
}

/* run_replied and run_written. What the backend has marked, the worker does not know at once. */
inline write_back()
{
    if
    :: gone[entry] = true
    :: failures_left > 0 -> fail(); goto take
    :: EXPIRED -> finish_waiting(1); goto take
    fi
}

/*
 * run_known, with the context that it read, and send_queue_advance to STAGE_SENDING in post. That
 * the notification is gone may be seen or not: that nobody is asked twice must not hang on it.
 */
inline begin_send()
{
    if
    :: gone[entry] -> goto settle
    :: failures_left > 0 -> fail(); goto take
    :: (closed || sends_held) && KEEPS(ADVANCE_ASKS) -> finish_waiting(1); goto take
    :: (!closed && !sends_held) || !KEEPS(ADVANCE_ASKS) ->
        runs[entry]++;
        barred_send = closed || sends_held
    fi
}

/* A thread of worker_pool.c with deliver_run. They are processes 0 and 1. */
active [WORKERS] proctype worker()
{
    byte entry = NO_ENTRY;
    byte index;
    bit lane;
    byte favourite;
take:
    send_queue_take();
    atomic { /* wake_run: what is not let through is put off, as is one whose agent fails. */
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
    atomic { /* gateway_send, and after_send with its answer */
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
    atomic { /* stop_workers in runtime.c cuts transfers off behind the deadline. */
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
        :: KEEPS(SIGNAL_OF_OFFER) -> cond_signal()
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
        d_step { /* The backend makes up its answer, which is under way from here on. */
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
/* send_queue_wake, by the heartbeat scheduler */
inline send_queue_wake(agent)
{
    atomic {
        choose_favourite();
        d_step {
            if
            :: !closed && wake_up[agent] == NO_WAKE ->
                wake_up[agent] = WAKE_READY;
                if
                :: KEEPS(SIGNAL_OF_WAKE) -> cond_signal()
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

/* What people do on the board. */
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
#define TAKE_BACK(agent) \
    if \
    :: wake_up[agent] == WAKE_READY -> wake_up[agent] = NO_WAKE \
    :: else \
    fi

/* send_queue_take_back_wake for all, by the heartbeat scheduler; a suspect gate may open at once. */
inline take_back_wakes()
{
    if
    :: d_step { TAKE_BACK(0); TAKE_BACK(1) }
    :: skip
    fi
}
#endif

/* Whoever watches the gateway: send_queue_hold_sends. */
active proctype watcher()
{
    byte held;
    byte favourite;
    do
    :: held < HOLDS ->
        d_step { held++; sends_held = true; cond_broadcast() }
#if WAKES > 0
        take_back_wakes();
#endif
        d_step {
            sends_held = false;
            if
            :: KEEPS(BROADCAST_OF_HOLD) -> cond_broadcast()
            :: else
            fi
        }
    :: held == HOLDS -> break
    od
}

/* Moves back what waits, as make_ready_locked; the deadline is chosen. */
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
    :: KEEPS(BROADCAST_OF_CLOSE) -> cond_broadcast()
    :: else -> cond_signal()
    fi
}

/* The main thread, which stops at any moment, or never. */
active proctype stopper()
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

/* Time may pass at any moment, and does as long as anything depends on it. */
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
#define AWAKE_AT_WORK(lane, work) (wake_up[lane] == WAKE_RUNNING && (work))
#define WAKE_AT_WORK \
    (WAKES > 0 && (AWAKE_AT_WORK(0, place[0] == RUNNING || place[1] == RUNNING) || \
        AWAKE_AT_WORK(1, place[2] == RUNNING)))
ltl one_of_a_lane { [] !(BOTH_AT_WORK || WAKE_AT_WORK) }

ltl few_wakes { [] (wakes_running <= MOST_WAKES) }

#define ASKED_ONCE(entry) (runs[entry] <= 1)
ltl asked_once { [] ALL(ASKED_ONCE) }

ltl no_barred_send { [] !barred_send }

ltl nothing_behind_the_deadline { [] !late_take }

/* As long as the backend does not have it, a reply has a place where it will be found. */
#define REPLY_KEPT(entry) \
    (!replied[entry] || gone[entry] || (place[entry] != UNKNOWN && place[entry] != PUT_OFF))
ltl reply_kept { [] ALL(REPLY_KEPT) }

/* A stop that had the time leaves no write-back that was due in that time. */
#define HAS_ENDED(worker) ((worker) >= WORKERS || worker_state[worker] == ENDED)
#define ALL_ENDED ALL(HAS_ENDED)
#define WRITTEN_BACK(entry) \
    (!replied[entry] || place[entry] == SETTLED || place[entry] == UNKNOWN || \
        (WAITS(entry) && due_in[entry] >= deadline_in))
ltl write_backs_end { [] (ALL_ENDED && !EXPIRED -> ALL(WRITTEN_BACK)) }

/*
 * If anybody sleeps and nobody is on the way, there is nothing to take, the next due time is
 * watched, and the stop needs no one. A process of its own, as it is too long for a formula.
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
    overslept = true
}
ltl nobody_oversleeps { [] !overslept }

/* Without a stop each notification ends, even while the agent of another hangs. */
#define ENDS(entry) (gone[entry] || (entry == 2 && hangs))
ltl each_ends { <> (closed || ALL(ENDS)) }

ltl stop_ends { [] (closed -> <> ALL_ENDED) }
