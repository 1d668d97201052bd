/* The policy for sends, the operator's hold, wake-ups, and what earlier processes left. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>

#include "../lib/queue_fixture.h"
#include "base/sync.h"
#include "delivery/queue_state.h"

static void limit_sends(struct send_queue *queue, uint64_t version)
{
    const struct send_policy policy = {.version = version, .limited = true};
    send_queue_set_policy(queue, &policy);
}

/* All that is left may not be sent, so nothing is handed out. The close makes take return. */
static void must_hand_out_nothing(struct send_queue *queue)
{
    send_queue_close(queue, clock_monotonic_ms());
    assert_null(send_queue_take(queue, NULL));
}

static void test_limit_sends_three_at_a_time(void **state)
{
    struct send_queue *queue = *state;
    PAGE(queue, {"a1", "a", "", 1}, {"b1", "b", "", 2}, {"c1", "c", "", 3}, {"d1", "d", "", 4});
    limit_sends(queue, 1);
    struct entry *a1 = queue_fixture_take(queue, "a1");
    struct entry *b1 = queue_fixture_take(queue, "b1");
    struct entry *c1 = queue_fixture_take(queue, "c1");
    assert_true(send_queue_advance(queue, a1, STAGE_SENDING));
    assert_true(send_queue_advance(queue, b1, STAGE_SENDING));
    assert_true(send_queue_advance(queue, c1, STAGE_SENDING));
    assert_int_equal(queue_fixture_counts(queue).sending, 3);
    /* Once one is past its send, the next may go. */
    assert_true(send_queue_advance(queue, a1, STAGE_REPLIED));
    struct entry *d1 = queue_fixture_take(queue, "d1");
    assert_true(send_queue_advance(queue, d1, STAGE_SENDING));
    queue_fixture_finish(queue, a1, STAGE_SETTLED, 0);
    queue_fixture_finish(queue, b1, STAGE_SETTLED, 0);
    queue_fixture_finish(queue, c1, STAGE_SETTLED, 0);
    queue_fixture_finish(queue, d1, STAGE_SETTLED, 0);
}

static void run_ends(struct send_queue *queue, const char *id, enum run_end end)
{
    struct entry *entry = queue_fixture_take(queue, id);
    assert_true(send_queue_advance(queue, entry, STAGE_SENDING));
    entry->work.run_end = end;
    queue_fixture_finish(queue, entry, STAGE_KNOWN, AN_HOUR_MS);
}

/* The third agent whose run fails has to keep its distance; the fourth, without history, flows. */
static void test_lanes_that_fail_with_others_send_rarely(void **state)
{
    struct send_queue *queue = *state;
    PAGE(queue, {"a1", "a", "", 1}, {"b1", "b", "", 2}, {"c1", "c", "", 3}, {"a2", "a", "", 4},
        {"b2", "b", "", 5}, {"c2", "c", "", 6}, {"d1", "d", "", 7}, {"d2", "d", "", 8},
        {"a3", "a", "", 9}, {"b3", "b", "", 10});
    run_ends(queue, "a1", RUN_END_FAILED);
    run_ends(queue, "b1", RUN_END_FAILED);
    run_ends(queue, "c1", RUN_END_FAILED);
    run_ends(queue, "d1", RUN_END_REPLIED);
    run_ends(queue, "a2", RUN_END_FAILED);
    run_ends(queue, "b2", RUN_END_REPLIED);
    run_ends(queue, "d2", RUN_END_REPLIED);
    run_ends(queue, "b3", RUN_END_NONE);
    assert_int_equal(queue->failing_lanes, 2);
    must_hand_out_nothing(queue); /* c2 and a3 are left */
    assert_int_equal(queue_fixture_counts(queue).held, 10);
}

