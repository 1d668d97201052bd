/*
 * The send queue's work: handing out entries, moving them between stages, taking them back. What
 * comes in is in intake.c, the lists that it is kept in are in lanes.c.
 *
 * An entry is at exactly one place (enum entry_place):
 *
 *   READY --take--> WORKER --finish--> NONE (settled)
 *     ^               |  '--finish with a delay--> WAITING --due or close--> READY
 *     '---finish------'
 *
 * Workers block in send_queue_take only; all else holds the lock for a few microseconds. The rules
 * that the lock protects, which test/model/send_queue.pml checks in every interleaving:
 *
 * - A lane has at most one entry with a worker, so an agent is never asked twice at once.
 * - An agent is asked only if the policy, the operator's hold and the close allowed it at that
 *   moment: take asks first, to keep workers free, and advance asks again, because both can change
 *   while the worker reads the context.
 * - A settled entry stays known until the backend has stopped listing it (intake.c).
 * - Whoever makes something takeable signals; a worker that leaves with an entry passes the signal
 *   on, because it may have been the only one watching for the next due time.
 *
 * The poller is poked, after the lock is released, when an early poll pays: workers run dry, or a
 * message was posted that may have caused notifications.
 */
#include "delivery/send_queue.h"

#include <assert.h>
#include <stdlib.h>

#include "base/sync.h"
#include "base/text.h"
#include "delivery/queue_state.h"

int send_queue_create(
    struct send_queue **queue, size_t capacity, size_t max_wakes, struct error *error)
{
    struct send_queue *created = calloc(1, sizeof *created);
    if (created == NULL)
        return error_set(error, ERROR_NO_MEMORY, "no memory for the send queue");
    created->capacity = capacity;
    created->max_wakes = max_wakes;
    created->resume_ms = SYNC_NO_DEADLINE;
    mutex_init(&created->lock);
    cond_init(&created->work);
    cond_init(&created->sends_over);
    TAILQ_INIT(&created->all);
    TAILQ_INIT(&created->wakes);
    SLIST_INIT(&created->prior_runs);
    lane_lists_init(&created->ready, capacity);
    if (id_table_init(&created->entries, SEND_QUEUE_MAX_HELD, error) != 0 ||
        id_table_init(&created->lanes, SEND_QUEUE_MAX_HELD / 8, error) != 0) {
        send_queue_destroy(created);
        return ERROR_NO_MEMORY;
    }
    *queue = created;
    return 0;
}

void send_queue_destroy(struct send_queue *queue)
{
    if (queue == NULL)
        return;
    struct deferred_free deferred_free;
    struct entry *entry;
    struct prior_runs *prior_runs;
    deferred_free_init(&deferred_free);
    mutex_lock(&queue->lock);
    while ((entry = TAILQ_FIRST(&queue->all)) != NULL)
        queue_forget_locked(queue, entry, &deferred_free);
    while ((entry = TAILQ_FIRST(&queue->wakes)) != NULL)
        queue_forget_locked(queue, entry, &deferred_free);
    mutex_unlock(&queue->lock);
    deferred_free_run(&deferred_free);
    while ((prior_runs = SLIST_FIRST(&queue->prior_runs)) != NULL) {
        SLIST_REMOVE_HEAD(&queue->prior_runs, next);
        free(prior_runs);
    }
    id_table_fini(&queue->entries);
    id_table_fini(&queue->lanes);
    heap_fini(&queue->waiting);
    heap_fini(&queue->unsettled);
    heap_fini(&queue->recorded);
    heap_fini(&queue->failing);
    cond_fini(&queue->sends_over);
    cond_fini(&queue->work);
    mutex_fini(&queue->lock);
    free(queue);
}

void queue_count_record_locked(struct send_queue *queue, struct entry *entry)
{
    mutex_assert_held(&queue->lock);
    bool recorded = entry->work.record != RECORD_NONE;
    bool counted = entry->queue.record_by_age.place != 0;
    if (recorded && !counted)
        heap_push(&queue->recorded, &entry->queue.record_by_age, entry->queue.by_age.due_ms);
    else if (!recorded && counted)
        heap_remove(&queue->recorded, &entry->queue.record_by_age);
}

void queue_set_unknown_locked(struct send_queue *queue, struct lane *lane, bool unknown)
{
    mutex_assert_held(&queue->lock);
    queue->unknown_agents -= lane->unknown;
    lane->unknown = unknown;
    queue->unknown_agents += lane->unknown;
}

