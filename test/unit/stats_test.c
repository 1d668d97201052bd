/* The list of the last errors: what is in it, how often, in which order, and for how long. */
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

/* What follows is said in a later millisecond. */
static void let_time_pass(void)
{
    int64_t now_ms = clock_wall_ms();
    while (clock_wall_ms() == now_ms)
        continue;
}

static void test_none_at_first(void **state)
{
    (void)state;
    struct stats_recent list[STATS_RECENT];
    assert_int_equal(stats_recent(&stats, list), 0);
    stats_send_ended(&stats, NULL);
    stats_sync_ended(&stats, NULL);
    assert_int_equal(stats_recent(&stats, list), 0);
}

static void test_each_part_has_its_errors_and_repeats_count(void **state)
{
    (void)state;
    struct stats_recent list[STATS_RECENT];
    stats_delivery_failed(&stats, "no answer");
    stats_delivery_failed(&stats, "no answer");
    let_time_pass();
    stats_sync_ended(&stats, "no answer");
    let_time_pass();
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
    let_time_pass();
    stats_delivery_failed(&stats, "no answer");
    assert_int_equal(stats_recent(&stats, list), 3);
    assert_string_equal(list[0].part, "delivery");
    assert_int_equal(list[0].count, 3);
}

static void test_the_one_said_max_ago_makes_room(void **state)
{
    (void)state;
    struct stats_recent list[STATS_RECENT];
    char words[32];
    for (int i = 0; i < STATS_RECENT + 5; i++) {
        let_time_pass();
        snprintf(words, sizeof words, "error %d", i);
        stats_delivery_failed(&stats, words);
        stats_delivery_failed(&stats, "one that goes on");
    }
    assert_int_equal(stats_recent(&stats, list), STATS_RECENT);
    int going_on = 0;
    for (int i = 0; i < STATS_RECENT; i++) {
        if (strcmp(list[i].text, "one that goes on") == 0)
            going_on += (int)list[i].count;
        else if (strncmp(list[i].text, "error ", 6) != 0)
            fail_msg("\"%s\" was never said", list[i].text);
        assert_string_not_equal(list[i].text, "error 0");
        assert_string_not_equal(list[i].text, "error 5");
        assert_true(i == 0 || list[i].at_ms <= list[i - 1].at_ms);
    }
    assert_int_equal(going_on, STATS_RECENT + 5);
}

static void test_long_words_are_cut_and_still_count_as_one(void **state)
{
    (void)state;
    struct stats_recent list[STATS_RECENT];
    char words[2 * STATS_TEXT_BYTES];
    memset(words, 'a', sizeof words - 1);
    words[sizeof words - 1] = '\0';
    stats_delivery_failed(&stats, words);
    stats_delivery_failed(&stats, words);
    assert_int_equal(stats_recent(&stats, list), 1);
    assert_int_equal(list[0].count, 2);
    assert_int_equal(strlen(list[0].text), STATS_TEXT_BYTES - 1);
}

#define WITH_STATS(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_STATS(test_none_at_first),
        WITH_STATS(test_each_part_has_its_errors_and_repeats_count),
        WITH_STATS(test_the_one_said_max_ago_makes_room),
        WITH_STATS(test_long_words_are_cut_and_still_count_as_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
