/*
 * The wake-up schedule, with a clock that the test controls. Spreading and jitter are random, so
 * tests assert ranges.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "agents/agents.h"
#include "base/sync.h"
#include "base/text.h"

enum { START = 1000000, MAX_AGENTS = 64 };

static const int64_t MINUTE_MS = 60000;

static int setup(void **state)
{
    struct wake_schedule *schedule;
    assert_int_equal(wake_schedule_create(&schedule, NULL), 0);
    *state = schedule;
    return 0;
}

static int teardown(void **state)
{
    wake_schedule_destroy(*state);
    return 0;
}

static struct agent make_agent(const char *id, int64_t interval_ms)
{
    struct agent agent = {.heartbeat_interval_ms = interval_ms};
    text_copy(agent.id, sizeof agent.id, id);
    text_copy(agent.slug, sizeof agent.slug, id);
    return agent;
}

/* Updates the schedule with count agents a0, a1, ... */
static struct wake_changes list_agents(
    struct wake_schedule *schedule, size_t count, int64_t interval_ms, int64_t now_ms)
{
    struct agent agents[MAX_AGENTS];
    struct wake_changes changes;
    for (size_t i = 0; i < count; i++) {
        char id[ID_BYTES];
        snprintf(id, sizeof id, "a%zu", i);
        agents[i] = make_agent(id, interval_ms);
    }
    const struct agent_list list = {.agents = agents, .count = count};
    assert_int_equal(wake_schedule_update(schedule, &list, now_ms, &changes, NULL), 0);
    return changes;
}

static struct wake_changes list_agent(
    struct wake_schedule *schedule, const struct agent *agent, int64_t now_ms)
{
    struct wake_changes changes;
    struct agent copy = *agent;
    const struct agent_list list = {.agents = &copy, .count = 1};
    assert_int_equal(wake_schedule_update(schedule, &list, now_ms, &changes, NULL), 0);
    return changes;
}

/* Takes the next due agent; returns when it is due, now_ms at the earliest, or -1 if none is. */
static int64_t next_due(struct wake_schedule *schedule, int64_t now_ms, char id[static ID_BYTES])
{
    int64_t next_ms;
    if (wake_schedule_take(schedule, now_ms, id, &next_ms))
        return now_ms;
    if (next_ms == SYNC_NO_DEADLINE)
        return -1;
    assert_true(wake_schedule_take(schedule, next_ms, id, &(int64_t){0}));
    return next_ms;
}

static void test_single_agent_is_woken_at_once(void **state)
{
    char id[ID_BYTES];
    list_agents(*state, 1, MINUTE_MS, START);
    assert_int_equal(next_due(*state, START, id), START);
    assert_string_equal(id, "a0");
    assert_int_equal(next_due(*state, START, id), -1);
}

/* 40 agents with 15 minutes are spread over two minutes, in order, with at most 2 s of jitter. */
static void test_many_agents_are_spread_at_startup(void **state)
{
    enum { AGENTS = 40, SPREAD_MS = 2 * 60 * 1000 };
    int64_t now_ms = START;
    char id[ID_BYTES];
    list_agents(*state, AGENTS, 15 * MINUTE_MS, START);
    for (int i = 0; i < AGENTS; i++) {
        now_ms = next_due(*state, now_ms, id);
        int64_t place = strtol(id + 1, NULL, 10);
        int64_t offset_ms = now_ms - START - place * SPREAD_MS / AGENTS;
        assert_in_range(offset_ms, 0, 2000);
    }
    assert_int_equal(next_due(*state, now_ms, id), -1);
}

static void test_short_intervals_are_spread_over_less_time(void **state)
{
    char id[ID_BYTES];
    int64_t now_ms = START;
    list_agents(*state, 10, 1000, START);
    for (int i = 0; i < 10; i++)
        now_ms = next_due(*state, now_ms, id);
    assert_in_range(now_ms - START, 0, 400 + 1000);
}

