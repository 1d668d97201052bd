/*
 * A loop owns one thread that sleeps between rounds of work. Two flags reach it from other threads,
 * poked and stopping, both set under the lock with a signal, so neither is lost between a round and
 * the next wait. The poke is cleared when the wait returns, before the round begins: a poke that
 * arrives during a round causes another one.
 *
 * expected_ms is what the watchdog compares with the clock: while the thread waits it is the end of
 * the wait plus slack, while it works it is LOOP_MAX_ROUND_MS from the start of the round.
 */
#include "base/loop.h"

void loop_init(struct loop *loop, const char *name, void *(*body)(void *owner), void *owner)
{
    *loop = (struct loop){.name = name, .body = body, .owner = owner};
    mutex_init(&loop->lock);
    cond_init(&loop->changed);
    loop->expected_ms = clock_monotonic_ms() + LOOP_MAX_ROUND_MS;
}

void loop_fini(struct loop *loop)
{
    cond_fini(&loop->changed);
    mutex_fini(&loop->lock);
}

int loop_start(struct loop *loop, struct error *error)
{
    int result = thread_start(&loop->thread, loop->name, loop->body, loop->owner, error);
    loop->started = result == 0;
    return result;
}

static void loop_set_flag(struct loop *loop, bool *flag)
{
    mutex_lock(&loop->lock);
    *flag = true;
    cond_signal(&loop->changed);
    mutex_unlock(&loop->lock);
}

void loop_request_stop(struct loop *loop)
{
    loop_set_flag(loop, &loop->stopping);
}

void loop_stop(struct loop *loop)
{
    loop_request_stop(loop);
    if (loop->started)
        thread_join(loop->thread);
    loop->started = false;
}

void loop_poke(struct loop *loop)
{
    loop_set_flag(loop, &loop->poked);
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
    loop->expected_ms = clock_monotonic_ms() + LOOP_MAX_ROUND_MS;
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

const char *watchdog_find_stalled(const struct watchdog *watchdog)
{
    int64_t now_ms = clock_monotonic_ms();
    for (size_t i = 0; i < watchdog->count; i++)
        if (!loop_is_alive(watchdog->loops[i], now_ms))
            return watchdog->loops[i]->name;
    return NULL;
}
