#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "agents/agents.h"
#include "base/containers.h"
#include "base/sync.h"

enum {
    TABLE_AGENTS = 1024, /* more only make it slower */
    MAX_SPREAD_MS = 120 * 1000,
    SOON_MS = 2000, /* within which an agent that is new is woken */
    MAX_EXTRA_MS = 30 * 1000,
    SLEPT_MS = 5000, /* who is overdue by more was not held up by work */
};

struct row {
    struct id_item item;
    struct agent agent;
    struct heap_item due; /* in the heap unless the agent is out */
    int64_t online_ms;    /* when it was last reported; 0: never */
    uint64_t list;        /* number of the last list that held it */
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
    uint64_t lists; /* taken over so far */
};

int wake_schedule_create(struct wake_schedule **schedule, struct error *error)
{
    struct wake_schedule *created = calloc(1, sizeof *created);
    if (created == NULL)
        return error_set(error, ERROR_NO_MEMORY, "no memory for the schedule of wake-ups");
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

static int64_t at_most(int64_t value, int64_t limit)
{
    return value < limit ? value : limit;
}

static int64_t spread_ms(const struct row *row)
{
    return at_most(row->agent.heartbeat_interval_ms * 2 / 5, MAX_SPREAD_MS);
}

static int64_t soon_ms(const struct row *row)
{
    return random_ms(at_most(row->agent.heartbeat_interval_ms, SOON_MS));
}

static struct row *find_work_locked(struct wake_schedule *schedule, const char *id)
{
    mutex_assert_held(&schedule->lock);
    struct id_item *found = id_table_find(&schedule->table, id);
    return found != NULL ? CONTAINER_OF(found, struct row, item) : NULL;
}

static bool is_out(const struct row *row)
{
    return row->due.place == 0;
}

static void reschedule_locked(struct wake_schedule *schedule, struct row *row, int64_t due_ms)
{
    mutex_assert_held(&schedule->lock);
    if (!is_out(row))
        heap_remove(&schedule->due, &row->due);
    heap_push(&schedule->due, &row->due, due_ms);
}

/* Makes rows for the agents that have none, outside of the lock's reach of others' time. */
static int make_rows(const struct agent_list *list, struct row_list *fresh, struct error *error)
{
    TAILQ_INIT(fresh);
    for (size_t i = 0; i < list->count; i++) {
        struct row *row = calloc(1, sizeof *row);
        if (row == NULL) {
            free_rows(fresh);
            return error_set(error, ERROR_NO_MEMORY, "no memory for %zu agents", list->count);
        }
        row->agent = list->agents[i];
        memcpy(row->item.id, row->agent.id, sizeof row->item.id);
        TAILQ_INSERT_TAIL(fresh, row, in_all);
    }
    return 0;
}

/* A known agent: what is new of it counts from now on; a new interval gives a new time. */
static void renew_locked(
    struct wake_schedule *schedule, struct row *row, const struct agent *agent, int64_t now_ms)
{
    mutex_assert_held(&schedule->lock);
    bool other_interval = row->agent.heartbeat_interval_ms != agent->heartbeat_interval_ms;
    row->agent = *agent;
    row->list = schedule->lists;
    if (other_interval && !is_out(row))
        reschedule_locked(schedule, row, now_ms + soon_ms(row));
}

/* The position among count agents decides about the delay at the start. */
static void add_locked(
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

/* Moves the rows that the last list lacks to left; one that is out is missed by nobody. */
static size_t remove_unlisted_locked(struct wake_schedule *schedule, struct row_list *left)
{
    mutex_assert_held(&schedule->lock);
    size_t removed = 0;
    struct row *next;
    for (struct row *row = TAILQ_FIRST(&schedule->all); row != NULL; row = next) {
        next = TAILQ_NEXT(row, in_all);
        if (row->list == schedule->lists)
            continue;
        if (!is_out(row))
            heap_remove(&schedule->due, &row->due);
        id_table_remove(&schedule->table, &row->item);
        TAILQ_REMOVE(&schedule->all, row, in_all);
        TAILQ_INSERT_TAIL(left, row, in_all);
        schedule->count--;
        removed++;
    }
    return removed;
}

static size_t take_over_locked(struct wake_schedule *schedule, const struct agent_list *list,
    struct row_list *fresh, struct row_list *left, int64_t now_ms)
{
    mutex_assert_held(&schedule->lock);
    size_t added = 0;
    for (size_t i = 0; i < list->count; i++) {
        struct row *row = TAILQ_FIRST(fresh);
        struct row *known = find_work_locked(schedule, row->item.id);
        TAILQ_REMOVE(fresh, row, in_all);
        if (known != NULL) {
            /* One that this list held before stays as it was there. */
            if (known->list != schedule->lists)
                renew_locked(schedule, known, &row->agent, now_ms);
            TAILQ_INSERT_TAIL(left, row, in_all);
        } else {
            add_locked(schedule, row, i, list->count, now_ms);
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
        changes->added = take_over_locked(schedule, list, &fresh, &left, now_ms);
        changes->removed = remove_unlisted_locked(schedule, &left);
        changes->total = schedule->count;
    }
    mutex_unlock(&schedule->lock);
    free_rows(&fresh);
    free_rows(&left);
    return result;
}

static struct row *first_locked(const struct wake_schedule *schedule)
{
    mutex_assert_held(&schedule->lock);
    struct heap_item *first = heap_first(&schedule->due);
    return first != NULL ? CONTAINER_OF(first, struct row, due) : NULL;
}

/* After a sleep everybody is overdue at once: as at a start, they are spread. */
static void spread_overdue_locked(struct wake_schedule *schedule, int64_t now_ms)
{
    mutex_assert_held(&schedule->lock);
    const struct row *first = first_locked(schedule);
    if (first == NULL || now_ms - first->due.due_ms <= SLEPT_MS || schedule->due.count < 2)
        return;
    struct row *row;
    TAILQ_FOREACH (row, &schedule->all, in_all)
        if (!is_out(row) && row->due.due_ms < now_ms)
            reschedule_locked(schedule, row, now_ms + random_ms(spread_ms(row) + 1));
}

bool wake_schedule_take(
    struct wake_schedule *schedule, int64_t now_ms, char id[static ID_BYTES], int64_t *next_ms)
{
    mutex_lock(&schedule->lock);
    spread_overdue_locked(schedule, now_ms);
    struct row *row = first_locked(schedule);
    bool due = row != NULL && row->due.due_ms <= now_ms;
    if (due) {
        heap_remove(&schedule->due, &row->due);
        memcpy(id, row->item.id, ID_BYTES);
        row = first_locked(schedule);
    }
    *next_ms = row != NULL ? row->due.due_ms : SYNC_NO_DEADLINE;
    mutex_unlock(&schedule->lock);
    return due;
}

/* An agent that was removed and came back meanwhile is in the heap already: one schedule is left.
 */
static void put_back(struct wake_schedule *schedule, const char *id,
    int64_t (*due_in_ms)(const struct row *row), int64_t now_ms)
{
    mutex_lock(&schedule->lock);
    struct row *row = find_work_locked(schedule, id);
    if (row != NULL && is_out(row))
        heap_push(&schedule->due, &row->due, now_ms + due_in_ms(row));
    mutex_unlock(&schedule->lock);
}

static int64_t next_interval_ms(const struct row *row)
{
    int64_t interval_ms = row->agent.heartbeat_interval_ms;
    return interval_ms + random_ms(at_most(MAX_EXTRA_MS, interval_ms));
}

void wake_schedule_done(struct wake_schedule *schedule, const char *id, int64_t now_ms)
{
    put_back(schedule, id, next_interval_ms, now_ms);
}

static int64_t a_while_ms(const struct row *row)
{
    return 1 + soon_ms(row) + random_ms(spread_ms(row) + 1);
}

void wake_schedule_postpone(struct wake_schedule *schedule, const char *id, int64_t now_ms)
{
    put_back(schedule, id, a_while_ms, now_ms);
}

void wake_schedule_record_online(struct wake_schedule *schedule, const char *id, int64_t now_ms)
{
    mutex_lock(&schedule->lock);
    struct row *row = find_work_locked(schedule, id);
    if (row != NULL)
        row->online_ms = now_ms;
    mutex_unlock(&schedule->lock);
}

bool wake_schedule_owes_report(struct wake_schedule *schedule, const char *id, int64_t now_ms)
{
    mutex_lock(&schedule->lock);
    struct row *row = find_work_locked(schedule, id);
    bool owes =
        row != NULL && is_out(row) &&
        (row->online_ms == 0 || now_ms - row->online_ms >= row->agent.heartbeat_interval_ms);
    if (owes)
        row->online_ms = now_ms;
    mutex_unlock(&schedule->lock);
    return owes;
}

bool wake_schedule_find(struct wake_schedule *schedule, const char *id, struct agent *agent)
{
    mutex_lock(&schedule->lock);
    const struct row *row = find_work_locked(schedule, id);
    if (row != NULL)
        *agent = row->agent;
    mutex_unlock(&schedule->lock);
    return row != NULL;
}

size_t wake_schedule_count(struct wake_schedule *schedule)
{
    mutex_lock(&schedule->lock);
    size_t count = schedule->count;
    mutex_unlock(&schedule->lock);
    return count;
}
