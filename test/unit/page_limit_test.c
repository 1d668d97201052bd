/* How the poller's pages shrink when they cannot be answered, and grow again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "delivery/poller.h"
#include "delivery/send_queue.h"

enum { WANTED = 600, NOW_MS = 5000 };

static int setup(void **state)
{
    static struct page_limit limit;
    page_limit_init(&limit);
    *state = &limit;
    return 0;
}

static unsigned rows(const struct page_limit *limit)
{
    return page_limit_rows(limit, WANTED);
}

/* A poll of WANTED rows of which the backend can answer answerable; it always has more. */
static bool poll(struct page_limit *limit, unsigned answerable, int64_t now_ms)
{
    unsigned asked = rows(limit);
    if (asked <= answerable)
        return page_limit_worked(limit, asked, true, now_ms);
    page_limit_failed(limit, asked, now_ms);
    return false;
}

static void test_as_many_as_are_wanted_until_a_page_fails(void **state)
{
    struct page_limit *limit = *state;
    assert_int_equal(rows(limit), WANTED);
    assert_int_equal(page_limit_rows(limit, SEND_QUEUE_MAX_HELD + 1), SEND_QUEUE_MAX_HELD);
    assert_false(poll(limit, WANTED, NOW_MS));
    assert_int_equal(rows(limit), WANTED);
}

static void test_each_failure_halves_down_to_one(void **state)
{
    static const unsigned next[] = {300, 150, 75, 37, 18, 9, 4, 2, 1, 1, 1};
    struct page_limit *limit = *state;
    for (size_t i = 0; i < sizeof next / sizeof next[0]; i++) {
        poll(limit, 0, NOW_MS);
        assert_int_equal(rows(limit), next[i]);
    }
}

/* Half of what was asked for, which is not what could have been. */
static void test_half_is_of_the_page_that_failed(void **state)
{
    struct page_limit *limit = *state;
    page_limit_failed(limit, 50, NOW_MS);
    assert_int_equal(rows(limit), 25);
}

static void test_good_pages_double_it_until_it_is_no_bound(void **state)
{
    static const unsigned next[] = {2, 4, 8, 16, 32, 64, 128, 256, 512};
    struct page_limit *limit = *state;
    page_limit_failed(limit, 2, NOW_MS);
    for (size_t i = 0; i < sizeof next / sizeof next[0]; i++) {
        assert_true(poll(limit, WANTED, NOW_MS));
        assert_int_equal(rows(limit), next[i]);
    }
    assert_true(poll(limit, WANTED, NOW_MS));
    assert_int_equal(rows(limit), WANTED);
    assert_false(poll(limit, WANTED, NOW_MS));
    assert_int_equal(page_limit_rows(limit, SEND_QUEUE_MAX_HELD), SEND_QUEUE_MAX_HELD);
}

static void test_it_never_grows_beyond_what_is_held(void **state)
{
    struct page_limit *limit = *state;
    page_limit_failed(limit, SEND_QUEUE_MAX_HELD, NOW_MS);
    assert_true(page_limit_worked(limit, SEND_QUEUE_MAX_HELD / 2, true, NOW_MS));
    assert_int_equal(page_limit_rows(limit, SEND_QUEUE_MAX_HELD), SEND_QUEUE_MAX_HELD);
    assert_false(page_limit_worked(limit, SEND_QUEUE_MAX_HELD, true, NOW_MS));
    assert_int_equal(page_limit_rows(limit, SEND_QUEUE_MAX_HELD + 1), SEND_QUEUE_MAX_HELD);
}

/* The whole list is there: a larger page would not be larger. */
static void test_a_page_that_is_not_full_ends_the_bound(void **state)
{
    struct page_limit *limit = *state;
    page_limit_failed(limit, WANTED, NOW_MS);
    assert_false(page_limit_worked(limit, rows(limit), false, NOW_MS));
    assert_int_equal(rows(limit), WANTED);
}

/* Else every second poll of a list of large rows would fail. */
static void test_growth_that_failed_is_not_tried_again_at_once(void **state)
{
    struct page_limit *limit = *state;
    poll(limit, 300, NOW_MS);
    assert_true(poll(limit, 300, NOW_MS));
    assert_false(poll(limit, 300, NOW_MS));
    for (int64_t after_ms = 0; after_ms < PAGE_LIMIT_PAUSE_MS; after_ms += 1000) {
        assert_false(poll(limit, 300, NOW_MS + after_ms));
        assert_int_equal(rows(limit), 300);
    }
    assert_true(poll(limit, 300, NOW_MS + PAGE_LIMIT_PAUSE_MS));
    assert_int_equal(rows(limit), WANTED);
}

/* A page that fails although it is no larger than a good one fails for another reason. */
static void test_failures_in_a_row_end_the_pause(void **state)
{
    struct page_limit *limit = *state;
    poll(limit, 300, NOW_MS);
    poll(limit, 300, NOW_MS);
    poll(limit, 0, NOW_MS);
    poll(limit, 0, NOW_MS);
    assert_int_equal(rows(limit), 150);
    assert_true(poll(limit, WANTED, NOW_MS));
    assert_int_equal(rows(limit), 300);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_as_many_as_are_wanted_until_a_page_fails, setup),
        cmocka_unit_test_setup(test_each_failure_halves_down_to_one, setup),
        cmocka_unit_test_setup(test_half_is_of_the_page_that_failed, setup),
        cmocka_unit_test_setup(test_good_pages_double_it_until_it_is_no_bound, setup),
        cmocka_unit_test_setup(test_it_never_grows_beyond_what_is_held, setup),
        cmocka_unit_test_setup(test_a_page_that_is_not_full_ends_the_bound, setup),
        cmocka_unit_test_setup(test_growth_that_failed_is_not_tried_again_at_once, setup),
        cmocka_unit_test_setup(test_failures_in_a_row_end_the_pause, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
