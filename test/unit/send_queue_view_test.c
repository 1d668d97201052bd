/* What observers see of the send queue, and what an operator changes in it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "../lib/queue_fixture.h"
#include "base/sync.h"
#include "base/text.h"

static struct send_queue_view look(struct send_queue *queue)
{
    struct send_queue_view view;
    send_queue_snapshot(queue, &view);
    return view;
}

static void test_view_follows_each_step(void **state)
{
    struct send_queue *queue = *state;
    assert_int_equal(look(queue).oldest_undelivered_ms, 0);
    PAGE(queue, {"n1", "a", "", 1000}, {"n2", "a", "", 2000}, {"n3", "b", "", 1500});
    struct send_queue_view view = look(queue);
    assert_int_equal(view.undelivered, 3);
    assert_int_equal(view.ready, 3);
    assert_int_equal(view.lanes, 2);
    assert_int_equal(view.running, 0);
    assert_int_equal(view.oldest_undelivered_ms, 1000);
    struct entry *entry = queue_fixture_take(queue, "n1");
    assert_int_equal(look(queue).running, 1);
    assert_int_equal(look(queue).ready, 2);
    queue_fixture_finish(queue, entry, STAGE_KNOWN, AN_HOUR_MS);
    assert_int_equal(look(queue).waiting, 1);
    assert_int_equal(look(queue).running, 0);
    assert_int_equal(look(queue).oldest_undelivered_ms, 1000);
    queue_fixture_take_and_settle(queue, "n3");
    queue_fixture_take_and_settle(queue, "n2");
    view = look(queue);
    assert_int_equal(view.undelivered, 1);
    assert_int_equal(view.lanes, 1);
    assert_int_equal(view.oldest_undelivered_ms, 1000);
    EMPTY_PAGE(queue);
    assert_int_equal(look(queue).undelivered, 0);
    assert_int_equal(look(queue).oldest_undelivered_ms, 0);
}

static void test_records_are_counted_until_they_end(void **state)
{
    struct send_queue *queue = *state;
    PAGE(queue, {"n1", "a", "", 1000}, {"n2", "b", "", 2000});
    struct entry *one = queue_fixture_take(queue, "n1");
    struct entry *two = queue_fixture_take(queue, "n2");
    two->work.record = RECORD_RUN;
    assert_true(send_queue_advance(queue, two, STAGE_SENDING));
    assert_int_equal(look(queue).recorded, 1);
    assert_int_equal(look(queue).oldest_recorded_ms, 2000);
    one->work.record = RECORD_RUN;
    assert_true(send_queue_advance(queue, one, STAGE_SENDING));
    assert_int_equal(look(queue).oldest_recorded_ms, 1000);
    one->work.record = RECORD_NONE;
    assert_true(send_queue_advance(queue, one, STAGE_REPLIED));
    assert_int_equal(look(queue).oldest_recorded_ms, 2000);
    queue_fixture_finish(queue, one, STAGE_SETTLED, 0);
    queue_fixture_finish(queue, two, STAGE_SETTLED, 0);
    assert_int_equal(look(queue).recorded, 0);
    assert_int_equal(look(queue).oldest_recorded_ms, 0);
}

static void test_restored_entries_are_counted(void **state)
{
    struct send_queue *queue = *state;
    const struct spool_record record = {
        .id = "n1", .agent_id = "a", .created_at_ms = 3000, .runs = 1};
    assert_true(send_queue_restore(queue, &record, STAGE_REPLIED));
    assert_int_equal(send_queue_remember_settled(queue, "n2", 1), 1);
    struct send_queue_view view = look(queue);
    assert_int_equal(view.undelivered, 1);
    assert_int_equal(view.recorded, 1);
    assert_int_equal(view.oldest_recorded_ms, 3000);
    queue_fixture_take_and_settle(queue, "n1");
    assert_int_equal(look(queue).recorded, 0);
}

/* A row whose createdAt cannot be read must not look as old as 1970. */
static void test_missing_created_at_is_when_it_was_listed(void **state)
{
    struct send_queue *queue = *state;
    int64_t began_ms = clock_wall_ms();
    PAGE(queue, {"n1", "a", "", 0});
    assert_in_range(look(queue).oldest_undelivered_ms, began_ms, clock_wall_ms());
    EMPTY_PAGE(queue);
}

/* Until a millisecond has passed. */
static void let_time_pass(void)
{
    int64_t began_us = clock_monotonic_us();
    while (clock_monotonic_us() < began_us + 1000)
        continue;
}

static void test_wait_is_measured_from_ready_to_taken(void **state)
{
    struct send_queue *queue = *state;
    PAGE(queue, {"n1", "a", "", 1000});
    let_time_pass();
    struct entry *entry = queue_fixture_take(queue, "n1");
    assert_true(entry->queue.waited_us >= 1000);
    int64_t known_us = entry->queue.known_us;
    let_time_pass();
    /* Time with a worker does not count as waiting. */
    queue_fixture_finish(queue, entry, STAGE_REPLIED, 0);
    int64_t given_back_us = clock_monotonic_us();
    entry = queue_fixture_take(queue, "n1");
    assert_true(entry->queue.ready_us <= given_back_us && entry->queue.ready_us >= known_us + 2000);
    assert_int_equal(entry->queue.known_us, known_us);
    queue_fixture_finish(queue, entry, STAGE_SETTLED, 0);
}

