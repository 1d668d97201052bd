/*
 * What the sandbox offers to tests of version 1: posts in between the steps of a delivery, records
 * of calls and runs, and a demo.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../lib/backend_call.h"
#include "../../lib/board.h"

#define V1(test) TEST_IN_ENV_WITH(test, .backend = "v1")
#define WIRE_KEY "agent:jarvis:task:jd0:" TEST_ACCOUNT ":v1"

/* Makes jarvis follow the task and get one thread update, of the message "first". */
static void seed_update(struct test_env *env, char id[static ID_BYTES])
{
    backend_set_up(env, "seed", "{'agents':[{'slug':'jarvis'}],'tasks':[{'title':'work'}]}");
    json_t *assigned = backend_control(env, "assign", "{'task':'work','agent':'jarvis'}");
    backend_do(env, "markNotificationDelivered", "{'notificationId':'%s'}",
        value_string(assigned, "notification"));
    json_decref(assigned);
    json_t *posted = backend_control(env, "message", "{'task':'work','content':'first'}");
    text_copy(id, ID_BYTES, value_string(posted, "notifications.0"));
    json_decref(posted);
}

static json_t *read_context(struct test_env *env, const char *id)
{
    return backend_value(env, "getNotificationForDelivery", "{'notificationId':'%s'}", id);
}

/* Makes the next call of function for the notification post "second". */
static void post_at(struct test_env *env, const char *function, const char *when, const char *id)
{
    backend_set_up(env, "faults",
        "{'backend':[{'action':'%s','times':1,'match':{'notification':'%s'},"
        "'post':{'when':'%s','content':'second'}}]}",
        function, id, when);
}

static void test_post_before_a_context_is_in_it(void **state)
{
    struct test_env *env = *state;
    char id[ID_BYTES];
    seed_update(env, id);
    post_at(env, "getNotificationForDelivery", "before", id);
    json_t *context = read_context(env, id);
    value_must_be(env, context, "message.content", "'second'");
    json_decref(context);
}

static void test_post_after_a_context_patches_what_was_read(void **state)
{
    struct test_env *env = *state;
    char id[ID_BYTES];
    seed_update(env, id);
    post_at(env, "getNotificationForDelivery", "after", id);
    json_t *context = read_context(env, id);
    value_must_be(env, context, "message.content", "'first'");
    json_decref(context);
    context = read_context(env, id);
    value_must_be(env, context, "message.content", "'second'");
    json_decref(context);
    json_t *rules = test_env_get(env, "/sandbox/faults");
    value_must_be(env, rules, "rules.0.posted", "1");
    json_decref(rules);
}

/* Writing while it is marked: just before, the post is swallowed; just after, it is a new one. */
static void test_post_around_a_mark(void **state)
{
    struct test_env *env = *state;
    char id[ID_BYTES];
    static const char *const moments[] = {"before", "after"};
    for (size_t i = 0; i < sizeof moments / sizeof moments[0]; i++) {
        backend_set_up(env, "reset", "{}");
        seed_update(env, id);
        post_at(env, "markNotificationDelivered", moments[i], id);
        backend_do(env, "markNotificationDelivered", "{'notificationId':'%s'}", id);
        json_t *list = backend_value(env, "listUndeliveredNotifications", "{}");
        assert_int_equal(json_array_size(list), i);
        json_decref(list);
        json_t *context = read_context(env, id);
        value_must_be(env, context, "message.content", i == 0 ? "'second'" : "'first'");
        json_decref(context);
    }
}

/* Rules that are refused, and why. */
static const struct {
    const char *post;
    const char *error;
} wrong_posts[] = {
    {"{'content':'x','at':'before'}", "unknown key at"},
    {"{'when':'before'}", "post needs content, a string"},
    {"{'content':'x','when':'during'}", "when must be before or after, not during"},
};

static void test_wrong_posts_are_refused(void **state)
{
    for (size_t i = 0; i < sizeof wrong_posts / sizeof wrong_posts[0]; i++) {
        char body[128];
        snprintf(body, sizeof body, "{'backend':[{'post':%s}]}", wrong_posts[i].post);
        json_t *answer =
            backend_post(*state, "/sandbox/faults", NULL, backend_json(*state, body), 400);
        assert_non_null(strstr(value_string(answer, "message"), wrong_posts[i].error));
        json_decref(answer);
    }
}

