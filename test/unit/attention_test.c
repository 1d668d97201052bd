/* How long the poller waits, by what has happened. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/sync.h"
#include "delivery/attention.h"

enum { BEGAN_MS = 7000, SECOND_MS = 1000, MINUTE_MS = 60 * SECOND_MS, HOUR_MS = 60 * MINUTE_MS };

/* An event, if there is one, and the interval that follows from then on. */
struct moment {
    int64_t after_ms; /* since the moment before */
    bool is_event;
    int64_t interval_ms;
};

static void expect_intervals(
    struct attention *attention, const struct moment *moments, size_t count)
{
    int64_t now_ms = BEGAN_MS;
    for (size_t i = 0; i < count; i++) {
        now_ms += moments[i].after_ms;
        if (moments[i].is_event)
            attention_note(attention, now_ms);
        assert_int_equal(attention_next_ms(attention, now_ms), moments[i].interval_ms);
    }
}

#define EXPECT_INTERVALS(attention, ...)                                  \
    expect_intervals((attention), ((const struct moment[]){__VA_ARGS__}), \
        sizeof((const struct moment[]){__VA_ARGS__}) / sizeof(struct moment))

static struct attention make_attention(int64_t active_ms, int64_t normal_ms, int64_t idle_ms)
{
    struct attention attention;
    attention_init(&attention, active_ms, normal_ms, idle_ms, BEGAN_MS);
    return attention;
}

/* The start is no event, or a fleet that is restarted would poll more than one that is not. */
static void test_nothing_happens_after_the_start(void **state)
{
    (void)state;
    struct attention attention = make_attention(1000, 5000, 5000);
    EXPECT_INTERVALS(&attention, {0, false, 5000}, {5000, false, 5000}, {HOUR_MS, false, 5000});
}

static void test_each_second_for_a_minute_then_slower_by_half(void **state)
{
    (void)state;
    struct attention attention = make_attention(1000, 5000, 5000);
    EXPECT_INTERVALS(&attention, {0, true, 1000}, {1000, false, 1000},
        {MINUTE_MS - 1001, false, 1000}, {1, false, 1500}, {1500, false, 2250}, {2250, false, 3375},
        {3375, false, 5000}, {5000, false, 5000});
}

static void test_each_event_begins_the_minute_again(void **state)
{
    (void)state;
    struct attention attention = make_attention(1000, 5000, 5000);
    EXPECT_INTERVALS(&attention, {0, true, 1000}, {MINUTE_MS - 1, true, 1000},
        {MINUTE_MS - 1, false, 1000}, {1, false, 1500}, {1500, true, 1000});
}

/* DELIVERY_INTERVAL_ACTIVE=DELIVERY_INTERVAL: events change nothing. */
static void test_equal_intervals_never_change(void **state)
{
    (void)state;
    struct attention attention = make_attention(5000, 5000, 5000);
    EXPECT_INTERVALS(&attention, {0, false, 5000}, {0, true, 5000}, {MINUTE_MS, false, 5000},
        {HOUR_MS, false, 5000}, {0, true, 5000});
}

static void test_slower_after_an_hour_of_silence(void **state)
{
    (void)state;
    struct attention attention = make_attention(1000, 5000, 30000);
    EXPECT_INTERVALS(&attention, {HOUR_MS - 1, false, 5000}, {1, false, 30000},
        {30000, false, 30000}, {1, true, 1000}, {MINUTE_MS, false, 1500}, {2250, false, 2250},
        {HOUR_MS - MINUTE_MS - 2251, false, 3375}, {1, false, 30000});
}

/* Who notes an event has to know whether a poll may be far away. */
static void test_tells_whether_polls_had_become_rare(void **state)
{
    (void)state;
    struct attention attention = make_attention(1000, 5000, 5000);
    assert_true(attention_note(&attention, BEGAN_MS));
    assert_false(attention_note(&attention, BEGAN_MS + MINUTE_MS - 1));
    assert_true(attention_note(&attention, BEGAN_MS + INT64_C(2) * MINUTE_MS - 1));
}

static bool take_poke(struct loop *loop)
{
    bool poked = loop->poked;
    loop->poked = false;
    return poked;
}

static void test_wakes_a_poller_that_may_sleep_for_long(void **state)
{
    (void)state;
    struct loop loop;
    struct attention attention = make_attention(1000, 5000, 5000);
    attention_wake(NULL);
    attention_wake(&attention);
    loop_init(&loop, "polls", NULL, NULL);
    attention.poller = &loop;
    attention_wake(&attention);
    assert_false(take_poke(&loop)); /* there was an event a moment ago */
    atomic_store(&attention.event_ms, clock_monotonic_ms() - MINUTE_MS);
    attention_wake(&attention);
    assert_true(take_poke(&loop));
    attention.active_ms = attention.normal_ms;
    atomic_store(&attention.event_ms, clock_monotonic_ms() - MINUTE_MS);
    attention_wake(&attention);
    assert_false(take_poke(&loop));
    /* After an hour of silence polls are rarer even so. */
    attention.idle_ms = 60 * attention.normal_ms;
    atomic_store(&attention.event_ms, clock_monotonic_ms() - ATTENTION_SILENCE_MS);
    attention_wake(&attention);
    assert_true(take_poke(&loop));
    loop_fini(&loop);
}

enum { DAY_MS = 24 * HOUR_MS, TURN_MS = 22 * SECOND_MS, REPLY_MS = 10 * SECOND_MS };

/*
 * When the last event before now_ms was, on a day of 50 messages: ten hours begin with a
 * conversation of five, each of which is answered after 10 s and followed up 12 s later. -1: none.
 */
static int64_t last_event_ms(int64_t now_ms)
{
    int64_t in_hour_ms = now_ms % HOUR_MS;
    int64_t in_turn_ms = in_hour_ms % TURN_MS;
    if (now_ms >= INT64_C(10) * HOUR_MS || in_hour_ms >= INT64_C(5) * TURN_MS)
        return -1;
    return in_turn_ms < REPLY_MS ? now_ms - in_turn_ms : now_ms - in_turn_ms + REPLY_MS;
}

static unsigned polls_of_day(bool is_busy)
{
    struct attention attention = make_attention(1000, 5000, 5000);
    int64_t noted_ms = -1;
    unsigned polls = 0;
    for (int64_t now_ms = 0; now_ms < DAY_MS; polls++) {
        int64_t event_ms = is_busy ? last_event_ms(now_ms) : -1;
        if (event_ms >= 0 && event_ms != noted_ms)
            attention_note(&attention, BEGAN_MS + now_ms);
        noted_ms = event_ms;
        now_ms += attention_next_ms(&attention, BEGAN_MS + now_ms);
    }
    return polls;
}

static void test_polls_of_a_day(void **state)
{
    (void)state;
    unsigned silent = polls_of_day(false);
    assert_int_equal(silent, DAY_MS / 5000);
    assert_in_range(polls_of_day(true), silent, silent * 115 / 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_happens_after_the_start),
        cmocka_unit_test(test_each_second_for_a_minute_then_slower_by_half),
        cmocka_unit_test(test_each_event_begins_the_minute_again),
        cmocka_unit_test(test_equal_intervals_never_change),
        cmocka_unit_test(test_slower_after_an_hour_of_silence),
        cmocka_unit_test(test_tells_whether_polls_had_become_rare),
        cmocka_unit_test(test_wakes_a_poller_that_may_sleep_for_long),
        cmocka_unit_test(test_polls_of_a_day),
    };
    return cmocka_run_group_tests_name("attention", tests, NULL, NULL);
}
