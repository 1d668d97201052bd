/* That the metrics follow what happens, and who is answered with them. */
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

#define PROMETHEUS                                                                     \
    "Accept: application/openmetrics-text;version=1.0.0,application/openmetrics-text;" \
    "version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1\r\n"
#define BROWSER                                                                            \
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp," \
    "*/*;q=0.8\r\n"

/* A series' value, by its name with its labels as they are written out; -1 when it is not there. */
static double value_of(struct test_env *env, const char *series)
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

/* Waits until the series has a value in these bounds. */
static void await_between(struct test_env *env, const char *series, double min, double max)
{
    int64_t deadline_ms = clock_monotonic_ms() + (int64_t)TEST_WAIT_MS * process_timeout_scale();
    double is;
    while ((is = value_of(env, series)) < min || is > max) {
        if (clock_monotonic_ms() > deadline_ms) {
            process_dump_output(&env->runtime, "runtime");
            fail_msg("%s is %f and not from %f to %f", series, is, min, max);
        }
    }
}

static void await(struct test_env *env, const char *series, double min)
{
    await_between(env, series, min, 1e15);
}

/* For a gauge that is not brought down at the very moment at which the counter goes up. */
static void await_zero(struct test_env *env, const char *series)
{
    await_between(env, series, 0, 0);
}

static void must_be(struct test_env *env, const char *series, double value)
{
    double is = value_of(env, series);
    if (is != value)
        fail_msg("%s is %f and not %f", series, is, value);
}

static void must_be_between(struct test_env *env, const char *series, double min, double max)
{
    double is = value_of(env, series);
    if (is < min || is > max)
        fail_msg("%s is %f and not from %f to %f", series, is, min, max);
}

static void test_deliveries_are_counted(void **state)
{
    struct test_env *env = *state;
    json_decref(board_load(env, 6, 3));
    test_env_start_runtime(env, NULL);
    await(env, "mission_control_last_sync_timestamp_seconds", 1);
    await(env, "mission_control_last_report_timestamp_seconds", 1);
    await(env, "mission_control_notifications_delivered_total", 6);
    must_be(env, "mission_control_notifications_delivered_total", 6);
    must_be(env, "mission_control_runs_total{kind=\"first\"}", 6);
    must_be(env, "mission_control_runs_total{kind=\"repeat\"}", 0);
    must_be(env, "mission_control_agent_runs_total{agent=\"worker1\"}", 2);
    must_be(env,
        "mission_control_agent_notifications_total{agent=\"worker3\",outcome=\"delivered\"}", 2);
    must_be(env, "mission_control_queue_wait_seconds_count", 6);
    must_be(env, "mission_control_agent_run_seconds_count", 6);
    must_be(env, "mission_control_write_back_seconds_count", 6);
    must_be(env, "mission_control_delivery_seconds_count", 6);
    must_be(env, "mission_control_delivery_lag_seconds_bucket{le=\"+Inf\"}", 6);
    must_be(env,
        "mission_control_convex_requests_total{action=\"createMessageFromAgent\","
        "outcome=\"success\"}",
        6);
    must_be(env,
        "mission_control_convex_request_seconds_count"
        "{action=\"markNotificationDelivered\"}",
        6);
    must_be_between(env, "mission_control_notifications_listed_total", 6, 1000000);
    await_zero(env, "mission_control_notifications_undelivered");
    await_zero(env, "mission_control_oldest_undelivered_age_seconds");
    must_be(env, "mission_control_spool_entries", 0);
    must_be(env, "mission_control_gateway_state{state=\"open\"}", 1);
    must_be(env, "mission_control_gateway_state{state=\"shut\"}", 0);
    must_be(env, "mission_control_workers", 10);
    must_be(env, "mission_control_queue_capacity", 1024);
    double now = (double)clock_wall_ms() / 1000;
    must_be_between(env, "mission_control_last_poll_timestamp_seconds", now - 60, now + 60);
    must_be_between(env, "mission_control_last_sync_timestamp_seconds", now - 60, now + 60);
    must_be_between(env, "mission_control_last_report_timestamp_seconds", now - 60, now + 60);
    test_env_stop_runtime(env);
}

