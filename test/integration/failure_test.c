/* Gateway and backend faults: no reply is lost, none is written twice, no agent runs twice. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "../lib/board.h"
#include "base/containers.h"

static int count_messages_for(struct test_env *env, const char *id)
{
    int count;
    json_t *messages = board_documents(env, "messages");
    board_message_for(messages, id, &count);
    json_decref(messages);
    return count;
}

/*
 * One worker, so the second send could reuse the connection of the first; libcurl repeats a POST by
 * itself when a reused connection dies before the answer.
 */
static void test_send_on_a_dead_connection_is_not_repeated(void **state)
{
    struct test_env *env = *state;
    json_t *rows = board_load(env, 2, 1);
    const char *first = board_string(json_array_get(rows, 0), "id");
    const char *second = board_string(json_array_get(rows, 1), "id");
    board_gateway_fault(env, json_pack("{s:{s:s}, s:s}", "match", "notification", second, "action",
                                 "drop_before_answer"));
    test_env_start_runtime(
        env, STRINGS("DELIVERY_MAX_CONCURRENT_SESSIONS=1", "DELIVERY_MAX_RUNS=1"));
    test_env_wait(env, "undelivered=0");
    assert_int_equal(board_requests_for(env, first), 1);
    assert_int_equal(board_requests_for(env, second), 1);
    test_env_stop_runtime(env);
    json_decref(rows);
}

static void test_spent_run_budget_ends_with_a_note(void **state)
{
    struct test_env *env = *state;
    char id[ID_BYTES];
    int count;
    board_load_one(env, id);
    board_gateway_fault(env, json_pack("{s:s, s:i, s:{s:s, s:s, s:{s:s}}}", "action", "raw_body",
                                 "status", 500, "body_json", "object", "response", "status",
                                 "failed", "error", "message", "@jarvis secret server words"));
    test_env_start_runtime(env, STRINGS("DELIVERY_MAX_RUNS=3"));
    test_env_wait(env, "undelivered=0");
    assert_int_equal(board_requests_for(env, id), 3);
    json_t *messages = board_documents(env, "messages");
    const json_t *note = board_message_for(messages, id, &count);
    assert_int_equal(count, 1);
    assert_null(strchr(board_string(note, "content"), '@'));
    assert_null(strstr(board_string(note, "content"), "server words"));
    json_decref(messages);
    test_env_stop_runtime(env);
}

static void test_refusals_before_a_run_cost_no_run(void **state)
{
    struct test_env *env = *state;
    char id[ID_BYTES];
    board_load_one(env, id);
    board_gateway_fault(
        env, json_pack("{s:s, s:b, s:i, s:i, s:{s:s}, s:{s:{s:s}}}", "action", "status",
                 "before_checks", 1, "status", 503, "times", 6, "headers", "Retry-After", "0",
                 "body_json", "error", "code", "gateway_unavailable"));
    test_env_start_runtime(env, STRINGS("DELIVERY_MAX_RUNS=1"));
    test_env_wait(env, "undelivered=0");
    /* Six refusals, a probe, a run; on v1 the question about tools. */
    assert_int_equal(test_env_stat(env, "gateway", "posts"), test_env_is_v1(env) ? 9 : 8);
    assert_int_equal(board_requests_for(env, id), 1);
    assert_int_equal(count_messages_for(env, id), 1);
    test_env_stop_runtime(env);
}

static void test_stale_list_starts_no_second_run(void **state)
{
    struct test_env *env = *state;
    char id[ID_BYTES];
    board_load_one(env, id);
    board_hold_agents(env, "agent");
    test_env_start_runtime(env, NULL);
    test_env_wait(env, "in_flight=1");
    long reads = test_env_stat(env, "backend", "getNotificationForDelivery");
    board_backend_fault(
        env, json_pack("{s:s, s:s, s:s, s:i}", "action", "listUndeliveredNotifications",
                 "behaviour", "hold_after", "name", "list", "times", 1));
    test_env_wait(env, "held=2");
    board_release(env, "agent");
    test_env_wait(env, "delivered=1");
    char listed[128];
    snprintf(listed, sizeof listed, "action=listUndeliveredNotifications&calls=%ld",
        test_env_stat(env, "backend", "listUndeliveredNotifications") + 2);
    board_release(env, "list");
    test_env_wait(env, listed);
    /* It was not even read again; reading its context would also have prevented a second run. */
    assert_int_equal(test_env_stat(env, "backend", "getNotificationForDelivery"), reads);
    assert_int_equal(board_requests_for(env, id), 1);
    assert_int_equal(count_messages_for(env, id), 1);
    test_env_stop_runtime(env);
}

