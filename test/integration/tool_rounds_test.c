/* Agents that call tools while they are asked: what is carried out, what they are told, how often.
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

#include "../lib/agent_caller.h"
#include "../lib/backend_call.h"
#include "../lib/board.h"
#include "../lib/thread.h"

#define V1(test) TEST_IN_ENV_WITH(test, .backend = "v1")

static const char to_review[] = "{\"status\":\"review\"}";

/* The agent's next answer in a delivery makes one call. */
static void let_agent_call(struct test_env *env, const char *name, const char *arguments)
{
    board_gateway_fault(env, json_pack("{s:{s:s}, s:s, s:s, s:i, s:[{s:s, s:s}]}", "match", "input",
                                 "## Notification: ", "action", "reply", "name", "calls", "times",
                                 1, "calls", "name", name, "arguments", arguments));
}

/* Asks the agent, and waits until the notification is delivered. */
static void ask(struct test_env *env, const char *const settings[])
{
    thread_say(env, "@jarvis please");
    test_env_start_runtime(env, settings);
    test_env_wait(env, "undelivered=0");
}

static json_t *task(struct test_env *env)
{
    json_t *tasks = board_documents(env, "tasks");
    json_t *first = json_incref(json_array_get(tasks, 0));
    json_decref(tasks);
    return first;
}

static void task_must_be(struct test_env *env, const char *status)
{
    json_t *document = task(env);
    assert_string_equal(board_string(document, "status"), status);
    json_decref(document);
}

/* The output of a result in that run. */
static char *result_of(struct test_env *env, size_t run_number, size_t index)
{
    json_t *run = thread_run(env, run_number);
    const json_t *result = json_array_get(json_object_get(run, "results"), index);
    assert_non_null(result);
    char *output = strdup(board_string(result, "output"));
    json_decref(run);
    return output;
}

static void result_must_hold(
    struct test_env *env, size_t run_number, size_t index, const char *words)
{
    char *output = result_of(env, run_number, index);
    if (strstr(output, words) == NULL)
        fail_msg("\"%s\" is not in the result %s", words, output);
    free(output);
}

static void test_call_takes_effect_and_the_final_words_are_posted(void **state)
{
    struct test_env *env = *state;
    thread_seed(env);
    let_agent_call(env, "task_status", to_review);
    ask(env, NULL);
    task_must_be(env, "review");
    assert_int_equal(thread_count_replies(env), 1);
    json_t *first = thread_run(env, 0);
    json_t *second = thread_run(env, 1);
    assert_true(json_array_size(json_object_get(first, "tools")) >= 8);
    assert_true(json_equal(json_object_get(first, "tools"), json_object_get(second, "tools")));
    assert_true(json_equal(
        json_object_get(first, "instructions"), json_object_get(second, "instructions")));
    assert_string_equal(board_string(first, "session"), board_string(second, "session"));
    result_must_hold(env, 1, 0, "task_status {\"status\":\"review\"}: {\"success\":true");
    json_decref(first);
    json_decref(second);
    assert_int_equal(test_env_stat(env, "gateway", "requests"), 2);
    test_env_wait_words(env, "/metrics",
        "mission_control_tool_calls_total{tool=\"task_status\",outcome=\"succeeded\"} 1", true);
    test_env_stop_runtime(env);
}

static void test_several_calls_are_carried_out_in_order(void **state)
{
    struct test_env *env = *state;
    thread_seed(env);
    board_gateway_fault(
        env, json_pack("{s:s, s:i, s:s, s:[{s:s, s:s}, {s:s, s:s}, {s:s, s:s}]}", "action", "reply",
                 "times", 1, "text", "I will do both.", "calls", "name", "task_status", "arguments",
                 to_review, "name", "task_status", "arguments", "{\"status\":\"in_progress\"}",
                 "name", "no_such_tool", "arguments", "{}"));
    ask(env, NULL);
    task_must_be(env, "in_progress");
    result_must_hold(env, 1, 0, "\"success\":true");
    result_must_hold(env, 1, 1, "\"success\":true");
    result_must_hold(env, 1, 2, "Unknown tool: no_such_tool");
    assert_int_equal(thread_count_replies(env), 1);
    test_env_stop_runtime(env);
}

