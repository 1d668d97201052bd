/*
 * The lanes of the send queue: which one an entry belongs to, the order of its entries, and in
 * which of the queue's lists the lane is.
 *
 * A lane exists while it has entries. Those that are ready are in one list for each class of work,
 * in order of createdAt, or as they came. Those that workers look at ahead of their turn are in a
 * list of their own, in the same order, so that the lane knows what may have to be sent first.
 *
 * queue_lane_changed_locked derives from its state in which of the queue's lists a lane is, and is
 * called after every change: a lane is in the list of a class if it has ready entries of it and no
 * worker has its turn, and for sends only if nothing that is looked at goes before them; it is in
 * the list of those to look ahead in if it has entries that nobody has looked at, unless looking
 * has been in vain a few times in a row.
 *
 * All functions expect the queue's lock; none blocks. What is to be freed is collected.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/sync.h"
#include "base/text.h"
#include "delivery/queue_state.h"

bool queue_leads_to_send(const struct entry *entry)
{
    return entry->queue.stage == STAGE_KNOWN || entry->queue.stage == STAGE_ACTING;
}

static enum work_class work_class_of(const struct entry *entry)
{
    if (entry->kind == ENTRY_WAKE)
        return CLASS_WAKE;
    return queue_leads_to_send(entry) ? CLASS_SEND : CLASS_WRITE_BACK;
}

bool queue_goes_before(const struct entry *one, const struct entry *other)
{
    if (one->created_at_ms != other->created_at_ms)
        return one->created_at_ms < other->created_at_ms;
    return one->queue.number < other->queue.number;
}

/* Nearly always at the end, since pages come oldest first. */
static void insert_in_order(struct entry_list *list, struct entry *entry)
{
    struct entry *before = TAILQ_LAST(list, entry_list);
    while (before != NULL && queue_goes_before(entry, before))
        before = TAILQ_PREV(before, entry_list, queue.in_lane);
    if (before != NULL)
        TAILQ_INSERT_AFTER(list, before, entry, queue.in_lane);
    else
        TAILQ_INSERT_HEAD(list, entry, queue.in_lane);
}

bool queue_may_look_at(const struct entry *entry)
{
    return entry->kind == ENTRY_DELIVERY && entry->queue.stage == STAGE_KNOWN &&
           entry->work.attempts == 0 && entry->work.runs == 0 && entry->work.record == RECORD_NONE;
}

/* What a worker has ahead of its turn may have to be sent before what is ready. */
static bool has_to_wait_for_look(const struct lane *lane)
{
    const struct entry *looked_at = TAILQ_FIRST(&lane->looked_at);
    const struct entry *ready = TAILQ_FIRST(&lane->ready_entries[CLASS_SEND]);
    return looked_at != NULL && ready != NULL && queue_goes_before(looked_at, ready);
}

static bool belongs_in_list(const struct lane *lane, int list)
{
    if (list == LIST_AHEAD)
        return lane->unseen > 0 && lane->looks_left > 0;
    return !lane->busy && lane->ready_count[list] > 0 &&
           (list != CLASS_SEND || !has_to_wait_for_look(lane));
}

void queue_lane_changed_locked(struct send_queue *queue, struct lane *lane)
{
    mutex_assert_held(&queue->lock);
    for (int list = 0; list < LANE_LISTS; list++) {
        bool wanted = belongs_in_list(lane, list);
        if (wanted && !lane->listed[list])
            TAILQ_INSERT_TAIL(&queue->ready_lanes[list], lane, in_list[list]);
        if (!wanted && lane->listed[list])
            TAILQ_REMOVE(&queue->ready_lanes[list], lane, in_list[list]);
        lane->listed[list] = wanted;
    }
    queue->ready -= lane->ready;
    lane->ready = lane->ready_count[CLASS_WRITE_BACK];
    if (lane->paused_until_ms == 0)
        lane->ready += lane->ready_count[CLASS_SEND];
    /*
     * A single agent with a long backlog must not look like enough work for all workers, or the
     * poller would not fetch what is there for others.
     */
    if (lane->ready > queue->max_ready_of_lane)
        lane->ready = queue->max_ready_of_lane;
    queue->ready += lane->ready;
}

