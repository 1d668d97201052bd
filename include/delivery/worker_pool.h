/* A fixed number of threads, each with its own HTTP client, that work off the send queue. */
#ifndef DELIVERY_WORKER_POOL_H
#define DELIVERY_WORKER_POOL_H

#include <stdatomic.h>

#include "base/sync.h"
#include "delivery/entry.h"
#include "delivery/send_queue.h"
#include "http/client.h"

struct worker_pool;

/*
 * Works on a taken entry and ends with send_queue_finish. Called on a worker's thread with its
 * client. May block for minutes.
 */
typedef void worker_run(void *context, struct http_client *client, struct entry *entry);

/* All borrowed until the pool is destroyed. */
struct worker_pool_parts {
    struct send_queue *queue;
    worker_run *run[ENTRY_KINDS]; /* what to do with an entry of each kind */
    void *contexts[ENTRY_KINDS];  /* passed to it */
    struct ca_store *store;
    const atomic_bool *abort; /* once true, the workers' transfers end within a second */
};

/*
 * A pool of count workers (1 to 256) that have not been started. The caller destroys it after its
 * last use, when they have been stopped. ERROR_NO_MEMORY.
 */
int worker_pool_create(struct worker_pool **pool, const struct worker_pool_parts *parts,
    unsigned count, struct error *error);
void worker_pool_destroy(struct worker_pool *pool);

/*
 * Starts the workers, named mc-send-01 and on. Returns 0, ERROR_NO_MEMORY or ERROR_SYSTEM; those
 * started before the error run until worker_pool_stop.
 */
int worker_pool_start(struct worker_pool *pool, struct error *error);

/*
 * Copies what the worker of that number (from 1) is doing; false when there is none. Any thread,
 * whether workers run or not. Briefly takes the queue's lock.
 */
bool worker_pool_snapshot(struct worker_pool *pool, unsigned number, struct activity *activity);

/*
 * Logs a line for each worker: what it works on, at which stage, and for how long. Any thread;
 * blocks as the log does.
 */
void worker_pool_log(struct worker_pool *pool);

/*
 * Waits until all workers have ended, which they do once the queue is closed and has nothing left
 * for them, or until deadline_ms (monotonic). False when some are still working.
 */
bool worker_pool_wait(struct worker_pool *pool, int64_t deadline_ms);

/* Waits for the workers to end, however long that takes, and joins them. */
void worker_pool_stop(struct worker_pool *pool);

#endif