/* So one agent with many notifications cannot open the breaker three times with each of them. */
static void test_lane_remembers_how_often_it_opened_the_breaker(void **state)
{
    struct send_queue *queue = *state;
    PAGE(queue, {"a1", "a", "", 1}, {"a2", "a", "", 2}, {"b1", "b", "", 3});
    struct entry *entry = queue_fixture_take(queue, "a1");
    entry->work.breaker_trips = 4;
    queue_fixture_finish(queue, entry, STAGE_KNOWN, AN_HOUR_MS);
    entry = queue_fixture_take(queue, "b1");
    assert_int_equal(entry->work.breaker_trips, 0);
    queue_fixture_finish(queue, entry, STAGE_SETTLED, 0);
    entry = queue_fixture_take(queue, "a2");
    assert_int_equal(entry->work.breaker_trips, 4);
    queue_fixture_finish(queue, entry, STAGE_SETTLED, 0);
    EMPTY_PAGE(queue);
}

/* As before, without two others: an agent's failures are its own affair. */
static void test_lane_that_fails_alone_sends_on(void **state)
{
    struct send_queue *queue = *state;
    PAGE(queue, {"a1", "a", "", 1}, {"b1", "b", "", 2}, {"a2", "a", "", 4}, {"b2", "b", "", 5},
        {"a3", "a", "", 6});
    run_ends(queue, "a1", RUN_END_FAILED);
    run_ends(queue, "b1", RUN_END_FAILED);
    run_ends(queue, "a2", RUN_END_FAILED);
    run_ends(queue, "b2", RUN_END_FAILED);
    run_ends(queue, "a3", RUN_END_FAILED);
    assert_int_equal(queue->failing_lanes, 2);
    EMPTY_PAGE(queue);
}

/* Entries taken before the limit began are also subject to it. */
static void test_limit_stops_entries_taken_before_it(void **state)
{
    struct send_queue *queue = *state;
    static const char *const ids[] = {"a1", "b1", "c1", "d1"};
    struct entry *entries[4];
    PAGE(queue, {"a1", "a", "", 1}, {"b1", "b", "", 2}, {"c1", "c", "", 3}, {"d1", "d", "", 4});
    for (size_t i = 0; i < 4; i++)
        entries[i] = queue_fixture_take(queue, ids[i]);
    limit_sends(queue, 1);
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(send_queue_advance(queue, entries[i], STAGE_SENDING), i < 3);
    for (size_t i = 0; i < 3; i++)
        queue_fixture_finish(queue, entries[i], STAGE_SETTLED, 0);
    queue_fixture_finish(queue, entries[3], STAGE_KNOWN, 0);
    queue_fixture_take_and_settle(queue, "d1");
}

static void test_older_policy_is_ignored(void **state)
{
    struct send_queue *queue = *state;
    const struct send_policy newer = {.version = 7};
    const struct send_policy older = {.version = 6, .paused = true};
    send_queue_set_policy(queue, &newer);
    send_queue_set_policy(queue, &older);
    PAGE(queue, {"a1", "a", "", 1});
    queue_fixture_take_and_settle(queue, "a1");
}

/* Either one alone stops sends; neither stops write-backs. */
static void test_hold_and_policy_are_independent(void **state)
{
    struct send_queue *queue = *state;
    const struct send_policy held = {.version = 1, .paused = true};
    const struct send_policy free = {.version = 2};
    PAGE(queue, {"a1", "a", "", 1}, {"b1", "b", "", 2}, {"c1", "c", "", 3});
    struct entry *a1 = queue_fixture_take(queue, "a1");
    struct entry *b1 = queue_fixture_take(queue, "b1");
    send_queue_hold(queue, true);
    assert_false(send_queue_advance(queue, a1, STAGE_SENDING));
    send_queue_set_policy(queue, &held);
    send_queue_hold(queue, false);
    assert_false(send_queue_advance(queue, a1, STAGE_SENDING));
    send_queue_hold(queue, true);
    send_queue_set_policy(queue, &free);
    assert_false(send_queue_advance(queue, a1, STAGE_SENDING));
    queue_fixture_finish(queue, b1, STAGE_REPLIED, 0);
    queue_fixture_take_and_settle(queue, "b1");
    send_queue_hold(queue, false);
    assert_true(send_queue_advance(queue, a1, STAGE_SENDING));
    queue_fixture_finish(queue, a1, STAGE_SETTLED, 0);
    queue_fixture_take_and_settle(queue, "c1");
}

