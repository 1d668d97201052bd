/* Backend down, resetting, hanging or corrupting at each stage of a delivery: one run, one message.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "fault_env.h"

/*
 * Everything that can happen to a call on the wire, twice each. The header of an answer ends
 * between its 90th and its 115th byte; corrupting its end would only make the call wait.
 */
static void expect_one_run_despite_faults_of(struct fault_env *faults, const char *action)
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
        fault_env_load(faults, 4, 2);
        fault_proxy_wait_hits(faults->backend, fault.kind, before + fault.times);
        test_env_wait(faults->env, "undelivered=0");
    }
    fault_env_settle(faults, &fault_env_strict);
}

static void test_faulty_list_costs_no_run(void **state)
{
    expect_one_run_despite_faults_of(*state, "listUndeliveredNotifications");
}

static void test_faulty_context_costs_no_run(void **state)
{
    expect_one_run_despite_faults_of(*state, "getNotificationForDelivery");
}

static void test_faulty_message_is_written_once(void **state)
{
    expect_one_run_despite_faults_of(*state, "createMessageFromAgent");
}

static void test_faulty_mark_costs_no_run(void **state)
{
    expect_one_run_despite_faults_of(*state, "markNotificationDelivered");
}

/* More failures than any run budget: backend failures are never charged to it. */
static void test_stage_that_keeps_failing_resumes_in_place(void **state)
{
    static const char *const functions[] = {"listUndeliveredNotifications",
        "getNotificationForDelivery", "createMessageFromAgent", "markNotificationDelivered"};
    struct fault_env *faults = *state;
    fault_env_start(faults, STRINGS("DELIVERY_BACKOFF_BASE_MS=5", "DELIVERY_BACKOFF_MAX_MS=20"));
    for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++) {
        unsigned before = fault_proxy_hits(faults->backend, FAULT_RESET);
        FAULT(faults->backend, .kind = FAULT_RESET, .match = functions[i]);
        fault_env_load(faults, 2, 2);
        fault_proxy_wait_hits(faults->backend, FAULT_RESET, before + 20);
        FAULT(faults->backend, .kind = FAULT_NONE);
        test_env_wait(faults->env, "undelivered=0");
    }
    fault_env_settle(faults, &fault_env_strict);
}

static void answer_marks(struct fault_env *faults, const char *behaviour, const char *body)
{
    board_backend_fault(faults->env,
        json_pack("{s:s, s:s, s:i, s:s, s:i, s:s}", "action", "markNotificationDelivered",
            "behaviour", behaviour, "status", 200, "body", body, "times", 1, "name", "mark"));
}

/* Whether or not the backend took it, a mark is repeated until it says so. */
static void test_mark_without_success_is_repeated(void **state)
{
    static const char *const bodies[] = {"{\"status\":\"success\",\"value\":null}",
        "{\"status\":\"success\",\"value\":{\"success\":false}}", "<html>welcome</html>"};
    enum { BODIES = sizeof bodies / sizeof bodies[0] };
    struct fault_env *faults = *state;
    char marks[64];
    for (size_t i = 0; i < BODIES; i++) {
        answer_marks(faults, "status", bodies[i]);
        answer_marks(faults, "status_after", bodies[i]);
    }
    fault_env_load(faults, 1, 1);
    fault_env_start(faults, STRINGS("DELIVERY_BACKOFF_BASE_MS=5", "DELIVERY_BACKOFF_MAX_MS=20"));
    snprintf(marks, sizeof marks, "action=markNotificationDelivered&calls=%d", 2 * BODIES + 1);
    test_env_wait(faults->env, marks);
    fault_env_settle(faults, &fault_env_strict);
    assert_int_equal(board_fault_hits(faults->env, "mark"), 2 * BODIES);
    assert_int_equal(json_array_size(faults->history.marks), 2 * BODIES + 1);
}

/* The backend confirms a mark and loses it: the list tells, and only the mark is made up for. */
static void test_lost_mark_is_made_up_for(void **state)
{
    struct fault_env *faults = *state;
    answer_marks(faults, "status", "{\"status\":\"success\",\"value\":{\"success\":true}}");
    fault_env_load(faults, 2, 1);
    fault_env_start(faults, STRINGS("DELIVERY_INTERVAL=200"));
    test_env_wait(faults->env, "delivered=1");
    fault_env_settle(faults, &fault_env_strict);
    assert_int_equal(board_fault_hits(faults->env, "mark"), 1);
    assert_int_equal(json_array_size(faults->history.marks), 3);
    assert_int_equal(json_array_size(faults->history.requests), 2);
    test_env_wait_log(faults->env, "marking them as delivered again");
}

static void test_backend_down_at_startup_is_waited_for(void **state)
{
    struct fault_env *faults = *state;
    fault_env_load(faults, 6, 3);
    FAULT(faults->backend, .kind = FAULT_REFUSE);
    fault_env_start(faults, NULL);
    test_env_wait_log(faults->env, "Failed to connect");
    assert_int_equal(test_env_stat(faults->env, "gateway", "requests"), 0);
    FAULT(faults->backend, .kind = FAULT_NONE);
    fault_env_settle(faults, &fault_env_strict);
}

