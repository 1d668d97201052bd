/* What idle workers do ahead of its turn, and that sends keep their order all the same. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "../lib/queue_fixture.h"
#include "base/sync.h"
#include "delivery/queue_state.h"

static int setup_ahead(void **state)
{
    *state = queue_fixture_create_ahead(QUEUE_FIXTURE_CAPACITY);
    return 0;
}

/* Takes the entry called id, which must (not) be ahead of its turn. */
static struct entry *take(struct send_queue *queue, const char *id, bool ahead)
{
    struct entry *entry = queue_fixture_take(queue, id);
    assert_int_equal(entry->queue.ahead, ahead);
    return entry;
}

/* What a worker does with one that is to be skipped. */
static void skip_it(struct send_queue *queue, struct entry *entry)
{
    entry->work.outcome = OUTCOME_SKIPPED;
    assert_true(send_queue_advance(queue, entry, STAGE_WRITTEN));
    send_queue_finish(queue, entry, STAGE_SETTLED, 0);
}

/* What it does with one that is to be sent, and whose turn has not come. */
static void give_back(struct send_queue *queue, struct entry *entry)
{
    assert_false(send_queue_take_turn(queue, entry));
    send_queue_finish(queue, entry, STAGE_KNOWN, 0);
}

static void send_it(struct send_queue *queue, struct entry *entry)
{
    assert_true(send_queue_take_turn(queue, entry));
    assert_true(send_queue_advance(queue, entry, STAGE_SENDING));
    assert_true(send_queue_advance(queue, entry, STAGE_REPLIED));
    assert_true(send_queue_advance(queue, entry, STAGE_WRITTEN));
    send_queue_finish(queue, entry, STAGE_SETTLED, 0);
}

/* Must not block: to find nothing, the queue is closed. */
static void must_hand_out_nothing(struct send_queue *queue)
{
    send_queue_close(queue, clock_monotonic_ms() + AN_HOUR_MS);
    assert_null(send_queue_take(queue, NULL));
}

/* Six agents keep ten workers busy. */
static void test_all_workers_have_work_with_fewer_lanes(void **state)
{
    enum { LANES = 6, WORKERS = 10, ROWS = 60 };
    struct send_queue *queue = *state;
    struct notification_row rows[ROWS];
    struct entry *taken[WORKERS];
    size_t ahead = 0;
    for (int i = 0; i < ROWS; i++) {
        char id[ID_BYTES];
        char agent_id[ID_BYTES];
        snprintf(id, sizeof id, "n%d", i);
        snprintf(agent_id, sizeof agent_id, "agent%d", i % LANES);
        rows[i] = queue_fixture_row(id, agent_id, i);
    }
    queue_fixture_page(queue, false, rows, ROWS);
    for (size_t i = 0; i < WORKERS; i++) {
        taken[i] = send_queue_take(queue, NULL);
        ahead += taken[i]->queue.ahead;
    }
    assert_int_equal(ahead, WORKERS - LANES);
    assert_int_equal(queue_fixture_counts(queue).running, WORKERS);
    for (size_t i = 0; i < WORKERS; i++)
        skip_it(queue, taken[i]);
    assert_int_equal(queue_fixture_counts(queue).settled, WORKERS);
}

/* The turn of the lane stays with the worker that has it. */
static void test_skip_ahead_does_not_free_the_lane(void **state)
{
    struct send_queue *queue = *state;
    PAGE(queue, {"n1", "a", "", 1}, {"n2", "a", "", 2}, {"n3", "a", "", 3});
    struct entry *n1 = take(queue, "n1", false);
    struct entry *n2 = take(queue, "n2", true);
    skip_it(queue, n2);
    struct entry *n3 = take(queue, "n3", true);
    give_back(queue, n3);
    send_it(queue, n1);
    send_it(queue, take(queue, "n3", false));
}

/* n2 may have to be sent, so what comes after it waits, and then n2 is the next. */
static void test_nothing_overtakes_what_is_looked_at(void **state)
{
    struct send_queue *queue = *state;
    PAGE(queue, {"n1", "a", "", 1}, {"n2", "a", "", 2}, {"n3", "a", "", 3}, {"n4", "a", "", 4});
    struct entry *n1 = take(queue, "n1", false);
    struct entry *n2 = take(queue, "n2", true);
    skip_it(queue, n1);
    struct entry *n3 = take(queue, "n3", true);
    assert_false(send_queue_take_turn(queue, n3)); /* n2 goes before it */
    give_back(queue, n3);
    struct entry *n4 = take(queue, "n4", true);
    give_back(queue, n4);
    send_it(queue, n2); /* the lane is free: its turn has come */
    send_it(queue, take(queue, "n3", false));
    send_it(queue, take(queue, "n4", false));
}

