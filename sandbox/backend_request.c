/*
 * Reads a function call and refuses what Convex refuses, with its codes and texts: client version,
 * authorization, content type, UTF-8, JSON, path, arguments. The checks run in the order in which
 * the real backend makes them, since a request with two mistakes has to get the same answer. It is
 * stricter than the runtime needs: a request that passes here must pass there.
 */
#include "backend_request.h"

#include <ctype.h>
#include <stdarg.h>
#include <strings.h>

#include "base/json.h"
#include "memory.h"

static const char service_prefix[] = "service/actions:";

static bool refuse_call(struct refusal *refusal, const char *code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static bool refuse_call(struct refusal *refusal, const char *code, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(refusal->message, sizeof refusal->message, format, arguments);
    va_end(arguments);
    refusal->status = 400;
    refusal->code = code;
    return false;
}

/* application/json or application/...+json, whatever parameters follow. */
static bool is_json_type(const char *type)
{
    if (type == NULL)
        return false;
    size_t length = strcspn(type, "; \t");
    if (length == strlen("application/json") && strncasecmp(type, "application/json", length) == 0)
        return true;
    return length > strlen("application/+json") && strncasecmp(type, "application/", 12) == 0 &&
           strncasecmp(type + length - 5, "+json", 5) == 0;
}

/* Parses three dot-separated numbers, with the suffix that a semantic version may have. */
static bool parse_version(const char *text, unsigned version[static 3])
{
    for (int i = 0; i < 3; i++) {
        if (!isdigit((unsigned char)*text))
            return false;
        char *end;
        version[i] = (unsigned)strtoul(text, &end, 10);
        text = end;
        if (i < 2 && *text++ != '.')
            return false;
    }
    return *text == '\0' || *text == '-' || *text == '+';
}

/* Accepts NAME-VERSION with any name; npm clients up to 0.19.1 are refused as too old. */
static bool check_client_version(const char *client, struct refusal *refusal)
{
    unsigned version[3];
    if (client == NULL)
        return true;
    const char *dash = strchr(client, '-');
    while (dash != NULL && !parse_version(dash + 1, version))
        dash = strchr(dash + 1, '-');
    if (dash == NULL || dash == client)
        return refuse_call(
            refusal, "InvalidClientVersion", "Failed to parse client version: %.100s", client);
    bool is_old = version[0] == 0 && (version[1] < 19 || (version[1] == 19 && version[2] <= 1));
    if (strncmp(client, "npm-", 4) == 0 && is_old)
        return refuse_call(refusal, "ClientVersionUnsupported",
            "The Convex client version %.60s is no longer supported.", client + 4);
    return true;
}

/*
 * The service token travels in the arguments; an Authorization header is for users, of which there
 * are none.
 */
static bool check_authorization(const char *authorization, struct refusal *refusal)
{
    if (authorization == NULL)
        return true;
    bool has_form = strncasecmp(authorization, "Bearer ", 7) == 0 ||
                    strncasecmp(authorization, "Convex ", 7) == 0;
    refuse_call(refusal, has_form ? "InvalidAuthHeader" : "BadAuthHeader",
        "The sandbox has no users to sign in: send no Authorization header");
    refusal->status = has_form ? 401 : 400;
    return false;
}

/* json_guard repairs bytes that are not UTF-8; the backend refuses them. */
static bool is_utf8(const struct text *body)
{
    for (size_t at = 0; at < body->length_bytes;) {
        size_t length = text_utf8_length(body->data + at, body->length_bytes - at);
        if (length == 0)
            return false;
        at += length;
    }
    return true;
}

static bool read_call_body(const struct exchange *exchange, json_t **body, struct refusal *refusal)
{
    const struct text *bytes = exchange_body(exchange);
    if (exchange_body_is_too_large(exchange))
        return refuse_call(refusal, "BadJsonBody", "length limit exceeded");
    if (!is_json_type(exchange_header(exchange, "Content-Type")))
        return refuse_call(
            refusal, "BadJsonBody", "Expected request with `Content-Type: application/json`");
    struct error error;
    if (bytes->length_bytes == 0)
        return refuse_call(refusal, "BadJsonBody", "EOF while parsing a value at line 1 column 0");
    if (!is_utf8(bytes))
        return refuse_call(refusal, "BadJsonBody", "Failed to parse the request body as UTF-8");
    if (json_guard_load(bytes->data, bytes->length_bytes, body, &error) != 0)
        return refuse_call(
            refusal, "BadJsonBody", "Failed to parse the request body as JSON: %.150s", error.text);
    return true;
}

/* Splits the path at its last colon and drops the module's ".js". */
static bool read_function_path(
    const json_t *body, struct function_call *call, struct refusal *refusal)
{
    const char *path = json_guard_string(body, "path");
    if (path == NULL)
        return refuse_call(refusal, "BadJsonBody",
            "Failed to deserialize the JSON body into the target type: missing field `path`");
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_/.:$-";
    const char *colon = strrchr(path, ':');
    size_t module = colon == NULL ? strlen(path) : (size_t)(colon - path);
    if (module == 0 || path[strspn(path, allowed)] != '\0' || (colon != NULL && colon[1] == '\0'))
        return refuse_call(refusal, "BadConvexFunctionIdentifier",
            "%.100s is not a valid path to a Convex function.", path);
    if (module > 3 && strncmp(path + module - 3, ".js", 3) == 0)
        module -= 3;
    struct text canonical = {0};
    text_append_bytes(&canonical, path, module);
    text_printf(&canonical, ":%s", colon == NULL ? "default" : colon + 1);
    call->path = text_take(&canonical);
    if (strncmp(call->path, service_prefix, sizeof service_prefix - 1) == 0)
        call->name = call->path + sizeof service_prefix - 1;
    return true;
}

/* Whether no object has a key that begins with "$", Convex's encoding of special values. */
static bool has_plain_values(const json_t *value)
{
    const char *key;
    json_t *member;
    size_t index;
    json_object_foreach ((json_t *)value, key, member) {
        if (key[0] == '$' || !has_plain_values(member))
            return false;
    }
    json_array_foreach (value, index, member) {
        if (!has_plain_values(member))
            return false;
    }
    return true;
}

/*
 * "args" is an object or an array of one; the format is checked later, after the function has run.
 */
static bool read_call_arguments(
    const json_t *body, struct function_call *call, struct refusal *refusal)
{
    json_t *arguments = json_object_get(body, "args");
    if (json_is_array(arguments) && json_array_size(arguments) == 1)
        arguments = json_array_get(arguments, 0);
    if (!json_is_object(arguments))
        return refuse_call(refusal, "BadJsonBody",
            "`args` must be an object or an array that holds exactly one object");
    if (!has_plain_values(arguments))
        return refuse_call(refusal, "BadJsonBody",
            "`args` hold $integer, $float or $bytes, which no function here takes");
    call->arguments = arguments;
    const json_t *format = json_object_get(body, "format");
    static const char *const formats[] = {
        "convex_encoded_json", "convex_json", "json", "convex_clean_json", "export_json"};
    call->has_known_format = format == NULL;
    for (size_t i = 0; i < sizeof formats / sizeof *formats && json_is_string(format); i++)
        if (strcmp(json_string_value(format), formats[i]) == 0)
            call->has_known_format = true;
    return true;
}

bool function_call_read(
    const struct exchange *exchange, struct function_call *call, struct refusal *refusal)
{
    *call = (struct function_call){0};
    if (check_client_version(exchange_header(exchange, "Convex-Client"), refusal) &&
        check_authorization(exchange_header(exchange, "Authorization"), refusal) &&
        read_call_body(exchange, &call->body, refusal) &&
        read_function_path(call->body, call, refusal) &&
        read_call_arguments(call->body, call, refusal))
        return true;
    function_call_fini(call);
    return false;
}

void function_call_fini(struct function_call *call)
{
    json_decref(call->body);
    free(call->path);
    *call = (struct function_call){0};
}
