/*
 * Polls that come often after something happened, and notifications that are skipped ahead of their
 * turn. The interval between polls is otherwise too long for any of these tests.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>

#include "../lib/agent_caller.h"
#include "../lib/backend_call.h"
#include "../lib/board.h"

#define RARELY "DELIVERY_INTERVAL=3600000"

static const char list_function[] = "listUndeliveredNotifications";

static void say(struct test_env *env, const char *task, const char *content)
{
    json_decref(test_env_post(
        env, "/sandbox/message", json_pack("{s:s, s:s}", "task", task, "content", content)));
}

static void make_board(struct test_env *env)
{
    json_decref(test_env_post(env, "/sandbox/seed",
        json_pack("{s:[{s:s}, {s:s}], s:[{s:s}]}", "agents", "slug", "friday", "slug", "jarvis",
            "tasks", "title", "talk")));
}

/* Whoever has been answered writes again: the poll that follows the answer came before that. */
static void test_follow_up_is_seen_soon(void **state)
{
    struct test_env *env = *state;
    make_board(env);
    say(env, "talk", "@friday, what is the plan?");
    test_env_start_runtime(env, STRINGS(RARELY));
    test_env_wait(env, "delivered=1");
    test_env_wait_calls(env, list_function, 2);
    say(env, "talk", "@friday, and then?");
    test_env_wait(env, "delivered=2&undelivered=0");
    test_env_stop_runtime(env);
}

/* With equal intervals nothing changes: after the answer there is one poll, and no other. */
static void test_equal_intervals_poll_as_rarely_as_ever(void **state)
{
    struct test_env *env = *state;
    make_board(env);
    say(env, "talk", "@friday, what is the plan?");
    test_env_start_runtime(env, STRINGS(RARELY, "DELIVERY_INTERVAL_ACTIVE=3600000"));
    test_env_wait(env, "delivered=1&replies=1");
    test_env_wait(env, "action=listUndeliveredNotifications&calls=2");
    say(env, "talk", "@friday, and then?");
    assert_false(test_env_check(env, "delivered=2&timeout_ms=2500"));
    test_env_stop_runtime(env);
}

/* Nothing has happened before an agent calls, and the call has notified nobody. */
static void test_call_of_an_agent_is_an_event(void **state)
{
    struct test_env *env = *state;
    char credential[AGENT_CREDENTIAL_BYTES];
    char body[160];
    char id[ID_BYTES];
    agent_caller_start(env, STRINGS(RARELY));
    test_env_wait(env, "action=listUndeliveredNotifications&calls=1");
    say(env, "work", "@friday, are you there?");
    agent_caller_credential(env, "jarvis", credential);
    backend_id(env, "work", id);
    snprintf(body, sizeof body, "{'taskId':'%s','status':'review'}", id);
    agent_caller_must_get(env, "/agent/task-status", credential, body, 200, "\"durationMs\"");
    test_env_wait(env, "undelivered=0&delivered=1");
    test_env_stop_runtime(env);
}

/*
 * Each of the two agents has one notification with a worker, and workers are left: contexts of
 * others are read meanwhile. What is to be skipped then needs no turn.
 */
static void test_idle_workers_skip_ahead(void **state)
{
    enum { ROWS = 40 };
    struct test_env *env = *state;
    json_t *rows = board_load(env, ROWS, 2);
    json_decref(test_env_post(env, "/sandbox/delete",
        json_pack("{s:s}", "id", board_string(json_array_get(rows, 1), "task"))));
    board_backend_fault(env, json_pack("{s:s, s:s, s:s}", "action", "getNotificationForDelivery",
                                 "behaviour", "hold", "name", "contexts"));
    test_env_start_runtime(env, NULL);
    test_env_wait(env, "held=10");
    board_clear_faults(env);
    test_env_wait(env, "undelivered=0");
    for (size_t i = 0; i < ROWS; i++)
        assert_in_range(board_requests_for(env, board_string(json_array_get(rows, i), "id")), 0, 1);
    test_env_wait_log(env, "reason=task_gone");
    test_env_stop_runtime(env);
    json_decref(rows);
}

/* An agent that is at work has the lane, but what is only to be skipped behind it does not wait. */
static void test_skip_does_not_wait_for_a_run(void **state)
{
    struct test_env *env = *state;
    make_board(env);
    board_hold_agents(env, "stuck");
    say(env, "talk", "@friday, what is the plan?");
    json_decref(test_env_post(env, "/sandbox/message",
        json_pack("{s:s, s:s, s:s}", "task", "talk", "content", "@friday", "author", "friday")));
    json_t *messages = board_documents(env, "messages");
    const char *own = board_string(json_array_get(messages, json_array_size(messages) - 1), "_id");
    json_t *answer = test_env_post(env, "/sandbox/notify",
        json_pack("{s:s, s:s, s:s, s:s}", "agent", "friday", "task", "talk", "type", "mention",
            "message", own));
    test_env_start_runtime(env, NULL);
    test_env_wait(env, "in_flight=1");
    test_env_wait_log(env, "reason=own_message");
    assert_int_equal(board_requests_for(env, board_string(answer, "id")), 0);
    board_clear_faults(env);
    test_env_wait(env, "undelivered=0");
    json_decref(answer);
    json_decref(messages);
    test_env_stop_runtime(env);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_ON_BOTH(test_follow_up_is_seen_soon),
        TEST_IN_ENV(test_equal_intervals_poll_as_rarely_as_ever),
        TEST_IN_ENV_WITH(test_call_of_an_agent_is_an_event, .backend = "v1"),
        TEST_ON_BOTH(test_idle_workers_skip_ahead),
        TEST_ON_BOTH(test_skip_does_not_wait_for_a_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
