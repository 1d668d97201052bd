/*
 * The tools for documents. The backend's function for writing one replaces all of it, its task
 * included: a call without a task would take the document from the task that it belongs to, which
 * no agent means. So the task of an existing document is looked up among the account's latest
 * documents where the call names none, and only if it is not there does the run's task count. Over
 * HTTP there is no run; then the call is refused, and the agent is asked to name the task.
 *
 * A new document belongs to the run's task where the call names none.
 */
#include <string.h>

#include "agent_tools/handlers.h"
#include "base/json.h"

enum {
    UNPROCESSABLE = 422,
    MAX_LISTED = 100,
    /* The backend stores 1 MiB in one document, some of which it needs itself. */
    MAX_BYTES = 1040000,
};

static const struct backend_action list_documents = {
    .name = "listDocumentsForAgent", .hint = "taskId may not be the id of a task"};
static const struct backend_action create_document = {.name = "createDocumentFromAgent",
    .changes = true,
    .hint = "the document or the task may not exist, or you may not create documents"};

/* Whether the document fits into the backend's store; if not, the result says so. */
static bool check_document_bytes(const json_t *arguments, struct tool_result *result)
{
    size_t bytes = json_string_length(json_object_get(arguments, "content")) +
                   json_string_length(json_object_get(arguments, "title"));
    if (bytes <= MAX_BYTES)
        return true;
    tool_fail(result, TOOL_REFUSED, UNPROCESSABLE,
        "content too long: %zu bytes as UTF-8, of which %d can be stored; split the document",
        bytes, MAX_BYTES);
    return false;
}

/* The document with that id in a list, borrowed; NULL if it is not there. */
static const json_t *find_document(const json_t *documents, const char *id)
{
    size_t index;
    const json_t *document;
    json_array_foreach (documents, index, document) {
        if (json_guard_is(document, "_id", id, ""))
            return document;
    }
    return NULL;
}

/*
 * Sets the task of an existing document in *packed, for a call that names none. Returns whether it
 * is known; if not, the result says why. Blocks for the backend.
 */
static bool keep_task(const struct tool_call *call, json_t **packed, struct tool_result *result)
{
    json_t *value;
    json_t *limit = json_pack("{s:i}", "limit", (int)MAX_LISTED);
    if (!tool_invoke(call, &list_documents, limit, &value, result))
        return false;
    const json_t *document = find_document(
        json_object_get(value, "documents"), json_guard_string(*packed, "documentId"));
    const char *task_id = json_guard_id(document, "taskId");
    if (document == NULL && call->task_id[0] != '\0')
        task_id = call->task_id;
    bool is_known = document != NULL || task_id != NULL;
    if (task_id != NULL)
        tool_pack_set(packed, "taskId", json_string(task_id));
    json_decref(value);
    if (!is_known)
        tool_fail(result, TOOL_REFUSED, UNPROCESSABLE,
            "taskId is required: the document is not among the latest %d, so name the task that "
            "it belongs to",
            MAX_LISTED);
    return is_known;
}

/* Chooses the task where the call names none. Returns whether it could. */
static bool choose_task(const struct tool_call *call, json_t **packed, struct tool_result *result)
{
    if (json_object_get(*packed, "taskId") != NULL)
        return true;
    if (json_object_get(*packed, "documentId") != NULL)
        return keep_task(call, packed, result);
    if (call->task_id[0] != '\0')
        tool_pack_set(packed, "taskId", json_string(call->task_id));
    return true;
}

void handle_document_upsert(
    const struct tool_call *call, const json_t *arguments, struct tool_result *result)
{
    json_t *value;
    if (!check_document_bytes(arguments, result))
        return;
    json_t *packed = tool_pack(call, arguments);
    if (!choose_task(call, &packed, result))
        json_decref(packed);
    else if (tool_invoke(call, &create_document, packed, &value, result))
        tool_succeed_with_id(call, result, "documentId", value);
}

void handle_document_list(
    const struct tool_call *call, const json_t *arguments, struct tool_result *result)
{
    json_t *value;
    if (!tool_invoke(call, &list_documents, tool_pack(NULL, arguments), &value, result))
        return;
    json_t *documents = json_object_get(value, "documents");
    if (json_is_array(documents))
        tool_succeed_with_data(result, "documents", json_incref(documents));
    else
        tool_fail_unavailable(call, TOOL_UNAVAILABLE, result);
    json_decref(value);
}
