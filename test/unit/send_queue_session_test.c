/* Lanes of sessions: an agent works on several tasks at once, and one session on one thing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../lib/queue_fixture.h"
#include "base/sync.h"
#include "delivery/queue_state.h"

static int setup(void **state)
{
    queue_fixture_setup(state);
    send_queue_use_session_lanes(*state, true);
    return 0;
}

/* All that is left is in lanes with a worker, so that nothing is handed out. */
static void must_have_no_more_work(struct send_queue *queue)
{
    mutex_lock(&queue->lock);
    for (int class = 0; class < CLASS_COUNT; class ++)
        assert_true(TAILQ_EMPTY(&queue->ready_lanes[class]));
    mutex_unlock(&queue->lock);
}

static void test_one_agent_works_on_several_tasks(void **state)
{
    struct send_queue *queue = *state;
    PAGE(queue, {"n1", "a", "t1", 1}, {"n2", "a", "t1", 2}, {"n3", "a", "t2", 3});
    struct entry *one = queue_fixture_take(queue, "n1");
    struct entry *three = queue_fixture_take(queue, "n3");
    assert_true(send_queue_advance(queue, one, STAGE_SENDING));
    assert_true(send_queue_advance(queue, three, STAGE_SENDING));
    must_have_no_more_work(queue);
    queue_fixture_finish(queue, one, STAGE_SETTLED, 0);
    queue_fixture_take_and_settle(queue, "n2");
    queue_fixture_finish(queue, three, STAGE_SETTLED, 0);
}

/* Its session is the one that wake-ups use. */
static void test_notification_without_a_task_shares_the_lane_of_wake_ups(void **state)
{
    struct send_queue *queue = *state;
    PAGE(queue, {"n1", "a", "", 1}, {"n2", "a", "t1", 2});
    assert_true(send_queue_wake(queue, "a", AN_HOUR_MS));
    struct entry *one = queue_fixture_take(queue, "n1");
    struct entry *two = queue_fixture_take(queue, "n2");
    must_have_no_more_work(queue);
    queue_fixture_finish(queue, one, STAGE_SETTLED, 0);
    struct entry *wake = queue_fixture_take(queue, "a");
    queue_fixture_finish(queue, wake, STAGE_SETTLED, 0);
    queue_fixture_finish(queue, two, STAGE_SETTLED, 0);
}

/* Whichever of its lanes the entry was in. */
static void test_finish_tells_whether_the_agent_has_a_wake_up(void **state)
{
    struct send_queue *queue = *state;
    PAGE(queue, {"n1", "a", "t1", 1}, {"n2", "b", "t1", 2}, {"n3", "a", "t2", 3});
    assert_true(send_queue_wake(queue, "a", AN_HOUR_MS));
    struct entry *one = queue_fixture_take(queue, "n1");
    struct entry *two = queue_fixture_take(queue, "n2");
    struct entry *three = queue_fixture_take(queue, "n3");
    assert_true(send_queue_finish(queue, one, STAGE_SETTLED, 0));
    assert_false(send_queue_finish(queue, two, STAGE_SETTLED, 0));
    assert_true(send_queue_finish(queue, queue_fixture_take(queue, "a"), STAGE_SETTLED, 0));
    assert_false(send_queue_finish(queue, three, STAGE_SETTLED, 0));
}

static void test_tasks_of_two_agents_are_two_lanes(void **state)
{
    struct send_queue *queue = *state;
    PAGE(queue, {"n1", "a", "t1", 1}, {"n2", "b", "t1", 2});
    struct entry *one = queue_fixture_take(queue, "n1");
    struct entry *two = queue_fixture_take(queue, "n2");
    queue_fixture_finish(queue, one, STAGE_SETTLED, 0);
    queue_fixture_finish(queue, two, STAGE_SETTLED, 0);
}

/* What is judged by agents goes on to count agents, not lanes. */
static void test_figures_count_agents(void **state)
{
    struct send_queue *queue = *state;
    PAGE(queue, {"n1", "a", "t1", 1}, {"n2", "a", "t2", 2}, {"n3", "b", "t2", 3});
    struct send_queue_view view = queue_fixture_counts(queue);
    assert_int_equal(view.lanes, 3);
    assert_int_equal(view.agents_with_work, 2);
    struct entry *entry = queue_fixture_take(queue, "n1");
    entry->work.agent_unknown = true;
    entry->work.failure_class = FAILURE_GATEWAY_REFUSED;
    queue_fixture_finish(queue, entry, STAGE_KNOWN, AN_HOUR_MS);
    assert_int_equal(queue_fixture_counts(queue).unknown_agents, 1);
    queue_fixture_take_and_settle(queue, "n2");
    assert_int_equal(queue_fixture_counts(queue).unknown_agents, 0);
    queue_fixture_take_and_settle(queue, "n3");
    EMPTY_PAGE(queue);
    view = queue_fixture_counts(queue);
    assert_int_equal(view.agents_with_work, 0);
    assert_int_equal(view.lanes, 0);
}

