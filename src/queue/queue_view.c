#include <assert.h>

#include "base/text.h"
#include "queue_state.h"

static void show(atomic_size_t *shown, size_t number)
{
    atomic_store_explicit(shown, number, memory_order_relaxed);
}

static void show_oldest(atomic_llong *shown, const struct heap *heap)
{
    const struct heap_item *oldest = heap_first(heap);
    atomic_store_explicit(shown, oldest != NULL ? oldest->due_ms : 0, memory_order_relaxed);
}

void queue_show_locked(struct send_queue *queue)
{
    mutex_assert_held(&queue->lock);
    struct shown *shown = &queue->shown;
    show(&shown->ready, queue->ready.ready);
    show(&shown->waiting, queue->waiting.count);
    show(&shown->running, queue->running);
    show(&shown->lanes, queue->lane_count);
    show(&shown->undelivered, queue->unsettled.count);
    show(&shown->recorded, queue->recorded.count);
    show_oldest(&shown->oldest_undelivered_ms, &queue->unsettled);
    show_oldest(&shown->oldest_recorded_ms, &queue->recorded);
}

void send_queue_look(const struct send_queue *queue, struct send_queue_view *view)
{
    const struct shown *shown = &queue->shown;
    *view = (struct send_queue_view){
        .ready = atomic_load_explicit(&shown->ready, memory_order_relaxed),
        .waiting = atomic_load_explicit(&shown->waiting, memory_order_relaxed),
        .running = atomic_load_explicit(&shown->running, memory_order_relaxed),
        .lanes = atomic_load_explicit(&shown->lanes, memory_order_relaxed),
        .undelivered = atomic_load_explicit(&shown->undelivered, memory_order_relaxed),
        .recorded = atomic_load_explicit(&shown->recorded, memory_order_relaxed),
        .oldest_undelivered_ms =
            atomic_load_explicit(&shown->oldest_undelivered_ms, memory_order_relaxed),
        .oldest_recorded_ms =
            atomic_load_explicit(&shown->oldest_recorded_ms, memory_order_relaxed),
    };
}

void send_queue_note_record(struct send_queue *queue, struct entry *entry, bool recorded)
{
    mutex_lock(&queue->lock);
    queue_set_recorded_locked(queue, entry, recorded);
    queue_show_locked(queue);
    mutex_unlock(&queue->lock);
}

/* Workers, of which there are 256 at most, may have the oldest in hand. */
enum { MOST_LOOKED_AT = SEND_QUEUE_MOST_LISTED + 256 };

struct waiting_list {
    struct send_queue_waiting *places;
    size_t count;
    size_t most;
};

static bool add_waiting(void *context, struct heap_item *item)
{
    struct waiting_list *list = context;
    const struct entry *entry = CONTAINER_OF(item, struct entry, by_age);
    if (entry->running)
        return true;
    struct send_queue_waiting *place = &list->places[list->count++];
    text_copy(place->id, sizeof place->id, entry->item.id);
    text_copy(place->agent, sizeof place->agent,
        entry->agent_slug[0] != '\0' ? entry->agent_slug : entry->agent_id);
    place->stage = entry->stage;
    place->failure_class = entry->failure_class;
    place->created_at_ms = entry->created_at_ms;
    place->due_ms = entry->due.place != 0 ? entry->due.due_ms : 0;
    return list->count < list->most;
}

size_t send_queue_list_waiting(
    struct send_queue *queue, struct send_queue_waiting *waiting, size_t most, size_t *total)
{
    assert(most > 0 && most <= SEND_QUEUE_MOST_LISTED);
    struct waiting_list list = {.places = waiting, .most = most};
    mutex_lock(&queue->lock);
    heap_visit(&queue->unsettled, MOST_LOOKED_AT, add_waiting, &list);
    *total = queue->unsettled.count - (queue->running - queue->wakes_running);
    mutex_unlock(&queue->lock);
    return list.count;
}
