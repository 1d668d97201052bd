/* Outages and refusals of the gateway: nothing is charged for them, and work starts when it is
 * over. */
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
#include "base/containers.h"
#include "base/sync.h"

enum { RETURN_MS = 2000 };

static void set(struct test_env *env, const char *key, bool value)
{
    board_set(env, json_pack("{s:b}", key, value));
}

/* Whether /health says words, now. */
static bool health_says(struct test_env *env, const char *words)
{
    char *body;
    assert_int_equal(test_env_health_get(env, "/health", &body), 200);
    bool found = strstr(body, words) != NULL;
    free(body);
    return found;
}

/* What was queued during an outage starts within the limit once it is over, charged with no run. */
static void expect_recovery(struct test_env *env, const char *ends, bool value)
{
    int64_t began_ms = clock_monotonic_ms();
    set(env, ends, value);
    test_env_wait(env, "requests=1");
    assert_in_range(clock_monotonic_ms() - began_ms, 0, RETURN_MS);
    test_env_wait(env, "undelivered=0");
    assert_int_equal(test_env_stat(env, NULL, "replies"), 1);
    assert_true(health_says(env, "\"state\": \"open\""));
}

static void test_endpoint_that_is_switched_off_and_on(void **state)
{
    struct test_env *env = *state;
    char id[ID_BYTES];
    set(env, "gateway_disabled", true);
    board_load_one(env, id);
    test_env_start_runtime(env, (const char *[]){"DELIVERY_MAX_RUNS=1", NULL});
    test_env_wait(env, "action=listUndeliveredNotifications&calls=4");
    assert_true(health_says(env, "responses.enabled"));
    assert_true(health_says(env, "\"degraded\""));
    assert_int_equal(test_env_stat(env, "gateway", "deliveries"), 0);
    expect_recovery(env, "gateway_disabled", false);
    test_env_stop_runtime(env);
}

static void test_gateway_that_drains_and_returns(void **state)
{
    struct test_env *env = *state;
    char id[ID_BYTES];
    set(env, "gateway_draining", true);
    board_load_one(env, id);
    test_env_start_runtime(env, (const char *[]){"DELIVERY_MAX_RUNS=1", NULL});
    test_env_wait(env, "posts=2");
    assert_true(health_says(env, "temporarily unavailable"));
    expect_recovery(env, "gateway_draining", false);
    test_env_stop_runtime(env);
}

/* Probes get through and runs do not: that is never counted, and costs nobody else anything. */
static void refuse_runs_and_deliver(struct test_env *env, int status, const char *header)
{
    enum { TIMES = 5 };
    char id[ID_BYTES];
    board_load_one(env, id);
    board_gateway_fault(env,
        json_pack("{s:s, s:i, s:i, s:{s:s}, s:{s:{s:s}}}", "action", "status", "status", status,
            "times", TIMES, "headers", header, "0", "body_json", "error", "message", "not now"));
    test_env_start_runtime(env, (const char *[]){"DELIVERY_MAX_RUNS=1", NULL});
    test_env_wait(env, "undelivered=0");
    assert_int_equal(board_requests_for(env, id), TIMES + 1);
    assert_int_equal(test_env_stat(env, NULL, "replies"), 1);
    json_t *messages = board_documents(env, "messages");
    int count;
    const json_t *message = board_message_for(messages, id, &count);
    assert_null(strstr(board_string(message, "content"), "No reply"));
    json_decref(messages);
    test_env_stop_runtime(env);
}

static void test_busy_answers_are_not_counted(void **state)
{
    refuse_runs_and_deliver(*state, 429, "Retry-After");
}

static void test_misconfigured_answers_are_not_counted(void **state)
{
    refuse_runs_and_deliver(*state, 403, "X-Nothing");
}

/* The gateway slows a client down that goes on with a wrong token, so it must not be hammered. */
static void test_wrong_gateway_token_is_said_and_not_hammered(void **state)
{
    struct test_env *env = *state;
    char id[ID_BYTES];
    board_load_one(env, id);
    int64_t began_ms = clock_monotonic_ms();
    test_env_start_runtime(env, (const char *[]){"OPENCLAW_GATEWAY_TOKEN=not-the-secret", NULL});
    test_env_wait_log(env, "check OPENCLAW_GATEWAY_TOKEN; the gateway rejects it");
    test_env_wait(env, "posts=4");
    assert_true(clock_monotonic_ms() - began_ms >= 250 + 500 + 1000);
    assert_true(health_says(env, "check OPENCLAW_GATEWAY_TOKEN"));
    assert_false(health_says(env, "not-the-secret"));
    assert_false(process_has_output(&env->runtime, "not-the-secret"));
    test_env_stop_runtime(env);
}

