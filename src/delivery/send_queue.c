/*
 * The send queue's work: handing out entries, moving them between stages, taking them back. What
 * comes in is in intake.c; what controls and observes the queue is in queue_control.c.
 *
 * An entry is at exactly one place (enum entry_place):
 *
 *   READY --take--> WORKER --finish--> NONE (settled)
 *     ^               |  '--finish with a delay--> WAITING --due or close--> READY
 *     '---finish------'
 *
 * A lane is an agent with entries, or with session lanes an agent and a task. It keeps those that
 * are ready in one list for each class of work, oldest first. A lane that is not busy is in the
 * queue's list of a class if it has ready entries of it; queue_lane_changed_locked derives that
 * after every change, so a lane with a worker is never found. Lanes are served in turn: one that
 * becomes free goes to the end of its lists.
 *
 * Workers block in send_queue_take only; all else holds the lock for a few microseconds. The rules
 * that the lock protects, which test/model/send_queue.pml checks in every interleaving:
 *
 * - A lane has at most one entry with a worker that may send it, so no session is sent two messages
 *   at once.
 * - An agent is asked only if the policy, the operator's hold and the close allowed it at that
 *   moment: take asks first, to keep workers free, and advance asks again, because both can change
 *   while the worker reads the context. So can the kind of lanes: an entry takes its worker along
 *   to its new lane, so that those after it still follow it; but if that lane has a worker already,
 *   the entry is not sent, and changes lanes when it is returned.
 * - A settled entry stays known until the backend has stopped listing it (intake.c).
 * - Whoever makes something takeable signals; a worker that leaves with an entry passes the signal
 *   on, because it may have been the only one watching for the next due time.
 *
 * A worker that would be idle takes entries ahead of their turn, to skip them (ahead.c).
 *
 * A lane whose sends have to wait (an agent that is rate-limited, or one of several whose runs
 * fail) is paused: until its time has come, take passes over all but its write-backs. A take that
 * finds nothing has looked at all lanes, and its worker sleeps until the first pause ends; one that
 * leaves with an entry passes that watch on with the signal.
 *
 * The poller is poked, after the lock is released, when an early poll pays: something new may be
 * listed, ready work is low or a worker idle, and the page would not repeat too many rows
 * (attention.c).
 */
#include "delivery/send_queue.h"

#include <assert.h>
#include <stdlib.h>

#include "base/sync.h"
#include "base/text.h"
#include "delivery/queue_state.h"

/* Lanes. */

/* Whether the next thing that leaves for the gateway is for its agent. */
static bool leads_to_send(const struct entry *entry)
{
    return entry->queue.stage == STAGE_KNOWN || entry->queue.stage == STAGE_ACTING;
}

static enum work_class work_class_of(const struct entry *entry)
{
    if (entry->kind == ENTRY_WAKE)
        return CLASS_WAKE;
    return leads_to_send(entry) ? CLASS_SEND : CLASS_WRITE_BACK;
}

bool queue_goes_before(const struct entry *one, const struct entry *other)
{
    if (one->created_at_ms != other->created_at_ms)
        return one->created_at_ms < other->created_at_ms;
    return one->queue.number < other->queue.number;
}

void queue_insert_in_order(struct entry_list *list, struct entry *entry)
{
    /* Pages come oldest first, so its place is nearly always at the end. */
    struct entry *before = TAILQ_LAST(list, entry_list);
    while (before != NULL && queue_goes_before(entry, before))
        before = TAILQ_PREV(before, entry_list, queue.in_lane);
    if (before != NULL)
        TAILQ_INSERT_AFTER(list, before, entry, queue.in_lane);
    else
        TAILQ_INSERT_HEAD(list, entry, queue.in_lane);
}

