/*
 * The responses schema of OpenClaw 2026.9.6 as a table. The real gateway validates with zod and
 * rejects unknown keys, so a request with one field too many fails here as it would there, with
 * the same text. The members are checked in the order in which zod reports them.
 */
#include "gateway_schema.h"

#include "base/json.h"
#include "memory.h"

enum kind {
    KIND_STRING,
    KIND_INPUT,
    KIND_BOOLEAN,
    KIND_COUNT,
    KIND_NUMBER,
    KIND_RECORD,
    KIND_ANY,
};

struct member {
    const char *name;
    enum kind kind;
    bool required;
};

/* In the order in which they are checked; the first mismatch is reported. */
static const struct member members[] = {
    {"model", KIND_STRING, true},
    {"input", KIND_INPUT, true},
    {"instructions", KIND_STRING, false},
    {"tools", KIND_ANY, false},
    {"tool_choice", KIND_ANY, false},
    {"stream", KIND_BOOLEAN, false},
    {"max_output_tokens", KIND_COUNT, false},
    {"max_tool_calls", KIND_COUNT, false},
    {"user", KIND_STRING, false},
    {"temperature", KIND_NUMBER, false},
    {"top_p", KIND_NUMBER, false},
    {"metadata", KIND_RECORD, false},
    {"store", KIND_BOOLEAN, false},
    {"previous_response_id", KIND_STRING, false},
    {"reasoning", KIND_ANY, false},
    {"truncation", KIND_ANY, false},
};

enum { MEMBER_COUNT = sizeof members / sizeof *members };

static const char *type_name(const json_t *value)
{
    if (value == NULL)
        return "undefined";
    switch (json_typeof(value)) {
    case JSON_STRING:
        return "string";
    case JSON_ARRAY:
        return "array";
    case JSON_OBJECT:
        return "object";
    case JSON_NULL:
        return "null";
    case JSON_TRUE:
    case JSON_FALSE:
        return "boolean";
    default:
        return "number";
    }
}

static const char *const expected_names[] = {
    [KIND_STRING] = "string",
    [KIND_INPUT] = "",
    [KIND_BOOLEAN] = "boolean",
    [KIND_COUNT] = "number",
    [KIND_NUMBER] = "number",
    [KIND_RECORD] = "record",
    [KIND_ANY] = "",
};

static bool is_string_record(const json_t *metadata)
{
    const char *key;
    json_t *value;
    json_object_foreach ((json_t *)metadata, key, value) {
        if (!json_is_string(value))
            return false;
    }
    return json_is_object(metadata);
}

static bool has_kind(enum kind kind, const json_t *value)
{
    double number;
    switch (kind) {
    case KIND_STRING:
        return json_is_string(value);
    case KIND_INPUT:
        return json_is_string(value) || json_is_array(value);
    case KIND_BOOLEAN:
        return json_is_boolean(value);
    case KIND_COUNT:
        return json_guard_number(value, 1, 1e15, &number);
    case KIND_NUMBER:
        return json_is_number(value);
    case KIND_RECORD:
        return is_string_record(value);
    case KIND_ANY:
        break;
    }
    return true;
}

static void explain_mismatch(const struct member *member, const json_t *value, struct text *problem)
{
    text_printf(problem, "%s: ", member->name);
    if (member->kind == KIND_INPUT)
        text_append(problem, "Invalid input");
    else if (member->kind == KIND_COUNT && json_is_number(value))
        text_append(problem, "Too small: expected number to be >0");
    else
        text_printf(problem, "Invalid input: expected %s, received %s",
            expected_names[member->kind], type_name(value));
}

static bool is_known_member(const char *name)
{
    for (int i = 0; i < MEMBER_COUNT; i++)
        if (strcmp(members[i].name, name) == 0)
            return true;
    return false;
}

bool gateway_schema_check(const json_t *body, enum tool_dialect dialect, struct text *problem)
{
    if (!json_is_object(body)) {
        text_printf(problem, ": Invalid input: expected object, received %s", type_name(body));
        return false;
    }
    for (int i = 0; i < MEMBER_COUNT; i++) {
        const json_t *value = json_object_get(body, members[i].name);
        if (value == NULL && !members[i].required)
            continue;
        if (value == NULL || !has_kind(members[i].kind, value)) {
            explain_mismatch(&members[i], value, problem);
            return false;
        }
    }
    const json_t *tools = json_object_get(body, "tools");
    if (!gateway_tools_check_results(json_object_get(body, "input"), problem) ||
        (tools != NULL && !gateway_tools_check(tools, dialect, problem)))
        return false;
    const char *key;
    json_t *value;
    json_object_foreach ((json_t *)body, key, value) {
        if (is_known_member(key))
            continue;
        text_printf(problem, ": Unrecognized key: \"%s\"", key);
        return false;
    }
    return true;
}

/* Returns the text of a message's content, a string or an array of parts; the caller frees it. */
static char *content_text(const json_t *content)
{
    if (json_is_string(content))
        return memory_copy(json_string_value(content));
    struct text text = {0};
    size_t index;
    const json_t *part;
    json_array_foreach (content, index, part) {
        const char *piece = json_guard_string(part, "text");
        if (piece != NULL)
            text_append(&text, piece);
    }
    return text_take(&text);
}

/*
 * Returns the message with the result of a call as another line, as the agent sees it: older
 * releases show nothing but its text. Takes message, which may be NULL.
 */
static char *append_result(char *message, const json_t *item, enum tool_dialect dialect)
{
    struct text text = {0};
    text_printf(&text, "%s%s", message == NULL ? "" : message, message == NULL ? "" : "\n");
    if (dialect == TOOLS_FLAT)
        text_printf(&text, "Tool:%s: ", json_guard_string(item, "call_id"));
    text_append(&text, json_guard_string(item, "output"));
    free(message);
    return text_take(&text);
}

char *gateway_schema_message(const json_t *body, enum tool_dialect dialect)
{
    const json_t *input = json_object_get(body, "input");
    char *message = NULL;
    if (json_is_string(input) && json_string_length(input) > 0)
        message = memory_copy(json_string_value(input));
    size_t index;
    const json_t *item;
    json_array_foreach (input, index, item) {
        if (gateway_tools_is_result(item))
            message = append_result(message, item, dialect);
        const char *role = json_guard_string(item, "role");
        if (role == NULL || strcmp(role, "user") != 0)
            continue;
        free(message);
        message = content_text(json_object_get(item, "content"));
    }
    return message;
}

bool gateway_schema_is_results(const json_t *body)
{
    const json_t *input = json_object_get(body, "input");
    size_t index;
    const json_t *item;
    json_array_foreach (input, index, item) {
        if (!gateway_tools_is_result(item))
            return false;
    }
    return json_array_size(input) > 0;
}
