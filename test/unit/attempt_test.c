/* For how long something may fail before it is given up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "../lib/queue_fixture.h"
#include "../lib/tmp_dir.h"
#include "base/sync.h"
#include "delivery/attempt.h"

enum { LIMIT_MS = 1000, PUT_OFF_MS = 300 };

/* The tests set the clock; hardly any real time passes. */
enum { START_MS = 5000 };

struct fixture {
    char dir[TMP_DIR_BYTES];
    struct config config;
    struct stats stats;
    struct delivery delivery;
    struct spool *spool;
    struct entry *entry;
    struct attempt attempt;
};

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    assert_non_null(fixture);
    tmp_dir_create(fixture->dir);
    assert_int_equal(spool_open(&fixture->spool, fixture->dir, "account1", NULL), 0);
    stats_init(&fixture->stats);
    struct send_queue *queue = queue_fixture_create(QUEUE_FIXTURE_CAPACITY);
    PAGE(queue, {"n1", "a1", "", 1});
    fixture->entry = queue_fixture_take(queue, "n1");
    fixture->entry->work.started_us = clock_monotonic_us();
    fixture->config.delivery_give_up_after_ms = LIMIT_MS;
    fixture->config.delivery_backoff_base_ms = 1;
    fixture->config.delivery_backoff_max_ms = 1;
    fixture->delivery = (struct delivery){.config = &fixture->config,
        .queue = queue,
        .stats = &fixture->stats,
        .journal = {.spool = fixture->spool, .stats = &fixture->stats}};
    fixture->attempt = (struct attempt){.delivery = &fixture->delivery, .entry = fixture->entry};
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    queue_fixture_finish(fixture->delivery.queue, fixture->entry, STAGE_SETTLED, 0);
    send_queue_destroy(fixture->delivery.queue);
    spool_close(fixture->spool);
    stats_fini(&fixture->stats);
    tmp_dir_remove(fixture->dir);
    free(fixture);
    return 0;
}

/* Records a failure at that time, after a delay by the one before. */
static bool fails_at(struct fixture *fixture, int64_t clock_ms)
{
    fixture->entry->work.retry_delay_ms = PUT_OFF_MS;
    return attempt_failing_too_long(&fixture->attempt, &fixture->entry->work.errors, clock_ms);
}

static void test_failures_add_up(void **state)
{
    assert_false(fails_at(*state, START_MS));
    assert_false(fails_at(*state, START_MS + PUT_OFF_MS));
    assert_false(fails_at(*state, START_MS + 2 * PUT_OFF_MS));
    assert_false(fails_at(*state, START_MS + 3 * PUT_OFF_MS));
    assert_true(fails_at(*state, START_MS + 4 * PUT_OFF_MS));
}

/* As while sends are held, the backend is down, or the process is suspended. */
static void test_time_without_attempts_does_not_count(void **state)
{
    struct fixture *fixture = *state;
    assert_false(fails_at(fixture, START_MS));
    assert_false(fails_at(fixture, START_MS + 100 * LIMIT_MS));
    assert_in_range(fixture->entry->work.errors.total_ms, PUT_OFF_MS, PUT_OFF_MS + LIMIT_MS / 2);
}

static void test_unavailable_backend_interrupts_failing_time(void **state)
{
    struct fixture *fixture = *state;
    assert_false(fails_at(fixture, START_MS));
    assert_false(fails_at(fixture, START_MS + PUT_OFF_MS));
    struct error error;
    error_set(&error, ERROR_REMOTE, "away");
    attempt_call_failed(&fixture->attempt, STAGE_WRITTEN, CONVEX_UNAVAILABLE, &error);
    int64_t total_ms = fixture->entry->work.errors.total_ms;
    assert_false(fails_at(fixture, START_MS + 2 * PUT_OFF_MS));
    assert_int_equal(fixture->entry->work.errors.total_ms, total_ms);
}

#define ATTEMPT_TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ATTEMPT_TEST(test_failures_add_up),
        ATTEMPT_TEST(test_time_without_attempts_does_not_count),
        ATTEMPT_TEST(test_unavailable_backend_interrupts_failing_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
