#include "base/clock.h"
#include "queue_state.h"

/* While all workers are busy, what a poll would find could not be begun; yet it should be known. */
enum { LONGEST_OWED_MS = 1000 };

void send_queue_on_poll(
    struct send_queue *queue, void (*ask_for_poll)(void *context), void *context)
{
    queue->ask_for_poll = ask_for_poll;
    queue->poll_context = context;
}

bool queue_takes_poll_locked(struct send_queue *queue, bool runs_dry)
{
    mutex_assert_held(&queue->lock);
    bool is_time = runs_dry || queue->free_workers > 0 ||
                   clock_monotonic_ms() - queue->offered_at_ms >= LONGEST_OWED_MS;
    bool owed = queue->poll_owed && is_time;
    bool low = queue->backend_has_more && queue_is_low_locked(queue);
    if (!owed && !low)
        return false;
    queue->poll_owed = false;
    queue->backend_has_more = false;
    return true;
}

void queue_ask_for_poll(const struct send_queue *queue)
{
    if (queue->ask_for_poll != NULL)
        queue->ask_for_poll(queue->poll_context);
}

void send_queue_expect_more(struct send_queue *queue)
{
    mutex_lock(&queue->lock);
    queue->poll_owed = true;
    bool poll_now = queue_takes_poll_locked(queue, false);
    mutex_unlock(&queue->lock);
    if (poll_now)
        queue_ask_for_poll(queue);
}
