/* Lanes, their order, stages and due times: what is handed out when. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "../lib/queue_fixture.h"
#include "base/sync.h"

static void test_lane_is_ordered_by_created_at(void **state)
{
    struct send_queue *queue = *state;
    PAGE(queue, {"n5", "a", "", 5}, {"n3", "a", "", 3});
    PAGE(queue, {"n4", "a", "", 4}, {"n5", "a", "", 5}, {"n1", "a", "", 1}, {"n3", "a", "", 3},
        {"n2", "a", "", 2});
    queue_fixture_take_and_settle(queue, "n1");
    queue_fixture_take_and_settle(queue, "n2");
    queue_fixture_take_and_settle(queue, "n3");
    queue_fixture_take_and_settle(queue, "n4");
    queue_fixture_take_and_settle(queue, "n5");
    assert_int_equal(queue_fixture_counts(queue).ready, 0);
}

static void test_equal_times_keep_the_order_of_the_page(void **state)
{
    struct send_queue *queue = *state;
    PAGE(queue, {"z", "a", "", 7}, {"m", "a", "", 7}, {"b", "a", "", 7}, {"first", "a", "", 6});
    queue_fixture_take_and_settle(queue, "first");
    queue_fixture_take_and_settle(queue, "z");
    queue_fixture_take_and_settle(queue, "m");
    queue_fixture_take_and_settle(queue, "b");
}

/* b1 is younger and arrived later than a2, and still goes first while a is at work. */
static void test_lane_runs_one_entry_at_a_time(void **state)
{
    struct send_queue *queue = *state;
    PAGE(queue, {"a1", "a", "", 1}, {"a2", "a", "", 2});
    struct entry *running = queue_fixture_take(queue, "a1");
    PAGE(queue, {"a1", "a", "", 1}, {"a2", "a", "", 2}, {"b1", "b", "", 3});
    struct entry *other = queue_fixture_take(queue, "b1");
    assert_int_equal(queue_fixture_counts(queue).running, 2);
    assert_int_equal(queue_fixture_counts(queue).ready, 1);
    queue_fixture_finish(queue, running, STAGE_SETTLED, 0);
    running = queue_fixture_take(queue, "a2");
    queue_fixture_finish(queue, other, STAGE_SETTLED, 0);
    queue_fixture_finish(queue, running, STAGE_SETTLED, 0);
    assert_int_equal(queue_fixture_counts(queue).running, 0);
}

/* An older entry that arrives meanwhile also waits for the running one. */
static void test_older_entry_does_not_overtake_a_running_one(void **state)
{
    struct send_queue *queue = *state;
    PAGE(queue, {"a2", "a", "", 2});
    struct entry *running = queue_fixture_take(queue, "a2");
    PAGE(queue, {"a1", "a", "", 1}, {"a2", "a", "", 2}, {"b1", "b", "", 9});
    queue_fixture_take_and_settle(queue, "b1");
    queue_fixture_finish(queue, running, STAGE_SETTLED, 0);
    queue_fixture_take_and_settle(queue, "a1");
}

static void test_lanes_take_turns(void **state)
{
    struct send_queue *queue = *state;
    PAGE(queue, {"a1", "a", "", 1}, {"a2", "a", "", 2}, {"a3", "a", "", 3}, {"b1", "b", "", 4},
        {"b2", "b", "", 5}, {"c1", "c", "", 6});
    static const char *const order[] = {"a1", "b1", "c1", "a2", "b2", "a3"};
    for (size_t i = 0; i < sizeof order / sizeof order[0]; i++)
        queue_fixture_take_and_settle(queue, order[i]);
}

static void test_write_backs_go_before_sends(void **state)
{
    struct send_queue *queue = *state;
    PAGE(queue, {"a1", "a", "", 1}, {"b1", "b", "", 2}, {"c1", "c", "", 3}, {"c2", "c", "", 4});
    struct entry *a1 = queue_fixture_take(queue, "a1");
    struct entry *b1 = queue_fixture_take(queue, "b1");
    struct entry *c1 = queue_fixture_take(queue, "c1");
    queue_fixture_finish(queue, b1, STAGE_KNOWN, 0);
    queue_fixture_finish(queue, c1, STAGE_WRITTEN, 0);
    queue_fixture_finish(queue, a1, STAGE_REPLIED, 0);
    queue_fixture_take_and_settle(queue, "c1");
    queue_fixture_take_and_settle(queue, "a1");
    queue_fixture_take_and_settle(queue, "b1");
    queue_fixture_take_and_settle(queue, "c2");
}

