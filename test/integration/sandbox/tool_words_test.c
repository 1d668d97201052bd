/*
 * The sandbox's agents do with their tools what a message tells them in plain words, and say in
 * their reply how it went; what changes on the board is recorded.
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
#include "base/text.h"

#define V1(test) TEST_IN_ENV_WITH(test, .backend = "v1")
#define WIRE_KEY "agent:jarvis:task:jd0:" TEST_ACCOUNT ":v1"

/* All tools that the tests use, without schemas, and words that name them. */
#define TOOL(name) "{'type':'function','name':'" name "'}"
#define TOOLS                                                                         \
    "[" TOOL("task_status") "," TOOL("task_update") "," TOOL("task_create") "," TOOL( \
        "document_"                                                                   \
        "upsert") "," TOOL("document_list") "," TOOL("response_request") "," TOOL("task_load") "," TOOL("task_assign") "," TOOL("task_search") "," TOOL("task_delete") "]"
#define INSTRUCTIONS                                                                     \
    "task_status, task_update, task_create, document_upsert, document_list, task_load, " \
    "response_request, task_assign, task_search and task_delete are tools: use tool_call."

/* A prompt of version 1 about a message of a user, as a request's input. */
static void write_prompt(struct text *input, const char *words)
{
    text_printf(input,
        "## Notification: mention\n**You were mentioned**\n"
        "===== LATEST THREAD MESSAGE START =====\nMessage author: user (n1)\nMessage ID: k1\n"
        "Message content:\n%s\n===== LATEST THREAD MESSAGE END =====\nTask: work (in_progress)\n"
        "Task ID: t1\n---\nNotification ID: js0",
        words);
}

static json_t *post_body(struct test_env *env, json_t *body)
{
    json_object_set_new(body, "model", json_string("openclaw:jarvis"));
    return backend_post(env, "/v1/responses", "x-openclaw-session-key: " WIRE_KEY, body, 200);
}

/* Says words to jarvis in a request with tools and instructions (NULL: without). */
static json_t *say_with(
    struct test_env *env, const char *words, const char *tools, const char *instructions)
{
    struct text input = {0};
    write_prompt(&input, words);
    json_t *body = json_pack("{s:s}", "input", input.data);
    text_fini(&input);
    if (tools != NULL)
        json_object_set_new(body, "tools", backend_json(env, tools));
    if (instructions != NULL)
        json_object_set_new(body, "instructions", json_string(instructions));
    return post_body(env, body);
}

static json_t *say(struct test_env *env, const char *words)
{
    return say_with(env, words, TOOLS, INSTRUCTIONS);
}

/* Sends the outputs (the last NULL) of the calls in an answer, which it frees, with the tools. */
static json_t *send_results(struct test_env *env, json_t *answer, const char *const outputs[])
{
    json_t *items = json_array();
    for (size_t i = 0; outputs[i] != NULL; i++) {
        char path[64];
        snprintf(path, sizeof path, "output.%zu.call_id", i);
        json_array_append_new(
            items, json_pack("{s:s, s:s, s:s}", "type", "function_call_output", "call_id",
                       value_string(answer, path), "output", outputs[i]));
    }
    json_decref(answer);
    return post_body(env, json_pack("{s:o, s:o, s:s}", "input", items, "tools",
                              backend_json(env, TOOLS), "instructions", INSTRUCTIONS));
}

static void expect_text(const json_t *answer, const char *words)
{
    const char *text = value_string(answer, "output.0.content.0.text");
    if (strstr(text, words) == NULL)
        fail_msg("%s is not in: %s", words, text);
}

