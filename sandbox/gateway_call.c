/*
 * A call of the model that the gateway does not accept never reaches the client: the model is told
 * why, and goes on. So it is with a tool that this very request does not offer, arguments that are
 * no JSON object, and required arguments that are missing. Types and enumerations are looked at
 * only where the model calls tools directly, not by tool_call; properties that the schema does not
 * name are always passed on.
 */
#include "gateway_call.h"

#include <string.h>

#include "base/json.h"

static const json_t *find_tool(const json_t *tools, const char *name)
{
    size_t index;
    const json_t *tool;
    json_array_foreach (tools, index, tool) {
        const char *of = json_guard_string(tool, "name");
        if (of != NULL && strcmp(of, name) == 0)
            return tool;
    }
    return NULL;
}

static bool has_type(const json_t *value, const char *type)
{
    if (strcmp(type, "string") == 0)
        return json_is_string(value);
    if (strcmp(type, "number") == 0)
        return json_is_number(value);
    if (strcmp(type, "integer") == 0)
        return json_is_integer(value);
    if (strcmp(type, "boolean") == 0)
        return json_is_boolean(value);
    if (strcmp(type, "array") == 0)
        return json_is_array(value);
    if (strcmp(type, "object") == 0)
        return json_is_object(value);
    return true;
}

static bool is_enumerated(const json_t *value, const json_t *words)
{
    size_t index;
    const json_t *word;
    json_array_foreach (words, index, word) {
        if (json_equal(word, value))
            return true;
    }
    return !json_is_array(words);
}

/* Whether the value and, of an array, its items have the type that their schema names. */
static bool fits(const json_t *schema, const json_t *value, const char *key, struct text *told)
{
    const char *type = json_guard_string(schema, "type");
    if (type != NULL && !has_type(value, type)) {
        text_printf(told, "%s: must be %s", key, type);
        return false;
    }
    if (!is_enumerated(value, json_object_get(schema, "enum"))) {
        text_printf(told, "%s: must be equal to one of the allowed values", key);
        return false;
    }
    size_t index;
    const json_t *item;
    json_array_foreach (value, index, item) {
        if (!fits(json_object_get(schema, "items"), item, key, told))
            return false;
    }
    return true;
}

static bool has_required(const json_t *schema, const json_t *arguments, struct text *told)
{
    size_t index;
    const json_t *key;
    json_array_foreach (json_object_get(schema, "required"), index, key) {
        const char *name = json_string_value(key);
        if (name == NULL || json_object_get(arguments, name) != NULL)
            continue;
        text_printf(told, "must have required property '%s'", name);
        return false;
    }
    return true;
}

static bool have_types(const json_t *schema, const json_t *arguments, struct text *told)
{
    const char *key;
    json_t *value;
    json_object_foreach ((json_t *)arguments, key, value) {
        const json_t *property = json_object_get(json_object_get(schema, "properties"), key);
        if (property != NULL && !fits(property, value, key, told))
            return false;
    }
    return true;
}

/* Returns the arguments as an object, a new reference, or NULL if they are not an object. */
static json_t *read_arguments(const json_t *arguments)
{
    json_t *parsed = NULL;
    struct error error;
    if (arguments == NULL)
        return json_object();
    if (!json_is_string(arguments))
        parsed = json_incref((json_t *)arguments);
    else if (json_guard_load(
                 json_string_value(arguments), json_string_length(arguments), &parsed, &error) != 0)
        return NULL;
    if (json_is_object(parsed))
        return parsed;
    json_decref(parsed);
    return NULL;
}

bool gateway_call_check(const json_t *tools, const char *name, const json_t *arguments,
    bool check_types, struct text *told)
{
    const json_t *tool = find_tool(tools, name);
    if (tool == NULL) {
        text_printf(told, "Unknown tool id: %s", name);
        return false;
    }
    json_t *object = read_arguments(arguments);
    if (object == NULL) {
        text_append(told, "the arguments are not a JSON object");
        return false;
    }
    const json_t *schema = json_object_get(tool, "parameters");
    bool passes =
        has_required(schema, object, told) && (!check_types || have_types(schema, object, told));
    json_decref(object);
    return passes;
}
