#include "base/clock.h"
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

/* A row without a readable createdAt is as old as this process has known it. */
void queue_add_by_age_locked(struct send_queue *queue, struct entry *entry)
{
    int64_t since_ms = entry->created_at_ms > 0 ? entry->created_at_ms : clock_wall_ms();
    heap_push(&queue->unsettled, &entry->by_age, since_ms);
}

void queue_set_recorded_locked(struct send_queue *queue, struct entry *entry, bool recorded)
{
    mutex_assert_held(&queue->lock);
    entry->recorded = recorded;
    bool counted = entry->record_by_age.place != 0;
    if (recorded && !counted)
        heap_push(&queue->recorded, &entry->record_by_age, entry->by_age.due_ms);
    else if (!recorded && counted)
        heap_remove(&queue->recorded, &entry->record_by_age);
}

void queue_drop_by_age_locked(struct send_queue *queue, struct entry *entry)
{
    if (entry->by_age.place != 0)
        heap_remove(&queue->unsettled, &entry->by_age);
    if (entry->record_by_age.place != 0)
        heap_remove(&queue->recorded, &entry->record_by_age);
}

void send_queue_note_record(struct send_queue *queue, struct entry *entry, bool recorded)
{
    mutex_lock(&queue->lock);
    queue_set_recorded_locked(queue, entry, recorded);
    queue_show_locked(queue);
    mutex_unlock(&queue->lock);
}
