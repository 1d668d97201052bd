#include "lane.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/text.h"
#include "queue/send_queue.h"

static enum work_class class_of(const struct entry *entry)
{
    if (entry->kind == ENTRY_WAKE)
        return CLASS_WAKE;
    return entry->stage == STAGE_KNOWN ? CLASS_SEND : CLASS_WRITE_BACK;
}

void lane_lists_init(struct lane_lists *lists, size_t capacity)
{
    /* Half, which is no reason to poll for more at once (queue_is_low_locked). */
    size_t share = (capacity + 1) / 2;
    for (int class = 0; class < CLASS_COUNT; class ++)
        TAILQ_INIT(&lists->lists[class]);
    lists->ready = 0;
    lists->most_of_lane = share < SEND_QUEUE_READY_OF_LANE ? share : SEND_QUEUE_READY_OF_LANE;
}

struct lane *lane_create(const char *id)
{
    struct lane *lane = calloc(1, sizeof *lane);
    if (lane == NULL)
        return NULL;
    text_copy(lane->item.id, sizeof lane->item.id, id);
    for (int class = 0; class < CLASS_COUNT; class ++)
        TAILQ_INIT(&lane->ready[class]);
    return lane;
}

/* Makes the lane's membership in the lists follow from its state. */
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

static size_t ready_work(const struct lane_lists *lists, const struct lane *lane)
{
    size_t ready = lane->ready_count[CLASS_WRITE_BACK] + lane->ready_count[CLASS_SEND];
    return ready < lists->most_of_lane ? ready : lists->most_of_lane;
}

static bool is_older(const struct entry *one, const struct entry *other)
{
    return one->created_at_ms < other->created_at_ms;
}

void lane_insert(struct lane_lists *lists, struct entry *entry)
{
    struct lane *lane = entry->lane;
    enum work_class class = class_of(entry);
    /* Pages come oldest first, so the place is nearly always at the end. */
    struct entry *before = TAILQ_LAST(&lane->ready[class], entry_list);
    while (before != NULL && is_older(entry, before))
        before = TAILQ_PREV(before, entry_list, in_lane);
    lists->ready -= ready_work(lists, lane);
    if (before != NULL)
        TAILQ_INSERT_AFTER(&lane->ready[class], before, entry, in_lane);
    else
        TAILQ_INSERT_HEAD(&lane->ready[class], entry, in_lane);
    lane->ready_count[class]++;
    entry->ready = true;
    entry->ready_us = clock_monotonic_us();
    lists->ready += ready_work(lists, lane);
    relist(lists, lane);
}

void lane_remove(struct lane_lists *lists, struct entry *entry)
{
    struct lane *lane = entry->lane;
    enum work_class class = class_of(entry);
    lists->ready -= ready_work(lists, lane);
    TAILQ_REMOVE(&lane->ready[class], entry, in_lane);
    lane->ready_count[class]--;
    entry->ready = false;
    lists->ready += ready_work(lists, lane);
    relist(lists, lane);
}

void lane_set_busy(struct lane_lists *lists, struct lane *lane, bool busy)
{
    lane->busy = busy;
    relist(lists, lane);
}

struct entry *lane_lists_first(const struct lane_lists *lists, enum work_class class)
{
    const struct lane *lane = TAILQ_FIRST(&lists->lists[class]);
    return lane != NULL ? TAILQ_FIRST(&lane->ready[class]) : NULL;
}
