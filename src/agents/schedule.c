/*
 * Each agent is a row, which is in one of two states: scheduled, in the heap by its due time; or
 * out, while its wake-up is in the queue or with a worker. wake_schedule_take moves the earliest
 * row out, wake_schedule_done and _postpone put it back, and every row is at all times in the list
 * and in the table of ids. A row that leaves the list while it is out is simply not found when it
 * is put back; if the agent has returned by then, its new row is already in the heap, and putting
 * back does nothing.
 *
 * The due times are chosen so that the gateway never gets a burst: agents are spread by position
 * after startup, at random after they were postponed or the process was paused, and by a jitter of
 * up to 30 s in normal operation.
 *
 * Nothing is allocated or freed under the lock: an update builds its rows before, reserves room in
 * the heap once, and frees the rows left over afterwards.
 */
#include "agents/agents.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/queue.h>

#include "base/containers.h"
#include "base/sync.h"

enum {
    TABLE_AGENTS = 1024, /* expected; a larger number only makes look-ups slower */
    MAX_SPREAD_MS = 120 * 1000,
    SOON_MS = 2000, /* a new agent is woken within this time */
    MAX_JITTER_MS = 30 * 1000,
    SUSPENDED_MS = 5000, /* overdue by more than a busy scheduler explains */
};

struct row {
    struct id_item item;
    struct agent agent;
    struct heap_item due; /* in the heap unless the row is out */
    int64_t online_ms;    /* when it was last reported as online; 0: never */
    unsigned failures;    /* wake-ups since the last one that succeeded */
    int64_t woken_at_ms;  /* this and the next: see struct agent_view */
    int64_t wakes_failing_from_ms;
    uint64_t list; /* number of the last list that contained it */
    TAILQ_ENTRY(row) in_all;
};

TAILQ_HEAD(row_list, row);

struct wake_schedule {
    /* Guards everything below. */
    struct mutex lock;
    struct id_table table;
    struct row_list all;
    struct heap due;
    size_t count;
    uint64_t lists; /* updates so far; 1 while the first list is current */
};

int wake_schedule_create(struct wake_schedule **schedule, struct error *error)
{
    struct wake_schedule *created = calloc(1, sizeof *created);
    if (created == NULL)
        return error_set(error, ERROR_NO_MEMORY, "out of memory for the wake-up schedule");
    mutex_init(&created->lock);
    TAILQ_INIT(&created->all);
    int result = id_table_init(&created->table, TABLE_AGENTS, error);
    if (result != 0) {
        wake_schedule_destroy(created);
        return result;
    }
    *schedule = created;
    return 0;
}

static void free_rows(struct row_list *rows)
{
    struct row *row;
    while ((row = TAILQ_FIRST(rows)) != NULL) {
        TAILQ_REMOVE(rows, row, in_all);
        free(row);
    }
}

void wake_schedule_destroy(struct wake_schedule *schedule)
{
    if (schedule == NULL)
        return;
    free_rows(&schedule->all);
    heap_fini(&schedule->due);
    id_table_fini(&schedule->table);
    mutex_fini(&schedule->lock);
    free(schedule);
}

static int64_t random_ms(int64_t below_ms)
{
    return (int64_t)(backoff_random_unit() * (double)below_ms);
}

static int64_t min_ms(int64_t one_ms, int64_t other_ms)
{
    return one_ms < other_ms ? one_ms : other_ms;
}

static int64_t spread_ms(const struct row *row)
{
    return min_ms(row->agent.heartbeat_interval_ms * 2 / 5, MAX_SPREAD_MS);
}

static int64_t soon_ms(const struct row *row)
{
    return random_ms(min_ms(row->agent.heartbeat_interval_ms, SOON_MS));
}

static struct row *find_row_locked(struct wake_schedule *schedule, const char *id)
{
    mutex_assert_held(&schedule->lock);
    struct id_item *found = id_table_find(&schedule->table, id);
    return found != NULL ? CONTAINER_OF(found, struct row, item) : NULL;
}

static bool is_row_out(const struct row *row)
{
    return row->due.place == 0;
}

static void reschedule_row_locked(struct wake_schedule *schedule, struct row *row, int64_t due_ms)
{
    mutex_assert_held(&schedule->lock);
    if (!is_row_out(row))
        heap_remove(&schedule->due, &row->due);
    heap_push(&schedule->due, &row->due, due_ms);
}

/* One row per listed agent, known or not: which are known is only clear under the lock. */
static int make_rows(const struct agent_list *list, struct row_list *fresh, struct error *error)
{
    TAILQ_INIT(fresh);
    for (size_t i = 0; i < list->count; i++) {
        struct row *row = calloc(1, sizeof *row);
        if (row == NULL) {
            free_rows(fresh);
            return error_set(error, ERROR_NO_MEMORY, "out of memory for %zu agents", list->count);
        }
        row->agent = list->agents[i];
        memcpy(row->item.id, row->agent.id, sizeof row->item.id);
        TAILQ_INSERT_TAIL(fresh, row, in_all);
    }
    return 0;
}

