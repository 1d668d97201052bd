/*
 * Model of the send queue's protocol (src/delivery/send_queue.c, intake.c, queue_control.c) between
 * the poller, the workers, what stops and starts sends, and the shutdown, for three notifications.
 * scripts/model.sh lets Spin explore every interleaving. This file has the bounds and the state;
 * send_queue_workers.pml what a worker does, send_queue_world.pml everybody else,
 * send_queue_properties.pml what has to hold.
 *
 * Each atomic or d_step block is what the C code does while holding the queue's lock, or one
 * exchange with a server, and is named after the C function. Signals and waits are at the same
 * places as in the code. What is written in capitals with one argument is a condition.
 *
 * Simplifications: "replied" stands for every stage from the reply to the acknowledgement, which
 * the queue does not distinguish either (work_class_of); "written" is used only for what is
 * acknowledged again, or skipped ahead of its turn. Entries are looked at however often that was in
 * vain. "Known" stands for acting, too: what follows is a send that needs permission
 * (leads_to_send); tool_rounds.pml has the calls. If several lanes have work, any may be served, not
 * only the one that has waited longest. A settled id is forgotten with the first page that lacks it;
 * the code keeps it longer. What is listed in spite of its end is acknowledged at the next page, not
 * five seconds later.
 * Pages are never truncated, and allocations never fail. A run that has begun is answered, fails,
 * certainly did not take place, or hangs until the shutdown; one that fails is left out of the
 * counts of runs, whose only purpose here is to find an agent that is asked while it may still
 * answer. There are no spurious wakeups, since they could hide a missing signal. The poller polls
 * continuously, so requested polls are not modelled.
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
#define TAKE_BACK_ON_REFUSAL 16   /* send_not_allowed: journal_undo_run */
#define ACTIVITY_ENDS 17          /* leave_worker_locked: *entry->queue.activity = ... */
#define COUNT_BEFORE_SEND 18      /* stage_known: journal_begin_run */
#define PAUSE_HOLDS_SENDS 20      /* first_ready_locked: lane->paused_until_ms == 0 */
#define PAUSE_HOLDS_WAKES 21      /* find_overdue_wake_locked: paused_until_ms <= now_ms */
#define PAUSE_ALLOWS_WRITE 22     /* first_ready_locked: class == CLASS_WRITE_BACK */
#define PAUSE_IS_PASSED_OVER 23   /* first_ready_locked: goes on to the next lane */
#define PAUSE_IS_OVER_AT_CLOSE 24 /* is_drained_locked: looks at the heap only */
#define WAIT_FOR_RESUME 25        /* wait_for_work_locked: due_ms = queue->resume_ms */
#define SIGNAL_FOR_RESUME 26      /* send_queue_take: resume_ms != SYNC_NO_DEADLINE */
#define RESUME_REMEMBERED 27      /* take_work_locked: queue->resume_ms = resume_ms */
#define ACKNOWLEDGE_AGAIN 30      /* take_in_known_locked: acknowledge_again_locked */
#define ACKNOWLEDGE_ONLY 31       /* acknowledge_again_locked: stage = STAGE_WRITTEN */
#define PAGE_AFTER_END 32         /* is_listed_in_spite_of_its_end: < offer->began_at_ms */
#define SIGNAL_ON_ACKNOWLEDGE 33  /* queue_add_ready_locked: cond_signal */
#define NEWER_POLICY 40           /* send_queue_set_policy: version > queue->policy.version */
#define TICKET_CHECKED 41         /* breaker_record_send: the ticket is the present version */
#define TICKET_WITH_PERMISSION 42 /* send_queue_advance: entry->queue.ticket = ... */
#define SIGNAL_ON_ADVANCE 43      /* send_queue_advance: cond_signal while limited */
#define LOOK_LEAVES_LANE 50       /* leave_worker_locked: lane->busy stays if it was ahead */
#define LOOK_HOLDS_SENDS 51       /* queue_has_to_wait_for_look */
#define TURN_NEEDS_LANE 52        /* may_take_turn_locked: !lane->busy */
#define TURN_IN_ORDER 53          /* may_take_turn_locked: is_first */
#define TURN_HOLDS_LANE 54        /* send_queue_take_turn: lane->busy = true */
#ifndef BREAK
#define BREAK 0
#endif
#define KEEPS(rule) (BREAK != rule)

/* Bounds of the state space; each increases the run time. */
#ifndef FAILURES
#define FAILURES 1 /* of the backend and the gateway */
#endif
#ifndef HOLDS
#define HOLDS 1 /* how often sends are held by the operator */
#endif
#ifndef WITHDRAWALS
#define WITHDRAWALS 0 /* of a notification by its author */
#endif
#ifndef CLOSES
#define CLOSES 1 /* 0: there is no shutdown */
#endif
#ifndef HANGS
#define HANGS 1 /* 0: the agent of the last entry does not hang */
#endif