static void test_next_wake_is_an_interval_plus_jitter_later(void **state)
{
    char id[ID_BYTES];
    list_agents(*state, 1, 5 * MINUTE_MS, START);
    int64_t now_ms = START;
    for (int i = 0; i < 100; i++) {
        int64_t due_ms = next_due(*state, now_ms, id);
        if (i > 0)
            assert_in_range(due_ms - now_ms, 5 * MINUTE_MS, 5 * MINUTE_MS + 30000);
        now_ms = due_ms + 1234;
        wake_schedule_done(*state, id, now_ms);
    }
}

static void test_short_intervals_have_short_jitter(void **state)
{
    char id[ID_BYTES];
    list_agents(*state, 1, 600, START);
    next_due(*state, START, id);
    wake_schedule_done(*state, id, START);
    assert_in_range(next_due(*state, START, id) - START, 600, 1200);
}

static void test_agent_being_woken_is_not_due(void **state)
{
    char id[ID_BYTES];
    int64_t next_ms;
    list_agents(*state, 1, 1000, START);
    next_due(*state, START, id);
    assert_false(wake_schedule_take(*state, START + 60 * MINUTE_MS, id, &next_ms));
    assert_true(next_ms == SYNC_NO_DEADLINE);
}

static void test_new_agents_are_woken_soon(void **state)
{
    char id[ID_BYTES];
    list_agents(*state, 1, 15 * MINUTE_MS, START);
    next_due(*state, START, id);
    struct wake_changes changes = list_agents(*state, 3, 15 * MINUTE_MS, START + MINUTE_MS);
    assert_int_equal(changes.added, 2);
    assert_int_equal(changes.total, 3);
    for (int i = 0; i < 2; i++)
        assert_in_range(next_due(*state, START + MINUTE_MS, id) - START - MINUTE_MS, 0, 2000);
}

/* Only the first list spreads its agents, even if it is empty and however late it comes. */
static void test_agents_after_an_empty_list_count_as_new(void **state)
{
    char id[ID_BYTES];
    list_agents(*state, 0, 0, START);
    list_agents(*state, 20, 15 * MINUTE_MS, START);
    for (int i = 0; i < 20; i++)
        assert_in_range(next_due(*state, START, id) - START, 0, 2000);
}

static void test_removed_agents_are_not_woken(void **state)
{
    char id[ID_BYTES];
    list_agents(*state, 3, MINUTE_MS, START);
    struct wake_changes changes = list_agents(*state, 1, MINUTE_MS, START);
    assert_int_equal(changes.removed, 2);
    assert_int_equal(wake_schedule_count(*state), 1);
    next_due(*state, START, id);
    assert_string_equal(id, "a0");
    assert_int_equal(next_due(*state, START, id), -1);
    /* An agent that was removed while being woken is not rescheduled. */
    list_agents(*state, 0, 0, START);
    wake_schedule_done(*state, id, START);
    assert_int_equal(next_due(*state, START, id), -1);
}

static void test_changed_fields_apply_at_once(void **state)
{
    struct agent agent = make_agent("a0", MINUTE_MS);
    struct agent found;
    list_agent(*state, &agent, START);
    text_copy(agent.name, sizeof agent.name, "Renamed");
    text_copy(agent.session_key, sizeof agent.session_key, "agent:other:key");
    struct wake_changes changes = list_agent(*state, &agent, START);
    assert_int_equal(changes.added + changes.removed, 0);
    assert_true(wake_schedule_find(*state, "a0", &found));
    assert_string_equal(found.name, "Renamed");
    assert_string_equal(found.session_key, "agent:other:key");
    assert_false(wake_schedule_find(*state, "a1", &found));
}

static void test_changed_interval_reschedules_a_waiting_agent(void **state)
{
    char id[ID_BYTES];
    list_agents(*state, 1, 60 * MINUTE_MS, START);
    next_due(*state, START, id);
    wake_schedule_done(*state, id, START);
    list_agents(*state, 1, MINUTE_MS, START + 5);
    assert_in_range(next_due(*state, START + 5, id) - START - 5, 0, 2000);
    /* An unchanged list does not reschedule. */
    wake_schedule_done(*state, id, START + 5);
    list_agents(*state, 1, MINUTE_MS, START + 6);
    assert_true(next_due(*state, START + 6, id) >= START + 5 + MINUTE_MS);
}

