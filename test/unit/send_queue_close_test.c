/* Closing the send queue, and what wakes blocked takers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../lib/queue_fixture.h"
#include "base/sync.h"

static void test_no_sends_after_the_close(void **state)
{
    struct send_queue *queue = *state;
    PAGE(queue, {"a1", "a", "", 1}, {"b1", "b", "", 2});
    struct entry *a1 = queue_fixture_take(queue, "a1");
    send_queue_close(queue, clock_monotonic_ms() + AN_HOUR_MS);
    assert_false(send_queue_advance(queue, a1, STAGE_SENDING));
    queue_fixture_finish(queue, a1, STAGE_KNOWN, 0);
    assert_null(send_queue_take(queue, NULL));
    assert_false(PAGE(queue, {"a1", "a", "", 1}, {"b1", "b", "", 2}, {"c1", "c", "", 3}));
    assert_int_equal(queue_fixture_counts(queue).held, 2);
    assert_null(send_queue_take(queue, NULL));
}

/* An aborted send stays in the backend's list for the next process. */
static void test_failed_send_is_not_retried_after_the_close(void **state)
{
    struct send_queue *queue = *state;
    PAGE(queue, {"a1", "a", "", 1});
    struct entry *a1 = queue_fixture_take(queue, "a1");
    assert_true(send_queue_advance(queue, a1, STAGE_SENDING));
    send_queue_close(queue, clock_monotonic_ms() + AN_HOUR_MS);
    queue_fixture_finish(queue, a1, STAGE_KNOWN, 1);
    assert_int_equal(queue_fixture_counts(queue).waiting, 0);
    assert_null(send_queue_take(queue, NULL));
}

static void test_write_backs_go_out_at_once_after_the_close(void **state)
{
    struct send_queue *queue = *state;
    PAGE(queue, {"a1", "a", "", 1}, {"b1", "b", "", 2}, {"c1", "c", "", 3}, {"d1", "d", "", 4});
    struct entry *a1 = queue_fixture_take(queue, "a1");
    struct entry *b1 = queue_fixture_take(queue, "b1");
    struct entry *c1 = queue_fixture_take(queue, "c1");
    queue_fixture_finish(queue, a1, STAGE_REPLIED, AN_HOUR_MS);
    queue_fixture_finish(queue, b1, STAGE_KNOWN, AN_HOUR_MS);
    queue_fixture_finish(queue, c1, STAGE_WRITTEN, 0);
    send_queue_close(queue, clock_monotonic_ms() + AN_HOUR_MS);
    assert_int_equal(queue_fixture_counts(queue).waiting, 0);
    queue_fixture_take_and_settle(queue, "c1");
    queue_fixture_take_and_settle(queue, "a1");
    assert_null(send_queue_take(queue, NULL));
    assert_int_equal(queue_fixture_counts(queue).settled, 2);
}

static void *wait_for_sends(void *argument)
{
    struct send_queue *queue = argument;
    bool over = send_queue_wait_for_sends(queue, clock_monotonic_ms() + AN_HOUR_MS);
    return over ? queue : NULL;
}

static void test_wait_for_sends_ignores_write_backs(void **state)
{
    struct send_queue *queue = *state;
    pthread_t thread;
    void *over;
    PAGE(queue, {"a1", "a", "", 1}, {"b1", "b", "", 2}, {"c1", "c", "", 3});
    struct entry *a1 = queue_fixture_take(queue, "a1");
    struct entry *b1 = queue_fixture_take(queue, "b1");
    struct entry *c1 = queue_fixture_take(queue, "c1");
    assert_true(send_queue_wait_for_sends(queue, clock_monotonic_ms()));
    send_queue_advance(queue, a1, STAGE_SENDING);
    send_queue_advance(queue, b1, STAGE_SENDING);
    send_queue_close(queue, clock_monotonic_ms() + AN_HOUR_MS);
    assert_false(send_queue_wait_for_sends(queue, clock_monotonic_ms()));
    assert_int_equal(thread_start(&thread, "waits", wait_for_sends, queue, NULL), 0);
    send_queue_advance(queue, a1, STAGE_REPLIED);
    assert_false(send_queue_wait_for_sends(queue, clock_monotonic_ms() + 20));
    queue_fixture_finish(queue, b1, STAGE_KNOWN, 0);
    pthread_join(thread, &over);
    assert_ptr_equal(over, queue);
    queue_fixture_finish(queue, a1, STAGE_SETTLED, 0);
    queue_fixture_finish(queue, c1, STAGE_KNOWN, 0);
    assert_true(send_queue_wait_for_sends(queue, clock_monotonic_ms()));
}

