/* Faults of the gateway and the backend: nothing lost, nothing twice. */
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

static void fail_backend(struct test_env *env, const char *action, const char *behaviour, int times)
{
    board_backend_fault(env,
        json_pack("{s:s, s:s, s:i}", "action", action, "behaviour", behaviour, "times", times));
}

static int messages_for(struct test_env *env, const char *id)
{
    int count;
    json_t *messages = board_documents(env, "messages");
    board_message_for(messages, id, &count);
    json_decref(messages);
    return count;
}

/*
 * One worker, so that the second send could reuse the connection of the first: libcurl would repeat
 * its POST when that dies.
 */
static void test_gateway_that_dies_before_answering_sees_one_request(void **state)
{
    struct test_env *env = *state;
    json_t *rows = board_load(env, 2, 1);
    const char *first = board_string(json_array_get(rows, 0), "id");
    const char *second = board_string(json_array_get(rows, 1), "id");
    board_gateway_fault(env, json_pack("{s:{s:s}, s:s}", "match", "notification", second, "action",
                                 "drop_before_answer"));
    test_env_start_runtime(
        env, (const char *[]){"DELIVERY_MAX_CONCURRENT_SESSIONS=1", "DELIVERY_MAX_RUNS=1", NULL});
    test_env_wait(env, "undelivered=0");
    assert_int_equal(board_requests_for(env, first), 1);
    assert_int_equal(board_requests_for(env, second), 1);
    test_env_stop_runtime(env);
    json_decref(rows);
}

static void test_runs_end_at_the_budget_with_a_note(void **state)
{
    struct test_env *env = *state;
    char id[ID_BYTES];
    int count;
    board_load_one(env, id);
    board_gateway_fault(env, json_pack("{s:s, s:i, s:{s:s, s:s, s:{s:s}}}", "action", "raw_body",
                                 "status", 500, "body_json", "object", "response", "status",
                                 "failed", "error", "message", "@jarvis secret server words"));
    test_env_start_runtime(env, (const char *[]){"DELIVERY_MAX_RUNS=3", NULL});
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

static void test_refusals_from_before_a_run_are_not_counted(void **state)
{
    struct test_env *env = *state;
    char id[ID_BYTES];
    board_load_one(env, id);
    board_gateway_fault(
        env, json_pack("{s:s, s:b, s:i, s:i, s:{s:s}, s:{s:{s:s}}}", "action", "status",
                 "before_checks", 1, "status", 503, "times", 6, "headers", "Retry-After", "0",
                 "body_json", "error", "code", "gateway_unavailable"));
    test_env_start_runtime(env, (const char *[]){"DELIVERY_MAX_RUNS=1", NULL});
    test_env_wait(env, "undelivered=0");
    assert_int_equal(test_env_stat(env, "gateway", "posts"), 8); /* six refused, a probe, a run */
    assert_int_equal(board_requests_for(env, id), 1);
    assert_int_equal(messages_for(env, id), 1);
    test_env_stop_runtime(env);
}

static void test_list_that_was_under_way_runs_nobody_again(void **state)
{
    struct test_env *env = *state;
    char id[ID_BYTES];
    board_load_one(env, id);
    board_hold_agents(env, "agent");
    test_env_start_runtime(env, NULL);
    test_env_wait(env, "in_flight=1");
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
    /* Not even looked at again: the context would have stopped a second run, too. */
    assert_int_equal(test_env_stat(env, "backend", "getNotificationForDelivery"), 1);
    assert_int_equal(board_requests_for(env, id), 1);
    assert_int_equal(messages_for(env, id), 1);
    test_env_stop_runtime(env);
}

/* Each way in which one backend call can fail before it works. */
static void expect_one_run_despite(struct test_env *env, const char *action)
{
    static const char *const behaviours[] = {
        "status", "drop_before", "drop_after", "status_after", "function_error", "drop_mid_answer"};
    char id[ID_BYTES];
    board_load_one(env, id);
    for (size_t i = 0; i < sizeof behaviours / sizeof behaviours[0]; i++)
        fail_backend(env, action, behaviours[i], 1);
    test_env_start_runtime(env, NULL);
    test_env_wait(env, "undelivered=0");
    assert_int_equal(board_requests_for(env, id), 1);
    assert_int_equal(messages_for(env, id), 1);
    test_env_stop_runtime(env);
}

static void test_write_back_that_fails_runs_nobody_again(void **state)
{
    expect_one_run_despite(*state, "createMessageFromAgent");
}

static void test_mark_that_fails_runs_nobody_again(void **state)
{
    expect_one_run_despite(*state, "markNotificationDelivered");
}

static void test_context_that_fails_is_asked_again(void **state)
{
    expect_one_run_despite(*state, "getNotificationForDelivery");
}

static void test_list_that_fails_is_asked_again(void **state)
{
    expect_one_run_despite(*state, "listUndeliveredNotifications");
}

static void test_killed_runtime_loses_no_reply(void **state)
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
    assert_int_equal(messages_for(env, id), 1);
    test_env_stop_runtime(env);
}

