/* The runtime dies exactly at each boundary between two steps of a delivery, and is started again.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "fault_env.h"

enum { NOTIFICATIONS = 5, STOP_AT = 3 /* the notification at which it dies */ };

static int setup(void **state)
{
    int result = fault_env_setup(state);
    if (result == 0)
        ((struct fault_env *)*state)->env->runtime_program = "stop-points/mission-control-runtime";
    return result;
}

/* Loads a lane of notifications and has the runtime die; returns the records in its spool. */
static size_t die_at(struct fault_env *faults, const char *point, const char *max_runs)
{
    char stop_at[64];
    snprintf(stop_at, sizeof stop_at, "MISSION_CONTROL_STOP_AT=%s:%d", point, STOP_AT);
    json_decref(board_load(faults->env, NOTIFICATIONS, 1));
    fault_env_launch(faults, (const char *[]){stop_at, max_runs, NULL});
    assert_int_equal(process_wait_exit(&faults->env->runtime, TEST_WAIT_MS), 128 + SIGKILL);
    return history_add_spool(&faults->history, faults->state_dir);
}

/* What one death at a point leaves, and what it costs. */
struct cost {
    const char *point;
    size_t records; /* in the spool, at the death */
    size_t replies;
    long more_runs; /* requests to the agent beyond one for each notification */
};

static void expect(struct fault_env *faults, const struct cost *cost)
{
    const struct history_rules rules = {.max_runs = 2, .lost_answers = cost->more_runs > 0};
    assert_int_equal(die_at(faults, cost->point, "DELIVERY_MAX_RUNS=2"), cost->records);
    assert_int_equal(json_object_size(faults->history.spooled), cost->replies);
    fault_env_start(faults, (const char *[]){"DELIVERY_MAX_RUNS=2", NULL});
    fault_env_settle(faults, &rules);
    assert_int_equal(
        test_env_stat(faults->env, "gateway", "deliveries"), NOTIFICATIONS + cost->more_runs);
}

static void test_death_before_the_send_asks_once(void **state)
{
    expect(*state, &(struct cost){"before_send", 1, 0, 0});
}

static void test_death_before_the_reply_is_kept_asks_again(void **state)
{
    expect(*state, &(struct cost){"after_send", 1, 0, 1});
}

static void test_death_with_the_reply_kept_asks_nobody(void **state)
{
    expect(*state, &(struct cost){"after_spool", 1, 1, 0});
}

static void test_death_with_the_message_written_writes_no_other(void **state)
{
    expect(*state, &(struct cost){"after_create_message", 1, 1, 0});
}

static void test_death_with_the_mark_set_asks_nobody(void **state)
{
    expect(*state, &(struct cost){"after_mark", 1, 1, 0});
}

static void test_death_after_the_end_leaves_nothing(void **state)
{
    expect(*state, &(struct cost){"after_spool_remove", 0, 0, 0});
}

/* A run that was begun counts, whether or not the gateway saw it: with a budget of one it was all.
 */
static void expect_a_note(struct fault_env *faults, const char *point, long runs)
{
    const struct history_rules rules = {.max_runs = 1, .lost_answers = true, .notes = true};
    assert_int_equal(die_at(faults, point, "DELIVERY_MAX_RUNS=1"), 1);
    fault_env_start(faults, (const char *[]){"DELIVERY_MAX_RUNS=1", NULL});
    fault_env_settle(faults, &rules);
    assert_int_equal(test_env_stat(faults->env, "gateway", "deliveries"), runs);
}

static void test_death_before_the_send_spends_the_budget(void **state)
{
    expect_a_note(*state, "before_send", NOTIFICATIONS - 1);
}

static void test_death_after_the_send_spends_the_budget(void **state)
{
    expect_a_note(*state, "after_send", NOTIFICATIONS);
}

int main(void)
{
#define STOPPING(test) cmocka_unit_test_setup_teardown(test, setup, fault_env_teardown)
    const struct CMUnitTest tests[] = {
        STOPPING(test_death_before_the_send_asks_once),
        STOPPING(test_death_before_the_reply_is_kept_asks_again),
        STOPPING(test_death_with_the_reply_kept_asks_nobody),
        STOPPING(test_death_with_the_message_written_writes_no_other),
        STOPPING(test_death_with_the_mark_set_asks_nobody),
        STOPPING(test_death_after_the_end_leaves_nothing),
        STOPPING(test_death_before_the_send_spends_the_budget),
        STOPPING(test_death_after_the_send_spends_the_budget),
    };
    return cmocka_run_group_tests_name("stop_point", tests, NULL, NULL);
}