/* While an agent has one notification in hand and another waits behind it. */
static void test_work_under_way_is_shown(void **state)
{
    struct test_env *env = *state;
    json_decref(board_load(env, 2, 1));
    board_hold_agents(env, "agent");
    test_env_start_runtime(env, NULL);
    test_env_wait(env, "in_flight=1");
    must_be(env, "mission_control_workers_busy", 1);
    must_be(env, "mission_control_queue_depth", 1);
    must_be(env, "mission_control_lanes", 1);
    must_be(env, "mission_control_sends_held", 0);
    process_signal(&env->runtime, SIGUSR2);
    await(env, "mission_control_sends_held", 1);
    process_signal(&env->runtime, SIGUSR2);
    await_zero(env, "mission_control_sends_held");
    must_be(env, "mission_control_notifications_undelivered", 2);
    must_be(env, "mission_control_spool_entries", 1);
    must_be_between(env, "mission_control_spool_oldest_age_seconds", 0.001, 600);
    must_be_between(env, "mission_control_oldest_undelivered_age_seconds", 0.001, 600);
    must_be(env, "mission_control_agent_run_seconds_count", 0);
    board_release(env, "agent");
    board_clear_faults(env);
    await(env, "mission_control_notifications_delivered_total", 2);
    await(env, "mission_control_agent_run_seconds_count", 2);
    await_zero(env, "mission_control_lanes");
    must_be(env, "mission_control_spool_oldest_age_seconds", 0);
    test_env_stop_runtime(env);
}

static void test_failures_have_classes(void **state)
{
    struct test_env *env = *state;
    board_gateway_fault(
        env, json_pack("{s:s, s:i, s:i}", "action", "status", "status", 502, "times", 1));
    board_backend_fault(env, json_pack("{s:s, s:s, s:i, s:i}", "action", "createMessageFromAgent",
                                 "behaviour", "status", "status", 503, "times", 1));
    json_decref(board_load(env, 1, 1));
    test_env_start_runtime(
        env, (const char *[]){"DELIVERY_BACKOFF_BASE_MS=20", "DELIVERY_BACKOFF_MAX_MS=50", NULL});
    await(env, "mission_control_notifications_delivered_total", 1);
    must_be(env, "mission_control_notifications_failed_total{class=\"run_failed\"}", 1);
    must_be(env, "mission_control_notifications_failed_total{class=\"backend_unavailable\"}", 1);
    must_be(env, "mission_control_notifications_failed_total{class=\"other\"}", 0);
    must_be(env,
        "mission_control_convex_requests_total{action=\"createMessageFromAgent\","
        "outcome=\"unavailable\"}",
        1);
    must_be(env, "mission_control_runs_total{kind=\"first\"}", 1);
    must_be(env, "mission_control_runs_total{kind=\"repeat\"}", 1);
    must_be(env, "mission_control_notifications_dead_total", 0);
    test_env_stop_runtime(env);
}

static void test_those_given_up_on_are_counted(void **state)
{
    struct test_env *env = *state;
    board_gateway_fault(env, json_pack("{s:s, s:i}", "action", "status", "status", 502));
    json_decref(board_load(env, 1, 1));
    test_env_start_runtime(env, (const char *[]){"DELIVERY_MAX_RUNS=1", NULL});
    await(env, "mission_control_notifications_dead_total", 1);
    must_be(
        env, "mission_control_agent_notifications_total{agent=\"worker1\",outcome=\"dead\"}", 1);
    must_be(env, "mission_control_notifications_delivered_total", 0);
    must_be(env, "mission_control_delivery_seconds_count", 0);
    must_be(env, "mission_control_dead_letters", 0);
    test_env_stop_runtime(env);
}

static void test_wake_ups_are_counted(void **state)
{
    struct test_env *env = *state;
    json_decref(test_env_post(env, "/sandbox/seed",
        json_pack("{s:[{s:s, s:f}]}", "agents", "slug", "jarvis", "heartbeatInterval", 0.002)));
    test_env_list_agents(env, true);
    test_env_start_runtime(env, NULL);
    await(env, "mission_control_heartbeats_total{outcome=\"woken\"}", 2);
    must_be(env, "mission_control_heartbeats_total{outcome=\"failed\"}", 0);
    must_be(env, "mission_control_runs_total{kind=\"first\"}", 0);
    board_gateway_fault(env, json_pack("{s:s, s:i}", "action", "status", "status", 400));
    await(env, "mission_control_heartbeats_total{outcome=\"failed\"}", 1);
    test_env_stop_runtime(env);
}

