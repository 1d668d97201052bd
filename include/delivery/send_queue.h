/*
 * Every undelivered notification that this process knows, in one structure under one lock: its
 * stage, its lane, when it is due. A lane is an agent: it runs one entry at a time, oldest first,
 * and lanes run in parallel.
 *
 * The poller offers pages; workers take an entry, own it while they do its blocking work, and
 * finish it. Whatever belongs together changes together, so there is no moment at which an entry
 * could be run twice or be lost. (Design, section 4.)
 */
#ifndef DELIVERY_SEND_QUEUE_H
#define DELIVERY_SEND_QUEUE_H

#include <stddef.h>

#include "backend/service.h"
#include "base/loop.h"
#include "delivery/entry.h"
#include "spool/spool.h"

enum {
    SEND_QUEUE_MAX_HELD = 8000,   /* entries of any stage, settled ones included */
    SEND_QUEUE_READY_OF_LANE = 32 /* or half of the capacity: more of one lane is not counted */
};

struct send_queue;

/* One answer of the backend's list. */
struct offer {
    const struct notification_row *rows; /* oldest first; borrowed */
    size_t count;
    bool full;           /* the page was cut at its limit: more may follow */
    int64_t began_at_ms; /* when the request was made, monotonic */
};

/* Whether agents may be asked. A zeroed one lets everything flow. */
struct send_policy {
    uint64_t version;   /* a flow that is older than the queue's is ignored */
    bool paused;        /* no sends; write-backs go on */
    bool single_flight; /* one send at a time, and none before next_send_ms (monotonic) */
    int64_t next_send_ms;
};

/*
 * Figures of the queue, readable without its lock: each is right, but they may be a moment apart.
 */
struct send_queue_view {
    size_t held;    /* notifications of any stage, settled ones included */
    size_t ready;   /* at most SEND_QUEUE_READY_OF_LANE of each lane */
    size_t waiting; /* for their due time */
    size_t running; /* with a worker, wake-ups included */
    size_t sending; /* of these, those whose request is going out */
    size_t settled;
    size_t lanes;
    size_t undelivered;            /* notifications that have not ended */
    size_t recorded;               /* of these, those with a record in the spool */
    int64_t oldest_undelivered_ms; /* createdAt, wall clock; 0 for none */
    int64_t oldest_recorded_ms;
};

/*
 * A queue that accepts new notifications while fewer than capacity are ready, and lets max_wakes
 * wake-ups run at a time. The caller destroys it once no thread uses it. ERROR_NO_MEMORY.
 */
int send_queue_create(
    struct send_queue **queue, size_t capacity, size_t max_wakes, struct error *error);
void send_queue_destroy(struct send_queue *queue);

/*
 * Takes in a page: unknown ids become entries, as far as there is room; known ones that the backend
 * no longer lists are dropped if their agent was never asked; settled ones are forgotten when the
 * page's request began after they were settled, never before, since an answer that was under way
 * is no reason to run an agent again. Returns true when there was something new and so little ready
 * work that the next page should be fetched at once. Any thread; a short lock.
 */
bool send_queue_offer(struct send_queue *queue, const struct offer *offer);

/*
 * Takes in an entry that an earlier process left in the spool, at the stage where it stood: its
 * agent asked, or its reply there (in the spool, not in memory). Only before the workers start.
 * Returns false without memory.
 */
bool send_queue_restore(struct send_queue *queue, const struct spool_record *record, bool replied);

/*
 * Knows id as settled, so that it is not sent although the backend may still list it, on whatever
 * page its createdAt puts it. Only before the workers start. Returns 1, 0 when it is there already,
 * or ERROR_NO_MEMORY.
 */
int send_queue_remember_settled(struct send_queue *queue, const char *id, int64_t created_at_ms);

/* Counts runs for id, should it be listed. Only before the workers start. False without memory. */
bool send_queue_add_prior_runs(struct send_queue *queue, const char *id, unsigned runs);

/* Sets the loop to poke for a poll. Only before the workers start; else no poll is asked for. */
void send_queue_set_poller(struct send_queue *queue, struct loop *poller);

