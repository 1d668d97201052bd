/* For how long something may fail before it is given up, and how long it waits until then. */
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

/* Delays are drawn from 0 to a ceiling; of so many one is above a sixteenth of it. */
enum { DRAWS = 64, BASE_MS = 1000, ORDINARY_MS = 2 * BASE_MS };

/* The longest of many delays after that run has ended in that way. */
static int64_t longest_delay_ms(
    struct attempt_fixture *fixture, unsigned runs, struct gateway_result result)
{
    int64_t longest_ms = 0;
    fixture->config.delivery_max_runs = 9;
    fixture->config.delivery_backoff_base_ms = BASE_MS;
    fixture->config.delivery_backoff_max_ms = INT64_C(1000) * BASE_MS;
    for (int i = 0; i < DRAWS; i++) {
        fixture->entry->work.runs = runs;
        fixture->entry->work.failures = 0;
        assert_int_equal(attempt_send_failed(&fixture->attempt, &result), STAGE_KNOWN);
        if (fixture->attempt.delay_ms > longest_ms)
            longest_ms = fixture->attempt.delay_ms;
    }
    return longest_ms;
}

#define LONGEST_DELAY_MS(fixture, runs, ...) \
    longest_delay_ms((fixture), (runs), (struct gateway_result){__VA_ARGS__})

/* Waiting for the gateway is the circuit breaker's task. */
static void test_first_repeat_of_a_lost_run_waits_the_ordinary_backoff(void **state)
{
    assert_in_range(LONGEST_DELAY_MS(*state, 1, .outcome = GATEWAY_AMBIGUOUS), 1, ORDINARY_MS);
    assert_in_range(
        LONGEST_DELAY_MS(*state, 1, .outcome = GATEWAY_AMBIGUOUS, .status = 502), 1, ORDINARY_MS);
}

static void test_other_repeats_wait_longer(void **state)
{
    static const struct gateway_result results[] = {
        {.outcome = GATEWAY_FAILED_RUN, .status = 500},
        {.outcome = GATEWAY_AMBIGUOUS, .timed_out = true},
        {.outcome = GATEWAY_AMBIGUOUS, .status = 504},
    };
    enum { LONGEST_MS = 16 * ORDINARY_MS };
    assert_in_range(
        LONGEST_DELAY_MS(*state, 2, .outcome = GATEWAY_AMBIGUOUS), ORDINARY_MS + 1, LONGEST_MS);
    for (size_t i = 0; i < sizeof results / sizeof results[0]; i++)
        assert_in_range(longest_delay_ms(*state, 1, results[i]), ORDINARY_MS + 1, LONGEST_MS);
}

#define ATTEMPT_TEST(test) cmocka_unit_test_setup_teardown(test, setup, attempt_fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ATTEMPT_TEST(test_failures_add_up),
        ATTEMPT_TEST(test_time_without_attempts_does_not_count),
        ATTEMPT_TEST(test_unavailable_backend_interrupts_failing_time),
        ATTEMPT_TEST(test_first_repeat_of_a_lost_run_waits_the_ordinary_backoff),
        ATTEMPT_TEST(test_other_repeats_wait_longer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