enum { HOLDS = 200, WAIT_MS = 10000 };

static void *settle_all(void *queue)
{
    for (int i = 0; i < HOLDS; i++)
        queue_fixture_finish(queue, send_queue_take(queue, NULL), STAGE_SETTLED, 0);
    return NULL;
}

static void wait_until_done(struct send_queue *queue)
{
    int64_t deadline_ms = clock_monotonic_ms() + WAIT_MS;
    for (;;) {
        struct send_queue_view counts = queue_fixture_counts(queue);
        if (counts.ready + counts.running == 0)
            return;
        if (clock_monotonic_ms() > deadline_ms)
            fail_msg("what was held is not taken");
        sched_yield();
    }
}

/* A blocked worker is woken; repeated often enough for it to block during some holds. */
static void test_release_of_a_hold_wakes_workers(void **state)
{
    struct send_queue *queue = *state;
    pthread_t thread;
    struct notification_row row = {.agent_id = "a"};
    assert_int_equal(pthread_create(&thread, NULL, settle_all, queue), 0);
    for (int i = 0; i < HOLDS; i++) {
        snprintf(row.id, sizeof row.id, "a%d", i);
        row.created_at_ms = i;
        send_queue_hold(queue, true);
        queue_fixture_page(queue, false, &row, 1);
        for (int turn = 0; turn < i; turn++)
            sched_yield();
        send_queue_hold(queue, false);
        wait_until_done(queue);
    }
    assert_int_equal(pthread_join(thread, NULL), 0);
}

/* They would all start at once when the hold ends. */
static void test_no_wake_up_is_queued_during_a_hold(void **state)
{
    struct send_queue *queue = *state;
    send_queue_hold(queue, true);
    assert_false(send_queue_wake(queue, "a", AN_HOUR_MS));
    send_queue_hold(queue, false);
    assert_true(send_queue_wake(queue, "a", AN_HOUR_MS));
    send_queue_hold(queue, true);
    must_hand_out_nothing(queue);
}

/* The agent of the lane is rate-limited: nothing else of it is sent, and all others are. */
static void test_a_paused_lane_waits_alone(void **state)
{
    struct send_queue *queue = *state;
    enum { PAUSE_MS = 80 };
    PAGE(queue, {"a1", "a", "", 1}, {"a2", "a", "", 2}, {"b1", "b", "", 3});
    struct entry *a1 = queue_fixture_take(queue, "a1");
    a1->work.lane_pause_ms = PAUSE_MS;
    int64_t began_ms = clock_monotonic_ms();
    queue_fixture_finish(queue, a1, STAGE_KNOWN, AN_HOUR_MS);
    assert_int_equal(queue_fixture_counts(queue).ready, 1);
    queue_fixture_take_and_settle(queue, "b1");
    assert_true(clock_monotonic_ms() - began_ms < PAUSE_MS);
    /* It comes by itself: nobody signals the end of the pause. */
    queue_fixture_take_and_settle(queue, "a2");
    assert_true(clock_monotonic_ms() - began_ms >= PAUSE_MS);
}

/* The reply of one of its notifications is posted meanwhile. */
static void test_a_paused_lane_writes_back(void **state)
{
    struct send_queue *queue = *state;
    PAGE(queue, {"a1", "a", "", 1}, {"a2", "a", "", 2});
    struct entry *a1 = queue_fixture_take(queue, "a1");
    a1->work.lane_pause_ms = AN_HOUR_MS;
    queue_fixture_finish(queue, a1, STAGE_REPLIED, 0);
    queue_fixture_take_and_settle(queue, "a1");
    send_queue_close(queue, clock_monotonic_ms());
    assert_null(send_queue_take(queue, NULL));
}

