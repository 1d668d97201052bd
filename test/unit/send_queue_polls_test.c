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

/* The last page is no longer from just now. */
static void age_page(struct send_queue *queue)
{
    mutex_lock(&queue->lock);
    queue->offered_at_ms = clock_monotonic_ms() - AN_HOUR_MS;
    mutex_unlock(&queue->lock);
}

/* Waits for a poll after those. */
static void wait_for_poll(unsigned before)
{
    int64_t limit_ms = clock_monotonic_ms() + WAIT_MS;
    while (queue_fixture_polls() == before && clock_monotonic_ms() < limit_ms)
        sched_yield();
    assert_int_equal(queue_fixture_polls(), before + 1);
}

/* Whether the queue asks for a poll when the reply of a taken entry has been posted. */
static bool post(struct send_queue *queue, struct entry *entry)
{
    assert_true(send_queue_advance(queue, entry, STAGE_SENDING));
    assert_true(send_queue_advance(queue, entry, STAGE_REPLIED));
    unsigned before = queue_fixture_polls();
    assert_true(send_queue_advance(queue, entry, STAGE_WRITTEN));
    return queue_fixture_polls() > before;
}

struct taker {
    struct send_queue *queue;
    pthread_t thread;
};

static void *take(void *queue)
{
    return send_queue_take(queue, NULL);
}

static bool has_idle_worker(struct send_queue *queue)
{
    mutex_lock(&queue->lock);
    bool has = queue->idle_workers > 0;
    mutex_unlock(&queue->lock);
    return has;
}

/* A worker that finds nothing and blocks. */
static struct taker start_idle_worker(struct send_queue *queue)
{
    struct taker taker = {.queue = queue};
    assert_int_equal(thread_start(&taker.thread, "taker", take, queue, NULL), 0);
    int64_t limit_ms = clock_monotonic_ms() + WAIT_MS;
    while (!has_idle_worker(queue) && clock_monotonic_ms() < limit_ms)
        sched_yield();
    assert_true(has_idle_worker(queue));
    return taker;
}

static void end_idle_worker(const struct taker *taker)
{
    void *entry;
    send_queue_close(taker->queue, clock_monotonic_ms());
    pthread_join(taker->thread, &entry);
    assert_null(entry);
    assert_int_equal(taker->queue->idle_workers, 0);
}

/* One entry is enough ready work for this queue. */
static int setup_small(void **state)
{
    *state = queue_fixture_create(2);
    return 0;
}

/* The poll waits until the ready work has run low. */
static void test_no_poll_while_enough_is_ready(void **state)
{
    struct send_queue *queue = *state;
    PAGE(queue, {"n1", "a", "", 1}, {"n2", "b", "", 2});
    age_page(queue);
    struct entry *first = queue_fixture_take(queue, "n1");
    assert_false(post(queue, first));
    assert_false(queue_fixture_finish(queue, first, STAGE_SETTLED, 0));
    unsigned before = queue_fixture_polls();
    struct entry *second = queue_fixture_take(queue, "n2");
    assert_int_equal(queue_fixture_polls(), before + 1);
    assert_false(queue_fixture_finish(queue, second, STAGE_SETTLED, 0));
}

static void test_posting_polls_when_little_is_ready(void **state)
{
    struct send_queue *queue = *state;
    PAGE(queue, {"n1", "a", "", 1});
    age_page(queue);
    struct entry *entry = queue_fixture_take(queue, "n1");
    assert_true(post(queue, entry));
    assert_false(queue_fixture_finish(queue, entry, STAGE_SETTLED, 0));
}

/* While all workers are busy; one that becomes idle polls as soon as its row may be repeated. */
static void test_no_poll_right_after_a_page(void **state)
{
    struct send_queue *queue = *state;
    PAGE(queue, {"n1", "a", "", 1});
    struct entry *entry = queue_fixture_take(queue, "n1");
    assert_false(post(queue, entry));
    unsigned before = queue_fixture_polls();
    struct taker taker = start_idle_worker(queue);
    wait_for_poll(before);
    assert_false(queue_fixture_finish(queue, entry, STAGE_SETTLED, 0));
    end_idle_worker(&taker);
}

