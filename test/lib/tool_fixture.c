#include "tool_fixture.h"
#include "json_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/json.h"
#include "base/text.h"
#include "http/ca_store.h"

#define ALL_BUT_DONE                                                                            \
    {                                                                                           \
        .can_create_tasks = true, .can_modify_task_status = true, .can_create_documents = true, \
        .can_mention_agents = true, .can_review_tasks = true                                    \
    }

const struct tool_audience tool_fixture_worker = {.flags = ALL_BUT_DONE, .has_task = true};
const struct tool_audience tool_fixture_orchestrator = {
    .flags = ALL_BUT_DONE, .has_task = true, .is_orchestrator = true};

static json_t *load_json(const char *text)
{
    json_t *value;
    struct error error;
    char *copy = json_fixture_quote(text);
    if (json_guard_load(copy, strlen(copy), &value, &error) != 0)
        fail_msg("%s: %s", error.text, copy);
    free(copy);
    return value;
}

static const struct tool_answer *find_answer(
    const struct tool_fixture *fixture, const char *function)
{
    const struct tool_answer *answer = fixture->answers;
    while (answer->function != NULL && strcmp(answer->function, function) != 0)
        answer++;
    return answer;
}

/* The response to a call of the function, for the caller to free; NULL closes the connection. */
static char *write_answer(const struct tool_answer *answer)
{
    struct text text = {0};
    if (answer->raw != NULL && answer->raw[0] == '\0')
        return NULL;
    if (answer->raw != NULL)
        return strdup(answer->raw);
    text_append(&text, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
    if (answer->function == NULL) {
        text_append(&text, "{\"status\":\"error\",\"errorMessage\":\"unexpected call\"}");
    } else if (answer->error != NULL) {
        json_t *error = json_pack("{s:s, s:s}", "status", "error", "errorMessage", answer->error);
        char *written = json_write(error);
        text_append(&text, written);
        free(written);
        json_decref(error);
    } else {
        char *value = json_fixture_quote(answer->value);
        text_printf(&text, "{\"status\":\"success\",\"value\":%s}", value);
        free(value);
    }
    return text_take(&text);
}

/* The function's name and its arguments without the credentials; a new reference. */
static json_t *read_call(const char *request)
{
    const char *body = strstr(request, "\r\n\r\n");
    json_t *sent = json_loads(body != NULL ? body + 4 : "", 0, NULL);
    const char *path = json_guard_string(sent, "path");
    json_t *arguments = json_array_get(json_object_get(sent, "args"), 0);
    json_object_del(arguments, "accountId");
    json_object_del(arguments, "serviceToken");
    json_t *call = json_pack("[s, O]",
        path != NULL && strchr(path, ':') != NULL ? strchr(path, ':') + 1 : "?", arguments);
    json_decref(sent);
    return call;
}

static const char *answer_tool_call(void *context, const char *request)
{
    struct tool_fixture *fixture = context;
    json_t *call = read_call(request);
    const struct tool_answer *answer =
        find_answer(fixture, json_string_value(json_array_get(call, 0)));
    char *written = write_answer(answer);
    mutex_lock(&fixture->lock);
    json_array_append_new(fixture->calls, call);
    char *earlier = fixture->answer;
    fixture->answer = written;
    mutex_unlock(&fixture->lock);
    free(earlier);
    return written;
}

void tool_fixture_connect(
    struct tool_fixture *fixture, const char *url, const char *account, const char *token)
{
    *fixture = (struct tool_fixture){.calls = json_array()};
    mutex_init(&fixture->lock);
    atomic_init(&fixture->aborted, false);
    assert_int_equal(ca_store_create(&fixture->store, NULL, NULL), 0);
    assert_int_equal(
        http_client_create(&fixture->client, fixture->store, &fixture->aborted, NULL), 0);
    assert_int_equal(convex_create(&fixture->convex, url, account, token, NULL), 0);
    fixture->service = (struct service){.convex = fixture->convex, .client = fixture->client};
    fixture->call = (struct tool_call){.service = &fixture->service,
        .agent_id = "a1",
        .task_id = "t1",
        .audience = tool_fixture_worker};
}

void tool_fixture_start(struct tool_fixture *fixture, const struct tool_answer *answers)
{
    char url[64];
    struct stub_server *server = stub_server_start_with(answer_tool_call, fixture);
    snprintf(url, sizeof url, "http://127.0.0.1:%u", stub_server_port(server));
    tool_fixture_connect(fixture, url, "account", "token");
    fixture->server = server;
    fixture->answers = answers;
}

void tool_fixture_stop(struct tool_fixture *fixture)
{
    if (fixture->server != NULL)
        stub_server_stop(fixture->server);
    convex_destroy(fixture->convex);
    http_client_destroy(fixture->client);
    ca_store_destroy(fixture->store);
    json_decref(fixture->calls);
    free(fixture->answer);
    mutex_fini(&fixture->lock);
}

struct tool_result tool_fixture_call(
    struct tool_fixture *fixture, const char *name, const char *arguments)
{
    struct tool_result result;
    char *json = json_fixture_quote(arguments);
    const struct tool *tool = tool_find(&tool_catalog, name);
    if (fixture->call.by_http)
        assert_non_null(tool);
    if (fixture->call.by_http)
        tool_run_request(tool, &fixture->call, json, strlen(json), &result);
    else
        tool_run(&tool_catalog, &fixture->call, name, json, &result);
    free(json);
    return result;
}

void tool_value_must_be(const json_t *value, const char *text)
{
    json_t *wanted = load_json(text);
    /* Loaded again, so that numbers are alike. */
    char *written = json_write(value);
    json_t *found = load_json(written != NULL ? written : "null");
    if (!json_equal(found, wanted))
        fail_msg("not %s: %s", text, written);
    free(written);
    json_decref(found);
    json_decref(wanted);
}

void tool_must_give(struct tool_fixture *fixture, const char *name, const char *arguments,
    enum tool_end end, int status, const char *value)
{
    struct tool_result result = tool_fixture_call(fixture, name, arguments);
    tool_value_must_be(result.value, value);
    if (result.end != end || result.status != status)
        fail_msg("%s %s: %s, %d", name, arguments, tool_end_words[result.end], result.status);
    json_decref(result.value);
}

void tool_calls_must_be(struct tool_fixture *fixture, const char *calls)
{
    mutex_lock(&fixture->lock);
    json_t *made = fixture->calls;
    fixture->calls = json_array();
    mutex_unlock(&fixture->lock);
    tool_value_must_be(made, calls);
    json_decref(made);
}