static void test_failing_write_back_is_retried_until_the_deadline(void **state)
{
    struct send_queue *queue = *state;
    PAGE(queue, {"a1", "a", "", 1});
    struct entry *a1 = queue_fixture_take(queue, "a1");
    send_queue_close(queue, clock_monotonic_ms() + AN_HOUR_MS);
    queue_fixture_finish(queue, a1, STAGE_REPLIED, 5);
    a1 = queue_fixture_take(queue, "a1");
    assert_int_equal(a1->queue.stage, STAGE_REPLIED);
    queue_fixture_finish(queue, a1, STAGE_REPLIED, TWO_HOURS_MS);
    assert_null(send_queue_take(queue, NULL)); /* not due before the deadline */
}

static void test_nothing_is_handed_out_after_the_deadline(void **state)
{
    struct send_queue *queue = *state;
    PAGE(queue, {"a1", "a", "", 1}, {"b1", "b", "", 2});
    struct entry *a1 = queue_fixture_take(queue, "a1");
    queue_fixture_finish(queue, a1, STAGE_REPLIED, 0);
    send_queue_close(queue, clock_monotonic_ms());
    assert_null(send_queue_take(queue, NULL));
    assert_int_equal(queue_fixture_counts(queue).held, 2);
}

static void test_entry_taken_before_the_close_runs_to_its_end(void **state)
{
    struct send_queue *queue = *state;
    PAGE(queue, {"a1", "a", "", 1});
    struct entry *a1 = queue_fixture_take(queue, "a1");
    assert_true(send_queue_advance(queue, a1, STAGE_SENDING));
    send_queue_close(queue, clock_monotonic_ms() + AN_HOUR_MS);
    assert_null(send_queue_take(queue, NULL)); /* another worker finds nothing to do */
    assert_true(send_queue_advance(queue, a1, STAGE_REPLIED));
    assert_true(send_queue_advance(queue, a1, STAGE_WRITTEN));
    queue_fixture_finish(queue, a1, STAGE_WRITTEN, 0);
    queue_fixture_take_and_settle(queue, "a1");
    assert_null(send_queue_take(queue, NULL));
}

/* A thread that takes once; got is read after the join. */
struct taker {
    struct send_queue *queue;
    pthread_t thread;
    atomic_int tid; /* of the kernel, once it runs */
    struct entry *got;
};

static void *take_once(void *argument)
{
    struct taker *taker = argument;
    atomic_store(&taker->tid, gettid());
    taker->got = send_queue_take(taker->queue, NULL);
    return NULL;
}

/* Whether the thread is asleep as the kernel sees it; a taker sleeps only without work. */
static bool sleeps(int tid)
{
    char path[64];
    char status[256] = "";
    snprintf(path, sizeof path, "/proc/self/task/%d/stat", tid);
    int file = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(file >= 0);
    assert_true(read(file, status, sizeof status - 1) > 0);
    close(file);
    const char *name_end = strrchr(status, ')');
    return name_end != NULL && strncmp(name_end, ") S", 3) == 0;
}

/* Starts takers on an empty queue; all are blocked when this returns. */
static void start_takers(struct taker *takers, size_t count, struct send_queue *queue)
{
    struct error error;
    for (size_t i = 0; i < count; i++) {
        takers[i] = (struct taker){.queue = queue};
        assert_int_equal(
            thread_start(&takers[i].thread, "taker", take_once, &takers[i], &error), 0);
    }
    for (size_t i = 0; i < count; i++)
        while (atomic_load(&takers[i].tid) == 0 || !sleeps(atomic_load(&takers[i].tid)))
            sched_yield();
}

static struct entry *join_taker(struct taker *taker, const char *id)
{
    thread_join(taker->thread);
    assert_non_null(taker->got);
    assert_string_equal(taker->got->item.id, id);
    return taker->got;
}

