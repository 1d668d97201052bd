/* A fixed number of threads, each with its own HTTP client, that work off the send queue. */
#ifndef QUEUE_WORKER_POOL_H
#define QUEUE_WORKER_POOL_H

#include <stdatomic.h>

#include "queue/send_queue.h"
#include "remote/http_client.h"

struct worker_pool;

/* What a worker does with an entry it took; ends with send_queue_finish. May block for minutes. */
typedef void worker_run(void *context, struct http_client *client, struct entry *entry);

/*
 * Starts count workers (1..256), named mc-send-01 and on. Their transfers stop within a second once
 * *abort is true. Everything given is borrowed until worker_pool_stop. Returns 0, ERROR_NO_MEMORY
 * or ERROR_SYSTEM; then no thread is left running.
 */
int worker_pool_start(struct worker_pool **pool, unsigned count, struct send_queue *queue,
    worker_run *run, void *context, struct ca_store *store, const atomic_bool *abort,
    struct error *error);

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

/* Waits for the workers to end and frees the pool. NULL is nothing. */
void worker_pool_stop(struct worker_pool *pool);

#endif
