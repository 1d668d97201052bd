#include "loops/loop.h"

#include "base/clock.h"

void loop_init(struct loop *loop)
{
    mutex_init(&loop->lock);
    cond_init(&loop->changed);
    loop->poked = false;
    loop->stopping = false;
    loop->started = false;
    loop->expected_ms = clock_monotonic_ms() + LOOP_LONGEST_ROUND_MS;
    loop->client = NULL;
}

void loop_fini(struct loop *loop)
{
    cond_fini(&loop->changed);
    mutex_fini(&loop->lock);
}

int loop_open(
    struct loop *loop, struct ca_store *store, const atomic_bool *abort, struct error *error)
{
    loop_init(loop);
    int result = http_client_create(&loop->client, store, abort, error);
    if (result != 0)
        loop_fini(loop);
    return result;
}

void loop_close(struct loop *loop)
{
    loop_fini(loop);
    http_client_destroy(loop->client);
}

int loop_start(struct loop *loop, const char *name, void *(*body)(void *argument), void *argument,
    struct error *error)
{
    int result = thread_start(&loop->thread, name, body, argument, error);
    loop->started = result == 0;
    return result;
}

void loop_end(struct loop *loop)
{
    loop_stop(loop);
    if (loop->started)
        thread_join(loop->thread);
    loop->started = false;
}

static void set_flag(struct loop *loop, bool *flag)
{
    mutex_lock(&loop->lock);
    *flag = true;
    cond_signal(&loop->changed);
    mutex_unlock(&loop->lock);
}

void loop_poke(struct loop *loop)
{
    set_flag(loop, &loop->poked);
}

void loop_stop(struct loop *loop)
{
    set_flag(loop, &loop->stopping);
}

bool loop_wait(struct loop *loop, int64_t until_ms, int64_t poke_from_ms)
{
    mutex_lock(&loop->lock);
    loop->expected_ms =
        until_ms < SYNC_NO_DEADLINE - LOOP_SLACK_MS ? until_ms + LOOP_SLACK_MS : SYNC_NO_DEADLINE;
    while (!loop->stopping) {
        int64_t wake_ms = loop->poked && poke_from_ms < until_ms ? poke_from_ms : until_ms;
        if (clock_monotonic_ms() >= wake_ms)
            break;
        cond_wait_until(&loop->changed, &loop->lock, wake_ms);
    }
    loop->poked = false;
    loop->expected_ms = clock_monotonic_ms() + LOOP_LONGEST_ROUND_MS;
    bool going_on = !loop->stopping;
    mutex_unlock(&loop->lock);
    return going_on;
}

bool loop_is_alive(struct loop *loop, int64_t now_ms)
{
    mutex_lock(&loop->lock);
    bool alive = loop->stopping || now_ms <= loop->expected_ms;
    mutex_unlock(&loop->lock);
    return alive;
}