/* What answers at that address is no gateway, though it answers: nobody is asked there. */
static void lead_to_a_web_server(struct test_env *env, int status)
{
    char id[ID_BYTES];
    board_load_one(env, id);
    board_gateway_fault(env, json_pack("{s:s, s:b, s:i, s:s}", "action", "status", "before_checks",
                                 1, "status", status, "body", "<html>Welcome!</html>"));
    test_env_start_runtime(env, (const char *[]){"DELIVERY_MAX_RUNS=1", NULL});
    test_env_wait(env, "posts=4");
    assert_true(
        health_says(env, "check OPENCLAW_GATEWAY_URL: it does not lead to an OpenClaw gateway"));
    assert_true(health_says(env, "\"degraded\""));
    assert_int_equal(board_requests_for(env, id), 0);
    board_clear_faults(env);
    test_env_wait(env, "undelivered=0");
    assert_int_equal(test_env_stat(env, NULL, "replies"), 1);
    test_env_stop_runtime(env);
}

static void test_web_server_that_takes_everything_is_no_gateway(void **state)
{
    lead_to_a_web_server(*state, 200);
}

static void test_web_server_that_takes_no_posts_is_no_gateway(void **state)
{
    lead_to_a_web_server(*state, 405);
}

static void go_through_outage_at_a_proxy(struct test_env *env, int status)
{
    json_t *rows = board_load(env, 6, 3);
    test_env_start_runtime(env, (const char *[]){"DELIVERY_MAX_RUNS=1", NULL});
    test_env_wait(env, "delivered=6");
    board_gateway_fault(env, json_pack("{s:s, s:b, s:i, s:s}", "action", "status", "before_checks",
                                 1, "status", status, "body", "<html>bad gateway</html>"));
    json_decref(board_load(env, 6, 3));
    long posts = test_env_stat(env, "gateway", "posts");
    char more[64];
    snprintf(more, sizeof more, "posts=%ld", posts + 5);
    test_env_wait(env, more);
    assert_true(health_says(env, "\"degraded\""));
    int64_t began_ms = clock_monotonic_ms();
    board_clear_faults(env);
    test_env_wait(env, "requests=7");
    assert_in_range(clock_monotonic_ms() - began_ms, 0, RETURN_MS);
    test_env_wait(env, "undelivered=0");
    assert_int_equal(test_env_stat(env, NULL, "replies"), 12);
    test_env_stop_runtime(env);
    json_decref(rows);
}

/* As a proxy does whose gateway is away: the run that met it is not counted, the rest waits. */
static void test_proxy_without_its_gateway(void **state)
{
    go_through_outage_at_a_proxy(*state, 502);
}

/* As networks say it that deliver for others. */
static void test_network_without_its_gateway(void **state)
{
    go_through_outage_at_a_proxy(*state, 523);
}

/* The failing model provider of the gateway: few runs are spent on finding out that it is back. */
static void test_failing_provider_is_asked_one_agent_at_a_time(void **state)
{
    struct test_env *env = *state;
    json_decref(board_load(env, 8, 8));
    board_gateway_fault(
        env, json_pack("{s:s, s:s, s:i}", "name", "provider", "action", "status", "status", 502));
    test_env_start_runtime(
        env, (const char *[]){"DELIVERY_MAX_CONCURRENT_SESSIONS=1", "DELIVERY_BACKOFF_BASE_MS=100",
                 "DELIVERY_BACKOFF_MAX_MS=400", NULL});
    test_env_wait_log(env, "One agent is asked at a time");
    test_env_wait(env, "requests=5");
    assert_true(health_says(env, "\"trickle\""));
    assert_true(health_says(env, "\"degraded\""));
    board_clear_faults(env);
    test_env_wait(env, "undelivered=0");
    assert_int_equal(test_env_stat(env, NULL, "replies"), 8);
    json_t *record = test_env_get(env, "/sandbox/gateway");
    const json_t *requests = json_object_get(record, "requests");
    /* The fourth and fifth: apart, and of agents that had not failed yet. */
    const json_t *third = json_array_get(requests, 2);
    const json_t *fourth = json_array_get(requests, 3);
    const json_t *fifth = json_array_get(requests, 4);
    assert_true(json_number_value(json_object_get(fourth, "begun_us")) -
                    json_number_value(json_object_get(third, "ended_us")) >=
                90000);
    assert_true(json_number_value(json_object_get(fifth, "begun_us")) -
                    json_number_value(json_object_get(fourth, "ended_us")) >=
                180000);
    assert_string_not_equal(board_string(fourth, "agent"), board_string(fifth, "agent"));
    json_decref(record);
    test_env_stop_runtime(env);
}

/* Of four notifications to two agents the first meets that answer at each try; the others do not.
 */
