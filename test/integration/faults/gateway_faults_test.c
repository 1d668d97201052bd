/* Gateway down, hanging or resetting: which failures count as a run and which do not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/containers.h"
#include "fault_env.h"

static const struct history_rules one_run = {.max_runs = 1};

static void test_unreachable_gateway_costs_no_run(void **state)
{
    struct fault_env *faults = *state;
    fault_env_load(faults, 6, 3);
    FAULT(faults->gateway, .kind = FAULT_REFUSE);
    fault_env_start(faults, STRINGS("DELIVERY_MAX_RUNS=1"));
    test_env_wait_log(faults->env, "Failed to connect");
    assert_int_equal(test_env_stat(faults->env, "gateway", "posts"), 0);
    FAULT(faults->gateway, .kind = FAULT_NONE);
    fault_env_settle(faults, &one_run);
}

/* The runs in flight are lost and count; during the outage nothing more is counted. */
static void test_gateway_restart_costs_one_run_each(void **state)
{
    struct fault_env *faults = *state;
    fault_env_load(faults, 6, 3);
    board_gateway_fault(
        faults->env, json_pack("{s:s, s:s, s:i}", "action", "hold", "name", "cut", "times", 3));
    fault_env_start(faults, STRINGS("DELIVERY_MAX_RUNS=2"));
    test_env_wait(faults->env, "held=3");
    FAULT(faults->gateway, .kind = FAULT_REFUSE);
    fault_proxy_drop_connections(faults->gateway);
    test_env_wait_log(faults->env, "Failed to connect");
    FAULT(faults->gateway, .kind = FAULT_NONE);
    fault_env_settle(faults, &(struct history_rules){.max_runs = 2});
    assert_int_equal(test_env_stat(faults->env, "gateway", "deliveries"), 9);
}

/* While no agent can be run, no context is read for one. */
static void test_no_context_is_read_during_an_outage(void **state)
{
    struct fault_env *faults = *state;
    FAULT(faults->gateway, .kind = FAULT_REFUSE);
    fault_env_load(faults, 40, 8);
    fault_env_start(faults, STRINGS("DELIVERY_MAX_CONCURRENT_SESSIONS=4"));
    test_env_wait_log(faults->env, "Failed to connect");
    test_env_wait(faults->env, "action=listUndeliveredNotifications&calls=4");
    assert_true(test_env_stat(faults->env, "backend", "getNotificationForDelivery") <= 12);
    FAULT(faults->gateway, .kind = FAULT_NONE);
    fault_env_settle(faults, &one_run);
}

/* After our timeout the next attempt gets twice the time. */
static void test_slow_agent_gets_more_time(void **state)
{
    struct fault_env *faults = *state;
    char id[ID_BYTES];
    FAULT(faults->gateway, .kind = FAULT_DELAY_ANSWER, .delay_ms = 60000, .match = "## Notif",
        .times = 1);
    board_load_one(faults->env, id);
    fault_env_start(faults, STRINGS("OPENCLAW_REQUEST_TIMEOUT_MS=3000", "DELIVERY_MAX_RUNS=2"));
    fault_proxy_wait_hits(faults->gateway, FAULT_DELAY_ANSWER, 1);
    FAULT(faults->gateway, .kind = FAULT_DELAY_ANSWER, .delay_ms = 3100, .match = "## Notif");
    test_env_wait(faults->env, "undelivered=0");
    assert_int_equal(board_requests_for(faults->env, id), 2);
    fault_env_settle(faults, &(struct history_rules){.max_runs = 2, .lost_answers = true});
}

/* Faults after the request has gone out, or may have: each attempt counts, up to the budget. */
static void test_runs_that_may_have_happened_count(void **state)
{
    static const struct fault kinds[] = {
        {.kind = FAULT_RESET},
        {.kind = FAULT_RESET_REQUEST, .after_bytes = 100},
        {.kind = FAULT_HANG},
    };
    struct fault_env *faults = *state;
    fault_env_start(faults, STRINGS("DELIVERY_MAX_RUNS=3", "OPENCLAW_REQUEST_TIMEOUT_MS=600",
                                "DELIVERY_BACKOFF_BASE_MS=1"));
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        char id[ID_BYTES];
        struct fault fault = kinds[i];
        unsigned before = fault_proxy_hits(faults->gateway, fault.kind);
        fault.match = "## Notification";
        fault_proxy_set(faults->gateway, &fault);
        board_load_one(faults->env, id);
        test_env_wait(faults->env, "undelivered=0");
        /* The runtime may have given up before the proxy has read the last request. */
        fault_proxy_wait_hits(faults->gateway, fault.kind, before + 3);
        assert_int_equal(fault_proxy_hits(faults->gateway, fault.kind), before + 3);
        assert_int_equal(board_requests_for(faults->env, id), 0);
    }
    fault_env_settle(faults, &(struct history_rules){.max_runs = 3, .notes = true});
}

