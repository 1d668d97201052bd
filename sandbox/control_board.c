/*
 * Control routes that act as people do on the board: post, assign, change a status, notify,
 * delete, edit. The posting routes share board.c with the backend's own functions, so both notify
 * by the same rules. control_delete and control_set can leave dangling references on purpose: the
 * runtime has to cope with those.
 */
#include "answer.h"
#include "base/json.h"
#include "board.h"
#include "board_find.h"
#include "control.h"
#include "memory.h"
#include "task_status.h"

/* Returns the document that body[key] names; NULL with exchange answered when there is none. */
static struct document *find_or_refuse(struct sandbox *sandbox, struct exchange *exchange,
    const json_t *body, const char *key, enum table table)
{
    struct document *document = board_find(&sandbox->store, table, json_guard_string(body, key));
    if (document == NULL)
        answer_refusal(
            exchange, 404, "NotFound", "%s matches nothing in %s", key, table_name(table));
    return document;
}

/*
 * Reads what a request says about a message: task, content and, as a name, author. false with
 * exchange answered if something is wrong.
 */
static bool read_message(struct sandbox *sandbox, struct exchange *exchange, const json_t *body,
    struct new_message *message)
{
    message->task = find_or_refuse(sandbox, exchange, body, "task", TABLE_TASKS);
    if (message->task == NULL)
        return false;
    message->author = board_author(sandbox, json_guard_string(body, "author"));
    message->content = json_object_get(body, "content");
    if (message->author != NULL && json_is_string(message->content))
        return true;
    answer_refusal(exchange, 400, "BadValue", "author must exist, content must be a string");
    return false;
}

void control_readers(struct sandbox *sandbox, struct exchange *exchange, const json_t *body)
{
    struct new_message message = {0};
    if (read_message(sandbox, exchange, body, &message))
        answer_json(
            exchange, 200, json_pack("{s:o}", "readers", board_readers(&sandbox->store, &message)));
}

/*
 * Returns the ids of the notifications that the message created, which are those appended to the
 * table, and in version 1 of those that it patched.
 */
void control_message(struct sandbox *sandbox, struct exchange *exchange, const json_t *body)
{
    struct new_message from = {0};
    if (!read_message(sandbox, exchange, body, &from))
        return;
    const struct document *before =
        TAILQ_LAST(&sandbox->store.tables[TABLE_NOTIFICATIONS], document_list);
    from.patched = sandbox->store.version == BACKEND_V1 ? memory_json(json_array()) : NULL;
    const struct document *message = board_post(&sandbox->store, &from);
    json_t *notifications = memory_json(json_array());
    const struct document *made = before == NULL
                                      ? TAILQ_FIRST(&sandbox->store.tables[TABLE_NOTIFICATIONS])
                                      : TAILQ_NEXT(before, siblings);
    for (; made != NULL; made = TAILQ_NEXT(made, siblings))
        json_array_append_new(notifications, memory_json(json_string(made->id)));
    answer_json(exchange, 200,
        json_pack("{s:s, s:o, s:o*}", "id", message->id, "notifications", notifications, "patched",
            from.patched));
}

void control_assign(struct sandbox *sandbox, struct exchange *exchange, const json_t *body)
{
    struct document *task = find_or_refuse(sandbox, exchange, body, "task", TABLE_TASKS);
    struct document *agent =
        task == NULL ? NULL : find_or_refuse(sandbox, exchange, body, "agent", TABLE_AGENTS);
    if (agent == NULL)
        return;
    const struct document *notification =
        board_assign(&sandbox->store, task, agent, sandbox_user(sandbox));
    answer_json(exchange, 200,
        json_pack("{s:s?}", "notification", notification == NULL ? NULL : notification->id));
}

/* Version 1 keeps to the statuses that it has; version 0 takes any, for tests of unknown ones. */
static bool accepts_status(const struct sandbox *sandbox, const char *status)
{
    return sandbox->store.version == BACKEND_V0 || task_status_is_in(task_statuses, status);
}