static void test_close_ends_all_blocked_takers(void **state)
{
    enum { TAKERS = 6 };
    struct send_queue *queue = *state;
    struct taker takers[TAKERS];
    start_takers(takers, TAKERS, queue);
    send_queue_close(queue, clock_monotonic_ms() + AN_HOUR_MS);
    for (size_t i = 0; i < TAKERS; i++) {
        thread_join(takers[i].thread);
        assert_null(takers[i].got);
    }
}

static void test_blocked_taker_gets_a_new_entry(void **state)
{
    struct send_queue *queue = *state;
    struct taker taker;
    start_takers(&taker, 1, queue);
    PAGE(queue, {"a1", "a", "", 1});
    queue_fixture_finish(queue, join_taker(&taker, "a1"), STAGE_SETTLED, 0);
}

static void test_blocked_taker_gets_the_next_entry_of_a_freed_lane(void **state)
{
    struct send_queue *queue = *state;
    PAGE(queue, {"a1", "a", "", 1}, {"a2", "a", "", 2});
    struct entry *a1 = queue_fixture_take(queue, "a1");
    struct taker taker;
    start_takers(&taker, 1, queue);
    queue_fixture_finish(queue, a1, STAGE_SETTLED, 0);
    queue_fixture_finish(queue, join_taker(&taker, "a2"), STAGE_SETTLED, 0);
}

static void test_blocked_taker_gets_what_was_paused(void **state)
{
    struct send_queue *queue = *state;
    queue_fixture_pause(queue, true);
    PAGE(queue, {"a1", "a", "", 1});
    struct taker taker;
    start_takers(&taker, 1, queue);
    queue_fixture_pause(queue, false);
    queue_fixture_finish(queue, join_taker(&taker, "a1"), STAGE_SETTLED, 0);
}

/* A taker that sleeps until a distant due time has to notice an earlier one. */
static void test_blocked_taker_notices_an_earlier_due_time(void **state)
{
    struct send_queue *queue = *state;
    PAGE(queue, {"a1", "a", "", 1}, {"b1", "b", "", 2});
    struct entry *a1 = queue_fixture_take(queue, "a1");
    struct entry *b1 = queue_fixture_take(queue, "b1");
    queue_fixture_finish(queue, a1, STAGE_KNOWN, AN_HOUR_MS);
    struct taker taker;
    start_takers(&taker, 1, queue);
    queue_fixture_finish(queue, b1, STAGE_KNOWN, 20);
    queue_fixture_finish(queue, join_taker(&taker, "b1"), STAGE_SETTLED, 0);
}

static void test_each_blocked_taker_gets_an_entry(void **state)
{
    enum { TAKERS = 3 };
    struct send_queue *queue = *state;
    struct taker takers[TAKERS];
    start_takers(takers, TAKERS, queue);
    PAGE(queue, {"a1", "a", "", 1}, {"b1", "b", "", 2}, {"c1", "c", "", 3});
    for (size_t i = 0; i < TAKERS; i++) {
        thread_join(takers[i].thread);
        assert_non_null(takers[i].got);
    }
    assert_int_equal(queue_fixture_counts(queue).running, TAKERS);
    for (size_t i = 0; i < TAKERS; i++)
        queue_fixture_finish(queue, takers[i].got, STAGE_SETTLED, 0);
}

#define QUEUE_TEST(test) \
    cmocka_unit_test_setup_teardown(test, queue_fixture_setup, queue_fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        QUEUE_TEST(test_no_sends_after_the_close),
        QUEUE_TEST(test_failed_send_is_not_retried_after_the_close),
        QUEUE_TEST(test_write_backs_go_out_at_once_after_the_close),
        QUEUE_TEST(test_wait_for_sends_ignores_write_backs),
        QUEUE_TEST(test_failing_write_back_is_retried_until_the_deadline),
        QUEUE_TEST(test_nothing_is_handed_out_after_the_deadline),
        QUEUE_TEST(test_entry_taken_before_the_close_runs_to_its_end),
        QUEUE_TEST(test_close_ends_all_blocked_takers),
        QUEUE_TEST(test_blocked_taker_gets_a_new_entry),
        QUEUE_TEST(test_blocked_taker_gets_the_next_entry_of_a_freed_lane),
        QUEUE_TEST(test_blocked_taker_gets_what_was_paused),
        QUEUE_TEST(test_blocked_taker_notices_an_earlier_due_time),
        QUEUE_TEST(test_each_blocked_taker_gets_an_entry),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
