/*
 * On version 1 of the backend an undelivered thread update is changed to the next message of its
 * thread, also while its agent is at work on the one before. Nothing that a person writes may be
 * swallowed by that, and no reply doubled, whatever else goes wrong.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "../lib/backend_call.h"
#include "../lib/board.h"
#include "../lib/thread.h"

#define V1(test) TEST_IN_ENV_WITH(test, .backend = "v1")

static const char newer[] = "and now something else";

/* Where the person writes while the agent is at work on the thread's earlier message. */
static const struct thread_moment moments[] = {
    {false, "markNotificationRead", "before"},
    {false, "markNotificationRead", "after"},
    {true, "reply", "before"},
    {true, "reply", "after"},
    {false, "createMessageFromAgent", "before"},
    {false, "createMessageFromAgent", "after"},
    {false, "markNotificationDelivered", "before"},
};

static const struct thread_moment before_reply = {false, "createMessageFromAgent", "before"};
static const struct thread_moment before_mark = {false, "markNotificationDelivered", "before"};

/* Each message of the two has one reply, and the board shows nobody at work. */
static void must_have_answered_both(struct test_env *env, long runs)
{
    test_env_wait(env, "undelivered=0&messages=4");
    test_env_wait_log(env, "Delivered ");
    assert_int_equal(thread_count_runs(env), runs);
    thread_run_must_show(env, (size_t)runs - 1, newer);
    assert_int_equal(thread_count_replies(env), 2);
    test_env_wait(env, "typing=0");
    /* Until then it may still mark one, or look at its task again. */
    test_env_wait_words(env, "/metrics", "\nmission_control_notifications_undelivered 0\n", true);
}

static void test_newer_message_is_answered_whenever_it_is_written(void **state)
{
    struct test_env *env = *state;
    test_env_start_runtime(env, NULL);
    for (size_t i = 0; i < sizeof moments / sizeof moments[0]; i++) {
        json_decref(test_env_post(env, "/sandbox/reset", json_object()));
        test_env_list_agents(env, false);
        thread_seed(env);
        thread_say_at(env, &moments[i], newer);
        thread_say(env, "the first thing");
        must_have_answered_both(env, 2);
    }
    test_env_stop_runtime(env);
}

/* The second reply has no key, so a lost answer must not post it twice. */
static void test_second_reply_is_posted_once_although_its_answer_is_lost(void **state)
{
    struct test_env *env = *state;
    thread_seed(env);
    thread_say(env, "the first thing");
    thread_say_at(env, &before_mark, newer);
    board_fail(env, "createMessageFromAgent", "delay", 1);
    board_fail(env, "createMessageFromAgent", "drop_after", 1);
    test_env_start_runtime(env, STRINGS("DELIVERY_BACKOFF_BASE_MS=1"));
    must_have_answered_both(env, 2);
    test_env_stop_runtime(env);
}

/* As before, with a reply that the thread shows only in part. */
static void test_long_second_reply_is_posted_once(void **state)
{
    struct test_env *env = *state;
    char reply[5000];
    memset(reply, 'x', sizeof reply - 1);
    reply[sizeof reply - 1] = '\0';
    thread_seed(env);
    thread_say(env, "the first thing");
    thread_say_at(env, &before_mark, newer);
    board_gateway_fault(env, json_pack("{s:s, s:i}", "action", "reply", "times", 1));
    board_gateway_fault(env, json_pack("{s:s, s:s}", "action", "reply", "text", reply));
    board_fail(env, "createMessageFromAgent", "delay", 1);
    board_fail(env, "createMessageFromAgent", "drop_after", 1);
    test_env_start_runtime(env, STRINGS("DELIVERY_BACKOFF_BASE_MS=1"));
    must_have_answered_both(env, 2);
    test_env_stop_runtime(env);
}

/* Lets the person write while the first reply is posted, and then takes the gateway away. */
static void lose_gateway_before_second_run(struct test_env *env)
{
    thread_seed(env);
    thread_say(env, "the first thing");
    board_backend_fault(env, json_pack("{s:s, s:s, s:s, s:i}", "action", "createMessageFromAgent",
                                 "behaviour", "hold", "name", "reply", "times", 1));
    test_env_start_runtime(env, NULL);
    test_env_wait(env, "held=1");
    thread_say(env, newer);
    board_set_flag(env, "gateway_draining", true);
    board_release(env, "reply");
    test_env_wait_log(env, "Could not ask about ");
    test_env_wait_calls(env, "listUndeliveredNotifications", 3);
}

/* The notification is marked by then, so no page lists it any more. */
static void test_newer_message_waits_for_the_gateway(void **state)
{
    struct test_env *env = *state;
    lose_gateway_before_second_run(env);
    board_set_flag(env, "gateway_draining", false);
    must_have_answered_both(env, 2);
    test_env_stop_runtime(env);
}

static void kill_runtime(struct test_env *env)
{
    process_signal(&env->runtime, SIGKILL);
    assert_int_equal(process_wait_exit(&env->runtime, TEST_WAIT_MS), 128 + SIGKILL);
}

static void test_newer_message_that_waits_outlives_a_kill(void **state)
{
    struct test_env *env = *state;
    lose_gateway_before_second_run(env);
    kill_runtime(env);
    board_set_flag(env, "gateway_draining", false);
    test_env_start_runtime(env, NULL);
    must_have_answered_both(env, 2);
    test_env_stop_runtime(env);
}

