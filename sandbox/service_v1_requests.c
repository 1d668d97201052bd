/*
 * Response requests of version 1: an agent asks up to ten others to answer on a task. They are
 * notifications without a message; what is asked is their body. A recipient is not asked again
 * while the last request about the task is undelivered or less than four hours old, whoever made
 * it, unless it has posted there since; then the request is dropped without an error.
 */
#include "account.h"
#include "board.h"
#include "memory.h"
#include "rows.h"
#include "service_v1.h"

enum { MAX_RECIPIENTS = 10, MAX_MESSAGE_UNITS = 1000 };

static const double MIN_INTERVAL_MS = 4.0 * 3600 * 1000;

static bool check_request_message(struct service_call *call)
{
    const char *message = service_argument(call, "message");
    struct text_span trimmed = text_trim(message, strlen(message));
    size_t within = text_utf16_cut(trimmed.bytes, trimmed.length_bytes, MAX_MESSAGE_UNITS);
    if (trimmed.length_bytes == 0)
        service_fail(call, "Message is required");
    else if (within < trimmed.length_bytes)
        service_fail(call, "Message too long: max 1000 characters allowed");
    return within > 0 && within == trimmed.length_bytes;
}

static struct document *find_by_slug(const struct service_call *call, const char *slug)
{
    struct document *agent = NULL;
    TAILQ_FOREACH (agent, &call->sandbox->store.tables[TABLE_AGENTS], siblings) {
        if (service_owns(call, agent) && strcasecmp(document_string(agent, "slug"), slug) == 0)
            return agent;
    }
    return NULL;
}

static void add_recipient(struct rows *recipients, struct document *agent)
{
    for (size_t i = 0; i < recipients->count; i++)
        if (recipients->items[i] == agent)
            return;
    rows_add(recipients, agent);
}

/*
 * Finds the agents with the given slugs, except for the requester. false means that the call has
 * failed: one unknown slug fails all.
 */
static bool find_recipients(
    struct service_call *call, const struct document *requester, struct rows *recipients)
{
    struct text unknown = {0};
    size_t given = 0;
    size_t index;
    const json_t *slug;
    json_array_foreach (json_object_get(call->arguments, "recipientSlugs"), index, slug) {
        char *trimmed = memory_copy_trimmed(json_string_value(slug));
        struct document *agent = find_by_slug(call, trimmed);
        given += *trimmed != '\0';
        if (agent != NULL && agent != requester)
            add_recipient(recipients, agent);
        else if (agent == NULL && *trimmed != '\0')
            text_printf(
                &unknown, "%s%s", unknown.length_bytes > 0 ? ", " : "", json_string_value(slug));
        free(trimmed);
    }
    if (given == 0)
        service_fail(call, "Invalid recipient slugs: none provided");
    else if (unknown.length_bytes > 0)
        service_fail(call, "Unknown recipient slugs: %s", unknown.data);
    else if (recipients->count == 0)
        service_fail(call, "No valid recipients after filtering");
    text_fini(&unknown);
    return call->failure.length_bytes == 0;
}

static const struct document *find_last_request(
    const struct store *store, const struct document *task, const struct document *recipient)
{
    const struct document *last = NULL;
    const struct document *row = NULL;
    TAILQ_FOREACH (row, &store->tables[TABLE_NOTIFICATIONS], siblings) {
        if (document_is(row, "type", "response_request") && document_is(row, "taskId", task->id) &&
            document_is(row, "recipientId", recipient->id) &&
            (last == NULL ||
                document_number(row, "createdAt") >= document_number(last, "createdAt")))
            last = row;
    }
    return last;
}

static bool has_posted_since(struct store *store, const struct document *task,
    const struct document *recipient, const struct document *request)
{
    const struct document *message = NULL;
    TAILQ_FOREACH_REVERSE(message, &store_thread(store, task->id)->messages, document_list, link)
    {
        if (document_number(message, "_creationTime") < document_number(request, "_creationTime"))
            return false;
        if (document_is(message, "authorId", recipient->id))
            return true;
    }
    return false;
}

static bool is_due(
    struct service_call *call, const struct document *task, const struct document *recipient)
{
    struct store *store = &call->sandbox->store;
    const struct document *last = find_last_request(store, task, recipient);
    if (last == NULL || has_posted_since(store, task, recipient, last))
        return true;
    return document_field(last, "deliveredAt") != NULL &&
           call->now_ms - document_number(last, "createdAt") >= MIN_INTERVAL_MS;
}

static void answer_requests(struct service_call *call, const struct document *task,
    const struct document *requester, const struct rows *recipients)
{
    struct text title = {0};
    json_t *ids = memory_json(json_array());
    text_printf(&title, "%s requested a response", document_string(requester, "name"));
    for (size_t i = 0; i < recipients->count; i++) {
        if (!is_due(call, task, recipients->items[i]))
            continue;
        const struct document *notification = board_notify(
            &call->sandbox->store, &(struct new_notification){.type = "response_request",
                                       .recipient = recipients->items[i],
                                       .task = task,
                                       .title = title.data,
                                       .body = service_argument(call, "message")});
        json_array_append_new(ids, memory_json(json_string(notification->id)));
    }
    text_fini(&title);
    service_answer(call, json_pack("{s:o}", "notificationIds", ids));
}

void service_v1_request_responses(struct service_call *call)
{
    const struct document *requester = service_agent_in(call, "requesterAgentId");
    const struct document *task = requester == NULL ? NULL : service_task(call);
    if (task == NULL)
        return;
    const json_t *slugs = json_object_get(call->arguments, "recipientSlugs");
    struct rows recipients = {0};
    if (!account_allows(&call->sandbox->store, requester, "canMentionAgents"))
        service_fail(call, "Forbidden: Agent may not request responses");
    else if (json_array_size(slugs) > MAX_RECIPIENTS)
        service_fail(call, "Too many recipients: max 10 allowed per request");
    else if (check_request_message(call) && find_recipients(call, requester, &recipients))
        answer_requests(call, task, requester, &recipients);
    rows_fini(&recipients);
}
