/*
 * Runs a call: finds the tool, checks who calls and with what, lets its handler ask the backend,
 * and finishes the result. A call never fails otherwise than by its result, since whoever made it
 * has to be told, whatever it was.
 *
 *     tool_run          by name, with arguments as a model wrote them     a tool's result
 *     tool_run_request  by endpoint, with a request's body                an HTTP response
 *
 * Both give {"success": ...}. They differ in a few words, and in that a tool's result puts what it
 * found under "data" (catalog_table.c). Who may use a tool is asked before its arguments are looked
 * at, and both before the backend is: a production deployment would hide why it refuses.
 *
 * A result of over 200 kB would drive everything else out of a model's context. It is made shorter
 * by cutting long texts, the more so the longer it is, then by leaving out rows at the end of long
 * lists, or at the beginning of those that are oldest first; a member "cut" says so.
 *
 * Nothing here has state; any number of threads may run calls, each with its own service.
 */
#include "agent_tools/run.h"

#include <stdlib.h>
#include <string.h>

#include "agent_tools/arguments.h"
#include "agent_tools/handlers.h"
#include "base/json.h"
#include "base/sync.h"
#include "base/text.h"

enum { MAX_NAME_BYTES = 80 };

const char *const tool_end_words[] = {
    [TOOL_SUCCEEDED] = "succeeded",
    [TOOL_REFUSED] = "refused",
    [TOOL_REJECTED] = "rejected",
    [TOOL_UNAVAILABLE] = "unavailable",
    [TOOL_UNCERTAIN] = "uncertain",
    [TOOL_ABORTED] = "aborted",
};

static void set_failure(
    struct tool_result *result, enum tool_end end, int status, const struct text *text)
{
    bool is_complete = !text->failed && text->data != NULL;
    *result = (struct tool_result){.end = end, .status = status};
    if (is_complete)
        result->value = json_pack("{s:b, s:s}", "success", 0, "error", text->data);
}

void tool_fail(struct tool_result *result, enum tool_end end, int status, const char *format, ...)
{
    struct text text = {0};
    va_list arguments;
    va_start(arguments, format);
    text_vprintf(&text, format, arguments);
    va_end(arguments);
    set_failure(result, end, status, &text);
    text_fini(&text);
}

void tool_succeed(struct tool_result *result, json_t *value)
{
    *result = (struct tool_result){.end = TOOL_SUCCEEDED, .status = 200, .value = value};
}

/* Whether the value has something that can be cut; longest: of a text, in UTF-16 units. */
static void cut_texts(json_t *value, size_t longest)
{
    void *next;
    const char *key;
    json_t *item;
    size_t index;
    json_object_foreach_safe(value, next, key, item)
    {
        cut_texts(item, longest);
    }
    json_array_foreach (value, index, item) {
        cut_texts(item, longest);
    }
    if (!json_is_string(value))
        return;
    size_t length_bytes = json_string_length(value);
    size_t kept_bytes = text_utf16_cut(json_string_value(value), length_bytes, longest);
    if (kept_bytes == length_bytes)
        return;
    struct text text = {0};
    text_append_bytes(&text, json_string_value(value), kept_bytes);
    text_append(&text, "… (cut)");
    if (!text.failed)
        json_string_setn(value, text.data, text.length_bytes);
    text_fini(&text);
}

/* Halves the lists in data. Those that are oldest first lose their beginning. */
static void cut_lists(json_t *data)
{
    const char *key;
    json_t *list;
    json_object_foreach (data, key, list) {
        bool oldest_first = strcmp(key, "thread") == 0 || strcmp(key, "messages") == 0;
        size_t count = json_array_size(list);
        for (size_t left = count; left > count / 2; left--)
            json_array_remove(list, oldest_first ? 0 : left - 1);
    }
}

static bool is_too_large(const json_t *value)
{
    char *written = json_write(value);
    bool is_over = written != NULL && strlen(written) > TOOL_RESULT_MAX_BYTES;
    free(written);
    return is_over;
}

