/* Metric values follow the work, and the Accept header decides whether /health serves them. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../lib/board.h"
#include "../lib/plain_http.h"
#include "base/sync.h"

#define ACCEPT_PROMETHEUS                                                              \
    "Accept: application/openmetrics-text;version=1.0.0,application/openmetrics-text;" \
    "version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1\r\n"
#define ACCEPT_BROWSER                                                                     \
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp," \
    "*/*;q=0.8\r\n"

/* The value of a series, named with its labels as printed; -1 if there is none. */
static double series_value(struct test_env *env, const char *series)
{
    char *body;
    char line[256];
    assert_int_equal(test_env_health_get(env, "/metrics", &body), 200);
    snprintf(line, sizeof line, "\n%s ", series);
    const char *found = strstr(body, line);
    double value = found != NULL ? strtod(found + strlen(line), NULL) : -1;
    free(body);
    return value;
}

/* Waits until the value of the series is from min to max. */
static void wait_series_between(struct test_env *env, const char *series, double min, double max)
{
    int64_t deadline_ms = clock_monotonic_ms() + (int64_t)TEST_WAIT_MS * process_timeout_scale();
    double value;
    while ((value = series_value(env, series)) < min || value > max) {
        if (clock_monotonic_ms() > deadline_ms) {
            process_dump_output(&env->runtime, "runtime");
            fail_msg("%s is %f, expected %f to %f", series, value, min, max);
        }
    }
}

static void wait_series(struct test_env *env, const char *series, double min)
{
    wait_series_between(env, series, min, 1e15);
}

/* For gauges that are lowered slightly after the counter they belong to is raised. */
static void wait_series_zero(struct test_env *env, const char *series)
{
    wait_series_between(env, series, 0, 0);
}

static void expect_series(struct test_env *env, const char *series, double expected)
{
    double value = series_value(env, series);
    if (value != expected)
        fail_msg("%s is %f, expected %f", series, value, expected);
}

static void expect_series_between(struct test_env *env, const char *series, double min, double max)
{
    double value = series_value(env, series);
    if (value < min || value > max)
        fail_msg("%s is %f, expected %f to %f", series, value, min, max);
}

static void test_deliveries_are_counted(void **state)
{
    struct test_env *env = *state;
    json_decref(board_load(env, 6, 3));
    test_env_start_runtime(env, NULL);
    wait_series(env, "mission_control_last_sync_timestamp_seconds", 1);
    wait_series(env, "mission_control_last_report_timestamp_seconds", 1);
    wait_series(env, "mission_control_queue_wait_seconds_count", 6);
    wait_series(env, "mission_control_delivery_lag_seconds_bucket{le=\"+Inf\"}", 6);
    expect_series(env, "mission_control_notifications_delivered_total", 6);
    expect_series(env, "mission_control_runs_total{kind=\"first\"}", 6);
    expect_series(env, "mission_control_runs_total{kind=\"repeat\"}", 0);
    expect_series(env, "mission_control_agent_runs_total{agent=\"worker1\"}", 2);
    expect_series(env,
        "mission_control_agent_notifications_total{agent=\"worker3\",outcome=\"delivered\"}", 2);
    expect_series(env, "mission_control_queue_wait_seconds_count", 6);
    expect_series(env, "mission_control_agent_run_seconds_count", 6);
    expect_series(env, "mission_control_write_back_seconds_count", 6);
    expect_series(env, "mission_control_delivery_seconds_count", 6);
    expect_series(env, "mission_control_delivery_lag_seconds_bucket{le=\"+Inf\"}", 6);
    expect_series(env,
        "mission_control_convex_requests_total{action=\"createMessageFromAgent\","
        "outcome=\"success\"}",
        6);
    expect_series(env,
        "mission_control_convex_request_seconds_count"
        "{action=\"markNotificationDelivered\"}",
        6);
    expect_series_between(env, "mission_control_notifications_listed_total", 6, 1000000);
    wait_series_zero(env, "mission_control_notifications_undelivered");
    wait_series_zero(env, "mission_control_oldest_undelivered_age_seconds");
    expect_series(env, "mission_control_spool_entries", 0);
    expect_series(env, "mission_control_gateway_state{state=\"open\"}", 1);
    expect_series(env, "mission_control_gateway_state{state=\"shut\"}", 0);
    expect_series(env, "mission_control_workers", 10);
    expect_series(env, "mission_control_queue_capacity", 1024);
    double now = (double)clock_wall_ms() / 1000;
    expect_series_between(env, "mission_control_last_poll_timestamp_seconds", now - 60, now + 60);
    expect_series_between(env, "mission_control_last_sync_timestamp_seconds", now - 60, now + 60);
    expect_series_between(env, "mission_control_last_report_timestamp_seconds", now - 60, now + 60);
    test_env_stop_runtime(env);
}