/*
 * A worker that goes on to something else first, as all who watched for the end of a pause may do,
 * passes the watch on to those who have slept since before the pause.
 */
static void test_other_work_does_not_hide_the_end_of_a_pause(void **state)
{
    struct send_queue *queue = *state;
    PAGE(queue, {"a1", "a", "", 1}, {"a2", "a", "", 2});
    struct entry *a1 = queue_fixture_take(queue, "a1");
    a1->work.lane_pause_ms = AN_HOUR_MS;
    queue_fixture_finish(queue, a1, STAGE_SETTLED, 0);
    PAGE(queue, {"a2", "a", "", 2}, {"b1", "b", "", 3});
    struct entry *b1 = queue_fixture_take(queue, "b1");
    int64_t resume_ms = queue->resume_ms;
    assert_true(resume_ms > clock_monotonic_ms());
    queue_fixture_finish(queue, b1, STAGE_REPLIED, 0);
    b1 = queue_fixture_take(queue, "b1");
    assert_true(queue->resume_ms == resume_ms);
    queue_fixture_finish(queue, b1, STAGE_SETTLED, 0);
    must_hand_out_nothing(queue);
}

static struct entry *take_wake(struct send_queue *queue, const char *agent_id)
{
    struct entry *entry = queue_fixture_take(queue, agent_id);
    assert_int_equal(entry->kind, ENTRY_WAKE);
    return entry;
}

static void test_wake_up_comes_after_deliveries(void **state)
{
    struct send_queue *queue = *state;
    assert_true(send_queue_wake(queue, "a", AN_HOUR_MS));
    PAGE(queue, {"b1", "b", "", 1}, {"a1", "a", "", 2});
    struct entry *b1 = queue_fixture_take(queue, "b1");
    struct entry *a1 = queue_fixture_take(queue, "a1");
    queue_fixture_finish(queue, b1, STAGE_SETTLED, 0);
    queue_fixture_finish(queue, a1, STAGE_SETTLED, 0);
    queue_fixture_finish(queue, take_wake(queue, "a"), STAGE_SETTLED, 0);
}

/* Without waiting it goes after both; a send has its turn between two wake-ups. */
static void test_overdue_wake_ups_take_turns_with_sends(void **state)
{
    struct send_queue *queue = *state;
    PAGE(queue, {"x1", "x", "", 1}, {"x2", "x", "", 2}, {"x3", "x", "", 3}, {"x4", "x", "", 4});
    assert_true(send_queue_wake(queue, "later", AN_HOUR_MS));
    assert_true(send_queue_wake(queue, "a", 0));
    assert_true(send_queue_wake(queue, "b", 0));
    queue_fixture_finish(queue, take_wake(queue, "a"), STAGE_SETTLED, 0);
    queue_fixture_take_and_settle(queue, "x1");
    queue_fixture_finish(queue, take_wake(queue, "b"), STAGE_SETTLED, 0);
    queue_fixture_take_and_settle(queue, "x2");
    queue_fixture_take_and_settle(queue, "x3");
    queue_fixture_take_and_settle(queue, "x4");
    queue_fixture_finish(queue, take_wake(queue, "later"), STAGE_SETTLED, 0);
}

static void test_wake_up_becomes_overdue_while_it_waits(void **state)
{
    enum { MAX_WAIT_MS = 200 };
    struct send_queue *queue = *state;
    PAGE(queue, {"a1", "a", "", 1}, {"a2", "a", "", 2}, {"a3", "a", "", 3});
    assert_true(send_queue_wake(queue, "a", MAX_WAIT_MS));
    queue_fixture_take_and_settle(queue, "a1");
    struct entry *a2 = queue_fixture_take(queue, "a2");
    poll(NULL, 0, MAX_WAIT_MS + 1);
    queue_fixture_finish(queue, a2, STAGE_SETTLED, 0);
    queue_fixture_finish(queue, take_wake(queue, "a"), STAGE_SETTLED, 0);
    queue_fixture_take_and_settle(queue, "a3");
}

