/*
 * getNotificationForDelivery of version 1: everything that a runtime needs to judge a notification
 * and to write an agent's prompt, in one answer. Reading it opens the session in which the agent
 * will answer, if none is open.
 *
 * Some of its oddities matter to a runtime: a document in the trash still counts as the repository
 * document, a message of another task is left out only while the notification's task exists, and
 * the session key is there for a task that is gone.
 */
#include "account.h"
#include "base/json.h"
#include "id_list.h"
#include "memory.h"
#include "overview.h"
#include "rows.h"
#include "service_v1.h"
#include "sessions.h"
#include "utf16.h"

enum { THREAD_MESSAGES = 50, EXCERPT_UNITS = 2000, DOCUMENT_UNITS = 50000 };

static const char repository_title[] = "Repository — Primary";
static const char briefing_title[] = "Account Briefing";

/* The documents that a notification refers to; NULL when they are gone or must not be shown. */
struct context {
    struct document *notification;
    struct document *agent;
    struct document *task;
    struct document *message;
};

static const char *author_name(const struct store *store, const struct document *message)
{
    bool is_user = document_is(message, "authorType", "user");
    const struct document *author = store_get(
        store, is_user ? TABLE_USERS : TABLE_AGENTS, document_string(message, "authorId"));
    return author == NULL ? NULL : document_string(author, "name");
}

json_t *service_thread(
    struct service_call *call, const char *task_id, size_t limit, size_t max_units)
{
    struct store *store = &call->sandbox->store;
    json_t *list = memory_json(json_array());
    const struct document *message = NULL;
    TAILQ_FOREACH_REVERSE(message, &store_thread(store, task_id)->messages, document_list, link)
    {
        if (json_array_size(list) >= limit)
            break;
        const char *content = document_string(message, "content");
        json_array_insert_new(list, 0,
            memory_json(json_pack("{s:s, s:O, s:O, s:s?, s:o, s:O}", "messageId", message->id,
                "authorType", document_field(message, "authorType"), "authorId",
                document_field(message, "authorId"), "authorName", author_name(store, message),
                "content",
                max_units == 0 ? memory_json_text(content) : utf16_excerpt(content, max_units),
                "createdAt", document_field(message, "createdAt"))));
    }
    return list;
}

static void find_context(struct service_call *call, struct context *context)
{
    const struct store *store = &call->sandbox->store;
    const struct document *notification = context->notification;
    if (document_is(notification, "recipientType", "agent"))
        context->agent =
            store_get(store, TABLE_AGENTS, document_string(notification, "recipientId"));
    context->task = store_get(store, TABLE_TASKS, document_string(notification, "taskId"));
    if (context->task != NULL && !service_owns(call, context->task))
        context->task = NULL;
    context->message = store_get(store, TABLE_MESSAGES, document_string(notification, "messageId"));
    if (context->message == NULL)
        return;
    bool is_of_task =
        context->task == NULL || document_is(context->message, "taskId", context->task->id);
    if (!service_owns(call, context->message) || !is_of_task)
        context->message = NULL;
}

/* The type of the notification that the message answers, borrowed; NULL for none. */
static const char *source_type(const struct store *store, const struct document *message)
{
    const struct document *source = message == NULL
                                        ? NULL
                                        : store_get(store, TABLE_NOTIFICATIONS,
                                              document_string(message, "sourceNotificationId"));
    return source == NULL ? NULL : document_string(source, "type");
}

/* The user who wrote last in the thread, else the task's creator if a member; NULL for none. */
static const struct document *find_primary_user(
    const struct store *store, const json_t *thread, const struct document *task)
{
    for (size_t i = json_array_size(thread); i-- > 0;) {
        const json_t *item = json_array_get(thread, i);
        const struct document *user =
            store_get(store, TABLE_USERS, json_guard_string(item, "authorId"));
        if (user != NULL)
            return user;
    }
    const struct document *creator =
        task == NULL ? NULL : store_get(store, TABLE_USERS, document_string(task, "createdBy"));
    bool is_member =
        creator != NULL && document_is(creator, "accountId", document_string(task, "accountId"));
    return is_member ? creator : NULL;
}

static json_t *describe_user(const struct document *user)
{
    if (user == NULL)
        return json_null();
    return memory_json(json_pack("{s:s, s:O, s:s?}", "id", user->id, "name",
        document_field(user, "name"), "email", document_string(user, "email")));
}