void control_status(struct sandbox *sandbox, struct exchange *exchange, const json_t *body)
{
    struct document *task = find_or_refuse(sandbox, exchange, body, "task", TABLE_TASKS);
    if (task == NULL)
        return;
    const char *status = json_guard_string(body, "status");
    if (status == NULL) {
        answer_refusal(exchange, 400, "BadValue", "status must be a string");
        return;
    }
    if (!accepts_status(sandbox, status)) {
        answer_refusal(exchange, 400, "BadValue", "%s is not a status of a task", status);
        return;
    }
    board_set_task_status(
        &sandbox->store, task, status, json_guard_string(body, "reason"), sandbox_user(sandbox));
    answer_json(exchange, 200, json_pack("{s:s}", "id", task->id));
}

void control_notify(struct sandbox *sandbox, struct exchange *exchange, const json_t *body)
{
    struct document *agent = find_or_refuse(sandbox, exchange, body, "agent", TABLE_AGENTS);
    struct document *task =
        agent == NULL ? NULL : find_or_refuse(sandbox, exchange, body, "task", TABLE_TASKS);
    if (task == NULL)
        return;
    double created_ms = 0;
    json_guard_number(json_object_get(body, "createdAt"), 1, 1e15, &created_ms);
    const struct document *notification = board_notify(&sandbox->store,
        &(struct new_notification){.type = control_string(body, "type", "assignment"),
            .recipient = agent,
            .task = task,
            .message =
                store_get(&sandbox->store, TABLE_MESSAGES, json_guard_string(body, "message")),
            .title = control_string(body, "title", "Ada assigned you"),
            .body = control_string(body, "body", "There is something to do in the task."),
            .created_ms = created_ms});
    answer_json(exchange, 200, json_pack("{s:s}", "id", notification->id));
}

void control_delete(struct sandbox *sandbox, struct exchange *exchange, const json_t *body)
{
    struct store *store = &sandbox->store;
    const char *id = json_guard_string(body, "id");
    struct document *document = id == NULL ? NULL : map_get(&store->by_id, id);
    if (document == NULL) {
        answer_refusal(exchange, 404, "NotFound", "id matches no document");
        return;
    }
    size_t deleted = 1;
    if (json_is_true(json_object_get(body, "cascade")))
        deleted = board_remove(store, document);
    else
        store_delete(store, document);
    answer_json(exchange, 200, json_pack("{s:I}", "deleted", (json_int_t)deleted));
}

/* Fields that the store's lists and indexes are built on: changing one would corrupt them. */
static bool is_indexed_field(const char *key)
{
    static const char *const fixed[] = {"_id", "_creationTime", "accountId", "createdAt",
        "deliveredAt", "recipientType", "sourceNotificationId"};
    for (size_t i = 0; i < sizeof fixed / sizeof *fixed; i++)
        if (strcmp(fixed[i], key) == 0)
            return true;
    return false;
}

/* Whether a field may be set to value. null removes it, unless the sandbox itself relies on it. */
static bool may_set_field(const struct document *document, const char *key, const json_t *value)
{
    static const char *const needed[] = {"slug", "name", "title", "status", "content", "type",
        "subscriberId", "sessionKey", "email", NULL};
    if (is_indexed_field(key))
        return false;
    if (!json_is_null(value))
        return board_accepts(document_field(document, key), value);
    for (size_t i = 0; needed[i] != NULL; i++)
        if (strcmp(needed[i], key) == 0)
            return false;
    return true;
}

/* Checks all fields before it sets any, so that a refused request changes nothing. */
void control_set(struct sandbox *sandbox, struct exchange *exchange, const json_t *body)
{
    const char *id = json_guard_string(body, "id");
    struct document *document = id == NULL ? NULL : map_get(&sandbox->store.by_id, id);
    json_t *fields = json_object_get(body, "fields");
    const char *key;
    json_t *value;
    if (document == NULL || !json_is_object(fields)) {
        answer_refusal(
            exchange, 404, "NotFound", "id must match a document and fields must be an object");
        return;
    }
    json_object_foreach (fields, key, value) {
        if (!may_set_field(document, key, value)) {
            answer_refusal(exchange, 400, "BadValue", "%s cannot be set to that value", key);
            return;
        }
    }
    json_object_foreach (fields, key, value) {
        store_set(&sandbox->store, document, key, json_is_null(value) ? NULL : json_incref(value));
    }
    struct text text = {0};
    document_write(document, &text);
    answer_json_text(exchange, 200, &text);
}
