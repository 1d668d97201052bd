/* A gateway that answers with errors: none counts as a run, and only those it concerns wait. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/sync.h"
#include "fault_env.h"

enum { PROMPT_MS = 12000 };

static const struct history_rules one_run = {.max_runs = 1};

/* Refuses every POST before a run. */
static void refuse_posts(struct fault_env *faults, int status, const char *retry_after, int times)
{
    json_t *rule = json_pack("{s:s, s:b, s:i, s:i, s:s}", "action", "status", "before_checks", 1,
        "status", status, "times", times, "name", "refusal");
    if (status == 404)
        json_object_set_new(rule, "body", json_string("Not Found"));
    else
        json_object_set_new(rule, "body_json",
            json_pack("{s:{s:s, s:s}}", "error", "message", "made to fail", "type",
                status == 401 ? "unauthorized" : "invalid_request_error"));
    if (retry_after != NULL)
        json_object_set_new(rule, "headers", json_pack("{s:s}", "Retry-After", retry_after));
    board_gateway_fault(faults->env, rule);
}

static void test_refusals_before_a_run_cost_no_run(void **state)
{
    static const struct {
        const char *retry_after;
        int status;
        int times;
    } refusals[] = {{NULL, 413, 3}, {NULL, 400, 3}, {NULL, 405, 3}, {NULL, 404, 3}, {"0", 429, 3},
        {"0", 503, 3}, {"1", 429, 2}};
    struct fault_env *faults = *state;
    fault_env_start(faults, STRINGS("DELIVERY_MAX_RUNS=1"));
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++) {
        long before = test_env_stat(faults->env, "gateway", "refused");
        refuse_posts(faults, refusals[i].status, refusals[i].retry_after, refusals[i].times);
        fault_env_load(faults, 4, 2);
        test_env_wait(faults->env, "undelivered=0");
        assert_true(test_env_stat(faults->env, "gateway", "refused") >= before + refusals[i].times);
    }
    fault_env_settle(faults, &one_run);
}

/* Retry-After is for the agent that met it: it waits, with all that it has, and nobody else does.
 */
static void test_rate_limited_agent_waits_alone(void **state)
{
    struct fault_env *faults = *state;
    board_gateway_fault(
        faults->env, json_pack("{s:{s:s}, s:s, s:i, s:{s:s}, s:{s:{s:s}}}", "match", "agent",
                         "worker1", "action", "status", "status", 429, "headers", "Retry-After",
                         "60", "body_json", "error", "message", "made to fail"));
    fault_env_load(faults, 40, 8);
    fault_env_start(faults, STRINGS("DELIVERY_MAX_CONCURRENT_SESSIONS=4", "DELIVERY_MAX_RUNS=1"));
    test_env_wait(faults->env, "delivered=35&deliveries=36");
    test_env_wait(faults->env, "action=listUndeliveredNotifications&calls=8");
    assert_int_equal(test_env_stat(faults->env, "gateway", "deliveries"), 36);
    test_env_stop_runtime(faults->env);
}

/* With a wrong token only rare probes are sent until it is fixed. */
static void test_refused_token_holds_all_sends(void **state)
{
    struct fault_env *faults = *state;
    refuse_posts(faults, 401, NULL, -1);
    fault_env_load(faults, 40, 8);
    fault_env_start(faults, STRINGS("DELIVERY_MAX_CONCURRENT_SESSIONS=4"));
    test_env_wait(faults->env, "posts=1");
    test_env_wait(faults->env, "action=listUndeliveredNotifications&calls=6");
    assert_true(test_env_stat(faults->env, "gateway", "posts") <= 2);
    test_env_stop_runtime(faults->env);
}

/* The most runs that were under way at one moment, of those that began after the first skipped. */
static int max_runs_in_flight(struct fault_env *faults, size_t skipped)
{
    int max = 0;
    json_t *record = test_env_get(faults->env, "/sandbox/gateway");
    const json_t *requests = json_object_get(record, "requests");
    for (size_t i = skipped; i < json_array_size(requests); i++) {
        const json_t *one = json_array_get(requests, i);
        double begun_us = json_number_value(json_object_get(one, "begun_us"));
        int in_flight = 0;
        for (size_t j = skipped; j < json_array_size(requests); j++) {
            const json_t *other = json_array_get(requests, j);
            in_flight += json_number_value(json_object_get(other, "begun_us")) <= begun_us &&
                         json_number_value(json_object_get(other, "ended_us")) > begun_us;
        }
        max = in_flight > max ? in_flight : max;
    }
    json_decref(record);
    return max;
}

