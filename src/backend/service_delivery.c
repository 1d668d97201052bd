/*
 * What a delivery needs of the backend: the context of its notification, and the calls that say
 * what has become of it (docs/protocol.md, "Backend functions").
 *
 * The context of a notification is the one answer on which most decisions rest, so its reader draws
 * a line through it. What a decision rests on has to be there and of its type; otherwise the answer
 * is CONVEX_UNAVAILABLE, as if none had come, and is asked for again: better late than a
 * notification skipped for good because half an answer was misread. What only the prompt shows is
 * left out when it is missing or of another type, because no document may stop a delivery. In the
 * same way a call that changes something has succeeded only if its result says so.
 *
 * Contexts of v0 have the first four parts only and are checked as little as ever. Those of v1 have
 * all (docs/protocol.md, "Versions of the backend"). Unknown words for types and states are no
 * errors: a newer backend may have more of them.
 *
 * Nothing is copied: everything is borrowed from the value, which the context owns. There is no
 * state here. Calls block as convex_call does, from any thread; the rest is pure.
 */
#include <string.h>

#include "backend/delivery_context.h"
#include "backend/service.h"
#include "base/json.h"

/* The context. */

static const char orchestrator_chat_label[] = "system:orchestrator-chat";

static const char *const type_words[] = {
    [NOTIFICATION_ASSIGNMENT] = "assignment",
    [NOTIFICATION_MENTION] = "mention",
    [NOTIFICATION_RESPONSE_REQUEST] = "response_request",
    [NOTIFICATION_STATUS_CHANGE] = "status_change",
    [NOTIFICATION_THREAD_UPDATE] = "thread_update",
};

static const char *const status_words[] = {
    [TASK_INBOX] = "inbox",
    [TASK_ASSIGNED] = "assigned",
    [TASK_IN_PROGRESS] = "in_progress",
    [TASK_REVIEW] = "review",
    [TASK_DONE] = "done",
    [TASK_BLOCKED] = "blocked",
    [TASK_ARCHIVED] = "archived",
};

static const char *const author_words[] = {
    [AUTHOR_USER] = "user",
    [AUTHOR_AGENT] = "agent",
};

#define COUNT(words) (sizeof(words) / sizeof(words)[0])

/*
 * The value of an enum whose word object[key] is; NULL for words that have none. All of these enums
 * begin with one for an object that is not there, and one for a word that we do not know.
 */
static unsigned read_word(
    const json_t *object, const char *key, const char *const *words, unsigned count)
{
    enum { NO_OBJECT, OTHER_WORD };
    if (object == NULL)
        return NO_OBJECT;
    const char *word = json_guard_string(object, key);
    for (unsigned i = 0; word != NULL && i < count; i++)
        if (words[i] != NULL && strcmp(words[i], word) == 0)
            return i;
    return OTHER_WORD;
}

static bool is_string(const json_t *value)
{
    return json_is_string(value);
}

static bool is_array(const json_t *value)
{
    return json_is_array(value);
}

static bool is_object(const json_t *value)
{
    return json_is_object(value);
}

static bool is_string_or_null(const json_t *value)
{
    return json_is_string(value) || json_is_null(value);
}

static bool is_object_or_null(const json_t *value)
{
    return json_is_object(value) || json_is_null(value);
}

static bool is_string_or_absent(const json_t *value)
{
    return value == NULL || json_is_string(value);
}

/* What a decision about a context of v1 rests on. */
static const struct required_part {
    const char *object; /* that has it; "" for the context itself */
    const char *key;
    const char *name; /* for the error */
    bool (*is_valid)(const json_t *value);
} required_parts[] = {
    {"", "message", "message", is_object_or_null},
    {"", "thread", "thread", is_array},
    {"", "sourceNotificationType", "sourceNotificationType", is_string_or_null},
    {"", "orchestratorAgentId", "orchestratorAgentId", is_string_or_null},
    {"", "effectiveBehaviorFlags", "effectiveBehaviorFlags", is_object},
    {"", "deliverySessionKey", "deliverySessionKey", is_string_or_absent},
    {"notification", "type", "notification.type", is_string},
    {"notification", "messageId", "notification.messageId", is_string_or_absent},
    {"task", "status", "task.status", is_string},
    {"task", "labels", "task.labels", is_array},
    {"task", "assignedAgentIds", "task.assignedAgentIds", is_array},
    {"message", "authorType", "message.authorType", is_string},
    {"message", "authorId", "message.authorId", is_string},
};

/* A part of an object that is null, such as the status of a deleted task, is not missing. */
static bool has_part(const json_t *value, const struct required_part *part)
{
    const json_t *object = part->object[0] != '\0' ? json_object_get(value, part->object) : value;
    return !json_is_object(object) || part->is_valid(json_object_get(object, part->key));
}