/* Makes the function fail once in each way before it succeeds. */
static void expect_one_run_despite_failures_of(struct test_env *env, const char *action)
{
    static const char *const behaviours[] = {
        "status", "drop_before", "drop_after", "status_after", "function_error", "drop_mid_answer"};
    char id[ID_BYTES];
    board_load_one(env, id);
    for (size_t i = 0; i < sizeof behaviours / sizeof behaviours[0]; i++)
        board_fail(env, action, behaviours[i], 1);
    test_env_start_runtime(env, NULL);
    test_env_wait(env, "undelivered=0");
    assert_int_equal(board_requests_for(env, id), 1);
    assert_int_equal(count_messages_for(env, id), 1);
    test_env_stop_runtime(env);
}

static void test_failed_write_back_starts_no_second_run(void **state)
{
    expect_one_run_despite_failures_of(*state, "createMessageFromAgent");
}

static void test_failed_mark_starts_no_second_run(void **state)
{
    expect_one_run_despite_failures_of(*state, "markNotificationDelivered");
}

static void test_failed_context_is_read_again(void **state)
{
    expect_one_run_despite_failures_of(*state, "getNotificationForDelivery");
}

static void test_failed_list_is_polled_again(void **state)
{
    expect_one_run_despite_failures_of(*state, "listUndeliveredNotifications");
}

/* A replica that lags behind, for example: the list has the notification, its context is null. */
static void test_listed_notification_with_a_null_context_is_read_again(void **state)
{
    struct test_env *env = *state;
    char id[ID_BYTES];
    board_load_one(env, id);
    board_backend_fault(env, json_pack("{s:s, s:s, s:i, s:s, s:i}", "action",
                                 "getNotificationForDelivery", "behaviour", "status", "status", 200,
                                 "body", "{\"status\":\"success\",\"value\":null}", "times", 1));
    test_env_start_runtime(env, NULL);
    test_env_wait_log(env, "notifications without a context are still listed");
    test_env_wait(env, "undelivered=0");
    assert_int_equal(board_requests_for(env, id), 1);
    test_env_stop_runtime(env);
}

/* The mark was confirmed and lost: without another the notification would be listed for ever. */
static void test_listed_notification_that_was_marked_is_marked_again(void **state)
{
    struct test_env *env = *state;
    char id[ID_BYTES];
    board_load_one(env, id);
    board_backend_fault(
        env, json_pack("{s:s, s:s, s:i, s:s, s:i}", "action", "markNotificationDelivered",
                 "behaviour", "status", "status", 200, "body",
                 "{\"status\":\"success\",\"value\":{\"success\":true}}", "times", 1));
    test_env_start_runtime(env, NULL);
    test_env_wait_log(env, "1 notifications that have ended are still listed");
    test_env_wait(env, "undelivered=0");
    assert_int_equal(board_requests_for(env, id), 1);
    assert_int_equal(count_messages_for(env, id), 1);
    test_env_wait_words(
        env, "/metrics", "\nmission_control_notifications_delivered_total 1\n", true);
    test_env_stop_runtime(env);
}

/* A backoff of up to 12 hours, which only the success of a report can end. */
static void test_first_success_of_any_call_ends_the_backoff_of_polls(void **state)
{
    struct test_env *env = *state;
    char id[ID_BYTES];
    board_load_one(env, id);
    board_backend_fault(env, json_pack("{s:s, s:i}", "behaviour", "status", "status", 503));
    test_env_start_runtime(
        env, STRINGS("HEALTH_CHECK_INTERVAL=200", "DELIVERY_BACKOFF_BASE_MS=43200000",
                 "DELIVERY_BACKOFF_MAX_MS=43200000"));
    test_env_wait_log(env, "Poll error: ");
    board_clear_faults(env);
    test_env_wait(env, "undelivered=0");
    test_env_wait_log(env, "Polling works again after ");
    test_env_stop_runtime(env);
}

/* If only the list fails, the calls that succeed must not undo its backoff. */
static void test_polls_that_fail_alone_are_backed_off(void **state)
{
    enum { REPORTS = 60, MAX_POLLS = 6 }; /* at 0, 0.5, 1.5, 3.5, 7.5 and 15.5 s */
    struct test_env *env = *state;
    board_fail(env, "listUndeliveredNotifications", "status", -1);
    test_env_start_runtime(
        env, STRINGS("HEALTH_CHECK_INTERVAL=50", "DELIVERY_BACKOFF_BASE_MS=43200000",
                 "DELIVERY_BACKOFF_MAX_MS=43200000"));
    test_env_wait_calls(env, "listUndeliveredNotifications", 2);
    test_env_wait_calls(env, "updateRuntimeStatus", REPORTS);
    assert_in_range(test_env_stat(env, "backend", "listUndeliveredNotifications"), 2, MAX_POLLS);
    test_env_stop_runtime(env);
}

