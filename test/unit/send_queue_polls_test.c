/* When something new that the backend may list is worth a poll. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../../src/queue/queue_state.h"
#include "../lib/queue_fixture.h"
#include "base/clock.h"

enum { WAIT_MS = 20000 };

/* From now on the last page is that old. */
static void set_age_of_page(struct send_queue *queue, int64_t age_ms)
{
    mutex_lock(&queue->lock);
    queue->offered_at_ms = clock_monotonic_ms() - age_ms;
    mutex_unlock(&queue->lock);
}

/* Two entries of two agents, of which one is taken and returned; the last page stays fresh. */
static struct entry *take_one_of_two(struct send_queue *queue)
{
    PAGE(queue, {"n1", "a", 1}, {"n2", "b", 2});
    set_age_of_page(queue, -AN_HOUR_MS);
    return queue_fixture_take(queue, "n1");
}

static void test_busy_workers_are_no_reason_to_poll(void **state)
{
    struct send_queue *queue = *state;
    struct entry *entry = take_one_of_two(queue);
    assert_false(send_queue_expect_more(queue));
    assert_false(queue_fixture_finish(queue, entry, STAGE_SETTLED, 0));
}

/* What could not be polled for at once is, when a worker finds nothing else; and then only once. */
static void test_the_worker_that_runs_dry_asks_for_the_poll(void **state)
{
    struct send_queue *queue = *state;
    struct entry *first = take_one_of_two(queue);
    assert_false(send_queue_expect_more(queue));
    struct entry *second = queue_fixture_take(queue, "n2");
    assert_true(queue_fixture_finish(queue, first, STAGE_SETTLED, 0));
    assert_false(queue_fixture_finish(queue, second, STAGE_SETTLED, 0));
}

static void test_nothing_expected_is_not_polled_for(void **state)
{
    struct send_queue *queue = *state;
    queue_fixture_finish(queue, take_one_of_two(queue), STAGE_SETTLED, 0);
    struct entry *entry = queue_fixture_take(queue, "n2");
    assert_false(queue_fixture_finish(queue, entry, STAGE_SETTLED, 0));
}

static void test_an_old_page_is_reason_enough(void **state)
{
    struct send_queue *queue = *state;
    struct entry *entry = take_one_of_two(queue);
    set_age_of_page(queue, AN_HOUR_MS);
    assert_true(send_queue_expect_more(queue));
    assert_false(queue_fixture_finish(queue, entry, STAGE_SETTLED, 0));
    entry = queue_fixture_take(queue, "n2");
    set_age_of_page(queue, -AN_HOUR_MS);
    assert_false(send_queue_expect_more(queue));
    PAGE(queue, {"n2", "b", 2}, {"n3", "c", 3});
    set_age_of_page(queue, AN_HOUR_MS);
    assert_true(queue_fixture_finish(queue, entry, STAGE_SETTLED, 0));
}

static void *take(void *queue)
{
    return send_queue_take(queue);
}

static bool has_free_worker(struct send_queue *queue)
{
    mutex_lock(&queue->lock);
    bool has = queue->free_workers > 0;
    mutex_unlock(&queue->lock);
    return has;
}

static void test_a_free_worker_is_worth_a_poll(void **state)
{
    struct send_queue *queue = *state;
    pthread_t taker;
    void *entry;
    PAGE(queue, {"n1", "a", 1});
    set_age_of_page(queue, -AN_HOUR_MS);
    struct entry *running = queue_fixture_take(queue, "n1");
    assert_int_equal(thread_start(&taker, "taker", take, queue, NULL), 0);
    int64_t limit_ms = clock_monotonic_ms() + WAIT_MS;
    while (!has_free_worker(queue) && clock_monotonic_ms() < limit_ms)
        sched_yield();
    assert_true(send_queue_expect_more(queue));
    assert_false(queue_fixture_finish(queue, running, STAGE_SETTLED, 0));
    send_queue_close(queue, clock_monotonic_ms());
    pthread_join(taker, &entry);
    assert_null(entry);
    assert_int_equal(queue->free_workers, 0);
}

#define WITH_QUEUE(test) \
    cmocka_unit_test_setup_teardown(test, queue_fixture_setup, queue_fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_QUEUE(test_busy_workers_are_no_reason_to_poll),
        WITH_QUEUE(test_the_worker_that_runs_dry_asks_for_the_poll),
        WITH_QUEUE(test_nothing_expected_is_not_polled_for),
        WITH_QUEUE(test_an_old_page_is_reason_enough),
        WITH_QUEUE(test_a_free_worker_is_worth_a_poll),
    };
    return cmocka_run_group_tests_name("send_queue_polls", tests, NULL, NULL);
}