static void test_backend_outage_during_runs_loses_no_reply(void **state)
{
    struct fault_env *faults = *state;
    fault_env_load(faults, 6, 6);
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

static void wait_failed_write(struct fault_env *faults, const char *id)
{
    char words[128];
    snprintf(words, sizeof words, "Failed to deliver %s createMessageFromAgent", id);
    test_env_wait_log(faults->env, words);
}

/* Killed during a backend outage: the replies on disk are the ones that are written. */
static void test_replies_survive_a_kill_during_a_backend_outage(void **state)
{
    struct fault_env *faults = *state;
    json_t *rows = board_load(faults->env, 6, 6);
    FAULT(faults->backend, .kind = FAULT_RESET, .match = "createMessageFromAgent");
    fault_env_start(faults, NULL);
    for (size_t i = 0; i < json_array_size(rows); i++)
        wait_failed_write(faults, board_string(json_array_get(rows, i), "id"));
    json_decref(rows);
    assert_int_equal(fault_env_kill_runtime(faults), 6);
    assert_int_equal(json_object_size(faults->history.spooled), 6);
    FAULT(faults->backend, .kind = FAULT_NONE);
    fault_env_start(faults, NULL);
    fault_env_settle(faults, &fault_env_strict);
}

/* A call that never returns blocks its own lane only. */
static void test_hanging_call_delays_no_other_agent(void **state)
{
    struct fault_env *faults = *state;
    FAULT(faults->backend, .kind = FAULT_HANG, .times = 1, .match = "createMessageFromAgent");
    fault_env_load(faults, 10, 5);
    fault_env_start(faults, NULL);
    fault_proxy_wait_hits(faults->backend, FAULT_HANG, 1);
    test_env_wait(faults->env, "delivered=8");
    fault_proxy_drop_connections(faults->backend);
    fault_env_settle(faults, &fault_env_strict);
}

static void test_slow_backend_costs_no_run(void **state)
{
    struct fault_env *faults = *state;
    FAULT(faults->backend, .kind = FAULT_DELAY_ANSWER, .delay_ms = 100);
    fault_env_load(faults, 20, 10);
    fault_env_start(faults, NULL);
    fault_env_settle(faults, &fault_env_strict);
    assert_true(fault_proxy_hits(faults->backend, FAULT_DELAY_ANSWER) >= 60);
}

/* Each list is stale on arrival: its notifications have been delivered meanwhile. */
static void test_stale_lists_start_no_second_run(void **state)
{
    enum { LOOKS_IN_VAIN = 10 };
    struct fault_env *faults = *state;
    board_set(faults->env, json_pack("{s:i}", "gateway_latency_ms", 10));
    FAULT(faults->backend, .kind = FAULT_DELAY_ANSWER, .delay_ms = 70,
        .match = "listUndeliveredNotifications");
    fault_env_start(faults, STRINGS("DELIVERY_INTERVAL=10"));
    for (int i = 0; i < 10; i++) {
        unsigned lists = fault_proxy_hits(faults->backend, FAULT_DELAY_ANSWER);
        fault_env_load(faults, 20, 5);
        fault_proxy_wait_hits(faults->backend, FAULT_DELAY_ANSWER, lists + 1);
    }
    fault_env_settle(faults, &fault_env_strict);
    /*
     * They were not even read again, but for the few that were looked at ahead of their turn;
     * reading a context would also have prevented a second run.
     */
    assert_in_range(test_env_stat(faults->env, "backend", "getNotificationForDelivery"), 200,
        200 + LOOKS_IN_VAIN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_IN_FAULT_ENV(test_faulty_list_costs_no_run),
        TEST_IN_FAULT_ENV(test_faulty_context_costs_no_run),
        TEST_IN_FAULT_ENV(test_faulty_message_is_written_once),
        TEST_IN_FAULT_ENV(test_faulty_mark_costs_no_run),
        TEST_IN_FAULT_ENV(test_stage_that_keeps_failing_resumes_in_place),
        TEST_IN_FAULT_ENV(test_mark_without_success_is_repeated),
        TEST_IN_FAULT_ENV(test_lost_mark_is_made_up_for),
        TEST_IN_FAULT_ENV(test_backend_down_at_startup_is_waited_for),
        TEST_IN_FAULT_ENV(test_backend_outage_during_runs_loses_no_reply),
        TEST_IN_FAULT_ENV(test_replies_survive_a_kill_during_a_backend_outage),
        TEST_IN_FAULT_ENV(test_hanging_call_delays_no_other_agent),
        TEST_IN_FAULT_ENV(test_slow_backend_costs_no_run),
        TEST_IN_FAULT_ENV(test_stale_lists_start_no_second_run),
    };
    return cmocka_run_group_tests_name("backend_faults", tests, NULL, NULL);
}
