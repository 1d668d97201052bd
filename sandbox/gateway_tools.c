/*
 * Client tools: what a request may offer, the calls that an answer makes, and their results in the
 * next request. The real gateway hands the calls of a model to its client and ends the run; a
 * result comes as the input of another run, which sees it as a message "Tool:ID: RESULT". Nobody
 * compares a result with a call, as in the real gateway.
 */
#include "gateway_tools.h"

#include <stdint.h>
#include <stdio.h>
#include <strings.h>
#include <sys/random.h>

#include "base/json.h"
#include "memory.h"

static const char *const tool_keys[] = {
    "type", "name", "description", "parameters", "strict", NULL};
static const char *const result_keys[] = {"type", "call_id", "output", NULL};

/* The gateway's own tools, as far as its configuration does not add to them. */
static const char *const taken_names[] = {"exec", "read", "write", "edit", "apply_patch", "ls",
    "process", "message", "web_search", "web_fetch", "sessions_send", "sessions_list",
    "sessions_spawn", "session_status", "tool_call", "tool_search", "tool_describe", "openclaw",
    "cron", "nodes", "agents_list", "gateway", "automations"};

static bool has_unknown_key(const json_t *object, const char *const *known, const char *where,
    size_t index, struct text *problem)
{
    const char *key;
    json_t *value;
    json_object_foreach ((json_t *)object, key, value) {
        const char *const *at = known;
        while (*at != NULL && strcmp(*at, key) != 0)
            at++;
        if (*at != NULL)
            continue;
        text_printf(problem, "%s.%zu: Unrecognized key: \"%s\"", where, index, key);
        return true;
    }
    return false;
}

static bool check_nested_tool(const json_t *tool, size_t index, struct text *problem)
{
    const json_t *function = json_object_get(tool, "function");
    if (json_is_object(function))
        return true;
    text_printf(problem, "tools.%zu.function: Invalid input: expected object, received %s", index,
        function == NULL ? "undefined" : "something else");
    return false;
}

static bool check_flat_tool(const json_t *tool, size_t index, struct text *problem)
{
    const json_t *strict = json_object_get(tool, "strict");
    const json_t *description = json_object_get(tool, "description");
    const json_t *parameters = json_object_get(tool, "parameters");
    const char *type = json_guard_string(tool, "type");
    const char *name = json_guard_string(tool, "name");
    if (!json_is_object(tool))
        text_printf(problem, "tools.%zu: Invalid input: expected object", index);
    else if (type == NULL || strcmp(type, "function") != 0)
        text_printf(problem, "tools.%zu.type: Invalid input: expected \"function\"", index);
    else if (name == NULL)
        text_printf(
            problem, "tools.%zu.name: Invalid input: expected string, received undefined", index);
    else if (*name == '\0')
        text_printf(
            problem, "tools.%zu.name: Too small: expected string to have >=1 characters", index);
    else if (description != NULL && !json_is_string(description))
        text_printf(problem, "tools.%zu.description: Invalid input: expected string", index);
    else if (parameters != NULL && !json_is_object(parameters))
        text_printf(problem, "tools.%zu.parameters: Invalid input: expected record", index);
    else if (strict != NULL && !json_is_boolean(strict))
        text_printf(problem, "tools.%zu.strict: Invalid input: expected boolean", index);
    else
        return !has_unknown_key(tool, tool_keys, "tools", index, problem);
    return false;
}

bool gateway_tools_check(const json_t *tools, enum tool_dialect dialect, struct text *problem)
{
    size_t index;
    const json_t *tool;
    if (!json_is_array(tools)) {
        text_append(problem, "tools: Invalid input: expected array");
        return false;
    }
    json_array_foreach (tools, index, tool) {
        if (dialect == TOOLS_NONE ? !check_nested_tool(tool, index, problem)
                                  : !check_flat_tool(tool, index, problem))
            return false;
    }
    return true;
}