/*
 * Says that the backend may list something new, as a message was written. A poll is asked for at
 * once when a worker is free; else by the worker that runs dry, or when a message is written or an
 * entry given back a second or more after the last page. Any thread; a short lock.
 */
void send_queue_expect_more(struct send_queue *queue);

/*
 * Lines up a wake-up of an agent, behind its deliveries and outside the bound. Returns false when
 * one is there already, running or not, when the queue is closed or held (send_queue_hold), or
 * without memory. Any thread; a short lock.
 */
bool send_queue_wake(struct send_queue *queue, const char *agent_id);

/*
 * Takes a wake-up that no worker has in hand out of the queue, while the flow holds sends: all that
 * stand ready would start together when it lets go. Returns false when there is none or the flow
 * does not hold; else agent_id is whose it was, and the agent may be lined up anew. Any thread; a
 * short lock.
 */
bool send_queue_withdraw_wake(struct send_queue *queue, char agent_id[static ID_BYTES]);

/*
 * The next entry to work on, the caller's until send_queue_finish: write-backs first, then sends,
 * then wake-ups.
 * Blocks until there is one; NULL when the queue is closed and nothing is left to do here.
 */
struct entry *send_queue_take(struct send_queue *queue);

/*
 * Moves a taken entry on to stage. Returns false, and changes nothing, when stage is STAGE_SENDING
 * and the flow, the hold or the close forbids it. A short lock.
 */
bool send_queue_advance(struct send_queue *queue, struct entry *entry, enum entry_stage stage);

/*
 * Shows at once that the spool has a record of a taken entry, for one that is to be worked on for
 * long; else its next step shows it. Briefly takes the lock.
 */
void send_queue_count_record(struct send_queue *queue, struct entry *entry);

/*
 * Gives a taken entry back, to be taken again at stage after delay_ms (0: at once), or never when
 * stage is STAGE_SETTLED. It is the queue's again; a wake-up is freed. Asks for a poll when ready
 * work has run low while the backend had more. Briefly takes the lock.
 */
void send_queue_finish(
    struct send_queue *queue, struct entry *entry, enum entry_stage stage, int64_t delay_ms);

/* Says whether agents may be asked from now on. Any thread; a short lock. */
void send_queue_set_policy(struct send_queue *queue, const struct send_policy *policy);

/*
 * Holds sends, beside whatever the flow says, or lets go: while held no agent is asked and no
 * wake-up lines up; write-backs go on. Any thread; a short lock.
 */
void send_queue_hold(struct send_queue *queue, bool held);

/*
 * Ends sending: entries past the send stage are still handed out until deadline_ms (monotonic), at
 * once even if they were waiting; then, or when none is left, send_queue_take returns NULL.
 */
void send_queue_close(struct send_queue *queue, int64_t deadline_ms);

/*
 * Blocks until no agent is being asked, or until deadline_ms (monotonic): then it returns false.
 * Once the queue is closed that stays so.
 */
bool send_queue_wait_for_sends(struct send_queue *queue, int64_t deadline_ms);

/* Copies the figures for observers, who must not hold up a worker. Any thread; takes no lock. */
void send_queue_snapshot(const struct send_queue *queue, struct send_queue_view *view);

/* A notification that no worker has in hand. */
struct send_queue_waiting {
    char id[ID_BYTES];
    char agent[ID_BYTES]; /* its slug, or its id while the slug is not known */
    enum entry_stage stage;
    enum failure_class failure_class; /* of its last failure at this stage */
    int64_t created_at_ms;            /* wall clock; 0 when not known */
    int64_t due_ms; /* when it is tried again (monotonic); 0: as soon as it can be */
};

/*
 * Copies at most most (SEND_QUEUE_MAX_LISTED at most) of those into waiting, the oldest first, and
 * returns how many; *total is how many there are. Any thread; a lock for as long as copying that
 * many takes, however many there are.
 */
enum { SEND_QUEUE_MAX_LISTED = 128 };
size_t send_queue_list_waiting(
    struct send_queue *queue, struct send_queue_waiting *waiting, size_t max, size_t *total);

#endif
