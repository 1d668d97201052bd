/*
 * What comes into the send queue: pages of the backend's list, wake-ups, and, before the workers
 * start, what an earlier process left in the spool.
 *
 * Pages are snapshots that may be out of date when they arrive. Three rules make that harmless:
 *
 * - An id that is known is never taken in again, whatever its stage, so its agent is not asked
 *   twice. Ids that have settled stay known for this reason alone.
 * - A settled id is forgotten only when a page lacks it whose request began after it was settled.
 *   One that such a page still lists a while later has not ended for the backend: if its context
 *   said that it is gone, it becomes a new entry; else it is acknowledged again.
 * - A known id that a page lacks is dropped only if nothing has been done for it: no run, no
 *   record, no mark, no worker. Later stages always run to their end.
 *
 * What is forgotten after its end is judged by other_runtime.c first: a page that lacks what no
 * mark of ours has ended is a trace of another runtime.
 *
 * A dead letter that an operator retries is reserved meanwhile: pages say nothing about it, so its
 * reply and the row of the list cannot become two entries.
 *
 * A truncated page says nothing about younger notifications (page_covers). There is a bound
 * on what is held and on what is ready; rows beyond it are left with the backend, which lists them
 * again.
 *
 * The functions are called by the poller, the heartbeat scheduler, the starting thread, and those
 * about a dead letter by the control socket's; each takes the lock once.
 */
#include "delivery/send_queue.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/sync.h"
#include "base/text.h"
#include "delivery/other_runtime.h"
#include "delivery/queue_state.h"

static const char component[] = "Delivery";

static void add_delivery_locked(
    struct send_queue *queue, struct entry *entry, int64_t created_at_ms)
{
    mutex_assert_held(&queue->lock);
    entry->created_at_ms = created_at_ms;
    entry->queue.last_page = queue->page;
    entry->queue.number = ++queue->last_number;
    entry->queue.known_us = clock_monotonic_us();
    /* Without a readable createdAt it is as old as this process has known it. */
    int64_t since_ms = created_at_ms > 0 ? created_at_ms : clock_wall_ms();
    heap_push(&queue->unsettled, &entry->queue.by_age, since_ms);
    id_table_add(&queue->entries, &entry->item);
    TAILQ_INSERT_TAIL(&queue->all, entry, queue.in_queue);
    queue->held++;
}

/* Records are rarely damaged, so the list is short. */
static struct prior_runs *find_prior_runs_locked(struct send_queue *queue, const char *id)
{
    mutex_assert_held(&queue->lock);
    struct prior_runs *prior_runs = SLIST_FIRST(&queue->prior_runs);
    while (prior_runs != NULL && strcmp(prior_runs->id, id) != 0)
        prior_runs = SLIST_NEXT(prior_runs, next);
    return prior_runs;
}

static bool has_room_locked(struct send_queue *queue)
{
    mutex_assert_held(&queue->lock);
    return !queue->closed && queue->held < SEND_QUEUE_MAX_HELD &&
           queue->ready < queue->settings.capacity;
}

/* runs: earlier ones by this process. False without room or memory: it will be listed again. */
static bool add_row_locked(
    struct send_queue *queue, const struct notification_row *row, unsigned runs)
{
    mutex_assert_held(&queue->lock);
    if (!has_room_locked(queue))
        return false;
    struct entry *entry =
        queue_new_entry_locked(queue, ENTRY_DELIVERY, row->id, row->agent_id, row->task_id);
    if (entry == NULL)
        return false;
    add_delivery_locked(queue, entry, row->created_at_ms);
    const struct prior_runs *prior_runs = find_prior_runs_locked(queue, row->id);
    entry->work.runs = runs > 0 || prior_runs == NULL ? runs : prior_runs->runs;
    entry->work.evidence.inherited = !queue->caught_up || entry->work.runs > 0;
    queue_add_ready_locked(queue, entry);
    return true;
}

static struct entry *new_restored_locked(
    struct send_queue *queue, const struct spool_record *record)
{
    mutex_assert_held(&queue->lock);
    return queue_new_entry_locked(
        queue, ENTRY_DELIVERY, record->id, record->agent_id, record->task_id);
}