/* Each row that a page repeats is paid for: many are repeated rarely, even for an idle worker. */
static void test_no_poll_that_repeats_many_rows_too_soon(void **state)
{
    enum { HELD = 300, PAUSE_MS = 60 * HELD };
    struct send_queue *queue = *state;
    struct many_rows many = many_rows_create("n", "a", HELD);
    queue_fixture_page(queue, false, many.rows, many.count);
    struct entry *entry = queue_fixture_take(queue, "n-0");
    mutex_lock(&queue->lock);
    int64_t offered_at_ms = queue->offered_at_ms;
    mutex_unlock(&queue->lock);
    assert_int_equal(send_queue_next_page_ms(queue), offered_at_ms + PAUSE_MS);
    struct taker taker = start_idle_worker(queue);
    assert_false(post(queue, entry));
    /* What ends makes the page cheaper. */
    assert_false(queue_fixture_finish(queue, entry, STAGE_SETTLED, 0));
    void *next;
    pthread_join(taker.thread, &next);
    assert_int_equal(send_queue_next_page_ms(queue), offered_at_ms + PAUSE_MS - 60);
    age_page(queue);
    taker = start_idle_worker(queue);
    assert_true(queue_fixture_polls() > 0);
    send_queue_close(queue, clock_monotonic_ms());
    assert_false(queue_fixture_finish(queue, next, STAGE_SETTLED, 0));
    end_idle_worker(&taker);
    many_rows_fini(&many);
}

/* Rows without ids, and those that are listed in spite of their end, are repeated as well. */
static void test_all_rows_that_are_repeated_count(void **state)
{
    struct send_queue *queue = *state;
    PAGE(queue, {"n1", "a", "", 1}, {"n2", "b", "", 2});
    queue_fixture_take_and_settle(queue, "n1");
    assert_int_equal(queue_fixture_counts(queue).repeated, 1);
    const struct offer offer = {
        .rows = (const struct notification_row[]){{"n1", "a", "", 1}, {"n2", "b", "", 2}},
        .count = 2,
        .unusable = 3,
        .began_at_ms = clock_monotonic_ms(),
    };
    send_queue_offer(queue, &offer);
    assert_int_equal(queue_fixture_counts(queue).repeated, 5);
    EMPTY_PAGE(queue);
    assert_int_equal(queue_fixture_counts(queue).repeated, 0);
}

/* A page that was truncated repeats no more than it had. */
static void test_truncated_page_costs_its_rows(void **state)
{
    struct send_queue *queue = *state;
    PAGE(queue, {"n1", "a", "", 1}, {"n2", "b", "", 2}, {"n3", "c", "", 3}, {"n4", "d", "", 4});
    FULL_PAGE(queue, {"n1", "a", "", 1}, {"n2", "b", "", 2});
    mutex_lock(&queue->lock);
    int64_t offered_at_ms = queue->offered_at_ms;
    mutex_unlock(&queue->lock);
    assert_int_equal(send_queue_next_page_ms(queue), offered_at_ms + 120);
}

/* Whether something has happened since it was asked last. */
static bool take_event(struct send_queue *queue)
{
    mutex_lock(&queue->lock);
    bool happened = queue->event_ms != 0;
    queue->event_ms = 0;
    mutex_unlock(&queue->lock);
    return happened;
}

