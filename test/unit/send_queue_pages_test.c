/* What a page of the backend's list adds, keeps and drops, and when another poll would help. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "../lib/queue_fixture.h"
#include "base/sync.h"
#include "delivery/queue_state.h"

static bool page_from(struct send_queue *queue, int64_t began_at_ms,
    const struct notification_row *rows, size_t count)
{
    const struct offer offer = {.rows = rows, .count = count, .began_at_ms = began_at_ms};
    return send_queue_offer(queue, &offer);
}

/* Whatever state an entry is in, another page with its id adds nothing. */
static void test_known_ids_are_not_added_twice(void **state)
{
    struct send_queue *queue = *state;
    const struct notification_row rows[] = {{"ready", "a", "", 9}, {"running", "b", "", 1},
        {"waiting", "c", "", 2}, {"settled", "d", "", 3}};
    assert_true(queue_fixture_page(queue, true, rows, 4));
    struct entry *ready = queue_fixture_take(queue, "ready");
    struct entry *running = queue_fixture_take(queue, "running");
    struct entry *waiting = queue_fixture_take(queue, "waiting");
    queue_fixture_take_and_settle(queue, "settled");
    queue_fixture_finish(queue, waiting, STAGE_REPLIED, AN_HOUR_MS);
    queue_fixture_finish(queue, ready, STAGE_KNOWN, 0);
    assert_false(queue_fixture_page(queue, false, rows, 4));
    assert_false(queue_fixture_page(queue, true, rows, 4));
    struct send_queue_view counts = queue_fixture_counts(queue);
    assert_int_equal(counts.held, 4);
    assert_int_equal(counts.ready, 1);
    assert_int_equal(counts.running, 1);
    assert_int_equal(counts.waiting, 1);
    assert_int_equal(counts.settled, 1);
    assert_int_equal(counts.lanes, 3);
    queue_fixture_finish(queue, running, STAGE_SETTLED, 0);
}

static void test_id_listed_twice_is_one_entry(void **state)
{
    struct send_queue *queue = *state;
    PAGE(queue, {"n1", "a", "", 1}, {"n1", "a", "", 1});
    assert_int_equal(queue_fixture_counts(queue).held, 1);
}

/* A response that was under way while n1 was settled must not run an agent again. */
static void test_settled_id_survives_pages_requested_before(void **state)
{
    struct send_queue *queue = *state;
    const struct notification_row row = {"n1", "a", "", 1};
    PAGE(queue, {"n1", "a", "", 1});
    int64_t before_ms = clock_monotonic_ms();
    queue_fixture_take_and_settle(queue, "n1");
    assert_false(page_from(queue, before_ms, &row, 1));
    assert_int_equal(queue_fixture_counts(queue).ready, 0);
    page_from(queue, before_ms, NULL, 0);
    assert_int_equal(queue_fixture_counts(queue).settled, 1);
    assert_false(page_from(queue, before_ms, &row, 1));
    assert_int_equal(queue_fixture_counts(queue).ready, 0);
}

static void test_settled_id_is_forgotten_by_a_later_page_without_it(void **state)
{
    struct send_queue *queue = *state;
    PAGE(queue, {"n1", "a", "", 1});
    queue_fixture_take_and_settle(queue, "n1");
    assert_false(PAGE(queue, {"n1", "a", "", 1})); /* not marked yet, or not seen yet */
    assert_int_equal(queue_fixture_counts(queue).settled, 1);
    EMPTY_PAGE(queue);
    assert_int_equal(queue_fixture_counts(queue).held, 0);
    assert_int_equal(queue_fixture_counts(queue).settled, 0);
    PAGE(queue, {"n1", "a", "", 1});
    queue_fixture_take_and_settle(queue, "n1");
}

