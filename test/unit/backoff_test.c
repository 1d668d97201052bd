/*
 * Exponential backoff with jitter: the formulas for given random numbers, and the generator. The
 * random number is an argument of the formula, so its results are exact.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <limits.h>

#include "base/sync.h"

static const double almost_one = 1.0 - 0x1p-53;

static void test_doubling_is_capped(void **state)
{
    (void)state;
    static const struct {
        int64_t first_ms;
        unsigned doublings;
        int64_t max_ms;
        int64_t doubled_ms;
    } cases[] = {
        {1000, 0, 60000, 1000},
        {1000, 1, 60000, 2000},
        {1000, 5, 60000, 32000},
        {1000, 6, 60000, 60000},
        {1000, UINT_MAX, 60000, 60000},
        {1000, 0, 1000, 1000},
        {1000, 1, 1999, 1999},
        {1000, 1, 2000, 2000},
        {1000, 1, 2001, 2000},
        {1000, 0, 999, 999},
        {1000, 3, 1, 1},
        {1, 62, INT64_MAX, INT64_C(1) << 62},
        {1, 63, INT64_MAX, INT64_MAX},
        {1, 64, INT64_MAX, INT64_MAX},
        {3, 61, INT64_MAX, INT64_C(3) << 61},
        {3, 62, INT64_MAX, INT64_MAX},
        {INT64_MAX, 0, INT64_MAX, INT64_MAX},
        {INT64_MAX, 1, INT64_MAX, INT64_MAX},
        {INT64_MAX, UINT_MAX, 1, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int64_t doubled_ms =
            backoff_doubled_ms(cases[i].first_ms, cases[i].doublings, cases[i].max_ms);
        if (doubled_ms != cases[i].doubled_ms)
            fail_msg("case %zu: %lld", i, (long long)doubled_ms);
    }
}

static void test_backoff_follows_the_formula(void **state)
{
    (void)state;
    static const struct {
        unsigned failures;
        int64_t base_ms, max_ms;
        double unit;
        int64_t wait_ms;
    } cases[] = {
        {0, 5000, 300000, 0.9, 5000},
        {0, 5000, 100, 0, 5000},
        {1, 5000, 300000, 0, 1},
        {1, 5000, 300000, 0.5, 5001},
        {2, 5000, 300000, 0.5, 10001},
        {3, 5000, 300000, 0.25, 10001},
        {5, 5000, 300000, 0.5, 80001},
        {6, 5000, 300000, 0.5, 150001},
        {100, 5000, 300000, 0.5, 150001},
        {1, 1, 1, 0.999, 1},
        {1, 1, 3, 0.999, 2},
        {2, 1, 3, 0.999, 3},
        {1, 5000, 100, 0.5, 51},
        {3, 7, 1000, 0.1, 6},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int64_t wait_ms =
            backoff_ms(cases[i].failures, cases[i].base_ms, cases[i].max_ms, cases[i].unit);
        if (wait_ms != cases[i].wait_ms)
            fail_msg("case %zu: %lld", i, (long long)wait_ms);
    }
}

/* The wait stays within the maximum for any number of failures and any maximum. */
static void test_backoff_does_not_overflow(void **state)
{
    (void)state;
    static const int64_t max[] = {1, 300000, INT64_MAX / 2, INT64_MAX / 2 + 1, INT64_MAX};
    for (size_t i = 0; i < sizeof max / sizeof max[0]; i++) {
        for (unsigned failures = 0; failures < 130; failures++) {
            int64_t wait_ms = backoff_ms(failures, 1, max[i], 0.5);
            assert_true(wait_ms >= 1);
            assert_true(wait_ms <= max[i] / 2 + 2); /* a double holds 53 bits */
        }
        assert_true(backoff_ms(UINT_MAX, max[i], max[i], 0) == 1);
        assert_true(backoff_ms(UINT_MAX, 1, max[i], almost_one) >= 1);
    }
    assert_true(backoff_ms(UINT_MAX, 5000, 300000, almost_one) == 300000);
}

/* With a fixed random number, waits grow from failure to failure up to the maximum. */
static void test_backoff_grows_to_the_maximum(void **state)
{
    (void)state;
    int64_t before_ms = 0;
    for (unsigned failures = 1; failures < 40; failures++) {
        int64_t wait_ms = backoff_ms(failures, 10, 1000000, 0.75);
        assert_true(wait_ms >= before_ms);
        before_ms = wait_ms;
    }
    assert_true(before_ms == 750001);
}

enum { DRAWS = 2000 };

static void *draw_units(void *argument)
{
    double *units = argument;
    for (int i = 0; i < DRAWS; i++)
        units[i] = backoff_random_unit();
    return NULL;
}

/* Two threads draw numbers from all of [0, 1), and different ones. */
static void test_random_units_are_uniform_and_independent(void **state)
{
    (void)state;
    static double own_units[DRAWS];
    static double other_units[DRAWS];
    pthread_t thread;
    struct error error;
    assert_int_equal(thread_start(&thread, "draw", draw_units, other_units, &error), 0);
    draw_units(own_units);
    thread_join(thread);
    int quarters[4] = {0};
    int same = 0;
    for (int i = 0; i < DRAWS; i++) {
        assert_true(own_units[i] >= 0 && own_units[i] < 1);
        assert_true(other_units[i] >= 0 && other_units[i] < 1);
        quarters[(int)(own_units[i] * 4)]++;
        same += own_units[i] == other_units[i];
    }
    for (int i = 0; i < 4; i++)
        assert_true(quarters[i] > DRAWS / 8);
    assert_true(same < DRAWS / 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_doubling_is_capped),
        cmocka_unit_test(test_backoff_follows_the_formula),
        cmocka_unit_test(test_backoff_does_not_overflow),
        cmocka_unit_test(test_backoff_grows_to_the_maximum),
        cmocka_unit_test(test_random_units_are_uniform_and_independent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