/*
 * N heartbeats ("wakes") of each of the two agents, with lower priority than the deliveries of both
 * unless they are overdue, which they may be at any time; at most MAX_WAKES run at a time, and one
 * per agent. While sends are held, ready wakes may be withdrawn; they are then gone, as
 * rescheduling is not modelled.
 */
#ifndef WAKES
#define WAKES 0
#endif
#define MAX_WAKES 1

/*
 * The ticks that a pause of a lane lasts at most, NEVER for one of the first lane that does not
 * end. A failure may then also be that the agent is rate-limited, or that its run failed: a lane
 * whose last run failed is paused if FAILING_LANES of them have failed (SEND_QUEUE_FAILING_LANES).
 */
#ifndef PAUSES
#define PAUSES 0
#endif
#ifndef FAILING_LANES
#define FAILING_LANES 2
#endif

/* How many marks the backend confirms and loses. */
#ifndef LOST_MARKS
#define LOST_MARKS 0
#endif

/* How often the gateway is found unreachable, which opens the breaker until a probe closes it. */
#ifndef TRIPS
#define TRIPS 0
#endif

/* Sends at a time, as while the model provider fails (SEND_QUEUE_LIMITED_SENDS); 0: any number. */
#ifndef LIMIT
#define LIMIT 0
#endif

/* 1: idle workers look at entries ahead of their turn, and skip any of them, or give it back. */
#ifndef AHEAD
#define AHEAD 0
#endif

#ifndef WORKERS
#define WORKERS 2 /* or 3 */
#endif
#define ENTRIES 3
#ifndef NOTIFICATIONS
#define NOTIFICATIONS ENTRIES /* number that are created; the others are never listed */
#endif
#ifndef LANES
#define LANES 2 /* or 3 without wakes, or 1 without wakes and pauses */
#endif
#if LANES == 1
#define LANE_SLOTS 2
#else
#define LANE_SLOTS LANES
#endif
/* With two agents, entries 0 and 1 belong to one, 2 to the other; 3 and 4 are the wakes of both. */
#if LANES == 1
#define LANE_OF(entry) 0
#elif LANES == 3
#define LANE_OF(entry) (entry)
#elif WAKES > 0
#define LANE_OF(entry) ((entry) < ENTRIES -> (entry) / 2 : (entry) - ENTRIES)
#else
#define LANE_OF(entry) ((entry) / 2)
#endif
#define IS_WAKE(entry) (WAKES > 0 && (entry) >= ENTRIES && (entry) < ENTRIES + LANES)
#define CAPACITY 2
#define NO_ENTRY 7
#define NEVER 7

/* UNKNOWN: not in the queue. LEFT_OVER: in the queue, but left for the next startup. */
mtype = { UNKNOWN, READY, WAITING, RUNNING, LEFT_OVER, SETTLED };
mtype place[ENTRIES] = UNKNOWN;
mtype = { KNOWN, SENDING, REPLIED, WRITTEN };
mtype stage[ENTRIES] = KNOWN;
bool recorded[ENTRIES]; /* a run is counted in its record (journal_begin_run) */
bool busy[LANE_SLOTS];
#if AHEAD
bool ahead[ENTRIES];  /* a worker has it ahead of its turn */
bool looked[ENTRIES]; /* a worker has had it: it waits for its turn */
#endif
mtype = { NO_WAKE, WAKE_READY, WAKE_RUNNING };
mtype wake_state[LANE_SLOTS] = NO_WAKE;
byte wakes_running;
bool sends_held; /* by the operator */
bool closed;
#if PAUSES > 0
byte paused_for[LANES];
bool failing[LANES]; /* its last run failed */
bool pause_seen;     /* resume_ms of the queue is a time */
#endif
#if TRIPS > 0
/* Versions of the breaker's state, and of what the queue knows of it; the odd ones are open. */
byte breaker_version;
byte policy_version;
byte trips_left = TRIPS;
#endif

/* Times are ticks from now; 0 means now. */
byte due_in[ENTRIES];
byte deadline_in = NEVER;

/* TAKING: about to enter send_queue_take, or signalled in it. ASLEEP: in cond_wait_until. */
mtype = { TAKING, ASLEEP, WORKING, ENDED };
mtype worker_state[WORKERS] = TAKING;
byte wake_in[WORKERS] = NEVER;
byte activity[WORKERS] = NO_ENTRY; /* what the queue shows of the worker */

/* The environment. */
byte created;        /* notifications that exist */
bool gone[ENTRIES];  /* marked as delivered, or withdrawn */
byte runs[ENTRIES];  /* how often the agent was asked and may have answered */
bool hangs;          /* the agent of the last entry has stopped responding */
byte failures_left = FAILURES;
#if LOST_MARKS > 0
byte lost_marks_left = LOST_MARKS;
bool lost[ENTRIES]; /* its mark was confirmed and lost */
#endif

