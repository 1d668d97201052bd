/*
 * Everything about the send queue that is not its work: making and freeing it, its members and
 * lanes, the switches that stop and start sends, the close, and what observers see.
 *
 * Nothing is freed under the lock: what leaves the queue goes to a deferred_free, which the caller
 * runs after it has released the lock.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/sync.h"
#include "base/text.h"
#include "delivery/queue_state.h"
#include "delivery/send_queue.h"

int send_queue_create(
    struct send_queue **queue, const struct send_queue_settings *settings, struct error *error)
{
    struct send_queue *created = calloc(1, sizeof *created);
    if (created == NULL)
        return error_set(error, ERROR_NO_MEMORY, "no memory for the send queue");
    /* Below half of the capacity another page is welcome (queue_is_low_locked). */
    size_t half = (settings->capacity + 1) / 2;
    created->settings = *settings;
    created->max_ready_of_lane = half < SEND_QUEUE_READY_OF_LANE ? half : SEND_QUEUE_READY_OF_LANE;
    created->resume_ms = SYNC_NO_DEADLINE;
    created->looks_left = MAX_LOOKS;
    mutex_init(&created->lock);
    cond_init(&created->work);
    cond_init(&created->sends_over);
    TAILQ_INIT(&created->all);
    TAILQ_INIT(&created->wakes);
    SLIST_INIT(&created->prior_runs);
    for (int list = 0; list < LANE_LISTS; list++)
        TAILQ_INIT(&created->ready_lanes[list]);
    if (id_table_init(&created->entries, SEND_QUEUE_MAX_HELD, error) != 0 ||
        id_table_init(&created->lanes, SEND_QUEUE_MAX_HELD / 8, error) != 0 ||
        id_table_init(&created->agents, SEND_QUEUE_MAX_HELD / 8, error) != 0) {
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
    struct deferred_free deferred_free = {0};
    struct entry *entry;
    struct prior_runs *prior_runs;
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
    id_table_fini(&queue->agents);
    heap_fini(&queue->waiting);
    heap_fini(&queue->unsettled);
    heap_fini(&queue->recorded);
    heap_fini(&queue->failing);
    cond_fini(&queue->sends_over);
    cond_fini(&queue->work);
    mutex_fini(&queue->lock);
    free(queue);
}

/* Members. */

/* NULL without memory. */
static struct lane_agent *find_or_add_agent_locked(struct send_queue *queue, const char *agent_id)
{
    mutex_assert_held(&queue->lock);
    struct id_item *found = id_table_find(&queue->agents, agent_id);
    if (found != NULL)
        return CONTAINER_OF(found, struct lane_agent, item);
    struct lane_agent *agent = calloc(1, sizeof *agent);
    if (agent == NULL)
        return NULL;
    text_copy(agent->item.id, sizeof agent->item.id, agent_id);
    id_table_add(&queue->agents, &agent->item);
    return agent;
}

/* NULL without memory. */
static struct lane *find_or_add_lane_locked(
    struct send_queue *queue, const char *id, const char *agent_id)
{
    mutex_assert_held(&queue->lock);
    struct id_item *found = id_table_find(&queue->lanes, id);
    if (found != NULL)
        return CONTAINER_OF(found, struct lane, item);
    struct lane *lane = calloc(1, sizeof *lane);
    struct lane_agent *agent = lane != NULL ? find_or_add_agent_locked(queue, agent_id) : NULL;
    if (agent == NULL) {
        free(lane);
        return NULL;
    }
    text_copy(lane->item.id, sizeof lane->item.id, id);
    lane->agent = agent;
    agent->lanes++;
    for (int class = 0; class < CLASS_COUNT; class ++)
        TAILQ_INIT(&lane->ready_entries[class]);
    TAILQ_INIT(&lane->looked_at);
    id_table_add(&queue->lanes, &lane->item);
    queue->lane_count++;
    return lane;
}

