#include "queue/send_queue.h"

#include <assert.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/sync.h"
#include "base/text.h"
#include "lane.h"

/* The structure that the member at pointer is embedded in. */
#define CONTAINER_OF(pointer, type, member) ((type *)((char *)(pointer)-offsetof(type, member)))

struct send_queue {
    size_t capacity; /* never changed */

    /* Guards everything below, and the queue's part of every entry and lane. */
    struct mutex lock;
    struct cond work;       /* signalled when there is something to take, and by the close */
    struct cond sends_over; /* signalled when sending becomes 0 */
    struct id_table entries;
    struct id_table lanes;
    struct entry_list all;
    struct lane_lists ready;
    struct heap waiting;
    size_t held;
    size_t running;
    size_t sending; /* of those running, the ones in STAGE_SENDING */
    size_t settled;
    size_t lane_count;
    uint64_t page; /* number of the page being taken in */
    bool backend_has_more;
    bool sends_held;
    bool closed;
    int64_t close_deadline_ms;
};

int send_queue_create(struct send_queue **queue, size_t capacity, struct error *error)
{
    struct send_queue *created = calloc(1, sizeof *created);
    if (created == NULL)
        return error_set(error, ERROR_NO_MEMORY, "no memory for the send queue");
    created->capacity = capacity;
    mutex_init(&created->lock);
    cond_init(&created->work);
    cond_init(&created->sends_over);
    TAILQ_INIT(&created->all);
    lane_lists_init(&created->ready);
    if (id_table_init(&created->entries, SEND_QUEUE_MOST_HELD, error) != 0 ||
        id_table_init(&created->lanes, SEND_QUEUE_MOST_HELD / 8, error) != 0) {
        send_queue_destroy(created);
        return ERROR_NO_MEMORY;
    }
    *queue = created;
    return 0;
}

static void entry_free(struct entry *entry)
{
    free(entry->reply);
    free(entry);
}

/* What was taken out under the lock and is freed after it. */
struct leavings {
    struct entry_list entries;
    struct lane_list lanes;
};

static void leavings_init(struct leavings *leavings)
{
    TAILQ_INIT(&leavings->entries);
    TAILQ_INIT(&leavings->lanes);
}

static void leavings_free(struct leavings *leavings)
{
    struct entry *entry;
    struct lane *lane;
    while ((entry = TAILQ_FIRST(&leavings->entries)) != NULL) {
        TAILQ_REMOVE(&leavings->entries, entry, in_queue);
        entry_free(entry);
    }
    while ((lane = TAILQ_FIRST(&leavings->lanes)) != NULL) {
        TAILQ_REMOVE(&leavings->lanes, lane, in_list[0]);
        free(lane);
    }
}

/* The entry no longer needs its lane; the last one to leave takes the lane out. */
static void leave_lane_locked(
    struct send_queue *queue, struct entry *entry, struct leavings *leavings)
{
    struct lane *lane = entry->lane;
    if (lane == NULL)
        return;
    entry->lane = NULL;
    if (--lane->entries > 0)
        return;
    assert(!lane->busy);
    id_table_remove(&queue->lanes, &lane->item);
    queue->lane_count--;
    TAILQ_INSERT_TAIL(&leavings->lanes, lane, in_list[0]);
}

static void forget_locked(struct send_queue *queue, struct entry *entry, struct leavings *leavings)
{
    mutex_assert_held(&queue->lock);
    assert(!entry->running);
    if (entry->ready)
        lane_remove(&queue->ready, entry);
    if (entry->due.place != 0)
        heap_remove(&queue->waiting, &entry->due);
    if (entry->stage == STAGE_SETTLED)
        queue->settled--;
    leave_lane_locked(queue, entry, leavings);
    id_table_remove(&queue->entries, &entry->item);
    TAILQ_REMOVE(&queue->all, entry, in_queue);
    TAILQ_INSERT_TAIL(&leavings->entries, entry, in_queue);
    queue->held--;
}