/* An agent with one notification in flight and another queued after it. */
static void test_work_in_flight_is_counted(void **state)
{
    struct test_env *env = *state;
    json_decref(board_load(env, 2, 1));
    board_hold_agents(env, "agent");
    test_env_start_runtime(env, NULL);
    test_env_wait(env, "in_flight=1");
    /* A moment ago another worker may have looked at the second one. */
    wait_series_between(env, "mission_control_workers_busy", 1, 1);
    wait_series_between(env, "mission_control_queue_depth", 1, 1);
    expect_series(env, "mission_control_lanes", 1);
    expect_series(env, "mission_control_sends_held", 0);
    process_signal(&env->runtime, SIGUSR2);
    wait_series(env, "mission_control_sends_held", 1);
    process_signal(&env->runtime, SIGUSR2);
    wait_series_zero(env, "mission_control_sends_held");
    expect_series(env, "mission_control_notifications_undelivered", 2);
    expect_series(env, "mission_control_spool_entries", 1);
    expect_series_between(env, "mission_control_spool_oldest_age_seconds", 0.001, 600);
    expect_series_between(env, "mission_control_oldest_undelivered_age_seconds", 0.001, 600);
    expect_series(env, "mission_control_agent_run_seconds_count", 0);
    board_release(env, "agent");
    board_clear_faults(env);
    wait_series(env, "mission_control_notifications_delivered_total", 2);
    wait_series(env, "mission_control_agent_run_seconds_count", 2);
    wait_series_zero(env, "mission_control_lanes");
    expect_series(env, "mission_control_spool_oldest_age_seconds", 0);
    test_env_stop_runtime(env);
}

static void test_failures_are_counted_by_class(void **state)
{
    struct test_env *env = *state;
    board_gateway_fault(
        env, json_pack("{s:s, s:i, s:i}", "action", "status", "status", 502, "times", 1));
    board_backend_fault(env, json_pack("{s:s, s:s, s:i, s:i}", "action", "createMessageFromAgent",
                                 "behaviour", "status", "status", 503, "times", 1));
    json_decref(board_load(env, 1, 1));
    test_env_start_runtime(
        env, STRINGS("DELIVERY_BACKOFF_BASE_MS=20", "DELIVERY_BACKOFF_MAX_MS=50"));
    wait_series(env, "mission_control_notifications_delivered_total", 1);
    expect_series(env, "mission_control_notifications_failed_total{class=\"run_failed\"}", 1);
    expect_series(
        env, "mission_control_notifications_failed_total{class=\"backend_unavailable\"}", 1);
    expect_series(env, "mission_control_notifications_failed_total{class=\"other\"}", 0);
    expect_series(env,
        "mission_control_convex_requests_total{action=\"createMessageFromAgent\","
        "outcome=\"unavailable\"}",
        1);
    expect_series(env, "mission_control_runs_total{kind=\"first\"}", 1);
    expect_series(env, "mission_control_runs_total{kind=\"repeat\"}", 1);
    expect_series(env, "mission_control_notifications_dead_total", 0);
    test_env_stop_runtime(env);
}

static void test_abandoned_notifications_are_counted(void **state)
{
    struct test_env *env = *state;
    board_gateway_fault(env, json_pack("{s:s, s:i}", "action", "status", "status", 502));
    json_decref(board_load(env, 1, 1));
    test_env_start_runtime(env, STRINGS("DELIVERY_MAX_RUNS=1"));
    wait_series(env, "mission_control_notifications_dead_total", 1);
    expect_series(
        env, "mission_control_agent_notifications_total{agent=\"worker1\",outcome=\"dead\"}", 1);
    expect_series(env, "mission_control_notifications_delivered_total", 0);
    expect_series(env, "mission_control_delivery_seconds_count", 0);
    expect_series(env, "mission_control_dead_letters", 0);
    test_env_stop_runtime(env);
}

static void test_heartbeats_are_counted(void **state)
{
    struct test_env *env = *state;
    json_decref(test_env_post(env, "/sandbox/seed",
        json_pack("{s:[{s:s, s:f}]}", "agents", "slug", "jarvis", "heartbeatInterval", 0.002)));
    test_env_list_agents(env, true);
    test_env_start_runtime(env, NULL);
    wait_series(env, "mission_control_heartbeats_total{outcome=\"woken\"}", 2);
    expect_series(env, "mission_control_heartbeats_total{outcome=\"failed\"}", 0);
    expect_series(env, "mission_control_runs_total{kind=\"first\"}", 0);
    board_gateway_fault(env, json_pack("{s:s, s:i}", "action", "status", "status", 400));
    wait_series(env, "mission_control_heartbeats_total{outcome=\"failed\"}", 1);
    wait_series(env, "mission_control_heartbeat_failing_agents", 1);
    test_env_stop_runtime(env);
}