static void cut_result(json_t *value)
{
    static const size_t longest[] = {20000, 4000, 1000, 200};
    if (!is_too_large(value))
        return;
    json_object_set_new(value, "cut",
        json_string("The result was over 200 kB, so long texts end early, and rows may be missing: "
                    "ask for fewer of them with a limit"));
    size_t steps = sizeof longest / sizeof longest[0];
    for (size_t i = 0; i < steps && is_too_large(value); i++)
        cut_texts(value, longest[i]);
    for (int halvings = 0; halvings < 20 && is_too_large(value); halvings++)
        cut_lists(json_object_get(value, "data"));
}

/* Whether the caller may use the tool; if not, the result says so. */
static bool check_rights(
    const struct tool *tool, const struct tool_call *call, struct tool_result *result)
{
    const char *only = tool->orchestrator_only;
    if (only != NULL && call->by_http && tool->http_orchestrator_only != NULL)
        only = tool->http_orchestrator_only;
    if (only != NULL && !call->audience.is_orchestrator) {
        tool_fail(result, TOOL_REFUSED, 403, "Forbidden: %s", only);
        return false;
    }
    if (tool->is_permitted == NULL || tool->is_permitted(&call->audience))
        return true;
    tool_fail(result, TOOL_REFUSED, 403, "Forbidden: %s", tool->forbidden);
    return false;
}

/* Takes the reference to given. */
static void run_with_arguments(const struct tool *tool, const struct tool_call *call, json_t *given,
    struct tool_result *result)
{
    struct argument_problem problem;
    json_t *checked;
    json_t *ignored = arguments_ignored(tool, given);
    int64_t began_ms = clock_monotonic_ms();
    if (arguments_check(tool, call, given, &checked, &problem)) {
        json_decref(given);
        tool->handle(call, checked, result);
        json_decref(checked);
    } else {
        json_decref(given);
        set_failure(result, TOOL_REFUSED, problem.status, &problem.text);
    }
    text_fini(&problem.text);
    bool succeeded = result->end == TOOL_SUCCEEDED;
    if (succeeded && call->by_http && tool->has_duration)
        json_object_set_new(
            result->value, "durationMs", json_real((double)(clock_monotonic_ms() - began_ms)));
    if (succeeded || !call->by_http)
        cut_result(result->value);
    /* After a failure as well: what was ignored is often a misspelt name of what is missing. */
    if (ignored != NULL && (succeeded || !call->by_http))
        json_object_set(result->value, "ignored", ignored);
    json_decref(ignored);
}

/* A new reference to the object that bytes describe; NULL if they describe none. */
static json_t *load_object(const char *bytes, size_t length_bytes)
{
    json_t *value = NULL;
    struct error unused;
    if (json_guard_load(bytes, length_bytes, &value, &unused) != 0)
        return NULL;
    if (json_is_object(value))
        return value;
    json_decref(value);
    return NULL;
}

void tool_run(const struct tool_catalog *catalog, const struct tool_call *call, const char *name,
    const char *arguments, struct tool_result *result)
{
    const struct tool *tool = tool_find(catalog, name);
    if (tool == NULL) {
        char quoted[MAX_NAME_BYTES];
        text_quote(quoted, sizeof quoted, name, strlen(name));
        tool_fail(result, TOOL_REFUSED, 404, "Unknown tool: %s", quoted);
        return;
    }
    if (!check_rights(tool, call, result))
        return;
    struct text_span given = text_trim(arguments, strlen(arguments));
    json_t *object =
        given.length_bytes == 0 ? json_object() : load_object(given.bytes, given.length_bytes);
    if (object == NULL)
        tool_fail(result, TOOL_REFUSED, 400, "Invalid JSON arguments");
    else
        run_with_arguments(tool, call, object, result);
}

void tool_run_request(const struct tool *tool, const struct tool_call *call, const char *body,
    size_t body_bytes, struct tool_result *result)
{
    if (!check_rights(tool, call, result))
        return;
    json_t *object = load_object(body, body_bytes);
    if (object == NULL)
        tool_fail(result, TOOL_REFUSED, 400, "Invalid JSON body");
    else
        run_with_arguments(tool, call, object, result);
}
