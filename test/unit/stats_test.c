/* The list of recent errors: contents, counts, order and eviction. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/sync.h"
#include "telemetry/stats.h"

static struct stats stats;

static int setup(void **state)
{
    (void)state;
    stats_init(&stats);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    stats_fini(&stats);
    return 0;
}

/* Waits until the wall clock's next millisecond, so that times are distinct. */
static void wait_for_next_ms(void)
{
    int64_t now_ms = clock_wall_ms();
    while (clock_wall_ms() == now_ms)
        continue;
}

static void test_list_is_empty_at_first(void **state)
{
    (void)state;
    struct stats_error list[STATS_RECENT];
    assert_int_equal(stats_recent(&stats, list), 0);
    stats_send_ended(&stats, NULL);
    stats_sync_ended(&stats, NULL);
    assert_int_equal(stats_recent(&stats, list), 0);
}

static void test_errors_are_listed_by_part_and_counted(void **state)
{
    (void)state;
    struct stats_error list[STATS_RECENT];
    stats_delivery_failed(&stats, "no answer");
    stats_delivery_failed(&stats, "no answer");
    wait_for_next_ms();
    stats_sync_ended(&stats, "no answer");
    wait_for_next_ms();
    stats_wake_failed(&stats, "refused");
    assert_int_equal(stats_recent(&stats, list), 3);
    assert_string_equal(list[0].part, "wake-up");
    assert_string_equal(list[0].text, "refused");
    assert_int_equal(list[0].count, 1);
    assert_string_equal(list[1].part, "agents");
    assert_int_equal(list[1].count, 1);
    assert_string_equal(list[2].part, "delivery");
    assert_string_equal(list[2].text, "no answer");
    assert_int_equal(list[2].count, 2);
    wait_for_next_ms();
    stats_delivery_failed(&stats, "no answer");
    assert_int_equal(stats_recent(&stats, list), 3);
    assert_string_equal(list[0].part, "delivery");
    assert_int_equal(list[0].count, 3);
}

static void test_least_recent_error_is_evicted(void **state)
{
    (void)state;
    struct stats_error list[STATS_RECENT];
    char message[32];
    for (int i = 0; i < STATS_RECENT + 5; i++) {
        wait_for_next_ms();
        snprintf(message, sizeof message, "error %d", i);
        stats_delivery_failed(&stats, message);
        stats_delivery_failed(&stats, "repeated error");
    }
    assert_int_equal(stats_recent(&stats, list), STATS_RECENT);
    int repeated = 0;
    for (int i = 0; i < STATS_RECENT; i++) {
        if (strcmp(list[i].text, "repeated error") == 0)
            repeated += (int)list[i].count;
        else if (strncmp(list[i].text, "error ", 6) != 0)
            fail_msg("\"%s\" was never recorded", list[i].text);
        assert_string_not_equal(list[i].text, "error 0");
        assert_string_not_equal(list[i].text, "error 5");
        assert_true(i == 0 || list[i].at_ms <= list[i - 1].at_ms);
    }
    assert_int_equal(repeated, STATS_RECENT + 5);
}

static void test_long_errors_are_truncated_and_counted(void **state)
{
    (void)state;
    struct stats_error list[STATS_RECENT];
    char message[2 * STATS_TEXT_BYTES];
    memset(message, 'a', sizeof message - 1);
    message[sizeof message - 1] = '\0';
    stats_delivery_failed(&stats, message);
    stats_delivery_failed(&stats, message);
    assert_int_equal(stats_recent(&stats, list), 1);
    assert_int_equal(list[0].count, 2);
    assert_int_equal(strlen(list[0].text), STATS_TEXT_BYTES - 1);
}

#define WITH_STATS(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_STATS(test_list_is_empty_at_first),
        WITH_STATS(test_errors_are_listed_by_part_and_counted),
        WITH_STATS(test_least_recent_error_is_evicted),
        WITH_STATS(test_long_errors_are_truncated_and_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
