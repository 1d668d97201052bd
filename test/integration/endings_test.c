/* How notifications end that neither the gateway nor the backend makes easy: never without a trace.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../lib/board.h"
#include "base/containers.h"

static void fail_function(struct test_env *env, const char *action, int times)
{
    board_backend_fault(env, json_pack("{s:s, s:s, s:i}", "action", action, "behaviour",
                                 "function_error", "times", times));
}

/* A first request to the agent that is refused, but not before it is released. */
static void refuse_once_when_released(struct test_env *env)
{
    board_gateway_fault(env,
        json_pack("{s:s, s:b, s:s, s:i, s:i, s:{s:{s:s}}}", "name", "refusal", "hold", 1, "action",
            "status", "status", 400, "times", 1, "body_json", "error", "message", "not now"));
}

static void expect_content(struct test_env *env, const char *id, const char *words, bool there)
{
    int count;
    json_t *messages = board_documents(env, "messages");
    const json_t *message = board_message_for(messages, id, &count);
    assert_int_equal(count, 1);
    assert_int_equal(strstr(board_string(message, "content"), words) != NULL, there);
    json_decref(messages);
}

/* The time of refusals and that of errors run on different clocks, and must not be mixed. */
static void test_a_refusal_and_an_error_are_not_a_day(void **state)
{
    struct test_env *env = *state;
    char id[ID_BYTES];
    board_load_one(env, id);
    refuse_once_when_released(env);
    test_env_start_runtime(env, (const char *[]){"DELIVERY_GIVE_UP_AFTER_MS=600000", NULL});
    test_env_wait(env, "held=1");
    fail_function(env, "getNotificationForDelivery", 1);
    board_release(env, "refusal");
    test_env_wait(env, "undelivered=0");
    assert_int_equal(board_requests_for(env, id), 2);
    expect_content(env, id, "No reply", false);
    test_env_stop_runtime(env);
}

static void test_unreadable_notification_is_kept_for_operators(void **state)
{
    struct test_env *env = *state;
    char id[ID_BYTES];
    board_load_one(env, id);
    fail_function(env, "getNotificationForDelivery", -1);
    test_env_start_runtime(env, (const char *[]){"DELIVERY_GIVE_UP_AFTER_MS=200", NULL});
    test_env_wait_log(env, "it is kept in dead/");
    assert_int_equal(test_env_stat(env, NULL, "undelivered"), 1);
    assert_int_equal(test_env_stat(env, "gateway", "deliveries"), 0);
    test_env_stop_runtime(env);
}

/* Why it ends is known before the mark, and still when that has to be tried again. */
static void test_reason_of_a_skip_outlives_a_failed_mark(void **state)
{
    struct test_env *env = *state;
    char id[ID_BYTES];
    char rest[512];
    char *metrics;
    json_t *rows = board_load(env, 1, 1);
    snprintf(id, sizeof id, "%s", board_string(json_array_get(rows, 0), "task"));
    json_decref(rows);
    json_decref(test_env_post(env, "/sandbox/delete", json_pack("{s:s}", "id", id)));
    board_backend_fault(
        env, json_pack("{s:s, s:s, s:i, s:i}", "action", "markNotificationDelivered", "behaviour",
                 "status", "status", 503, "times", 1));
    test_env_start_runtime(env, NULL);
    assert_true(process_wait_output(&env->runtime, "Skipped ", TEST_WAIT_MS, rest, sizeof rest));
    assert_non_null(strstr(rest, "reason=task_gone"));
    assert_int_equal(test_env_health_get(env, "/metrics", &metrics), 200);
    assert_non_null(strstr(metrics, "reason=\"task_gone\"} 1"));
    free(metrics);
    test_env_stop_runtime(env);
}

/* Its task is known from an earlier look, so the thread is told. */
static void test_notification_that_became_unreadable_ends_with_a_note(void **state)
{
    struct test_env *env = *state;
    char id[ID_BYTES];
    board_load_one(env, id);
    refuse_once_when_released(env);
    test_env_start_runtime(env, (const char *[]){"DELIVERY_GIVE_UP_AFTER_MS=300", NULL});
    test_env_wait(env, "held=1");
    fail_function(env, "getNotificationForDelivery", -1);
    board_release(env, "refusal");
    test_env_wait(env, "undelivered=0");
    expect_content(env, id, "the backend refused it for too long", true);
    test_env_stop_runtime(env);
}