static void add_restored_locked(struct send_queue *queue, struct entry *entry,
    const struct spool_record *record, enum entry_stage stage)
{
    mutex_assert_held(&queue->lock);
    add_delivery_locked(queue, entry, record->created_at_ms);
    entry->queue.stage = stage;
    entry->work.runs = record->runs;
    entry->work.refusals.total_ms = record->failing_ms;
    entry->work.errors.total_ms = record->error_ms;
    entry->work.timeouts = record->timeouts;
    entry->work.record = stage == STAGE_REPLIED ? RECORD_REPLY : RECORD_RUN;
    entry->work.rounds = json_incref(record->rounds);
    queue_count_ages_locked(queue, entry, true);
    entry->work.reply_abandoned = record->reply_abandoned;
    entry->work.evidence.inherited = true;
    entry->work.thread_until_ms = record->thread_until_ms;
    entry->work.may_be_changed = record->may_be_changed;
    entry->work.answers_again = record->answers_again;
    entry->work.begins_task = record->begins_task;
    entry->work.empty_answers = record->empty_answers;
    entry->work.document = record->document;
    entry->work.typing = record->runs > 0; /* as an earlier process may have left it */
    text_copy(entry->work.message_id, sizeof entry->work.message_id, record->message_id);
    text_copy(entry->work.agent_slug, sizeof entry->work.agent_slug, record->agent_slug);
    text_copy(entry->work.task_id, sizeof entry->work.task_id, record->task_id);
    text_copy(entry->work.failure, sizeof entry->work.failure, record->failure);
    queue_add_ready_locked(queue, entry);
}

bool send_queue_restore(
    struct send_queue *queue, const struct spool_record *record, enum entry_stage stage)
{
    mutex_lock(&queue->lock);
    struct entry *entry = new_restored_locked(queue, record);
    if (entry != NULL)
        add_restored_locked(queue, entry, record, stage);
    mutex_unlock(&queue->lock);
    return entry != NULL;
}

/* The entry of that id if it has settled and no worker has it; NULL with *busy set if it has not.
 */
static struct entry *find_settled_locked(struct send_queue *queue, const char *id, bool *busy)
{
    mutex_assert_held(&queue->lock);
    struct id_item *found = id_table_find(&queue->entries, id);
    struct entry *entry = found != NULL ? CONTAINER_OF(found, struct entry, item) : NULL;
    *busy = entry != NULL &&
            (entry->queue.stage != STAGE_SETTLED || entry->queue.place == PLACE_WORKER);
    return *busy ? NULL : entry;
}

bool send_queue_reserve_settled(struct send_queue *queue, const char *id)
{
    bool busy;
    mutex_lock(&queue->lock);
    find_settled_locked(queue, id, &busy);
    bool reserved = !busy && !queue->closed;
    if (reserved)
        text_copy(queue->reserved_id, sizeof queue->reserved_id, id);
    mutex_unlock(&queue->lock);
    return reserved;
}

void send_queue_forget_settled(struct send_queue *queue, const char *id)
{
    bool busy;
    struct deferred_free deferred_free = {0};
    mutex_lock(&queue->lock);
    struct entry *entry = find_settled_locked(queue, id, &busy);
    if (entry != NULL)
        queue_forget_locked(queue, entry, &deferred_free);
    mutex_unlock(&queue->lock);
    deferred_free_run(&deferred_free);
}

bool send_queue_restore_settled(struct send_queue *queue, const struct spool_record *record)
{
    bool busy;
    struct deferred_free deferred_free = {0};
    mutex_lock(&queue->lock);
    struct entry *settled = find_settled_locked(queue, record->id, &busy);
    assert(!busy && strcmp(queue->reserved_id, record->id) == 0);
    struct entry *entry = queue->closed ? NULL : new_restored_locked(queue, record);
    if (entry != NULL) {
        if (settled != NULL)
            queue_forget_locked(queue, settled, &deferred_free);
        add_restored_locked(queue, entry, record, STAGE_REPLIED);
    }
    mutex_unlock(&queue->lock);
    deferred_free_run(&deferred_free);
    return entry != NULL;
}

void send_queue_end_reservation(struct send_queue *queue)
{
    mutex_lock(&queue->lock);
    queue->reserved_id[0] = '\0';
    mutex_unlock(&queue->lock);
    if (queue->poller != NULL)
        loop_poke(queue->poller);
}

int send_queue_remember_settled(struct send_queue *queue, const char *id, int64_t created_at_ms)
{
    struct deferred_free deferred_free = {0};
    mutex_lock(&queue->lock);
    struct entry *entry = NULL;
    bool known = id_table_find(&queue->entries, id) != NULL;
    if (!known)
        entry = queue_new_entry_locked(queue, ENTRY_DELIVERY, id, "", "");
    if (entry != NULL) {
        add_delivery_locked(queue, entry, created_at_ms);
        entry->queue.stage = STAGE_SETTLED;
        entry->queue.settled_at_ms = clock_monotonic_ms();
        queue->settled++;
        queue_count_ages_locked(queue, entry, false);
        queue_leave_lane_locked(queue, entry, &deferred_free);
    }
    mutex_unlock(&queue->lock);
    deferred_free_run(&deferred_free);
    if (known)
        return 0;
    return entry != NULL ? 1 : ERROR_NO_MEMORY;
}