static int compare_agents(const void *one, const void *other)
{
    const struct document *first = *(struct document *const *)one;
    const struct document *second = *(struct document *const *)other;
    return strcmp(document_string(first, "slug"), document_string(second, "slug"));
}

/* The agents as a new array ordered by slug, all or only those with an id in the list. */
static json_t *describe_agents(const struct rows *agents, bool all, const json_t *ids)
{
    json_t *list = memory_json(json_array());
    for (size_t i = 0; i < agents->count; i++) {
        const struct document *agent = agents->items[i];
        if (all || id_list_contains(ids, agent->id))
            json_array_append_new(
                list, memory_json(json_pack("{s:s, s:O, s:O, s:O?}", "id", agent->id, "slug",
                          document_field(agent, "slug"), "name", document_field(agent, "name"),
                          "role", document_field(agent, "role"))));
    }
    return list;
}

static void add_agents(struct service_call *call, const struct context *context, json_t *json)
{
    struct rows agents = {0};
    rows_add_account(&agents, &call->sandbox->store, TABLE_AGENTS, call->account->id);
    if (agents.count > 1)
        qsort((void *)agents.items, agents.count, sizeof(struct document *), compare_agents);
    const json_t *assigned =
        context->task == NULL ? NULL : document_field(context->task, "assignedAgentIds");
    json_object_set_new(json, "mentionableAgents", describe_agents(&agents, true, NULL));
    json_object_set_new(json, "assignedAgents", describe_agents(&agents, false, assigned));
    rows_fini(&agents);
}

/* Returns {title, content} of the account's document with that title or name, or null. */
static json_t *describe_document(struct service_call *call, const char *title, const char *type)
{
    const struct document *document = NULL;
    TAILQ_FOREACH (document, &call->sandbox->store.tables[TABLE_DOCUMENTS], siblings) {
        if (!service_owns(call, document) || (type != NULL && !document_is(document, "type", type)))
            continue;
        if (document_is(document, "title", title) || document_is(document, "name", title))
            return memory_json(json_pack("{s:O, s:o}", "title", document_field(document, "title"),
                "content", utf16_excerpt(document_string(document, "content"), DOCUMENT_UNITS)));
    }
    return json_null();
}

/* What only the orchestrator's chat gets: the briefing and an overview of the account's tasks. */
static void add_chat_parts(struct service_call *call, const struct context *context, json_t *json)
{
    const struct store *store = &call->sandbox->store;
    bool is_chat = context->task != NULL && account_is_chat(store, context->task);
    json_object_set_new(
        json, "repositoryDoc", describe_document(call, repository_title, "reference"));
    json_object_set_new(json, "globalBriefingDoc",
        is_chat ? describe_document(call, briefing_title, NULL) : json_null());
    json_object_set_new(
        json, "taskOverview", is_chat ? overview_describe(store, call->account->id) : json_null());
}

static json_t *document_or_null(const struct document *document)
{
    return document == NULL ? json_null() : json_incref(document->fields);
}

static json_t *describe_context(struct service_call *call, const struct context *context)
{
    struct store *store = &call->sandbox->store;
    json_t *thread = context->task == NULL
                         ? memory_json(json_array())
                         : service_thread(call, context->task->id, THREAD_MESSAGES, EXCERPT_UNITS);
    json_t *json =
        memory_json(json_pack("{s:o, s:o, s:o, s:o, s:o, s:s?, s:s?, s:o, s:o}", "notification",
            document_or_null(context->notification), "agent", document_or_null(context->agent),
            "task", document_or_null(context->task), "message", document_or_null(context->message),
            "thread", thread, "sourceNotificationType", source_type(store, context->message),
            "orchestratorAgentId", account_orchestrator(store, call->account->id),
            "primaryUserMention", describe_user(find_primary_user(store, thread, context->task)),
            "effectiveBehaviorFlags", account_flags(store, context->agent)));
    add_agents(call, context, json);
    add_chat_parts(call, context, json);
    if (context->agent != NULL)
        json_object_set_new(json, "deliverySessionKey",
            memory_json(json_string(sessions_open(
                store, context->agent, document_string(context->notification, "taskId")))));
    return json;
}

void service_v1_get_notification(struct service_call *call)
{
    struct context context = {.notification = store_get(&call->sandbox->store, TABLE_NOTIFICATIONS,
                                  service_argument(call, "notificationId"))};
    if (context.notification == NULL || !service_owns(call, context.notification))
        return;
    find_context(call, &context);
    service_answer(call, describe_context(call, &context));
}
