/*
 * The lists that the send queue is made of, and how entries and lanes come into them and leave.
 *
 * A lane is an agent with entries. It keeps those that are ready in one list for each class of
 * work, oldest first. A lane that is not busy is in lane_lists once for each class that it has
 * ready entries of; relist() derives that from its state after every change, so a lane with a
 * worker is never found. Lanes are served in turn: one that becomes free goes to the end of its
 * lists.
 *
 * "ready" counts deliveries that could be handed out, of each lane at most max_of_lane: a single
 * agent with a long backlog must not look like enough work for all workers, or the poller would not
 * fetch what is there for others.
 *
 * Everything here runs with the queue's lock held. Nothing is freed under it: what leaves goes to a
 * deferred_free, which the caller runs after it has released the lock.
 */
#include <assert.h>
#include <stdlib.h>

#include "base/sync.h"
#include "base/text.h"
#include "delivery/entry.h"
#include "delivery/queue_state.h"
#include "delivery/send_queue.h"

static enum work_class work_class_of(const struct entry *entry)
{
    if (entry->kind == ENTRY_WAKE)
        return CLASS_WAKE;
    return entry->queue.stage == STAGE_KNOWN ? CLASS_SEND : CLASS_WRITE_BACK;
}

void lane_lists_init(struct lane_lists *lists, size_t capacity)
{
    /* Below half of the capacity another page is welcome (queue_is_low_locked). */
    size_t share = (capacity + 1) / 2;
    for (int class = 0; class < CLASS_COUNT; class ++)
        TAILQ_INIT(&lists->lists[class]);
    lists->ready = 0;
    lists->max_of_lane = share < SEND_QUEUE_READY_OF_LANE ? share : SEND_QUEUE_READY_OF_LANE;
}

/* Puts the lane into the lists that its state calls for, and out of the others. */
static void relist(struct lane_lists *lists, struct lane *lane)
{
    for (int class = 0; class < CLASS_COUNT; class ++) {
        bool wanted = !lane->busy && lane->ready_count[class] > 0;
        if (wanted && !lane->listed[class])
            TAILQ_INSERT_TAIL(&lists->lists[class], lane, in_list[class]);
        if (!wanted && lane->listed[class])
            TAILQ_REMOVE(&lists->lists[class], lane, in_list[class]);
        lane->listed[class] = wanted;
    }
}

/* What the lane contributes to lists->ready. */
static size_t ready_work(const struct lane_lists *lists, const struct lane *lane)
{
    size_t sends = lane->paused_until_ms == 0 ? lane->ready_count[CLASS_SEND] : 0;
    size_t ready = lane->ready_count[CLASS_WRITE_BACK] + sends;
    return ready < lists->max_of_lane ? ready : lists->max_of_lane;
}

static bool is_older(const struct entry *one, const struct entry *other)
{
    return one->created_at_ms < other->created_at_ms;
}

void lane_insert(struct lane_lists *lists, struct entry *entry)
{
    struct lane *lane = entry->queue.lane;
    enum work_class class = work_class_of(entry);
    /* Pages come oldest first, so its place is nearly always at the end. */
    struct entry *before = TAILQ_LAST(&lane->ready[class], entry_list);
    while (before != NULL && is_older(entry, before))
        before = TAILQ_PREV(before, entry_list, queue.in_lane);
    lists->ready -= ready_work(lists, lane);
    if (before != NULL)
        TAILQ_INSERT_AFTER(&lane->ready[class], before, entry, queue.in_lane);
    else
        TAILQ_INSERT_HEAD(&lane->ready[class], entry, queue.in_lane);
    lane->ready_count[class]++;
    entry->queue.place = PLACE_READY;
    entry->queue.ready_us = clock_monotonic_us();
    lists->ready += ready_work(lists, lane);
    relist(lists, lane);
}

void lane_remove(struct lane_lists *lists, struct entry *entry)
{
    struct lane *lane = entry->queue.lane;
    enum work_class class = work_class_of(entry);
    lists->ready -= ready_work(lists, lane);
    TAILQ_REMOVE(&lane->ready[class], entry, queue.in_lane);
    lane->ready_count[class]--;
    entry->queue.place = PLACE_NONE;
    lists->ready += ready_work(lists, lane);
    relist(lists, lane);
}

void lane_set_busy(struct lane_lists *lists, struct lane *lane, bool busy)
{
    lane->busy = busy;
    relist(lists, lane);
}

static void set_paused_until(struct lane_lists *lists, struct lane *lane, int64_t until_ms)
{
    lists->ready -= ready_work(lists, lane);
    lane->paused_until_ms = until_ms;
    lists->ready += ready_work(lists, lane);
}

void lane_pause(struct lane_lists *lists, struct lane *lane, int64_t until_ms)
{
    if (until_ms > lane->paused_until_ms)
        set_paused_until(lists, lane, until_ms);
}

struct entry *lane_lists_first(
    struct lane_lists *lists, enum work_class class, int64_t now_ms, int64_t *resume_ms)
{
    struct lane *lane;
    TAILQ_FOREACH (lane, &lists->lists[class], in_list[class]) {
        if (lane->paused_until_ms != 0 && now_ms >= lane->paused_until_ms)
            set_paused_until(lists, lane, 0);
        if (lane->paused_until_ms == 0 || class == CLASS_WRITE_BACK)
            return TAILQ_FIRST(&lane->ready[class]);
        if (lane->paused_until_ms < *resume_ms)
            *resume_ms = lane->paused_until_ms;
    }
    return NULL;
}

