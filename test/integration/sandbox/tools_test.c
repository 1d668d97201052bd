/* The sandbox's gateway takes client tools, makes the calls that a rule says, and takes results. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../lib/backend_call.h"

#define V1(test) TEST_IN_ENV_WITH(test, .backend = "v1")
#define WIRE_KEY "agent:jarvis:task:jd0:" TEST_ACCOUNT ":v1"
#define STATUS_TOOL "{'type':'function','name':'task_status','parameters':{'type':'object'}}"

/* Posts a response request as jarvis; returns the answer, which must have the status. */
static json_t *post_response(struct test_env *env, int status, const char *text)
{
    json_t *body = backend_json(env, text);
    json_object_set_new(body, "model", json_string("openclaw:jarvis"));
    return backend_post(env, "/v1/responses", "x-openclaw-session-key: " WIRE_KEY, body, status);
}

/* Requests that are refused before a run, and the message. */
static const struct {
    const char *body;
    const char *message;
} refusals[] = {
    {"{'input':'','tools':[{'type':'function','name':'probe'}]}",
        "Missing user message in `input`."},
    {"{'input':'x','tools':[{'type':'function','function':{'name':'probe'}}]}",
        "tools.0.name: Invalid input: expected string, received undefined"},
    {"{'input':'x','tools':[" STATUS_TOOL ",{'type':'function','name':'a','x':1}]}",
        "tools.1: Unrecognized key: \"x\""},
    {"{'input':'x','tools':[{'type':'function','name':'a','parameters':null}]}",
        "tools.0.parameters: Invalid input: expected record"},
    {"{'input':'x','tools':[{'type':'function','name':'a','strict':1}]}",
        "tools.0.strict: Invalid input: expected boolean"},
    {"{'input':'x','tools':['a']}", "tools.0: Invalid input: expected object"},
    {"{'input':'x','tools':null}", "tools: Invalid input: expected array"},
    {"{'input':'x','tools':[{'type':'function','name':'Tool_Call'}]}",
        "invalid tool configuration"},
    {"{'input':'x','tools':[{'type':'function','name':'Exec'}]}", "invalid tool configuration"},
    {"{'input':'x','tools':[" STATUS_TOOL "," STATUS_TOOL "]}", "invalid tool configuration"},
    {"{'input':[{'type':'function_call_output','call_id':'1','output':{}}]}",
        "input: Invalid input"},
    {"{'input':[{'type':'function_call_output','call_id':'1','output':'','name':'a'}]}",
        "input.0: Unrecognized key: \"name\""},
    {"{'function_call_output':[{'call_id':'1','output':''}]}", "input: Invalid input"},
    {"{'input':'x','function_call_output':[]}", ": Unrecognized key: \"function_call_output\""},
};

static void test_refusals_before_a_run(void **state)
{
    struct test_env *env = *state;
    backend_set_up(env, "seed", "{'agents':[{'slug':'jarvis'}]}");
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++) {
        json_t *answer = post_response(env, 400, refusals[i].body);
        assert_string_equal(value_string(answer, "error.message"), refusals[i].message);
        json_decref(answer);
    }
    assert_int_equal(test_env_stat(env, "gateway", "requests"), 0);
}

/* Two calls in one answer, a third in the next, then words. */
static void test_rounds_of_calls(void **state)
{
    struct test_env *env = *state;
    char results[256];
    backend_set_up(env, "seed", "{'agents':[{'slug':'jarvis'}]}");
    backend_set_up(env, "faults",
        "{'gateway':[{'times':1,'text':'Let me see.','calls':[{'name':'task_load','arguments':"
        "{'taskId':'t1'}},{'name':'task_status','arguments':'not JSON'}]},"
        "{'times':1,'calls':[{'name':'task_status'}]}]}");
    json_t *first = post_response(env, 200, "{'input':'hi','tools':[" STATUS_TOOL "]}");
    value_must_be(env, first, "status", "'completed'");
    value_must_be(env, first, "output.0.phase", "'commentary'");
    value_must_be(env, first, "output.1.type", "'function_call'");
    value_must_be(env, first, "output.1.name", "'task_load'");
    assert_string_equal(value_string(first, "output.1.arguments"), "{\"taskId\":\"t1\"}");
    value_must_be(env, first, "output.2.arguments", "'not JSON'");
    assert_int_equal(strlen(value_string(first, "output.2.call_id")), 9);
    value_must_be(env, first, "output.3", "");
    snprintf(results, sizeof results,
        "{'input':[{'type':'function_call_output','call_id':'%s','output':'loaded'},"
        "{'type':'function_call_output','call_id':'%s','output':'moved'}]}",
        value_string(first, "output.1.call_id"), value_string(first, "output.2.call_id"));
    json_t *second = post_response(env, 200, results);
    value_must_be(env, second, "output.0.name", "'task_status'");
    value_must_be(env, second, "output.0.arguments", "'{}'");
    json_t *last = post_response(env, 200, results);
    value_must_be(env, last, "output.0.phase", "'final_answer'");
    assert_non_null(strstr(value_string(last, "output.0.content.0.text"), "moved"));
    json_t *gateway = test_env_get(env, "/sandbox/gateway");
    value_must_be(env, gateway, "requests.0.tools", "['task_status']");
    value_must_be(env, gateway, "requests.0.results", "");
    value_must_be(env, gateway, "requests.1.tools", "");
    value_must_be(env, gateway, "requests.1.results.1.output", "'moved'");
    json_decref(gateway);
    json_decref(first);
    json_decref(second);
    json_decref(last);
}