/* The id of the lane that the entry belongs to; the "~" keeps pairs apart from agents' ids. */
static void write_lane_id_locked(
    const struct send_queue *queue, const struct entry *entry, char id[static ID_BYTES])
{
    mutex_assert_held(&queue->lock);
    char pair[ID_BYTES];
    if (!queue->session_lanes || entry->task_id[0] == '\0') {
        text_copy(id, ID_BYTES, entry->agent_id);
        return;
    }
    id_pair_key(pair, entry->agent_id, entry->task_id);
    snprintf(id, ID_BYTES, "~%.63s", pair);
}

bool queue_join_lane_locked(struct send_queue *queue, struct entry *entry)
{
    mutex_assert_held(&queue->lock);
    char id[ID_BYTES];
    write_lane_id_locked(queue, entry, id);
    struct lane *lane = find_or_add_lane_locked(queue, id, entry->agent_id);
    if (lane == NULL)
        return false;
    entry->queue.lane = lane;
    entry->queue.misplaced = false;
    lane->entries++;
    if (entry->kind == ENTRY_DELIVERY && lane->agent->deliveries++ == 0)
        queue->agents_with_work++;
    return true;
}

static bool is_in_lane_locked(struct send_queue *queue, const struct entry *entry)
{
    mutex_assert_held(&queue->lock);
    char id[ID_BYTES];
    write_lane_id_locked(queue, entry, id);
    return strcmp(entry->queue.lane->item.id, id) == 0;
}

static bool may_move_locked(struct send_queue *queue, const struct entry *entry)
{
    mutex_assert_held(&queue->lock);
    char id[ID_BYTES];
    if (entry->queue.place != PLACE_WORKER || entry->queue.ahead)
        return true;
    write_lane_id_locked(queue, entry, id);
    struct id_item *found = id_table_find(&queue->lanes, id);
    return found == NULL || !CONTAINER_OF(found, struct lane, item)->busy;
}

void queue_move_to_lane_locked(
    struct send_queue *queue, struct entry *entry, struct deferred_free *deferred_free)
{
    mutex_assert_held(&queue->lock);
    struct lane *old_lane = entry->queue.lane;
    bool is_ready = entry->queue.place == PLACE_READY;
    bool has_turn = entry->queue.place == PLACE_WORKER && !entry->queue.ahead;
    entry->queue.misplaced = !is_in_lane_locked(queue, entry);
    if (!entry->queue.misplaced || !may_move_locked(queue, entry))
        return;
    if (is_ready)
        queue_remove_ready_locked(queue, entry);
    if (entry->queue.ahead)
        queue_remove_looked_at_locked(queue, entry);
    /* First into the new lane, so that its agent stays. */
    if (queue_join_lane_locked(queue, entry)) {
        struct lane *lane = entry->queue.lane;
        if (has_turn) {
            old_lane->busy = false;
            queue_lane_changed_locked(queue, old_lane);
            lane->busy = true;
            queue_lane_changed_locked(queue, lane);
        }
        entry->queue.lane = old_lane;
        queue_leave_lane_locked(queue, entry, deferred_free);
        entry->queue.lane = lane;
    }
    if (is_ready)
        queue_add_ready_locked(queue, entry);
    if (entry->queue.ahead)
        queue_add_looked_at_locked(queue, entry);
}

struct entry *queue_new_entry_locked(struct send_queue *queue, enum entry_kind kind, const char *id,
    const char *agent_id, const char *task_id)
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
    text_copy(entry->task_id, sizeof entry->task_id, task_id);
    if (!queue_join_lane_locked(queue, entry)) {
        free(entry);
        return NULL;
    }
    return entry;
}

static void forget_wake_locked(
    struct send_queue *queue, struct entry *entry, struct deferred_free *deferred_free)
{
    mutex_assert_held(&queue->lock);
    entry->queue.lane->agent->wakes--;
    queue_leave_lane_locked(queue, entry, deferred_free);
    TAILQ_REMOVE(&queue->wakes, entry, queue.in_queue);
    entry->item.next = deferred_free->entries;
    deferred_free->entries = &entry->item;
}