/* Neither the lane rule nor the share of the workers yields to it. */
static void test_overdue_wake_up_waits_for_its_lane_and_for_other_wake_ups(void **state)
{
    struct send_queue *queue = *state;
    struct entry *wakes[QUEUE_FIXTURE_MAX_WAKES];
    PAGE(queue, {"a1", "a", "", 1}, {"x1", "x", "", 2}, {"y1", "y", "", 3}, {"z1", "z", "", 4});
    struct entry *a1 = queue_fixture_take(queue, "a1");
    assert_true(send_queue_wake(queue, "a", 0));
    queue_fixture_take_and_settle(queue, "x1");
    queue_fixture_finish(queue, a1, STAGE_SETTLED, 0);
    wakes[0] = take_wake(queue, "a");
    assert_true(send_queue_wake(queue, "b", 0));
    assert_true(send_queue_wake(queue, "c", 0));
    queue_fixture_take_and_settle(queue, "y1");
    wakes[1] = take_wake(queue, "b");
    queue_fixture_take_and_settle(queue, "z1");
    PAGE(queue, {"z2", "z", "", 5});
    queue_fixture_take_and_settle(queue, "z2");
    for (size_t i = 0; i < QUEUE_FIXTURE_MAX_WAKES; i++)
        queue_fixture_finish(queue, wakes[i], STAGE_SETTLED, 0);
    queue_fixture_finish(queue, take_wake(queue, "c"), STAGE_SETTLED, 0);
}

static void test_wake_up_is_in_its_agents_lane(void **state)
{
    struct send_queue *queue = *state;
    assert_true(send_queue_wake(queue, "a", AN_HOUR_MS));
    struct entry *wake = take_wake(queue, "a");
    PAGE(queue, {"a1", "a", "", 1});
    must_hand_out_nothing(queue);
    assert_int_equal(queue_fixture_counts(queue).ready, 1);
    queue_fixture_finish(queue, wake, STAGE_SETTLED, 0);
}

static void test_agent_has_one_wake_up_at_a_time(void **state)
{
    struct send_queue *queue = *state;
    assert_true(send_queue_wake(queue, "a", AN_HOUR_MS));
    assert_false(send_queue_wake(queue, "a", AN_HOUR_MS));
    struct entry *wake = take_wake(queue, "a");
    assert_false(send_queue_wake(queue, "a", AN_HOUR_MS));
    queue_fixture_finish(queue, wake, STAGE_SETTLED, 0);
    assert_true(send_queue_wake(queue, "a", AN_HOUR_MS));
}

static void test_wake_ups_leave_workers_for_deliveries(void **state)
{
    struct send_queue *queue = *state;
    struct entry *wakes[QUEUE_FIXTURE_MAX_WAKES];
    static const char *const agents[QUEUE_FIXTURE_MAX_WAKES] = {"a", "b"};
    send_queue_wake(queue, "a", AN_HOUR_MS);
    send_queue_wake(queue, "b", AN_HOUR_MS);
    send_queue_wake(queue, "c", AN_HOUR_MS);
    for (int i = 0; i < QUEUE_FIXTURE_MAX_WAKES; i++)
        wakes[i] = take_wake(queue, agents[i]);
    PAGE(queue, {"d1", "d", "", 1});
    /* It is due in a moment; until then there is no work for the worker. */
    struct entry *d1 = queue_fixture_take(queue, "d1");
    queue_fixture_finish(queue, d1, STAGE_KNOWN, 30);
    queue_fixture_take_and_settle(queue, "d1");
    queue_fixture_finish(queue, wakes[0], STAGE_SETTLED, 0);
    struct entry *third = take_wake(queue, "c");
    queue_fixture_finish(queue, wakes[1], STAGE_SETTLED, 0);
    queue_fixture_finish(queue, third, STAGE_SETTLED, 0);
}