/*
 * The part of a context that is malformed, or NULL. A missing key is; only an explicit null means
 * that the agent or the task has been deleted.
 */
static const char *find_malformed_part(const struct delivery_context *context)
{
    const json_t *value = context->value;
    if (json_is_null(value))
        return NULL;
    if (context->notification == NULL)
        return "notification";
    if (context->agent == NULL && !json_is_null(json_object_get(value, "agent")))
        return "agent";
    bool lacks_task =
        context->task == NULL && json_guard_string(context->notification, "taskId") != NULL;
    if (lacks_task && !json_is_null(json_object_get(value, "task")))
        return "task";
    for (size_t i = 0; context->version == BACKEND_V1 && i < COUNT(required_parts); i++)
        if (!has_part(value, &required_parts[i]))
            return required_parts[i].name;
    return NULL;
}

/* The backend's defaults are in what it sends; these count for what it leaves out. */
struct behavior_flags behavior_flags_read(const json_t *flags)
{
    return (struct behavior_flags){
        .can_create_tasks = json_is_true(json_object_get(flags, "canCreateTasks")),
        .can_modify_task_status = !json_is_false(json_object_get(flags, "canModifyTaskStatus")),
        .can_create_documents = json_is_true(json_object_get(flags, "canCreateDocuments")),
        .can_mention_agents = json_is_true(json_object_get(flags, "canMentionAgents")),
        .can_review_tasks = json_is_true(json_object_get(flags, "canReviewTasks")),
        .can_mark_done = json_is_true(json_object_get(flags, "canMarkDone")),
    };
}

/*
 * When the thread was last written in. An agent's message may have taken the place of a person's in
 * the notification, but not in the thread.
 */
static void read_thread_times(struct delivery_context *context)
{
    size_t index;
    const json_t *item;
    json_array_foreach (context->thread, index, item) {
        int64_t created_ms = 0;
        json_guard_time_ms(item, "createdAt", 0, &created_ms);
        if (created_ms > context->newest_in_thread_ms)
            context->newest_in_thread_ms = created_ms;
        if (created_ms > context->person_wrote_ms && json_guard_is(item, "authorType", "user", ""))
            context->person_wrote_ms = created_ms;
    }
}

static void read_v1_parts(struct delivery_context *context)
{
    const json_t *value = context->value;
    const char *session_key = json_guard_string(value, "deliverySessionKey");
    if (session_key != NULL && session_key[0] != '\0')
        context->session_key = session_key;
    if (json_is_string(json_object_get(value, "sourceNotificationType")))
        context->source_type = (enum notification_type)read_word(
            value, "sourceNotificationType", type_words, COUNT(type_words));
    context->orchestrator_id = json_guard_string(value, "orchestratorAgentId");
    context->message_id = json_guard_id(context->notification, "messageId");
    context->may_be_changed = context->type == NOTIFICATION_THREAD_UPDATE;
    context->flags = behavior_flags_read(json_object_get(value, "effectiveBehaviorFlags"));
    context->begins_task = context->type == NOTIFICATION_ASSIGNMENT &&
                           context->task_status == TASK_ASSIGNED &&
                           context->flags.can_modify_task_status;
    context->thread = json_guard_array(value, "thread");
    read_thread_times(context);
    context->mentionable_agents = json_guard_array(value, "mentionableAgents");
    context->assigned_agents = json_guard_array(value, "assignedAgents");
    context->primary_user = json_guard_object(value, "primaryUserMention");
    context->repository_doc = json_guard_object(value, "repositoryDoc");
    context->briefing_doc = json_guard_object(value, "globalBriefingDoc");
    context->task_overview = json_guard_object(value, "taskOverview");
}

enum convex_outcome delivery_context_read(
    json_t *value, struct delivery_context *context, struct error *error)
{
    *context = (struct delivery_context){
        .value = value,
        .notification = json_guard_object(value, "notification"),
        .agent = json_guard_object(value, "agent"),
        .task = json_guard_object(value, "task"),
        .message = json_guard_object(value, "message"),
    };
    /* v1 always sends the flags, v0 none of these two. */
    if (json_object_get(value, "deliverySessionKey") != NULL ||
        json_object_get(value, "effectiveBehaviorFlags") != NULL)
        context->version = BACKEND_V1;
    else if (context->notification != NULL)
        context->version = BACKEND_V0;
    const char *part = find_malformed_part(context);
    if (part != NULL) {
        delivery_context_fini(context);
        error_set(
            error, ERROR_REMOTE, "getNotificationForDelivery: %s is missing or malformed", part);
        return CONVEX_UNAVAILABLE;
    }
    context->type = (enum notification_type)read_word(
        context->notification, "type", type_words, COUNT(type_words));
    context->has_ended = json_is_null(value) ||
                         json_is_number(json_object_get(context->notification, "deliveredAt"));
    context->task_is_gone =
        context->task == NULL && json_guard_string(context->notification, "taskId") != NULL;
    context->task_status =
        (enum task_status)read_word(context->task, "status", status_words, COUNT(status_words));
    context->author = (enum author_type)read_word(
        context->message, "authorType", author_words, COUNT(author_words));
    if (context->author == AUTHOR_AGENT)
        context->source_id = json_guard_id(context->message, "sourceNotificationId");
    else
        json_guard_time_ms(context->message, "createdAt", 0, &context->person_wrote_ms);
    if (context->version == BACKEND_V1)
        read_v1_parts(context);
    return CONVEX_SUCCESS;
}