static void test_calls_are_recorded_without_the_token(void **state)
{
    struct test_env *env = *state;
    char id[ID_BYTES];
    char path[160];
    seed_update(env, id);
    backend_do(env, "markNotificationRead", "{'notificationId':'%s'}", id);
    backend_refuses(env, "Not found", "createMessageFromAgent",
        "{'agentId':'jx000000000000000000000000000000','taskId':'$work','content':'x',"
        "'sourceNotificationId':'%s'}",
        id);
    snprintf(path, sizeof path, "/sandbox/calls?notification=%s", id);
    json_t *calls = test_env_get(env, path);
    value_must_be(env, calls, "calls.0.function", "'markNotificationRead'");
    value_must_be(env, calls, "calls.0.outcome", "'ok'");
    assert_int_equal(json_object_size(value_at(calls, "calls.0.arguments")), 1);
    value_must_be(env, calls, "calls.1.function", "'createMessageFromAgent'");
    value_must_be(env, calls, "calls.1.outcome", "'error'");
    value_must_be(env, calls, "calls.1.arguments.content", "'x'");
    value_must_be(env, calls, "calls.2", "");
    snprintf(path, sizeof path, "/sandbox/calls?action=markNotificationDelivered&since=%.0f",
        json_number_value(value_at(calls, "calls.0.number")));
    json_t *later = test_env_get(env, path);
    value_must_be(env, later, "calls", "[]");
    json_decref(later);
    json_decref(calls);
}

/* Runs jarvis in a session with a body; returns the reply, for the caller to free. */
static char *run_jarvis(struct test_env *env, const char *session, const char *text)
{
    char header[160];
    snprintf(header, sizeof header, "x-openclaw-session-key: %s", session);
    json_t *resource = backend_post(env, "/v1/responses", header, backend_json(env, text), 200);
    char *reply = strdup(value_string(resource, "output.0.content.0.text"));
    json_decref(resource);
    return reply;
}

/* With more tasks than agents, each agent gets several. */
static void test_a_load_uses_all_of_its_tasks(void **state)
{
    struct test_env *env = *state;
    json_t *answer = test_env_post(env, "/sandbox/load",
        json_pack("{s:i, s:i, s:i}", "notifications", 8, "agents", 2, "tasks", 4));
    const json_t *rows = json_object_get(answer, "notifications");
    for (size_t i = 0; i < 4; i++) {
        const json_t *row = json_array_get(rows, i);
        const json_t *later = json_array_get(rows, i + 4);
        assert_string_equal(board_string(row, "task"), board_string(later, "task"));
        assert_string_equal(board_string(row, "agent"), board_string(later, "agent"));
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(
                board_string(row, "task"), board_string(json_array_get(rows, j), "task"));
    }
    json_decref(answer);
}

#define INPUT                                                                                     \
    "## Notification: thread_update\\n**Ada replied**\\n===== STRUCTURED CONTEXT START =====\\n"  \
    "Task: work (inbox)\\n===== LATEST THREAD MESSAGE START =====\\nMessage author: user (n1)\\n" \
    "Message ID: k1\\nMessage content:\\nplease ask friday\\n"                                    \
    "===== LATEST THREAD MESSAGE END =====\\n---\\nNotification ID: %s"

static void test_agents_take_wire_keys_and_instructions(void **state)
{
    struct test_env *env = *state;
    char id[ID_BYTES];
    char body[1024];
    seed_update(env, id);
    snprintf(body, sizeof body,
        "{'model':'openclaw:jarvis','input':'" INPUT "','instructions':'You are Jarvis.',"
        "'tools':[{'type':'function','name':'task_status','parameters':{}}],"
        "'tool_choice':'auto'}",
        id);
    char *reply = run_jarvis(env, WIRE_KEY, body);
    assert_non_null(strstr(reply, "@friday"));
    assert_non_null(strstr(reply, id));
    free(reply);
    free(run_jarvis(env, "agent:jarvis:system:" TEST_ACCOUNT ":v1",
        "{'model':'openclaw:jarvis','input':'## Heartbeat Check'}"));
    json_t *gateway = test_env_get(env, "/sandbox/gateway");
    value_must_be(env, gateway, "requests.0.session", "'" WIRE_KEY "'");
    value_must_be(env, gateway, "requests.0.agent", "'jarvis'");
    assert_string_equal(value_string(gateway, "requests.0.notification"), id);
    value_must_be(env, gateway, "requests.0.instructions", "'You are Jarvis.'");
    value_must_be(env, gateway, "requests.0.tools", "['task_status']");
    value_must_be(env, gateway, "requests.1.instructions", "");
    json_decref(gateway);
}

