/* The gateway away, hanging or cut off: what counts as a run, and what does not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/containers.h"
#include "fault_env.h"

static const struct history_rules one_run = {.max_runs = 1};

static void load(struct fault_env *faults, int count, int agents)
{
    json_decref(board_load(faults->env, count, agents));
}

static void test_gateway_away_counts_nothing(void **state)
{
    struct fault_env *faults = *state;
    load(faults, 6, 3);
    FAULT(faults->gateway, .kind = FAULT_REFUSE);
    fault_env_start(faults, (const char *[]){"DELIVERY_MAX_RUNS=1", NULL});
    test_env_wait_log(faults->env, "Failed to connect");
    assert_int_equal(test_env_stat(faults->env, "gateway", "posts"), 0);
    FAULT(faults->gateway, .kind = FAULT_NONE);
    fault_env_settle(faults, &one_run);
}

/* The runs under way are cut and may have happened; while it is away nothing more is counted. */
static void test_gateway_that_restarts_costs_one_run(void **state)
{
    struct fault_env *faults = *state;
    load(faults, 6, 3);
    board_gateway_fault(
        faults->env, json_pack("{s:s, s:s, s:i}", "action", "hold", "name", "cut", "times", 3));
    fault_env_start(faults, (const char *[]){"DELIVERY_MAX_RUNS=2", NULL});
    test_env_wait(faults->env, "held=3");
    FAULT(faults->gateway, .kind = FAULT_REFUSE);
    fault_proxy_drop_connections(faults->gateway);
    test_env_wait_log(faults->env, "Failed to connect");
    FAULT(faults->gateway, .kind = FAULT_NONE);
    fault_env_settle(faults, &(struct history_rules){.max_runs = 2});
    assert_int_equal(test_env_stat(faults->env, "gateway", "deliveries"), 9);
}

/* While nobody is there to be asked, nothing is fetched for the asking either. */
static void test_no_context_is_read_while_the_gateway_is_away(void **state)
{
    struct fault_env *faults = *state;
    FAULT(faults->gateway, .kind = FAULT_REFUSE);
    load(faults, 40, 8);
    fault_env_start(faults, (const char *[]){"DELIVERY_MAX_CONCURRENT_SESSIONS=4", NULL});
    test_env_wait_log(faults->env, "Failed to connect");
    test_env_wait(faults->env, "action=listUndeliveredNotifications&calls=8");
    assert_true(test_env_stat(faults->env, "backend", "getNotificationForDelivery") <= 12);
    FAULT(faults->gateway, .kind = FAULT_NONE);
    fault_env_settle(faults, &one_run);
}

/* After a timeout of ours the next try gets twice the time. */
static void test_agent_that_is_slow_gets_more_time(void **state)
{
    struct fault_env *faults = *state;
    char id[ID_BYTES];
    FAULT(faults->gateway, .kind = FAULT_DELAY_ANSWER, .delay_ms = 450, .match = "## Notif");
    board_load_one(faults->env, id);
    fault_env_start(
        faults, (const char *[]){"OPENCLAW_REQUEST_TIMEOUT_MS=300", "DELIVERY_MAX_RUNS=2", NULL});
    test_env_wait(faults->env, "undelivered=0");
    assert_int_equal(board_requests_for(faults->env, id), 2);
    fault_env_settle(faults, &(struct history_rules){.max_runs = 2, .lost_answers = true});
}

/* How often each fault after the request has gone out, or may have, is met: with the last run. */
static void test_runs_that_may_have_happened_are_counted(void **state)
{
    static const struct fault kinds[] = {
        {.kind = FAULT_RESET},
        {.kind = FAULT_RESET_REQUEST, .after_bytes = 100},
        {.kind = FAULT_HANG},
    };
    struct fault_env *faults = *state;
    fault_env_start(
        faults, (const char *[]){"DELIVERY_MAX_RUNS=3", "OPENCLAW_REQUEST_TIMEOUT_MS=150",
                    "DELIVERY_BACKOFF_BASE_MS=1", NULL});
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        char id[ID_BYTES];
        struct fault fault = kinds[i];
        unsigned before = fault_proxy_hits(faults->gateway, fault.kind);
        fault.match = "## Notification";
        fault_proxy_set(faults->gateway, &fault);
        board_load_one(faults->env, id);
        test_env_wait(faults->env, "undelivered=0");
        assert_int_equal(fault_proxy_hits(faults->gateway, fault.kind), before + 3);
        assert_int_equal(board_requests_for(faults->env, id), 0);
    }
    fault_env_settle(faults, &(struct history_rules){.max_runs = 3, .notes = true});
}

/* The agent was run, its answer is gone: one more run, whose reply is the one that is written. */
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
        {.kind = FAULT_DELAY_ANSWER, .delay_ms = 1000},
    };
    struct fault_env *faults = *state;
    fault_env_start(
        faults, (const char *[]){"DELIVERY_MAX_RUNS=2", "OPENCLAW_REQUEST_TIMEOUT_MS=300",
                    "DELIVERY_BACKOFF_BASE_MS=1", NULL});
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

static void test_answers_that_always_get_lost_end_in_a_note(void **state)
{
    struct fault_env *faults = *state;
    char id[ID_BYTES];
    FAULT(faults->gateway, .kind = FAULT_CUT_ANSWER, .after_bytes = 400, .match = "## Notif");
    board_load_one(faults->env, id);
    fault_env_start(faults, (const char *[]){"DELIVERY_BACKOFF_BASE_MS=1", NULL});
    test_env_wait(faults->env, "undelivered=0");
    assert_int_equal(fault_proxy_hits(faults->gateway, FAULT_CUT_ANSWER), FAULT_ENV_MAX_RUNS);
    assert_int_equal(board_requests_for(faults->env, id), FAULT_ENV_MAX_RUNS);
    fault_env_settle(
        faults, &(struct history_rules){
                    .max_runs = FAULT_ENV_MAX_RUNS, .lost_answers = true, .notes = true});
}

static void test_hanging_gateway_is_left_after_the_timeout(void **state)
{
    struct fault_env *faults = *state;
    FAULT(faults->gateway, .kind = FAULT_HANG, .times = 2);
    load(faults, 4, 2);
    fault_env_start(faults, (const char *[]){"OPENCLAW_REQUEST_TIMEOUT_MS=200", NULL});
    fault_proxy_wait_hits(faults->gateway, FAULT_HANG, 2);
    fault_env_settle(faults, &fault_env_strict);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_IN_FAULT_ENV(test_gateway_away_counts_nothing),
        TEST_IN_FAULT_ENV(test_gateway_that_restarts_costs_one_run),
        TEST_IN_FAULT_ENV(test_runs_that_may_have_happened_are_counted),
        TEST_IN_FAULT_ENV(test_lost_answer_costs_one_run),
        TEST_IN_FAULT_ENV(test_answers_that_always_get_lost_end_in_a_note),
        TEST_IN_FAULT_ENV(test_hanging_gateway_is_left_after_the_timeout),
        TEST_IN_FAULT_ENV(test_no_context_is_read_while_the_gateway_is_away),
        TEST_IN_FAULT_ENV(test_agent_that_is_slow_gets_more_time),
    };
    return cmocka_run_group_tests_name("gateway_faults", tests, NULL, NULL);
}
