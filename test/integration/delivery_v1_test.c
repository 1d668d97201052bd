/* Deliveries on version 1 of the backend: sessions, what agents are told, typing, empty answers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../lib/backend_call.h"
#include "../lib/board.h"
#include "../lib/thread.h"

#define V1(test) TEST_IN_ENV_WITH(test, .backend = "v1")

static const char *text_of(const json_t *run, const char *key)
{
    const char *text = board_string(run, key);
    assert_non_null(text);
    return text;
}

static void must_be_nobody_typing(struct test_env *env)
{
    test_env_wait(env, "typing=0");
}

static void test_mention_is_answered_in_the_session_of_its_task(void **state)
{
    struct test_env *env = *state;
    thread_seed(env);
    thread_say(env, "@jarvis what is the time?");
    test_env_start_runtime(env, NULL);
    test_env_wait(env, "undelivered=0");
    assert_int_equal(thread_count_runs(env), 1);
    json_t *run = thread_run(env, 0);
    const char *session = text_of(run, "session");
    assert_int_equal(strncmp(session, "agent:jarvis:task:", strlen("agent:jarvis:task:")), 0);
    assert_string_equal(text_of(run, "user"), session);
    assert_string_equal(text_of(run, "x-openclaw-agent-id"), "jarvis");
    assert_non_null(strstr(text_of(run, "instructions"), "**Jarvis**"));
    assert_non_null(strstr(text_of(run, "input"), "## Notification: mention"));
    assert_non_null(strstr(text_of(run, "input"), "what is the time?"));
    assert_int_equal(thread_count_replies(env), 1);
    must_be_nobody_typing(env);
    assert_int_equal(test_env_stat(env, "backend", "markNotificationRead"), 1);
    assert_int_equal(test_env_stat(env, "backend", "markNotificationDeliveryEnded"), 0);
    json_decref(run);
    test_env_stop_runtime(env);
}

/* Context, read, message, mark, and the list that all share; the first delivery finds the version.
 */
static void test_mention_costs_four_calls_beside_the_list(void **state)
{
    static const char *const functions[] = {"getNotificationForDelivery", "markNotificationRead",
        "createMessageFromAgent", "markNotificationDelivered", "markNotificationDeliveryEnded",
        "updateTaskStatusFromAgent"};
    static const long expected[] = {1, 1, 1, 1, 0, 0};
    long before[sizeof functions / sizeof functions[0]];
    struct test_env *env = *state;
    thread_seed(env);
    thread_say(env, "@jarvis hello");
    test_env_start_runtime(env, NULL);
    test_env_wait_log(env, "Delivered ");
    for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++)
        before[i] = test_env_stat(env, "backend", functions[i]);
    thread_say(env, "@jarvis hello again");
    test_env_wait(env, "undelivered=0&messages=4");
    for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++)
        if (test_env_stat(env, "backend", functions[i]) - before[i] != expected[i])
            fail_msg("%s was called %ld times", functions[i],
                test_env_stat(env, "backend", functions[i]) - before[i]);
    test_env_stop_runtime(env);
}

/* Acknowledged, and the task begins. */
static void test_assignment_begins_its_task(void **state)
{
    struct test_env *env = *state;
    backend_set_up(env, "seed",
        "{'agents':[{'slug':'jarvis','heartbeatInterval':1440}],"
        "'tasks':[{'title':'work','status':'assigned','assign':['jarvis']}]}");
    test_env_start_runtime(env, NULL);
    test_env_wait(env, "undelivered=0");
    json_t *tasks = board_documents(env, "tasks");
    assert_string_equal(board_string(json_array_get(tasks, 0), "status"), "in_progress");
    json_decref(tasks);
    assert_true(thread_count_replies(env) >= 1);
    test_env_stop_runtime(env);
}