/* A page truncated at createdAt 20 says nothing about what is as old or younger. */
static void test_truncated_page_drops_only_what_is_older_than_its_last_row(void **state)
{
    struct send_queue *queue = *state;
    PAGE(queue, {"at10", "a", "", 10}, {"at19", "b", "", 19}, {"at20", "c", "", 20},
        {"at21", "d", "", 21});
    FULL_PAGE(queue, {"at15", "e", "", 15}, {"last", "f", "", 20});
    assert_int_equal(queue_fixture_counts(queue).held, 4);
    static const char *const order[] = {"at20", "at21", "at15", "last"};
    for (size_t i = 0; i < sizeof order / sizeof order[0]; i++)
        queue_fixture_take_and_settle(queue, order[i]);
    assert_int_equal(queue_fixture_counts(queue).lanes, 0);
}

static void test_truncated_page_keeps_settled_ids_after_its_end(void **state)
{
    struct send_queue *queue = *state;
    PAGE(queue, {"old", "a", "", 1}, {"young", "b", "", 30});
    queue_fixture_take_and_settle(queue, "old");
    queue_fixture_take_and_settle(queue, "young");
    FULL_PAGE(queue, {"last", "c", "", 20});
    assert_int_equal(queue_fixture_counts(queue).settled, 1);
    assert_false(FULL_PAGE(queue, {"last", "c", "", 20}, {"young", "b", "", 30}));
}

/* A full page of which no row could be read covers nothing. */
static void test_full_page_without_usable_rows_drops_nothing(void **state)
{
    struct send_queue *queue = *state;
    PAGE(queue, {"n1", "a", "", 1}, {"n2", "b", "", 2});
    queue_fixture_take_and_settle(queue, "n1");
    queue_fixture_page(queue, true, NULL, 0);
    assert_int_equal(queue_fixture_counts(queue).held, 2);
    assert_int_equal(queue_fixture_counts(queue).settled, 1);
}

static void test_complete_page_drops_untouched_entries(void **state)
{
    struct send_queue *queue = *state;
    PAGE(queue, {"fresh", "a", "", 9}, {"failed", "b", "", 1}, {"running", "c", "", 2},
        {"written", "d", "", 3});
    struct entry *fresh = queue_fixture_take(queue, "fresh");
    struct entry *failed = queue_fixture_take(queue, "failed");
    struct entry *running = queue_fixture_take(queue, "running");
    struct entry *written = queue_fixture_take(queue, "written");
    queue_fixture_finish(queue, fresh, STAGE_KNOWN, 0);
    queue_fixture_finish(queue, failed, STAGE_KNOWN, AN_HOUR_MS);
    queue_fixture_finish(queue, written, STAGE_WRITTEN, AN_HOUR_MS);
    EMPTY_PAGE(queue);
    struct send_queue_view counts = queue_fixture_counts(queue);
    assert_int_equal(counts.held, 2);
    assert_int_equal(counts.ready, 0);
    assert_int_equal(counts.waiting, 1);
    assert_int_equal(counts.running, 1);
    queue_fixture_finish(queue, running, STAGE_KNOWN, AN_HOUR_MS);
    EMPTY_PAGE(queue);
    assert_int_equal(queue_fixture_counts(queue).held, 1);
}

/* Every stage after the send runs to its end, whatever the list says. */
static void test_later_stages_stay_when_unlisted(void **state)
{
    static const enum entry_stage stages[] = {STAGE_REPLIED, STAGE_WRITTEN, STAGE_NOTIFY_FAILURE};
    struct send_queue *queue = *state;
    for (size_t i = 0; i < sizeof stages / sizeof stages[0]; i++) {
        PAGE(queue, {"n1", "a", "", 1});
        struct entry *entry = queue_fixture_take(queue, "n1");
        queue_fixture_finish(queue, entry, stages[i], 0);
        EMPTY_PAGE(queue);
        assert_int_equal(queue_fixture_counts(queue).ready, 1);
        entry = queue_fixture_take(queue, "n1");
        assert_int_equal(entry->queue.stage, stages[i]);
        queue_fixture_finish(queue, entry, STAGE_SETTLED, 0);
        EMPTY_PAGE(queue);
        assert_int_equal(queue_fixture_counts(queue).held, 0);
    }
}

