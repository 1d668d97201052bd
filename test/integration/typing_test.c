/*
 * Who is shown as typing on version 1 of the backend. The marks for it are courtesies: whatever
 * becomes of them, a delivery goes its way, and nobody is left at work on the board.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../lib/board.h"
#include "../lib/thread.h"

#define V1(test) TEST_IN_ENV_WITH(test, .backend = "v1")

/* The agent is shown as typing while it works, and no longer when its notification has to wait. */
static void test_typing_ends_when_the_notification_waits(void **state)
{
    struct test_env *env = *state;
    thread_seed(env);
    board_gateway_fault(
        env, json_pack("{s:s, s:i, s:i}", "action", "status", "status", 500, "times", 1));
    board_gateway_fault(env, json_pack("{s:s, s:i}", "action", "hold", "times", 1));
    thread_say(env, "@jarvis hello");
    test_env_start_runtime(env, STRINGS("DELIVERY_BACKOFF_BASE_MS=1"));
    test_env_wait(env, "held=1&typing=1");
    assert_int_equal(test_env_stat(env, "backend", "markNotificationDeliveryEnded"), 1);
    assert_int_equal(test_env_stat(env, "backend", "markNotificationRead"), 2);
    board_clear_faults(env);
    test_env_wait(env, "undelivered=0");
    test_env_wait(env, "typing=0");
    test_env_stop_runtime(env);
}

/* A board that does not answer courtesies delays a delivery by a few seconds, and never fails it.
 */
static void test_typing_mark_that_hangs_is_given_up(void **state)
{
    struct test_env *env = *state;
    thread_seed(env);
    board_backend_fault(
        env, json_pack("{s:s, s:s}", "action", "markNotificationRead", "behaviour", "hang"));
    thread_say(env, "@jarvis hello");
    test_env_start_runtime(env, NULL);
    test_env_wait(env, "undelivered=0");
    assert_int_equal(thread_count_runs(env), 1);
    assert_int_equal(thread_count_replies(env), 1);
    test_env_stop_runtime(env);
}

static void test_end_of_typing_that_hangs_is_given_up(void **state)
{
    struct test_env *env = *state;
    thread_seed(env);
    board_gateway_fault(env, json_pack("{s:s, s:i}", "action", "status", "times", 1));
    board_fail(env, "markNotificationDeliveryEnded", "hang", 1);
    thread_say(env, "@jarvis hello");
    test_env_start_runtime(env, NULL);
    test_env_wait(env, "undelivered=0");
    assert_int_equal(thread_count_runs(env), 2);
    assert_int_equal(thread_count_replies(env), 1);
    test_env_stop_runtime(env);
}

/*
 * Nobody is asked any more after the signal, although the queue had allowed it: the mark comes
 * before that.
 */
static void test_shutdown_during_the_typing_mark_asks_nobody(void **state)
{
    struct test_env *env = *state;
    thread_seed(env);
    board_fail(env, "markNotificationRead", "hold", 1);
    thread_say(env, "@jarvis hello");
    test_env_start_runtime(env, NULL);
    test_env_wait(env, "held=1");
    test_env_stop_runtime(env);
    assert_int_equal(thread_count_runs(env), 0);
    assert_false(process_has_output(&env->runtime, "not told"));
    board_clear_faults(env);
    test_env_start_runtime(env, NULL);
    test_env_wait(env, "undelivered=0");
    assert_int_equal(thread_count_runs(env), 1);
    test_env_wait(env, "typing=0");
    test_env_stop_runtime(env);
}

/* There is nothing left to show, and the call would fail. */
static void test_typing_is_not_ended_of_what_is_gone(void **state)
{
    struct test_env *env = *state;
    thread_seed(env);
    board_hold_agents(env, "agent");
    thread_say(env, "@jarvis hello");
    test_env_start_runtime(env, NULL);
    test_env_wait(env, "held=1");
    json_t *tasks = board_documents(env, "tasks");
    json_decref(test_env_post(env, "/sandbox/delete",
        json_pack(
            "{s:s, s:b}", "id", board_string(json_array_get(tasks, 0), "_id"), "cascade", 1)));
    json_decref(tasks);
    board_clear_faults(env);
    test_env_wait_log(env, "reason=ended_elsewhere");
    test_env_stop_runtime(env);
    assert_int_equal(test_env_stat(env, "backend", "markNotificationDeliveryEnded"), 0);
}

/* Fails the function in each way in turn, one delivery for each; all are delivered once. */
static void expect_deliveries_despite(struct test_env *env, const char *function)
{
    static const char *const behaviours[] = {"status", "status_after", "drop_before", "drop_after",
        "drop_mid_answer", "function_error", "raw_body"};
    enum { BEHAVIOURS = sizeof behaviours / sizeof behaviours[0] };
    test_env_start_runtime(env, STRINGS("DELIVERY_BACKOFF_BASE_MS=1"));
    for (int i = 0; i < (int)BEHAVIOURS; i++) {
        board_backend_fault(env, json_pack("{s:s, s:s, s:s, s:i}", "action", function, "behaviour",
                                     behaviours[i], "body", "<html>", "times", 1));
        thread_say_and_wait(env, "@jarvis hello", 2 * i + 2);
    }
    assert_int_equal(thread_count_replies(env), BEHAVIOURS);
    test_env_wait(env, "typing=0");
    test_env_stop_runtime(env);
}

static void test_failing_read_mark_fails_no_delivery(void **state)
{
    struct test_env *env = *state;
    thread_seed(env);
    expect_deliveries_despite(env, "markNotificationRead");
    assert_int_equal(thread_count_runs(env), 7);
}

static void test_failing_end_of_typing_fails_no_delivery(void **state)
{
    struct test_env *env = *state;
    thread_seed(env);
    for (int i = 0; i < 7; i++) {
        board_gateway_fault(env, json_pack("{s:s, s:i}", "action", "status", "times", 1));
        board_gateway_fault(env, json_pack("{s:s, s:i}", "action", "reply", "times", 1));
    }
    expect_deliveries_despite(env, "markNotificationDeliveryEnded");
    assert_int_equal(thread_count_runs(env), 14);
}

/* The agent is cut off in mid-run; nobody is left at work on the board. */
static void test_shutdown_in_mid_run_leaves_nobody_typing(void **state)
{
    struct test_env *env = *state;
    thread_seed(env);
    board_hold_agents(env, "agent");
    thread_say(env, "@jarvis hello");
    test_env_start_runtime(env, STRINGS("SHUTDOWN_GRACE_MS=300"));
    test_env_wait(env, "held=1&typing=1");
    test_env_stop_runtime(env);
    test_env_wait(env, "typing=0");
    assert_int_equal(test_env_stat(env, NULL, "undelivered"), 1);
    board_clear_faults(env);
    test_env_start_runtime(env, NULL);
    test_env_wait(env, "undelivered=0");
    assert_int_equal(thread_count_replies(env), 1);
    test_env_stop_runtime(env);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        V1(test_typing_ends_when_the_notification_waits),
        V1(test_typing_mark_that_hangs_is_given_up),
        V1(test_end_of_typing_that_hangs_is_given_up),
        V1(test_shutdown_during_the_typing_mark_asks_nobody),
        V1(test_typing_is_not_ended_of_what_is_gone),
        V1(test_failing_read_mark_fails_no_delivery),
        V1(test_failing_end_of_typing_fails_no_delivery),
        V1(test_shutdown_in_mid_run_leaves_nobody_typing),
    };
    return cmocka_run_group_tests_name("typing", tests, NULL, NULL);
}