void send_queue_destroy(struct send_queue *queue)
{
    if (queue == NULL)
        return;
    struct leavings leavings;
    struct entry *entry;
    leavings_init(&leavings);
    mutex_lock(&queue->lock);
    while ((entry = TAILQ_FIRST(&queue->all)) != NULL)
        forget_locked(queue, entry, &leavings);
    mutex_unlock(&queue->lock);
    leavings_free(&leavings);
    id_table_fini(&queue->entries);
    id_table_fini(&queue->lanes);
    heap_fini(&queue->waiting);
    cond_fini(&queue->sends_over);
    cond_fini(&queue->work);
    mutex_fini(&queue->lock);
    free(queue);
}

static struct lane *find_or_add_lane_locked(struct send_queue *queue, const char *agent_id)
{
    struct id_item *found = id_table_find(&queue->lanes, agent_id);
    if (found != NULL)
        return CONTAINER_OF(found, struct lane, item);
    struct lane *lane = lane_create(agent_id);
    if (lane == NULL)
        return NULL;
    id_table_add(&queue->lanes, &lane->item);
    queue->lane_count++;
    return lane;
}

/* A new entry in its lane's keeping, but ready nowhere yet; NULL without memory. */
static struct entry *new_entry_locked(
    struct send_queue *queue, const char *id, const char *agent_id, int64_t created_at_ms)
{
    mutex_assert_held(&queue->lock);
    if (heap_reserve(&queue->waiting, queue->held + 1, NULL) != 0)
        return NULL;
    struct entry *entry = calloc(1, sizeof *entry);
    if (entry == NULL)
        return NULL;
    text_copy(entry->agent_id, sizeof entry->agent_id, agent_id);
    struct lane *lane = find_or_add_lane_locked(queue, entry->agent_id);
    if (lane == NULL) {
        free(entry);
        return NULL;
    }
    text_copy(entry->item.id, sizeof entry->item.id, id);
    entry->created_at_ms = created_at_ms;
    entry->last_page = queue->page;
    entry->lane = lane;
    lane->entries++;
    id_table_add(&queue->entries, &entry->item);
    TAILQ_INSERT_TAIL(&queue->all, entry, in_queue);
    queue->held++;
    return entry;
}

/* False without room or memory: the backend lists it again. */
static bool add_row_locked(struct send_queue *queue, const struct offer_row *row)
{
    if (queue->closed || queue->held >= SEND_QUEUE_MOST_HELD ||
        queue->ready.ready >= queue->capacity)
        return false;
    struct entry *entry = new_entry_locked(queue, row->id, row->agent_id, row->created_at_ms);
    if (entry == NULL)
        return false;
    lane_insert(&queue->ready, entry);
    cond_signal(&queue->work);
    return true;
}

bool send_queue_restore(struct send_queue *queue, const struct spool_record *record, bool replied)
{
    mutex_lock(&queue->lock);
    struct entry *entry =
        new_entry_locked(queue, record->id, record->agent_id, record->created_at_ms);
    if (entry != NULL) {
        entry->stage = replied ? STAGE_REPLIED : STAGE_KNOWN;
        entry->runs = record->runs;
        entry->spooled = replied;
        text_copy(entry->agent_slug, sizeof entry->agent_slug, record->agent_slug);
        text_copy(entry->task_id, sizeof entry->task_id, record->task_id);
        lane_insert(&queue->ready, entry);
    }
    mutex_unlock(&queue->lock);
    return entry != NULL;
}

struct taken_in {
    size_t added;
    size_t left; /* unknown ids for which there was no room */
};

static struct taken_in take_in_rows_locked(struct send_queue *queue, const struct offer *offer)
{
    struct taken_in taken = {0};
    for (size_t i = 0; i < offer->count; i++) {
        struct id_item *found = id_table_find(&queue->entries, offer->rows[i].id);
        if (found != NULL)
            CONTAINER_OF(found, struct entry, item)->last_page = queue->page;
        else if (add_row_locked(queue, &offer->rows[i]))
            taken.added++;
        else
            taken.left++;
    }
    return taken;
}