/* The board refuses the first reply for too long: it becomes a dead letter, and stays one. */
static void test_newer_message_does_not_replace_a_dead_letter(void **state)
{
    struct test_env *env = *state;
    thread_seed(env);
    thread_say(env, "the first thing");
    board_fail(env, "createMessageFromAgent", "function_error", -1);
    board_backend_fault(env, json_pack("{s:s, s:s, s:i}", "action", "markNotificationDelivered",
                                 "behaviour", "hold", "times", 1));
    test_env_start_runtime(env, STRINGS("DELIVERY_GIVE_UP_AFTER_MS=100"));
    test_env_wait(env, "held=1");
    thread_say(env, newer);
    board_clear_faults(env);
    test_env_wait(env, "undelivered=0&messages=3");
    test_env_wait_log(env, "Delivered ");
    assert_int_equal(thread_count_runs(env), 2);
    thread_run_must_show(env, 1, newer);
    test_env_wait_words(env, "/health", "\"dead\": 1", true);
    test_env_stop_runtime(env);
}

/* The backend that is rolled back names the newer message as well, and would for ever. */
static void test_newer_message_is_answered_once_after_a_rollback(void **state)
{
    struct test_env *env = *state;
    thread_seed(env);
    thread_say(env, "the first thing");
    board_hold_agents(env, "agent");
    test_env_start_runtime(env, NULL);
    test_env_wait(env, "held=1");
    thread_say(env, newer);
    board_set_flag(env, "rolled_back", true);
    board_clear_faults(env);
    test_env_wait(env, "undelivered=0&messages=4");
    test_env_wait_log(env, "Delivered ");
    assert_int_equal(thread_count_runs(env), 2);
    thread_run_must_show(env, 1, newer);
    assert_int_equal(thread_count_replies(env), 2);
    test_env_stop_runtime(env);
}

/* Runs until the kill at that point, "NAME:COUNT", and then to the end. */
static void run_with_kill_at(struct test_env *env, const char *point, const char *setting)
{
    char stop_at[64];
    snprintf(stop_at, sizeof stop_at, "MISSION_CONTROL_STOP_AT=%s", point);
    env->runtime_program = "stop-points/mission-control-runtime";
    test_env_launch(env, &env->runtime, STRINGS(stop_at, setting), NULL);
    assert_int_equal(process_wait_exit(&env->runtime, TEST_WAIT_MS), 128 + SIGKILL);
    test_env_start_runtime(env, STRINGS(setting));
}

/* Each stage is reached twice, the second time for the newer message. */
static void test_kill_at_any_point_swallows_and_doubles_nothing(void **state)
{
    static const struct {
        const char *point;
        long runs;
    } kills[] = {
        {"before_send:1", 2},
        {"after_send:1", 3},
        {"after_spool:1", 2},
        {"after_create_message:1", 2},
        {"after_mark:1", 2},
        {"before_send:2", 2},
        {"after_send:2", 3},
        {"after_spool:2", 2},
        {"after_create_message:2", 2},
        {"after_mark:2", 2},
    };
    struct test_env *env = *state;
    for (size_t i = 0; i < sizeof kills / sizeof kills[0]; i++) {
        print_message("%s\n", kills[i].point);
        json_decref(test_env_post(env, "/sandbox/reset", json_object()));
        test_env_list_agents(env, false);
        thread_seed(env);
        thread_say(env, "the first thing");
        thread_say_at(env, &before_reply, newer);
        run_with_kill_at(env, kills[i].point, "DELIVERY_MAX_RUNS=4");
        must_have_answered_both(env, kills[i].runs);
        test_env_stop_runtime(env);
    }
}

/* The notice was the end of the first message, and the kill comes before the look at the second. */
static void test_newer_message_is_answered_after_a_notice_and_a_kill(void **state)
{
    struct test_env *env = *state;
    thread_seed(env);
    thread_say(env, "the first thing");
    board_gateway_fault(env, json_pack("{s:s, s:i}", "action", "status", "times", 1));
    thread_say_at(env, &before_reply, newer);
    run_with_kill_at(env, "after_mark:1", "DELIVERY_MAX_RUNS=1");
    must_have_answered_both(env, 2);
    test_env_stop_runtime(env);
}

/* Friday follows the thread, but what another agent writes there is not for her. */
static void test_newer_message_is_answered_after_a_skip_and_a_kill(void **state)
{
    struct test_env *env = *state;
    thread_seed(env);
    backend_set_up(env, "seed", "{'agents':[{'slug':'friday','heartbeatInterval':1440}]}");
    thread_say(env, "@friday please follow this");
    thread_mark_all(env);
    backend_set_up(env, "message", "{'task':'work','content':'Done.','author':'jarvis'}");
    board_gateway_fault(env, json_pack("{s:{s:s}, s:s, s:s}", "match", "agent", "jarvis", "action",
                                 "reply", "text", "HEARTBEAT_OK"));
    thread_say_at(env, &before_mark, newer);
    run_with_kill_at(env, "after_mark:1", NULL);
    test_env_wait(env, "undelivered=0&messages=4");
    test_env_stop_runtime(env);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        V1(test_newer_message_is_answered_whenever_it_is_written),
        V1(test_second_reply_is_posted_once_although_its_answer_is_lost),
        V1(test_long_second_reply_is_posted_once),
        V1(test_newer_message_waits_for_the_gateway),
        V1(test_newer_message_that_waits_outlives_a_kill),
        V1(test_newer_message_does_not_replace_a_dead_letter),
        V1(test_newer_message_is_answered_once_after_a_rollback),
        V1(test_kill_at_any_point_swallows_and_doubles_nothing),
        V1(test_newer_message_is_answered_after_a_notice_and_a_kill),
        V1(test_newer_message_is_answered_after_a_skip_and_a_kill),
    };
    return cmocka_run_group_tests_name("newer_message", tests, NULL, NULL);
}