/* A new interval takes effect at once; other changes with the next wake-up. */
static void update_row_locked(
    struct wake_schedule *schedule, struct row *row, const struct agent *agent, int64_t now_ms)
{
    mutex_assert_held(&schedule->lock);
    bool other_interval = row->agent.heartbeat_interval_ms != agent->heartbeat_interval_ms;
    row->agent = *agent;
    row->list = schedule->lists;
    if (other_interval && !is_row_out(row))
        reschedule_row_locked(schedule, row, now_ms + soon_ms(row));
}

/* Agents of the first list are spread by their position among count; later ones are due soon. */
static void insert_row_locked(
    struct wake_schedule *schedule, struct row *row, size_t position, size_t count, int64_t now_ms)
{
    mutex_assert_held(&schedule->lock);
    int64_t delay_ms = soon_ms(row);
    if (schedule->lists == 1 && count <= 1)
        delay_ms = 0;
    else if (schedule->lists == 1)
        delay_ms += spread_ms(row) * (int64_t)position / (int64_t)count;
    row->list = schedule->lists;
    id_table_add(&schedule->table, &row->item);
    TAILQ_INSERT_TAIL(&schedule->all, row, in_all);
    heap_push(&schedule->due, &row->due, now_ms + delay_ms);
    schedule->count++;
}

/* Moves rows that are not in the last list to left, for the caller to free. */
static size_t remove_unlisted_rows_locked(struct wake_schedule *schedule, struct row_list *left)
{
    mutex_assert_held(&schedule->lock);
    size_t removed = 0;
    struct row *next;
    for (struct row *row = TAILQ_FIRST(&schedule->all); row != NULL; row = next) {
        next = TAILQ_NEXT(row, in_all);
        if (row->list == schedule->lists)
            continue;
        if (!is_row_out(row))
            heap_remove(&schedule->due, &row->due);
        id_table_remove(&schedule->table, &row->item);
        TAILQ_REMOVE(&schedule->all, row, in_all);
        TAILQ_INSERT_TAIL(left, row, in_all);
        schedule->count--;
        removed++;
    }
    return removed;
}

static size_t merge_list_locked(struct wake_schedule *schedule, const struct agent_list *list,
    struct row_list *fresh, struct row_list *left, int64_t now_ms)
{
    mutex_assert_held(&schedule->lock);
    size_t added = 0;
    for (size_t i = 0; i < list->count; i++) {
        struct row *row = TAILQ_FIRST(fresh);
        struct row *known = find_row_locked(schedule, row->item.id);
        TAILQ_REMOVE(fresh, row, in_all);
        if (known != NULL) {
            /* If one list has an id twice, the first occurrence counts. */
            if (known->list != schedule->lists)
                update_row_locked(schedule, known, &row->agent, now_ms);
            TAILQ_INSERT_TAIL(left, row, in_all);
        } else {
            insert_row_locked(schedule, row, i, list->count, now_ms);
            added++;
        }
    }
    return added;
}

int wake_schedule_update(struct wake_schedule *schedule, const struct agent_list *list,
    int64_t now_ms, struct wake_changes *changes, struct error *error)
{
    struct row_list fresh;
    struct row_list left;
    int result = make_rows(list, &fresh, error);
    if (result != 0)
        return result;
    TAILQ_INIT(&left);
    mutex_lock(&schedule->lock);
    result = heap_reserve(&schedule->due, schedule->count + list->count, error);
    if (result == 0) {
        schedule->lists++;
        changes->added = merge_list_locked(schedule, list, &fresh, &left, now_ms);
        changes->removed = remove_unlisted_rows_locked(schedule, &left);
        changes->total = schedule->count;
    }
    mutex_unlock(&schedule->lock);
    free_rows(&fresh);
    free_rows(&left);
    return result;
}

static struct row *first_due_locked(const struct wake_schedule *schedule)
{
    mutex_assert_held(&schedule->lock);
    struct heap_item *first = heap_first(&schedule->due);
    return first != NULL ? CONTAINER_OF(first, struct row, due) : NULL;
}

/* After the process or its virtual machine was paused every agent may be overdue: spread them. */
static void spread_overdue_locked(struct wake_schedule *schedule, int64_t now_ms)
{
    mutex_assert_held(&schedule->lock);
    const struct row *first = first_due_locked(schedule);
    if (first == NULL || now_ms - first->due.due_ms <= SUSPENDED_MS || schedule->due.count < 2)
        return;
    struct row *row;
    TAILQ_FOREACH (row, &schedule->all, in_all)
        if (!is_row_out(row) && row->due.due_ms < now_ms)
            reschedule_row_locked(schedule, row, now_ms + random_ms(spread_ms(row) + 1));
}

bool wake_schedule_take(
    struct wake_schedule *schedule, int64_t now_ms, char id[static ID_BYTES], int64_t *next_ms)
{
    mutex_lock(&schedule->lock);
    spread_overdue_locked(schedule, now_ms);
    struct row *row = first_due_locked(schedule);
    bool due = row != NULL && row->due.due_ms <= now_ms;
    if (due) {
        heap_remove(&schedule->due, &row->due);
        memcpy(id, row->item.id, ID_BYTES);
        row = first_due_locked(schedule);
    }
    *next_ms = row != NULL ? row->due.due_ms : SYNC_NO_DEADLINE;
    mutex_unlock(&schedule->lock);
    return due;
}

