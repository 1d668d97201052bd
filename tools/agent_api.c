/*
 * Writes the OpenAPI description of the agents' HTTP endpoints from the table of tools, so that it
 * cannot contradict the program. A unit test compares it with docs/agent-api.yaml, and writes that
 * again when it is told to (test/unit/agent_api_docs_test.c).
 *
 * The description is built as JSON and written as YAML of a simple kind: block style, two blanks
 * for each level, long texts folded.
 */
#include "agent_api.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_LINE = 100, MAX_NAME = 64 };

#define SCHEMA(name) "#/components/schemas/" name

/* The value; there is always memory. */
static json_t *present(json_t *value)
{
    assert(value != NULL);
    return value;
}

static void put(json_t *object, const char *key, json_t *value)
{
    int result = json_object_set_new(object, key, present(value));
    assert(result == 0);
}

static void put_text(json_t *object, const char *key, const char *value)
{
    put(object, key, json_string(value));
}

static void append_item(json_t *array, json_t *value)
{
    int result = json_array_append_new(array, present(value));
    assert(result == 0);
}

static json_t *words_array(const char *const *words)
{
    json_t *array = json_array();
    for (; *words != NULL; words++)
        append_item(array, json_string(*words));
    return array;
}

/* Schemas of requests. */

static json_t *text_schema(const struct tool_parameter *parameter)
{
    json_t *schema = json_pack("{s:s}", "type", "string");
    if (parameter->required && !parameter->may_be_blank)
        put(schema, "minLength", json_integer(1));
    if (parameter->max > 0)
        put(schema, "maxLength", json_integer((json_int_t)parameter->max));
    return schema;
}

static json_t *priority_schema(void)
{
    return json_pack("{s:[{s:s, s:i, s:i}, {s:s, s:[s, s, s, s, s]}]}", "oneOf", "type", "integer",
        "minimum", 1, "maximum", 5, "type", "string", "enum", "critical", "high", "medium", "low",
        "lowest");
}

static json_t *type_schema(const struct tool_parameter *parameter)
{
    switch (parameter->type) {
    case PARAMETER_TEXT:
        return text_schema(parameter);
    case PARAMETER_ID:
        return json_pack("{s:s, s:s}", "type", "string", "pattern", "^[A-Za-z0-9_-]{1,64}$");
    case PARAMETER_WORD:
        return json_pack("{s:s, s:o}", "type", "string", "enum",
            words_array(parameter->http_words != NULL ? parameter->http_words : parameter->words));
    case PARAMETER_NUMBER:
        return json_pack("{s:s, s:I, s:I}", "type", "integer", "minimum",
            (json_int_t)parameter->min, "maximum", (json_int_t)parameter->max);
    case PARAMETER_LIMIT:
        return json_pack("{s:s}", "type", "number");
    case PARAMETER_PRIORITY:
        return priority_schema();
    case PARAMETER_TEXTS:
        break;
    }
    return json_pack("{s:s, s:{s:s}}", "type", "array", "items", "type", "string");
}

static json_t *request_schema(const struct tool *tool)
{
    json_t *properties = json_object();
    json_t *required = json_array();
    for (const struct tool_parameter *each = tool->parameters; each->name != NULL; each++) {
        json_t *schema = present(type_schema(each));
        put_text(schema, "description", each->description);
        put(properties, each->name, schema);
        if (each->required)
            append_item(required, json_string(each->name));
    }
    json_t *schema = json_pack("{s:s, s:o}", "type", "object", "properties", properties);
    if (json_array_size(required) > 0)
        put(schema, "required", json_incref(required));
    json_decref(required);
    return schema;
}

/* Schemas of answers. */

static json_t *answer_type_schema(const char *type)
{
    size_t length = strcspn(type, "[");
    json_t *schema = json_object();
    if (strncmp(type, "text", length) == 0)
        put_text(schema, "type", "string");
    else if (strncmp(type, "any", length) != 0)
        put(schema, "type", json_stringn(type, length));
    if (type[length] == '[')
        return json_pack("{s:s, s:o}", "type", "array", "items", schema);
    return schema;
}