/* An agent that was asked may have done its work, so its notification runs to its end. */
static void test_entry_whose_agent_was_asked_stays_when_unlisted(void **state)
{
    struct send_queue *queue = *state;
    PAGE(queue, {"n1", "a", "", 1});
    struct entry *entry = queue_fixture_take(queue, "n1");
    entry->work.runs = 1;
    queue_fixture_finish(queue, entry, STAGE_KNOWN, 0);
    EMPTY_PAGE(queue);
    assert_int_equal(queue_fixture_counts(queue).ready, 1);
    queue_fixture_take_and_settle(queue, "n1");
}

static void test_offer_wants_more_while_rows_are_new_and_work_is_low(void **state)
{
    (void)state;
    struct send_queue *queue = queue_fixture_create(4);
    assert_false(EMPTY_PAGE(queue));
    assert_true(FULL_PAGE(queue, {"n1", "a", "", 1}));
    assert_false(FULL_PAGE(queue, {"n1", "a", "", 1}));
    assert_false(FULL_PAGE(
        queue, {"n1", "a", "", 1}, {"n2", "b", "", 2})); /* half of the capacity stands ready */
    send_queue_destroy(queue);
}

/* It has all that the backend lists, or all that it ever does, so the next one would be the same.
 */
static void test_page_that_no_longer_one_extends_is_not_followed_at_once(void **state)
{
    struct send_queue *queue = *state;
    assert_false(PAGE(queue, {"n1", "a", "", 1}));
    const struct offer cut = {
        .rows = (const struct notification_row[]){{"n2", "a", "", 2}}, .count = 1, .full = true};
    assert_false(send_queue_offer(queue, &cut));
}

/* Rows that found no room are polled for when ready work runs low, and only once. */
static void test_taking_polls_when_ready_work_runs_low(void **state)
{
    (void)state;
    struct send_queue *queue = queue_fixture_create(4);
    assert_false(PAGE(queue, {"n1", "a", "", 1}, {"n2", "b", "", 2}, {"n3", "c", "", 3},
        {"n4", "d", "", 4}, {"n5", "e", "", 5}, {"n6", "f", "", 6}));
    assert_int_equal(queue_fixture_counts(queue).held, 4);
    mutex_lock(&queue->lock);
    queue->offered_at_ms = clock_monotonic_ms() - AN_HOUR_MS;
    mutex_unlock(&queue->lock);
    static const bool polls[] = {false, false, true, false};
    static const char *const ids[] = {"n1", "n2", "n3", "n4"};
    for (size_t i = 0; i < 4; i++) {
        unsigned before = queue_fixture_polls();
        struct entry *entry = queue_fixture_take(queue, ids[i]);
        assert_int_equal(queue_fixture_polls() - before, polls[i]);
        assert_false(queue_fixture_finish(queue, entry, STAGE_SETTLED, 0));
    }
    send_queue_destroy(queue);
}

/* As with hundreds that wait for a retry: the next page would be the same. */
static void test_no_poll_after_a_truncated_page_of_known_ids(void **state)
{
    (void)state;
    struct send_queue *queue = queue_fixture_create(2);
    assert_false(FULL_PAGE(queue, {"n1", "a", "", 1}));
    struct entry *entry = queue_fixture_take(queue, "n1");
    unsigned before = queue_fixture_polls();
    assert_false(FULL_PAGE(queue, {"n1", "a", "", 1}));
    assert_false(queue_fixture_finish(queue, entry, STAGE_KNOWN, AN_HOUR_MS));
    assert_int_equal(queue_fixture_polls(), before);
    send_queue_destroy(queue);
}

static void test_finish_does_not_poll_after_a_complete_page(void **state)
{
    struct send_queue *queue = *state;
    PAGE(queue, {"n1", "a", "", 1});
    PAGE(queue, {"n1", "a", "", 1});
    struct entry *entry = queue_fixture_take(queue, "n1");
    assert_false(queue_fixture_finish(queue, entry, STAGE_SETTLED, 0));
}