static void test_what_is_given_back_keeps_its_place(void **state)
{
    struct send_queue *queue = *state;
    PAGE(queue, {"z", "a", "", 7}, {"m", "a", "", 7}, {"b", "a", "", 7});
    struct entry *z = take(queue, "z", false);
    struct entry *m = take(queue, "m", true);
    struct entry *b = take(queue, "b", true);
    give_back(queue, b);
    give_back(queue, m);
    send_it(queue, z);
    send_it(queue, take(queue, "m", false));
    send_it(queue, take(queue, "b", false));
}

/* A turn that was taken holds the lane. */
static void test_turn_that_was_taken_is_the_lane_s(void **state)
{
    struct send_queue *queue = *state;
    PAGE(queue, {"n1", "a", "", 1}, {"n2", "a", "", 2}, {"n3", "a", "", 3});
    struct entry *n1 = take(queue, "n1", false);
    struct entry *n2 = take(queue, "n2", true);
    skip_it(queue, n1);
    assert_true(send_queue_take_turn(queue, n2));
    assert_false(n2->queue.ahead);
    struct entry *n3 = take(queue, "n3", true);
    give_back(queue, n3);
    send_it(queue, n2);
    send_it(queue, take(queue, "n3", false));
}

/* A look that finds nothing to skip has cost a call. */
static void test_where_all_is_sent_nothing_is_looked_at(void **state)
{
    struct send_queue *queue = *state;
    struct many_rows many = many_rows_create("n", "a", (size_t)2 * MAX_LOOKS);
    queue_fixture_page(queue, false, many.rows, many.count);
    struct entry *first = take(queue, "n-0", false);
    for (int i = 1; i <= MAX_LOOKS; i++)
        give_back(queue, take(queue, many.ids[i], true));
    must_hand_out_nothing(queue);
    send_queue_finish(queue, first, STAGE_SETTLED, 0);
    many_rows_fini(&many);
}

/* Whoever skips one, in its turn or ahead of it, makes looking ahead worth while again. */
static void test_skip_makes_looking_worth_while(void **state)
{
    struct send_queue *queue = *state;
    struct many_rows many = many_rows_create("n", "a", (size_t)3 * MAX_LOOKS);
    queue_fixture_page(queue, false, many.rows, many.count);
    struct entry *first = take(queue, "n-0", false);
    for (int i = 1; i < MAX_LOOKS; i++)
        give_back(queue, take(queue, many.ids[i], true));
    skip_it(queue, take(queue, many.ids[MAX_LOOKS], true));
    for (int i = 1; i <= MAX_LOOKS; i++)
        give_back(queue, take(queue, many.ids[MAX_LOOKS + i], true));
    skip_it(queue, first);
    first = take(queue, many.ids[1], false);
    give_back(queue, take(queue, many.ids[2 * MAX_LOOKS + 1], true));
    send_queue_finish(queue, first, STAGE_SETTLED, 0);
    many_rows_fini(&many);
}

/* What has been asked about, or has failed, waits for its turn. */
static void test_only_what_is_untouched_is_looked_at(void **state)
{
    struct send_queue *queue = *state;
    assert_true(send_queue_add_prior_runs(queue, "asked", 1));
    PAGE(queue, {"n1", "a", "", 1}, {"asked", "a", "", 2}, {"n3", "a", "", 3});
    struct entry *n1 = take(queue, "n1", false);
    struct entry *n3 = take(queue, "n3", true);
    give_back(queue, n3);
    send_queue_finish(queue, n1, STAGE_REPLIED, 0);
    n1 = take(queue, "n1", false);
    must_hand_out_nothing(queue);
    send_queue_finish(queue, n1, STAGE_SETTLED, 0);
}

static void test_nothing_is_looked_at_while_sends_are_paused(void **state)
{
    struct send_queue *queue = *state;
    PAGE(queue, {"n1", "a", "", 1}, {"n2", "a", "", 2});
    struct entry *n1 = take(queue, "n1", false);
    queue_fixture_pause(queue, true);
    must_hand_out_nothing(queue);
    send_queue_finish(queue, n1, STAGE_SETTLED, 0);
}

/* Its turn is a send: it needs the same permission as one that is taken. */
static void test_no_turn_while_sends_are_paused(void **state)
{
    struct send_queue *queue = *state;
    PAGE(queue, {"n1", "a", "", 1}, {"n2", "a", "", 2});
    struct entry *n1 = take(queue, "n1", false);
    struct entry *n2 = take(queue, "n2", true);
    skip_it(queue, n1);
    queue_fixture_pause(queue, true);
    give_back(queue, n2);
    queue_fixture_pause(queue, false);
    send_it(queue, take(queue, "n2", false));
}

