/*
 * The board's rules: who is subscribed and who is notified when a message is posted, a task
 * assigned or its status changed. They follow the real backend's (docs/protocol.md, "Message and
 * notification rules"), since they decide which notifications the runtime gets to see.
 *
 * A mention notifies once, as "mention"; subscribers who are not mentioned get "thread_update".
 * The author of a message is never notified of it.
 */
#include "board.h"

#include "account.h"
#include "activity.h"
#include "base/sync.h"
#include "id_list.h"
#include "memory.h"
#include "mentions.h"
#include "task_status.h"
#include "thread_rules.h"

const char *board_actor_kind(const struct document *actor)
{
    return actor->table == TABLE_USERS ? "user" : "agent";
}

json_t *board_now(void)
{
    return memory_json(json_real((double)clock_wall_ms()));
}

void board_record_activity(struct store *store, const char *type, const struct document *actor,
    const struct document *target, const char *summary)
{
    if (store->version == BACKEND_V1) {
        activity_record(store, type, actor, target, NULL);
        return;
    }
    store_insert(store, TABLE_ACTIVITIES,
        json_pack("{s:O, s:s, s:s, s:s, s:s, s:s, s:s, s:o}", "accountId",
            document_field(actor, "accountId"), "type", type, "actorType", board_actor_kind(actor),
            "actorId", actor->id, "targetType", table_name(target->table), "targetId", target->id,
            "summary", summary, "createdAt", board_now()),
        NULL);
}

struct document *board_notify(struct store *store, const struct new_notification *notification)
{
    json_t *created = notification->created_ms > 0
                          ? memory_json(json_real(notification->created_ms))
                          : board_now();
    const struct document *message = notification->message;
    json_t *fields = json_pack("{s:O, s:s, s:s, s:s, s:s, s:s*, s:s, s:s, s:o}", "accountId",
        document_field(notification->recipient, "accountId"), "type", notification->type,
        "recipientType", board_actor_kind(notification->recipient), "recipientId",
        notification->recipient->id, "taskId", notification->task->id, "messageId",
        message == NULL ? NULL : message->id, "title", notification->title, "body",
        notification->body, "createdAt", created);
    return store_insert(store, TABLE_NOTIFICATIONS, fields, NULL);
}

static bool is_subscribed(const struct thread *thread, const char *id)
{
    const struct document *subscription = NULL;
    TAILQ_FOREACH (subscription, &thread->subscriptions, link) {
        if (document_is(subscription, "subscriberId", id))
            return true;
    }
    return false;
}

static void subscribe_actor(
    struct store *store, const struct document *task, const char *type, const char *id)
{
    if (is_subscribed(store_thread(store, task->id), id))
        return;
    store_insert(store, TABLE_SUBSCRIPTIONS,
        json_pack("{s:O, s:s, s:s, s:s, s:o}", "accountId", document_field(task, "accountId"),
            "taskId", task->id, "subscriberType", type, "subscriberId", id, "subscribedAt",
            board_now()),
        NULL);
}

static bool is_mentioned(const json_t *mentions, const char *id)
{
    size_t index;
    const json_t *mention;
    json_array_foreach (mentions, index, mention) {
        if (strcmp(json_string_value(json_object_get(mention, "id")), id) == 0)
            return true;
    }
    return false;
}

static struct document *find_actor(const struct store *store, const char *id)
{
    struct document *agent = store_get(store, TABLE_AGENTS, id);
    return agent != NULL ? agent : store_get(store, TABLE_USERS, id);
}

/* Users can turn off notifications about agents' activity; agents always get theirs. */
static bool wants_mention(const struct document *recipient, const struct document *author)
{
    if (recipient->table != TABLE_USERS || author->table != TABLE_AGENTS)
        return true;
    const json_t *preferences = document_field(recipient, "notificationPreferences");
    return !json_is_false(json_object_get(preferences, "agentActivity"));
}

static void notify_of_message(struct store *store, struct document *message,
    const struct new_message *from, struct document *recipient, bool mentioned)
{
    struct text title = {0};
    struct text body = {0};
    text_printf(&title, mentioned ? "%s mentioned you" : "%s replied",
        document_string(from->author, "name"));
    text_printf(&body,
        mentioned ? "You were mentioned in task \"%s\"" : "New message in task \"%s\"",
        document_string(from->task, "title"));
    const struct new_notification notification = {
        .type = mentioned ? "mention" : "thread_update",
        .recipient = recipient,
        .task = from->task,
        .message = message,
        .title = title.data,
        .body = body.data,
    };
    const struct document *patched = NULL;
    if (store->version == BACKEND_V1 && !mentioned)
        patched = thread_rules_coalesce(store, &notification);
    if (patched == NULL)
        board_notify(store, &notification);
    else if (from->patched != NULL)
        json_array_append_new(from->patched, memory_json(json_string(patched->id)));
    text_fini(&title);
    text_fini(&body);
}

/* Whether the message notifies recipient (NULL: gone), whom it mentions. */
static bool gets_mention(
    const struct store *store, const struct new_message *from, const struct document *recipient)
{
    return recipient != NULL && wants_mention(recipient, from->author) &&
           (store->version == BACKEND_V0 || thread_rules_allow_mention(from, recipient));
}