bool gateway_tools_is_result(const json_t *item)
{
    const char *type = json_guard_string(item, "type");
    return type != NULL && strcmp(type, "function_call_output") == 0;
}

bool gateway_tools_check_results(const json_t *input, struct text *problem)
{
    size_t index;
    const json_t *item;
    json_array_foreach (input, index, item) {
        if (!gateway_tools_is_result(item))
            continue;
        if (json_guard_string(item, "call_id") == NULL ||
            json_guard_string(item, "output") == NULL) {
            text_append(problem, "input: Invalid input");
            return false;
        }
        if (has_unknown_key(item, result_keys, "input", index, problem))
            return false;
    }
    return true;
}

static const char *tool_name(const json_t *tools, size_t index)
{
    const json_t *tool = json_array_get(tools, index);
    const char *name = json_guard_string(tool, "name");
    return name != NULL ? name : json_guard_string(json_object_get(tool, "function"), "name");
}

static bool is_taken(const char *name)
{
    for (size_t i = 0; i < sizeof taken_names / sizeof *taken_names; i++)
        if (strcasecmp(taken_names[i], name) == 0)
            return true;
    return false;
}

bool gateway_tools_collide(const json_t *tools)
{
    for (size_t i = 0; i < json_array_size(tools); i++) {
        if (is_taken(tool_name(tools, i)))
            return true;
        for (size_t j = 0; j < i; j++)
            if (strcasecmp(tool_name(tools, i), tool_name(tools, j)) == 0)
                return true;
    }
    return false;
}

json_t *gateway_tools_names(const json_t *tools)
{
    if (!json_is_array(tools))
        return NULL;
    json_t *names = memory_json(json_array());
    for (size_t i = 0; i < json_array_size(tools); i++)
        json_array_append_new(names, memory_json(json_pack("s?", tool_name(tools, i))));
    return names;
}

json_t *gateway_tools_results(const json_t *input)
{
    json_t *results = NULL;
    size_t index;
    json_t *item;
    json_array_foreach (input, index, item) {
        if (!gateway_tools_is_result(item))
            continue;
        if (results == NULL)
            results = memory_json(json_array());
        json_array_append_new(results,
            memory_json(json_pack("{s:O, s:O}", "call_id", json_object_get(item, "call_id"),
                "output", json_object_get(item, "output"))));
    }
    return results;
}

/* Nine hexadecimal digits, as the real gateway has them. */
static json_t *make_call_id(void)
{
    char call_id[10];
    uint64_t random = 0;
    ssize_t got = getrandom(&random, sizeof random, 0);
    (void)got;
    snprintf(call_id, sizeof call_id, "%09jx", (uintmax_t)(random & 0xFFFFFFFFF));
    return memory_json(json_string(call_id));
}

json_t *gateway_tools_issue(const json_t *calls)
{
    json_t *issued = memory_json(json_array());
    size_t index;
    const json_t *call;
    json_array_foreach (calls, index, call) {
        json_array_append_new(issued,
            memory_json(json_pack("{s:o, s:O, s:O*}", "call_id", make_call_id(), "name",
                json_object_get(call, "name"), "arguments", json_object_get(call, "arguments"))));
    }
    return issued;
}

void gateway_tools_append_calls(json_t *output, const json_t *calls)
{
    size_t index;
    const json_t *call;
    json_array_foreach (calls, index, call) {
        char id[20];
        snprintf(id, sizeof id, "call_%s", json_guard_string(call, "call_id"));
        const json_t *arguments = json_object_get(call, "arguments");
        char *text = json_is_string(arguments) ? memory_copy(json_string_value(arguments))
                     : arguments == NULL       ? memory_copy("{}")
                                               : memory_json_dump(arguments);
        json_array_append_new(
            output, memory_json(json_pack("{s:s, s:s, s:O, s:O, s:o}", "type", "function_call",
                        "id", id, "call_id", json_object_get(call, "call_id"), "name",
                        json_object_get(call, "name"), "arguments", memory_json_text(text))));
        free(text);
    }
}
