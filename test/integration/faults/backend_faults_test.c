/* The backend away, cut off or talking rubbish, at each step of a delivery: one run, one message.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "fault_env.h"

static void load(struct fault_env *faults, int count, int agents)
{
    json_decref(board_load(faults->env, count, agents));
}

/*
 * Everything that can happen to a call on its way, twice each. The headers of an answer end before
 * its 115th byte and after the 90th: what spoils their end would only make the call wait.
 */
static void expect_one_run_despite_faults_at(struct fault_env *faults, const char *action)
{
    static const struct fault kinds[] = {
        {.kind = FAULT_RESET},
        {.kind = FAULT_RESET_REQUEST, .after_bytes = 20},
        {.kind = FAULT_RESET_REQUEST, .after_bytes = 300},
        {.kind = FAULT_RESET_ANSWER},
        {.kind = FAULT_RESET_ANSWER, .after_bytes = 40},
        {.kind = FAULT_CUT_ANSWER},
        {.kind = FAULT_CUT_ANSWER, .after_bytes = 90},
        {.kind = FAULT_CORRUPT_ANSWER},
        {.kind = FAULT_CORRUPT_ANSWER, .after_bytes = 115},
        {.kind = FAULT_DELAY_ANSWER, .delay_ms = 30},
    };
    fault_env_start(faults, NULL);
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        struct fault fault = kinds[i];
        unsigned before = fault_proxy_hits(faults->backend, fault.kind);
        fault.match = action;
        fault.times = 2;
        fault_proxy_set(faults->backend, &fault);
        load(faults, 4, 2);
        fault_proxy_wait_hits(faults->backend, fault.kind, before + fault.times);
        test_env_wait(faults->env, "undelivered=0");
    }
    fault_env_settle(faults, &fault_env_strict);
}

static void test_list_that_is_spoiled_costs_no_run(void **state)
{
    expect_one_run_despite_faults_at(*state, "listUndeliveredNotifications");
}

static void test_context_that_is_spoiled_costs_no_run(void **state)
{
    expect_one_run_despite_faults_at(*state, "getNotificationForDelivery");
}

static void test_message_that_is_spoiled_is_written_once(void **state)
{
    expect_one_run_despite_faults_at(*state, "createMessageFromAgent");
}

static void test_mark_that_is_spoiled_costs_no_run(void **state)
{
    expect_one_run_despite_faults_at(*state, "markNotificationDelivered");
}

/* Longer than any budget: backend failures are not counted, whatever their number. */
static void test_step_that_fails_for_long_resumes_where_it_was(void **state)
{
    static const char *const steps[] = {"listUndeliveredNotifications",
        "getNotificationForDelivery", "createMessageFromAgent", "markNotificationDelivered"};
    struct fault_env *faults = *state;
    fault_env_start(
        faults, (const char *[]){"DELIVERY_BACKOFF_BASE_MS=5", "DELIVERY_BACKOFF_MAX_MS=20", NULL});
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        unsigned before = fault_proxy_hits(faults->backend, FAULT_RESET);
        FAULT(faults->backend, .kind = FAULT_RESET, .match = steps[i]);
        load(faults, 2, 2);
        fault_proxy_wait_hits(faults->backend, FAULT_RESET, before + 20);
        FAULT(faults->backend, .kind = FAULT_NONE);
        test_env_wait(faults->env, "undelivered=0");
    }
    fault_env_settle(faults, &fault_env_strict);
}

static void test_backend_away_at_the_start_is_waited_for(void **state)
{
    struct fault_env *faults = *state;
    load(faults, 6, 3);
    FAULT(faults->backend, .kind = FAULT_REFUSE);
    fault_env_start(faults, NULL);
    test_env_wait_log(faults->env, "Failed to connect");
    assert_int_equal(test_env_stat(faults->env, "gateway", "requests"), 0);
    FAULT(faults->backend, .kind = FAULT_NONE);
    fault_env_settle(faults, &fault_env_strict);
}

static void test_backend_away_while_agents_work_loses_no_reply(void **state)
{
    struct fault_env *faults = *state;
    load(faults, 6, 6);
    board_hold_agents(faults->env, "agents");
    fault_env_start(faults, NULL);
    test_env_wait(faults->env, "in_flight=6");
    FAULT(faults->backend, .kind = FAULT_REFUSE);
    fault_proxy_drop_connections(faults->backend);
    board_release(faults->env, "agents");
    test_env_wait(faults->env, "answered=6");
    test_env_wait_log(faults->env, "createMessageFromAgent: Failed to connect");
    assert_int_equal(test_env_stat(faults->env, NULL, "replies"), 0);
    FAULT(faults->backend, .kind = FAULT_NONE);
    fault_env_settle(faults, &fault_env_strict);
}

