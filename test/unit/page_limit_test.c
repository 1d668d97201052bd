/*
 * The poller's page size: halved when a page fails, doubled while pages succeed. The backend here
 * has unlimited rows but fails on pages above a size, as the real one does on large rows.
 */
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

static unsigned limit_rows(const struct page_limit *limit)
{
    return page_limit_rows(limit, WANTED);
}

/* Polls WANTED rows from a backend that has more, but fails on pages above answerable rows. */
static bool poll_once(struct page_limit *limit, unsigned answerable, int64_t now_ms)
{
    unsigned asked = limit_rows(limit);
    if (asked <= answerable)
        return page_limit_worked(limit, asked, true, now_ms);
    page_limit_failed(limit, asked, now_ms);
    return false;
}

static void test_unlimited_until_a_page_fails(void **state)
{
    struct page_limit *limit = *state;
    assert_int_equal(limit_rows(limit), WANTED);
    assert_int_equal(page_limit_rows(limit, SEND_QUEUE_MAX_HELD + 1), SEND_QUEUE_MAX_HELD);
    assert_false(poll_once(limit, WANTED, NOW_MS));
    assert_int_equal(limit_rows(limit), WANTED);
}

static void test_each_failure_halves_down_to_one(void **state)
{
    static const unsigned next[] = {300, 150, 75, 37, 18, 9, 4, 2, 1, 1, 1};
    struct page_limit *limit = *state;
    for (size_t i = 0; i < sizeof next / sizeof next[0]; i++) {
        poll_once(limit, 0, NOW_MS);
        assert_int_equal(limit_rows(limit), next[i]);
    }
}

/* Half of the rows that were requested, not of the maximum. */
static void test_failed_page_is_halved_not_the_limit(void **state)
{
    struct page_limit *limit = *state;
    page_limit_failed(limit, 50, NOW_MS);
    assert_int_equal(limit_rows(limit), 25);
}

static void test_good_pages_double_it_until_unlimited(void **state)
{
    static const unsigned next[] = {2, 4, 8, 16, 32, 64, 128, 256, 512};
    struct page_limit *limit = *state;
    page_limit_failed(limit, 2, NOW_MS);
    for (size_t i = 0; i < sizeof next / sizeof next[0]; i++) {
        assert_true(poll_once(limit, WANTED, NOW_MS));
        assert_int_equal(limit_rows(limit), next[i]);
    }
    assert_true(poll_once(limit, WANTED, NOW_MS));
    assert_int_equal(limit_rows(limit), WANTED);
    assert_false(poll_once(limit, WANTED, NOW_MS));
    assert_int_equal(page_limit_rows(limit, SEND_QUEUE_MAX_HELD), SEND_QUEUE_MAX_HELD);
}

static void test_never_grows_beyond_the_queue(void **state)
{
    struct page_limit *limit = *state;
    page_limit_failed(limit, SEND_QUEUE_MAX_HELD, NOW_MS);
    assert_true(page_limit_worked(limit, SEND_QUEUE_MAX_HELD / 2, true, NOW_MS));
    assert_int_equal(page_limit_rows(limit, SEND_QUEUE_MAX_HELD), SEND_QUEUE_MAX_HELD);
    assert_false(page_limit_worked(limit, SEND_QUEUE_MAX_HELD, true, NOW_MS));
    assert_int_equal(page_limit_rows(limit, SEND_QUEUE_MAX_HELD + 1), SEND_QUEUE_MAX_HELD);
}

/* A page that is not full contains the whole list, so larger requests cannot fail for size. */
static void test_short_page_removes_the_limit(void **state)
{
    struct page_limit *limit = *state;
    page_limit_failed(limit, WANTED, NOW_MS);
    assert_false(page_limit_worked(limit, limit_rows(limit), false, NOW_MS));
    assert_int_equal(limit_rows(limit), WANTED);
}

/* Without the pause, every second poll of a list of large rows would fail. */
static void test_failed_growth_is_retried_after_a_pause(void **state)
{
    struct page_limit *limit = *state;
    poll_once(limit, 300, NOW_MS);
    assert_true(poll_once(limit, 300, NOW_MS));
    assert_false(poll_once(limit, 300, NOW_MS));
    for (int64_t after_ms = 0; after_ms < PAGE_LIMIT_PAUSE_MS; after_ms += 1000) {
        assert_false(poll_once(limit, 300, NOW_MS + after_ms));
        assert_int_equal(limit_rows(limit), 300);
    }
    assert_true(poll_once(limit, 300, NOW_MS + PAGE_LIMIT_PAUSE_MS));
    assert_int_equal(limit_rows(limit), WANTED);
}

/* A page that fails although it is not larger than a good one fails for another reason. */
static void test_consecutive_failures_end_the_pause(void **state)
{
    struct page_limit *limit = *state;
    poll_once(limit, 300, NOW_MS);
    poll_once(limit, 300, NOW_MS);
    poll_once(limit, 0, NOW_MS);
    poll_once(limit, 0, NOW_MS);
    assert_int_equal(limit_rows(limit), 150);
    assert_true(poll_once(limit, WANTED, NOW_MS));
    assert_int_equal(limit_rows(limit), 300);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_unlimited_until_a_page_fails, setup),
        cmocka_unit_test_setup(test_each_failure_halves_down_to_one, setup),
        cmocka_unit_test_setup(test_failed_page_is_halved_not_the_limit, setup),
        cmocka_unit_test_setup(test_good_pages_double_it_until_unlimited, setup),
        cmocka_unit_test_setup(test_never_grows_beyond_the_queue, setup),
        cmocka_unit_test_setup(test_short_page_removes_the_limit, setup),
        cmocka_unit_test_setup(test_failed_growth_is_retried_after_a_pause, setup),
        cmocka_unit_test_setup(test_consecutive_failures_end_the_pause, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