/* Violations, recorded where they happen. */
bool forbidden_send; /* an agent was asked after close, or while sends were held */
bool late_take;      /* an entry was handed out after the deadline */
bool early_send;     /* an entry of a paused lane was handed out to be sent */
bool needless_mark;  /* an entry was brought back although its mark was kept */
bool overtaken;      /* an entry got its turn before one of its lane that goes before it */
bool late_trip;      /* a result opened the breaker in another state than that of its request */

#define EXPIRED (deadline_in == 0)
#define ANY(holds) (holds(0) || holds(1) || holds(2))
#define ALL(holds) (holds(0) && holds(1) && holds(2))
#define COUNT(holds) (holds(0) + holds(1) + holds(2))
#define LESS(one, other) ((one) < (other) -> (one) : (other))
#define LEAST(time) LESS(time(0), LESS(time(1), time(2)))

#define WAITS(entry) (place[entry] == WAITING)
#define DUE(entry) (WAITS(entry) -> due_in[entry] : NEVER)
#define NEXT_DUE LEAST(DUE) /* the first in the heap of due times */
#define IS_READY(entry) (place[entry] == READY)

/* What queue_may_send_locked asks, except for the limit. */
#if TRIPS > 0
#define SENDS_ALLOWED (!closed && !sends_held && policy_version % 2 == 0)
#else
#define SENDS_ALLOWED (!closed && !sends_held)
#endif
#if AHEAD
#define IS_AHEAD(entry) (place[entry] == RUNNING && ahead[entry])
#else
#define IS_AHEAD(entry) false
#endif
#define ASKING(entry) \
    (place[entry] == RUNNING && (stage[entry] == KNOWN || stage[entry] == SENDING) && \
        !IS_AHEAD(entry))
#define BELOW_LIMIT (LIMIT == 0 || COUNT(ASKING) < LIMIT)

/* Whether the entry is the oldest of its class in an idle lane. */
#define LISTED(entry, sent) \
    (IS_READY(entry) && (stage[entry] != KNOWN) == sent && !busy[LANE_OF(entry)])
#if LANES == 1
#define IS_BEFORE(one, other) ((one) < (other))
#else
#define IS_BEFORE(one, other) (LANES == 2 && (one) == 0 && (other) == 1)
#endif
#define LISTED_BEFORE(entry, sent) \
    ((IS_BEFORE(0, entry) && LISTED(0, sent)) || (IS_BEFORE(1, entry) && LISTED(1, sent)))
#define LOOKED_AT_BEFORE(entry) \
    ((IS_BEFORE(0, entry) && IS_AHEAD(0)) || (IS_BEFORE(1, entry) && IS_AHEAD(1)))
#define FIRST(entry, sent) \
    (LISTED(entry, sent) && !LISTED_BEFORE(entry, sent) && \
        (sent || !LOOKED_AT_BEFORE(entry) || !KEEPS(LOOK_HOLDS_SENDS)))

/* What may be handed out; the workers' conditions are these unless a rule is removed. */
#if PAUSES > 0
#define IS_PAUSED(lane) ((lane) < LANES && paused_for[lane] > 0)
#else
#define IS_PAUSED(lane) false
#endif
#define MAY_WRITE_BACK(entry) FIRST(entry, true)
#define MAY_BE_SENT(entry) \
    (FIRST(entry, false) && SENDS_ALLOWED && BELOW_LIMIT && !IS_PAUSED(LANE_OF(entry)))
#if AHEAD
#define MAY_BE_LOOKED_AT(entry) \
    (IS_READY(entry) && stage[entry] == KNOWN && !looked[entry] && SENDS_ALLOWED && BELOW_LIMIT)
#else
#define MAY_BE_LOOKED_AT(entry) false
#endif
#define MAY_BE_WOKEN(lane) \
    (wake_state[lane] == WAKE_READY && !busy[lane] && SENDS_ALLOWED && \
        wakes_running < MAX_WAKES && !IS_PAUSED(lane))

/* When the pause ends of a lane that only waits for that. */
#define HAS_SEND(lane) \
    (LANES == 3 -> LISTED(lane, false) : \
        ((lane) == 0 && (LISTED(0, false) || LISTED(1, false))) || \
        ((lane) == 1 && LISTED(2, false)))
#define HAS_WAKE(lane) \
    (WAKES > 0 && wake_state[lane] == WAKE_READY && !busy[lane] && wakes_running < MAX_WAKES)
#if PAUSES > 0
#define RESUMES(lane) \
    ((lane) < LANES && IS_PAUSED(lane) && SENDS_ALLOWED && BELOW_LIMIT && \
            (HAS_SEND(lane) || HAS_WAKE(lane)) -> \
        paused_for[lane] : NEVER)
#if LANES == 3
#define NEXT_RESUME LEAST(RESUMES)
#else
#define NEXT_RESUME LESS(RESUMES(0), RESUMES(1))
#endif
#else
#define NEXT_RESUME NEVER
#endif