bool send_queue_add_prior_runs(struct send_queue *queue, const char *id, unsigned runs)
{
    struct prior_runs *prior_runs = calloc(1, sizeof *prior_runs);
    if (prior_runs == NULL)
        return false;
    text_copy(prior_runs->id, sizeof prior_runs->id, id);
    prior_runs->runs = runs;
    mutex_lock(&queue->lock);
    SLIST_INSERT_HEAD(&queue->prior_runs, prior_runs, next);
    mutex_unlock(&queue->lock);
    return true;
}

/* Not at each poll, should the backend go on to contradict itself: twice as late each time. */
enum { REOPEN_AFTER_MS = 5000, MAX_REOPEN_AFTER_MS = 320 * 1000 };

/*
 * Whether the backend still lists what we have settled. Not what an earlier process settled, whose
 * end is for an operator to read in the spool.
 */
static bool is_listed_in_spite_of_its_end(const struct offer *offer, const struct entry *entry)
{
    if (entry->queue.stage != STAGE_SETTLED || entry->queue.place != PLACE_NONE ||
        entry->work.attempts == 0)
        return false;
    int64_t after_ms =
        backoff_doubled_ms(REOPEN_AFTER_MS, entry->work.reopened, MAX_REOPEN_AFTER_MS);
    return entry->queue.settled_at_ms + after_ms < offer->began_at_ms;
}

/* What becomes of the rows of a page. */
struct intake {
    size_t added;        /* became entries */
    size_t left;         /* unknown ones that found no room */
    size_t reopened;     /* had been settled as gone */
    size_t acknowledged; /* had been settled otherwise, and are to be acknowledged again */
    size_t ended;        /* had been settled, and stay so */
};

/* A row of something gone. Its agent may have run before it was settled, which still counts. */
static void take_in_again_locked(struct send_queue *queue, const struct notification_row *row,
    struct entry *entry, struct intake *intake, struct deferred_free *deferred_free)
{
    mutex_assert_held(&queue->lock);
    unsigned runs = entry->work.runs;
    if (!has_room_locked(queue))
        return;
    queue_forget_locked(queue, entry, deferred_free);
    if (add_row_locked(queue, row, runs))
        intake->reopened++;
    else
        intake->left++;
}

/* Brings a settled entry back for its acknowledgement alone. False without memory. */
static bool acknowledge_again_locked(struct send_queue *queue, struct entry *entry)
{
    mutex_assert_held(&queue->lock);
    if (!queue_join_lane_locked(queue, entry))
        return false;
    queue->settled--;
    entry->queue.stage = STAGE_WRITTEN;
    entry->work.reopened++;
    queue_count_ages_locked(queue, entry, true);
    queue_add_ready_locked(queue, entry);
    return true;
}

/* The page lists it, so it is not forgotten. */
static void note_listed_locked(struct send_queue *queue, struct entry *entry)
{
    mutex_assert_held(&queue->lock);
    entry->queue.last_page = queue->page;
    entry->queue.unlisted = false;
}

/* A row whose id is known. */
static void take_in_known_locked(struct send_queue *queue, const struct offer *offer, size_t row,
    struct entry *entry, struct intake *intake, struct deferred_free *deferred_free)
{
    mutex_assert_held(&queue->lock);
    note_listed_locked(queue, entry);
    if (!is_listed_in_spite_of_its_end(offer, entry))
        intake->ended += entry->queue.stage == STAGE_SETTLED;
    else if (entry->work.reason == REASON_NOTIFICATION_GONE)
        take_in_again_locked(queue, &offer->rows[row], entry, intake, deferred_free);
    else if (acknowledge_again_locked(queue, entry))
        intake->acknowledged++;
}

static struct intake take_in_rows_locked(
    struct send_queue *queue, const struct offer *offer, struct deferred_free *deferred_free)
{
    mutex_assert_held(&queue->lock);
    struct intake intake = {0};
    for (size_t i = 0; i < offer->count; i++) {
        struct id_item *found = id_table_find(&queue->entries, offer->rows[i].id);
        bool is_reserved = strcmp(offer->rows[i].id, queue->reserved_id) == 0;
        if (is_reserved && found != NULL)
            note_listed_locked(queue, CONTAINER_OF(found, struct entry, item));
        if (is_reserved)
            continue;
        if (found != NULL)
            take_in_known_locked(
                queue, offer, i, CONTAINER_OF(found, struct entry, item), &intake, deferred_free);
        else if (add_row_locked(queue, &offer->rows[i], 0))
            intake.added++;
        else
            intake.left++;
    }
    return intake;
}

/*
 * Whether the page would list the entry if the backend still had it as undelivered. A
 * truncated page says nothing about what is younger than its last row, and nothing at all when none
 * of its rows could be read.
 */