/* Whether it notifies recipient (NULL: gone), who follows the thread. */
static bool gets_update(const struct store *store, const struct new_message *from,
    const json_t *mentions, const struct document *recipient)
{
    return recipient != NULL && recipient != from->author &&
           !is_mentioned(mentions, recipient->id) &&
           (store->version == BACKEND_V0 ||
               thread_rules_allow_update(store, from, mentions, recipient));
}

static void notify_mentioned(struct store *store, struct document *message,
    const struct new_message *from, const json_t *mentions)
{
    size_t index;
    const json_t *mention;
    json_array_foreach (mentions, index, mention) {
        struct document *recipient =
            find_actor(store, json_string_value(json_object_get(mention, "id")));
        if (gets_mention(store, from, recipient))
            notify_of_message(store, message, from, recipient, true);
    }
}

static void notify_subscribers(struct store *store, struct document *message,
    const struct new_message *from, const json_t *mentions)
{
    const struct document *subscription = NULL;
    TAILQ_FOREACH (subscription, &store_thread(store, from->task->id)->subscriptions, link) {
        struct document *recipient =
            find_actor(store, document_string(subscription, "subscriberId"));
        if (gets_update(store, from, mentions, recipient))
            notify_of_message(store, message, from, recipient, false);
    }
}

static void subscribe_mentioned(
    struct store *store, const struct document *task, const json_t *mentions)
{
    size_t index;
    const json_t *mention;
    json_array_foreach (mentions, index, mention) {
        subscribe_actor(store, task, json_string_value(json_object_get(mention, "type")),
            json_string_value(json_object_get(mention, "id")));
    }
}

static void touch_task(struct store *store, struct document *task)
{
    store_set(store, task, "updatedAt", board_now());
    store_set(store, task, "lastMessageAt", board_now());
}

static json_t *find_mentions(struct store *store, const struct new_message *from)
{
    if (store->version == BACKEND_V1)
        return thread_rules_mentions(store, from);
    return mentions_parse(store, document_string(from->task, "accountId"), from->author->id,
        json_string_value(from->content));
}

static void append_reader(json_t *readers, const struct document *reader, const char *type)
{
    json_array_append_new(readers, memory_json(json_pack("{s:s, s:s, s:s}", "id", reader->id,
                                       "kind", board_actor_kind(reader), "type", type)));
}

json_t *board_readers(struct store *store, const struct new_message *from)
{
    json_t *mentions = find_mentions(store, from);
    json_t *readers = memory_json(json_array());
    size_t index;
    const json_t *mention;
    json_array_foreach (mentions, index, mention) {
        const struct document *recipient =
            find_actor(store, json_string_value(json_object_get(mention, "id")));
        if (gets_mention(store, from, recipient))
            append_reader(readers, recipient, "mention");
    }
    const struct document *subscription = NULL;
    TAILQ_FOREACH (subscription, &store_thread(store, from->task->id)->subscriptions, link) {
        const struct document *recipient =
            find_actor(store, document_string(subscription, "subscriberId"));
        if (gets_update(store, from, mentions, recipient))
            append_reader(readers, recipient, "thread_update");
    }
    json_decref(mentions);
    return readers;
}

/* Mentioned users and agents are subscribed before anyone is notified, and get one notification. */
struct document *board_post(struct store *store, const struct new_message *from)
{
    const char *account_id = document_string(from->task, "accountId");
    json_t *mentions = find_mentions(store, from);
    json_t *fields = json_pack("{s:s, s:s, s:s, s:s, s:O, s:O, s:O*, s:s*, s:o}", "accountId",
        account_id, "taskId", from->task->id, "authorType", board_actor_kind(from->author),
        "authorId", from->author->id, "content", from->content, "mentions", mentions, "attachments",
        from->attachments, "sourceNotificationId", from->source, "createdAt", board_now());
    struct document *message = store_insert(store, TABLE_MESSAGES, fields, NULL);
    subscribe_actor(store, from->task, board_actor_kind(from->author), from->author->id);
    subscribe_mentioned(store, from->task, mentions);
    if (store->version == BACKEND_V1)
        touch_task(store, from->task);
    board_record_activity(store, "message_created", from->author, from->task, "posted a message");
    notify_mentioned(store, message, from, mentions);
    notify_subscribers(store, message, from, mentions);
    json_decref(mentions);
    return message;
}

struct document *board_notify_assigned(struct store *store, struct document *task,
    struct document *agent, const struct document *actor)
{
    struct text title = {0};
    struct text body = {0};
    text_printf(
        &title, "%s assigned you", actor == NULL ? "Somebody" : document_string(actor, "name"));
    text_printf(&body, "You were assigned to task \"%s\"", document_string(task, "title"));
    struct document *notification =
        board_notify(store, &(struct new_notification){.type = "assignment",
                                .recipient = agent,
                                .task = task,
                                .title = title.data,
                                .body = body.data});
    text_fini(&title);
    text_fini(&body);
    return notification;
}