static void test_poll_failures_show(void **state)
{
    struct test_env *env = *state;
    board_backend_fault(env, json_pack("{s:s, s:s}", "action", "listUndeliveredNotifications",
                                 "behaviour", "function_error"));
    test_env_start_runtime(
        env, (const char *[]){"DELIVERY_BACKOFF_BASE_MS=20", "DELIVERY_BACKOFF_MAX_MS=50", NULL});
    await(env, "mission_control_poll_failures", 2);
    must_be(env, "mission_control_last_poll_timestamp_seconds", 0);
    await(env,
        "mission_control_convex_requests_total{action=\"listUndeliveredNotifications\","
        "outcome=\"function_error\"}",
        2);
    board_clear_faults(env);
    await(env, "mission_control_last_poll_timestamp_seconds", 1);
    must_be(env, "mission_control_poll_failures", 0);
    test_env_stop_runtime(env);
}

static void must_answer(struct test_env *env, const char *path, const char *accept,
    const char *content_type, const char *beginning)
{
    struct plain_response answer;
    plain_http_request(env->health_port, "GET", path, accept, &answer);
    assert_int_equal(answer.status, 200);
    if (strstr(answer.header, content_type) == NULL)
        fail_msg("no %s in\n%s", content_type, answer.header);
    assert_memory_equal(answer.body, beginning, strlen(beginning));
    assert_non_null(strstr(answer.header, "Cache-Control: no-store\r\n"));
    assert_non_null(strstr(answer.header, "X-Content-Type-Options: nosniff\r\n"));
    assert_non_null(strstr(answer.header, "Content-Security-Policy: default-src 'none'\r\n"));
    plain_response_fini(&answer);
}

static void test_accept_decides_what_health_says(void **state)
{
    static const char text[] = "Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n";
    static const char json[] = "Content-Type: application/json\r\n";
    struct test_env *env = *state;
    test_env_start_runtime(env, NULL);
    must_answer(env, "/health", PROMETHEUS, text, "# HELP mission_control_");
    must_answer(env, "/health", "Accept: */*\r\n", json, "{\n  \"status\": ");
    must_answer(env, "/health", "", json, "{\n  \"status\": ");
    must_answer(env, "/health", BROWSER, json, "{\n  \"status\": ");
    must_answer(env, "/health", "Accept: application/json\r\n", json, "{\n  \"status\": ");
    must_answer(env, "/metrics", PROMETHEUS, text, "# HELP mission_control_");
    must_answer(env, "/metrics", BROWSER, text, "# HELP mission_control_");
    must_answer(env, "/metrics?a=b", "", text, "# HELP mission_control_");
    test_env_stop_runtime(env);
}

static void test_no_secret_and_no_id_in_it(void **state)
{
    struct test_env *env = *state;
    json_t *rows = board_load(env, 1, 1);
    char *body;
    test_env_start_runtime(env, NULL);
    await(env, "mission_control_notifications_delivered_total", 1);
    assert_int_equal(test_env_health_get(env, "/metrics", &body), 200);
    assert_null(strstr(body, TEST_SECRET));
    assert_null(strstr(body, TEST_GATEWAY_TOKEN));
    assert_null(strstr(body, TEST_ACCOUNT));
    assert_null(strstr(body, board_string(json_array_get(rows, 0), "id")));
    assert_null(strstr(body, "agent:"));
    free(body);
    json_decref(rows);
    test_env_stop_runtime(env);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_IN_ENV(test_deliveries_are_counted),
        TEST_IN_ENV(test_work_under_way_is_shown),
        TEST_IN_ENV(test_failures_have_classes),
        TEST_IN_ENV(test_those_given_up_on_are_counted),
        TEST_IN_ENV(test_wake_ups_are_counted),
        TEST_IN_ENV(test_poll_failures_show),
        TEST_IN_ENV(test_accept_decides_what_health_says),
        TEST_IN_ENV(test_no_secret_and_no_id_in_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
