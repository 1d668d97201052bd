/*
 * An agent reads the result of a call as a text with an object {"success": ...} in it, and says in
 * its reply what it did, or in the words of the error why it could not. A result without such an
 * object is quoted.
 */
#include "agent_report.h"

#include "base/json.h"
#include "memory.h"

enum { MAX_ATTEMPTS = 64, MAX_TITLES = 10 };

json_t *agent_report_find_result(const char *output)
{
    const char *at = strchr(output, '{');
    for (int i = 0; at != NULL && i < MAX_ATTEMPTS; i++) {
        json_error_t error;
        json_t *object = json_loads(at, JSON_DISABLE_EOF_CHECK, &error);
        if (json_object_get(object, "success") != NULL)
            return object;
        at = strchr(object == NULL ? at + 1 : at + error.position, '{');
        json_decref(object);
    }
    return NULL;
}

/* The titles of the rows in a list, a few of them. */
static void append_titles(struct text *line, const json_t *rows)
{
    size_t index;
    const json_t *row;
    text_printf(line, "%zu", json_array_size(rows));
    json_array_foreach (rows, index, row) {
        const char *title = json_guard_string(row, "title");
        if (title == NULL || index >= MAX_TITLES)
            continue;
        text_append(line, index == 0 ? ": " : ", ");
        agent_append_quoted(line, title);
    }
    text_append(line, "\n");
}

/* The lists that results have, and what their rows are called. */
static const struct {
    const char *key;
    const char *noun;
} lists[] = {{"documents", "documents"}, {"tasks", "tasks"}, {"results", "tasks"},
    {"thread", "messages"}, {"messages", "messages"}, {"agents", "agents"}};

/* Whether there are any. */
static bool report_lists(const json_t *result, struct text *line)
{
    bool has_lists = false;
    const json_t *data = json_object_get(result, "data");
    if (data == NULL) /* in some answers of the HTTP API */
        data = result;
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        const json_t *rows = json_object_get(data, lists[i].key);
        if (rows == NULL)
            continue;
        text_printf(line, "- Found %s: ", lists[i].noun);
        append_titles(line, rows);
        has_lists = true;
    }
    return has_lists;
}

static void append_argument(struct text *line, const json_t *arguments, const char *key)
{
    const char *value = json_guard_string(arguments, key);
    agent_append_quoted(line, value == NULL ? "" : value);
}

/* A document is linked as the instructions say. */
static void report_document(const json_t *arguments, const json_t *result, struct agent_work *work)
{
    const char *id = json_guard_string(result, "documentId");
    text_append(&work->done, "- Wrote the document ");
    append_argument(&work->done, arguments, "title");
    text_append(&work->done, ".\n");
    if (id != NULL)
        text_printf(&work->artifacts, "- [Document](/document/%s)\n", id);
}

static void report_request(const json_t *arguments, struct text *line)
{
    size_t index;
    const json_t *slug;
    text_append(line, "- Asked");
    json_array_foreach (json_object_get(arguments, "recipientSlugs"), index, slug) {
        text_append(line, index == 0 ? " " : ", ");
        agent_append_quoted(line, json_is_string(slug) ? json_string_value(slug) : "");
    }
    text_append(line, ".\n");
}

static void report_success(
    const char *name, const json_t *arguments, const json_t *result, struct agent_work *work)
{
    struct text *line = &work->done;
    if (strcmp(name, "document_upsert") == 0) {
        report_document(arguments, result, work);
    } else if (strcmp(name, "task_status") == 0) {
        text_append(line, "- Set the status of the task to ");
        append_argument(line, arguments, "status");
        text_append(line, ".\n");
    } else if (strcmp(name, "task_create") == 0) {
        text_append(line, "- Created the task ");
        append_argument(line, arguments, "title");
        text_append(line, ".\n");
    } else if (strcmp(name, "response_request") == 0) {
        report_request(arguments, line);
    } else if (!report_lists(result, line)) {
        text_printf(line, "- Called %s.\n", name);
    }
}

static void report_failed_call(const char *name, const char *reason, struct text *line)
{
    text_printf(line, "- %s failed: ", name);
    agent_append_quoted(line, reason);
    text_append(line, "\n");
}

static void report_output(
    const char *name, const json_t *arguments, const char *output, struct agent_work *work)
{
    json_t *result = agent_report_find_result(output);
    const char *error = json_guard_string(result, "error");
    if (result == NULL) {
        text_printf(&work->done, "- %s answered: ", name);
        agent_append_quoted(&work->done, output);
        text_append(&work->done, "\n");
    } else if (json_is_true(json_object_get(result, "success"))) {
        report_success(name, arguments, result, work);
    } else {
        report_failed_call(name, error == NULL ? "no reason was given" : error, &work->problems);
    }
    json_decref(result);
}

void agent_report(const json_t *ended, struct agent_work *work)
{
    size_t index;
    const json_t *call;
    json_array_foreach (ended, index, call) {
        const char *name = json_guard_string(call, "name");
        const char *output = json_guard_string(call, "output");
        const char *told = json_guard_string(call, "told");
        if (strcmp(name, "response_request") == 0)
            work->has_asked = true;
        if (output != NULL)
            report_output(name, json_object_get(call, "arguments"), output, work);
        else
            report_failed_call(name, told == NULL ? "no result came" : told, &work->problems);
    }
}