void board_subscribe(
    struct store *store, const struct document *task, const struct document *subscriber)
{
    subscribe_actor(store, task, board_actor_kind(subscriber), subscriber->id);
}

void board_unsubscribe(struct store *store, const char *task_id, const char *subscriber_id)
{
    struct document *next;
    struct document_list *list = &store_thread(store, task_id)->subscriptions;
    for (struct document *at = TAILQ_FIRST(list); at != NULL; at = next) {
        next = TAILQ_NEXT(at, link);
        if (document_is(at, "subscriberId", subscriber_id))
            store_delete(store, at);
    }
}

void board_follow_assigned(
    struct store *store, const struct document *task, const struct document *agent)
{
    board_subscribe(store, task, agent);
    const struct document *orchestrator = store_get(
        store, TABLE_AGENTS, account_orchestrator(store, document_string(task, "accountId")));
    if (orchestrator != NULL)
        board_subscribe(store, task, orchestrator);
}

struct document *board_assign(struct store *store, struct document *task, struct document *agent,
    const struct document *actor)
{
    bool is_v1 = store->version == BACKEND_V1;
    if (is_v1 && id_list_contains(document_field(task, "assignedAgentIds"), agent->id))
        return NULL;
    json_t *assigned = json_incref(document_field(task, "assignedAgentIds"));
    json_array_append_new(assigned, memory_json(json_string(agent->id)));
    store_set(store, task, "assignedAgentIds", assigned);
    if (document_is(task, "status", "inbox"))
        store_set(store, task, "status", memory_json(json_string("assigned")));
    store_set(store, task, "updatedAt", board_now());
    if (is_v1)
        board_follow_assigned(store, task, agent);
    return board_notify_assigned(store, task, agent, actor);
}

void board_notify_status(struct store *store, const struct document *task,
    const struct document *actor, const struct document *except)
{
    const char *status = document_string(task, "status");
    struct text title = {0};
    struct text body = {0};
    text_printf(&title, "Task status changed to %s", status);
    text_printf(&body, "%s changed \"%s\" to %s",
        actor == NULL ? "Somebody" : document_string(actor, "name"), document_string(task, "title"),
        status);
    size_t index;
    const json_t *id;
    json_array_foreach (document_field(task, "assignedAgentIds"), index, id) {
        struct document *agent = store_get(store, TABLE_AGENTS, json_string_value(id));
        if (agent != NULL && agent != except)
            board_notify(store, &(struct new_notification){.type = "status_change",
                                    .recipient = agent,
                                    .task = task,
                                    .title = title.data,
                                    .body = body.data});
    }
    text_fini(&title);
    text_fini(&body);
}

void board_set_task_status(struct store *store, struct document *task, const char *status,
    const char *reason, const struct document *actor)
{
    if (store->version == BACKEND_V1) {
        json_t *meta = memory_json(json_pack(
            "{s:O, s:s}", "oldStatus", document_field(task, "status"), "newStatus", status));
        task_status_store(store, task, status, reason);
        activity_record(store, "task_status_changed", actor, task, meta);
        board_notify_status(store, task, actor, actor);
        return;
    }
    store_set(store, task, "status", memory_json_text(status));
    store_set(store, task, "updatedAt", board_now());
    board_notify_status(store, task, actor, NULL);
}

/* Whether a document refers to id by one of the fields that board_remove follows. */
static bool refers_to(const struct document *document, const char *id)
{
    static const char *const keys[] = {"recipientId", "subscriberId", "taskId", "messageId"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const char *value = document_string(document, keys[i]);
        if (value != NULL && strcmp(value, id) == 0)
            return true;
    }
    return false;
}

static size_t delete_references(struct store *store, enum table table, const char *id)
{
    size_t deleted = 0;
    struct document *next;
    for (struct document *at = TAILQ_FIRST(&store->tables[table]); at != NULL; at = next) {
        next = TAILQ_NEXT(at, siblings);
        if (!refers_to(at, id))
            continue;
        store_delete(store, at);
        deleted++;
    }
    return deleted;
}

static void unassign_agent(struct store *store, const char *agent_id)
{
    struct document *task = NULL;
    TAILQ_FOREACH (task, &store->tables[TABLE_TASKS], siblings) {
        json_t *kept = memory_json(json_array());
        size_t index;
        json_t *id;
        json_array_foreach (document_field(task, "assignedAgentIds"), index, id) {
            if (strcmp(json_string_value(id), agent_id) != 0)
                json_array_append(kept, id);
        }
        store_set(store, task, "assignedAgentIds", kept);
    }
}

size_t board_remove(struct store *store, struct document *document)
{
    static const enum table referring[] = {
        TABLE_NOTIFICATIONS, TABLE_SUBSCRIPTIONS, TABLE_MESSAGES};
    size_t removed = 1;
    for (size_t i = 0; i < sizeof referring / sizeof *referring; i++)
        removed += delete_references(store, referring[i], document->id);
    if (document->table == TABLE_AGENTS)
        unassign_agent(store, document->id);
    store_delete(store, document);
    return removed;
}
