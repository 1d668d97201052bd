/* Health tells whether work gets done: deliveries that all fail, whatever connections say. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "../lib/board.h"
#include "base/sync.h"

#define NONE_SUCCEEDS "No delivery has succeeded lately: every attempt has failed"
#define UNKNOWN_AGENTS "The gateway knows none of the agents that have work"
#define OLD_FAILURES "A notification has been undelivered for over 5 minutes, and its attempts fail"

#define LIST_FULL "500 notifications are undelivered, and the backend lists no more"

#define FAST                                                                               \
    "DELIVERY_BACKOFF_BASE_MS=20", "DELIVERY_BACKOFF_MAX_MS=200", "DELIVERY_INTERVAL=200", \
        "DELIVERY_MAX_RUNS=50", "HEALTH_CHECK_INTERVAL=60000"

static bool status_is(struct test_env *env, const char *status)
{
    json_t *runtimes = board_documents(env, "runtimes");
    const char *found = json_string_value(json_object_get(json_array_get(runtimes, 0), "status"));
    bool same = found != NULL && strcmp(found, status) == 0;
    json_decref(runtimes);
    return same;
}

static void wait_reported_status(struct test_env *env, const char *status)
{
    int64_t deadline_ms = clock_monotonic_ms() + (int64_t)TEST_WAIT_MS * process_timeout_scale();
    while (!status_is(env, status)) {
        if (clock_monotonic_ms() > deadline_ms)
            fail_msg("the board does not show %s", status);
        usleep(10000);
    }
}

/* /health, the page, /readyz, the metrics and the board say the same. */
static void expect_trouble(struct test_env *env, const char *reason, const char *label)
{
    char series[96];
    snprintf(series, sizeof series, "mission_control_degraded{reason=\"%s\"} 1\n", label);
    test_env_wait_words(env, "/health", reason, true);
    test_env_wait_words(env, "/health", "\"status\": \"degraded\"", true);
    test_env_wait_words(env, "/status", reason, true);
    test_env_wait_words(env, "/status", "{\"state\":\"degraded\"", true);
    char *body;
    int status = test_env_health_get(env, "/readyz?verbose", &body);
    assert_true(status == 200 || status == 503);
    assert_non_null(strstr(body, reason));
    free(body);
    test_env_wait_words(env, "/metrics", series, true);
    wait_reported_status(env, "degraded");
}

static void expect_recovery(struct test_env *env)
{
    test_env_wait_words(env, "/health", "\"status\": \"healthy\"", true);
    test_env_wait_words(env, "/health", "\"reason\": null,\n", true);
    test_env_wait_words(env, "/status", "\"reasons\":[]", true);
    test_env_wait_words(env, "/readyz?verbose", "\"deliveries\":\"ok\"", true);
    test_env_wait_words(
        env, "/metrics", "mission_control_degraded{reason=\"no_delivery\"} 0\n", true);
    wait_reported_status(env, "online");
}

/* Between two probes, which a refusal in doubt makes necessary, each agent is asked once. */
static void test_every_attempt_is_refused(void **state)
{
    enum { AGENTS = 5, PROBE_GAP_MS = 250 };
    struct test_env *env = *state;
    test_env_start_runtime(env, STRINGS(FAST));
    test_env_wait_words(env, "/health", "\"status\": \"healthy\"", true);
    wait_reported_status(env, "online");
    board_gateway_fault(
        env, json_pack("{s:s, s:i, s:s}", "action", "status", "status", 403, "body", "Forbidden"));
    int64_t loaded_ms = clock_monotonic_ms();
    json_decref(board_load(env, AGENTS, AGENTS));
    expect_trouble(env, NONE_SUCCEEDS, "no_delivery");
    test_env_wait_words(env, "/health", "\"delivered\": 0", true);
    long requests = test_env_stat(env, "gateway", "requests");
    int64_t gaps = (clock_monotonic_ms() - loaded_ms) / PROBE_GAP_MS + 2;
    assert_in_range(requests, 1, AGENTS * gaps);
    board_clear_faults(env);
    test_env_wait(env, "delivered=5");
    expect_recovery(env);
    test_env_stop_runtime(env);
}

static void test_every_attempt_times_out(void **state)
{
    struct test_env *env = *state;
    board_gateway_fault(env, json_pack("{s:s}", "action", "hang"));
    json_decref(board_load(env, 5, 5));
    test_env_start_runtime(env, STRINGS(FAST, "OPENCLAW_REQUEST_TIMEOUT_MS=1000"));
    expect_trouble(env, NONE_SUCCEEDS, "no_delivery");
    board_clear_faults(env);
    test_env_wait(env, "delivered=5");
    expect_recovery(env);
    test_env_stop_runtime(env);
}