static void test_killed_runtime_keeps_the_reply(void **state)
{
    struct test_env *env = *state;
    char id[ID_BYTES];
    board_load_one(env, id);
    board_backend_fault(env, json_pack("{s:s, s:s, s:s, s:i}", "action", "createMessageFromAgent",
                                 "behaviour", "hang", "name", "write", "times", 1));
    test_env_start_runtime(env, NULL);
    test_env_wait(env, "held=1");
    process_signal(&env->runtime, SIGKILL);
    assert_int_equal(process_wait_exit(&env->runtime, TEST_WAIT_MS), 128 + SIGKILL);
    test_env_start_runtime(env, NULL);
    test_env_wait(env, "undelivered=0");
    assert_int_equal(board_requests_for(env, id), 1);
    assert_int_equal(count_messages_for(env, id), 1);
    test_env_stop_runtime(env);
}

static void test_notifications_of_a_deleted_agent_or_task_are_skipped(void **state)
{
    struct test_env *env = *state;
    json_t *rows = board_load(env, 4, 4);
    json_decref(test_env_post(env, "/sandbox/delete",
        json_pack("{s:s}", "id", board_string(json_array_get(rows, 0), "agent"))));
    json_decref(test_env_post(env, "/sandbox/delete",
        json_pack("{s:s}", "id", board_string(json_array_get(rows, 1), "task"))));
    test_env_start_runtime(env, NULL);
    test_env_wait(env, "undelivered=0");
    assert_int_equal(board_requests_for(env, board_string(json_array_get(rows, 0), "id")), 0);
    assert_int_equal(count_messages_for(env, board_string(json_array_get(rows, 1), "id")), 0);
    test_env_wait_log(env, "reason=agent_gone");
    test_env_wait_log(env, "reason=task_gone");
    test_env_stop_runtime(env);
    json_decref(rows);
}

/* In one page, if it may be so long: above 10,000 JSON values and keys per thousand rows. */
static void test_thousands_of_stuck_notifications_can_be_listed(void **state)
{
    struct test_env *env = *state;
    const char *held = test_env_is_v1(env) ? "mission_control_notifications_undelivered 500\n"
                                           : "mission_control_notifications_undelivered 6000\n";
    board_set_flag(env, "gateway_draining", true);
    json_decref(board_load(env, 6000, 200));
    test_env_start_runtime(env,
        STRINGS("DELIVERY_QUEUE_CAPACITY=8000", "DELIVERY_LIST_LIMIT=500", "DELIVERY_INTERVAL=20"));
    test_env_wait_words(env, "/metrics", held, true);
    assert_false(process_has_output(&env->runtime, "Poll error"));
    test_env_stop_runtime(env);
}

static void test_hanging_agent_delays_no_other(void **state)
{
    struct test_env *env = *state;
    json_t *rows = board_load(env, 20, 4);
    board_gateway_fault(
        env, json_pack("{s:{s:s}, s:s, s:s}", "match", "notification",
                 board_string(json_array_get(rows, 0), "id"), "action", "hold", "name", "stuck"));
    test_env_start_runtime(env, STRINGS("DELIVERY_MAX_CONCURRENT_SESSIONS=2"));
    test_env_wait(env, "delivered=15");
    board_release(env, "stuck");
    test_env_wait(env, "delivered=20");
    test_env_stop_runtime(env);
    json_decref(rows);
}

/* By the backend's own door, or by a proxy that stands before it. */
static void test_refused_login_is_reported_with_its_fix(void **state)
{
    struct test_env *env = *state;
    json_t *rule = json_pack("{s:s, s:i, s:s}", "behaviour", "status", "status", 401, "body",
        "{\"code\":\"Unauthorized\"}");
    board_backend_fault(env, rule);
    test_env_start_runtime(env, NULL);
    test_env_wait_words(env, "/status",
        "[\"The backend cannot be polled: it, or a proxy in front of it, refuses our credentials; "
        "check that SERVICE_TOKEN and ACCOUNT_ID",
        true);
    test_env_wait_words(env, "/status",
        "HTTP 401: {\\\"code\\\":\\\"Unauthorized\\\"}; check that SERVICE_TOKEN", true);
    board_clear_faults(env);
    test_env_wait_words(env, "/status", "refuses our credentials; ", false);
    test_env_stop_runtime(env);
}