static void wait_for_failed_write(struct fault_env *faults, const char *id)
{
    char words[128];
    snprintf(words, sizeof words, "Failed to deliver %s createMessageFromAgent", id);
    test_env_wait_log(faults->env, words);
}

/* Killed while the backend is away: the replies lie on disk and are the ones that are written. */
static void test_replies_outlive_a_kill_while_the_backend_is_away(void **state)
{
    struct fault_env *faults = *state;
    json_t *rows = board_load(faults->env, 6, 6);
    FAULT(faults->backend, .kind = FAULT_RESET, .match = "createMessageFromAgent");
    fault_env_start(faults, NULL);
    for (size_t i = 0; i < json_array_size(rows); i++)
        wait_for_failed_write(faults, board_string(json_array_get(rows, i), "id"));
    json_decref(rows);
    assert_int_equal(fault_env_kill_runtime(faults), 6);
    assert_int_equal(json_object_size(faults->history.spooled), 6);
    FAULT(faults->backend, .kind = FAULT_NONE);
    fault_env_start(faults, NULL);
    fault_env_settle(faults, &fault_env_strict);
}

/* One call that never ends keeps its own lane, nobody else's. */
static void test_hanging_call_delays_no_other_agent(void **state)
{
    struct fault_env *faults = *state;
    FAULT(faults->backend, .kind = FAULT_HANG, .times = 1, .match = "createMessageFromAgent");
    load(faults, 10, 5);
    fault_env_start(faults, NULL);
    fault_proxy_wait_hits(faults->backend, FAULT_HANG, 1);
    test_env_wait(faults->env, "delivered=8");
    fault_proxy_drop_connections(faults->backend);
    fault_env_settle(faults, &fault_env_strict);
}

static void test_slow_backend_changes_nothing(void **state)
{
    struct fault_env *faults = *state;
    FAULT(faults->backend, .kind = FAULT_DELAY_ANSWER, .delay_ms = 100);
    load(faults, 20, 10);
    fault_env_start(faults, NULL);
    fault_env_settle(faults, &fault_env_strict);
    assert_true(fault_proxy_hits(faults->backend, FAULT_DELAY_ANSWER) >= 60);
}

/* Each list is old when it comes: what it names has been delivered meanwhile. */
static void test_lists_that_come_late_run_nobody_again(void **state)
{
    struct fault_env *faults = *state;
    board_set(faults->env, json_pack("{s:i}", "gateway_latency_ms", 10));
    FAULT(faults->backend, .kind = FAULT_DELAY_ANSWER, .delay_ms = 70,
        .match = "listUndeliveredNotifications");
    fault_env_start(faults, (const char *[]){"DELIVERY_INTERVAL=10", NULL});
    for (int i = 0; i < 10; i++) {
        unsigned lists = fault_proxy_hits(faults->backend, FAULT_DELAY_ANSWER);
        load(faults, 20, 5);
        fault_proxy_wait_hits(faults->backend, FAULT_DELAY_ANSWER, lists + 1);
    }
    fault_env_settle(faults, &fault_env_strict);
    /* Not even looked at again: the context would have stopped a second run, too. */
    assert_int_equal(test_env_stat(faults->env, "backend", "getNotificationForDelivery"), 200);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_IN_FAULT_ENV(test_list_that_is_spoiled_costs_no_run),
        TEST_IN_FAULT_ENV(test_context_that_is_spoiled_costs_no_run),
        TEST_IN_FAULT_ENV(test_message_that_is_spoiled_is_written_once),
        TEST_IN_FAULT_ENV(test_mark_that_is_spoiled_costs_no_run),
        TEST_IN_FAULT_ENV(test_step_that_fails_for_long_resumes_where_it_was),
        TEST_IN_FAULT_ENV(test_backend_away_at_the_start_is_waited_for),
        TEST_IN_FAULT_ENV(test_backend_away_while_agents_work_loses_no_reply),
        TEST_IN_FAULT_ENV(test_replies_outlive_a_kill_while_the_backend_is_away),
        TEST_IN_FAULT_ENV(test_hanging_call_delays_no_other_agent),
        TEST_IN_FAULT_ENV(test_slow_backend_changes_nothing),
        TEST_IN_FAULT_ENV(test_lists_that_come_late_run_nobody_again),
    };
    return cmocka_run_group_tests_name("backend_faults", tests, NULL, NULL);
}
