/*
 * Service actions of version 1 on documents. Writing a document again replaces all of it, its task
 * included: without one it belongs to none from then on.
 */
#include <math.h>

#include "account.h"
#include "activity.h"
#include "board.h"
#include "memory.h"
#include "rows.h"
#include "service_v1.h"

enum { MAX_TITLE_UNITS = 2000, MAX_CONTENT_UNITS = 1000000, MAX_DOCUMENT_BYTES = 1 << 20 };

static const double DOCUMENT_LIMIT = 50;
static const double MAX_DOCUMENT_LIMIT = 100;

/* The backend stores nothing larger, whatever the length of the content in characters. */
static bool check_size(struct service_call *call)
{
    size_t bytes = strlen(service_argument(call, "content"));
    if (bytes <= MAX_DOCUMENT_BYTES)
        return true;
    service_fail(call, "Value is too large (%.2f MiB > maximum size 1 MiB)",
        (double)bytes / MAX_DOCUMENT_BYTES);
    return false;
}

/* Checks the references; *document is NULL for a new document. */
static bool check_references(struct service_call *call, struct document **document)
{
    const struct store *store = &call->sandbox->store;
    const char *task_id = service_argument(call, "taskId");
    const char *document_id = service_argument(call, "documentId");
    const struct document *task = store_get(store, TABLE_TASKS, task_id);
    *document = store_get(store, TABLE_DOCUMENTS, document_id);
    if (task_id != NULL && (task == NULL || !service_owns(call, task)))
        service_fail(call, "Not found: Task does not exist or belongs to different account");
    else if (document_id != NULL && *document == NULL)
        service_fail(call, "Not found: Document does not exist");
    else if (*document != NULL && !service_owns(call, *document))
        service_fail(call, "Forbidden: Document belongs to different account");
    return call->failure.length_bytes == 0;
}

static struct document *add_document(struct service_call *call, const struct document *agent)
{
    return store_insert(&call->sandbox->store, TABLE_DOCUMENTS,
        json_pack("{s:s, s:s, s:s, s:f, s:f}", "accountId", call->account->id, "authorType",
            "agent", "authorId", agent->id, "version", 1.0, "createdAt", call->now_ms),
        NULL);
}

static void set_contents(struct service_call *call, struct document *document)
{
    static const char *const keys[] = {"title", "content", "type", "taskId"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        store_set(&call->sandbox->store, document, keys[i],
            json_incref(json_object_get(call->arguments, keys[i])));
    store_set(&call->sandbox->store, document, "updatedAt", board_now());
}

static void count_version(struct service_call *call, struct document *document)
{
    if (json_equal(
            document_field(document, "content"), json_object_get(call->arguments, "content")))
        return;
    store_set(&call->sandbox->store, document, "version",
        memory_json(json_real(document_number(document, "version") + 1)));
}

void service_v1_create_document(struct service_call *call)
{
    struct document *document;
    const struct document *agent = service_agent_allowed(
        call, "canCreateDocuments", "Agent is not allowed to create documents");
    if (agent == NULL || !check_references(call, &document) ||
        !service_check_length(
            call, "title", MAX_TITLE_UNITS, "Title too long (max 2000 characters)") ||
        !service_check_length(
            call, "content", MAX_CONTENT_UNITS, "Content too long (max 1000000 characters)") ||
        !check_size(call))
        return;
    bool is_new = document == NULL;
    if (is_new)
        document = add_document(call, agent);
    else
        count_version(call, document);
    set_contents(call, document);
    activity_record(&call->sandbox->store, is_new ? "document_created" : "document_updated", agent,
        document, NULL);
    service_answer(call, json_pack("{s:s}", "documentId", document->id));
}

/* Whether a filter is absent or equals the document's field. */
static bool passes(
    const struct service_call *call, const struct document *document, const char *key)
{
    const json_t *wanted = json_object_get(call->arguments, key);
    return wanted == NULL || json_equal(wanted, document_field(document, key));
}

static json_t *describe_document_row(const struct document *document)
{
    return memory_json(json_pack("{s:s, s:O, s:O*, s:O*, s:O}", "_id", document->id, "title",
        document_field(document, "title"), "type", document_field(document, "type"), "taskId",
        document_field(document, "taskId"), "updatedAt", document_field(document, "updatedAt")));
}

void service_v1_list_documents(struct service_call *call)
{
    double limit = fmax(1, floor(service_limit(call, "limit", DOCUMENT_LIMIT, MAX_DOCUMENT_LIMIT)));
    struct rows documents = {0};
    json_t *list = memory_json(json_array());
    rows_add_account(&documents, &call->sandbox->store, TABLE_DOCUMENTS, call->account->id);
    rows_sort(&documents, "updatedAt");
    for (size_t i = 0; i < documents.count && (double)json_array_size(list) < limit; i++) {
        const struct document *document = documents.items[i];
        if (document_field(document, "deletedAt") == NULL && passes(call, document, "type") &&
            passes(call, document, "taskId"))
            json_array_append_new(list, describe_document_row(document));
    }
    rows_fini(&documents);
    service_answer(call, json_pack("{s:o}", "documents", list));
}