static void test_changed_interval_during_a_wake_keeps_one_schedule(void **state)
{
    char id[ID_BYTES];
    list_agents(*state, 1, 60 * MINUTE_MS, START);
    next_due(*state, START, id);
    list_agents(*state, 1, MINUTE_MS, START + 5);
    assert_int_equal(next_due(*state, START + 5, id), -1);
    wake_schedule_done(*state, "a0", START + 10);
    int64_t due_ms = next_due(*state, START + 10, id);
    assert_in_range(due_ms - START - 10, MINUTE_MS, MINUTE_MS + 30000);
    assert_int_equal(next_due(*state, due_ms, id), -1);
}

/*
 * Removed and listed again while its old wake-up runs: the end of that must not schedule it twice.
 */
static void test_agent_listed_again_has_one_schedule(void **state)
{
    char id[ID_BYTES];
    list_agents(*state, 1, MINUTE_MS, START);
    next_due(*state, START, id);
    list_agents(*state, 0, 0, START);
    list_agents(*state, 1, MINUTE_MS, START);
    wake_schedule_done(*state, "a0", START);
    int64_t due_ms = next_due(*state, START, id);
    assert_in_range(due_ms - START, 0, 2000);
    assert_int_equal(next_due(*state, due_ms, id), -1);
}

static void test_postponed_agents_are_spread(void **state)
{
    enum { AGENTS = 40 };
    char id[ID_BYTES];
    int64_t now_ms = START;
    int64_t first_ms = INT64_MAX;
    int64_t last_ms = 0;
    list_agents(*state, AGENTS, 15 * MINUTE_MS, START);
    for (int i = 0; i < AGENTS; i++)
        now_ms = next_due(*state, now_ms, id);
    for (int i = 0; i < AGENTS; i++) {
        snprintf(id, sizeof id, "a%d", i);
        wake_schedule_postpone(*state, id, now_ms);
    }
    for (int i = 0; i < AGENTS; i++) {
        int64_t due_ms = next_due(*state, now_ms, id);
        assert_true(due_ms > now_ms);
        first_ms = due_ms < first_ms ? due_ms : first_ms;
        last_ms = due_ms > last_ms ? due_ms : last_ms;
    }
    assert_in_range(last_ms - first_ms, 10000, 2 * MINUTE_MS + 2000);
}

static void test_overdue_agents_are_spread_after_suspend(void **state)
{
    enum { AGENTS = 40 };
    char id[ID_BYTES];
    int64_t now_ms = START + 60 * MINUTE_MS;
    int64_t next_ms = 0;
    int at_once = 0;
    list_agents(*state, AGENTS, 15 * MINUTE_MS, START);
    while (wake_schedule_take(*state, now_ms, id, &next_ms))
        at_once++;
    assert_true(at_once < 5);
    assert_true(next_ms > now_ms);
}

static bool owes_report(struct wake_schedule *schedule, const char *id, int64_t now_ms)
{
    struct agent agent = {0};
    bool owes = wake_schedule_owes_report(schedule, id, now_ms, &agent);
    assert_string_equal(agent.id, owes ? id : "");
    return owes;
}

static void test_busy_agent_is_reported_once_per_interval(void **state)
{
    char id[ID_BYTES];
    list_agents(*state, 1, 5 * MINUTE_MS, START);
    /* Not due yet: the wake-up itself reports the agent online. */
    next_due(*state, START, id);
    wake_schedule_record_online(*state, id, START);
    wake_schedule_done(*state, id, START);
    assert_false(owes_report(*state, id, START + 6 * MINUTE_MS));
    next_due(*state, START, id);
    assert_false(owes_report(*state, id, START + MINUTE_MS));
    assert_true(owes_report(*state, id, START + 6 * MINUTE_MS));
    assert_false(owes_report(*state, id, START + 7 * MINUTE_MS));
    assert_true(owes_report(*state, id, START + 11 * MINUTE_MS));
    assert_false(owes_report(*state, "a9", START));
}

