/* A fixed number of threads, each with its own HTTP client, that work off the send queue. */
#ifndef DELIVERY_WORKER_POOL_H
#define DELIVERY_WORKER_POOL_H

#include <stdatomic.h>

#include "delivery/entry.h"
#include "delivery/send_queue.h"
#include "http/client.h"

struct activity_view;
struct worker_pool;

/* What a worker does with an entry it took; ends with send_queue_finish. May block for minutes. */
typedef void worker_run(void *context, struct http_client *client, struct entry *entry);

/* What the workers work with; all borrowed until the pool is destroyed. */
struct worker_pool_parts {
    struct send_queue *queue;
    worker_run *run;
    void *context; /* handed to run */
    struct ca_store *store;
    const atomic_bool *abort; /* their transfers stop within a second once it is true */
};

/*
 * A pool of count workers (1..256) that do not run yet. The caller destroys it after
 * its last use, when they have been stopped. ERROR_NO_MEMORY.
 */
int worker_pool_create(struct worker_pool **pool, const struct worker_pool_parts *parts,
    unsigned count, struct error *error);
void worker_pool_destroy(struct worker_pool *pool);

/*
 * Starts the workers, named mc-send-01 and on. Returns 0, ERROR_NO_MEMORY or ERROR_SYSTEM; then
 * those that were started run, until worker_pool_stop.
 */
int worker_pool_start(struct worker_pool *pool, struct error *error);

/*
 * Copies what the worker of that number (1 and on) does; false when there is none. Any thread,
 * whether workers run or not; a short lock.
 */
bool worker_pool_snapshot(struct worker_pool *pool, unsigned number, struct activity_view *view);

/*
 * Logs a line for each worker: what it works on, at which stage, and for how long. Any thread,
 * while the pool is there; blocks as the log does.
 */
void worker_pool_log(struct worker_pool *pool);

/*
 * Waits until all workers have ended, which they do once the queue is closed and their work is
 * done, or until deadline_ms (monotonic). Returns false when some still work.
 */
bool worker_pool_wait(struct worker_pool *pool, int64_t deadline_ms);

/* Waits for the workers to end. */
void worker_pool_stop(struct worker_pool *pool);

/* What a worker is doing at the moment, for those who ask while it works. */

struct activity_view {
    bool busy; /* false: everything but since_ms says nothing */
    enum entry_kind kind;
    enum entry_stage stage;
    char id[ID_BYTES];    /* of the notification, or of the agent that is woken */
    char agent[ID_BYTES]; /* its slug, or its id while the slug is not known */
    int64_t since_ms;     /* when it came to this stage, or became idle; monotonic */
};

/* Embedded in its worker. Written by the worker's thread, read by any, each under a brief lock. */
struct activity {
    /* Guards view. */
    struct mutex lock;
    struct activity_view view;
};

/* An idle worker's. */
void activity_init(struct activity *activity);
void activity_fini(struct activity *activity);

/* The worker has taken entry, and says through it what follows. */
void activity_begin(struct activity *activity, struct entry *entry);

/* The entry that it runs comes to stage, or turns out to be the agent's of that slug. NULL: none.
 */
void activity_enter(struct activity *activity, enum entry_stage stage);
void activity_name_agent(struct activity *activity, const char *slug);

/* The worker is idle; what it ran is no longer its own. */
void activity_end(struct activity *activity);

/* What the worker does at this moment, in *view. Any thread; a short lock. */
void activity_snapshot(struct activity *activity, struct activity_view *view);

#endif