/* Runs of different agents fail in a row: the provider is to blame, so few go out at a time. */
static void test_failing_provider_gets_three_runs_at_a_time(void **state)
{
    enum { WORKERS = 8, AGENTS = 40 };
    struct fault_env *faults = *state;
    board_gateway_fault(faults->env, json_pack("{s:s, s:i}", "action", "status", "latency_ms", 30));
    fault_env_load(faults, AGENTS, AGENTS);
    fault_env_start(faults, STRINGS("DELIVERY_MAX_CONCURRENT_SESSIONS=8",
                                "DELIVERY_BACKOFF_BASE_MS=10000", "DELIVERY_BACKOFF_MAX_MS=10000"));
    test_env_wait(faults->env, "deliveries=40");
    /* The first of all workers were under way before anything was known. */
    assert_true(max_runs_in_flight(faults, WORKERS + 3) <= 3);
    test_env_stop_runtime(faults->env);
}

/* Notifications for agents that are always refused, older than all others. */
static void load_poisoned(struct fault_env *faults, int count, int agents)
{
    fault_env_load(faults, count, agents);
    for (int i = 1; i <= agents; i++) {
        char slug[24];
        snprintf(slug, sizeof slug, "worker%d", i);
        board_gateway_fault(
            faults->env, json_pack("{s:{s:s}, s:s, s:b, s:i, s:s, s:{s:{s:s}}}", "match", "agent",
                             slug, "action", "status", "before_checks", 1, "status", 400, "name",
                             "poison", "body_json", "error", "message", "made to fail"));
    }
}

static void load_good(struct fault_env *faults, int count)
{
    json_decref(test_env_post(faults->env, "/sandbox/seed",
        json_pack("{s:[{s:s}], s:[{s:s}]}", "agents", "slug", "good", "tasks", "title", "Good")));
    for (int i = 0; i < count; i++)
        json_decref(test_env_post(faults->env, "/sandbox/notify",
            json_pack("{s:s, s:s}", "agent", "good", "task", "Good")));
}

static void test_poisoned_notifications_do_not_delay_others(void **state)
{
    struct fault_env *faults = *state;
    /* v1 lists 500, so behind more than that nothing can be seen. */
    int poisoned = test_env_is_v1(faults->env) ? 480 : 600;
    char all_asked[32];
    snprintf(all_asked, sizeof all_asked, "posts=%d", poisoned + 10);
    load_poisoned(faults, poisoned, 12);
    load_good(faults, 10);
    int64_t began_ms = clock_monotonic_ms();
    fault_env_start(
        faults, STRINGS("DELIVERY_BACKOFF_BASE_MS=500", "DELIVERY_BACKOFF_MAX_MS=2000"));
    test_env_wait(faults->env, "delivered=10");
    assert_true(clock_monotonic_ms() - began_ms < (int64_t)PROMPT_MS * process_timeout_scale());
    test_env_wait(faults->env, all_asked);
    assert_int_equal(test_env_stat(faults->env, "gateway", "requests"), 10);
    board_clear_faults(faults->env);
    for (int delivered = 100; delivered <= poisoned; delivered += 100) {
        char some[32];
        snprintf(some, sizeof some, "delivered=%d", delivered);
        test_env_wait(faults->env, some);
    }
    fault_env_settle(faults, &one_run);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_IN_FAULT_ENV(test_refusals_before_a_run_cost_no_run),
        TEST_IN_FAULT_ENV(test_rate_limited_agent_waits_alone),
        TEST_IN_FAULT_ENV(test_refused_token_holds_all_sends),
        TEST_IN_FAULT_ENV(test_failing_provider_gets_three_runs_at_a_time),
        TEST_IN_FAULT_ENV(test_poisoned_notifications_do_not_delay_others),
    };
    return cmocka_run_group_tests_name("gateway_refusals", tests, NULL, NULL);
}