static bool page_covers(const struct offer *offer, const struct entry *entry)
{
    if (!offer->full)
        return true;
    return offer->count > 0 && entry->created_at_ms < offer->rows[offer->count - 1].created_at_ms;
}

static void drop_unlisted_locked(
    struct send_queue *queue, const struct offer *offer, struct deferred_free *deferred_free)
{
    mutex_assert_held(&queue->lock);
    struct entry *next;
    for (struct entry *entry = TAILQ_FIRST(&queue->all); entry != NULL; entry = next) {
        next = TAILQ_NEXT(entry, queue.in_queue);
        if (entry->queue.last_page == queue->page)
            continue;
        /* Not by page_covers: on v1 a row may have moved behind the end of a page. */
        if (!offer->full && !entry->queue.may_be_marked)
            entry->queue.unlisted = true;
        if (entry->queue.place == PLACE_WORKER || !page_covers(offer, entry))
            continue;
        bool unused = entry->queue.stage == STAGE_KNOWN && entry->work.runs == 0 &&
                      entry->work.record == RECORD_NONE && !entry->work.answers_again;
        bool forgettable =
            entry->queue.stage == STAGE_SETTLED && entry->queue.settled_at_ms < offer->began_at_ms;
        if (unused || forgettable)
            queue_forget_locked(queue, entry, deferred_free);
    }
}

static void log_contradictions(const struct intake *intake)
{
    if (intake->reopened > 0)
        log_warn(component,
            "%zu notifications without a context are still listed; reading their contexts again",
            intake->reopened);
    if (intake->acknowledged > 0)
        log_warn(component,
            "%zu notifications that have ended are still listed; marking them as delivered again",
            intake->acknowledged);
}

bool send_queue_offer(struct send_queue *queue, const struct offer *offer)
{
    struct deferred_free deferred_free = {0};
    mutex_lock(&queue->lock);
    queue->page++;
    queue->page_was_full = offer->full;
    queue->offered_at_ms = clock_monotonic_ms();
    struct intake intake = take_in_rows_locked(queue, offer, &deferred_free);
    drop_unlisted_locked(queue, offer, &deferred_free);
    queue->page_rows = offer->count + offer->unusable;
    queue->still_listed = intake.ended + offer->unusable;
    if (intake.added + intake.reopened > 0)
        queue->event_ms = queue->offered_at_ms;
    /* A full page of known ids would be nearly the same again until many of them have ended. */
    bool is_stale = offer->full && 2 * intake.added < offer->count;
    bool more = offer->limited && intake.added > 0 && !is_stale && queue_is_low_locked(queue);
    if (!more && ((offer->full && intake.added > 0) || intake.left > 0))
        queue->poll_owed = true;
    queue->caught_up = queue->caught_up || (!offer->full && intake.left == 0);
    mutex_unlock(&queue->lock);
    if (queue->settings.other_runtime != NULL)
        other_runtime_judge(
            queue->settings.other_runtime, deferred_free.entries, clock_monotonic_ms());
    deferred_free_run(&deferred_free);
    log_contradictions(&intake);
    return more;
}

bool send_queue_wake(struct send_queue *queue, const char *agent_id, int64_t max_wait_ms)
{
    struct entry *entry = NULL;
    mutex_lock(&queue->lock);
    struct id_item *found = id_table_find(&queue->agents, agent_id);
    bool has_one = found != NULL && CONTAINER_OF(found, struct lane_agent, item)->wakes > 0;
    if (!queue->closed && !queue->held_by_operator && !has_one)
        entry = queue_new_entry_locked(queue, ENTRY_WAKE, agent_id, agent_id, "");
    if (entry != NULL) {
        entry->queue.lane->agent->wakes++;
        entry->queue.overdue_from_ms = clock_monotonic_ms() + max_wait_ms;
        TAILQ_INSERT_TAIL(&queue->wakes, entry, queue.in_queue);
        queue_add_ready_locked(queue, entry);
    }
    mutex_unlock(&queue->lock);
    return entry != NULL;
}

static struct entry *find_ready_wake_locked(struct send_queue *queue)
{
    mutex_assert_held(&queue->lock);
    struct entry *entry;
    TAILQ_FOREACH (entry, &queue->wakes, queue.in_queue)
        if (entry->queue.place == PLACE_READY)
            break;
    return entry;
}

bool send_queue_withdraw_wake(struct send_queue *queue, char agent_id[static ID_BYTES])
{
    struct deferred_free deferred_free = {0};
    mutex_lock(&queue->lock);
    struct entry *entry = queue->policy.paused ? find_ready_wake_locked(queue) : NULL;
    if (entry != NULL) {
        text_copy(agent_id, ID_BYTES, entry->agent_id);
        queue_forget_locked(queue, entry, &deferred_free);
    }
    mutex_unlock(&queue->lock);
    deferred_free_run(&deferred_free);
    return entry != NULL;
}