/* A proxy's timeout is no refusal: the agent was at work behind it. */
static void test_late_answer_of_a_proxy_counts_as_a_run(void **state)
{
    struct test_env *env = *state;
    char id[ID_BYTES];
    board_load_one(env, id);
    board_gateway_fault(env, json_pack("{s:s, s:i, s:i, s:s}", "action", "status", "status", 504,
                                 "latency_ms", 3200, "body", "gateway timeout"));
    test_env_start_runtime(env, (const char *[]){"DELIVERY_MAX_RUNS=1", NULL});
    test_env_wait(env, "undelivered=0");
    assert_int_equal(board_requests_for(env, id), 1);
    expect_content(env, id, "No reply", true);
    test_env_stop_runtime(env);
}

/*
 * The backend never took the reply, and the disk does not take it into dead/ at first: nothing that
 * happens meanwhile may let go of it.
 */
static void test_reply_survives_a_burial_that_fails(void **state)
{
    struct test_env *env = *state;
    char id[ID_BYTES];
    char path[512];
    board_load_one(env, id);
    fail_function(env, "createMessageFromAgent", -1);
    board_hold_agents(env, "agent");
    test_env_start_runtime(env, (const char *[]){"DELIVERY_GIVE_UP_AFTER_MS=200", NULL});
    test_env_wait(env, "held=1");
    snprintf(path, sizeof path, "%s/state/dead/%s.json", env->dir, id);
    assert_int_equal(mkdir(path, 0700), 0);
    board_release(env, "agent");
    test_env_wait_log(env, "cannot move");
    test_env_wait(env, "undelivered=0");
    assert_int_equal(rmdir(path), 0);
    test_env_wait_log(env, "it is kept in dead/");
    assert_int_equal(access(path, F_OK), 0);
    assert_int_equal(board_requests_for(env, id), 1);
    test_env_stop_runtime(env);
}

/* The supervisor's first signal means the stop that is under way anyway. */
static void test_signal_during_a_stop_by_the_backend_cuts_nothing_off(void **state)
{
    struct test_env *env = *state;
    char id[ID_BYTES];
    board_load_one(env, id);
    board_hold_agents(env, "agent");
    test_env_start_runtime(env, (const char *[]){"HEALTH_CHECK_INTERVAL=50", NULL});
    test_env_wait(env, "held=1");
    json_decref(test_env_post(env, "/sandbox/restart", json_object()));
    test_env_wait_log(env, "Shutting down... (asked for by the backend)");
    test_env_wait_log(env, "that are under way");
    process_signal(&env->runtime, SIGTERM);
    board_release(env, "agent");
    assert_int_equal(process_wait_exit(&env->runtime, TEST_WAIT_MS), 0);
    assert_int_equal(test_env_stat(env, NULL, "replies"), 1);
    assert_int_equal(test_env_stat(env, NULL, "undelivered"), 0);
}

static void test_second_signal_during_a_stop_by_the_backend_ends_at_once(void **state)
{
    struct test_env *env = *state;
    char id[ID_BYTES];
    board_load_one(env, id);
    board_hold_agents(env, "agent");
    test_env_start_runtime(env, (const char *[]){"HEALTH_CHECK_INTERVAL=50", NULL});
    test_env_wait(env, "held=1");
    json_decref(test_env_post(env, "/sandbox/restart", json_object()));
    test_env_wait_log(env, "that are under way");
    process_signal(&env->runtime, SIGTERM);
    process_signal(&env->runtime, SIGINT);
    /* Of two that are pending together the kernel delivers the lower number first. */
    int status = process_wait_exit(&env->runtime, TEST_WAIT_MS);
    assert_true(status == 128 + SIGINT || status == 128 + SIGTERM);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_IN_ENV(test_a_refusal_and_an_error_are_not_a_day),
        TEST_IN_ENV(test_unreadable_notification_is_kept_for_operators),
        TEST_IN_ENV(test_notification_that_became_unreadable_ends_with_a_note),
        TEST_IN_ENV(test_reason_of_a_skip_outlives_a_failed_mark),
        TEST_IN_ENV(test_late_answer_of_a_proxy_counts_as_a_run),
        TEST_IN_ENV(test_reply_survives_a_burial_that_fails),
        TEST_IN_ENV(test_signal_during_a_stop_by_the_backend_cuts_nothing_off),
        TEST_IN_ENV(test_second_signal_during_a_stop_by_the_backend_ends_at_once),
    };
    return cmocka_run_group_tests_name("endings", tests, NULL, NULL);
}