/* The agent was run but its answer is lost: one more run, whose reply is written. */
static void test_lost_answer_costs_one_run(void **state)
{
    static const struct fault kinds[] = {
        {.kind = FAULT_RESET_ANSWER},
        {.kind = FAULT_RESET_ANSWER, .after_bytes = 500},
        {.kind = FAULT_CUT_ANSWER},
        {.kind = FAULT_CUT_ANSWER, .after_bytes = 60},
        {.kind = FAULT_CUT_ANSWER, .after_bytes = 500},
        {.kind = FAULT_CORRUPT_ANSWER},
        {.kind = FAULT_CORRUPT_ANSWER, .after_bytes = 500},
        {.kind = FAULT_DELAY_ANSWER, .delay_ms = 60000},
    };
    struct fault_env *faults = *state;
    fault_env_start(faults, STRINGS("DELIVERY_MAX_RUNS=2", "OPENCLAW_REQUEST_TIMEOUT_MS=4000",
                                "DELIVERY_BACKOFF_BASE_MS=1"));
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        char id[ID_BYTES];
        struct fault fault = kinds[i];
        unsigned before = fault_proxy_hits(faults->gateway, fault.kind);
        fault.match = "## Notification";
        fault.times = 1;
        fault_proxy_set(faults->gateway, &fault);
        board_load_one(faults->env, id);
        test_env_wait(faults->env, "undelivered=0");
        assert_int_equal(fault_proxy_hits(faults->gateway, fault.kind), before + 1);
        assert_int_equal(board_requests_for(faults->env, id), 2);
    }
    fault_env_settle(faults, &(struct history_rules){.max_runs = 2, .lost_answers = true});
}

/* Answers in the gateway's place to the next requests for worker1, which never get there. */
static void answer_as_proxy(struct fault_env *faults, int status, int times)
{
    board_gateway_fault(
        faults->env, json_pack("{s:{s:s}, s:b, s:s, s:i, s:s, s:i, s:s, s:{s:s}}", "match", "agent",
                         "worker1", "before_checks", true, "action", "status", "status", status,
                         "body", "<html><title>504 Gateway Time-out</title></html>", "times", times,
                         "name", "proxy", "headers", "Content-Type", "text/html"));
}

/* Whatever its status, a page proves nothing: the agent may be at work behind the proxy. */
static void test_proxys_page_counts_as_a_run(void **state)
{
    static const int statuses[] = {504, 502, 403, 404, 200};
    struct fault_env *faults = *state;
    fault_env_start(faults, STRINGS("DELIVERY_MAX_RUNS=3", "DELIVERY_BACKOFF_BASE_MS=1"));
    for (size_t i = 0; i < sizeof statuses / sizeof statuses[0]; i++) {
        char id[ID_BYTES];
        board_clear_faults(faults->env);
        answer_as_proxy(faults, statuses[i], 2);
        board_load_one(faults->env, id);
        test_env_wait(faults->env, "undelivered=0");
        assert_int_equal(board_fault_hits(faults->env, "proxy"), 2);
        assert_int_equal(board_requests_for(faults->env, id), 1);
    }
    fault_env_settle(faults, &(struct history_rules){.max_runs = 3});
}

static void test_proxy_that_never_lets_through_ends_with_a_note(void **state)
{
    struct fault_env *faults = *state;
    answer_as_proxy(faults, 504, -1);
    fault_env_load(faults, 1, 1);
    fault_env_start(faults, STRINGS("DELIVERY_MAX_RUNS=3", "DELIVERY_BACKOFF_BASE_MS=1"));
    test_env_wait(faults->env, "undelivered=0");
    assert_int_equal(board_fault_hits(faults->env, "proxy"), 3);
    fault_env_settle(faults, &(struct history_rules){.max_runs = 3, .notes = true});
    assert_int_equal(json_array_size(faults->history.requests), 3);
}

static void test_answers_always_lost_end_with_a_note(void **state)
{
    struct fault_env *faults = *state;
    char id[ID_BYTES];
    FAULT(faults->gateway, .kind = FAULT_CUT_ANSWER, .after_bytes = 400, .match = "## Notif");
    board_load_one(faults->env, id);
    fault_env_start(faults, STRINGS("DELIVERY_BACKOFF_BASE_MS=1"));
    test_env_wait(faults->env, "undelivered=0");
    assert_int_equal(fault_proxy_hits(faults->gateway, FAULT_CUT_ANSWER), FAULT_ENV_MAX_RUNS);
    assert_int_equal(board_requests_for(faults->env, id), FAULT_ENV_MAX_RUNS);
    fault_env_settle(
        faults, &(struct history_rules){
                    .max_runs = FAULT_ENV_MAX_RUNS, .lost_answers = true, .notes = true});
}

static void test_hanging_gateway_is_given_up_on_at_the_timeout(void **state)
{
    struct fault_env *faults = *state;
    FAULT(faults->gateway, .kind = FAULT_HANG, .times = 2);
    fault_env_load(faults, 4, 2);
    fault_env_start(faults, STRINGS("OPENCLAW_REQUEST_TIMEOUT_MS=4000"));
    fault_proxy_wait_hits(faults->gateway, FAULT_HANG, 2);
    fault_env_settle(faults, &fault_env_strict);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_IN_FAULT_ENV(test_unreachable_gateway_costs_no_run),
        TEST_IN_FAULT_ENV(test_gateway_restart_costs_one_run_each),
        TEST_IN_FAULT_ENV(test_runs_that_may_have_happened_count),
        TEST_IN_FAULT_ENV(test_lost_answer_costs_one_run),
        TEST_IN_FAULT_ENV(test_proxys_page_counts_as_a_run),
        TEST_IN_FAULT_ENV(test_proxy_that_never_lets_through_ends_with_a_note),
        TEST_IN_FAULT_ENV(test_answers_always_lost_end_with_a_note),
        TEST_IN_FAULT_ENV(test_hanging_gateway_is_given_up_on_at_the_timeout),
        TEST_IN_FAULT_ENV(test_no_context_is_read_during_an_outage),
        TEST_IN_FAULT_ENV(test_slow_agent_gets_more_time),
    };
    return cmocka_run_group_tests_name("gateway_faults", tests, NULL, NULL);
}