/* What was said beside a call was said before its result was known. */
static void test_words_beside_calls_are_not_the_reply(void **state)
{
    struct test_env *env = *state;
    thread_seed(env);
    board_gateway_fault(
        env, json_pack("{s:s, s:i, s:s, s:[{s:s, s:s}]}", "action", "reply", "times", 1, "text",
                 "All done already.", "calls", "name", "task_load", "arguments", "{}"));
    board_gateway_fault(
        env, json_pack("{s:s, s:i, s:s}", "action", "reply", "times", 1, "text", "Final words."));
    ask(env, NULL);
    json_t *messages = board_documents(env, "messages");
    const json_t *last = json_array_get(messages, json_array_size(messages) - 1);
    assert_string_equal(board_string(last, "content"), "Final words.");
    json_decref(messages);
    test_env_stop_runtime(env);
}

/* NO_REPLY after tools is silence, whatever was said before. */
static void test_silence_after_calls_posts_nothing(void **state)
{
    struct test_env *env = *state;
    thread_seed(env);
    board_gateway_fault(
        env, json_pack("{s:s, s:i, s:s, s:[{s:s, s:s}]}", "action", "reply", "times", 1, "text",
                 "All done already.", "calls", "name", "task_load", "arguments", "{}"));
    board_gateway_fault(
        env, json_pack("{s:s, s:i, s:s}", "action", "reply", "times", 1, "text", "NO_REPLY"));
    ask(env, NULL);
    assert_int_equal(thread_count_replies(env), 0);
    assert_int_equal(test_env_stat(env, "gateway", "requests"), 2);
    test_env_stop_runtime(env);
}

/* After the last round the agent is left with nothing but words. */
static void test_rounds_are_limited(void **state)
{
    struct test_env *env = *state;
    thread_seed(env);
    board_gateway_fault(env, json_pack("{s:s, s:i, s:[{s:s, s:s}]}", "action", "reply", "times", 3,
                                 "calls", "name", "task_load", "arguments", "{}"));
    ask(env, STRINGS("DELIVERY_MAX_TOOL_ROUNDS=3"));
    assert_int_equal(test_env_stat(env, "gateway", "requests"), 4);
    json_t *last = thread_run(env, 3);
    assert_null(json_object_get(last, "tools"));
    json_decref(last);
    assert_int_equal(thread_count_replies(env), 1);
    test_env_wait_words(env, "/metrics", "mission_control_tool_rounds_total 3", true);
    test_env_stop_runtime(env);
}

/* The change was made and its answer lost: only looking can tell, and nothing is repeated. */
static void test_call_of_unknown_outcome_is_not_repeated(void **state)
{
    struct test_env *env = *state;
    thread_seed(env);
    let_agent_call(env, "task_status", to_review);
    board_fail(env, "updateTaskStatusFromAgent", "drop_after", 1);
    ask(env, NULL);
    task_must_be(env, "review");
    assert_int_equal(test_env_stat(env, "backend", "updateTaskStatusFromAgent"), 1);
    result_must_hold(env, 1, 0, "look before you try again");
    assert_int_equal(thread_count_replies(env), 1);
    test_env_stop_runtime(env);
}

/* The shutdown ends a round between two calls; the next process makes the second one. */
static void test_shutdown_leaves_the_rest_of_a_round(void **state)
{
    struct test_env *env = *state;
    thread_seed(env);
    board_gateway_fault(
        env, json_pack("{s:s, s:i, s:[{s:s, s:s}, {s:s, s:s}]}", "action", "reply", "times", 1,
                 "calls", "name", "task_status", "arguments", to_review, "name", "task_status",
                 "arguments", "{\"status\":\"in_progress\"}"));
    board_fail(env, "updateTaskStatusFromAgent", "hold_after", 1);
    thread_say(env, "@jarvis please");
    test_env_start_runtime(env, NULL);
    test_env_wait(env, "held=1");
    process_signal(&env->runtime, SIGTERM);
    test_env_wait_log(env, "wake-ups in flight");
    board_clear_faults(env);
    assert_int_equal(process_wait_exit(&env->runtime, TEST_WAIT_MS), 0);
    assert_int_equal(test_env_stat(env, "backend", "updateTaskStatusFromAgent"), 1);
    test_env_start_runtime(env, NULL);
    test_env_wait(env, "undelivered=0");
    assert_int_equal(test_env_stat(env, "backend", "updateTaskStatusFromAgent"), 2);
    task_must_be(env, "in_progress");
    assert_int_equal(thread_count_runs(env), 1);
    assert_int_equal(thread_count_replies(env), 1);
    test_env_stop_runtime(env);
}