static void test_poll_failures_are_counted(void **state)
{
    struct test_env *env = *state;
    board_backend_fault(env, json_pack("{s:s, s:s}", "action", "listUndeliveredNotifications",
                                 "behaviour", "function_error"));
    test_env_start_runtime(
        env, STRINGS("DELIVERY_BACKOFF_BASE_MS=20", "DELIVERY_BACKOFF_MAX_MS=50"));
    wait_series(env, "mission_control_poll_failures", 2);
    expect_series(env, "mission_control_last_poll_timestamp_seconds", 0);
    wait_series(env,
        "mission_control_convex_requests_total{action=\"listUndeliveredNotifications\","
        "outcome=\"function_error\"}",
        2);
    board_clear_faults(env);
    wait_series(env, "mission_control_last_poll_timestamp_seconds", 1);
    wait_series_zero(env, "mission_control_poll_failures");
    test_env_stop_runtime(env);
}

static void expect_answer(struct test_env *env, const char *path, const char *accept,
    const char *content_type, const char *prefix)
{
    struct plain_response answer;
    plain_http_request(env->health_port, "GET", path, accept, &answer);
    assert_int_equal(answer.status, 200);
    if (strstr(answer.header, content_type) == NULL)
        fail_msg("expected %s in\n%s", content_type, answer.header);
    assert_memory_equal(answer.body, prefix, strlen(prefix));
    assert_non_null(strstr(answer.header, "Cache-Control: no-store\r\n"));
    assert_non_null(strstr(answer.header, "X-Content-Type-Options: nosniff\r\n"));
    assert_non_null(strstr(answer.header, "Content-Security-Policy: default-src 'none'\r\n"));
    plain_response_fini(&answer);
}

static void test_accept_header_selects_json_or_metrics(void **state)
{
    static const char text[] = "Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n";
    static const char json[] = "Content-Type: application/json\r\n";
    struct test_env *env = *state;
    test_env_start_runtime(env, NULL);
    expect_answer(env, "/health", ACCEPT_PROMETHEUS, text, "# HELP mission_control_");
    expect_answer(env, "/health", "Accept: */*\r\n", json, "{\n  \"status\": ");
    expect_answer(env, "/health", "", json, "{\n  \"status\": ");
    expect_answer(env, "/health", ACCEPT_BROWSER, json, "{\n  \"status\": ");
    expect_answer(env, "/health", "Accept: application/json\r\n", json, "{\n  \"status\": ");
    expect_answer(env, "/metrics", ACCEPT_PROMETHEUS, text, "# HELP mission_control_");
    expect_answer(env, "/metrics", ACCEPT_BROWSER, text, "# HELP mission_control_");
    expect_answer(env, "/metrics?a=b", "", text, "# HELP mission_control_");
    test_env_stop_runtime(env);
}

static void test_metrics_hold_no_secret_and_no_id(void **state)
{
    struct test_env *env = *state;
    json_t *rows = board_load(env, 1, 1);
    char *body;
    test_env_start_runtime(env, NULL);
    wait_series(env, "mission_control_notifications_delivered_total", 1);
    assert_int_equal(test_env_health_get(env, "/metrics", &body), 200);
    assert_null(strstr(body, TEST_SECRET));
    assert_null(strstr(body, TEST_GATEWAY_TOKEN));
    /* The account tells one runtime from another, and is in one label alone. */
    const char *account = strstr(body, ",account=\"" TEST_ACCOUNT "\"} 1\n");
    assert_non_null(account);
    assert_ptr_equal(strstr(body, TEST_ACCOUNT), account + sizeof ",account=\"" - 1);
    assert_null(strstr(account + sizeof ",account=\"", TEST_ACCOUNT));
    assert_null(strstr(body, board_string(json_array_get(rows, 0), "id")));
    assert_null(strstr(body, "agent:"));
    free(body);
    json_decref(rows);
    test_env_stop_runtime(env);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_ON_BOTH(test_deliveries_are_counted),
        TEST_ON_BOTH(test_work_in_flight_is_counted),
        TEST_ON_BOTH(test_failures_are_counted_by_class),
        TEST_ON_BOTH(test_abandoned_notifications_are_counted),
        TEST_IN_ENV(test_heartbeats_are_counted),
        TEST_IN_ENV(test_poll_failures_are_counted),
        TEST_IN_ENV(test_accept_header_selects_json_or_metrics),
        TEST_IN_ENV(test_metrics_hold_no_secret_and_no_id),
    };
    return cmocka_run_group_tests_name("metrics", tests, NULL, NULL);
}
