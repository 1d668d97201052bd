/*
 * Whoever has just written, or has just been answered, is likely to write again, so polls are
 * frequent for a minute after each event. Then each interval is half as long again as the last one,
 * until it is the normal one; after an hour of silence it is the one for idle accounts:
 *
 *     event -> 1 s for a minute -> 1.5 s, 2.3 s, 3.4 s -> 5 s ... -> (an hour) idle -> event
 *
 * A wake-up of an agent that ends in silence is no event, or an account with agents would never be
 * idle; nor is the start of the process.
 *
 * The queue knows of new notifications and posted replies, and the poller passes that on after each
 * poll. Others wake the poller if its next poll may be far away.
 *
 * Threads: events may be noted by any; the intervals are the poller's. Times are arguments.
 */
#include "delivery/attention.h"

#include "base/sync.h"

void attention_init(struct attention *attention, int64_t active_ms, int64_t normal_ms,
    int64_t idle_ms, int64_t now_ms)
{
    *attention = (struct attention){
        .active_ms = active_ms,
        .normal_ms = normal_ms,
        .idle_ms = idle_ms,
        .began_ms = now_ms,
        .interval_ms = normal_ms,
    };
}

bool attention_note(struct attention *attention, int64_t event_ms)
{
    int64_t last_ms = atomic_load(&attention->event_ms);
    /* Two at the same time differ by nothing that matters. */
    if (event_ms > last_ms)
        atomic_store(&attention->event_ms, event_ms);
    return last_ms == 0 || event_ms - last_ms >= ATTENTION_MS;
}

void attention_wake(struct attention *attention)
{
    if (attention == NULL)
        return;
    bool was_rare = attention_note(attention, clock_monotonic_ms());
    if (was_rare && attention->active_ms < attention->idle_ms && attention->poller != NULL)
        loop_poke(attention->poller);
}

static int64_t choose_interval_ms(const struct attention *attention, int64_t now_ms)
{
    int64_t event_ms = atomic_load(&attention->event_ms);
    int64_t slower_ms = attention->interval_ms + attention->interval_ms / 2;
    if (event_ms != 0 && now_ms - event_ms < ATTENTION_MS)
        return attention->active_ms;
    if (now_ms - (event_ms != 0 ? event_ms : attention->began_ms) >= ATTENTION_SILENCE_MS)
        return attention->idle_ms;
    return slower_ms < attention->normal_ms ? slower_ms : attention->normal_ms;
}

int64_t attention_next_ms(struct attention *attention, int64_t now_ms)
{
    attention->interval_ms = choose_interval_ms(attention, now_ms);
    return attention->interval_ms;
}