/* A new object schema with a property "success", which is always the same. */
static json_t *result_schema(bool success)
{
    return json_pack("{s:s, s:{s:{s:s, s:b}}, s:[s]}", "type", "object", "properties", "success",
        "type", "boolean", "const", success, "required", "success");
}

/* The properties of the object "data" in schema, which is added if need be. */
static json_t *data_schema(json_t *schema)
{
    json_t *properties = json_object_get(schema, "properties");
    if (json_object_get(properties, "data") == NULL) {
        put(properties, "data",
            json_pack("{s:s, s:{}, s:[]}", "type", "object", "properties", "required"));
        append_item(json_object_get(schema, "required"), json_string("data"));
    }
    return json_object_get(properties, "data");
}

/* Adds "NAME:TYPE" to schema. */
static void add_answer_property(json_t *schema, char *property)
{
    char *type = strchr(property, ':');
    assert(type != NULL);
    *type++ = '\0';
    bool is_optional = type[-2] == '?';
    if (is_optional)
        type[-2] = '\0';
    if (strncmp(property, "data.", 5) == 0) {
        schema = data_schema(schema);
        property += 5;
    }
    put(json_object_get(schema, "properties"), property, answer_type_schema(type));
    if (!is_optional)
        append_item(json_object_get(schema, "required"), json_string(property));
}

static const char *http_answer_of(const struct tool *tool)
{
    return tool->http_answer != NULL ? tool->http_answer : tool->answer;
}

static json_t *answer_schema(const struct tool *tool)
{
    json_t *schema = present(result_schema(true));
    char *answer = strdup(http_answer_of(tool));
    assert(answer != NULL);
    char *rest = answer;
    for (char *property; (property = strsep(&rest, " ")) != NULL;)
        if (property[0] != '\0')
            add_answer_property(schema, property);
    free(answer);
    json_t *properties = json_object_get(schema, "properties");
    put(properties, "ignored",
        json_pack("{s:s, s:{s:s}, s:s}", "type", "array", "items", "type", "string", "description",
            "Names in the request that mean nothing here"));
    put(properties, "cut",
        json_pack("{s:s, s:s}", "type", "string", "description",
            "Present when the answer was made shorter: says how"));
    return schema;
}

/* "TaskStatus" of "task_status". */
static void schema_name(char name[static MAX_NAME], const struct tool *tool, const char *ending)
{
    size_t length = 0;
    bool starts_word = true;
    for (const char *from = tool->name; *from != '\0' && length + 1 < MAX_NAME; from++) {
        if (*from != '_')
            name[length++] = (char)(starts_word ? *from - 'a' + 'A' : *from);
        starts_word = *from == '_';
    }
    name[length] = '\0';
    text_copy(name + length, MAX_NAME - length, ending);
}

static json_t *schema_reference(const char *name)
{
    struct text path = {0};
    text_printf(&path, SCHEMA("%s"), name);
    json_t *reference = json_pack("{s:s}", "$ref", path.data);
    text_fini(&path);
    return reference;
}