/*
 * Whether the page would have listed the entry if the backend still had it as undelivered: a page
 * that was cut says nothing of what is younger than its last row, and nothing at all when none of
 * its rows could be read.
 */
static bool page_covers(const struct offer *offer, const struct entry *entry)
{
    if (!offer->full)
        return true;
    return offer->count > 0 && entry->created_at_ms < offer->rows[offer->count - 1].created_at_ms;
}

static void drop_unlisted_locked(
    struct send_queue *queue, const struct offer *offer, struct leavings *leavings)
{
    struct entry *next;
    for (struct entry *entry = TAILQ_FIRST(&queue->all); entry != NULL; entry = next) {
        next = TAILQ_NEXT(entry, in_queue);
        if (entry->last_page == queue->page || entry->running || !page_covers(offer, entry))
            continue;
        bool unused = entry->stage == STAGE_KNOWN && entry->runs == 0;
        bool over = entry->stage == STAGE_SETTLED && entry->settled_at_ms < offer->began_at_ms;
        if (unused || over)
            forget_locked(queue, entry, leavings);
    }
}

static bool is_low_locked(const struct send_queue *queue)
{
    return queue->ready.ready < (queue->capacity + 1) / 2;
}

bool send_queue_offer(struct send_queue *queue, const struct offer *offer)
{
    struct leavings leavings;
    leavings_init(&leavings);
    mutex_lock(&queue->lock);
    queue->page++;
    struct taken_in taken = take_in_rows_locked(queue, offer);
    drop_unlisted_locked(queue, offer, &leavings);
    bool more = taken.added > 0 && is_low_locked(queue);
    queue->backend_has_more = !more && (offer->full || taken.left > 0);
    mutex_unlock(&queue->lock);
    leavings_free(&leavings);
    return more;
}

static void make_ready_locked(struct send_queue *queue, struct heap_item *due)
{
    heap_remove(&queue->waiting, due);
    lane_insert(&queue->ready, CONTAINER_OF(due, struct entry, due));
}

/* Lets entries whose time has come back into their lanes. */
static void wake_due_locked(struct send_queue *queue, int64_t now_ms)
{
    struct heap_item *first;
    while ((first = heap_first(&queue->waiting)) != NULL && first->due_ms <= now_ms) {
        make_ready_locked(queue, first);
        cond_signal(&queue->work);
    }
}

static struct entry *pick_locked(struct send_queue *queue)
{
    struct entry *entry = lane_lists_first(&queue->ready, CLASS_WRITE_BACK);
    if (entry == NULL && !queue->closed && !queue->sends_held)
        entry = lane_lists_first(&queue->ready, CLASS_SEND);
    if (entry == NULL)
        return NULL;
    lane_remove(&queue->ready, entry);
    lane_set_busy(&queue->ready, entry->lane, true);
    entry->running = true;
    entry->attempts++;
    queue->running++;
    return entry;
}

/* Once closed, the heap holds only entries past the send stage. */
static bool is_drained_locked(const struct send_queue *queue, int64_t now_ms)
{
    if (!queue->closed)
        return false;
    const struct heap_item *first = heap_first(&queue->waiting);
    return now_ms >= queue->close_deadline_ms || first == NULL ||
           first->due_ms >= queue->close_deadline_ms;
}

static int64_t next_due_locked(const struct send_queue *queue)
{
    const struct heap_item *first = heap_first(&queue->waiting);
    return first != NULL ? first->due_ms : SYNC_NO_DEADLINE;
}

struct entry *send_queue_take(struct send_queue *queue)
{
    struct entry *entry = NULL;
    mutex_lock(&queue->lock);
    for (;;) {
        int64_t now_ms = clock_monotonic_ms();
        wake_due_locked(queue, now_ms);
        bool expired = queue->closed && now_ms >= queue->close_deadline_ms;
        if (!expired)
            entry = pick_locked(queue);
        if (entry != NULL || is_drained_locked(queue, now_ms))
            break;
        cond_wait_until(&queue->work, &queue->lock, next_due_locked(queue));
    }
    /* This thread may have been the only one that watched for the next due time. */
    if (entry != NULL && queue->waiting.count > 0)
        cond_signal(&queue->work);
    mutex_unlock(&queue->lock);
    return entry;
}