/* Whether the entry counts as failing, and its agent as unknown, after a worker has returned it. */
static void count_failing_locked(struct send_queue *queue, struct entry *entry)
{
    mutex_assert_held(&queue->lock);
    bool settled = entry->queue.stage == STAGE_SETTLED;
    bool failing = !settled && entry->work.failure_class != FAILURE_NONE;
    bool counted = entry->queue.failing_by_age.place != 0;
    if (failing && !counted)
        heap_push(&queue->failing, &entry->queue.failing_by_age, entry->queue.by_age.due_ms);
    else if (!failing && counted)
        heap_remove(&queue->failing, &entry->queue.failing_by_age);
    if (failing)
        queue_set_unknown_locked(queue, entry->queue.lane, entry->work.agent_unknown);
    else if (settled && entry->work.outcome == OUTCOME_DELIVERED)
        queue_set_unknown_locked(queue, entry->queue.lane, false);
}

void queue_leave_ages_locked(struct send_queue *queue, struct entry *entry)
{
    mutex_assert_held(&queue->lock);
    if (entry->queue.by_age.place != 0)
        heap_remove(&queue->unsettled, &entry->queue.by_age);
    if (entry->queue.record_by_age.place != 0)
        heap_remove(&queue->recorded, &entry->queue.record_by_age);
    if (entry->queue.failing_by_age.place != 0)
        heap_remove(&queue->failing, &entry->queue.failing_by_age);
}

static void set_gauge(atomic_size_t *gauge, size_t number)
{
    atomic_store_explicit(gauge, number, memory_order_relaxed);
}

static void set_oldest(atomic_llong *gauge, const struct heap *heap)
{
    const struct heap_item *oldest = heap_first(heap);
    atomic_store_explicit(gauge, oldest != NULL ? oldest->due_ms : 0, memory_order_relaxed);
}

void queue_publish_gauges_locked(struct send_queue *queue)
{
    mutex_assert_held(&queue->lock);
    struct gauges *gauges = &queue->gauges;
    set_gauge(&gauges->held, queue->held);
    set_gauge(&gauges->ready, queue->ready.ready);
    set_gauge(&gauges->waiting, queue->waiting.count);
    set_gauge(&gauges->running, queue->running);
    set_gauge(&gauges->sending, queue->sending);
    set_gauge(&gauges->settled, queue->settled);
    set_gauge(&gauges->lanes, queue->lane_count);
    set_gauge(&gauges->agents_with_work, queue->agents_with_work);
    set_gauge(&gauges->unknown_agents, queue->unknown_agents);
    set_gauge(&gauges->undelivered, queue->unsettled.count);
    set_gauge(&gauges->recorded, queue->recorded.count);
    set_oldest(&gauges->oldest_undelivered_ms, &queue->unsettled);
    set_oldest(&gauges->oldest_recorded_ms, &queue->recorded);
    set_oldest(&gauges->oldest_failing_ms, &queue->failing);
}

bool queue_is_low_locked(const struct send_queue *queue)
{
    mutex_assert_held(&queue->lock);
    return queue->ready.ready < (queue->capacity + 1) / 2;
}

/* While all workers are busy a new page could not be begun, but this late it should be known. */
enum { MAX_OWED_MS = 1000 };

/*
 * Whether to ask for a page now, which is then no longer owed: because ready work has run low while
 * the backend had more, or because something new is expected and a worker is idle or about to be
 * (runs_dry), or the last page is old. The caller pokes the poller after it releases the lock.
 */
static bool claim_poll_locked(struct send_queue *queue, bool runs_dry)
{
    mutex_assert_held(&queue->lock);
    bool is_time = runs_dry || queue->free_workers > 0 ||
                   clock_monotonic_ms() - queue->offered_at_ms >= MAX_OWED_MS;
    bool low = queue->backend_has_more && queue_is_low_locked(queue);
    if (!low && !(queue->poll_owed && is_time))
        return false;
    queue->poll_owed = false;
    queue->backend_has_more = false;
    return true;
}

static void ask_for_poll(const struct send_queue *queue)
{
    if (queue->poller != NULL)
        loop_poke(queue->poller);
}

/* Moves an entry from the heap of due times to its lane. */
static void make_ready_locked(struct send_queue *queue, struct heap_item *due)
{
    mutex_assert_held(&queue->lock);
    heap_remove(&queue->waiting, due);
    lane_insert(&queue->ready, CONTAINER_OF(due, struct entry, queue.due));
}

