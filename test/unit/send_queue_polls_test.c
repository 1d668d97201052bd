/* When something new in the backend's list is worth a poll. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../lib/queue_fixture.h"
#include "base/sync.h"
#include "delivery/queue_state.h"

enum { WAIT_MS = 20000 };

/* From now on the last page is that old. */
static void set_age_of_page(struct send_queue *queue, int64_t age_ms)
{
    mutex_lock(&queue->lock);
    queue->offered_at_ms = clock_monotonic_ms() - age_ms;
    mutex_unlock(&queue->lock);
}

/* Whether send_queue_expect_more asks for a poll at once. */
static bool expect_more(struct send_queue *queue)
{
    unsigned before = queue_fixture_polls();
    send_queue_expect_more(queue);
    return queue_fixture_polls() > before;
}

/* Two entries of two agents, of which one is taken and returned; the last page stays fresh. */
static struct entry *take_one_of_two(struct send_queue *queue)
{
    PAGE(queue, {"n1", "a", 1}, {"n2", "b", 2});
    set_age_of_page(queue, -AN_HOUR_MS);
    return queue_fixture_take(queue, "n1");
}

struct taker {
    struct send_queue *queue;
    pthread_t thread;
};

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

/* A worker that finds nothing and blocks. */
static struct taker start_free_worker(struct send_queue *queue)
{
    struct taker taker = {.queue = queue};
    assert_int_equal(thread_start(&taker.thread, "taker", take, queue, NULL), 0);
    int64_t limit_ms = clock_monotonic_ms() + WAIT_MS;
    while (!has_free_worker(queue) && clock_monotonic_ms() < limit_ms)
        sched_yield();
    assert_true(has_free_worker(queue));
    return taker;
}

static void end_free_worker(const struct taker *taker)
{
    void *entry;
    send_queue_close(taker->queue, clock_monotonic_ms());
    pthread_join(taker->thread, &entry);
    assert_null(entry);
    assert_int_equal(taker->queue->free_workers, 0);
}

static void test_no_poll_while_all_workers_are_busy(void **state)
{
    struct send_queue *queue = *state;
    struct entry *entry = take_one_of_two(queue);
    assert_false(expect_more(queue));
    assert_false(queue_fixture_finish(queue, entry, STAGE_SETTLED, 0));
}

/* A poll that was owed is asked for by the worker that finds nothing, once even if two do. */
static void test_worker_that_runs_dry_polls(void **state)
{
    struct send_queue *queue = *state;
    PAGE(queue, {"n1", "a", 1}, {"n2", "b", 2}, {"n3", "c", 3});
    set_age_of_page(queue, -AN_HOUR_MS);
    struct entry *first = queue_fixture_take(queue, "n1");
    struct entry *second = queue_fixture_take(queue, "n2");
    assert_false(expect_more(queue));
    assert_false(queue_fixture_finish(queue, first, STAGE_SETTLED, 0));
    assert_false(queue_fixture_finish(queue, second, STAGE_SETTLED, 0));
    struct entry *third = queue_fixture_take(queue, "n3");
    unsigned before = queue_fixture_polls();
    struct taker taker = start_free_worker(queue);
    assert_int_equal(queue_fixture_polls(), before + 1);
    assert_false(queue_fixture_finish(queue, third, STAGE_SETTLED, 0));
    end_free_worker(&taker);
    assert_int_equal(queue_fixture_polls(), before + 1);
}

static void test_no_poll_when_nothing_is_expected(void **state)
{
    struct send_queue *queue = *state;
    struct entry *entry = take_one_of_two(queue);
    queue_fixture_take_and_settle(queue, "n2");
    unsigned before = queue_fixture_polls();
    struct taker taker = start_free_worker(queue);
    assert_false(queue_fixture_finish(queue, entry, STAGE_SETTLED, 0));
    assert_int_equal(queue_fixture_polls(), before);
    end_free_worker(&taker);
}

static void test_old_page_is_enough_to_poll(void **state)
{
    struct send_queue *queue = *state;
    struct entry *entry = take_one_of_two(queue);
    set_age_of_page(queue, AN_HOUR_MS);
    assert_true(expect_more(queue));
    assert_false(queue_fixture_finish(queue, entry, STAGE_SETTLED, 0));
    entry = queue_fixture_take(queue, "n2");
    set_age_of_page(queue, -AN_HOUR_MS);
    assert_false(expect_more(queue));
    set_age_of_page(queue, AN_HOUR_MS);
    assert_true(queue_fixture_finish(queue, entry, STAGE_SETTLED, 0));
}

static void test_idle_worker_is_enough_to_poll(void **state)
{
    struct send_queue *queue = *state;
    PAGE(queue, {"n1", "a", 1});
    set_age_of_page(queue, -AN_HOUR_MS);
    struct entry *running = queue_fixture_take(queue, "n1");
    struct taker taker = start_free_worker(queue);
    assert_true(expect_more(queue));
    assert_false(queue_fixture_finish(queue, running, STAGE_SETTLED, 0));
    end_free_worker(&taker);
}

/* If the backend truncates its pages, each settled entry makes room for another. */
static void test_settling_after_a_full_page_polls(void **state)
{
    struct send_queue *queue = *state;
    FULL_PAGE(queue, {"n1", "a", 1}, {"n2", "b", 2});
    FULL_PAGE(queue, {"n1", "a", 1}, {"n2", "b", 2});
    set_age_of_page(queue, -AN_HOUR_MS);
    struct entry *first = queue_fixture_take(queue, "n1");
    struct entry *second = queue_fixture_take(queue, "n2");
    struct taker taker = start_free_worker(queue);
    bool failure_asked = queue_fixture_finish(queue, first, STAGE_KNOWN, AN_HOUR_MS);
    bool end_asked = queue_fixture_finish(queue, second, STAGE_SETTLED, 0);
    end_free_worker(&taker);
    assert_false(failure_asked);
    assert_true(end_asked);
}

/* A finished wake-up does not lose that the backend had more. */
static void test_finished_wake_up_polls_too(void **state)
{
    (void)state;
    struct send_queue *queue = queue_fixture_create(2);
    assert_false(FULL_PAGE(queue, {"n1", "a", 1})); /* half of the capacity stands ready */
    assert_true(send_queue_wake(queue, "b", AN_HOUR_MS));
    struct entry *delivery = queue_fixture_take(queue, "n1");
    struct entry *wake = queue_fixture_take(queue, "b");
    assert_true(queue_fixture_finish(queue, wake, STAGE_SETTLED, 0));
    queue_fixture_finish(queue, delivery, STAGE_SETTLED, 0);
    send_queue_destroy(queue);
}

#define WITH_QUEUE(test) \
    cmocka_unit_test_setup_teardown(test, queue_fixture_setup, queue_fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_QUEUE(test_no_poll_while_all_workers_are_busy),
        WITH_QUEUE(test_worker_that_runs_dry_polls),
        WITH_QUEUE(test_no_poll_when_nothing_is_expected),
        WITH_QUEUE(test_old_page_is_enough_to_poll),
        WITH_QUEUE(test_idle_worker_is_enough_to_poll),
        WITH_QUEUE(test_settling_after_a_full_page_polls),
        cmocka_unit_test(test_finished_wake_up_polls_too),
    };
    return cmocka_run_group_tests_name("send_queue_polls", tests, NULL, NULL);
}