static void set_stage_locked(struct send_queue *queue, struct entry *entry, enum entry_stage stage)
{
    queue->sending += stage == STAGE_SENDING;
    queue->sending -= entry->stage == STAGE_SENDING;
    entry->stage = stage;
    if (queue->sending == 0)
        cond_broadcast(&queue->sends_over);
}

bool send_queue_advance(struct send_queue *queue, struct entry *entry, enum entry_stage stage)
{
    mutex_lock(&queue->lock);
    assert(entry->running);
    bool allowed = stage != STAGE_SENDING || (!queue->closed && !queue->sends_held);
    if (allowed)
        set_stage_locked(queue, entry, stage);
    mutex_unlock(&queue->lock);
    return allowed;
}

static void settle_locked(struct send_queue *queue, struct entry *entry, struct leavings *leavings)
{
    entry->settled_at_ms = clock_monotonic_ms();
    queue->settled++;
    leave_lane_locked(queue, entry, leavings);
}

/* Where an unsettled entry stands until a worker takes it again. */
static void put_back_locked(struct send_queue *queue, struct entry *entry, int64_t delay_ms)
{
    if (delay_ms <= 0)
        lane_insert(&queue->ready, entry);
    else if (!queue->closed || entry->stage != STAGE_KNOWN)
        heap_push(&queue->waiting, &entry->due, clock_monotonic_ms() + delay_ms);
}

bool send_queue_finish(struct send_queue *queue, struct entry *entry, const struct finish *finish)
{
    assert(finish->stage != STAGE_SENDING);
    bool settled = finish->stage == STAGE_SETTLED;
    char *reply = settled ? entry->reply : NULL;
    if (settled)
        entry->reply = NULL;
    struct leavings leavings;
    leavings_init(&leavings);
    mutex_lock(&queue->lock);
    assert(entry->running);
    entry->running = false;
    set_stage_locked(queue, entry, finish->stage);
    queue->running--;
    lane_set_busy(&queue->ready, entry->lane, false);
    if (settled)
        settle_locked(queue, entry, &leavings);
    else
        put_back_locked(queue, entry, finish->delay_ms);
    bool poll_would_help = queue->backend_has_more && is_low_locked(queue);
    if (poll_would_help)
        queue->backend_has_more = false;
    cond_signal(&queue->work);
    mutex_unlock(&queue->lock);
    leavings_free(&leavings);
    free(reply);
    return poll_would_help;
}

void send_queue_hold_sends(struct send_queue *queue, bool held)
{
    mutex_lock(&queue->lock);
    queue->sends_held = held;
    cond_broadcast(&queue->work);
    mutex_unlock(&queue->lock);
}

void send_queue_close(struct send_queue *queue, int64_t deadline_ms)
{
    struct heap_item *first;
    mutex_lock(&queue->lock);
    queue->closed = true;
    queue->close_deadline_ms = deadline_ms;
    while ((first = heap_first(&queue->waiting)) != NULL)
        make_ready_locked(queue, first);
    cond_broadcast(&queue->work);
    mutex_unlock(&queue->lock);
}

bool send_queue_wait_for_sends(struct send_queue *queue, int64_t deadline_ms)
{
    bool in_time = true;
    mutex_lock(&queue->lock);
    while (queue->sending > 0 && in_time)
        in_time = cond_wait_until(&queue->sends_over, &queue->lock, deadline_ms);
    bool over = queue->sending == 0;
    mutex_unlock(&queue->lock);
    return over;
}

void send_queue_counts(struct send_queue *queue, struct send_queue_counts *counts)
{
    mutex_lock(&queue->lock);
    *counts = (struct send_queue_counts){
        .held = queue->held,
        .ready = queue->ready.ready,
        .running = queue->running,
        .waiting = queue->waiting.count,
        .settled = queue->settled,
        .lanes = queue->lane_count,
    };
    mutex_unlock(&queue->lock);
}