/* The errors that any endpoint may give. */
static const struct {
    const char *status;
    const char *name;
    const char *meaning;
} errors[] = {
    {"400", "BadRequest",
        "The body is not a JSON object, a value has the wrong type, or one is missing"},
    {"401", "Unauthorized",
        "The session key is missing, unknown, or lacks its tag, or the backend does not know the "
        "runtime"},
    {"403", "Forbidden",
        "The agent may not do that, the request comes from another network, or the board refused "
        "it"},
    {"404", "NotFound", "There is no such endpoint, or nothing on the board with that id"},
    {"405", "MethodNotAllowed", "The method is not POST"},
    {"408", "RequestTimeout", "The body did not arrive in time"},
    {"413", "ContentTooLarge", "The body is larger than 5 MiB"},
    {"421", "MisdirectedRequest",
        "The host of the URL is not one of the runtime's names (HEALTH_ALLOWED_HOSTS)"},
    {"422", "UnprocessableContent", "A value is understood but not possible"},
    {"429", "TooManyRequests", "16 requests of this session are under way"},
    {"500", "InternalServerError",
        "The board refused a change of status and does not say why, or memory is short"},
    {"503", "ServiceUnavailable",
        "The runtime is busy, or the backend does not answer; nothing was changed"},
    {"504", "GatewayTimeout",
        "The request may or may not have been carried out: look before you try again"},
};

static json_t *error_response(size_t index)
{
    const char *status = errors[index].status;
    json_t *response = json_pack("{s:s, s:{s:{s:o}}}", "description", errors[index].meaning,
        "content", "application/json", "schema", schema_reference("Error"));
    if (strcmp(status, "405") == 0)
        put(response, "headers",
            json_pack("{s:{s:{s:s, s:s}}}", "Allow", "schema", "type", "string", "const", "POST"));
    if (strcmp(status, "429") == 0 || strcmp(status, "503") == 0)
        put(response, "headers",
            json_pack("{s:{s:s, s:{s:s}}}", "Retry-After", "description", "Seconds, if known",
                "schema", "type", "integer"));
    return response;
}

static json_t *operation_responses(const char *answer_name)
{
    json_t *responses = json_pack("{s:{s:s, s:{s:{s:o}}}}", "200", "description", "Carried out",
        "content", "application/json", "schema", schema_reference(answer_name));
    for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++) {
        struct text path = {0};
        text_printf(&path, "#/components/responses/%s", errors[i].name);
        put(responses, errors[i].status, json_pack("{s:s}", "$ref", path.data));
        text_fini(&path);
    }
    return responses;
}

static void add_operation(json_t *paths, json_t *schemas, const struct tool *tool)
{
    char request[MAX_NAME];
    char answer[MAX_NAME];
    schema_name(request, tool, "Request");
    schema_name(answer, tool, "Result");
    put(schemas, request, request_schema(tool));
    put(schemas, answer, answer_schema(tool));
    put(paths, tool->path,
        json_pack("{s:{s:s, s:s, s:s, s:{s:b, s:{s:{s:o}}}, s:o}}", "post", "operationId",
            tool->name, "summary", tool->label, "description", tool->description, "requestBody",
            "required", 1, "content", "application/json", "schema", schema_reference(request),
            "responses", operation_responses(answer)));
}

static json_t *error_schema(void)
{
    json_t *schema = present(result_schema(false));
    put(json_object_get(schema, "properties"), "error", json_pack("{s:s}", "type", "string"));
    append_item(json_object_get(schema, "required"), json_string("error"));
    return schema;
}

static json_t *describe_api(const struct tool_catalog *catalog)
{
    json_t *paths = json_object();
    json_t *schemas = json_pack("{s:o}", "Error", error_schema());
    json_t *responses = json_object();
    for (size_t i = 0; i < catalog->count; i++)
        if (catalog->tools[i].path != NULL)
            add_operation(paths, schemas, &catalog->tools[i]);
    for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++)
        put(responses, errors[i].name, error_response(i));
    json_t *session = json_pack("{s:s, s:s, s:s, s:s}", "type", "apiKey", "in", "header", "name",
        "x-openclaw-session-key", "description",
        "The session key with its tag, as the agent's instructions give it");
    return present(json_pack("{s:s, s:{s:s, s:s, s:s, s:{s:s, s:s}}, s:[{s:s, s:s}], s:[{s:[]}], "
                             "s:o, s:{s:{s:o}, s:o, s:o}}",
        "openapi", "3.1.0", "info", "title", "Mission Control runtime: the agents' HTTP API",
        "version", "1", "description",
        "What agents can do on the board besides replying, for those that are offered no tools. "
        "Each request is made for the agent whose session the header names.",
        "license", "name", "MIT", "identifier", "MIT", "servers", "url", "http://127.0.0.1:3001",
        "description", "The runtime's HTTP server, or TASK_STATUS_BASE_URL", "security", "session",
        "paths", paths, "components", "securitySchemes", "session", session, "schemas", schemas,
        "responses", responses));
}

