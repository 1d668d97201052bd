/*
 * All undelivered notifications that this process knows, in one structure under one lock, and the
 * agents to wake. The poller offers pages of the backend's list; a worker takes an entry, owns its
 * work part while it does the blocking work, and finishes it. A lane is an agent, or a session of
 * one: its entries are handed out one at a time, oldest first, while lanes run in parallel.
 *
 * All that belongs together changes together under the lock, so there is no moment at which an
 * entry could be run twice or be lost (docs/architecture.md, The send queue). Unless noted, a
 * function may be called from any thread and takes the lock briefly; none does I/O.
 */
#ifndef DELIVERY_SEND_QUEUE_H
#define DELIVERY_SEND_QUEUE_H

#include <stddef.h>

#include "backend/service.h"
#include "base/loop.h"
#include "delivery/entry.h"
#include "spool/spool.h"

enum {
    SEND_QUEUE_MAX_HELD = 8000,    /* entries of any stage, settled ones included */
    SEND_QUEUE_LIMITED_SENDS = 3,  /* at a time, while sends are limited */
    SEND_QUEUE_FAILING_LANES = 3,  /* from this many on, each of them sends rarely */
    SEND_QUEUE_READY_OF_LANE = 32, /* of one lane no more count as ready, nor half the capacity */
    SEND_QUEUE_MAX_LISTED = 128,   /* by one send_queue_list_waiting */
    SEND_QUEUE_REPEATED_ROWS_A_MINUTE = 1000 /* that pages list although they are known */
};

struct send_queue;
struct other_runtime;

/* One page of the backend's list. */
struct offer {
    const struct notification_row *rows; /* oldest first; borrowed */
    size_t count;
    size_t unusable;     /* further rows, without valid ids */
    bool full;           /* the page was truncated: more may follow */
    bool limited;        /* at the limit that was asked for: a longer page would show more */
    int64_t began_at_ms; /* when the request was made, monotonic */
};

/* Whether agents may be asked, as the circuit breaker sees it. A zeroed one allows everything. */
struct send_policy {
    uint64_t version; /* the breaker's; a policy older than the queue's is ignored */
    bool paused;      /* no sends and no wake-ups; write-backs continue */
    bool limited;     /* at most SEND_QUEUE_LIMITED_SENDS at a time */
};

/* Figures of the queue. */
struct send_queue_view {
    bool held_by_operator;   /* sends are (send_queue_hold) */
    size_t held;             /* notifications of any stage, settled ones included */
    size_t ready;            /* at most SEND_QUEUE_READY_OF_LANE of each lane */
    size_t waiting;          /* for their due time */
    size_t running;          /* taken by workers, wake-ups included */
    size_t sending;          /* of these, those whose request is in flight */
    size_t settled;          /* ended, but possibly still listed by the backend */
    size_t repeated;         /* rows that are known and that a long enough page lists again */
    size_t lanes;            /* agents with entries */
    size_t agents_with_work; /* of these, those with notifications */
    size_t unknown_agents;   /* of these, those that the gateway lacked when last asked */
    size_t undelivered;      /* notifications that have not ended */
    size_t recorded;         /* of these, those with a record in the spool */
    int64_t event_ms; /* when the last new one came or a reply was posted, monotonic; 0: never */
    int64_t oldest_undelivered_ms; /* createdAt, wall clock; 0 for none */
    int64_t oldest_recorded_ms;
    int64_t oldest_failing_ms; /* of those whose last attempt failed */
};

/* What a worker is doing at one moment. */
struct activity {
    bool busy; /* if false, only since_ms means anything */
    enum entry_kind kind;
    enum entry_stage stage;
    char id[ID_BYTES];    /* of the notification, or of the agent that is woken */
    char agent[ID_BYTES]; /* its slug, or its id while the slug is not known */
    int64_t since_ms;     /* when it entered this stage, or became idle; monotonic */
};

/* A notification that no worker has taken. */
struct send_queue_waiting {
    char id[ID_BYTES];
    char agent[ID_BYTES]; /* its slug, or its id while the slug is not known */
    enum entry_stage stage;
    enum failure_class failure_class; /* of its last failure at this stage */
    int64_t created_at_ms;            /* wall clock; 0 when not known */
    int64_t due_ms;                   /* when it is retried (monotonic); 0: as soon as possible */
};

