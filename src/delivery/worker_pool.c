/*
 * Each worker loops: take an entry from the send queue (the only place where it blocks idle), let
 * run() do everything that the entry needs, which ends with giving it back. Workers share nothing
 * but the queue; each has its own HTTP client, because a libcurl handle belongs to one thread.
 *
 * A worker ends when send_queue_take returns NULL, after the close. alive counts those that have
 * not, so that the shutdown can wait for them with a deadline and abort their transfers when it
 * passes; pthread_join has no deadline. Threads are never cancelled or detached.
 *
 * A worker may be in the same request for minutes, so each has an activity, which the queue keeps
 * up to date: /status and SIGUSR1 read that instead of the entry, which is the worker's alone.
 */
#include "delivery/worker_pool.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/sync.h"
#include "base/text.h"
#include "delivery/entry.h"

static const char component[] = "Workers";

struct worker {
    pthread_t thread;
    struct worker_pool *pool;
    struct http_client *client;
    struct activity activity;
};

struct worker_pool {
    /* Never changed once workers run. */
    struct worker_pool_parts parts;
    unsigned count;
    unsigned started; /* only of the thread that starts and stops them */

    /* Guards alive: workers whose thread has not returned. */
    struct mutex lock;
    struct cond ended;
    unsigned alive;

    struct worker workers[];
};

static void change_alive(struct worker_pool *pool, int change)
{
    mutex_lock(&pool->lock);
    pool->alive += (unsigned)change;
    cond_signal(&pool->ended);
    mutex_unlock(&pool->lock);
}

static void *worker_thread(void *argument)
{
    struct worker *worker = argument;
    struct worker_pool *pool = worker->pool;
    struct entry *entry;
    while ((entry = send_queue_take(pool->parts.queue, &worker->activity)) != NULL)
        pool->parts.run[entry->kind](pool->parts.contexts[entry->kind], worker->client, entry);
    change_alive(pool, -1);
    return NULL;
}

static int start_worker(struct worker_pool *pool, unsigned number, struct error *error)
{
    struct worker *worker = &pool->workers[number];
    char name[sizeof "mc-send-000"];
    snprintf(name, sizeof name, "mc-send-%02u", (number + 1) % 1000);
    int result = http_client_create(&worker->client, pool->parts.store, pool->parts.abort, error);
    if (result != 0)
        return result;
    change_alive(pool, 1);
    result = thread_start(&worker->thread, name, worker_thread, worker, error);
    if (result != 0) {
        change_alive(pool, -1);
        http_client_destroy(worker->client);
    }
    return result;
}

int worker_pool_create(struct worker_pool **pool, const struct worker_pool_parts *parts,
    unsigned count, struct error *error)
{
    struct worker_pool *created =
        calloc(1, sizeof *created + (size_t)count * sizeof created->workers[0]);
    if (created == NULL)
        return error_set(error, ERROR_NO_MEMORY, "no memory for %u workers", count);
    created->parts = *parts;
    created->count = count;
    mutex_init(&created->lock);
    cond_init(&created->ended);
    for (unsigned i = 0; i < count; i++) {
        created->workers[i].pool = created;
        created->workers[i].activity.since_ms = clock_monotonic_ms();
    }
    *pool = created;
    return 0;
}

void worker_pool_destroy(struct worker_pool *pool)
{
    if (pool == NULL)
        return;
    cond_fini(&pool->ended);
    mutex_fini(&pool->lock);
    free(pool);
}

int worker_pool_start(struct worker_pool *pool, struct error *error)
{
    int result = 0;
    for (; result == 0 && pool->started < pool->count; pool->started += result == 0)
        result = start_worker(pool, pool->started, error);
    return result;
}

static void log_busy_worker(unsigned number, const struct activity *activity, int64_t for_ms)
{
    bool wakes = activity->kind == ENTRY_WAKE;
    log_event(LOG_LEVEL_INFO, component,
        LOG_FIELDS(LOG_TEXT("agent", activity->agent),
            LOG_TEXT("stage", entry_stage_words[activity->stage]), LOG_NUMBER("for_ms", for_ms)),
        "Worker %u: %s %s", number, wakes ? "wakes agent" : "delivers", activity->id);
}

bool worker_pool_snapshot(struct worker_pool *pool, unsigned number, struct activity *activity)
{
    if (number < 1 || number > pool->count)
        return false;
    send_queue_read_activity(pool->parts.queue, &pool->workers[number - 1].activity, activity);
    return true;
}

void worker_pool_log(struct worker_pool *pool)
{
    struct activity activity;
    for (unsigned number = 1; worker_pool_snapshot(pool, number, &activity); number++) {
        int64_t for_ms = clock_monotonic_ms() - activity.since_ms;
        if (activity.busy)
            log_busy_worker(number, &activity, for_ms);
        else
            log_event(LOG_LEVEL_INFO, component, LOG_FIELDS(LOG_NUMBER("for_ms", for_ms)),
                "Worker %u: idle", number);
    }
}

bool worker_pool_wait(struct worker_pool *pool, int64_t deadline_ms)
{
    bool in_time = true;
    mutex_lock(&pool->lock);
    while (pool->alive > 0 && in_time)
        in_time = cond_wait_until(&pool->ended, &pool->lock, deadline_ms);
    bool all_ended = pool->alive == 0;
    mutex_unlock(&pool->lock);
    return all_ended;
}

void worker_pool_stop(struct worker_pool *pool)
{
    for (; pool->started > 0; pool->started--) {
        const struct worker *worker = &pool->workers[pool->started - 1];
        thread_join(worker->thread);
        http_client_destroy(worker->client);
    }
}