static void wake_due_locked(struct send_queue *queue, int64_t now_ms)
{
    mutex_assert_held(&queue->lock);
    struct heap_item *first;
    while ((first = heap_first(&queue->waiting)) != NULL && first->due_ms <= now_ms) {
        make_ready_locked(queue, first);
        cond_signal(&queue->work);
    }
}

/* Whether an agent may be asked now, while that many others are being asked. */
static bool may_send_locked(const struct send_queue *queue, size_t others)
{
    mutex_assert_held(&queue->lock);
    if (queue->closed || queue->policy.paused || queue->held_by_operator)
        return false;
    return !queue->policy.limited || others < SEND_QUEUE_LIMITED_SENDS;
}

/*
 * A wake-up that has waited for too long goes before sends, or a constant backlog would leave its
 * agent asleep for good; but not twice in a row, so that sends keep half of what there is.
 */
static struct entry *find_overdue_wake_locked(const struct send_queue *queue, int64_t now_ms)
{
    mutex_assert_held(&queue->lock);
    struct entry *entry;
    if (queue->wake_was_last || queue->wakes_running >= queue->max_wakes)
        return NULL;
    TAILQ_FOREACH (entry, &queue->wakes, queue.in_queue)
        if (entry->queue.place == PLACE_READY && !entry->queue.lane->busy &&
            entry->queue.lane->paused_until_ms <= now_ms && entry->queue.overdue_from_ms <= now_ms)
            break;
    return entry;
}

static struct entry *find_work_locked(struct send_queue *queue, int64_t now_ms)
{
    mutex_assert_held(&queue->lock);
    int64_t *resume_ms = &queue->resume_ms;
    *resume_ms = SYNC_NO_DEADLINE;
    struct entry *entry = lane_lists_first(&queue->ready, CLASS_WRITE_BACK, now_ms, resume_ms);
    if (entry != NULL || !may_send_locked(queue, queue->asking))
        return entry;
    entry = find_overdue_wake_locked(queue, now_ms);
    if (entry == NULL)
        entry = lane_lists_first(&queue->ready, CLASS_SEND, now_ms, resume_ms);
    if (entry == NULL && queue->wakes_running < queue->max_wakes)
        entry = lane_lists_first(&queue->ready, CLASS_WAKE, now_ms, resume_ms);
    return entry;
}

/* A worker has taken it to ask its agent, and has no answer yet. */
static bool is_asking(const struct entry *entry)
{
    bool before_reply = entry->queue.stage == STAGE_KNOWN || entry->queue.stage == STAGE_SENDING;
    return entry->queue.place == PLACE_WORKER && before_reply;
}

static struct entry *take_work_locked(struct send_queue *queue, int64_t now_ms)
{
    mutex_assert_held(&queue->lock);
    struct entry *entry = find_work_locked(queue, now_ms);
    if (entry == NULL)
        return NULL;
    lane_remove(&queue->ready, entry);
    lane_set_busy(&queue->ready, entry->queue.lane, true);
    entry->queue.place = PLACE_WORKER;
    entry->queue.waited_us = clock_monotonic_us() - entry->queue.ready_us;
    entry->work.attempts++;
    queue->running++;
    queue->asking += is_asking(entry) ? 1 : 0;
    queue->wakes_running += entry->kind == ENTRY_WAKE ? 1 : 0;
    if (is_asking(entry))
        queue->wake_was_last = entry->kind == ENTRY_WAKE;
    return entry;
}

/* Once closed, the heap holds only entries past the sending stage. */
static bool is_drained_locked(const struct send_queue *queue, int64_t now_ms)
{
    mutex_assert_held(&queue->lock);
    if (!queue->closed)
        return false;
    const struct heap_item *first = heap_first(&queue->waiting);
    return now_ms >= queue->close_deadline_ms || first == NULL ||
           first->due_ms >= queue->close_deadline_ms;
}