/* What is said, and the one call that follows. */
static const struct {
    const char *words;
    const char *tool;
    const char *arguments;
} sayings[] = {
    {"@jarvis move this to review", "task_status", "{'taskId':'t1','status':'review'}"},
    {"Please set the task to in progress.", "task_status",
        "{'taskId':'t1','status':'in_progress'}"},
    {"@jarvis set this to blocked because the key is missing. Thanks!", "task_status",
        "{'taskId':'t1','status':'blocked','blockedReason':'the key is missing'}"},
    {"write a note about bread and butter", "document_upsert",
        "{'taskId':'t1','title':'bread and butter','type':'note','content':'# bread and "
        "butter\\n\\nWritten by jarvis, who knows no more about it.'}"},
    {"@friday list documents, @jarvis, please move this to review", "task_status",
        "{'taskId':'t1','status':'review'}"},
    {"@friday write a note about X, @jarvis load this task", "task_load", "{'taskId':'t1'}"},
    {"@friday @jarvis: look. Load this task", "task_load", "{'taskId':'t1'}"},
    {"@jarvis ask @friday about the letter", "response_request",
        "{'taskId':'t1','recipientSlugs':['friday'],'message':'about the letter'}"},
    {"Ask @friday and @qa-1 to help.", "response_request",
        "{'taskId':'t1','recipientSlugs':['friday','qa-1'],'message':'to help'}"},
    {"create a task to buy milk", "task_create", "{'title':'buy milk'}"},
    {"create a task for @friday: buy milk", "task_create",
        "{'assigneeSlugs':['friday'],'title':'buy milk'}"},
    {"list documents", "document_list", "{'taskId':'t1'}"},
    {"load this task", "task_load", "{'taskId':'t1'}"},
    {"assign @friday", "task_assign", "{'taskId':'t1','assigneeSlugs':['friday']}"},
    {"find tasks about ships?", "task_search", "{'query':'ships'}"},
    {"rename this task to Harbour", "task_update", "{'taskId':'t1','title':'Harbour'}"},
    {"archive this task because it is old", "task_delete", "{'taskId':'t1','reason':'it is old'}"},
    {"call task_load {\"taskId\":7,\"x\":\"move this to done\"} now", "task_load",
        "{'taskId':7,'x':'move this to done'}"},
};

static void test_words_and_the_calls_that_follow(void **state)
{
    struct test_env *env = *state;
    backend_set_up(env, "seed", "{'agents':[{'slug':'jarvis'}]}");
    for (size_t i = 0; i < sizeof sayings / sizeof sayings[0]; i++) {
        json_t *answer = say(env, sayings[i].words);
        json_t *expected = backend_json(env, sayings[i].arguments);
        value_must_be(env, answer, "output.1", "");
        assert_string_equal(value_string(answer, "output.0.name"), sayings[i].tool);
        json_t *arguments = json_loads(value_string(answer, "output.0.arguments"), 0, NULL);
        if (!json_equal(arguments, expected))
            fail_msg("%s: %s", sayings[i].words, value_string(answer, "output.0.arguments"));
        json_decref(arguments);
        json_decref(expected);
        json_decref(answer);
    }
}

/* Words that are about something else, or that nobody says to an agent. */
static void test_words_that_ask_for_nothing(void **state)
{
    static const char *const words[] = {"We could not move this to review yesterday.",
        "I wonder how to list documents",
        "@friday move this to review, then ask @jarvis about it and list documents",
        "move this to the shelf", "assign friday", "ask @jarvis", "call me maybe"};
    struct test_env *env = *state;
    backend_set_up(env, "seed", "{'agents':[{'slug':'jarvis'}]}");
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        json_t *answer = say(env, words[i]);
        value_must_be(env, answer, "output.0.phase", "'final_answer'");
        json_decref(answer);
    }
}

static void test_several_calls_in_one_answer(void **state)
{
    struct test_env *env = *state;
    backend_set_up(env, "seed", "{'agents':[{'slug':'jarvis'}]}");
    json_t *answer = say(env, "@jarvis move this to review and write a note about X");
    value_must_be(env, answer, "output.0.name", "'task_status'");
    value_must_be(env, answer, "output.1.name", "'document_upsert'");
    value_must_be(env, answer, "output.2", "");
    answer = send_results(env, answer,
        STRINGS("task_status {\"taskId\":\"t1\"}: {\"success\":false,\"error\":\"Forbidden: no\"}",
            "document_upsert: {\"success\":true,\"documentId\":\"kd7\"}"));
    expect_text(answer, "- task_status failed: \"Forbidden: no\"");
    expect_text(answer, "- [Document](/document/kd7)");
    expect_text(answer, "Notification js0");
    json_decref(answer);
}

/* "then" makes rounds; a result that is missing is said so. */
static void test_rounds_by_words(void **state)
{
    struct test_env *env = *state;
    backend_set_up(env, "seed", "{'agents':[{'slug':'jarvis'}]}");
    json_t *answer = say(env, "load this task, then create a task about rope, then list documents");
    value_must_be(env, answer, "output.0.name", "'task_load'");
    value_must_be(env, answer, "output.1", "");
    answer = send_results(env, answer, STRINGS("{\"success\":true,\"data\":{\"thread\":[{},{}]}}"));
    value_must_be(env, answer, "output.0.name", "'task_create'");
    answer = send_results(env, answer, STRINGS("the line was cut"));
    value_must_be(env, answer, "output.0.name", "'document_list'");
    json_decref(answer);
    answer = post_body(
        env, backend_json(
                 env, "{'input':[{'type':'function_call_output','call_id':'none','output':''}]}"));
    expect_text(answer, "- Found messages: 2");
    expect_text(answer, "- task_create answered: \"the line was cut\"");
    expect_text(answer, "- document_list failed: \"no result came\"");
    json_decref(answer);
}