static void test_wrong_service_token_is_reported_without_the_token(void **state)
{
    struct test_env *env = *state;
    char id[ID_BYTES];
    board_load_one(env, id);
    test_env_start_runtime(
        env, STRINGS("SERVICE_TOKEN=mc_service_" TEST_ACCOUNT "_wrong-secret-value"));
    test_env_wait_log(env, "cannot be polled: it refuses the service token, which is wrong or was "
                           "replaced; create a new service token");
    assert_false(process_has_output(&env->runtime, "wrong-secret-value"));
    test_env_wait_words(env, "/health", "\"degraded\"", true);
    assert_false(test_env_health_has(env, "/health", "wrong-secret-value"));
    assert_false(test_env_health_has(env, "/status", "wrong-secret-value"));
    test_env_wait_words(env, "/status",
        "\"The backend cannot be polled: it refuses the service token, which is wrong or was "
        "replaced; create a new service token for the account on the board and set SERVICE_TOKEN "
        "to it\"",
        true);
    test_env_wait_words(env, "/status",
        "\"text\":\"listUndeliveredNotifications: Server Error Uncaught Error: Invalid service "
        "token; "
        "create a new service token for the account on the board",
        true);
    assert_false(test_env_health_has(env, "/status", "actions.ts"));
    assert_false(process_has_output(&env->runtime, "actions.ts"));
    assert_int_equal(board_requests_for(env, id), 0);
    test_env_stop_runtime(env);
}

static void test_redirect_is_reported_not_followed(void **state)
{
    struct test_env *env = *state;
    char location[200];
    snprintf(location, sizeof location, "%s/sandbox/stats", env->url);
    board_backend_fault(
        env, json_pack("{s:s, s:s, s:i, s:{s:s}}", "action", "listUndeliveredNotifications",
                 "behaviour", "status", "status", 307, "headers", "Location", location));
    test_env_start_runtime(env, NULL);
    test_env_wait_log(env, "HTTP 307");
    test_env_wait_log(env, "it does not answer as a Convex deployment; check CONVEX_URL: ");
    test_env_stop_runtime(env);
}

static void test_disabled_gateway_reads_no_context(void **state)
{
    struct test_env *env = *state;
    char id[ID_BYTES];
    board_load_one(env, id);
    test_env_start_runtime(env, STRINGS("OPENCLAW_GATEWAY_URL="));
    test_env_wait(env, "action=listUndeliveredNotifications&calls=3");
    assert_int_equal(test_env_stat(env, "backend", "getNotificationForDelivery"), 0);
    test_env_wait_words(env, "/health", "OPENCLAW_GATEWAY_URL", true);
    test_env_stop_runtime(env);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_ON_BOTH(test_send_on_a_dead_connection_is_not_repeated),
        TEST_ON_BOTH(test_spent_run_budget_ends_with_a_note),
        TEST_ON_BOTH(test_refusals_before_a_run_cost_no_run),
        TEST_ON_BOTH(test_stale_list_starts_no_second_run),
        TEST_ON_BOTH(test_failed_write_back_starts_no_second_run),
        TEST_ON_BOTH(test_failed_mark_starts_no_second_run),
        TEST_ON_BOTH(test_failed_context_is_read_again),
        TEST_ON_BOTH(test_failed_list_is_polled_again),
        TEST_ON_BOTH(test_listed_notification_with_a_null_context_is_read_again),
        TEST_ON_BOTH(test_listed_notification_that_was_marked_is_marked_again),
        TEST_IN_ENV(test_first_success_of_any_call_ends_the_backoff_of_polls),
        TEST_IN_ENV(test_polls_that_fail_alone_are_backed_off),
        TEST_ON_BOTH(test_killed_runtime_keeps_the_reply),
        TEST_ON_BOTH(test_notifications_of_a_deleted_agent_or_task_are_skipped),
        TEST_ON_BOTH(test_thousands_of_stuck_notifications_can_be_listed),
        TEST_ON_BOTH(test_hanging_agent_delays_no_other),
        TEST_IN_ENV(test_refused_login_is_reported_with_its_fix),
        TEST_IN_ENV(test_wrong_service_token_is_reported_without_the_token),
        TEST_IN_ENV(test_redirect_is_reported_not_followed),
        TEST_ON_BOTH(test_disabled_gateway_reads_no_context),
    };
    return cmocka_run_group_tests_name("failure", tests, NULL, NULL);
}
