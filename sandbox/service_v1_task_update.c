/*
 * updateTaskFromAgent of version 1. It is not atomic: it makes its changes one after the other, and
 * those before the first that is refused stay. Assignees are replaced, not added, and nobody is
 * notified of it.
 */
#include "activity.h"
#include "board.h"
#include "id_list.h"
#include "memory.h"
#include "service_v1.h"
#include "task_status.h"

/* The fields of a task that updateTaskFromAgent changes, besides its status. */
static const char *const plain_fields[] = {
    "title", "description", "priority", "labels", "dueDate", NULL};
static const char *const assignee_fields[] = {"assignedAgentIds", "assignedUserIds", NULL};

/* An update in progress. */
struct update {
    struct service_call *call;
    const struct document *agent;
    struct document *task;
    json_t *changed; /* names of the fields changed so far */
};

static bool has_any(const struct service_call *call, const char *const *names)
{
    for (; *names != NULL; names++)
        if (json_object_get(call->arguments, *names) != NULL)
            return true;
    return false;
}

static bool check_users(struct service_call *call, const json_t *ids)
{
    size_t index;
    const json_t *id;
    json_array_foreach (ids, index, id) {
        const struct document *user =
            store_get(&call->sandbox->store, TABLE_USERS, json_string_value(id));
        if (user != NULL && service_owns(call, user))
            continue;
        service_fail(
            call, "Invalid user: %s is not a member of this account", json_string_value(id));
        return false;
    }
    return true;
}

static bool check_priority(struct service_call *call)
{
    const json_t *priority = json_object_get(call->arguments, "priority");
    double value = json_number_value(priority);
    if (priority == NULL || (value >= 1 && value <= 5))
        return true;
    service_fail(call, "Invalid priority: must be between 1 (highest) and 5 (lowest)");
    return false;
}

static bool check_update_status(struct service_call *call)
{
    const char *status = service_argument(call, "status");
    const char *reason = service_argument(call, "blockedReason");
    if (status == NULL)
        return true;
    if (!task_status_is_in(task_agent_statuses, status)) {
        service_fail(call, "Invalid status: must be in_progress, review, done, or blocked");
        return false;
    }
    bool has_reason = reason != NULL && text_trim(reason, strlen(reason)).length_bytes > 0;
    if (strcmp(status, "blocked") != 0 || has_reason)
        return true;
    service_fail(call, "blockedReason is required when status is 'blocked'");
    return false;
}

static void note_changed(struct update *update, const char *name)
{
    json_array_append_new(update->changed, memory_json(json_string(name)));
}

static bool change_status(struct update *update)
{
    const char *status = service_argument(update->call, "status");
    if (status == NULL || strcmp(status, document_string(update->task, "status")) == 0)
        return true;
    if (!service_move_task(update->call, update->task, update->agent, status,
            service_argument(update->call, "blockedReason")))
        return false;
    note_changed(update, "status");
    return true;
}

/* Checks that the assignees after the update suffice for the task's status. */
static bool check_enough_assignees(struct update *update)
{
    size_t count = 0;
    for (const char *const *name = assignee_fields; *name != NULL; name++) {
        const json_t *given = json_object_get(update->call->arguments, *name);
        count += json_array_size(given != NULL ? given : document_field(update->task, *name));
    }
    const char *status = document_string(update->task, "status");
    bool needs_one = strcmp(status, "assigned") == 0 || strcmp(status, "in_progress") == 0;
    if (count > 0 || !needs_one)
        return true;
    service_fail(
        update->call, "Invalid assignees: status '%s' requires at least one assignee", status);
    return false;
}

static void follow(struct update *update, const char *id)
{
    struct store *store = &update->call->sandbox->store;
    const struct document *agent = store_get(store, TABLE_AGENTS, id);
    if (agent != NULL)
        board_follow_assigned(store, update->task, agent);
    else
        board_subscribe(store, update->task, store_get(store, TABLE_USERS, id));
}

/* Subscribes the assignees that are new to the task, and unsubscribes those that leave it. */
static void move_subscriptions(struct update *update, const json_t *before, const json_t *after)
{
    json_t *left = id_list_without(before, after);
    json_t *joined = id_list_without(after, before);
    size_t index;
    const json_t *id;
    json_array_foreach (left, index, id) {
        board_unsubscribe(&update->call->sandbox->store, update->task->id, json_string_value(id));
    }
    json_array_foreach (joined, index, id) {
        follow(update, json_string_value(id));
    }
    json_decref(left);
    json_decref(joined);
}

static bool change_assignees(struct update *update)
{
    struct service_call *call = update->call;
    struct store *store = &call->sandbox->store;
    if (!has_any(call, assignee_fields))
        return true;
    if (!service_check_agents(call, json_object_get(call->arguments, "assignedAgentIds")) ||
        !check_users(call, json_object_get(call->arguments, "assignedUserIds")) ||
        !check_enough_assignees(update))
        return false;
    for (const char *const *name = assignee_fields; *name != NULL; name++) {
        const json_t *given = json_object_get(call->arguments, *name);
        if (given == NULL)
            continue;
        json_t *before = json_incref(document_field(update->task, *name));
        json_t *after = id_list_merge(NULL, given);
        move_subscriptions(update, before, after);
        store_set(store, update->task, *name, after);
        json_decref(before);
        note_changed(update, *name);
    }
    return true;
}

static void change_plain_fields(struct update *update)
{
    struct service_call *call = update->call;
    for (const char *const *name = plain_fields; *name != NULL; name++) {
        json_t *given = json_object_get(call->arguments, *name);
        if (given == NULL)
            continue;
        const char *string = json_string_value(given);
        struct text_span trimmed = {0};
        if (string != NULL)
            trimmed = text_trim(string, strlen(string));
        store_set(&call->sandbox->store, update->task, *name,
            string == NULL ? json_incref(given)
                           : memory_json(json_stringn(trimmed.bytes, trimmed.length_bytes)));
        note_changed(update, *name);
    }
}

/* With assignees, a status of in_progress comes second, as it requires them; any other first. */
static bool make_changes(struct update *update)
{
    const char *status = service_argument(update->call, "status");
    bool assignees_first = status != NULL && strcmp(status, "in_progress") == 0;
    if (assignees_first && !change_assignees(update))
        return false;
    if (!change_status(update))
        return false;
    if (!assignees_first && !change_assignees(update))
        return false;
    change_plain_fields(update);
    return true;
}

static void apply_update(struct update *update)
{
    struct service_call *call = update->call;
    static const char *const status_field[] = {"status", NULL};
    update->changed = memory_json(json_array());
    bool changes = has_any(call, plain_fields) || has_any(call, assignee_fields) ||
                   has_any(call, status_field);
    bool valid = !changes || (check_priority(call) && check_update_status(call));
    if (valid && make_changes(update)) {
        if (json_array_size(update->changed) > 0) {
            store_set(&call->sandbox->store, update->task, "updatedAt", board_now());
            activity_record(
                &call->sandbox->store, "task_updated", update->agent, update->task, NULL);
        }
        service_answer(call,
            json_pack("{s:s, s:O}", "taskId", update->task->id, "changedFields", update->changed));
    }
    json_decref(update->changed);
}

void service_v1_update_task(struct service_call *call)
{
    if (!service_check_reason(call))
        return;
    const struct document *agent =
        service_agent_allowed(call, "canModifyTaskStatus", "Agent is not allowed to modify tasks");
    if (agent == NULL || !service_check_texts(call))
        return;
    struct document *task = service_task(call);
    if (task != NULL)
        apply_update(&(struct update){.call = call, .agent = agent, .task = task});
}
