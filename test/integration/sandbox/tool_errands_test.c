/* The sandbox's agents call the agents' HTTP API themselves where they have no tools. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "../../lib/backend_call.h"
#include "../../lib/loopback.h"
#include "../../lib/stub_server.h"
#include "base/text.h"

#define V1(test) TEST_IN_ENV_WITH(test, .backend = "v1")
#define WIRE_KEY "agent:jarvis:task:jd0:" TEST_ACCOUNT ":v1"

/* What the API was asked, one request after the other; read when no request is under way. */
struct api {
    struct text requests;
};

static const char *answer_request(void *context, const char *request)
{
    struct api *api = context;
    text_append(&api->requests, request);
    text_append(&api->requests, "\n");
    if (strstr(request, "/agent/task-status") != NULL)
        return "HTTP/1.1 422 Unprocessable Content\r\nContent-Type: application/json\r\n"
               "Content-Length: 39\r\nConnection: close\r\n\r\n"
               "{\"success\":false,\"error\":\"no such way\"}";
    return "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 36\r\n"
           "Connection: close\r\n\r\n{\"success\":true,\"documentId\":\"kd77\"}";
}

/* Says words to jarvis, who knows two endpoints at the port; returns what it says. */
static json_t *say(struct test_env *env, unsigned port, const char *words)
{
    struct text input = {0};
    struct text instructions = {0};
    text_printf(&input,
        "## Notification: mention\n===== LATEST THREAD MESSAGE START =====\n"
        "Message author: user (n1)\nMessage content:\n%s\n"
        "===== LATEST THREAD MESSAGE END =====\nTask: work (review)\nTask ID: t1\n"
        "Notification ID: js0",
        words);
    text_printf(&instructions,
        "- POST /agent/task-status: x\n- POST /agent/document: y\n- HTTP base URL: "
        "http://127.0.0.1:%u. Send the header x-openclaw-session-key: key~tag with each request.",
        port);
    json_t *answer = backend_post(env, "/v1/responses", "x-openclaw-session-key: " WIRE_KEY,
        json_pack("{s:s, s:s, s:s}", "model", "openclaw:jarvis", "input", input.data,
            "instructions", instructions.data),
        200);
    text_fini(&input);
    text_fini(&instructions);
    return answer;
}

static void expect_said(const json_t *answer, const char *words)
{
    const char *text = value_string(answer, "output.0.content.0.text");
    if (strstr(text, words) == NULL)
        fail_msg("%s is not in: %s", words, text);
}

static void test_requests_of_an_agent(void **state)
{
    struct test_env *env = *state;
    struct api api = {0};
    struct stub_server *server = stub_server_start_with(answer_request, &api);
    backend_set_up(env, "seed", "{'agents':[{'slug':'jarvis'}]}");
    json_t *answer = say(env, stub_server_port(server),
        "set this to blocked because of rain, write a note about rope and list documents");
    stub_server_stop(server);
    expect_said(answer, "- task_status failed: \"no such way\"");
    expect_said(answer, "- [Document](/document/kd77)");
    expect_said(answer, "- document_list failed: \"I know no endpoint for it\"");
    json_decref(answer);
    assert_non_null(strstr(api.requests.data, "POST /agent/task-status HTTP/1.1"));
    assert_non_null(strstr(api.requests.data, "x-openclaw-session-key: key~tag\r\n"));
    assert_non_null(strstr(api.requests.data, "POST /agent/document HTTP/1.1"));
    text_fini(&api.requests);
    json_t *tools = test_env_get(env, "/sandbox/tools");
    value_must_be(env, tools, "asked", "0");
    value_must_be(env, tools, "calls.0.outcome", "'told'");
    value_must_be(env, tools, "calls.1.outcome", "'failed'");
    value_must_be(env, tools, "calls.1.http", "true");
    value_must_be(env, tools, "calls.2.outcome", "'succeeded'");
    value_must_be(env, tools, "calls.3", "");
    json_decref(tools);
}

/* The sandbox answers others, and itself, while an agent waits for the API. */
static void test_a_request_to_the_sandbox_itself(void **state)
{
    struct test_env *env = *state;
    backend_set_up(env, "seed", "{'agents':[{'slug':'jarvis'}]}");
    json_t *answer = say(env, test_env_sandbox_port(env), "move this to review");
    expect_said(answer, "- task_status answered: ");
    json_decref(answer);
}

static void test_an_api_that_cannot_be_reached(void **state)
{
    struct test_env *env = *state;
    unsigned port;
    int fd = loopback_reserve(&port);
    backend_set_up(env, "seed", "{'agents':[{'slug':'jarvis'}]}");
    json_t *answer = say(env, port, "move this to review");
    expect_said(answer, "- task_status failed: \"The HTTP request failed: ");
    json_decref(answer);
    close(fd);
}

/* An errand under way does not keep the sandbox from ending; the teardown waits for that. */
static void test_an_errand_that_is_cut_off(void **state)
{
    struct test_env *env = *state;
    struct stub_server *silent = stub_server_start(NULL);
    char instructions[256];
    backend_set_up(env, "seed", "{'agents':[{'slug':'jarvis'}]}");
    snprintf(instructions, sizeof instructions,
        "POST /agent/task-status. HTTP base URL: http://127.0.0.1:%u. x-openclaw-session-key: k",
        stub_server_port(silent));
    const char *const headers[] = {
        "Authorization: Bearer " TEST_GATEWAY_TOKEN, "x-openclaw-session-key: " WIRE_KEY, NULL};
    char url[192];
    char body[1024];
    snprintf(url, sizeof url, "%s/v1/responses", env->url);
    snprintf(body, sizeof body,
        "{\"model\":\"openclaw:jarvis\",\"instructions\":\"%s\",\"input\":\"\\nLatest message:\\n"
        "move this to review\\n\\nMessage author: user\\n\"}",
        instructions);
    struct http_response answer;
    const struct http_request request = {.url = url,
        .headers = headers,
        .body = body,
        .body_bytes = strlen(body),
        .timeout_ms = (int64_t)2000 * process_timeout_scale(),
        .single_use_connection = true,
        .response_limit_bytes = 65536,
        .ignore_proxy = true};
    http_client_perform(env->client, &request, &answer);
    assert_true(answer.timed_out);
    test_env_wait(env, "aborted=1");
    json_t *tools = test_env_get(env, "/sandbox/tools");
    value_must_be(env, tools, "calls.0.outcome", "'unanswered'");
    json_decref(tools);
    stub_server_stop(silent);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        V1(test_requests_of_an_agent),
        V1(test_a_request_to_the_sandbox_itself),
        V1(test_an_api_that_cannot_be_reached),
        V1(test_an_errand_that_is_cut_off),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