static void test_deleted_agent_and_task_are_skipped(void **state)
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
    assert_int_equal(messages_for(env, board_string(json_array_get(rows, 1), "id")), 0);
    test_env_wait_log(env, "reason=agent_gone");
    test_env_wait_log(env, "reason=task_gone");
    test_env_stop_runtime(env);
    json_decref(rows);
}

/* Their rows are listed again and again, more than ten thousand values and keys for each thousand.
 */
static void test_thousands_that_are_stuck_can_be_listed(void **state)
{
    struct test_env *env = *state;
    board_set_flag(env, "gateway_draining", true);
    json_decref(board_load(env, 6000, 200));
    test_env_start_runtime(env, (const char *[]){"DELIVERY_QUEUE_CAPACITY=8000",
                                    "DELIVERY_LIST_LIMIT=500", "DELIVERY_INTERVAL=20", NULL});
    test_env_wait(env, "action=listUndeliveredNotifications&calls=20");
    assert_false(process_has_output(&env->runtime, "Poll error"));
    test_env_stop_runtime(env);
}

static void test_one_hanging_agent_delays_no_other(void **state)
{
    struct test_env *env = *state;
    json_t *rows = board_load(env, 20, 4);
    board_gateway_fault(
        env, json_pack("{s:{s:s}, s:s, s:s}", "match", "notification",
                 board_string(json_array_get(rows, 0), "id"), "action", "hold", "name", "stuck"));
    test_env_start_runtime(env, (const char *[]){"DELIVERY_MAX_CONCURRENT_SESSIONS=2", NULL});
    test_env_wait(env, "delivered=15");
    board_release(env, "stuck");
    test_env_wait(env, "delivered=20");
    test_env_stop_runtime(env);
    json_decref(rows);
}

static void test_wrong_token_is_said_without_the_token(void **state)
{
    struct test_env *env = *state;
    char id[ID_BYTES];
    board_load_one(env, id);
    test_env_start_runtime(env,
        (const char *[]){"SERVICE_TOKEN=mc_service_" TEST_ACCOUNT "_wrong-secret-value", NULL});
    test_env_wait_log(env, "The backend refuses the service token. SERVICE_TOKEN must come from ");
    assert_false(process_has_output(&env->runtime, "wrong-secret-value"));
    char *body;
    assert_int_equal(test_env_health_get(env, "/health", &body), 200);
    assert_non_null(strstr(body, "\"degraded\""));
    assert_null(strstr(body, "wrong-secret-value"));
    free(body);
    assert_int_equal(board_requests_for(env, id), 0);
    test_env_stop_runtime(env);
}

static void test_redirect_is_not_followed(void **state)
{
    struct test_env *env = *state;
    char location[200];
    snprintf(location, sizeof location, "%s/sandbox/stats", env->url);
    board_backend_fault(
        env, json_pack("{s:s, s:s, s:i, s:{s:s}}", "action", "listUndeliveredNotifications",
                 "behaviour", "status", "status", 307, "headers", "Location", location));
    test_env_start_runtime(env, NULL);
    test_env_wait_log(env, "HTTP 307");
    test_env_wait_log(env, "Check CONVEX_URL");
    test_env_stop_runtime(env);
}

static void test_disabled_gateway_asks_for_nothing(void **state)
{
    struct test_env *env = *state;
    char id[ID_BYTES];
    board_load_one(env, id);
    test_env_start_runtime(env, (const char *[]){"OPENCLAW_GATEWAY_URL=", NULL});
    test_env_wait(env, "action=listUndeliveredNotifications&calls=3");
    assert_int_equal(test_env_stat(env, "backend", "getNotificationForDelivery"), 0);
    char *body;
    assert_int_equal(test_env_health_get(env, "/health", &body), 200);
    assert_non_null(strstr(body, "OPENCLAW_GATEWAY_URL"));
    free(body);
    test_env_stop_runtime(env);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_IN_ENV(test_gateway_that_dies_before_answering_sees_one_request),
        TEST_IN_ENV(test_runs_end_at_the_budget_with_a_note),
        TEST_IN_ENV(test_refusals_from_before_a_run_are_not_counted),
        TEST_IN_ENV(test_list_that_was_under_way_runs_nobody_again),
        TEST_IN_ENV(test_write_back_that_fails_runs_nobody_again),
        TEST_IN_ENV(test_mark_that_fails_runs_nobody_again),
        TEST_IN_ENV(test_context_that_fails_is_asked_again),
        TEST_IN_ENV(test_list_that_fails_is_asked_again),
        TEST_IN_ENV(test_killed_runtime_loses_no_reply),
        TEST_IN_ENV(test_deleted_agent_and_task_are_skipped),
        TEST_IN_ENV(test_thousands_that_are_stuck_can_be_listed),
        TEST_IN_ENV(test_one_hanging_agent_delays_no_other),
        TEST_IN_ENV(test_wrong_token_is_said_without_the_token),
        TEST_IN_ENV(test_redirect_is_not_followed),
        TEST_IN_ENV(test_disabled_gateway_asks_for_nothing),
    };
    return cmocka_run_group_tests_name("failure", tests, NULL, NULL);
}
