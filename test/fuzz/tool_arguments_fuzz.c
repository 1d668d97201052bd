/*
 * A byte that selects a tool, a byte of circumstances, and any text as the arguments of a call or
 * the body of a request. A backend that is shutting down ends whatever gets through the checks. The
 * result must be one, and what was checked must be what the backend's functions take.
 */
#include <assert.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../lib/utf8.h"
#include "agent_tools/arguments.h"
#include "agent_tools/run.h"
#include "base/containers.h"
#include "base/json.h"
#include "base/text.h"

enum { HEAD_BYTES = 2 };

static const atomic_bool aborted = true;
static struct service service;

static void check_value(const struct tool_parameter *parameter, const json_t *value)
{
    double number = json_number_value(value);
    const char *text = json_string_value(value);
    switch (parameter->type) {
    case PARAMETER_TEXT:
    case PARAMETER_WORD:
        assert(text != NULL && strlen(text) == json_string_length(value));
        assert(parameter->max <= 0 ||
               text_utf16_cut(text, strlen(text), (size_t)parameter->max) == strlen(text));
        break;
    case PARAMETER_ID:
        assert(id_is_valid(text));
        break;
    case PARAMETER_NUMBER:
    case PARAMETER_LIMIT:
    case PARAMETER_PRIORITY:
        assert(json_is_number(value) && floor(number) == number);
        assert(number >= parameter->min && number <= parameter->max);
        break;
    case PARAMETER_TEXTS:
        assert(json_is_array(value));
        break;
    }
}

static void check_checked(const struct tool *tool, const json_t *checked)
{
    size_t count = 0;
    for (const struct tool_parameter *each = tool->parameters; each->name != NULL; each++) {
        const json_t *value = json_object_get(checked, each->name);
        assert(value != NULL || !each->required);
        if (value == NULL)
            continue;
        check_value(each, value);
        count++;
    }
    assert(json_object_size(checked) == count);
}

static void check_arguments(const struct tool *tool, const struct tool_call *call, const char *text)
{
    json_t *given = NULL;
    json_t *checked = NULL;
    struct argument_problem problem;
    if (json_guard_load(text, strlen(text), &given, NULL) != 0 || !json_is_object(given)) {
        json_decref(given);
        return;
    }
    if (arguments_check(tool, call, given, &checked, &problem))
        check_checked(tool, checked);
    else
        assert(problem.text.length_bytes > 0 && problem.status >= 400 && problem.status <= 422);
    text_fini(&problem.text);
    json_decref(checked);
    json_decref(given);
}

static void check_result(const struct tool_result *result)
{
    const char *error = json_guard_string(result->value, "error");
    assert(result->end == TOOL_REFUSED || result->end == TOOL_ABORTED);
    assert(result->status >= 400 && json_is_false(json_object_get(result->value, "success")));
    assert(error != NULL && error[0] != '\0' && utf8_is_valid(error, strlen(error)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < HEAD_BYTES)
        return 0;
    if (service.convex == NULL) {
        assert(convex_create(&service.convex, "http://127.0.0.1:1", "account", "token", NULL) == 0);
        assert(http_client_create(&service.client, NULL, &aborted, NULL) == 0);
    }
    const struct tool *tool = &tool_catalog.tools[data[0] % tool_catalog.count];
    struct tool_call call = {.service = &service,
        .agent_id = "a1",
        .task_id = (data[1] & 1) != 0 ? "t1" : "",
        .audience = {.is_orchestrator = (data[1] & 2) == 0, .may_mark_done = (data[1] & 4) != 0}};
    memset(&call.audience.flags, (data[1] & 8) == 0, sizeof call.audience.flags);
    char *text = strndup((const char *)data + HEAD_BYTES, size - HEAD_BYTES);
    assert(text != NULL);
    check_arguments(tool, &call, text);
    struct tool_result result;
    tool_run(&tool_catalog, &call, tool->name, text, &result);
    check_result(&result);
    json_decref(result.value);
    call.by_http = true;
    tool_run_request(tool, &call, (const char *)data + HEAD_BYTES, size - HEAD_BYTES, &result);
    check_result(&result);
    json_decref(result.value);
    free(text);
    return 0;
}
