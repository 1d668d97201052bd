/*
 * The replies are fault rules of the gateway for one agent each. The first rule that matches is
 * applied, so a test that breaks a run of an agent has to add its rule before the reply.
 */
#include "talk.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

void talk_seed(struct test_env *env)
{
    json_decref(test_env_post(env, "/sandbox/seed",
        json_pack("{s:[{s:s}, {s:s}, {s:s}], s:[{s:s}]}", "agents", "slug", "one", "slug", "two",
            "slug", "three", "tasks", "title", "talk")));
    board_set_flag(env, "gateway_chatty", true);
}

void talk_post(struct test_env *env, const char *content)
{
    json_decref(test_env_post(
        env, "/sandbox/message", json_pack("{s:s, s:s}", "task", "talk", "content", content)));
}

void talk_set_reply(struct test_env *env, const char *agent, const char *text)
{
    board_gateway_fault(env,
        json_pack("{s:{s:s}, s:s, s:s}", "match", "agent", agent, "action", "reply", "text", text));
}

void talk_set_mutual_replies(struct test_env *env)
{
    talk_set_reply(env, "one", "@two @three go on");
    talk_set_reply(env, "two", "@one @three go on");
    talk_set_reply(env, "three", "@one @two go on");
}

void talk_wait_until_quiet(struct test_env *env)
{
    /* Unlike the board it counts what is answered once more after its mark. */
    static const char all_settled[] = "\nmission_control_notifications_undelivered 0\n";
    char later[128];
    do {
        test_env_wait(env, "undelivered=0");
        long calls = test_env_stat(env, "backend", "listUndeliveredNotifications");
        snprintf(later, sizeof later, "undelivered=0&action=listUndeliveredNotifications&calls=%ld",
            calls + 5);
        test_env_wait(env, later);
        test_env_wait_words(env, "/metrics", all_settled, true);
    } while (!test_env_check(env, "undelivered=0&timeout_ms=1"));
}

int talk_count_limit_notes(struct test_env *env)
{
    static const char beginning[] = "**Agents stopped.** ";
    json_t *messages = board_documents(env, "messages");
    size_t index;
    const json_t *message;
    int count = 0;
    json_array_foreach (messages, index, message)
        count += strncmp(board_string(message, "content"), beginning, sizeof beginning - 1) == 0;
    json_decref(messages);
    return count;
}