/* A reply that is on disk goes before the next send of its lane. */
static void test_no_turn_before_a_ready_write_back(void **state)
{
    struct send_queue *queue = *state;
    PAGE(queue, {"n1", "a", "", 1}, {"n2", "a", "", 2});
    struct entry *n1 = take(queue, "n1", false);
    struct entry *n2 = take(queue, "n2", true);
    assert_true(send_queue_advance(queue, n1, STAGE_SENDING));
    assert_true(send_queue_advance(queue, n1, STAGE_REPLIED));
    queue_fixture_finish(queue, n1, STAGE_REPLIED, 0);
    give_back(queue, n2);
    queue_fixture_finish(queue, queue_fixture_take(queue, "n1"), STAGE_SETTLED, 0);
    send_it(queue, take(queue, "n2", false));
}

/* A paused agent is not asked, but what is for it may be skipped. */
static void test_paused_lane_is_looked_ahead_in(void **state)
{
    struct send_queue *queue = *state;
    PAGE(queue, {"n1", "a", "", 1}, {"n2", "a", "", 2}, {"n3", "a", "", 3});
    struct entry *n1 = take(queue, "n1", false);
    n1->work.lane_pause_ms = AN_HOUR_MS;
    send_queue_finish(queue, n1, STAGE_KNOWN, AN_HOUR_MS);
    struct entry *n2 = take(queue, "n2", true);
    give_back(queue, n2);
    skip_it(queue, take(queue, "n3", true));
}

/* A skip whose mark fails is repeated in the lane's turn, as any write-back. */
static void test_mark_that_fails_is_repeated(void **state)
{
    struct send_queue *queue = *state;
    PAGE(queue, {"n1", "a", "", 1}, {"n2", "a", "", 2});
    struct entry *n1 = take(queue, "n1", false);
    struct entry *n2 = take(queue, "n2", true);
    n2->work.outcome = OUTCOME_SKIPPED;
    assert_true(send_queue_advance(queue, n2, STAGE_WRITTEN));
    send_queue_finish(queue, n2, STAGE_WRITTEN, 0);
    send_it(queue, n1);
    n2 = take(queue, "n2", false);
    assert_int_equal(n2->queue.stage, STAGE_WRITTEN);
    send_queue_finish(queue, n2, STAGE_SETTLED, 0);
}

/* An unlisted one is dropped when it comes back, as one that was never taken. */
static void test_page_without_what_is_looked_at(void **state)
{
    struct send_queue *queue = *state;
    PAGE(queue, {"n1", "a", "", 1}, {"n2", "a", "", 2});
    struct entry *n1 = take(queue, "n1", false);
    struct entry *n2 = take(queue, "n2", true);
    PAGE(queue, {"n1", "a", "", 1});
    assert_int_equal(queue_fixture_counts(queue).held, 2);
    give_back(queue, n2);
    PAGE(queue, {"n1", "a", "", 1});
    assert_int_equal(queue_fixture_counts(queue).held, 1);
    send_it(queue, n1);
}

/* Whoever looks ahead is the first to learn that each task is a session. */
static void test_lanes_change_while_entries_are_looked_at(void **state)
{
    struct send_queue *queue = *state;
    PAGE(queue, {"n1", "a", "t1", 1}, {"n2", "a", "t2", 2}, {"n3", "a", "t1", 3});
    struct entry *n1 = take(queue, "n1", false);
    struct entry *n2 = take(queue, "n2", true);
    struct entry *n3 = take(queue, "n3", true);
    send_queue_use_session_lanes(queue, true);
    assert_false(send_queue_take_turn(queue, n3)); /* n1 has that session */
    assert_true(send_queue_take_turn(queue, n2));
    send_it(queue, n2);
    send_it(queue, n1);
    send_it(queue, n3);
    EMPTY_PAGE(queue);
    assert_int_equal(queue_fixture_counts(queue).lanes, 0);
}

#define AHEAD_TEST(test) cmocka_unit_test_setup_teardown(test, setup_ahead, queue_fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        AHEAD_TEST(test_all_workers_have_work_with_fewer_lanes),
        AHEAD_TEST(test_skip_ahead_does_not_free_the_lane),
        AHEAD_TEST(test_nothing_overtakes_what_is_looked_at),
        AHEAD_TEST(test_what_is_given_back_keeps_its_place),
        AHEAD_TEST(test_turn_that_was_taken_is_the_lane_s),
        AHEAD_TEST(test_where_all_is_sent_nothing_is_looked_at),
        AHEAD_TEST(test_skip_makes_looking_worth_while),
        AHEAD_TEST(test_only_what_is_untouched_is_looked_at),
        AHEAD_TEST(test_nothing_is_looked_at_while_sends_are_paused),
        AHEAD_TEST(test_no_turn_while_sends_are_paused),
        AHEAD_TEST(test_no_turn_before_a_ready_write_back),
        AHEAD_TEST(test_paused_lane_is_looked_ahead_in),
        AHEAD_TEST(test_mark_that_fails_is_repeated),
        AHEAD_TEST(test_page_without_what_is_looked_at),
        AHEAD_TEST(test_lanes_change_while_entries_are_looked_at),
    };
    return cmocka_run_group_tests_name("send_queue_ahead", tests, NULL, NULL);
}