/* The tools that a request offers where arguments matter. */
#define MOVE_TOOL                                                                          \
    "{'type':'function','name':'task_status','parameters':{'type':'object','properties':"  \
    "{'taskId':{'type':'string'},'status':{'type':'string','enum':['review','blocked']}}," \
    "'required':['taskId','status']}}"

/* Posts "hi" with that tool where the model makes the calls. */
static json_t *post_checked(struct test_env *env, const char *calls)
{
    backend_set_up(env, "faults/clear", "{}");
    backend_set_up(env, "faults", "{'gateway':[{'times':1,'checked':true,'calls':%s}]}", calls);
    return post_response(env, 200, "{'input':'hi','tools':[" MOVE_TOOL "]}");
}

/* Calls of the model that never come out, and what the model is told. */
static const struct {
    const char *call;
    const char *told;
} told_calls[] = {
    {"{'name':'task_status','arguments':{'taskId':'t1'}}", "must have required property 'status'"},
    {"{'name':'task_status'}", "must have required property 'taskId'"},
    {"{'name':'task_status','arguments':'{'}", "the arguments are not a JSON object"},
    {"{'name':'task_status','arguments':'null'}", "the arguments are not a JSON object"},
    {"{'name':'task_move','arguments':{}}", "Unknown tool id: task_move"},
};

static void test_a_call_that_is_refused_stays_in_its_run(void **state)
{
    struct test_env *env = *state;
    char path[64];
    backend_set_up(env, "seed", "{'agents':[{'slug':'jarvis'}]}");
    for (size_t i = 0; i < sizeof told_calls / sizeof told_calls[0]; i++) {
        char calls[128];
        snprintf(calls, sizeof calls, "[%s]", told_calls[i].call);
        json_t *answer = post_checked(env, calls);
        value_must_be(env, answer, "output.0.phase", "'final_answer'");
        value_must_be(env, answer, "output.1", "");
        json_decref(answer);
        json_t *tools = test_env_get(env, "/sandbox/tools");
        snprintf(path, sizeof path, "calls.%zu.told", i);
        assert_string_equal(value_string(tools, path), told_calls[i].told);
        value_must_be(env, tools, "asked", "0");
        json_decref(tools);
    }
}

/* Of several calls those come out that are accepted; what the schema does not name comes, too. */
static void test_accepted_calls_come_out(void **state)
{
    struct test_env *env = *state;
    backend_set_up(env, "seed", "{'agents':[{'slug':'jarvis'}]}");
    json_t *answer = post_checked(env,
        "[{'name':'task_status','arguments':{'status':'review'}},"
        "{'name':'task_status','arguments':{'taskId':'t','status':'review','note':'x'}}]");
    assert_string_equal(value_string(answer, "output.0.arguments"),
        "{\"taskId\":\"t\",\"status\":\"review\",\"note\":\"x\"}");
    value_must_be(env, answer, "output.1", "");
    json_decref(answer);
}

/* Only a model that sees the tools itself is held to their types. */
static void test_types_are_checked_where_the_model_sees_the_tools(void **state)
{
    static const char *const searches[] = {"search", "directory", "off"};
    struct test_env *env = *state;
    backend_set_up(env, "seed", "{'agents':[{'slug':'jarvis'}]}");
    for (size_t i = 0; i < 3; i++) {
        backend_set_up(env, "settings", "{'gateway_tool_search':'%s'}", searches[i]);
        json_t *answer = post_checked(
            env, "[{'name':'task_status','arguments':{'taskId':1,'status':'review'}}]");
        value_must_be(env, answer, "output.0.type", i == 0 ? "'function_call'" : "'message'");
        json_decref(answer);
        answer = post_checked(
            env, "[{'name':'task_status','arguments':{'taskId':'t','status':'gone'}}]");
        value_must_be(env, answer, "output.0.type", i == 0 ? "'function_call'" : "'message'");
        json_decref(answer);
    }
}