struct send_queue_settings {
    size_t capacity;  /* new notifications are accepted while fewer are ready; at least 1 */
    size_t max_wakes; /* wake-ups that run at a time */
    bool looks_ahead; /* idle workers get entries ahead of their turn (send_queue_take_turn) */
    int64_t min_lane_gap_ms; /* between the sends of a lane whose runs fail, as those of others */
    int64_t max_lane_gap_ms; /* this long after many failed runs in a row */
    struct other_runtime *other_runtime; /* judges what has ended (other_runtime.h); NULL: nobody */
};

/* The caller destroys the queue once no thread uses it. ERROR_NO_MEMORY. */
int send_queue_create(
    struct send_queue **queue, const struct send_queue_settings *settings, struct error *error);
void send_queue_destroy(struct send_queue *queue);

/* Filling the queue. */

/*
 * Sets the loop to poke when a page should be requested. Only before the workers start; without it
 * no page is asked for.
 */
void send_queue_set_poller(struct send_queue *queue, struct loop *poller);

/*
 * Takes in an entry that an earlier process left in the spool, at the stage that it had reached:
 * replied (the reply itself stays in the spool), acting or known. Only before the workers start.
 * False without memory.
 */
bool send_queue_restore(
    struct send_queue *queue, const struct spool_record *record, enum entry_stage stage);

/*
 * Remembers id as settled, so that it is not sent although the backend may still list it, on
 * whichever page its createdAt puts it. Only before the workers start. Returns 1, 0 when the queue
 * knows the id already, or ERROR_NO_MEMORY.
 */
int send_queue_remember_settled(struct send_queue *queue, const char *id, int64_t created_at_ms);

/*
 * Adds runs to those of id, should the backend list it. Only before the workers start. False
 * without memory.
 */
bool send_queue_add_prior_runs(struct send_queue *queue, const char *id, unsigned runs);

/* An operator's decision about a dead letter (delivery/dead_letter.h); one thread at a time. */

/*
 * Keeps pages from bringing id back until the reservation ends. False when the queue has it in hand
 * as anything but settled, or is closed.
 */
bool send_queue_reserve_settled(struct send_queue *queue, const char *id);

/* The reserved id, if it is known as settled, is unknown from now on. */
void send_queue_forget_settled(struct send_queue *queue, const char *id);

/*
 * As send_queue_restore at the stage replied, in place of what is known of the reserved id as
 * settled. False without memory, or when the queue is closed.
 */
bool send_queue_restore_settled(struct send_queue *queue, const struct spool_record *record);

/* Ends the reservation and has the backend polled. */
void send_queue_end_reservation(struct send_queue *queue);

/*
 * Takes in a page. Unknown ids become entries while there is room. Known ones that the backend no
 * longer lists are dropped if their agent was never asked. Settled ones are forgotten when the
 * request for a page without them began after they were settled, never sooner: a response that was
 * under way at that moment must not get an agent run twice. Returns true when the next page should
 * be requested at once: a longer one would show more, at least half of this one was new, and little
 * is ready.
 */
bool send_queue_offer(struct send_queue *queue, const struct offer *offer);

/*
 * Queues a wake-up of an agent, after all deliveries and not counted against the capacity. Once it
 * has waited for max_wait_ms, every other agent that is asked may be one whose wake-up goes before
 * deliveries. False when the agent has one already, running or not, when the queue is closed or
 * held (send_queue_hold), or without memory.
 */
bool send_queue_wake(struct send_queue *queue, const char *agent_id, int64_t max_wait_ms);

/*
 * Removes a wake-up that no worker has taken, if the policy pauses sends: otherwise all of them
 * would start at the moment it stops doing so. True with the agent's id in agent_id, which may be
 * woken again; false when there is none or sends are not paused.
 */
bool send_queue_withdraw_wake(struct send_queue *queue, char agent_id[static ID_BYTES]);

/* Working on an entry; workers only. */