/* One agent works on two tasks at once, as each has a session of its own. */
static void test_one_agent_works_on_two_tasks_at_once(void **state)
{
    struct test_env *env = *state;
    backend_set_up(env, "seed",
        "{'agents':[{'slug':'jarvis','heartbeatInterval':1440}],"
        "'tasks':[{'title':'one'},{'title':'two'}]}");
    board_gateway_fault(env, json_pack("{s:s, s:i}", "action", "hold", "times", 2));
    backend_set_up(env, "message", "{'task':'one','content':'@jarvis first'}");
    backend_set_up(env, "message", "{'task':'two','content':'@jarvis second'}");
    test_env_start_runtime(env, NULL);
    test_env_wait(env, "held=2");
    board_clear_faults(env);
    test_env_wait(env, "undelivered=0");
    assert_int_equal(test_env_stat(env, "gateway", "max_in_flight_per_session"), 1);
    test_env_stop_runtime(env);
}

static void test_lanes_can_be_agents(void **state)
{
    struct test_env *env = *state;
    backend_set_up(env, "seed",
        "{'agents':[{'slug':'jarvis','heartbeatInterval':1440}],"
        "'tasks':[{'title':'one'},{'title':'two'}]}");
    board_set(env, json_pack("{s:i}", "gateway_latency_ms", 100));
    backend_set_up(env, "message", "{'task':'one','content':'@jarvis first'}");
    backend_set_up(env, "message", "{'task':'two','content':'@jarvis second'}");
    test_env_start_runtime(env, STRINGS("DELIVERY_LANES=agent"));
    test_env_wait(env, "undelivered=0");
    assert_int_equal(test_env_stat(env, "gateway", "max_in_flight"), 1);
    test_env_stop_runtime(env);
}

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
    must_be_nobody_typing(env);
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
    must_be_nobody_typing(env);
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

/* An empty answer to a person is asked for again, twice at most, and then counted as none. */
static void test_empty_answers_to_a_person_are_asked_for_again(void **state)
{
    struct test_env *env = *state;
    thread_seed(env);
    board_gateway_fault(env, json_pack("{s:s, s:s}", "action", "raw_body", "body",
                                 "{\"object\":\"response\",\"status\":\"completed\","
                                 "\"output\":[]}"));
    thread_say(env, "@jarvis hello");
    test_env_start_runtime(env, STRINGS("DELIVERY_BACKOFF_BASE_MS=1"));
    test_env_wait(env, "undelivered=0");
    assert_int_equal(thread_count_runs(env), 3);
    assert_int_equal(thread_count_replies(env), 0);
    test_env_wait_words(env, "/metrics",
        "mission_control_notifications_no_response_total{outcome=\"retries_exhausted\"} 1\n", true);
    must_be_nobody_typing(env);
    test_env_stop_runtime(env);
}

/* Silence is an answer. */
static void test_silence_is_final(void **state)
{
    struct test_env *env = *state;
    thread_seed(env);
    board_gateway_fault(env, json_pack("{s:s, s:s}", "action", "reply", "text", "HEARTBEAT_OK"));
    thread_say(env, "@jarvis hello");
    test_env_start_runtime(env, NULL);
    test_env_wait(env, "undelivered=0");
    assert_int_equal(thread_count_runs(env), 1);
    assert_int_equal(thread_count_replies(env), 0);
    test_env_stop_runtime(env);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        V1(test_mention_is_answered_in_the_session_of_its_task),
        V1(test_mention_costs_four_calls_beside_the_list),
        V1(test_assignment_begins_its_task),
        V1(test_one_agent_works_on_two_tasks_at_once),
        V1(test_lanes_can_be_agents),
        V1(test_typing_ends_when_the_notification_waits),
        V1(test_typing_mark_that_hangs_is_given_up),
        V1(test_shutdown_during_the_typing_mark_asks_nobody),
        V1(test_typing_is_not_ended_of_what_is_gone),
        V1(test_empty_answers_to_a_person_are_asked_for_again),
        V1(test_silence_is_final),
    };
    return cmocka_run_group_tests_name("delivery_v1", tests, NULL, NULL);
}