void queue_forget_locked(
    struct send_queue *queue, struct entry *entry, struct deferred_free *deferred_free)
{
    mutex_assert_held(&queue->lock);
    assert(entry->queue.place != PLACE_WORKER);
    if (entry->queue.place == PLACE_READY)
        queue_remove_ready_locked(queue, entry);
    if (entry->kind == ENTRY_WAKE) {
        forget_wake_locked(queue, entry, deferred_free);
        return;
    }
    if (entry->queue.place == PLACE_WAITING)
        heap_remove(&queue->waiting, &entry->queue.due);
    if (entry->queue.stage == STAGE_SETTLED)
        queue->settled--;
    queue_leave_lane_locked(queue, entry, deferred_free);
    queue_count_ages_locked(queue, entry, false);
    id_table_remove(&queue->entries, &entry->item);
    TAILQ_REMOVE(&queue->all, entry, queue.in_queue);
    entry->item.next = deferred_free->entries;
    deferred_free->entries = &entry->item;
    queue->held--;
}

/* Switches. */

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

bool send_queue_hold(struct send_queue *queue, bool held)
{
    mutex_lock(&queue->lock);
    bool was_held = queue->held_by_operator;
    queue->held_by_operator = held;
    cond_broadcast(&queue->work);
    mutex_unlock(&queue->lock);
    return was_held;
}

void send_queue_close(struct send_queue *queue, int64_t deadline_ms)
{
    mutex_lock(&queue->lock);
    queue->closed = true;
    queue->close_deadline_ms = deadline_ms;
    queue_wake_due_locked(queue, INT64_MAX);
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

/* Observers. */

/* 0 for an empty one. */
static int64_t first_due_ms(const struct heap *heap)
{
    const struct heap_item *first = heap_first(heap);
    return first != NULL ? first->due_ms : 0;
}

void send_queue_snapshot(struct send_queue *queue, struct send_queue_view *view)
{
    mutex_lock(&queue->lock);
    *view = (struct send_queue_view){
        .held_by_operator = queue->held_by_operator,
        .held = queue->held,
        .ready = queue->ready,
        .waiting = queue->waiting.count,
        .running = queue->running,
        .sending = queue->sending,
        .settled = queue->settled,
        .repeated = queue->unsettled.count + queue->still_listed,
        .event_ms = queue->event_ms,
        .lanes = queue->lane_count,
        .agents_with_work = queue->agents_with_work,
        .unknown_agents = queue->unknown_agents,
        .undelivered = queue->unsettled.count,
        .recorded = queue->recorded.count,
        .oldest_undelivered_ms = first_due_ms(&queue->unsettled),
        .oldest_recorded_ms = first_due_ms(&queue->recorded),
        .oldest_failing_ms = first_due_ms(&queue->failing),
    };
    mutex_unlock(&queue->lock);
}

int64_t send_queue_next_page_ms(struct send_queue *queue)
{
    mutex_lock(&queue->lock);
    int64_t page_ms = queue_next_page_ms_locked(queue);
    mutex_unlock(&queue->lock);
    return page_ms;
}

void send_queue_agent_load(
    struct send_queue *queue, const char *agent_id, size_t *running, size_t *waiting)
{
    *running = 0;
    *waiting = 0;
    mutex_lock(&queue->lock);
    struct id_item *found = id_table_find(&queue->agents, agent_id);
    if (found != NULL) {
        const struct lane_agent *agent = CONTAINER_OF(found, struct lane_agent, item);
        *running = agent->running;
        *waiting = agent->deliveries - agent->running;
    }
    mutex_unlock(&queue->lock);
}

void send_queue_read_activity(
    struct send_queue *queue, const struct activity *activity, struct activity *copy)
{
    mutex_lock(&queue->lock);
    *copy = *activity;
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