void queue_add_ready_locked(struct send_queue *queue, struct entry *entry)
{
    mutex_assert_held(&queue->lock);
    struct lane *lane = entry->queue.lane;
    enum work_class class = work_class_of(entry);
    insert_in_order(&lane->ready_entries[class], entry);
    lane->ready_count[class]++;
    lane->unseen += queue_may_look_at(entry);
    entry->queue.place = PLACE_READY;
    entry->queue.ready_us = clock_monotonic_us();
    queue_lane_changed_locked(queue, lane);
    cond_signal(&queue->work);
}

void queue_remove_ready_locked(struct send_queue *queue, struct entry *entry)
{
    mutex_assert_held(&queue->lock);
    struct lane *lane = entry->queue.lane;
    enum work_class class = work_class_of(entry);
    TAILQ_REMOVE(&lane->ready_entries[class], entry, queue.in_lane);
    lane->ready_count[class]--;
    lane->unseen -= queue_may_look_at(entry);
    entry->queue.place = PLACE_NONE;
    queue_lane_changed_locked(queue, lane);
}

void queue_add_looked_at_locked(struct send_queue *queue, struct entry *entry)
{
    mutex_assert_held(&queue->lock);
    insert_in_order(&entry->queue.lane->looked_at, entry);
    queue_lane_changed_locked(queue, entry->queue.lane);
}

void queue_remove_looked_at_locked(struct send_queue *queue, struct entry *entry)
{
    mutex_assert_held(&queue->lock);
    TAILQ_REMOVE(&entry->queue.lane->looked_at, entry, queue.in_lane);
    queue_lane_changed_locked(queue, entry->queue.lane);
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
    lane->looks_left = MAX_LOOKS;
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

void queue_set_unknown_locked(struct send_queue *queue, struct lane_agent *agent, bool unknown)
{
    mutex_assert_held(&queue->lock);
    queue->unknown_agents -= agent->unknown;
    agent->unknown = unknown;
    queue->unknown_agents += agent->unknown;
}

void queue_leave_lane_locked(
    struct send_queue *queue, struct entry *entry, struct deferred_free *deferred_free)
{
    mutex_assert_held(&queue->lock);
    struct lane *lane = entry->queue.lane;
    if (lane == NULL)
        return;
    struct lane_agent *agent = lane->agent;
    entry->queue.lane = NULL;
    if (entry->kind == ENTRY_DELIVERY && --agent->deliveries == 0) {
        queue_set_unknown_locked(queue, agent, false);
        queue->agents_with_work--;
    }
    if (--lane->entries > 0)
        return;
    assert(!lane->busy);
    queue->failing_lanes -= lane->failed_runs > 0;
    id_table_remove(&queue->lanes, &lane->item);
    queue->lane_count--;
    lane->item.next = deferred_free->lanes;
    deferred_free->lanes = &lane->item;
    if (--agent->lanes > 0)
        return;
    id_table_remove(&queue->agents, &agent->item);
    agent->item.next = deferred_free->agents;
    deferred_free->agents = &agent->item;
}

/* Pauses. */

void queue_pause_lane_locked(struct send_queue *queue, struct lane *lane, int64_t pause_ms)
{
    mutex_assert_held(&queue->lock);
    int64_t until_ms = clock_monotonic_ms() + pause_ms;
    if (pause_ms > 0 && until_ms > lane->paused_until_ms)
        lane->paused_until_ms = until_ms;
}

/*
 * One agent whose runs fail is its own affair, for which its notifications have their backoff. When
 * several do, something that they share is at fault, so each of these lanes also keeps its distance
 * between notifications, until a run of its own succeeds. Lanes without failures flow meanwhile.
 */
void queue_record_run_locked(struct send_queue *queue, struct lane *lane, struct entry *entry)
{
    mutex_assert_held(&queue->lock);
    const struct send_queue_settings *settings = &queue->settings;
    if (entry->work.run_end == RUN_END_NONE)
        return;
    queue->failing_lanes -= lane->failed_runs > 0;
    lane->failed_runs = entry->work.run_end == RUN_END_FAILED ? lane->failed_runs + 1 : 0;
    queue->failing_lanes += lane->failed_runs > 0;
    entry->work.run_end = RUN_END_NONE;
    if (lane->failed_runs > 0 && queue->failing_lanes >= SEND_QUEUE_FAILING_LANES)
        queue_pause_lane_locked(queue, lane,
            backoff_doubled_ms(
                settings->min_lane_gap_ms, lane->failed_runs - 1, settings->max_lane_gap_ms));
}