void queue_lane_changed_locked(struct send_queue *queue, struct lane *lane)
{
    mutex_assert_held(&queue->lock);
    for (int list = 0; list < LANE_LISTS; list++) {
        bool wanted = list == LIST_AHEAD
                          ? lane->unseen > 0
                          : !lane->busy && lane->ready_count[list] > 0 &&
                                (list != CLASS_SEND || !queue_has_to_wait_for_look(lane));
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
    queue_insert_in_order(&lane->ready_entries[class], entry);
    lane->ready_count[class]++;
    entry->queue.unseen = queue_may_look_at(entry);
    lane->unseen += entry->queue.unseen;
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
    lane->unseen -= entry->queue.unseen;
    entry->queue.place = PLACE_NONE;
    queue_lane_changed_locked(queue, lane);
}

/*
 * The oldest entry of the lane that has waited longest for this class, or NULL. resume_ms becomes
 * when the first lane that was passed over may be served.
 */
static struct entry *first_ready_locked(
    struct send_queue *queue, enum work_class class, int64_t now_ms)
{
    mutex_assert_held(&queue->lock);
    struct lane *lane;
    TAILQ_FOREACH (lane, &queue->ready_lanes[class], in_list[class]) {
        if (lane->paused_until_ms != 0 && now_ms >= lane->paused_until_ms) {
            lane->paused_until_ms = 0;
            queue_lane_changed_locked(queue, lane);
        }
        if (lane->paused_until_ms == 0 || class == CLASS_WRITE_BACK)
            return TAILQ_FIRST(&lane->ready_entries[class]);
        if (lane->paused_until_ms < queue->resume_ms)
            queue->resume_ms = lane->paused_until_ms;
    }
    return NULL;
}

/* Polls. */

bool queue_is_low_locked(struct send_queue *queue)
{
    mutex_assert_held(&queue->lock);
    return queue->ready < (queue->settings.capacity + 1) / 2;
}

enum { MS_PER_REPEATED_ROW = 60 * 1000 / SEND_QUEUE_REPEATED_ROWS_A_MINUTE };

/* A page that was truncated and is asked for again repeats what it had, and no more than that. */
int64_t queue_next_page_ms_locked(struct send_queue *queue)
{
    mutex_assert_held(&queue->lock);
    size_t repeated = queue->unsettled.count + queue->still_listed;
    if (queue->page_was_full && repeated > queue->page_rows)
        repeated = queue->page_rows;
    return queue->offered_at_ms + (int64_t)repeated * MS_PER_REPEATED_ROW;
}

/* With all workers busy nothing new could be begun, but by then it should be known. */
enum { MAX_OWED_MS = 1000 };

/*
 * Whether to ask for the page that is owed, which then is so no longer: when it may be asked for,
 * and a worker is idle, or ready work is low and the last page is not from just now. The caller
 * pokes the poller after it releases the lock.
 */
static bool claim_poll_locked(struct send_queue *queue, bool idle)
{
    mutex_assert_held(&queue->lock);
    if (!queue->poll_owed)
        return false;
    int64_t now_ms = clock_monotonic_ms();
    bool is_old = now_ms - queue->offered_at_ms >= MAX_OWED_MS;
    bool would_help = idle || (is_old && queue_is_low_locked(queue));
    if (!would_help || now_ms < queue_next_page_ms_locked(queue))
        return false;
    queue->poll_owed = false;
    return queue->poller != NULL;
}

/* Handing out. */

void queue_wake_due_locked(struct send_queue *queue, int64_t now_ms)
{
    mutex_assert_held(&queue->lock);
    struct heap_item *first;
    while ((first = heap_first(&queue->waiting)) != NULL && first->due_ms <= now_ms) {
        heap_remove(&queue->waiting, first);
        queue_add_ready_locked(queue, CONTAINER_OF(first, struct entry, queue.due));
    }
}

bool queue_may_send_locked(struct send_queue *queue, size_t others)
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
static struct entry *find_overdue_wake_locked(struct send_queue *queue, int64_t now_ms)
{
    mutex_assert_held(&queue->lock);
    struct entry *entry;
    if (queue->wake_was_last || queue->wakes_running >= queue->settings.max_wakes)
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
    queue->resume_ms = SYNC_NO_DEADLINE;
    struct entry *entry = first_ready_locked(queue, CLASS_WRITE_BACK, now_ms);
    if (entry != NULL || !queue_may_send_locked(queue, queue->asking))
        return entry;
    entry = find_overdue_wake_locked(queue, now_ms);
    if (entry == NULL)
        entry = first_ready_locked(queue, CLASS_SEND, now_ms);
    if (entry == NULL && queue->settings.looks_ahead && queue->looks_left > 0)
        entry = queue_find_unseen_locked(queue);
    if (entry == NULL && queue->wakes_running < queue->settings.max_wakes)
        entry = first_ready_locked(queue, CLASS_WAKE, now_ms);
    return entry;
}

/* A worker has taken it to ask its agent, and has no answer yet. */
static bool is_asking(const struct entry *entry)
{
    bool before_reply = leads_to_send(entry) || entry->queue.stage == STAGE_SENDING;
    return entry->queue.place == PLACE_WORKER && before_reply && !entry->queue.ahead;
}

/* Shows an observer which stage the entry is at. */
static void show_stage_locked(struct send_queue *queue, struct entry *entry)
{
    mutex_assert_held(&queue->lock);
    struct activity *activity = entry->queue.activity;
    if (activity == NULL)
        return;
    const char *slug = entry->work.agent_slug;
    activity->stage = entry->queue.stage;
    activity->since_ms = clock_monotonic_ms();
    text_copy(activity->agent, sizeof activity->agent, slug[0] != '\0' ? slug : entry->agent_id);
}

static struct entry *take_work_locked(
    struct send_queue *queue, int64_t now_ms, struct activity *activity)
{
    mutex_assert_held(&queue->lock);
    int64_t resume_ms = queue->resume_ms;
    struct entry *entry = find_work_locked(queue, now_ms);
    if (entry == NULL)
        return NULL;
    /* What was found hides the lanes after it, of which an earlier take may have seen more. */
    if (resume_ms < queue->resume_ms)
        queue->resume_ms = resume_ms;
    entry->queue.lane->busy = entry->queue.lane->busy || !entry->queue.ahead;
    queue->looks_left -= entry->queue.ahead;
    entry->queue.lane->agent->running += entry->kind == ENTRY_DELIVERY ? 1 : 0;
    queue_remove_ready_locked(queue, entry);
    if (entry->queue.ahead)
        queue_add_looked_at_locked(queue, entry);
    entry->queue.place = PLACE_WORKER;
    entry->queue.waited_us += clock_monotonic_us() - entry->queue.ready_us;
    entry->queue.activity = activity;
    if (activity != NULL) {
        *activity = (struct activity){.busy = true, .kind = entry->kind};
        text_copy(activity->id, sizeof activity->id, entry->item.id);
    }
    show_stage_locked(queue, entry);
    entry->work.attempts++;
    entry->work.breaker_trips = entry->queue.lane->breaker_trips;
    queue->running++;
    queue->asking += is_asking(entry) ? 1 : 0;
    queue->wakes_running += entry->kind == ENTRY_WAKE ? 1 : 0;
    if (is_asking(entry))
        queue->wake_was_last = entry->kind == ENTRY_WAKE;
    return entry;
}

/* Once closed, the heap holds only entries past the sending stage. */
static bool is_drained_locked(struct send_queue *queue, int64_t now_ms)
{
    mutex_assert_held(&queue->lock);
    if (!queue->closed)
        return false;
    const struct heap_item *first = heap_first(&queue->waiting);
    return now_ms >= queue->close_deadline_ms || first == NULL ||
           first->due_ms >= queue->close_deadline_ms;
}

/* Waits for a signal, or for when a take may find something without one. */
static void wait_for_work_locked(struct send_queue *queue)
{
    mutex_assert_held(&queue->lock);
    const struct heap_item *first = heap_first(&queue->waiting);
    int64_t due_ms = first != NULL ? first->due_ms : SYNC_NO_DEADLINE;
    if (queue->resume_ms < due_ms)
        due_ms = queue->resume_ms;
    /* Then this worker asks for the page that is owed. */
    int64_t page_ms = queue->poll_owed ? queue_next_page_ms_locked(queue) : SYNC_NO_DEADLINE;
    if (page_ms < due_ms)
        due_ms = page_ms;
    queue->idle_workers++;
    cond_wait_until(&queue->work, &queue->lock, due_ms);
    queue->idle_workers--;
}

struct entry *send_queue_take(struct send_queue *queue, struct activity *activity)
{
    struct entry *entry = NULL;
    mutex_lock(&queue->lock);
    for (;;) {
        int64_t now_ms = clock_monotonic_ms();
        queue_wake_due_locked(queue, now_ms);
        bool expired = queue->closed && now_ms >= queue->close_deadline_ms;
        if (!expired)
            entry = take_work_locked(queue, now_ms, activity);
        if (entry != NULL || is_drained_locked(queue, now_ms))
            break;
        if (claim_poll_locked(queue, true)) {
            mutex_unlock(&queue->lock);
            loop_poke(queue->poller);
            mutex_lock(&queue->lock);
            continue;
        }
        wait_for_work_locked(queue);
    }
    /* This thread may have been the only one to watch for the next due time. */
    if (entry != NULL &&
        (queue->waiting.count > 0 || queue->policy.limited || queue->resume_ms != SYNC_NO_DEADLINE))
        cond_signal(&queue->work);
    bool poll_now = claim_poll_locked(queue, false);
    mutex_unlock(&queue->lock);
    if (poll_now)
        loop_poke(queue->poller);
    return entry;
}

/* Moving on. */

void send_queue_use_session_lanes(struct send_queue *queue, bool wanted)
{
    struct deferred_free deferred_free = {0};
    struct entry *entry;
    mutex_lock(&queue->lock);
    if (queue->session_lanes != wanted) {
        queue->session_lanes = wanted;
        TAILQ_FOREACH (entry, &queue->all, queue.in_queue)
            if (entry->queue.lane != NULL)
                queue_move_to_lane_locked(queue, entry, &deferred_free);
        cond_broadcast(&queue->work);
    }
    mutex_unlock(&queue->lock);
    deferred_free_run(&deferred_free);
}

void queue_count_ages_locked(struct send_queue *queue, struct entry *entry, bool open)
{
    mutex_assert_held(&queue->lock);
    int64_t since_ms = entry->queue.by_age.due_ms;
    bool recorded = entry->work.record != RECORD_NONE;
    bool failing = entry->work.failure_class != FAILURE_NONE;
    heap_keep(&queue->unsettled, &entry->queue.by_age, open, since_ms);
    heap_keep(&queue->recorded, &entry->queue.record_by_age, open && recorded, since_ms);
    heap_keep(&queue->failing, &entry->queue.failing_by_age, open && failing, since_ms);
}

/* Moves a taken entry to another stage and keeps the counts of those that ask. */
static void set_stage_locked(struct send_queue *queue, struct entry *entry, enum entry_stage stage)
{
    mutex_assert_held(&queue->lock);
    queue->sending -= entry->queue.stage == STAGE_SENDING;
    queue->asking -= is_asking(entry);
    entry->queue.stage = stage;
    entry->queue.may_be_marked = entry->queue.may_be_marked || stage == STAGE_WRITTEN;
    queue->sending += stage == STAGE_SENDING;
    queue->asking += is_asking(entry);
    if (queue->sending == 0)
        cond_broadcast(&queue->sends_over);
    if (entry->kind == ENTRY_DELIVERY)
        queue_count_ages_locked(queue, entry, stage != STAGE_SETTLED);
}

bool send_queue_advance(struct send_queue *queue, struct entry *entry, enum entry_stage stage)
{
    assert(entry->queue.place == PLACE_WORKER);
    assert(stage != STAGE_SENDING || !entry->queue.ahead);
    mutex_lock(&queue->lock);
    bool allowed = stage != STAGE_SENDING ||
                   (queue_may_send_locked(queue, queue->sending) && !entry->queue.misplaced);
    /* The message that was posted may have caused notifications, and may be answered. */
    if (entry->queue.stage == STAGE_REPLIED && entry->work.reason == REASON_REPLIED) {
        queue->poll_owed = true;
        queue->event_ms = clock_monotonic_ms();
    }
    if (allowed) {
        set_stage_locked(queue, entry, stage);
        show_stage_locked(queue, entry);
        entry->queue.ticket = queue->policy.version;
    }
    if (queue->policy.limited)
        cond_signal(&queue->work);
    bool poll_now = claim_poll_locked(queue, queue->idle_workers > 0);
    mutex_unlock(&queue->lock);
    if (poll_now)
        loop_poke(queue->poller);
    return allowed;
}

/* Taking back. */

void deferred_free_run(const struct deferred_free *deferred_free)
{
    struct id_item *next;
    for (struct id_item *item = deferred_free->entries; item != NULL; item = next) {
        struct entry *entry = CONTAINER_OF(item, struct entry, item);
        next = item->next;
        free(entry->work.reply);
        json_decref(entry->work.rounds);
        free(entry);
    }
    for (struct id_item *item = deferred_free->lanes; item != NULL; item = next) {
        next = item->next;
        free(CONTAINER_OF(item, struct lane, item));
    }
    for (struct id_item *item = deferred_free->agents; item != NULL; item = next) {
        next = item->next;
        free(CONTAINER_OF(item, struct lane_agent, item));
    }
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

static void settle_locked(
    struct send_queue *queue, struct entry *entry, struct deferred_free *deferred_free)
{
    mutex_assert_held(&queue->lock);
    if (entry->work.outcome == OUTCOME_DELIVERED)
        queue_set_unknown_locked(queue, entry->queue.lane->agent, false);
    entry->queue.settled_at_ms = clock_monotonic_ms();
    queue->settled++;
    queue->poll_owed = queue->poll_owed || queue->page_was_full;
    queue_leave_lane_locked(queue, entry, deferred_free);
}

/* Where an unsettled entry is until a worker takes it again; after the close, sends nowhere. */
static void requeue_locked(struct send_queue *queue, struct entry *entry, int64_t delay_ms,
    struct deferred_free *deferred_free)
{
    mutex_assert_held(&queue->lock);
    queue_move_to_lane_locked(queue, entry, deferred_free);
    if (entry->work.failure_class != FAILURE_NONE)
        queue_set_unknown_locked(queue, entry->queue.lane->agent, entry->work.agent_unknown);
    if (delay_ms > 0)
        entry->queue.waited_us = 0;
    if (delay_ms <= 0)
        queue_add_ready_locked(queue, entry);
    else if (!queue->closed || !leads_to_send(entry)) {
        heap_push(&queue->waiting, &entry->queue.due, clock_monotonic_ms() + delay_ms);
        entry->queue.place = PLACE_WAITING;
    }
}

/* Pauses. */

static void pause_lane_locked(struct send_queue *queue, struct lane *lane, int64_t pause_ms)
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
static void record_run_locked(struct send_queue *queue, struct lane *lane, struct entry *entry)
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
        pause_lane_locked(queue, lane,
            backoff_doubled_ms(
                settings->min_lane_gap_ms, lane->failed_runs - 1, settings->max_lane_gap_ms));
}

/* The worker no longer has the entry, and its lane is free if it was its turn. */
static void leave_worker_locked(struct send_queue *queue, struct entry *entry)
{
    mutex_assert_held(&queue->lock);
    struct lane *lane = entry->queue.lane;
    queue->asking -= is_asking(entry);
    if (entry->queue.stage == STAGE_SETTLED && entry->work.outcome == OUTCOME_SKIPPED)
        queue_renew_looks_locked(queue);
    entry->queue.place = PLACE_NONE;
    queue->running--;
    lane->agent->running -= entry->kind == ENTRY_DELIVERY ? 1 : 0;
    queue->wakes_running -= entry->kind == ENTRY_WAKE ? 1 : 0;
    if (entry->queue.activity != NULL)
        *entry->queue.activity = (struct activity){.since_ms = clock_monotonic_ms()};
    entry->queue.activity = NULL;
    if (entry->queue.ahead) {
        queue_remove_looked_at_locked(queue, entry);
        entry->queue.ahead = false;
        return;
    }
    entry->queue.waited_us = 0;
    pause_lane_locked(queue, lane, entry->work.lane_pause_ms);
    entry->work.lane_pause_ms = 0;
    lane->breaker_trips = entry->work.breaker_trips;
    record_run_locked(queue, lane, entry);
    lane->busy = false;
    queue_lane_changed_locked(queue, lane);
}

bool send_queue_finish(
    struct send_queue *queue, struct entry *entry, enum entry_stage stage, int64_t delay_ms)
{
    assert(stage != STAGE_SENDING);
    bool settled = stage == STAGE_SETTLED;
    char *reply = settled ? entry->work.reply : NULL;
    json_t *rounds = settled ? entry->work.rounds : NULL;
    if (settled) {
        entry->work.reply = NULL;
        entry->work.rounds = NULL;
    }
    struct deferred_free deferred_free = {0};
    mutex_lock(&queue->lock);
    assert(entry->queue.place == PLACE_WORKER);
    bool has_wake = entry->queue.lane->agent->wakes > 0;
    set_stage_locked(queue, entry, stage);
    leave_worker_locked(queue, entry);
    if (entry->kind == ENTRY_WAKE)
        queue_forget_locked(queue, entry, &deferred_free);
    else if (settled)
        settle_locked(queue, entry, &deferred_free);
    else
        requeue_locked(queue, entry, delay_ms, &deferred_free);
    bool poll_now = claim_poll_locked(queue, queue->idle_workers > 0);
    cond_signal(&queue->work);
    mutex_unlock(&queue->lock);
    deferred_free_run(&deferred_free);
    free(reply);
    json_decref(rounds);
    if (poll_now)
        loop_poke(queue->poller);
    return has_wake;
}