/* YAML. */

static void append_yaml(struct text *text, const json_t *value, int indent, bool after_dash);

static void append_blanks(struct text *text, int count)
{
    for (int i = 0; i < count; i++)
        text_append(text, " ");
}

static bool is_plain_scalar(const char *string)
{
    static const char *const others[] = {"true", "false", "null", "yes", "no", "on", "off"};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        if (strcmp(string, others[i]) == 0)
            return false;
    return (text_is_letter(string[0]) || string[0] == '/') &&
           strspn(string, TEXT_LETTERS TEXT_DIGITS "_/.-") == strlen(string);
}

/* Breaks the text at blanks, each line indented. */
static void append_folded(struct text *text, const char *string, int indent)
{
    text_append(text, ">-");
    size_t column = MAX_LINE;
    while (*string != '\0') {
        size_t length = strcspn(string, " ");
        if (column + 1 + length > MAX_LINE) {
            text_append(text, "\n");
            append_blanks(text, indent);
            column = (size_t)indent;
        } else {
            text_append(text, " ");
            column++;
        }
        text_append_bytes(text, string, length);
        column += length;
        string += length + (string[length] == ' ' ? 1 : 0);
    }
}

static void append_scalar(struct text *text, const json_t *value, int indent)
{
    const char *string = json_string_value(value);
    if (string != NULL && is_plain_scalar(string)) {
        text_append(text, string);
    } else if (string != NULL && strlen(string) + (size_t)indent > MAX_LINE - 20) {
        append_folded(text, string, indent);
    } else {
        char *written = json_dumps(value, JSON_ENCODE_ANY);
        assert(written != NULL);
        text_append(text, written);
        free(written);
    }
}

static void append_yaml_object(struct text *text, const json_t *object, int indent, bool after_dash)
{
    const char *key;
    json_t *value;
    json_object_foreach ((json_t *)object, key, value) {
        if (!after_dash) {
            text_append(text, "\n");
            append_blanks(text, indent);
        }
        after_dash = false;
        text_printf(text, is_plain_scalar(key) ? "%s:" : "\"%s\":", key);
        append_yaml(text, value, indent + 2, false);
    }
}

static void append_yaml_array(struct text *text, const json_t *array, int indent)
{
    size_t index;
    const json_t *value;
    json_array_foreach (array, index, value) {
        text_append(text, "\n");
        append_blanks(text, indent);
        text_append(text, "-");
        append_yaml(text, value, indent + 2, true);
    }
}

/* After "KEY:" or "-". */
static void append_yaml(struct text *text, const json_t *value, int indent, bool after_dash)
{
    bool is_empty = json_object_size(value) == 0 && json_array_size(value) == 0;
    if (json_is_object(value) && !is_empty) {
        if (after_dash)
            text_append(text, " ");
        append_yaml_object(text, value, indent, after_dash);
    } else if (json_is_array(value) && !is_empty) {
        append_yaml_array(text, value, indent);
    } else {
        text_append(text, " ");
        append_scalar(text, value, indent);
    }
}

void agent_api_append_openapi(struct text *text, const struct tool_catalog *catalog)
{
    json_t *api = describe_api(catalog);
    text_append(text, "# Made from the table of tools; GOLDEN_UPDATE=1 build/test/unit/"
                      "agent_api_docs_test writes it again.");
    append_yaml_object(text, api, 0, false);
    text_append(text, "\n");
    json_decref(api);
}