/* With the default search an agent knows what it has read; otherwise it sees what is offered. */
static void test_agents_use_only_tools_that_they_know(void **state)
{
    static const struct {
        const char *search;
        const char *tools;
        const char *instructions;
        const char *problem; /* NULL: it is called */
    } cases[] = {
        {"search", TOOLS, INSTRUCTIONS, NULL},
        {"search", TOOLS, NULL, "task_status failed: \"nobody told me how to call it\""},
        {"search", TOOLS, "Use task_status.", "nobody told me"},
        {"search", TOOLS, "my_task_status: tool_call", "nobody told me"},
        {"directory", TOOLS, NULL, NULL},
        {"off", TOOLS, NULL, NULL},
        {"off", NULL, INSTRUCTIONS, "task_status failed: \"I have no such tool\""},
        {"off", "[" TOOL("task_load") "]", INSTRUCTIONS, "I have no such tool"},
    };
    struct test_env *env = *state;
    backend_set_up(env, "seed", "{'agents':[{'slug':'jarvis'}]}");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        backend_set_up(env, "settings", "{'gateway_tool_search':'%s'}", cases[i].search);
        json_t *answer =
            say_with(env, "move this to review", cases[i].tools, cases[i].instructions);
        if (cases[i].problem == NULL)
            value_must_be(env, answer, "output.0.name", "'task_status'");
        else
            expect_text(answer, cases[i].problem);
        json_decref(answer);
    }
}

/* A colleague is asked with the tool or, without it, by a mention. */
static void test_a_colleague_is_mentioned_without_the_tool(void **state)
{
    struct test_env *env = *state;
    backend_set_up(env, "seed", "{'agents':[{'slug':'jarvis'}]}");
    json_t *answer = say_with(env, "ask friday about it", NULL, NULL);
    expect_text(answer, "@friday, please take it from here.");
    json_decref(answer);
    answer = say(env, "ask friday about it");
    answer = send_results(env, answer, STRINGS("response_request: {\"success\":true}"));
    assert_null(strstr(value_string(answer, "output.0.content.0.text"), "@friday"));
    json_decref(answer);
}

/* With gateway_numbers, what an agent writes on the board tells which call it was. */
static void test_numbered_texts(void **state)
{
    struct test_env *env = *state;
    backend_set_up(env, "seed", "{'agents':[{'slug':'jarvis'}]}");
    backend_set_up(env, "settings", "{'gateway_numbers':true}");
    json_t *answer = say(env, "list documents, then create a task about rope");
    answer = send_results(env, answer, STRINGS("{\"success\":true}"));
    assert_non_null(strstr(value_string(answer, "output.0.arguments"), "\"rope [call 1.2]\""));
    answer = send_results(env, answer, STRINGS("{\"success\":true}"));
    expect_text(answer, "Run 3");
    json_decref(answer);
}

static void test_changes_are_recorded_with_who_made_them(void **state)
{
    struct test_env *env = *state;
    backend_set_up(env, "seed",
        "{'agents':[{'slug':'jarvis'},{'slug':'friday'}],"
        "'tasks':[{'title':'work','status':'in_progress','assign':['jarvis']}]}");
    backend_do(env, "updateTaskStatusFromAgent",
        "{'taskId':'$work','agentId':'$jarvis','status':'review'}");
    backend_do(env, "updateTaskStatusFromAgent",
        "{'taskId':'$work','agentId':'$jarvis','status':'review'}");
    backend_refuses(env, "Forbidden", "updateTaskStatusFromAgent",
        "{'taskId':'$work','agentId':'$friday','status':'done'}");
    backend_do(env, "listDocumentsForAgent", "{}");
    backend_do(env, "createResponseRequestNotifications",
        "{'taskId':'$work','requesterAgentId':'$jarvis','recipientSlugs':['friday'],"
        "'message':'look'}");
    json_t *effects = test_env_get(env, "/sandbox/effects");
    value_must_be(env, effects, "effects.0.function", "'updateTaskStatusFromAgent'");
    value_must_be(env, effects, "effects.0.arguments.status", "'review'");
    value_must_be(env, effects, "effects.0.arguments.serviceToken", "");
    value_must_be(env, effects, "effects.0.value.changed", "true");
    value_must_be(env, effects, "effects.1.value.changed", "false");
    value_must_be(env, effects, "effects.2.function", "'createResponseRequestNotifications'");
    value_must_be(env, effects, "effects.2.agent", "'jarvis'");
    value_must_be(env, effects, "effects.3", "");
    json_decref(effects);
    assert_int_equal(test_env_stat(env, NULL, "effects"), 3);
    effects = test_env_get(env, "/sandbox/effects?since=1&action=updateTaskStatusFromAgent");
    value_must_be(env, effects, "effects.0.number", "2");
    value_must_be(env, effects, "effects.1", "");
    json_decref(effects);
    effects = test_env_get(env, "/sandbox/effects?agent=friday");
    value_must_be(env, effects, "effects", "[]");
    json_decref(effects);
}