/* The rule's post arrives while the agent works, so the reply is to what it did not see. */
static void test_post_during_a_run(void **state)
{
    struct test_env *env = *state;
    char id[ID_BYTES];
    char body[1024];
    seed_update(env, id);
    backend_set_up(
        env, "faults", "{'gateway':[{'times':1,'post':{'when':'after','content':'second'}}]}");
    snprintf(body, sizeof body, "{'model':'openclaw:jarvis','input':'" INPUT "'}", id);
    free(run_jarvis(env, WIRE_KEY, body));
    json_t *context = read_context(env, id);
    value_must_be(env, context, "message.content", "'second'");
    json_decref(context);
}

static void test_state_and_info_tell_the_version(void **state)
{
    struct test_env *env = *state;
    bool is_v1 = env->options.backend != NULL;
    json_t *info = test_env_get(env, "/sandbox/info");
    value_must_be(env, info, "backend", is_v1 ? "'v1'" : "'v0'");
    json_decref(info);
    json_t *board = test_env_get(env, "/sandbox/state");
    assert_int_equal(json_is_array(value_at(board, "sessions")), is_v1);
    json_decref(board);
}

static void test_demo_has_a_squad_and_tasks_in_several_statuses(void **state)
{
    struct test_env *env = *state;
    json_t *board = test_env_get(env, "/sandbox/state");
    assert_int_equal(json_array_size(value_at(board, "agents")), 4);
    value_must_be(env, board, "accounts.0.settings.orchestratorAgentId", "'$jarvis'");
    value_must_be(env, board, "accounts.0.settings.orchestratorChatTaskId", "'$Orchestrator chat'");
    static const char *const statuses[] = {
        "inbox", "assigned", "in_progress", "review", "blocked", "done"};
    for (size_t i = 0; i < sizeof statuses / sizeof statuses[0]; i++) {
        json_t *tasks = backend_value(
            env, "listTasksForOrchestratorHeartbeat", "{'statuses':['%s']}", statuses[i]);
        assert_true(json_array_size(tasks) > 0);
        json_decref(tasks);
    }
    json_decref(board);
}

static void test_unknown_version_is_a_usage_error(void **state)
{
    struct test_env *env = *state;
    char path[256];
    const char *build = getenv("MISSION_CONTROL_BUILD");
    snprintf(path, sizeof path, "%s/mission-control-sandbox", build != NULL ? build : "build");
    const char *const argv[] = {path, "--backend", "v2", NULL};
    char *no_environment[] = {NULL};
    process_start(&env->second, argv, no_environment);
    assert_int_equal(process_wait_exit(&env->second, TEST_WAIT_MS), 64);
    assert_true(process_wait_output(
        &env->second, "--backend must be v0 or v1, not \"v2\"", TEST_WAIT_MS, NULL, 0));
}

/* The functions are those of version 0 until the setting is off again; the board is the same. */
static void test_backend_can_be_rolled_back(void **state)
{
    struct test_env *env = *state;
    char id[ID_BYTES];
    board_load_one(env, id);
    board_set_flag(env, "rolled_back", true);
    backend_refuses(env, "Could not find public function", "markNotificationRead",
        "{'notificationId':'%s'}", id);
    json_t *context =
        backend_value(env, "getNotificationForDelivery", "{'notificationId':'%s'}", id);
    value_must_be(env, context, "deliverySessionKey", "");
    json_decref(context);
    board_set_flag(env, "rolled_back", false);
    backend_do(env, "markNotificationRead", "{'notificationId':'%s'}", id);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        V1(test_post_before_a_context_is_in_it),
        V1(test_post_after_a_context_patches_what_was_read),
        V1(test_post_around_a_mark),
        V1(test_wrong_posts_are_refused),
        V1(test_calls_are_recorded_without_the_token),
        V1(test_a_load_uses_all_of_its_tasks),
        V1(test_agents_take_wire_keys_and_instructions),
        V1(test_post_during_a_run),
        TEST_IN_ENV(test_state_and_info_tell_the_version),
        V1(test_state_and_info_tell_the_version),
        TEST_IN_ENV_WITH(
            test_demo_has_a_squad_and_tasks_in_several_statuses, .backend = "v1", .demo = true),
        V1(test_backend_can_be_rolled_back),
        TEST_IN_ENV(test_unknown_version_is_a_usage_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