/* Tools belong to a request: a call after results that came without any stays in its run. */
static void test_results_without_tools(void **state)
{
    struct test_env *env = *state;
    backend_set_up(env, "seed", "{'agents':[{'slug':'jarvis'}]}");
    json_t *first =
        post_checked(env, "[{'name':'task_status','arguments':{'taskId':'t','status':'review'}}]");
    backend_set_up(env, "faults",
        "{'gateway':[{'checked':true,'calls':[{'name':'task_status','arguments':"
        "{'taskId':'t','status':'blocked'}}]}]}");
    json_t *second = post_response(
        env, 200, "{'input':[{'type':'function_call_output','call_id':'x','output':''}]}");
    value_must_be(env, second, "output.0.phase", "'final_answer'");
    assert_non_null(
        strstr(value_string(second, "output.0.content.0.text"), "Unknown tool id: task_status"));
    json_decref(second);
    json_decref(first);
}

/* A result that never comes leaves the session free; one that comes late, or twice, is taken. */
static void test_results_that_are_late_or_never_come(void **state)
{
    struct test_env *env = *state;
    char result[160];
    backend_set_up(env, "seed", "{'agents':[{'slug':'jarvis'}]}");
    json_t *first =
        post_checked(env, "[{'name':'task_status','arguments':{'taskId':'t','status':'review'}},"
                          "{'name':'task_status','arguments':{'taskId':'u','status':'review'}}]");
    json_decref(post_response(env, 200, "{'input':'another message'}"));
    snprintf(result, sizeof result,
        "{'input':[{'type':'function_call_output','call_id':'%s','output':'task_status: ok'}]}",
        value_string(first, "output.0.call_id"));
    json_decref(post_response(env, 200, result));
    json_decref(post_response(env, 200, result));
    json_t *tools = test_env_get(env, "/sandbox/tools");
    value_must_be(env, tools, "asked", "2");
    value_must_be(env, tools, "ended", "1");
    value_must_be(env, tools, "calls.0.results", "2");
    value_must_be(env, tools, "calls.0.output", "'task_status: ok'");
    value_must_be(env, tools, "calls.0.named", "true");
    value_must_be(env, tools, "calls.0.result_run", "3");
    value_must_be(env, tools, "calls.1.outcome", "'waiting'");
    json_decref(tools);
    json_decref(first);
}

/* Releases before 2026.4 refuse flat tools, drop nested ones, and show results as bare text. */
static void test_a_gateway_that_takes_no_tools(void **state)
{
    struct test_env *env = *state;
    backend_set_up(env, "seed", "{'agents':[{'slug':'jarvis'}]}");
    backend_set_up(env, "settings", "{'gateway_tools':'none'}");
    json_t *answer =
        post_response(env, 400, "{'input':'','tools':[{'type':'function','name':'probe'}]}");
    assert_string_equal(value_string(answer, "error.message"),
        "tools.0.function: Invalid input: expected object, received undefined");
    json_decref(answer);
    backend_set_up(
        env, "faults", "{'gateway':[{'times':1,'checked':true,'calls':[{'name':'exec_it'}]}]}");
    answer = post_response(
        env, 200, "{'input':'x','tools':[{'type':'function','function':{'name':'exec_it'}}]}");
    value_must_be(env, answer, "output.0.type", "'message'");
    json_decref(answer);
    json_decref(post_response(
        env, 200, "{'input':[{'type':'function_call_output','call_id':'','output':'moved'}]}"));
    json_t *gateway = test_env_get(env, "/sandbox/gateway");
    value_must_be(env, gateway, "requests.0.tools", "['exec_it']");
    value_must_be(env, gateway, "requests.1.input", "'moved'");
    json_decref(gateway);
}

/* A rule for one round, and one that calls without end. */
static void test_rules_for_rounds(void **state)
{
    struct test_env *env = *state;
    backend_set_up(env, "seed", "{'agents':[{'slug':'jarvis'}]}");
    backend_set_up(env, "faults",
        "{'gateway':[{'match':{'round':3},'action':'status','status':503},"
        "{'calls':[{'name':'task_status'}]}]}");
    static const int statuses[] = {200, 200, 503, 200};
    for (size_t i = 0; i < 4; i++) {
        json_t *answer = post_response(env, statuses[i],
            i == 0 ? "{'input':'x'}"
                   : "{'input':[{'type':'function_call_output','call_id':'1','output':''}]}");
        value_must_be(env, answer, "output.0.name", statuses[i] == 200 ? "'task_status'" : "");
        json_decref(answer);
    }
    json_t *gateway = test_env_get(env, "/sandbox/gateway");
    value_must_be(env, gateway, "requests.3.round", "4");
    value_must_be(env, gateway, "requests.3.first_run", "1");
    value_must_be(env, gateway, "requests.3.calls.0.name", "'task_status'");
    value_must_be(env, gateway, "requests.2.calls", "");
    json_decref(gateway);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        V1(test_refusals_before_a_run),
        V1(test_rounds_of_calls),
        V1(test_a_call_that_is_refused_stays_in_its_run),
        V1(test_accepted_calls_come_out),
        V1(test_types_are_checked_where_the_model_sees_the_tools),
        V1(test_results_without_tools),
        V1(test_results_that_are_late_or_never_come),
        V1(test_a_gateway_that_takes_no_tools),
        V1(test_rules_for_rounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
