/* Seeds and reads the board through the control API; as board.h, every call is synchronous. */
#include "thread.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "backend_call.h"
#include "board.h"

void thread_seed(struct test_env *env)
{
    backend_set_up(env, "seed",
        "{'users':[{'name':'Bob','email':'bob@example.com'}],"
        "'agents':[{'slug':'jarvis','name':'Jarvis','heartbeatInterval':1440,"
        "'sessionKey':'agent:jarvis:" TEST_ACCOUNT "'}],"
        "'tasks':[{'title':'work','status':'in_progress','assign':['jarvis']}]}");
    thread_mark_all(env);
}

void thread_mark_all(struct test_env *env)
{
    json_t *notifications = board_documents(env, "notifications");
    size_t index;
    const json_t *notification;
    json_array_foreach (notifications, index, notification) {
        if (json_object_get(notification, "deliveredAt") == NULL &&
            strcmp(board_string(notification, "recipientType"), "agent") == 0)
            backend_do(env, "markNotificationDelivered", "{'notificationId':'%s'}",
                board_string(notification, "_id"));
    }
    json_decref(notifications);
}

void thread_say(struct test_env *env, const char *content)
{
    backend_set_up(env, "message", "{'task':'work','content':'%s'}", content);
}

void thread_say_and_wait(struct test_env *env, const char *content, int messages)
{
    char condition[48];
    thread_say(env, content);
    snprintf(condition, sizeof condition, "undelivered=0&messages=%d", messages);
    test_env_wait(env, condition);
}

void thread_say_at(struct test_env *env, const struct thread_moment *moment, const char *content)
{
    json_t *post =
        json_pack("{s:s, s:s, s:s}", "when", moment->when, "content", content, "task", "work");
    if (moment->at_gateway)
        board_gateway_fault(
            env, json_pack("{s:s, s:i, s:o}", "action", moment->action, "times", 1, "post", post));
    else
        board_backend_fault(env, json_pack("{s:s, s:s, s:i, s:o}", "action", moment->action,
                                     "behaviour", "delay", "times", 1, "post", post));
}

json_t *thread_run(struct test_env *env, size_t number)
{
    json_t *record = test_env_get(env, "/sandbox/gateway");
    json_t *run = json_incref(json_array_get(json_object_get(record, "requests"), number));
    assert_non_null(run);
    json_decref(record);
    return run;
}

void thread_run_must_show(struct test_env *env, size_t number, const char *words)
{
    json_t *run = thread_run(env, number);
    if (strstr(board_string(run, "input"), words) == NULL)
        fail_msg("run %zu does not show \"%s\": %s", number, words, board_string(run, "input"));
    json_decref(run);
}

long thread_count_runs(struct test_env *env)
{
    return test_env_stat(env, "gateway", "deliveries");
}

long thread_count_replies(struct test_env *env)
{
    json_t *messages = board_documents(env, "messages");
    long count = 0;
    size_t index;
    const json_t *message;
    json_array_foreach (messages, index, message)
        count += strcmp(board_string(message, "authorType"), "agent") == 0;
    json_decref(messages);
    return count;
}