/*
 * The version of the backend, and so the kind of lanes, may turn out while a worker reads the first
 * context. All are in their new lanes at once, and what comes after the first still follows it.
 */
static void test_entries_change_lanes_with_the_kind(void **state)
{
    struct send_queue *queue = *state;
    send_queue_use_session_lanes(queue, false);
    PAGE(queue, {"n1", "a", "t1", 1}, {"n2", "a", "t2", 2}, {"n3", "a", "t1", 3});
    struct entry *one = queue_fixture_take(queue, "n1");
    must_have_no_more_work(queue);
    send_queue_use_session_lanes(queue, true);
    struct entry *two = queue_fixture_take(queue, "n2");
    must_have_no_more_work(queue);
    assert_true(send_queue_advance(queue, one, STAGE_SENDING));
    assert_true(send_queue_advance(queue, two, STAGE_SENDING));
    send_queue_use_session_lanes(queue, false);
    must_have_no_more_work(queue);
    queue_fixture_finish(queue, one, STAGE_SETTLED, 0);
    queue_fixture_finish(queue, two, STAGE_SETTLED, 0);
    queue_fixture_take_and_settle(queue, "n3");
    EMPTY_PAGE(queue);
    assert_int_equal(queue_fixture_counts(queue).lanes, 0);
}

/* An agent's two tasks are in work when their sessions turn out to be one. */
static void test_entry_without_a_lane_of_its_own_is_not_sent(void **state)
{
    struct send_queue *queue = *state;
    PAGE(queue, {"n1", "a", "t1", 1}, {"n2", "a", "t2", 2});
    struct entry *one = queue_fixture_take(queue, "n1");
    struct entry *two = queue_fixture_take(queue, "n2");
    send_queue_use_session_lanes(queue, false);
    assert_true(send_queue_advance(queue, one, STAGE_SENDING));
    assert_false(send_queue_advance(queue, two, STAGE_SENDING));
    queue_fixture_finish(queue, two, STAGE_KNOWN, 0);
    must_have_no_more_work(queue);
    queue_fixture_finish(queue, one, STAGE_SETTLED, 0);
    queue_fixture_take_and_settle(queue, "n2");
    EMPTY_PAGE(queue);
    assert_int_equal(queue_fixture_counts(queue).lanes, 0);
}

/* Those that wait for their time change lanes, too. */
static void test_waiting_entries_change_lanes(void **state)
{
    struct send_queue *queue = *state;
    PAGE(queue, {"n1", "a", "t1", 1});
    struct entry *one = queue_fixture_take(queue, "n1");
    queue_fixture_finish(queue, one, STAGE_KNOWN, AN_HOUR_MS);
    send_queue_use_session_lanes(queue, false);
    assert_int_equal(queue_fixture_counts(queue).waiting, 1);
    assert_int_equal(queue_fixture_counts(queue).lanes, 1);
    assert_string_equal(one->queue.lane->item.id, "a");
    EMPTY_PAGE(queue);
    assert_int_equal(queue_fixture_counts(queue).lanes, 0);
}

#define WITH_SESSIONS(test) cmocka_unit_test_setup_teardown(test, setup, queue_fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_SESSIONS(test_one_agent_works_on_several_tasks),
        WITH_SESSIONS(test_notification_without_a_task_shares_the_lane_of_wake_ups),
        WITH_SESSIONS(test_finish_tells_whether_the_agent_has_a_wake_up),
        WITH_SESSIONS(test_tasks_of_two_agents_are_two_lanes),
        WITH_SESSIONS(test_figures_count_agents),
        WITH_SESSIONS(test_entries_change_lanes_with_the_kind),
        WITH_SESSIONS(test_entry_without_a_lane_of_its_own_is_not_sent),
        WITH_SESSIONS(test_waiting_entries_change_lanes),
    };
    return cmocka_run_group_tests_name("send_queue_session", tests, NULL, NULL);
}
