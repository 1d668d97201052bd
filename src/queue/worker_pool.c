#include "queue/worker_pool.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/sync.h"
#include "queue/activity.h"

static const char component[] = "Workers";

struct worker {
    pthread_t thread;
    struct worker_pool *pool;
    struct http_client *client;
    struct activity activity;
};

struct worker_pool {
    /* Written before the workers start, only read afterwards. */
    struct send_queue *queue;
    worker_run *run;
    void *context;
    unsigned started;

    /* Guards alive. */
    struct mutex lock;
    struct cond ended;
    unsigned alive;

    struct worker workers[];
};

static void count_alive(struct worker_pool *pool, int change)
{
    mutex_lock(&pool->lock);
    pool->alive += (unsigned)change;
    cond_signal(&pool->ended);
    mutex_unlock(&pool->lock);
}

static void *work(void *argument)
{
    struct worker *worker = argument;
    struct worker_pool *pool = worker->pool;
    struct entry *entry;
    while ((entry = send_queue_take(pool->queue)) != NULL) {
        activity_begin(&worker->activity, entry);
        pool->run(pool->context, worker->client, entry);
        activity_end(&worker->activity);
    }
    count_alive(pool, -1);
    return NULL;
}

static int start_worker(struct worker_pool *pool, unsigned number, struct ca_store *store,
    const atomic_bool *abort, struct error *error)
{
    struct worker *worker = &pool->workers[number];
    char name[sizeof "mc-send-000"];
    snprintf(name, sizeof name, "mc-send-%02u", (number + 1) % 1000);
    worker->pool = pool;
    int result = http_client_create(&worker->client, store, abort, error);
    if (result != 0)
        return result;
    activity_init(&worker->activity);
    count_alive(pool, 1);
    result = thread_start(&worker->thread, name, work, worker, error);
    if (result != 0) {
        count_alive(pool, -1);
        activity_fini(&worker->activity);
        http_client_destroy(worker->client);
    }
    return result;
}

int worker_pool_start(struct worker_pool **pool, unsigned count, struct send_queue *queue,
    worker_run *run, void *context, struct ca_store *store, const atomic_bool *abort,
    struct error *error)
{
    struct worker_pool *created =
        calloc(1, sizeof *created + (size_t)count * sizeof created->workers[0]);
    if (created == NULL)
        return error_set(error, ERROR_NO_MEMORY, "no memory for %u workers", count);
    created->queue = queue;
    created->run = run;
    created->context = context;
    mutex_init(&created->lock);
    cond_init(&created->ended);
    int result = 0;
    for (; result == 0 && created->started < count; created->started += result == 0)
        result = start_worker(created, created->started, store, abort, error);
    if (result != 0) {
        send_queue_close(queue, clock_monotonic_ms());
        worker_pool_stop(created);
        return result;
    }
    *pool = created;
    return 0;
}

static void log_busy(unsigned number, const struct activity_view *view, int64_t for_ms)
{
    static const char *const stages[] = {
        [STAGE_KNOWN] = "known",
        [STAGE_SENDING] = "sending",
        [STAGE_REPLIED] = "replied",
        [STAGE_WRITTEN] = "written",
        [STAGE_GIVING_UP] = "giving_up",
        [STAGE_SETTLED] = "settled",
    };
    bool wakes = view->kind == ENTRY_WAKE;
    log_event(LOG_LEVEL_INFO, component,
        LOG_FIELDS(LOG_TEXT("agent", view->agent), LOG_TEXT("stage", stages[view->stage]),
            LOG_NUMBER("for_ms", for_ms)),
        "Worker %u: %s %s", number, wakes ? "wakes agent" : "delivers", view->id);
}

void worker_pool_log(struct worker_pool *pool)
{
    struct activity_view view;
    for (unsigned i = 0; i < pool->started; i++) {
        activity_look(&pool->workers[i].activity, &view);
        int64_t for_ms = clock_monotonic_ms() - view.since_ms;
        if (view.busy)
            log_busy(i + 1, &view, for_ms);
        else
            log_event(LOG_LEVEL_INFO, component, LOG_FIELDS(LOG_NUMBER("for_ms", for_ms)),
                "Worker %u: idle", i + 1);
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
    if (pool == NULL)
        return;
    for (unsigned i = 0; i < pool->started; i++) {
        thread_join(pool->workers[i].thread);
        activity_fini(&pool->workers[i].activity);
        http_client_destroy(pool->workers[i].client);
    }
    cond_fini(&pool->ended);
    mutex_fini(&pool->lock);
    free(pool);
}
