/*
 * The context of a notification is the one answer on which most decisions rest, so its reader draws
 * a line through it. What a decision rests on has to be there and of its type; otherwise the answer
 * is CONVEX_UNAVAILABLE, as if none had come, and is asked for again: better late than a
 * notification skipped for good because half an answer was misread. What only the prompt shows is
 * left out when it is missing or of another type, because no document may stop a delivery.
 *
 * Contexts of v0 have the first four parts only and are checked as little as ever. Those of v1 have
 * all (docs/protocol.md, "Versions of the backend"). Unknown words for types and states are no
 * errors: a newer backend may have more of them.
 *
 * Nothing is copied: everything is borrowed from the value, which the context owns. Pure; any
 * thread.
 */
#include "backend/delivery_context.h"

#include <string.h>

#include "base/json.h"

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

/* The place of word in words, or fallback. Places without a word never match. */
static size_t find_word(const char *word, const char *const *words, size_t count, size_t fallback)
{
    for (size_t i = 0; word != NULL && i < count; i++)
        if (words[i] != NULL && strcmp(words[i], word) == 0)
            return i;
    return fallback;
}

static enum notification_type parse_type(const char *word)
{
    return (enum notification_type)find_word(
        word, type_words, COUNT(type_words), NOTIFICATION_OTHER);
}

static enum task_status read_status(const json_t *task)
{
    if (task == NULL)
        return TASK_NONE;
    return (enum task_status)find_word(
        json_guard_string(task, "status"), status_words, COUNT(status_words), TASK_OTHER_STATUS);
}

static enum author_type read_author(const json_t *message)
{
    if (message == NULL)
        return AUTHOR_NONE;
    return (enum author_type)find_word(
        json_guard_string(message, "authorType"), author_words, COUNT(author_words), AUTHOR_OTHER);
}

static const json_t *object_or_null(const json_t *parent, const char *key)
{
    const json_t *found = json_object_get(parent, key);
    return json_is_object(found) ? found : NULL;
}

static const json_t *array_or_null(const json_t *parent, const char *key)
{
    const json_t *found = json_object_get(parent, key);
    return json_is_array(found) ? found : NULL;
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

/* A missing key is a malformed answer; only an explicit null means that the document is gone. */
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

/* The part of a context that is malformed, or NULL. A deleted agent or task is not malformed. */
static const char *find_malformed_part(const struct delivery_context *context)
{
    const json_t *value = context->value;
    if (json_is_null(value))
        return NULL;
    if (context->notification == NULL)
        return "notification";
    if (!is_object_or_null(json_object_get(value, "agent")))
        return "agent";
    bool needs_task = json_guard_string(context->notification, "taskId") != NULL;
    if (needs_task && !is_object_or_null(json_object_get(value, "task")))
        return "task";
    for (size_t i = 0; context->version == BACKEND_V1 && i < COUNT(required_parts); i++)
        if (!has_part(value, &required_parts[i]))
            return required_parts[i].name;
    return NULL;
}

/* The backend's defaults are in what it sends; these count for what it leaves out. */
static struct behavior_flags read_flags(const json_t *flags)
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

static void read_v1_parts(struct delivery_context *context)
{
    const json_t *value = context->value;
    const char *session_key = json_guard_string(value, "deliverySessionKey");
    const char *source_type = json_guard_string(value, "sourceNotificationType");
    if (session_key != NULL && session_key[0] != '\0')
        context->session_key = session_key;
    if (source_type != NULL)
        context->source_type = parse_type(source_type);
    context->orchestrator_id = json_guard_string(value, "orchestratorAgentId");
    context->flags = read_flags(json_object_get(value, "effectiveBehaviorFlags"));
    context->thread = array_or_null(value, "thread");
    context->mentionable_agents = array_or_null(value, "mentionableAgents");
    context->assigned_agents = array_or_null(value, "assignedAgents");
    context->primary_user = object_or_null(value, "primaryUserMention");
    context->repository_doc = object_or_null(value, "repositoryDoc");
    context->briefing_doc = object_or_null(value, "globalBriefingDoc");
    context->task_overview = object_or_null(value, "taskOverview");
}

enum convex_outcome delivery_context_read(
    json_t *value, struct delivery_context *context, struct error *error)
{
    *context = (struct delivery_context){
        .value = value,
        .notification = object_or_null(value, "notification"),
        .agent = object_or_null(value, "agent"),
        .task = object_or_null(value, "task"),
        .message = object_or_null(value, "message"),
        .version = backend_version_of_context(value),
    };
    const char *part = find_malformed_part(context);
    if (part != NULL) {
        delivery_context_fini(context);
        error_set(
            error, ERROR_REMOTE, "getNotificationForDelivery: %s is missing or malformed", part);
        return CONVEX_UNAVAILABLE;
    }
    if (context->notification != NULL)
        context->type = parse_type(json_guard_string(context->notification, "type"));
    context->has_ended = json_is_null(value) ||
                         json_is_number(json_object_get(context->notification, "deliveredAt"));
    context->task_is_gone =
        context->task == NULL && json_guard_string(context->notification, "taskId") != NULL;
    context->task_status = read_status(context->task);
    context->author = read_author(context->message);
    if (context->version == BACKEND_V1)
        read_v1_parts(context);
    return CONVEX_SUCCESS;
}

void delivery_context_fini(struct delivery_context *context)
{
    json_decref(context->value);
    *context = (struct delivery_context){0};
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