/* Also within a lane: an older send does not delay the reply to a younger one. */
static void test_write_back_goes_before_an_older_send_of_its_lane(void **state)
{
    struct send_queue *queue = *state;
    PAGE(queue, {"a2", "a", "", 2});
    struct entry *a2 = queue_fixture_take(queue, "a2");
    PAGE(queue, {"a1", "a", "", 1}, {"a2", "a", "", 2});
    queue_fixture_finish(queue, a2, STAGE_NOTIFY_FAILURE, 0);
    a2 = queue_fixture_take(queue, "a2");
    assert_int_equal(a2->queue.stage, STAGE_NOTIFY_FAILURE);
    queue_fixture_finish(queue, a2, STAGE_SETTLED, 0);
    queue_fixture_take_and_settle(queue, "a1");
}

static void test_entry_keeps_its_work_from_stage_to_stage(void **state)
{
    struct send_queue *queue = *state;
    PAGE(queue, {"n1", "agent-7", "", 42});
    struct entry *entry = queue_fixture_take(queue, "n1");
    assert_string_equal(entry->agent_id, "agent-7");
    assert_int_equal(entry->created_at_ms, 42);
    assert_int_equal(entry->queue.stage, STAGE_KNOWN);
    assert_int_equal(entry->work.attempts, 1);
    assert_true(send_queue_advance(queue, entry, STAGE_SENDING));
    assert_int_equal(entry->queue.stage, STAGE_SENDING);
    assert_true(send_queue_advance(queue, entry, STAGE_REPLIED));
    entry->work.reply = strdup("words");
    queue_fixture_finish(queue, entry, STAGE_REPLIED, 0);
    entry = queue_fixture_take(queue, "n1");
    assert_int_equal(entry->queue.stage, STAGE_REPLIED);
    assert_string_equal(entry->work.reply, "words");
    assert_int_equal(entry->work.attempts, 2);
    queue_fixture_finish(queue, entry, STAGE_SETTLED, 0);
    assert_null(entry->work.reply);
    assert_int_equal(queue_fixture_counts(queue).settled, 1);
    assert_int_equal(queue_fixture_counts(queue).lanes, 0);
}

/* Unfinished entries with replies are freed with the queue (the leak check sees it). */
static void test_destroy_frees_what_is_held(void **state)
{
    (void)state;
    struct send_queue *queue = queue_fixture_create(QUEUE_FIXTURE_CAPACITY);
    PAGE(queue, {"a1", "a", "", 1}, {"a2", "a", "", 2}, {"b1", "b", "", 3}, {"c1", "c", "", 4});
    struct entry *a1 = queue_fixture_take(queue, "a1");
    a1->work.reply = strdup("waits");
    queue_fixture_finish(queue, a1, STAGE_REPLIED, AN_HOUR_MS);
    queue_fixture_take_and_settle(queue, "b1");
    send_queue_destroy(queue);
    send_queue_destroy(NULL);
}

static void test_waiting_entry_does_not_block_its_lane(void **state)
{
    enum { DELAY_MS = 30 };
    struct send_queue *queue = *state;
    PAGE(queue, {"a1", "a", "", 1}, {"a2", "a", "", 2});
    struct entry *a1 = queue_fixture_take(queue, "a1");
    int64_t began_ms = clock_monotonic_ms();
    queue_fixture_finish(queue, a1, STAGE_KNOWN, DELAY_MS);
    assert_int_equal(queue_fixture_counts(queue).waiting, 1);
    assert_int_equal(queue_fixture_counts(queue).ready, 1);
    queue_fixture_take_and_settle(queue, "a2");
    a1 = queue_fixture_take(queue, "a1");
    assert_true(clock_monotonic_ms() >= began_ms + DELAY_MS);
    assert_int_equal(a1->work.attempts, 2);
    assert_int_equal(queue_fixture_counts(queue).waiting, 0);
    queue_fixture_finish(queue, a1, STAGE_SETTLED, 0);
}

/* All may become due before the first take, so the write-back comes first. */
static void test_waiting_entries_return_in_due_order(void **state)
{
    struct send_queue *queue = *state;
    PAGE(queue, {"a1", "a", "", 1}, {"b1", "b", "", 2}, {"c1", "c", "", 3});
    struct entry *a1 = queue_fixture_take(queue, "a1");
    struct entry *b1 = queue_fixture_take(queue, "b1");
    struct entry *c1 = queue_fixture_take(queue, "c1");
    queue_fixture_finish(queue, a1, STAGE_KNOWN, 600);
    queue_fixture_finish(queue, b1, STAGE_KNOWN, 300);
    queue_fixture_finish(queue, c1, STAGE_REPLIED, 20);
    queue_fixture_take_and_settle(queue, "c1");
    queue_fixture_take_and_settle(queue, "b1");
    queue_fixture_take_and_settle(queue, "a1");
}