static void test_wake_ups_ignore_the_capacity_and_pages(void **state)
{
    (void)state;
    struct send_queue *queue = queue_fixture_create(1);
    assert_true(send_queue_wake(queue, "a", AN_HOUR_MS));
    assert_true(send_queue_wake(queue, "b", AN_HOUR_MS));
    assert_int_equal(queue_fixture_counts(queue).ready, 0);
    PAGE(queue, {"c1", "c", "", 1});
    EMPTY_PAGE(queue);
    queue_fixture_finish(queue, take_wake(queue, "a"), STAGE_SETTLED, 0);
    queue_fixture_finish(queue, take_wake(queue, "b"), STAGE_SETTLED, 0);
    send_queue_destroy(queue);
}

static void test_paused_or_closed_queue_hands_out_no_wake_up(void **state)
{
    struct send_queue *queue = *state;
    send_queue_wake(queue, "a", AN_HOUR_MS);
    queue_fixture_pause(queue, true);
    must_hand_out_nothing(queue);
    assert_false(send_queue_wake(queue, "b", AN_HOUR_MS));
}

/* All would start at once when the breaker closes. One that a worker has is not withdrawn. */
static void test_ready_wake_ups_can_be_withdrawn_while_paused(void **state)
{
    struct send_queue *queue = *state;
    char agent_id[ID_BYTES];
    send_queue_wake(queue, "a", AN_HOUR_MS);
    send_queue_wake(queue, "b", AN_HOUR_MS);
    send_queue_wake(queue, "c", AN_HOUR_MS);
    struct entry *a = take_wake(queue, "a");
    PAGE(queue, {"b1", "b", "", 1});
    queue_fixture_pause(queue, true);
    assert_true(send_queue_withdraw_wake(queue, agent_id));
    assert_string_equal(agent_id, "b");
    assert_true(send_queue_withdraw_wake(queue, agent_id));
    assert_string_equal(agent_id, "c");
    assert_false(send_queue_withdraw_wake(queue, agent_id));
    /* The lane of b still has its delivery, that of a its worker; that of c is gone. */
    assert_int_equal(queue_fixture_counts(queue).lanes, 2);
    queue_fixture_pause(queue, false);
    queue_fixture_take_and_settle(queue, "b1");
    queue_fixture_finish(queue, a, STAGE_SETTLED, 0);
    assert_true(send_queue_wake(queue, "c", AN_HOUR_MS));
    queue_fixture_finish(queue, take_wake(queue, "c"), STAGE_SETTLED, 0);
}

static void test_wake_ups_cannot_be_withdrawn_unless_paused(void **state)
{
    struct send_queue *queue = *state;
    char agent_id[ID_BYTES];
    send_queue_wake(queue, "a", AN_HOUR_MS);
    assert_false(send_queue_withdraw_wake(queue, agent_id));
    send_queue_hold(queue, true);
    assert_false(send_queue_withdraw_wake(queue, agent_id));
    send_queue_hold(queue, false);
    queue_fixture_finish(queue, take_wake(queue, "a"), STAGE_SETTLED, 0);
}

static void test_id_remembered_as_settled_is_not_sent(void **state)
{
    struct send_queue *queue = *state;
    assert_int_equal(send_queue_remember_settled(queue, "a1", 1), 1);
    assert_int_equal(send_queue_remember_settled(queue, "a1", 1), 0);
    PAGE(queue, {"a1", "a", "", 1}, {"a2", "a", "", 2});
    queue_fixture_take_and_settle(queue, "a2");
    assert_int_equal(queue_fixture_counts(queue).settled, 2);
    EMPTY_PAGE(queue);
    assert_int_equal(queue_fixture_counts(queue).held, 0);
}

/* A page that was cut before its place says nothing of it; dropped, it would be sent when listed.
 */
