#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/sync.h"
#include "base/text.h"
#include "queue_fixture.h"

/* Never started; it only collects pokes, each of which would make a poller poll. */
static struct loop poller;
static unsigned polls;

unsigned queue_fixture_polls(void)
{
    mutex_lock(&poller.lock);
    polls += poller.poked;
    poller.poked = false;
    mutex_unlock(&poller.lock);
    return polls;
}

static struct send_queue *create_queue(size_t capacity, bool looks_ahead)
{
    struct send_queue *queue = NULL;
    struct error error;
    const struct send_queue_settings settings = {.capacity = capacity,
        .looks_ahead = looks_ahead,
        .max_wakes = QUEUE_FIXTURE_MAX_WAKES,
        .min_lane_gap_ms = AN_HOUR_MS,
        .max_lane_gap_ms = AN_HOUR_MS};
    assert_int_equal(send_queue_create(&queue, &settings, &error), 0);
    if (poller.name == NULL)
        loop_init(&poller, "polls", NULL, NULL);
    send_queue_set_poller(queue, &poller);
    return queue;
}

struct send_queue *queue_fixture_create(size_t capacity)
{
    return create_queue(capacity, false);
}

struct send_queue *queue_fixture_create_ahead(size_t capacity)
{
    return create_queue(capacity, true);
}

int queue_fixture_setup(void **state)
{
    *state = queue_fixture_create(QUEUE_FIXTURE_CAPACITY);
    return 0;
}

int queue_fixture_teardown(void **state)
{
    /* After a failed test entries are still taken; destroying the queue would hide its message. */
    if (queue_fixture_counts(*state).running > 0)
        return -1;
    send_queue_destroy(*state);
    return 0;
}

struct notification_row queue_fixture_row(
    const char *id, const char *agent_id, int64_t created_at_ms)
{
    struct notification_row row = {.created_at_ms = created_at_ms};
    text_copy(row.id, sizeof row.id, id);
    text_copy(row.agent_id, sizeof row.agent_id, agent_id);
    return row;
}

bool queue_fixture_page(
    struct send_queue *queue, bool full, const struct notification_row *rows, size_t count)
{
    /* A millisecond after anything that was settled before this call. */
    const struct offer offer = {.rows = rows,
        .count = count,
        .full = full,
        .limited = full,
        .began_at_ms = clock_monotonic_ms() + 1};
    return send_queue_offer(queue, &offer);
}

struct entry *queue_fixture_take(struct send_queue *queue, const char *id)
{
    struct entry *entry = send_queue_take(queue, NULL);
    assert_non_null(entry);
    assert_string_equal(entry->item.id, id);
    return entry;
}

void queue_fixture_take_and_settle(struct send_queue *queue, const char *id)
{
    struct entry *entry = queue_fixture_take(queue, id);
    queue_fixture_finish(queue, entry, STAGE_SETTLED, 0);
}

bool queue_fixture_finish(
    struct send_queue *queue, struct entry *entry, enum entry_stage stage, int64_t delay_ms)
{
    unsigned before = queue_fixture_polls();
    send_queue_finish(queue, entry, stage, delay_ms);
    return queue_fixture_polls() > before;
}

void queue_fixture_pause(struct send_queue *queue, bool paused)
{
    static _Atomic uint64_t version;
    const struct send_policy policy = {
        .version = atomic_fetch_add(&version, 1) + 1, .paused = paused};
    send_queue_set_policy(queue, &policy);
}

struct send_queue_view queue_fixture_counts(struct send_queue *queue)
{
    struct send_queue_view counts;
    send_queue_snapshot(queue, &counts);
    return counts;
}

struct many_rows many_rows_create(const char *prefix, const char *agent_id, size_t count)
{
    struct many_rows many = {.count = count};
    many.rows = calloc(count, sizeof *many.rows);
    many.ids = calloc(count, sizeof *many.ids);
    assert_true(many.rows != NULL && many.ids != NULL);
    for (size_t i = 0; i < count; i++) {
        snprintf(many.ids[i], sizeof many.ids[i], "%s-%zu", prefix, i);
        many.rows[i] = queue_fixture_row(many.ids[i], agent_id, (int64_t)i);
    }
    return many;
}

void many_rows_fini(struct many_rows *many)
{
    free(many->rows);
    free(many->ids);
    *many = (struct many_rows){0};
}