static void expect_note_after(struct test_env *env, int status, const char *header)
{
    enum { NOTIFICATIONS = 4, AGENTS = 2 };
    json_t *rows = board_load(env, NOTIFICATIONS, AGENTS);
    const char *bad = board_string(json_array_get(rows, 0), "id");
    int count;
    board_gateway_fault(
        env, json_pack("{s:{s:s}, s:s, s:i, s:{s:s}, s:{s:{s:s}}}", "match", "notification", bad,
                 "action", "status", "status", status, "headers", header, "0", "body_json", "error",
                 "message", "unknown agent @all"));
    test_env_start_runtime(
        env, (const char *[]){"DELIVERY_GIVE_UP_AFTER_MS=300", "DELIVERY_MAX_RUNS=1", NULL});
    test_env_wait(env, "undelivered=0");
    json_t *messages = board_documents(env, "messages");
    const json_t *note = board_message_for(messages, bad, &count);
    assert_int_equal(count, 1);
    assert_non_null(strstr(board_string(note, "content"), "refused it for too long"));
    assert_null(strchr(board_string(note, "content"), '@'));
    assert_true(board_requests_for(env, bad) > 1);
    assert_int_equal(test_env_stat(env, NULL, "replies"), NOTIFICATIONS);
    assert_true(health_says(env, "\"state\": \"open\""));
    json_decref(messages);
    test_env_stop_runtime(env);
    json_decref(rows);
}

static void test_refused_for_too_long_ends_with_a_note(void **state)
{
    expect_note_after(*state, 400, "X-Nothing");
}

/* A limit that only one of them meets shuts out all, but not for long, and that one ends. */
static void test_busy_for_one_alone_ends_with_a_note(void **state)
{
    expect_note_after(*state, 429, "Retry-After");
}

/* After a run that took too long, the next one gets twice the time. */
static void test_own_timeout_doubles(void **state)
{
    struct test_env *env = *state;
    char id[ID_BYTES];
    board_load_one(env, id);
    board_set(env, json_pack("{s:i}", "gateway_latency_ms", 500));
    test_env_start_runtime(
        env, (const char *[]){"OPENCLAW_REQUEST_TIMEOUT_MS=200", "DELIVERY_BACKOFF_BASE_MS=1",
                 "DELIVERY_BACKOFF_MAX_MS=10", NULL});
    test_env_wait(env, "undelivered=0");
    assert_int_equal(board_requests_for(env, id), 3);
    assert_int_equal(test_env_stat(env, NULL, "replies"), 1);
    assert_true(process_has_output(&env->runtime, "timed out after 200ms"));
    assert_true(process_has_output(&env->runtime, "timed out after 400ms"));
    test_env_stop_runtime(env);
}

static void fail_for_ever(struct test_env *env, const char *action)
{
    board_backend_fault(
        env, json_pack("{s:s, s:s}", "action", action, "behaviour", "function_error"));
}

/* What the backend will not take is kept for the operator, and no agent is asked again for it. */
static void test_reply_that_is_refused_for_too_long_is_kept(void **state)
{
    struct test_env *env = *state;
    const char *const settings[] = {"DELIVERY_GIVE_UP_AFTER_MS=200", NULL};
    char id[ID_BYTES];
    board_load_one(env, id);
    fail_for_ever(env, "createMessageFromAgent");
    fail_for_ever(env, "markNotificationDelivered");
    test_env_start_runtime(env, settings);
    test_env_wait_log(env, "it is kept in dead/");
    assert_true(health_says(env, "\"dead\": 1"));
    test_env_stop_runtime(env);
    board_clear_faults(env);
    test_env_start_runtime(env, settings);
    test_env_wait_log(env, "dead/ holds 1");
    json_decref(board_load(env, 1, 1));
    test_env_wait(env, "delivered=1");
    assert_int_equal(board_requests_for(env, id), 1);
    test_env_stop_runtime(env);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_IN_ENV(test_endpoint_that_is_switched_off_and_on),
        TEST_IN_ENV(test_gateway_that_drains_and_returns),
        TEST_IN_ENV(test_busy_answers_are_not_counted),
        TEST_IN_ENV(test_misconfigured_answers_are_not_counted),
        TEST_IN_ENV(test_web_server_that_takes_everything_is_no_gateway),
        TEST_IN_ENV(test_web_server_that_takes_no_posts_is_no_gateway),
        TEST_IN_ENV(test_wrong_gateway_token_is_said_and_not_hammered),
        TEST_IN_ENV(test_proxy_without_its_gateway),
        TEST_IN_ENV(test_network_without_its_gateway),
        TEST_IN_ENV(test_failing_provider_is_asked_one_agent_at_a_time),
        TEST_IN_ENV(test_refused_for_too_long_ends_with_a_note),
        TEST_IN_ENV(test_busy_for_one_alone_ends_with_a_note),
        TEST_IN_ENV(test_own_timeout_doubles),
        TEST_IN_ENV(test_reply_that_is_refused_for_too_long_is_kept),
    };
    return cmocka_run_group_tests_name("gate", tests, NULL, NULL);
}