int64_t queue_next_due_locked(const struct send_queue *queue)
{
    mutex_assert_held(&queue->lock);
    const struct heap_item *first = heap_first(&queue->waiting);
    int64_t due_ms = first != NULL ? first->due_ms : SYNC_NO_DEADLINE;
    if (queue->resume_ms < due_ms)
        due_ms = queue->resume_ms;
    return due_ms;
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
            entry = take_work_locked(queue, now_ms);
        if (entry != NULL || is_drained_locked(queue, now_ms))
            break;
        if (claim_poll_locked(queue, true)) {
            mutex_unlock(&queue->lock);
            ask_for_poll(queue);
            mutex_lock(&queue->lock);
            continue;
        }
        queue_publish_gauges_locked(queue);
        queue->free_workers++;
        cond_wait_until(&queue->work, &queue->lock, queue_next_due_locked(queue));
        queue->free_workers--;
    }
    /* This thread may have been the only one to watch for the next due time. */
    if (entry != NULL &&
        (queue->waiting.count > 0 || queue->policy.limited || queue->resume_ms != SYNC_NO_DEADLINE))
        cond_signal(&queue->work);
    queue_publish_gauges_locked(queue);
    mutex_unlock(&queue->lock);
    return entry;
}

/* Moves a taken entry to another stage and keeps the counts of those that ask. */
static void set_stage_locked(struct send_queue *queue, struct entry *entry, enum entry_stage stage)
{
    mutex_assert_held(&queue->lock);
    queue->sending -= entry->queue.stage == STAGE_SENDING;
    queue->asking -= is_asking(entry);
    entry->queue.stage = stage;
    queue->sending += stage == STAGE_SENDING;
    queue->asking += is_asking(entry);
    if (queue->sending == 0)
        cond_broadcast(&queue->sends_over);
}

bool send_queue_advance(struct send_queue *queue, struct entry *entry, enum entry_stage stage)
{
    assert(entry->queue.place == PLACE_WORKER);
    mutex_lock(&queue->lock);
    bool allowed = stage != STAGE_SENDING || may_send_locked(queue, queue->sending);
    if (allowed)
        set_stage_locked(queue, entry, stage);
    queue_count_record_locked(queue, entry);
    if (queue->policy.limited)
        cond_signal(&queue->work);
    queue_publish_gauges_locked(queue);
    mutex_unlock(&queue->lock);
    return allowed;
}

static void settle_locked(
    struct send_queue *queue, struct entry *entry, struct deferred_free *deferred_free)
{
    mutex_assert_held(&queue->lock);
    entry->queue.settled_at_ms = clock_monotonic_ms();
    queue->settled++;
    queue->poll_owed = queue->poll_owed || queue->page_was_full;
    queue_leave_ages_locked(queue, entry);
    queue_leave_lane_locked(queue, entry, deferred_free);
}

/* Where an unsettled entry is until a worker takes it again; after the close, sends nowhere. */
static void requeue_locked(struct send_queue *queue, struct entry *entry, int64_t delay_ms)
{
    mutex_assert_held(&queue->lock);
    queue_count_record_locked(queue, entry);
    if (delay_ms <= 0)
        lane_insert(&queue->ready, entry);
    else if (!queue->closed || entry->queue.stage != STAGE_KNOWN) {
        heap_push(&queue->waiting, &entry->queue.due, clock_monotonic_ms() + delay_ms);
        entry->queue.place = PLACE_WAITING;
    }
}

/* Where an entry goes when its worker returns it; a wake-up is forgotten. */
static void place_locked(struct send_queue *queue, struct entry *entry, int64_t delay_ms,
    struct deferred_free *deferred_free)
{
    mutex_assert_held(&queue->lock);
    if (entry->kind == ENTRY_WAKE)
        queue_forget_locked(queue, entry, deferred_free);
    else {
        count_failing_locked(queue, entry);
        if (entry->queue.stage == STAGE_SETTLED)
            settle_locked(queue, entry, deferred_free);
        else
            requeue_locked(queue, entry, delay_ms);
    }
}

void send_queue_finish(
    struct send_queue *queue, struct entry *entry, enum entry_stage stage, int64_t delay_ms)
{
    assert(stage != STAGE_SENDING);
    bool settled = stage == STAGE_SETTLED;
    char *reply = settled ? entry->work.reply : NULL;
    if (settled)
        entry->work.reply = NULL;
    struct deferred_free deferred_free;
    deferred_free_init(&deferred_free);
    mutex_lock(&queue->lock);
    assert(entry->queue.place == PLACE_WORKER);
    set_stage_locked(queue, entry, stage);
    queue->asking -= is_asking(entry);
    entry->queue.place = PLACE_NONE;
    queue->running--;
    queue->wakes_running -= entry->kind == ENTRY_WAKE ? 1 : 0;
    if (entry->work.lane_pause_ms > 0)
        lane_pause(
            &queue->ready, entry->queue.lane, clock_monotonic_ms() + entry->work.lane_pause_ms);
    entry->work.lane_pause_ms = 0;
    lane_set_busy(&queue->ready, entry->queue.lane, false);
    place_locked(queue, entry, delay_ms, &deferred_free);
    bool poll_now = claim_poll_locked(queue, false);
    cond_signal(&queue->work);
    queue_publish_gauges_locked(queue);
    mutex_unlock(&queue->lock);
    deferred_free_run(&deferred_free);
    free(reply);
    if (poll_now)
        ask_for_poll(queue);
}

