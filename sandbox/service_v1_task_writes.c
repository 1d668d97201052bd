/*
 * Service actions of version 1 by which agents make, assign, archive and link tasks. Who is
 * assigned is notified and follows the thread from then on.
 */
#include "account.h"
#include "activity.h"
#include "board.h"
#include "id_list.h"
#include "memory.h"
#include "service_v1.h"
#include "task_status.h"

enum { MAX_TITLE_UNITS = 2000, MAX_DESCRIPTION_UNITS = 100000, MAX_REASON_UNITS = 2000 };

static const double DEFAULT_PRIORITY = 3;

bool service_check_reason(struct service_call *call)
{
    return service_check_length(
        call, "blockedReason", MAX_REASON_UNITS, "blockedReason must be at most 2000 characters");
}

bool service_check_texts(struct service_call *call)
{
    return service_check_length(
               call, "title", MAX_TITLE_UNITS, "Title too long (max 2000 characters)") &&
           service_check_length(call, "description", MAX_DESCRIPTION_UNITS,
               "Description too long (max 100000 characters)");
}

bool service_check_agents(struct service_call *call, const json_t *ids)
{
    size_t index;
    const json_t *id;
    json_array_foreach (ids, index, id) {
        const struct document *agent =
            store_get(&call->sandbox->store, TABLE_AGENTS, json_string_value(id));
        if (agent != NULL && service_owns(call, agent))
            continue;
        service_fail(call, "Invalid agent: %s", json_string_value(id));
        return false;
    }
    return true;
}

/* The status that a new task gets: one with assignees does not stay in the inbox. */
static const char *initial_status(const struct service_call *call, const json_t *assigned)
{
    const char *status = service_argument(call, "status");
    if (status != NULL && strcmp(status, "inbox") != 0)
        return status;
    return json_array_size(assigned) > 0 ? "assigned" : "inbox";
}

/* The assignees of a new task as a new array; a task to be worked on falls to its creator. */
static json_t *initial_assignees(const struct service_call *call, const struct document *agent)
{
    json_t *assigned = id_list_merge(NULL, json_object_get(call->arguments, "assignedAgentIds"));
    const char *status = initial_status(call, assigned);
    bool needs_one = strcmp(status, "assigned") == 0 || strcmp(status, "in_progress") == 0;
    if (needs_one && json_array_size(assigned) == 0)
        json_array_append_new(assigned, memory_json(json_string(agent->id)));
    return assigned;
}

static json_t *argument_or(const struct service_call *call, const char *name, json_t *fallback)
{
    json_t *given = json_object_get(call->arguments, name);
    if (given == NULL)
        return fallback;
    json_decref(fallback);
    return json_incref(given);
}

static struct document *add_task(
    struct service_call *call, const struct document *agent, const char *status, json_t *assigned)
{
    const json_t *arguments = call->arguments;
    bool blocked = strcmp(status, "blocked") == 0;
    bool archived = strcmp(status, "archived") == 0;
    return store_insert(&call->sandbox->store, TABLE_TASKS,
        json_pack("{s:s, s:O, s:O*, s:s, s:o, s:[], s:O, s:o, s:O*, s:O*, s:o*, s:s, s:f, s:f}",
            "accountId", call->account->id, "title", json_object_get(arguments, "title"),
            "description", json_object_get(arguments, "description"), "status", status, "priority",
            argument_or(call, "priority", memory_json(json_real(DEFAULT_PRIORITY))),
            "assignedUserIds", "assignedAgentIds", assigned, "labels",
            argument_or(call, "labels", memory_json(json_array())), "dueDate",
            json_object_get(arguments, "dueDate"), "blockedReason",
            blocked ? json_object_get(arguments, "blockedReason") : NULL, "archivedAt",
            archived ? json_real(call->now_ms) : NULL, "createdBy", agent->id, "createdAt",
            call->now_ms, "updatedAt", call->now_ms),
        NULL);
}

static void announce_assignees(struct service_call *call, struct document *task,
    const json_t *assigned, const struct document *actor)
{
    struct store *store = &call->sandbox->store;
    size_t index;
    const json_t *id;
    json_array_foreach (assigned, index, id) {
        struct document *agent = store_get(store, TABLE_AGENTS, json_string_value(id));
        board_follow_assigned(store, task, agent);
        board_notify_assigned(store, task, agent, actor);
    }
}

/* Makes the task unless its status is impossible; takes assigned. */
static void create_with_status(
    struct service_call *call, const struct document *agent, const char *status, json_t *assigned)
{
    const char *obstacle = task_status_obstacle(
        status, json_array_size(assigned) > 0, service_argument(call, "blockedReason"));
    if (obstacle != NULL) {
        service_fail(call, "Invalid status at creation: %s", obstacle);
        return;
    }
    struct document *task = add_task(call, agent, status, assigned);
    activity_record(&call->sandbox->store, "task_created", agent, task, NULL);
    announce_assignees(call, task, assigned, agent);
    service_answer(call, json_pack("{s:s}", "taskId", task->id));
}

void service_v1_create_task(struct service_call *call)
{
    if (!service_check_reason(call))
        return;
    const struct document *agent =
        service_agent_allowed(call, "canCreateTasks", "Agent is not allowed to create tasks");
    if (agent == NULL || !service_check_texts(call) ||
        !service_check_agents(call, json_object_get(call->arguments, "assignedAgentIds")))
        return;
    json_t *assigned = initial_assignees(call, agent);
    create_with_status(call, agent, initial_status(call, assigned), assigned);
    json_decref(assigned);
}

/* An agent of the task that was deleted since makes every assignment fail. */
void service_v1_assign_task(struct service_call *call)
{
    struct store *store = &call->sandbox->store;
    const struct document *agent = service_orchestrator(call, "assign agents");
    struct document *task = agent == NULL ? NULL : service_task(call);
    if (task == NULL)
        return;
    json_t *before = json_incref(document_field(task, "assignedAgentIds"));
    const json_t *given = json_object_get(call->arguments, "assignedAgentIds");
    json_t *merged = id_list_merge(before, given);
    json_t *added = id_list_without(merged, before);
    if (service_check_agents(call, merged)) {
        store_set(store, task, "assignedAgentIds", json_incref(merged));
        store_set(store, task, "updatedAt", board_now());
        if (json_array_size(given) > 0 && document_is(task, "status", "inbox"))
            board_set_task_status(store, task, "in_progress", NULL, agent);
        announce_assignees(call, task, added, agent);
        service_answer(call, json_pack("{s:s}", "taskId", task->id));
    }
    json_decref(before);
    json_decref(merged);
    json_decref(added);
}

void service_v1_delete_task(struct service_call *call)
{
    const struct document *agent = service_orchestrator(call, "archive/delete tasks");
    if (agent == NULL || !service_check_length(call, "reason", MAX_REASON_UNITS,
                             "reason must be at most 2000 characters"))
        return;
    struct document *task = service_task(call);
    if (task == NULL)
        return;
    activity_record(&call->sandbox->store, "task_archived", agent, task,
        memory_json(json_pack("{s:s}", "reason", service_argument(call, "reason"))));
    task_status_store(&call->sandbox->store, task, "archived", NULL);
    service_answer_success(call);
}

void service_v1_link_task(struct service_call *call)
{
    const struct document *agent = service_orchestrator(call, "link tasks to PRs");
    struct document *task = agent == NULL ? NULL : service_task(call);
    if (task == NULL)
        return;
    store_set(&call->sandbox->store, task, "metadata",
        memory_json(json_pack("{s:O}", "prNumber", json_object_get(call->arguments, "prNumber"))));
    service_answer_success(call);
}
