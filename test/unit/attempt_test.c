/* For how long something may fail before it is given up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../lib/attempt_fixture.h"
#include "base/sync.h"

enum { LIMIT_MS = 1000, PUT_OFF_MS = 300 };

/* The tests set the clock; hardly any real time passes. */
enum { START_MS = 5000 };

static int setup(void **state)
{
    struct attempt_fixture *fixture = attempt_fixture_create("");
    fixture->entry->work.started_us = clock_monotonic_us();
    fixture->config.delivery_give_up_after_ms = LIMIT_MS;
    fixture->config.delivery_backoff_base_ms = 1;
    fixture->config.delivery_backoff_max_ms = 1;
    *state = fixture;
    return 0;
}

/* Records a failure at that time, after a delay by the one before. */
static bool fails_at(struct attempt_fixture *fixture, int64_t clock_ms)
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
    struct attempt_fixture *fixture = *state;
    assert_false(fails_at(fixture, START_MS));
    assert_false(fails_at(fixture, START_MS + 100 * LIMIT_MS));
    assert_in_range(fixture->entry->work.errors.total_ms, PUT_OFF_MS, PUT_OFF_MS + LIMIT_MS / 2);
}

static void test_unavailable_backend_interrupts_failing_time(void **state)
{
    struct attempt_fixture *fixture = *state;
    assert_false(fails_at(fixture, START_MS));
    assert_false(fails_at(fixture, START_MS + PUT_OFF_MS));
    struct error error;
    error_set(&error, ERROR_REMOTE, "away");
    attempt_call_failed(&fixture->attempt, STAGE_WRITTEN, CONVEX_UNAVAILABLE, &error);
    int64_t total_ms = fixture->entry->work.errors.total_ms;
    assert_false(fails_at(fixture, START_MS + 2 * PUT_OFF_MS));
    assert_int_equal(fixture->entry->work.errors.total_ms, total_ms);
}

#define ATTEMPT_TEST(test) cmocka_unit_test_setup_teardown(test, setup, attempt_fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ATTEMPT_TEST(test_failures_add_up),
        ATTEMPT_TEST(test_time_without_attempts_does_not_count),
        ATTEMPT_TEST(test_unavailable_backend_interrupts_failing_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