void send_queue_set_poller(struct send_queue *queue, struct loop *poller)
{
    queue->poller = poller;
}

void send_queue_set_policy(struct send_queue *queue, const struct send_policy *policy)
{
    mutex_lock(&queue->lock);
    if (policy->version > queue->policy.version) {
        queue->policy = *policy;
        cond_broadcast(&queue->work);
    }
    mutex_unlock(&queue->lock);
}

void send_queue_hold(struct send_queue *queue, bool held)
{
    mutex_lock(&queue->lock);
    queue->held_by_operator = held;
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
    queue_publish_gauges_locked(queue);
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

void send_queue_expect_more(struct send_queue *queue)
{
    mutex_lock(&queue->lock);
    queue->poll_owed = true;
    bool poll_now = claim_poll_locked(queue, false);
    mutex_unlock(&queue->lock);
    if (poll_now)
        ask_for_poll(queue);
}

void send_queue_snapshot(const struct send_queue *queue, struct send_queue_view *view)
{
    const struct gauges *gauges = &queue->gauges;
    *view = (struct send_queue_view){
        .held = atomic_load(&gauges->held),
        .ready = atomic_load(&gauges->ready),
        .waiting = atomic_load(&gauges->waiting),
        .running = atomic_load(&gauges->running),
        .sending = atomic_load(&gauges->sending),
        .settled = atomic_load(&gauges->settled),
        .lanes = atomic_load(&gauges->lanes),
        .agents_with_work = atomic_load(&gauges->agents_with_work),
        .unknown_agents = atomic_load(&gauges->unknown_agents),
        .undelivered = atomic_load(&gauges->undelivered),
        .recorded = atomic_load(&gauges->recorded),
        .oldest_undelivered_ms = atomic_load(&gauges->oldest_undelivered_ms),
        .oldest_recorded_ms = atomic_load(&gauges->oldest_recorded_ms),
        .oldest_failing_ms = atomic_load(&gauges->oldest_failing_ms),
    };
}

void send_queue_count_record(struct send_queue *queue, struct entry *entry)
{
    mutex_lock(&queue->lock);
    queue_count_record_locked(queue, entry);
    queue_publish_gauges_locked(queue);
    mutex_unlock(&queue->lock);
}

/* The at most 256 workers may have taken the oldest ones. */
enum { MAX_VISITED = SEND_QUEUE_MAX_LISTED + 256 };

struct waiting_list {
    struct send_queue_waiting *places;
    size_t count;
    size_t max;
};

static bool list_if_waiting(void *context, struct heap_item *item)
{
    struct waiting_list *list = context;
    const struct entry *entry = CONTAINER_OF(item, struct entry, queue.by_age);
    if (entry->queue.place == PLACE_WORKER)
        return true;
    struct send_queue_waiting *place = &list->places[list->count++];
    text_copy(place->id, sizeof place->id, entry->item.id);
    text_copy(place->agent, sizeof place->agent,
        entry->work.agent_slug[0] != '\0' ? entry->work.agent_slug : entry->agent_id);
    place->stage = entry->queue.stage;
    place->failure_class = entry->work.failure_class;
    place->created_at_ms = entry->created_at_ms;
    place->due_ms = entry->queue.place == PLACE_WAITING ? entry->queue.due.due_ms : 0;
    return list->count < list->max;
}

size_t send_queue_list_waiting(
    struct send_queue *queue, struct send_queue_waiting *waiting, size_t max, size_t *total)
{
    assert(max > 0 && max <= SEND_QUEUE_MAX_LISTED);
    struct waiting_list list = {.places = waiting, .max = max};
    mutex_lock(&queue->lock);
    heap_visit(&queue->unsettled, MAX_VISITED, list_if_waiting, &list);
    *total = queue->unsettled.count - (queue->running - queue->wakes_running);
    mutex_unlock(&queue->lock);
    return list.count;
}