static void wait_failed_attempts(struct test_env *env, json_int_t count)
{
    int64_t deadline_ms = clock_monotonic_ms() + (int64_t)TEST_WAIT_MS * process_timeout_scale();
    json_int_t failed = 0;
    while (failed < count) {
        json_t *health = test_env_health_json(env, "/health");
        assert_int_equal(json_unpack(health, "{s:{s:I}}", "delivery", "failed", &failed), 0);
        json_decref(health);
        if (clock_monotonic_ms() > deadline_ms)
            fail_msg("only %lld attempts have failed", (long long)failed);
        usleep(10000);
    }
}

/* A single agent that fails among others that are delivered to is not an outage. */
static void test_one_failing_agent_is_no_outage(void **state)
{
    struct test_env *env = *state;
    json_t *rows = board_load(env, 4, 4);
    test_env_start_runtime(env, STRINGS(FAST));
    test_env_wait(env, "delivered=4");
    board_gateway_fault(
        env, json_pack("{s:{s:s}, s:s, s:i, s:{s:{s:s, s:s}}}", "match", "agent",
                 board_string(json_array_get(rows, 0), "slug"), "action", "status", "status", 400,
                 "body_json", "error", "type", "invalid_request_error", "message", "no"));
    json_decref(rows);
    json_decref(board_load(env, 1, 4));
    wait_failed_attempts(env, 8);
    assert_true(test_env_health_has(env, "/health", "\"status\": \"healthy\""));
    test_env_stop_runtime(env);
}

static void test_agents_unknown_to_the_gateway(void **state)
{
    struct test_env *env = *state;
    board_set(env, json_pack("{s:[s]}", "gateway_agents", "main"));
    json_decref(board_load(env, 2, 2));
    test_env_start_runtime(env, STRINGS(FAST, "DELIVERY_MAX_RUNS=2"));
    expect_trouble(env, UNKNOWN_AGENTS, "unknown_agents");
    test_env_stop_runtime(env);
}

/* One attempt that fails is enough once its notification is that old; success ends it at once. */
static void test_old_notification_that_fails(void **state)
{
    struct test_env *env = *state;
    json_t *rows = board_load(env, 1, 1);
    const json_t *row = json_array_get(rows, 0);
    board_gateway_fault(
        env, json_pack("{s:s, s:i, s:s}", "action", "status", "status", 403, "body", "Forbidden"));
    json_decref(test_env_post(env, "/sandbox/notify",
        json_pack("{s:o, s:o, s:I}", "agent", json_incref(json_object_get(row, "slug")), "task",
            json_incref(json_object_get(row, "task")), "createdAt",
            (json_int_t)(clock_wall_ms() - INT64_C(301) * 1000))));
    json_decref(rows);
    test_env_start_runtime(env, STRINGS(FAST));
    expect_trouble(env, OLD_FAILURES, "old_failures");
    test_env_wait_words(env, "/status", OLD_FAILURES, true);
    assert_false(test_env_health_has(env, "/status", "over a minute old")); /* the same, once */
    board_clear_faults(env);
    test_env_wait(env, "delivered=2");
    expect_recovery(env);
    test_env_stop_runtime(env);
}

/* 500 rows are repeated half a minute later, as 1,000 a minute may be. */
static void wait_for_second_page(struct test_env *env)
{
    for (int waits = 0; waits < 6; waits++)
        if (test_env_check(env, "action=listUndeliveredNotifications&calls=2"))
            return;
    fail_msg("there is no second page");
}

/* Whatever agents hold, the backend lists the oldest 500: the newest one is not seen. */
static void test_list_hides_what_does_not_fit(void **state)
{
    struct test_env *env = *state;
    board_hold_agents(env, "stuck");
    json_decref(board_load(env, 501, 10));
    test_env_start_runtime(env, STRINGS(FAST));
    wait_for_second_page(env);
    expect_trouble(env, LIST_FULL, "list_full");
    test_env_wait_words(env, "/metrics", "mission_control_notifications_undelivered 500\n", true);
    board_clear_faults(env);
    test_env_wait(env, "delivered=501");
    expect_recovery(env);
    test_env_stop_runtime(env);
}

/* v0 lists as many as it is asked for, so nothing is hidden. */
static void test_list_of_v0_hides_nothing(void **state)
{
    struct test_env *env = *state;
    board_hold_agents(env, "stuck");
    json_decref(board_load(env, 501, 1));
    test_env_start_runtime(env, STRINGS(FAST));
    test_env_wait_words(env, "/metrics", "mission_control_notifications_undelivered 501\n", true);
    wait_for_second_page(env);
    assert_true(
        test_env_health_has(env, "/metrics", "mission_control_degraded{reason=\"list_full\"} 0\n"));
    board_clear_faults(env);
    test_env_stop_runtime(env);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_ON_BOTH(test_every_attempt_is_refused),
        TEST_IN_ENV_WITH(test_list_hides_what_does_not_fit, .backend = "v1"),
        TEST_IN_ENV(test_list_of_v0_hides_nothing),
        TEST_ON_BOTH(test_every_attempt_times_out),
        TEST_ON_BOTH(test_one_failing_agent_is_no_outage),
        TEST_ON_BOTH(test_agents_unknown_to_the_gateway),
        TEST_ON_BOTH(test_old_notification_that_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
