/*
 * What idle workers do ahead of its turn. A lane with much to skip would spend two calls of the
 * backend on each of them, one after another, while workers have nothing to do. So a worker that
 * finds nothing else takes an entry ahead of its turn: what is to be skipped it skips, and what is
 * to be sent it gives back, unless the turn has come meanwhile (send_queue_take_turn).
 *
 * Only who has a lane's turn sends, so sends keep their order:
 *
 * - Entries that are looked at are in a list of their lane, in the order of sends. The lane sends
 *   nothing that comes after the first of them, since that one may have to be sent before.
 * - One that is given back gets its old place, also among those with the same createdAt.
 * - It takes the turn itself only if the lane is free and nothing of the lane goes before it.
 *
 * A look that finds nothing to skip costs a call more, as the context is read again in its turn. So
 * an entry is looked at once, and only while nothing has been done for it; and after MAX_LOOKS no
 * entry is looked at until one is skipped, ahead of its turn or in it. An account without skips so
 * pays for these few looks once.
 *
 * All functions but send_queue_take_turn expect the queue's lock; none blocks.
 */
#include <assert.h>

#include "base/sync.h"
#include "delivery/queue_state.h"

bool queue_may_look_at(const struct entry *entry)
{
    return entry->kind == ENTRY_DELIVERY && entry->queue.stage == STAGE_KNOWN &&
           entry->work.attempts == 0 && entry->work.runs == 0 && entry->work.record == RECORD_NONE;
}

bool queue_has_to_wait_for_look(const struct lane *lane)
{
    const struct entry *looked_at = TAILQ_FIRST(&lane->looked_at);
    const struct entry *ready = TAILQ_FIRST(&lane->ready_entries[CLASS_SEND]);
    return looked_at != NULL && ready != NULL && queue_goes_before(looked_at, ready);
}

/* Of a lane, or NULL: those that were looked at, or have failed before, may be in front of it. */
static struct entry *first_unseen_of_locked(struct send_queue *queue, const struct lane *lane)
{
    enum { MAX_PASSED_OVER = 64 };
    mutex_assert_held(&queue->lock);
    unsigned passed_over = 0;
    struct entry *entry = TAILQ_FIRST(&lane->ready_entries[CLASS_SEND]);
    while (entry != NULL && !entry->queue.unseen && passed_over++ < MAX_PASSED_OVER)
        entry = TAILQ_NEXT(entry, queue.in_lane);
    return entry != NULL && entry->queue.unseen ? entry : NULL;
}

struct entry *queue_find_unseen_locked(struct send_queue *queue)
{
    mutex_assert_held(&queue->lock);
    struct entry *entry = NULL;
    struct lane *lane;
    TAILQ_FOREACH (lane, &queue->ready_lanes[LIST_AHEAD], in_list[LIST_AHEAD])
        if ((entry = first_unseen_of_locked(queue, lane)) != NULL)
            break;
    if (entry == NULL)
        return NULL;
    TAILQ_REMOVE(&queue->ready_lanes[LIST_AHEAD], lane, in_list[LIST_AHEAD]);
    TAILQ_INSERT_TAIL(&queue->ready_lanes[LIST_AHEAD], lane, in_list[LIST_AHEAD]);
    entry->queue.ahead = true;
    return entry;
}

void queue_add_looked_at_locked(struct send_queue *queue, struct entry *entry)
{
    mutex_assert_held(&queue->lock);
    queue_insert_in_order(&entry->queue.lane->looked_at, entry);
    queue_lane_changed_locked(queue, entry->queue.lane);
}

void queue_remove_looked_at_locked(struct send_queue *queue, struct entry *entry)
{
    mutex_assert_held(&queue->lock);
    TAILQ_REMOVE(&entry->queue.lane->looked_at, entry, queue.in_lane);
    queue_lane_changed_locked(queue, entry->queue.lane);
}

void queue_renew_looks_locked(struct send_queue *queue)
{
    mutex_assert_held(&queue->lock);
    /* As many workers as there may be looks could have nothing else to do. */
    if (queue->looks_left == 0)
        cond_broadcast(&queue->work);
    queue->looks_left = MAX_LOOKS;
}

/* Whether it is the first of its lane, which is free, and could be taken to be sent. */
static bool may_take_turn_locked(struct send_queue *queue, const struct entry *entry)
{
    mutex_assert_held(&queue->lock);
    const struct lane *lane = entry->queue.lane;
    const struct entry *ready = TAILQ_FIRST(&lane->ready_entries[CLASS_SEND]);
    bool is_first = TAILQ_FIRST(&lane->looked_at) == entry &&
                    (ready == NULL || queue_goes_before(entry, ready));
    bool is_free = !lane->busy && lane->ready_count[CLASS_WRITE_BACK] == 0 &&
                   lane->paused_until_ms <= clock_monotonic_ms();
    return is_first && is_free && queue_may_send_locked(queue, queue->asking);
}

bool send_queue_take_turn(struct send_queue *queue, struct entry *entry)
{
    assert(entry->queue.place == PLACE_WORKER && entry->queue.stage == STAGE_KNOWN);
    mutex_lock(&queue->lock);
    if (entry->queue.ahead && may_take_turn_locked(queue, entry)) {
        entry->queue.lane->busy = true;
        queue_remove_looked_at_locked(queue, entry);
        entry->queue.ahead = false;
        entry->work.breaker_trips = entry->queue.lane->breaker_trips;
        queue->asking++;
        queue->wake_was_last = false;
    }
    bool has_turn = !entry->queue.ahead;
    mutex_unlock(&queue->lock);
    return has_turn;
}