/* The take that waits for b1 is the moment at which a1 has certainly become due. */
static void test_due_entry_returns_to_the_head_of_its_lane(void **state)
{
    struct send_queue *queue = *state;
    PAGE(queue, {"a1", "a", "", 1}, {"a2", "a", "", 2}, {"a3", "a", "", 3}, {"b1", "b", "", 4});
    struct entry *a1 = queue_fixture_take(queue, "a1");
    struct entry *b1 = queue_fixture_take(queue, "b1");
    /* Long enough for a2 to be taken before it, even on a busy machine. */
    queue_fixture_finish(queue, a1, STAGE_KNOWN, 300);
    struct entry *a2 = queue_fixture_take(queue, "a2");
    queue_fixture_finish(queue, b1, STAGE_KNOWN, 301);
    queue_fixture_take_and_settle(queue, "b1");
    queue_fixture_finish(queue, a2, STAGE_SETTLED, 0);
    queue_fixture_take_and_settle(queue, "a1");
    queue_fixture_take_and_settle(queue, "a3");
}

static void test_write_backs_continue_while_sends_are_paused(void **state)
{
    struct send_queue *queue = *state;
    PAGE(queue, {"a1", "a", "", 1}, {"b1", "b", "", 2});
    struct entry *a1 = queue_fixture_take(queue, "a1");
    queue_fixture_pause(queue, true);
    assert_false(send_queue_advance(queue, a1, STAGE_SENDING));
    assert_int_equal(a1->queue.stage, STAGE_KNOWN);
    assert_true(send_queue_advance(queue, a1, STAGE_WRITTEN));
    queue_fixture_finish(queue, a1, STAGE_WRITTEN, 5);
    a1 = queue_fixture_take(queue, "a1");
    assert_int_equal(queue_fixture_counts(queue).ready, 1);
    queue_fixture_pause(queue, false);
    struct entry *b1 = queue_fixture_take(queue, "b1");
    assert_true(send_queue_advance(queue, b1, STAGE_SENDING));
    queue_fixture_finish(queue, b1, STAGE_SETTLED, 0);
    queue_fixture_finish(queue, a1, STAGE_SETTLED, 0);
}

/* What an earlier process left resumes at its stage, replies first. */
static void test_restored_entries_resume_at_their_stage(void **state)
{
    struct send_queue *queue = *state;
    const struct spool_record asked = {
        .id = "asked", .agent_id = "a", .created_at_ms = 5, .runs = 2};
    const struct spool_record replied = {.id = "replied",
        .agent_id = "a",
        .agent_slug = "jarvis",
        .task_id = "t1",
        .created_at_ms = 9,
        .runs = 1};
    assert_true(send_queue_restore(queue, &asked, STAGE_KNOWN));
    assert_true(send_queue_restore(queue, &replied, STAGE_REPLIED));
    assert_false(PAGE(queue, {"asked", "a", "", 5}, {"replied", "a", "", 9}));
    struct entry *entry = queue_fixture_take(queue, "replied");
    assert_int_equal(entry->queue.stage, STAGE_REPLIED);
    assert_int_equal(entry->work.record, RECORD_REPLY);
    assert_null(entry->work.reply);
    assert_string_equal(entry->work.agent_slug, "jarvis");
    assert_string_equal(entry->work.task_id, "t1");
    queue_fixture_finish(queue, entry, STAGE_SETTLED, 0);
    entry = queue_fixture_take(queue, "asked");
    assert_int_equal(entry->queue.stage, STAGE_KNOWN);
    assert_int_equal(entry->work.runs, 2);
    assert_int_not_equal(entry->work.record, RECORD_REPLY);
    queue_fixture_finish(queue, entry, STAGE_SETTLED, 0);
}

#define QUEUE_TEST(test) \
    cmocka_unit_test_setup_teardown(test, queue_fixture_setup, queue_fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        QUEUE_TEST(test_lane_is_ordered_by_created_at),
        QUEUE_TEST(test_equal_times_keep_the_order_of_the_page),
        QUEUE_TEST(test_lane_runs_one_entry_at_a_time),
        QUEUE_TEST(test_older_entry_does_not_overtake_a_running_one),
        QUEUE_TEST(test_lanes_take_turns),
        QUEUE_TEST(test_write_backs_go_before_sends),
        QUEUE_TEST(test_write_back_goes_before_an_older_send_of_its_lane),
        QUEUE_TEST(test_entry_keeps_its_work_from_stage_to_stage),
        cmocka_unit_test(test_destroy_frees_what_is_held),
        QUEUE_TEST(test_waiting_entry_does_not_block_its_lane),
        QUEUE_TEST(test_waiting_entries_return_in_due_order),
        QUEUE_TEST(test_due_entry_returns_to_the_head_of_its_lane),
        QUEUE_TEST(test_write_backs_continue_while_sends_are_paused),
        QUEUE_TEST(test_restored_entries_resume_at_their_stage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