/* A row in the heap belongs to an agent that was removed and came back: it keeps its due time. */
static void schedule_again(struct wake_schedule *schedule, const char *id,
    int64_t (*due_in_ms)(const struct row *row), int64_t now_ms)
{
    mutex_lock(&schedule->lock);
    struct row *row = find_row_locked(schedule, id);
    if (row != NULL && is_row_out(row))
        heap_push(&schedule->due, &row->due, now_ms + due_in_ms(row));
    mutex_unlock(&schedule->lock);
}

static int64_t interval_delay_ms(const struct row *row)
{
    int64_t interval_ms = row->agent.heartbeat_interval_ms;
    return interval_ms + random_ms(min_ms(MAX_JITTER_MS, interval_ms));
}

void wake_schedule_done(struct wake_schedule *schedule, const char *id, int64_t now_ms)
{
    schedule_again(schedule, id, interval_delay_ms, now_ms);
}

static int64_t postponed_delay_ms(const struct row *row)
{
    return 1 + soon_ms(row) + random_ms(spread_ms(row) + 1);
}

void wake_schedule_postpone(struct wake_schedule *schedule, const char *id, int64_t now_ms)
{
    schedule_again(schedule, id, postponed_delay_ms, now_ms);
}

void wake_schedule_record_wake(struct wake_schedule *schedule, const char *id, bool woken)
{
    mutex_lock(&schedule->lock);
    struct row *row = find_row_locked(schedule, id);
    if (row != NULL) {
        row->failures = woken ? 0 : row->failures + 1;
        row->woken_at_ms = woken ? clock_wall_ms() : row->woken_at_ms;
        if (woken || row->failures == 1)
            row->wakes_failing_from_ms = woken ? 0 : clock_wall_ms();
    }
    mutex_unlock(&schedule->lock);
}

void wake_schedule_record_online(struct wake_schedule *schedule, const char *id, int64_t now_ms)
{
    mutex_lock(&schedule->lock);
    struct row *row = find_row_locked(schedule, id);
    if (row != NULL)
        row->online_ms = now_ms;
    mutex_unlock(&schedule->lock);
}

bool wake_schedule_owes_report(
    struct wake_schedule *schedule, const char *id, int64_t now_ms, struct agent *agent)
{
    mutex_lock(&schedule->lock);
    struct row *row = find_row_locked(schedule, id);
    bool owes =
        row != NULL && is_row_out(row) &&
        (row->online_ms == 0 || now_ms - row->online_ms >= row->agent.heartbeat_interval_ms);
    if (owes) {
        row->online_ms = now_ms;
        *agent = row->agent;
    }
    mutex_unlock(&schedule->lock);
    return owes;
}

bool wake_schedule_find(struct wake_schedule *schedule, const char *id, struct agent *agent)
{
    mutex_lock(&schedule->lock);
    const struct row *row = find_row_locked(schedule, id);
    if (row != NULL)
        *agent = row->agent;
    mutex_unlock(&schedule->lock);
    return row != NULL;
}

bool wake_schedule_find_slug(
    struct wake_schedule *schedule, const char *slug, size_t slug_bytes, struct agent *agent)
{
    size_t found = 0;
    const struct row *row;
    mutex_lock(&schedule->lock);
    TAILQ_FOREACH (row, &schedule->all, in_all) {
        const char *own = row->agent.slug;
        if (strlen(own) != slug_bytes || strncasecmp(own, slug, slug_bytes) != 0)
            continue;
        *agent = row->agent;
        found++;
    }
    mutex_unlock(&schedule->lock);
    return found == 1;
}

size_t wake_schedule_list(
    struct wake_schedule *schedule, struct agent_view *views, size_t max, size_t *total)
{
    size_t count = 0;
    const struct row *row;
    mutex_lock(&schedule->lock);
    TAILQ_FOREACH (row, &schedule->all, in_all) {
        if (count == max)
            break;
        views[count++] = (struct agent_view){
            .agent = row->agent,
            .woken_at_ms = row->woken_at_ms,
            .wakes_failing_from_ms = row->wakes_failing_from_ms,
            .due_ms = is_row_out(row) ? 0 : row->due.due_ms,
        };
    }
    *total = schedule->count;
    mutex_unlock(&schedule->lock);
    return count;
}

size_t wake_schedule_count_failing(struct wake_schedule *schedule)
{
    size_t count = 0;
    const struct row *row;
    mutex_lock(&schedule->lock);
    TAILQ_FOREACH (row, &schedule->all, in_all)
        count += row->failures >= WAKE_FAILURES ? 1 : 0;
    mutex_unlock(&schedule->lock);
    return count;
}

size_t wake_schedule_count(struct wake_schedule *schedule)
{
    mutex_lock(&schedule->lock);
    size_t count = schedule->count;
    mutex_unlock(&schedule->lock);
    return count;
}