/* Who has been answered is likely to write again. */
static void test_new_rows_and_posted_replies_are_events(void **state)
{
    struct send_queue *queue = *state;
    EMPTY_PAGE(queue);
    assert_false(take_event(queue));
    PAGE(queue, {"n1", "a", "", 1});
    assert_true(queue_fixture_counts(queue).event_ms > 0);
    assert_true(take_event(queue));
    PAGE(queue, {"n1", "a", "", 1});
    struct entry *entry = queue_fixture_take(queue, "n1");
    assert_true(send_queue_advance(queue, entry, STAGE_SENDING));
    assert_true(send_queue_advance(queue, entry, STAGE_REPLIED));
    assert_false(take_event(queue));
    assert_true(send_queue_advance(queue, entry, STAGE_WRITTEN));
    assert_true(take_event(queue));
    send_queue_finish(queue, entry, STAGE_SETTLED, 0);
    assert_false(take_event(queue));
}

/* An agent that is silent, or is woken, has changed nothing. */
static void test_silence_and_wake_ups_are_no_events(void **state)
{
    struct send_queue *queue = *state;
    PAGE(queue, {"n1", "a", "", 1});
    assert_true(take_event(queue));
    struct entry *entry = queue_fixture_take(queue, "n1");
    entry->work.reason = REASON_SILENT;
    assert_true(send_queue_advance(queue, entry, STAGE_SENDING));
    assert_true(send_queue_advance(queue, entry, STAGE_REPLIED));
    assert_true(send_queue_advance(queue, entry, STAGE_WRITTEN));
    send_queue_finish(queue, entry, STAGE_SETTLED, 0);
    assert_true(send_queue_wake(queue, "a", AN_HOUR_MS));
    entry = queue_fixture_take(queue, "a");
    assert_true(send_queue_advance(queue, entry, STAGE_SENDING));
    send_queue_finish(queue, entry, STAGE_SETTLED, 0);
    assert_false(take_event(queue));
}

static void test_silence_does_not_poll(void **state)
{
    struct send_queue *queue = *state;
    PAGE(queue, {"n1", "a", "", 1});
    age_page(queue);
    struct entry *entry = queue_fixture_take(queue, "n1");
    entry->work.reason = REASON_SILENT;
    assert_false(post(queue, entry));
    assert_false(queue_fixture_finish(queue, entry, STAGE_SETTLED, 0));
}

/* What is ready in a lane with a worker is no work for another. */
static void test_idle_worker_is_enough_to_poll(void **state)
{
    struct send_queue *queue = *state;
    PAGE(queue, {"n1", "a", "", 1}, {"n2", "a", "", 2});
    age_page(queue);
    struct entry *running = queue_fixture_take(queue, "n1");
    struct taker taker = start_idle_worker(queue);
    assert_true(post(queue, running));
    send_queue_close(queue, clock_monotonic_ms());
    assert_false(queue_fixture_finish(queue, running, STAGE_SETTLED, 0));
    end_idle_worker(&taker);
}

/* A poll that was owed is asked for by the worker that finds nothing, once even if two do. */
static void test_worker_that_runs_dry_polls(void **state)
{
    struct send_queue *queue = *state;
    PAGE(queue, {"n1", "a", "", 1}, {"n2", "a", "", 2});
    struct entry *running = queue_fixture_take(queue, "n1");
    assert_false(post(queue, running));
    unsigned before = queue_fixture_polls();
    struct taker taker = start_idle_worker(queue);
    wait_for_poll(before);
    send_queue_close(queue, clock_monotonic_ms());
    assert_false(queue_fixture_finish(queue, running, STAGE_SETTLED, 0));
    end_idle_worker(&taker);
    assert_int_equal(queue_fixture_polls(), before + 1);
}

static void test_no_poll_when_nothing_is_expected(void **state)
{
    struct send_queue *queue = *state;
    PAGE(queue, {"n1", "a", "", 1}, {"n2", "b", "", 2});
    struct entry *entry = queue_fixture_take(queue, "n1");
    queue_fixture_take_and_settle(queue, "n2");
    unsigned before = queue_fixture_polls();
    struct taker taker = start_idle_worker(queue);
    assert_false(queue_fixture_finish(queue, entry, STAGE_SETTLED, 0));
    assert_int_equal(queue_fixture_polls(), before);
    end_idle_worker(&taker);
}