/* One lane with a backlog neither fills the queue nor keeps others out. */
static void test_at_most_32_entries_of_a_lane_count_as_ready(void **state)
{
    (void)state;
    struct send_queue *queue = queue_fixture_create(128);
    struct many_rows many = many_rows_create("n", "a", 100);
    queue_fixture_page(queue, true, many.rows, many.count);
    assert_int_equal(queue_fixture_counts(queue).held, 100);
    assert_int_equal(queue_fixture_counts(queue).ready, SEND_QUEUE_READY_OF_LANE);
    FULL_PAGE(queue, {"b1", "b", "", 0});
    assert_int_equal(queue_fixture_counts(queue).ready, SEND_QUEUE_READY_OF_LANE + 1);
    for (size_t i = 0; i < 68; i++) {
        struct entry *entry =
            queue_fixture_take(queue, i == 1 ? "b1" : many.ids[i < 1 ? i : i - 1]);
        queue_fixture_finish(queue, entry, STAGE_SETTLED, 0);
    }
    assert_int_equal(queue_fixture_counts(queue).ready, SEND_QUEUE_READY_OF_LANE);
    struct entry *entry = queue_fixture_take(queue, many.ids[67]);
    queue_fixture_finish(queue, entry, STAGE_SETTLED, 0);
    entry = queue_fixture_take(queue, many.ids[68]);
    assert_int_equal(queue_fixture_counts(queue).ready, SEND_QUEUE_READY_OF_LANE - 1);
    queue_fixture_finish(queue, entry, STAGE_SETTLED, 0);
    many_rows_fini(&many);
    send_queue_destroy(queue);
}

/* Even a small queue has room beside the backlog of one agent. */
static void test_small_queue_has_room_for_other_lanes(void **state)
{
    (void)state;
    struct send_queue *queue = queue_fixture_create(16);
    struct many_rows many = many_rows_create("n", "a", 100);
    queue_fixture_page(queue, true, many.rows, many.count);
    assert_int_equal(queue_fixture_counts(queue).held, 100);
    FULL_PAGE(queue, {"b1", "b", "", 0});
    assert_int_equal(queue_fixture_counts(queue).held, 101);
    many_rows_fini(&many);
    send_queue_destroy(queue);
}

static void test_queue_never_holds_more_than_its_limit(void **state)
{
    struct send_queue *queue = *state;
    struct many_rows many = many_rows_create("n", "a", SEND_QUEUE_MAX_HELD + 1);
    queue_fixture_page(queue, true, many.rows, many.count);
    assert_int_equal(queue_fixture_counts(queue).held, SEND_QUEUE_MAX_HELD);
    /* Settled ones count until a page forgets them; then the rest finds room. */
    queue_fixture_take_and_settle(queue, many.ids[0]);
    queue_fixture_page(queue, true, many.rows + 1, SEND_QUEUE_MAX_HELD);
    assert_int_equal(queue_fixture_counts(queue).held, SEND_QUEUE_MAX_HELD - 1);
    queue_fixture_page(queue, true, many.rows + 1, SEND_QUEUE_MAX_HELD);
    assert_int_equal(queue_fixture_counts(queue).held, SEND_QUEUE_MAX_HELD);
    many_rows_fini(&many);
}

/* A page that was asked for so much later than now. */
static void offer_later(struct send_queue *queue, int64_t later_ms, const char *id)
{
    const struct notification_row row = queue_fixture_row(id, "a", 1);
    const struct offer offer = {
        .rows = &row, .count = 1, .began_at_ms = clock_monotonic_ms() + later_ms};
    assert_false(send_queue_offer(queue, &offer));
}

static void take_and_settle_as(struct send_queue *queue, const char *id, enum end_reason reason)
{
    struct entry *entry = queue_fixture_take(queue, id);
    entry->work.outcome = OUTCOME_SKIPPED;
    entry->work.reason = reason;
    entry->work.runs++;
    queue_fixture_finish(queue, entry, STAGE_SETTLED, 0);
}