static void test_refused_call_is_told_to_the_agent(void **state)
{
    struct test_env *env = *state;
    thread_seed(env);
    let_agent_call(env, "task_status", "{\"status\":\"done\"}");
    ask(env, NULL);
    task_must_be(env, "in_progress");
    result_must_hold(env, 1, 0, "Forbidden");
    assert_int_equal(test_env_stat(env, "backend", "updateTaskStatusFromAgent"), 0);
    assert_int_equal(thread_count_replies(env), 1);
    test_env_stop_runtime(env);
}

/* The results wait for the gateway; the call is not made again. */
static void test_results_wait_for_the_gateway(void **state)
{
    struct test_env *env = *state;
    thread_seed(env);
    let_agent_call(env, "task_status", to_review);
    board_gateway_fault(
        env, json_pack("{s:s, s:s, s:i, s:i, s:{s:s}, s:{s:{s:s, s:s, s:s}}}", "action", "status",
                 "name", "draining", "times", 2, "status", 503, "headers", "Retry-After", "1",
                 "body_json", "error", "message",
                 "Gateway is temporarily unavailable while suspending or restarting", "type",
                 "service_unavailable", "code", "gateway_unavailable"));
    ask(env, NULL);
    assert_true(board_fault_hits(env, "draining") >= 1);
    task_must_be(env, "review");
    assert_int_equal(test_env_stat(env, "backend", "updateTaskStatusFromAgent"), 1);
    assert_int_equal(thread_count_replies(env), 1);
    test_env_stop_runtime(env);
}

/* The run fails after the call: the next one is told what has been done. */
static void test_next_run_is_told_of_the_calls_of_a_failed_one(void **state)
{
    struct test_env *env = *state;
    thread_seed(env);
    let_agent_call(env, "task_status", to_review);
    board_gateway_fault(
        env, json_pack("{s:s, s:i, s:i}", "action", "status", "times", 1, "status", 500));
    ask(env, STRINGS("DELIVERY_BACKOFF_BASE_MS=1", "DELIVERY_BACKOFF_MAX_MS=10"));
    assert_int_equal(test_env_stat(env, "gateway", "requests"), 3);
    thread_run_must_show(env, 2, "do not repeat");
    thread_run_must_show(env, 2, "- task_status {\"status\":\"review\"}");
    assert_int_equal(test_env_stat(env, "backend", "updateTaskStatusFromAgent"), 1);
    assert_int_equal(thread_count_replies(env), 1);
    test_env_stop_runtime(env);
}

/* It is told what has been done, and does it again all the same: that adds nothing. */
static void test_next_run_adds_nothing_twice(void **state)
{
    struct test_env *env = *state;
    static const char note[] = "{\"title\":\"Findings\",\"content\":\"None.\",\"type\":\"note\"}";
    thread_seed(env);
    let_agent_call(env, "document_upsert", note);
    board_gateway_fault(
        env, json_pack("{s:s, s:i, s:i}", "action", "status", "times", 1, "status", 500));
    let_agent_call(env, "document_upsert", note);
    ask(env, STRINGS("DELIVERY_BACKOFF_BASE_MS=1", "DELIVERY_BACKOFF_MAX_MS=10"));
    assert_int_equal(test_env_stat(env, "gateway", "requests"), 4);
    assert_int_equal(test_env_stat(env, "backend", "createDocumentFromAgent"), 1);
    char *first = result_of(env, 1, 0);
    char *second = result_of(env, 3, 0);
    assert_string_equal(first, second);
    assert_int_equal(thread_count_replies(env), 1);
    free(first);
    free(second);
    test_env_stop_runtime(env);
}

static void test_tools_can_be_switched_off(void **state)
{
    struct test_env *env = *state;
    thread_seed(env);
    ask(env, STRINGS("OPENCLAW_CLIENT_TOOLS_ENABLED=false"));
    json_t *run = thread_run(env, 0);
    assert_null(json_object_get(run, "tools"));
    json_decref(run);
    test_env_stop_runtime(env);
}