static void test_id_remembered_as_settled_survives_pages_that_end_before_it(void **state)
{
    struct send_queue *queue = *state;
    assert_int_equal(send_queue_remember_settled(queue, "late", 50), 1);
    FULL_PAGE(queue, {"a1", "a", "", 1}, {"a2", "a", "", 2});
    assert_int_equal(queue_fixture_counts(queue).settled, 1);
    PAGE(queue, {"a1", "a", "", 1}, {"a2", "a", "", 2}, {"late", "a", "", 50});
    queue_fixture_take_and_settle(queue, "a1");
    queue_fixture_take_and_settle(queue, "a2");
    must_hand_out_nothing(queue);
}

static void test_put_back_entry_keeps_its_position(void **state)
{
    struct send_queue *queue = *state;
    PAGE(queue, {"a1", "a", "", 1}, {"a2", "a", "", 2});
    queue_fixture_finish(queue, queue_fixture_take(queue, "a1"), STAGE_KNOWN, 0);
    queue_fixture_take_and_settle(queue, "a1");
    queue_fixture_take_and_settle(queue, "a2");
}

static void test_prior_runs_are_added(void **state)
{
    struct send_queue *queue = *state;
    assert_true(send_queue_add_prior_runs(queue, "a1", 1));
    PAGE(queue, {"a1", "a", "", 1}, {"b1", "b", "", 2});
    struct entry *a1 = queue_fixture_take(queue, "a1");
    struct entry *b1 = queue_fixture_take(queue, "b1");
    assert_int_equal(a1->work.runs, 1);
    assert_int_equal(b1->work.runs, 0);
    queue_fixture_finish(queue, a1, STAGE_SETTLED, 0);
    queue_fixture_finish(queue, b1, STAGE_SETTLED, 0);
}

#define QUEUE_TEST(test) \
    cmocka_unit_test_setup_teardown(test, queue_fixture_setup, queue_fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        QUEUE_TEST(test_a_paused_lane_waits_alone),
        QUEUE_TEST(test_a_paused_lane_writes_back),
        QUEUE_TEST(test_other_work_does_not_hide_the_end_of_a_pause),
        QUEUE_TEST(test_limit_sends_three_at_a_time),
        QUEUE_TEST(test_limit_stops_entries_taken_before_it),
        QUEUE_TEST(test_lanes_that_fail_with_others_send_rarely),
        QUEUE_TEST(test_lane_that_fails_alone_sends_on),
        QUEUE_TEST(test_lane_remembers_how_often_it_opened_the_breaker),
        QUEUE_TEST(test_older_policy_is_ignored),
        QUEUE_TEST(test_hold_and_policy_are_independent),
        QUEUE_TEST(test_release_of_a_hold_wakes_workers),
        QUEUE_TEST(test_no_wake_up_is_queued_during_a_hold),
        QUEUE_TEST(test_wake_up_comes_after_deliveries),
        QUEUE_TEST(test_overdue_wake_ups_take_turns_with_sends),
        QUEUE_TEST(test_wake_up_becomes_overdue_while_it_waits),
        QUEUE_TEST(test_overdue_wake_up_waits_for_its_lane_and_for_other_wake_ups),
        QUEUE_TEST(test_wake_up_is_in_its_agents_lane),
        QUEUE_TEST(test_agent_has_one_wake_up_at_a_time),
        QUEUE_TEST(test_wake_ups_leave_workers_for_deliveries),
        cmocka_unit_test(test_wake_ups_ignore_the_capacity_and_pages),
        QUEUE_TEST(test_paused_or_closed_queue_hands_out_no_wake_up),
        QUEUE_TEST(test_ready_wake_ups_can_be_withdrawn_while_paused),
        QUEUE_TEST(test_wake_ups_cannot_be_withdrawn_unless_paused),
        QUEUE_TEST(test_id_remembered_as_settled_is_not_sent),
        QUEUE_TEST(test_id_remembered_as_settled_survives_pages_that_end_before_it),
        QUEUE_TEST(test_put_back_entry_keeps_its_position),
        QUEUE_TEST(test_prior_runs_are_added),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