static void test_id_settled_as_gone_and_still_listed_is_taken_in_again(void **state)
{
    struct send_queue *queue = *state;
    PAGE(queue, {"n1", "a", "", 1});
    take_and_settle_as(queue, "n1", REASON_NOTIFICATION_GONE);
    offer_later(queue, 1, "n1"); /* too early */
    assert_int_equal(queue_fixture_counts(queue).ready, 0);
    offer_later(queue, AN_HOUR_MS, "n1");
    assert_int_equal(queue_fixture_counts(queue).ready, 1);
    assert_int_equal(queue_fixture_counts(queue).settled, 0);
    struct entry *entry = queue_fixture_take(queue, "n1");
    assert_int_equal(entry->work.runs, 1);
    queue_fixture_finish(queue, entry, STAGE_SETTLED, 0);
}

/* Each time after twice the time, as the backend may go on to contradict itself. */
static void test_id_settled_otherwise_and_still_listed_is_acknowledged_again(void **state)
{
    struct send_queue *queue = *state;
    PAGE(queue, {"n1", "a", "", 1});
    take_and_settle_as(queue, "n1", REASON_ALREADY_DELIVERED);
    offer_later(queue, 1, "n1");
    assert_int_equal(queue_fixture_counts(queue).settled, 1);
    for (int64_t after_ms = 6000; after_ms <= 12000; after_ms *= 2) {
        offer_later(queue, after_ms, "n1");
        assert_int_equal(queue_fixture_counts(queue).settled, 0);
        assert_int_equal(queue_fixture_counts(queue).undelivered, 1);
        struct entry *entry = queue_fixture_take(queue, "n1");
        assert_int_equal(entry->queue.stage, STAGE_WRITTEN);
        assert_int_equal(entry->work.runs, 1);
        queue_fixture_finish(queue, entry, STAGE_SETTLED, 0);
        offer_later(queue, after_ms, "n1");
        assert_int_equal(queue_fixture_counts(queue).settled, 1);
    }
    EMPTY_PAGE(queue);
    assert_int_equal(queue_fixture_counts(queue).held, 0);
}

/* Its record may hold a reply that is for a newer release, or an operator, to read. */
static void test_id_settled_by_an_earlier_process_stays_settled(void **state)
{
    struct send_queue *queue = *state;
    assert_int_equal(send_queue_remember_settled(queue, "n1", 1), 1);
    offer_later(queue, AN_HOUR_MS, "n1");
    assert_int_equal(queue_fixture_counts(queue).settled, 1);
}

#define QUEUE_TEST(test) \
    cmocka_unit_test_setup_teardown(test, queue_fixture_setup, queue_fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        QUEUE_TEST(test_known_ids_are_not_added_twice),
        QUEUE_TEST(test_id_listed_twice_is_one_entry),
        QUEUE_TEST(test_settled_id_survives_pages_requested_before),
        QUEUE_TEST(test_settled_id_is_forgotten_by_a_later_page_without_it),
        QUEUE_TEST(test_truncated_page_drops_only_what_is_older_than_its_last_row),
        QUEUE_TEST(test_truncated_page_keeps_settled_ids_after_its_end),
        QUEUE_TEST(test_full_page_without_usable_rows_drops_nothing),
        QUEUE_TEST(test_complete_page_drops_untouched_entries),
        QUEUE_TEST(test_later_stages_stay_when_unlisted),
        QUEUE_TEST(test_entry_whose_agent_was_asked_stays_when_unlisted),
        cmocka_unit_test(test_offer_wants_more_while_rows_are_new_and_work_is_low),
        QUEUE_TEST(test_page_that_no_longer_one_extends_is_not_followed_at_once),
        cmocka_unit_test(test_taking_polls_when_ready_work_runs_low),
        cmocka_unit_test(test_no_poll_after_a_truncated_page_of_known_ids),
        QUEUE_TEST(test_finish_does_not_poll_after_a_complete_page),
        cmocka_unit_test(test_at_most_32_entries_of_a_lane_count_as_ready),
        cmocka_unit_test(test_small_queue_has_room_for_other_lanes),
        QUEUE_TEST(test_queue_never_holds_more_than_its_limit),
        QUEUE_TEST(test_id_settled_as_gone_and_still_listed_is_taken_in_again),
        QUEUE_TEST(test_id_settled_otherwise_and_still_listed_is_acknowledged_again),
        QUEUE_TEST(test_id_settled_by_an_earlier_process_stays_settled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