/* Copies what follows words in the instructions, up to a blank, a line end or a full stop. */
static void find_after(const char *instructions, const char *words, char *found, size_t found_bytes)
{
    const char *begin = strstr(instructions, words);
    assert_non_null(begin);
    begin += strlen(words);
    size_t length = strcspn(begin, " \n");
    if (length > 0 && begin[length - 1] == '.')
        length--;
    assert_true(length < found_bytes);
    memcpy(found, begin, length);
    found[length] = '\0';
}

/* Without tools an agent is told of the HTTP API, and of a key that it takes. */
static void test_agent_without_tools_can_use_the_http_api(void **state)
{
    struct test_env *env = *state;
    char url[128];
    char expected[128];
    char credential[AGENT_CREDENTIAL_BYTES];
    thread_seed(env);
    test_env_list_agents(env, true);
    ask(env, STRINGS("OPENCLAW_CLIENT_TOOLS_ENABLED=false"));
    json_t *run = thread_run(env, 0);
    if (json_object_get(run, "instructions") == NULL) { /* a wake-up came first */
        json_decref(run);
        run = thread_run(env, 1);
    }
    const char *instructions = board_string(run, "instructions");
    assert_non_null(strstr(instructions, "- POST /agent/task-status: "));
    find_after(instructions, "HTTP base URL: ", url, sizeof url);
    find_after(instructions, "x-openclaw-session-key: ", credential, sizeof credential);
    snprintf(expected, sizeof expected, "http://127.0.0.1:%u", env->health_port);
    assert_string_equal(url, expected);
    json_t *document = task(env);
    char body[160];
    snprintf(body, sizeof body, "{'taskId':'%s','status':'review'}", board_string(document, "_id"));
    /* The API knows no session before the first sync. */
    test_env_wait_log(env, "agent list changed: ");
    agent_caller_must_get(env, "/agent/task-status", credential, body, 200, "\"success\":true");
    task_must_be(env, "review");
    json_decref(document);
    json_decref(run);
    test_env_stop_runtime(env);
}

/* A limit for the run with all its rounds. */
static void test_run_that_takes_too_long_fails(void **state)
{
    struct test_env *env = *state;
    thread_seed(env);
    let_agent_call(env, "task_load", "{}");
    board_gateway_fault(
        env, json_pack("{s:s, s:i, s:i}", "action", "reply", "times", 1, "latency_ms", 60000));
    ask(env, STRINGS("DELIVERY_STREAM_TIMEOUT_MS=5000", "DELIVERY_MAX_RUNS=1"));
    json_t *messages = board_documents(env, "messages");
    const json_t *last = json_array_get(messages, json_array_size(messages) - 1);
    assert_non_null(strstr(board_string(last, "content"), "**No reply.**"));
    json_decref(messages);
    test_env_stop_runtime(env);
}

/* What one agent asks of another belongs to the chain that it is in itself. */
static void test_request_for_a_response_belongs_to_its_chain(void **state)
{
    struct test_env *env = *state;
    thread_seed(env);
    test_env_list_agents(env, true);
    backend_set_up(env, "seed", "{'agents':[{'slug':'friday','heartbeatInterval':1440}]}");
    let_agent_call(env, "response_request",
        "{\"recipientSlugs\":[\"@friday\"],\"message\":\"How far are you?\"}");
    ask(env, STRINGS("DELIVERY_MAX_HOPS=1"));
    test_env_wait(env, "undelivered=0");
    /* Friday's own answer to it would be the second hop. */
    assert_int_equal(test_env_stat(env, "backend", "createResponseRequestNotifications"), 1);
    assert_int_equal(thread_count_runs(env), 2);
    test_env_stop_runtime(env);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        V1(test_call_takes_effect_and_the_final_words_are_posted),
        V1(test_several_calls_are_carried_out_in_order),
        V1(test_words_beside_calls_are_not_the_reply),
        V1(test_silence_after_calls_posts_nothing),
        V1(test_rounds_are_limited),
        V1(test_call_of_unknown_outcome_is_not_repeated),
        V1(test_shutdown_leaves_the_rest_of_a_round),
        V1(test_refused_call_is_told_to_the_agent),
        V1(test_results_wait_for_the_gateway),
        V1(test_next_run_is_told_of_the_calls_of_a_failed_one),
        V1(test_next_run_adds_nothing_twice),
        V1(test_tools_can_be_switched_off),
        V1(test_agent_without_tools_can_use_the_http_api),
        V1(test_run_that_takes_too_long_fails),
        V1(test_request_for_a_response_belongs_to_its_chain),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