void delivery_context_fini(struct delivery_context *context)
{
    json_decref(context->value);
    *context = (struct delivery_context){0};
}

void delivery_context_shrink(struct delivery_context *context)
{
    const struct delivery_context kept = {
        .type = context->type,
        .task_status = context->task_status,
        .author = context->author,
        .has_ended = context->has_ended,
        .task_is_gone = context->task_is_gone,
        .version = context->version,
        .source_type = context->source_type,
        .flags = context->flags,
    };
    json_decref(context->value);
    *context = kept;
}

static bool holds_string(const json_t *array, const char *string)
{
    size_t index;
    const json_t *item;
    json_array_foreach (array, index, item)
        if (json_is_string(item) && strcmp(json_string_value(item), string) == 0)
            return true;
    return false;
}

bool delivery_context_is_assigned(const struct delivery_context *context, const char *agent_id)
{
    return holds_string(json_object_get(context->task, "assignedAgentIds"), agent_id);
}

bool delivery_context_is_orchestrator(const struct delivery_context *context, const char *agent_id)
{
    return context->orchestrator_id != NULL && strcmp(context->orchestrator_id, agent_id) == 0;
}

bool delivery_context_is_orchestrator_chat(const struct delivery_context *context)
{
    return holds_string(json_object_get(context->task, "labels"), orchestrator_chat_label);
}

bool delivery_context_may_mark_done(const struct delivery_context *context)
{
    return context->task_status == TASK_REVIEW && context->flags.can_mark_done;
}

/* Calls. */

/* As production deployments hide why a function failed, it may be that v1 is gone. */
static enum convex_outcome doubt_v1(const struct service *service, enum convex_outcome outcome)
{
    if (outcome == CONVEX_FUNCTION_ERROR)
        convex_doubt_version(service->convex);
    return outcome;
}

enum convex_outcome service_get_delivery(const struct service *service, const char *notification_id,
    struct delivery_context *context, struct error *error)
{
    static const char action[] = "getNotificationForDelivery";
    json_t *value;
    enum convex_outcome outcome = convex_call(service, action,
        json_pack("{s:s}", "notificationId", notification_id), CONVEX_PLAIN, &value, error);
    if (outcome == CONVEX_SUCCESS)
        outcome = delivery_context_read(value, context, error);
    if (outcome != CONVEX_SUCCESS)
        return outcome;
    convex_see_version(service->convex, context->version);
    /* A cache that mixes answers up would otherwise send one agent's work to another. */
    const char *id = json_guard_string(context->notification, "_id");
    if (id == NULL || strcmp(id, notification_id) == 0)
        return CONVEX_SUCCESS;
    delivery_context_fini(context);
    error_set(error, ERROR_REMOTE, "%s: the result is for another notification", action);
    return CONVEX_UNAVAILABLE;
}

/* NULL without memory. */
static json_t *pack_message(const struct new_message *message)
{
    json_t *arguments = json_pack("{s:s, s:s, s:s}", "taskId", message->task_id, "agentId",
        message->agent_id, "content", message->content);
    /* Not with "s*" above: json_pack drops an optional member silently when out of memory. */
    if (message->notification_id == NULL || json_object_set_new(arguments, "sourceNotificationId",
                                                json_string(message->notification_id)) == 0)
        return arguments;
    json_decref(arguments);
    return NULL;
}

