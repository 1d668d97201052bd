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
    {"{'input':'x','tools':null}", "tools: Invalid input: expected array"},
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        V1(test_refusals_before_a_run),
        V1(test_rounds_of_calls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