/* Rules that lose the answer of a change; the status of the answer that does arrive. */
static const struct {
    const char *behaviour;
    int status;
    bool takes_effect;
    bool hangs;
} lost_answers[] = {
    {"status_after", 502, true, false},
    {"drop_after", 0, true, false},
    {"drop_mid_answer", 0, true, false},
    {"hold_after", 0, true, true},
    {"hang", 0, false, true},
    {"drop_before", 0, false, false},
};

static json_t *document_body(struct test_env *env, const char *title)
{
    json_t *arguments = backend_json(env,
        "{'agentId':'$jarvis','content':'x','type':'note','accountId':'" TEST_ACCOUNT
        "','serviceToken':'" TEST_TOKEN "'}");
    json_object_set_new(arguments, "title", json_string(title));
    return json_pack(
        "{s:s, s:o}", "path", "service/actions:createDocumentFromAgent", "args", arguments);
}

/* Posts a call of a function; returns the status of the answer, or 0 for none in that time. */
static int post_impatiently(struct test_env *env, json_t *body, int64_t timeout_ms)
{
    const char *const headers[] = {"Content-Type: application/json", NULL};
    struct http_response answer;
    char url[192];
    snprintf(url, sizeof url, "%s/api/action", env->url);
    char *text = json_dumps(body, JSON_COMPACT);
    assert_non_null(text);
    json_decref(body);
    const struct http_request request = {.url = url,
        .headers = headers,
        .body = text,
        .body_bytes = strlen(text),
        .timeout_ms = timeout_ms,
        .single_use_connection = true,
        .response_limit_bytes = 65536,
        .ignore_proxy = true};
    http_client_perform(env->client, &request, &answer);
    free(text);
    return answer.failure == HTTP_ANSWERED ? answer.status : 0;
}

static void test_changes_whose_answers_are_lost(void **state)
{
    struct test_env *env = *state;
    backend_set_up(env, "seed", "{'agents':[{'slug':'jarvis'}]}");
    for (size_t i = 0; i < sizeof lost_answers / sizeof lost_answers[0]; i++) {
        char path[64];
        backend_set_up(env, "faults",
            "{'backend':[{'action':'createDocumentFromAgent','match':{'agent':'jarvis'},"
            "'behaviour':'%s','times':1,'status':502}]}",
            lost_answers[i].behaviour);
        json_t *before = test_env_get(env, "/sandbox/effects");
        size_t count = json_array_size(json_object_get(before, "effects"));
        json_decref(before);
        int64_t timeout_ms =
            lost_answers[i].hangs ? 300 : (int64_t)TEST_WAIT_MS * process_timeout_scale();
        int status =
            post_impatiently(env, document_body(env, lost_answers[i].behaviour), timeout_ms);
        assert_int_equal(status, lost_answers[i].status);
        if (lost_answers[i].takes_effect) {
            snprintf(path, sizeof path, "effects=%zu", count + 1);
            test_env_wait(env, path);
        }
        json_t *effects = test_env_get(env, "/sandbox/effects");
        snprintf(path, sizeof path, "effects.%zu.arguments.title", count);
        assert_int_equal(value_at(effects, path) != NULL, lost_answers[i].takes_effect);
        json_decref(effects);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        V1(test_words_and_the_calls_that_follow),
        V1(test_words_that_ask_for_nothing),
        V1(test_several_calls_in_one_answer),
        V1(test_rounds_by_words),
        V1(test_agents_use_only_tools_that_they_know),
        V1(test_a_colleague_is_mentioned_without_the_tool),
        V1(test_numbered_texts),
        V1(test_changes_are_recorded_with_who_made_them),
        V1(test_changes_whose_answers_are_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