static void test_waiting_entries_are_listed_oldest_first(void **state)
{
    struct send_queue *queue = *state;
    struct send_queue_waiting list[3];
    size_t total;
    assert_int_equal(send_queue_list_waiting(queue, list, 3, &total), 0);
    assert_int_equal(total, 0);
    PAGE(queue, {"n1", "a", "", 1000}, {"n2", "b", "", 2000}, {"n3", "c", "", 3000},
        {"n4", "a", "", 4000}, {"n5", "a", "", 5000});
    struct entry *one = queue_fixture_take(queue, "n1");
    struct entry *two = queue_fixture_take(queue, "n2");
    text_copy(two->work.agent_slug, sizeof two->work.agent_slug, "jarvis");
    two->work.failure_class = FAILURE_RUN_FAILED;
    int64_t before_ms = clock_monotonic_ms();
    queue_fixture_finish(queue, two, STAGE_REPLIED, AN_HOUR_MS);
    assert_int_equal(send_queue_list_waiting(queue, list, 3, &total), 3);
    assert_int_equal(total, 4);
    assert_string_equal(list[0].id, "n2");
    assert_string_equal(list[0].agent, "jarvis");
    assert_int_equal(list[0].failure_class, FAILURE_RUN_FAILED);
    assert_int_equal(list[0].stage, STAGE_REPLIED);
    assert_int_equal(list[0].created_at_ms, 2000);
    assert_in_range(list[0].due_ms, before_ms + AN_HOUR_MS, clock_monotonic_ms() + AN_HOUR_MS);
    assert_string_equal(list[1].id, "n3");
    assert_string_equal(list[1].agent, "c");
    assert_int_equal(list[1].failure_class, FAILURE_NONE);
    assert_int_equal(list[1].due_ms, 0);
    assert_string_equal(list[2].id, "n4");
    queue_fixture_finish(queue, one, STAGE_SETTLED, 0);
    assert_int_equal(send_queue_list_waiting(queue, list, 1, &total), 1);
    assert_int_equal(total, 4);
}

/* Even if workers have many of the oldest, all others are listed; wake-ups never are. */
static void test_taken_entries_are_not_listed(void **state)
{
    enum { IN_HAND = 256, MAX = SEND_QUEUE_MAX_LISTED };
    struct send_queue *queue = *state;
    struct send_queue_waiting list[MAX];
    struct entry *in_hand[IN_HAND + 1];
    char agents[IN_HAND][ID_BYTES];
    size_t total;
    for (int i = 0; i < IN_HAND; i++) {
        snprintf(agents[i], sizeof agents[i], "agent-%d", i);
        const struct notification_row row = queue_fixture_row(agents[i], agents[i], i + 1);
        queue_fixture_page(queue, true, &row, 1);
        in_hand[i] = queue_fixture_take(queue, agents[i]);
    }
    assert_true(send_queue_wake(queue, "sleeper", AN_HOUR_MS));
    in_hand[IN_HAND] = queue_fixture_take(queue, "sleeper");
    struct many_rows many = many_rows_create("n", "busy", MAX + 50);
    for (size_t i = 0; i < many.count; i++)
        many.rows[i].created_at_ms += 1000;
    queue_fixture_page(queue, true, many.rows, many.count);
    assert_int_equal(send_queue_list_waiting(queue, list, MAX, &total), MAX);
    assert_int_equal(total, MAX + 50);
    assert_string_equal(list[0].id, "n-0");
    assert_string_equal(list[MAX - 1].id, many.ids[MAX - 1]);
    for (int i = 0; i <= IN_HAND; i++)
        queue_fixture_finish(queue, in_hand[i], STAGE_SETTLED, 0);
    many_rows_fini(&many);
}

#define WITH_QUEUE(test) \
    cmocka_unit_test_setup_teardown(test, queue_fixture_setup, queue_fixture_teardown)

static struct spool_record restored_record(const char *id)
{
    struct spool_record record = {.created_at_ms = 1, .runs = 2};
    text_copy(record.id, sizeof record.id, id);
    text_copy(record.agent_id, sizeof record.agent_id, "a");
    return record;
}