/*
 * The next entry to work on, the caller's until send_queue_finish: write-backs first, then sends,
 * then what may be skipped ahead of its turn, then wake-ups (but see send_queue_wake). Blocks until
 * there is one; NULL once the queue is closed and has nothing left to hand out. *activity (NULL:
 * none) is the caller's; until the entry is finished the queue keeps in it what is being done,
 * under its lock. May poke the poller.
 */
struct entry *send_queue_take(struct send_queue *queue, struct activity *activity);

/*
 * Makes lanes of sessions, an agent and a task each, so that one agent may work on several tasks at
 * once; or, initially, of agents. What waits changes lanes now, what a worker has when it is
 * returned; until then it is not sent.
 */
void send_queue_use_session_lanes(struct send_queue *queue, bool wanted);

/*
 * Whether a taken entry that is known may be sent as far as its lane is concerned. One that was
 * taken ahead of its turn (entry->queue.ahead) may not, unless it can take its turn now: if false,
 * it is to be finished without a delay. It may be skipped in either case.
 */
bool send_queue_take_turn(struct send_queue *queue, struct entry *entry);

/*
 * Moves a taken entry to the next stage. False, and nothing changes, when that is STAGE_SENDING and
 * the policy, the operator's hold or the close forbids it; else entry->queue.ticket tells under
 * which policy it was allowed. From STAGE_REPLIED with REASON_REPLIED, a message was posted, which
 * may have caused notifications: so may poke the poller.
 */
bool send_queue_advance(struct send_queue *queue, struct entry *entry, enum entry_stage stage);

/*
 * Returns a taken entry, to be handed out again at stage after delay_ms (0: at once), or never when
 * that is STAGE_SETTLED; a wake-up is freed. The caller must not use it afterwards. May poke the
 * poller. Returns whether a wake-up of its agent is in the queue, this entry included.
 */
bool send_queue_finish(
    struct send_queue *queue, struct entry *entry, enum entry_stage stage, int64_t delay_ms);

/* Controlling sends. */

/* Sets whether agents may be asked from now on. */
void send_queue_set_policy(struct send_queue *queue, const struct send_policy *policy);

/*
 * Holds sends in addition to the policy, or releases them: while held no agent is asked and no
 * wake-up is queued; write-backs continue. Returns whether they were held before.
 */
bool send_queue_hold(struct send_queue *queue, bool held);

/*
 * Ends sending for good. Entries past the sending stage are still handed out until deadline_ms
 * (monotonic), at once even if they were waiting; then, or when none is left, send_queue_take
 * returns NULL.
 */
void send_queue_close(struct send_queue *queue, int64_t deadline_ms);

/*
 * Blocks until no request to an agent is in flight, or until deadline_ms (monotonic): then it
 * returns false. Once the queue is closed none can follow.
 */
bool send_queue_wait_for_sends(struct send_queue *queue, int64_t deadline_ms);

/* Observing it. */

/*
 * When the next page may be requested, so that SEND_QUEUE_REPEATED_ROWS_A_MINUTE is kept to: after
 * the last one in proportion to the rows that it repeats; monotonic. Earlier once what is held
 * ends.
 */
int64_t send_queue_next_page_ms(struct send_queue *queue);

/* Copies the figures as they are together at one moment. */
void send_queue_snapshot(struct send_queue *queue, struct send_queue_view *view);

/*
 * How many notifications of that agent workers have, and how many others of it have not ended.
 */
void send_queue_agent_load(
    struct send_queue *queue, const char *agent_id, size_t *running, size_t *waiting);

/* Copies what the worker that took an entry with this activity is doing, or since when nothing. */
void send_queue_read_activity(
    struct send_queue *queue, const struct activity *activity, struct activity *copy);

/*
 * Copies at most max (1 to SEND_QUEUE_MAX_LISTED) notifications that no worker has taken, oldest
 * first, and returns how many; *total is how many there are. Holds the lock for as long as copying
 * that many takes, however many there are.
 */
size_t send_queue_list_waiting(
    struct send_queue *queue, struct send_queue_waiting *waiting, size_t max, size_t *total);

#endif