/* If the backend truncates its pages, each settled entry makes room for another. */
static void test_settling_after_a_full_page_polls(void **state)
{
    struct send_queue *queue = *state;
    FULL_PAGE(queue, {"n1", "a", "", 1}, {"n2", "b", "", 2});
    FULL_PAGE(queue, {"n1", "a", "", 1}, {"n2", "b", "", 2});
    age_page(queue);
    struct entry *first = queue_fixture_take(queue, "n1");
    struct entry *second = queue_fixture_take(queue, "n2");
    assert_false(queue_fixture_finish(queue, first, STAGE_KNOWN, AN_HOUR_MS));
    assert_true(queue_fixture_finish(queue, second, STAGE_SETTLED, 0));
}

/*
 * A v1 backend truncates its pages however large they are asked for: the next one would be nearly
 * the same, so it is fetched once the present one is no longer from just now, or a worker is idle.
 */
static void test_full_page_with_little_new_is_not_followed_at_once(void **state)
{
    struct send_queue *queue = *state;
    assert_true(FULL_PAGE(queue, {"n1", "a", "", 1}, {"n2", "b", "", 2}));
    assert_true(FULL_PAGE(queue, {"n2", "b", "", 2}, {"n3", "c", "", 3}));
    assert_false(FULL_PAGE(queue, {"n2", "b", "", 2}, {"n3", "c", "", 3}, {"n4", "d", "", 4}));
    unsigned before = queue_fixture_polls();
    age_page(queue);
    struct entry *delivery = queue_fixture_take(queue, "n2");
    assert_int_equal(queue_fixture_polls(), before + 1);
    queue_fixture_finish(queue, delivery, STAGE_SETTLED, 0);
}

/* The backend had more than there was room for. */
static void test_taking_after_a_full_page_polls(void **state)
{
    struct send_queue *queue = *state;
    assert_false(FULL_PAGE(queue, {"n1", "a", "", 1}));
    age_page(queue);
    unsigned before = queue_fixture_polls();
    struct entry *delivery = queue_fixture_take(queue, "n1");
    assert_int_equal(queue_fixture_polls(), before + 1);
    queue_fixture_finish(queue, delivery, STAGE_SETTLED, 0);
}

#define WITH_QUEUE(test) \
    cmocka_unit_test_setup_teardown(test, queue_fixture_setup, queue_fixture_teardown)

#define WITH_SMALL_QUEUE(test) \
    cmocka_unit_test_setup_teardown(test, setup_small, queue_fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_SMALL_QUEUE(test_no_poll_while_enough_is_ready),
        WITH_QUEUE(test_posting_polls_when_little_is_ready),
        WITH_QUEUE(test_no_poll_right_after_a_page),
        WITH_SMALL_QUEUE(test_no_poll_that_repeats_many_rows_too_soon),
        WITH_QUEUE(test_all_rows_that_are_repeated_count),
        WITH_QUEUE(test_truncated_page_costs_its_rows),
        WITH_QUEUE(test_new_rows_and_posted_replies_are_events),
        WITH_QUEUE(test_silence_and_wake_ups_are_no_events),
        WITH_QUEUE(test_silence_does_not_poll),
        WITH_SMALL_QUEUE(test_idle_worker_is_enough_to_poll),
        WITH_SMALL_QUEUE(test_worker_that_runs_dry_polls),
        WITH_QUEUE(test_no_poll_when_nothing_is_expected),
        WITH_QUEUE(test_settling_after_a_full_page_polls),
        WITH_QUEUE(test_full_page_with_little_new_is_not_followed_at_once),
        WITH_SMALL_QUEUE(test_taking_after_a_full_page_polls),
    };
    return cmocka_run_group_tests_name("send_queue_polls", tests, NULL, NULL);
}
