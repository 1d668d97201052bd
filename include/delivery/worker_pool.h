/* A fixed number of threads, each with its own HTTP client, that work off the send queue. */
#ifndef DELIVERY_WORKER_POOL_H
#define DELIVERY_WORKER_POOL_H

#include <stdatomic.h>

#include "delivery/entry.h"
#include "delivery/send_queue.h"
#include "http/client.h"

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

#endif