/* NULL without memory. */
static struct lane *find_or_add_lane_locked(struct send_queue *queue, const char *agent_id)
{
    mutex_assert_held(&queue->lock);
    struct id_item *found = id_table_find(&queue->lanes, agent_id);
    if (found != NULL)
        return CONTAINER_OF(found, struct lane, item);
    struct lane *lane = calloc(1, sizeof *lane);
    if (lane == NULL)
        return NULL;
    text_copy(lane->item.id, sizeof lane->item.id, agent_id);
    for (int class = 0; class < CLASS_COUNT; class ++)
        TAILQ_INIT(&lane->ready[class]);
    id_table_add(&queue->lanes, &lane->item);
    queue->lane_count++;
    return lane;
}

struct entry *queue_new_entry_locked(
    struct send_queue *queue, enum entry_kind kind, const char *id, const char *agent_id)
{
    mutex_assert_held(&queue->lock);
    /* Room in every heap now, so that later moves between them cannot fail. */
    if (heap_reserve(&queue->waiting, queue->held + 1, NULL) != 0 ||
        heap_reserve(&queue->unsettled, queue->held + 1, NULL) != 0 ||
        heap_reserve(&queue->recorded, queue->held + 1, NULL) != 0 ||
        heap_reserve(&queue->failing, queue->held + 1, NULL) != 0)
        return NULL;
    struct entry *entry = calloc(1, sizeof *entry);
    if (entry == NULL)
        return NULL;
    entry->kind = kind;
    text_copy(entry->item.id, sizeof entry->item.id, id);
    text_copy(entry->agent_id, sizeof entry->agent_id, agent_id);
    struct lane *lane = find_or_add_lane_locked(queue, entry->agent_id);
    if (lane == NULL) {
        free(entry);
        return NULL;
    }
    entry->queue.lane = lane;
    lane->entries++;
    if (kind == ENTRY_DELIVERY && lane->deliveries++ == 0)
        queue->agents_with_work++;
    return entry;
}

static void entry_free(struct entry *entry)
{
    free(entry->work.reply);
    free(entry);
}

void deferred_free_init(struct deferred_free *deferred_free)
{
    TAILQ_INIT(&deferred_free->entries);
    TAILQ_INIT(&deferred_free->lanes);
}

void deferred_free_run(struct deferred_free *deferred_free)
{
    struct entry *entry;
    struct lane *lane;
    while ((entry = TAILQ_FIRST(&deferred_free->entries)) != NULL) {
        TAILQ_REMOVE(&deferred_free->entries, entry, queue.in_queue);
        entry_free(entry);
    }
    while ((lane = TAILQ_FIRST(&deferred_free->lanes)) != NULL) {
        TAILQ_REMOVE(&deferred_free->lanes, lane, in_list[0]);
        free(lane);
    }
}

void queue_leave_lane_locked(
    struct send_queue *queue, struct entry *entry, struct deferred_free *deferred_free)
{
    mutex_assert_held(&queue->lock);
    struct lane *lane = entry->queue.lane;
    if (lane == NULL)
        return;
    entry->queue.lane = NULL;
    if (entry->kind == ENTRY_DELIVERY && --lane->deliveries == 0) {
        queue_set_unknown_locked(queue, lane, false);
        queue->agents_with_work--;
    }
    if (--lane->entries > 0)
        return;
    assert(!lane->busy);
    id_table_remove(&queue->lanes, &lane->item);
    queue->lane_count--;
    TAILQ_INSERT_TAIL(&deferred_free->lanes, lane, in_list[0]);
}

static void forget_wake_locked(
    struct send_queue *queue, struct entry *entry, struct deferred_free *deferred_free)
{
    mutex_assert_held(&queue->lock);
    entry->queue.lane->wakes--;
    queue_leave_lane_locked(queue, entry, deferred_free);
    TAILQ_REMOVE(&queue->wakes, entry, queue.in_queue);
    TAILQ_INSERT_TAIL(&deferred_free->entries, entry, queue.in_queue);
}

void queue_forget_locked(
    struct send_queue *queue, struct entry *entry, struct deferred_free *deferred_free)
{
    mutex_assert_held(&queue->lock);
    assert(entry->queue.place != PLACE_WORKER);
    if (entry->queue.place == PLACE_READY)
        lane_remove(&queue->ready, entry);
    if (entry->kind == ENTRY_WAKE) {
        forget_wake_locked(queue, entry, deferred_free);
        return;
    }
    if (entry->queue.place == PLACE_WAITING)
        heap_remove(&queue->waiting, &entry->queue.due);
    if (entry->queue.stage == STAGE_SETTLED)
        queue->settled--;
    queue_leave_lane_locked(queue, entry, deferred_free);
    queue_leave_ages_locked(queue, entry);
    id_table_remove(&queue->entries, &entry->item);
    TAILQ_REMOVE(&queue->all, entry, queue.in_queue);
    TAILQ_INSERT_TAIL(&deferred_free->entries, entry, queue.in_queue);
    queue->held--;
}
