/* How far a clock is off, and when times are corrected and the difference is said. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "backend/backend_clock.h"
#include "base/sync.h"

static void test_date_header_is_truncated_to_seconds(void **state)
{
    (void)state;
    assert_int_equal(clock_ahead_ms(5000, 5000, 5010), 0);
    assert_int_equal(clock_ahead_ms(5000, 5999, 6100), 0);
    assert_int_equal(clock_ahead_ms(5000, 6000, 6100), 1);
    assert_int_equal(clock_ahead_ms(5000, 4000, 4999), -1);
}

static void test_slow_response_is_not_skew(void **state)
{
    (void)state;
    assert_int_equal(clock_ahead_ms(5000, 1000, 11000), 0);
}

/* An answer whose server's clock is behind ours by that much. */
static bool see_behind(struct backend_clock *clock, int64_t behind_ms)
{
    int64_t now_ms = clock_wall_ms();
    int64_t date_ms = (now_ms - behind_ms) / 1000 * 1000;
    return backend_clock_see(clock, date_ms, now_ms, now_ms);
}

static int64_t correction_ms(const struct backend_clock *clock)
{
    return clock_wall_ms() - backend_clock_now_ms(clock);
}

static void test_small_difference_is_left_alone(void **state)
{
    (void)state;
    struct backend_clock clock = {0};
    assert_int_equal(correction_ms(&clock), 0);
    assert_false(atomic_load(&clock.is_known));
    assert_false(see_behind(&clock, 5000));
    assert_int_equal(correction_ms(&clock), 0);
    assert_true(atomic_load(&clock.is_known));
    assert_false(see_behind(&clock, -5000));
    assert_int_equal(correction_ms(&clock), 0);
}

/* To within the second that a Date is truncated to. */
static void test_larger_difference_is_corrected(void **state)
{
    (void)state;
    struct backend_clock clock = {0};
    assert_false(see_behind(&clock, 7000));
    assert_in_range(correction_ms(&clock), 6000, 7000);
    assert_false(see_behind(&clock, -29000));
    assert_in_range(-correction_ms(&clock), 28000, 30000);
    assert_false(atomic_load(&clock.is_off));
    assert_false(see_behind(&clock, 0));
    assert_int_equal(correction_ms(&clock), 0);
}

static void test_wrong_clock_is_said_once_until_it_is_right(void **state)
{
    (void)state;
    struct backend_clock clock = {0};
    assert_true(see_behind(&clock, 40000));
    assert_true(atomic_load(&clock.is_off));
    assert_false(see_behind(&clock, 50000));
    assert_false(see_behind(&clock, 20000));
    assert_true(atomic_load(&clock.is_off));
    assert_true(see_behind(&clock, 0));
    assert_false(atomic_load(&clock.is_off));
    assert_false(see_behind(&clock, 0));
}

static void test_answers_that_tell_nothing_change_nothing(void **state)
{
    (void)state;
    struct backend_clock clock = {0};
    int64_t now_ms = clock_wall_ms();
    assert_false(backend_clock_see(&clock, 0, now_ms, now_ms));
    assert_false(backend_clock_see(&clock, 86400000, now_ms, now_ms));
    assert_false(backend_clock_see(&clock, now_ms - 60000, now_ms - 2001, now_ms));
    assert_false(backend_clock_see(&clock, now_ms - 60000, now_ms + 1, now_ms));
    assert_false(atomic_load(&clock.is_known));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_date_header_is_truncated_to_seconds),
        cmocka_unit_test(test_slow_response_is_not_skew),
        cmocka_unit_test(test_small_difference_is_left_alone),
        cmocka_unit_test(test_larger_difference_is_corrected),
        cmocka_unit_test(test_wrong_clock_is_said_once_until_it_is_right),
        cmocka_unit_test(test_answers_that_tell_nothing_change_nothing),
    };
    return cmocka_run_group_tests_name("backend_clock", tests, NULL, NULL);
}