/* Of two agents with the same id the first counts, in every list. */
static void test_three_failed_wakes_in_a_row_are_counted(void **state)
{
    list_agents(*state, 2, MINUTE_MS, START);
    for (int i = 0; i < WAKE_FAILURES - 1; i++)
        wake_schedule_record_wake(*state, "a0", false);
    assert_int_equal(wake_schedule_count_failing(*state), 0);
    wake_schedule_record_wake(*state, "a0", false);
    wake_schedule_record_wake(*state, "a1", true);
    wake_schedule_record_wake(*state, "unknown", false);
    assert_int_equal(wake_schedule_count_failing(*state), 1);
    wake_schedule_record_wake(*state, "a0", true);
    assert_int_equal(wake_schedule_count_failing(*state), 0);
}

/* An agent that is gone from the board is nobody's worry any more. */
static void test_removed_agents_do_not_count_as_failing(void **state)
{
    list_agents(*state, 2, MINUTE_MS, START);
    for (int i = 0; i < WAKE_FAILURES; i++)
        wake_schedule_record_wake(*state, "a1", false);
    assert_int_equal(wake_schedule_count_failing(*state), 1);
    list_agents(*state, 1, MINUTE_MS, START);
    assert_int_equal(wake_schedule_count_failing(*state), 0);
}

static void test_agent_listed_twice_counts_once(void **state)
{
    char id[ID_BYTES];
    struct agent agents[2] = {make_agent("a0", 5 * MINUTE_MS), make_agent("a0", MINUTE_MS)};
    const struct agent_list list = {.agents = agents, .count = 2};
    struct wake_changes changes;
    struct agent found;
    assert_int_equal(wake_schedule_update(*state, &list, START, &changes, NULL), 0);
    assert_int_equal(changes.added, 1);
    assert_int_equal(changes.total, 1);
    assert_true(next_due(*state, START, id) >= START);
    wake_schedule_done(*state, "a0", START);
    for (int i = 1; i <= 4; i++) {
        assert_int_equal(
            wake_schedule_update(*state, &list, START + i * MINUTE_MS, &changes, NULL), 0);
        assert_int_equal(changes.added + changes.removed, 0);
        assert_true(wake_schedule_find(*state, "a0", &found));
        assert_int_equal(found.heartbeat_interval_ms, 5 * MINUTE_MS);
    }
    assert_in_range(next_due(*state, START, id), START + 5 * MINUTE_MS, START + 6 * MINUTE_MS);
}

int main(void)
{
#define WITH_SCHEDULE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        WITH_SCHEDULE(test_single_agent_is_woken_at_once),
        WITH_SCHEDULE(test_many_agents_are_spread_at_startup),
        WITH_SCHEDULE(test_short_intervals_are_spread_over_less_time),
        WITH_SCHEDULE(test_next_wake_is_an_interval_plus_jitter_later),
        WITH_SCHEDULE(test_short_intervals_have_short_jitter),
        WITH_SCHEDULE(test_agent_being_woken_is_not_due),
        WITH_SCHEDULE(test_new_agents_are_woken_soon),
        WITH_SCHEDULE(test_agents_after_an_empty_list_count_as_new),
        WITH_SCHEDULE(test_removed_agents_are_not_woken),
        WITH_SCHEDULE(test_changed_fields_apply_at_once),
        WITH_SCHEDULE(test_changed_interval_reschedules_a_waiting_agent),
        WITH_SCHEDULE(test_changed_interval_during_a_wake_keeps_one_schedule),
        WITH_SCHEDULE(test_agent_listed_again_has_one_schedule),
        WITH_SCHEDULE(test_postponed_agents_are_spread),
        WITH_SCHEDULE(test_overdue_agents_are_spread_after_suspend),
        WITH_SCHEDULE(test_busy_agent_is_reported_once_per_interval),
        WITH_SCHEDULE(test_three_failed_wakes_in_a_row_are_counted),
        WITH_SCHEDULE(test_removed_agents_do_not_count_as_failing),
        WITH_SCHEDULE(test_agent_listed_twice_counts_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