enum convex_outcome service_create_message(
    const struct service *service, const struct new_message *message, struct error *error)
{
    static const char action[] = "createMessageFromAgent";
    json_t *value;
    json_t *arguments = pack_message(message);
    bool is_v1_call = convex_version(service->convex) == BACKEND_V1;
    /* Agents hear of each other's messages on both versions, but v1 has to be told. */
    if (is_v1_call &&
        json_object_set_new(arguments, "suppressAgentNotifications", json_false()) != 0) {
        json_decref(arguments);
        arguments = NULL;
    }
    enum convex_kind kind = message->notification_id != NULL ? CONVEX_PLAIN : CONVEX_ONCE;
    enum convex_outcome outcome = convex_call(service, action, arguments, kind, &value, error);
    if (is_v1_call)
        doubt_v1(service, outcome);
    if (outcome != CONVEX_SUCCESS)
        return outcome;
    /* Success makes the caller drop the reply, so the message has to exist for certain. */
    const char *message_id = json_guard_string(value, "messageId");
    bool was_created = message_id != NULL && message_id[0] != '\0';
    if (was_created && message->message_id != NULL)
        text_copy(message->message_id, ID_BYTES, message_id);
    json_decref(value);
    if (was_created)
        return CONVEX_SUCCESS;
    error_set(error, ERROR_REMOTE, "%s: the result has no messageId", action);
    return CONVEX_UNAVAILABLE;
}

enum convex_outcome service_create_document(const struct service *service,
    const struct reply_document *document, char document_id[static ID_BYTES], struct error *error)
{
    json_t *value;
    json_t *arguments = json_pack("{s:s, s:s, s:s, s:s, s:s}", "agentId", document->agent_id,
        "taskId", document->task_id, "title", document->title, "content", document->content, "type",
        "note");
    enum convex_outcome outcome = doubt_v1(service,
        convex_call(service, "createDocumentFromAgent", arguments, CONVEX_ONCE, &value, error));
    document_id[0] = '\0';
    if (outcome != CONVEX_SUCCESS)
        return outcome;
    const char *id = json_guard_id(value, "documentId");
    if (id != NULL)
        text_copy(document_id, ID_BYTES, id);
    json_decref(value);
    if (id != NULL)
        return CONVEX_SUCCESS;
    error_set(error, ERROR_REMOTE, "createDocumentFromAgent: the result has no documentId");
    return CONVEX_UNAVAILABLE;
}

enum convex_outcome service_find_document(const struct service *service, const char *task_id,
    const char *title, char document_id[static ID_BYTES], struct error *error)
{
    enum { LATEST_DOCUMENTS = 100 /* as many as the function lists */ };
    json_t *value;
    json_t *arguments = json_pack("{s:s, s:i}", "taskId", task_id, "limit", LATEST_DOCUMENTS);
    enum convex_outcome outcome = doubt_v1(service,
        convex_call(service, "listDocumentsForAgent", arguments, CONVEX_PLAIN, &value, error));
    document_id[0] = '\0';
    if (outcome != CONVEX_SUCCESS)
        return outcome;
    size_t index;
    const json_t *document;
    json_array_foreach (json_object_get(value, "documents"), index, document) {
        const char *id = json_guard_id(document, "_id");
        if (id != NULL && json_guard_is(document, "title", title, "")) {
            text_copy(document_id, ID_BYTES, id);
            break; /* the latest ones come first */
        }
    }
    json_decref(value);
    return CONVEX_SUCCESS;
}

/* Calls a function that answers {success: true} for a notification. */
static enum convex_outcome mark_notification(const struct service *service, const char *action,
    const char *notification_id, struct error *error)
{
    json_t *value;
    enum convex_outcome outcome = convex_call(service, action,
        json_pack("{s:s}", "notificationId", notification_id), CONVEX_PLAIN, &value, error);
    if (outcome != CONVEX_SUCCESS)
        return outcome;
    bool was_marked = json_is_true(json_object_get(value, "success"));
    json_decref(value);
    if (was_marked)
        return CONVEX_SUCCESS;
    error_set(error, ERROR_REMOTE, "%s: the result does not confirm success", action);
    return CONVEX_UNAVAILABLE;
}

enum convex_outcome service_mark_delivered(
    const struct service *service, const char *notification_id, struct error *error)
{
    return mark_notification(service, "markNotificationDelivered", notification_id, error);
}

enum convex_outcome service_mark_read(
    const struct service *service, const char *notification_id, struct error *error)
{
    return doubt_v1(
        service, mark_notification(service, "markNotificationRead", notification_id, error));
}

enum convex_outcome service_mark_delivery_ended(
    const struct service *service, const char *notification_id, struct error *error)
{
    return doubt_v1(service,
        mark_notification(service, "markNotificationDeliveryEnded", notification_id, error));
}

enum convex_outcome service_begin_task(
    const struct service *service, const char *agent_id, const char *task_id, struct error *error)
{
    json_t *value;
    json_t *arguments = json_pack("{s:s, s:s, s:s, s:s}", "taskId", task_id, "agentId", agent_id,
        "status", "in_progress", "expectedStatus", "assigned");
    enum convex_outcome outcome =
        convex_call(service, "updateTaskStatusFromAgent", arguments, CONVEX_PLAIN, &value, error);
    if (outcome == CONVEX_SUCCESS)
        json_decref(value);
    return doubt_v1(service, outcome);
}