/* An operator retries it: its reply takes the place of what was known, and no page adds another. */
static void test_reserved_id_is_restored_in_place_of_the_settled_one(void **state)
{
    struct send_queue *queue = *state;
    const struct spool_record record = restored_record("n1");
    assert_int_equal(send_queue_remember_settled(queue, "n1", 1), 1);
    assert_true(send_queue_reserve_settled(queue, "n1"));
    /* Forgotten by a page without it, and not brought back by one with it. */
    EMPTY_PAGE(queue);
    PAGE(queue, {"n1", "a", "", 1});
    assert_int_equal(queue_fixture_counts(queue).held, 0);
    assert_true(send_queue_restore_settled(queue, &record));
    send_queue_end_reservation(queue);
    PAGE(queue, {"n1", "a", "", 1});
    assert_int_equal(queue_fixture_counts(queue).held, 1);
    struct entry *entry = queue_fixture_take(queue, "n1");
    assert_int_equal(entry->queue.stage, STAGE_REPLIED);
    assert_int_equal(entry->work.runs, 2);
    assert_false(send_queue_reserve_settled(queue, "n1"));
    queue_fixture_finish(queue, entry, STAGE_SETTLED, 0);
    assert_true(send_queue_reserve_settled(queue, "n1"));
    assert_true(send_queue_restore_settled(queue, &record));
    send_queue_end_reservation(queue);
    assert_int_equal(queue_fixture_counts(queue).settled, 0);
    queue_fixture_take_and_settle(queue, "n1");
}

/* A page that comes meanwhile and lists it must not have it forgotten and taken in as new. */
static void test_reserved_id_is_not_forgotten_while_it_is_listed(void **state)
{
    struct send_queue *queue = *state;
    assert_int_equal(send_queue_remember_settled(queue, "n1", 1), 1);
    assert_true(send_queue_reserve_settled(queue, "n1"));
    PAGE(queue, {"n1", "a", "", 1});
    assert_int_equal(queue_fixture_counts(queue).held, 1);
    send_queue_end_reservation(queue);
    PAGE(queue, {"n1", "a", "", 1});
    assert_int_equal(queue_fixture_counts(queue).ready, 0);
}

static void test_only_what_has_settled_or_is_unknown_is_reserved(void **state)
{
    struct send_queue *queue = *state;
    PAGE(queue, {"ready", "a", "", 1}, {"taken", "b", "", 2});
    struct entry *taken = queue_fixture_take(queue, "ready");
    assert_false(send_queue_reserve_settled(queue, "ready"));
    assert_false(send_queue_reserve_settled(queue, "taken"));
    assert_true(send_queue_reserve_settled(queue, "unknown"));
    send_queue_end_reservation(queue);
    queue_fixture_finish(queue, taken, STAGE_SETTLED, 0);
    send_queue_close(queue, 0);
    assert_false(send_queue_reserve_settled(queue, "ready"));
}

/* One without a reply: the next page that lists it is about something new. */
static void test_forgotten_settled_id_is_taken_in_again(void **state)
{
    struct send_queue *queue = *state;
    assert_int_equal(send_queue_remember_settled(queue, "n1", 1), 1);
    PAGE(queue, {"n1", "a", "", 1});
    assert_int_equal(queue_fixture_counts(queue).ready, 0);
    assert_true(send_queue_reserve_settled(queue, "n1"));
    send_queue_forget_settled(queue, "n1");
    send_queue_end_reservation(queue);
    PAGE(queue, {"n1", "a", "", 1});
    queue_fixture_take_and_settle(queue, "n1");
}

/* Per agent, over all its lanes; a wake-up is neither. */
static void test_load_of_an_agent_is_counted(void **state)
{
    struct send_queue *queue = *state;
    size_t running;
    size_t waiting;
    send_queue_use_session_lanes(queue, true);
    PAGE(queue, {"n1", "a", "t1", 1}, {"n2", "a", "t2", 2}, {"n3", "a", "t2", 3});
    assert_true(send_queue_wake(queue, "a", AN_HOUR_MS));
    struct entry *entry = queue_fixture_take(queue, "n1");
    send_queue_agent_load(queue, "a", &running, &waiting);
    assert_int_equal(running, 1);
    assert_int_equal(waiting, 2);
    queue_fixture_finish(queue, entry, STAGE_SETTLED, 0);
    send_queue_agent_load(queue, "a", &running, &waiting);
    assert_int_equal(running, 0);
    assert_int_equal(waiting, 2);
    send_queue_agent_load(queue, "other", &running, &waiting);
    assert_int_equal(running + waiting, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_QUEUE(test_reserved_id_is_restored_in_place_of_the_settled_one),
        WITH_QUEUE(test_reserved_id_is_not_forgotten_while_it_is_listed),
        WITH_QUEUE(test_only_what_has_settled_or_is_unknown_is_reserved),
        WITH_QUEUE(test_forgotten_settled_id_is_taken_in_again),
        WITH_QUEUE(test_load_of_an_agent_is_counted),
        WITH_QUEUE(test_view_follows_each_step),
        WITH_QUEUE(test_records_are_counted_until_they_end),
        WITH_QUEUE(test_restored_entries_are_counted),
        WITH_QUEUE(test_missing_created_at_is_when_it_was_listed),
        WITH_QUEUE(test_wait_is_measured_from_ready_to_taken),
        WITH_QUEUE(test_waiting_entries_are_listed_oldest_first),
        WITH_QUEUE(test_taken_entries_are_not_listed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
