/*
 * Service actions of version 1 that read tasks, for heartbeats and tools. Their orders and limits
 * are those of the backend, which are not the obvious ones: some lists are cut before they are
 * ordered, some limits count from the end when negative, and some refuse fractions. A runtime has
 * to cope with them, so they are kept.
 */
#include <math.h>

#include "activity.h"
#include "id_list.h"
#include "memory.h"
#include "rows.h"
#include "service_v1.h"
#include "task_status.h"

enum { NEWEST_PER_STATUS = 29, LOOKED_AT_PER_ROW = 10, MAX_LOOKED_AT = 200 };

static const double TASK_LIMIT = 50;
static const double MAX_TASK_LIMIT = 200;
static const double SEARCH_LIMIT = 20;
static const double MAX_SEARCH_LIMIT = 100;

static void add_account_tasks(struct service_call *call, struct rows *tasks)
{
    rows_add_account(tasks, &call->sandbox->store, TABLE_TASKS, call->account->id);
}

/* Adds the account's newest tasks of a status, newest first, at most limit. */
static void add_newest(
    struct service_call *call, const char *status, size_t limit, struct rows *tasks)
{
    size_t left = limit;
    struct document *task = NULL;
    TAILQ_FOREACH_REVERSE(task, &call->sandbox->store.tables[TABLE_TASKS], document_list, siblings)
    {
        if (left == 0)
            return;
        if (!service_owns(call, task) || !document_is(task, "status", status))
            continue;
        rows_add(tasks, task);
        left--;
    }
}

/* Keeps the tasks that are assigned to the agent; NULL keeps all. */
static void keep_assigned(struct rows *tasks, const char *agent_id)
{
    size_t kept = 0;
    for (size_t i = 0; agent_id != NULL && i < tasks->count; i++)
        if (id_list_contains(document_field(tasks->items[i], "assignedAgentIds"), agent_id))
            tasks->items[kept++] = tasks->items[i];
    if (agent_id != NULL)
        tasks->count = kept;
}

static void answer_tasks(struct service_call *call, struct rows *tasks, size_t count)
{
    rows_cut(tasks, count);
    rows_write(tasks, &call->value);
    rows_fini(tasks);
}

void service_v1_list_assigned(struct service_call *call)
{
    const struct document *agent = service_agent(call);
    if (agent == NULL)
        return;
    bool include_done = json_is_true(json_object_get(call->arguments, "includeDone"));
    struct rows all = {0};
    struct rows tasks = {0};
    add_account_tasks(call, &all);
    keep_assigned(&all, agent->id);
    for (size_t i = 0; i < all.count; i++)
        if (include_done || !document_is(all.items[i], "status", "done"))
            rows_add(&tasks, all.items[i]);
    rows_fini(&all);
    rows_sort(&tasks, "updatedAt");
    answer_tasks(call, &tasks,
        service_slice(service_limit(call, "limit", TASK_LIMIT, MAX_TASK_LIMIT), tasks.count));
}

/* The newest tasks of each status, not those updated last, are ordered by their last update. */
void service_v1_list_tracked(struct service_call *call)
{
    const json_t *statuses = json_object_get(call->arguments, "statuses");
    size_t limit = 0;
    if (json_array_size(statuses) > 0 &&
        !service_take(call, service_limit(call, "limit", TASK_LIMIT, MAX_TASK_LIMIT), &limit))
        return;
    struct rows tasks = {0};
    size_t index;
    const json_t *status;
    json_array_foreach (statuses, index, status) {
        add_newest(call, json_string_value(status), limit, &tasks);
    }
    rows_sort(&tasks, "updatedAt");
    answer_tasks(call, &tasks, limit);
}

/* Collects the tasks that a list of one agent's tasks looks at, and orders them. */
static void add_tasks_of_assignee(
    struct service_call *call, const char *status, double limit, struct rows *tasks)
{
    double looked_at = fmin(LOOKED_AT_PER_ROW * limit, MAX_LOOKED_AT);
    if (status != NULL) {
        add_newest(call, status, (size_t)looked_at, tasks);
        return;
    }
    for (const char *const *each = task_statuses; *each != NULL; each++)
        add_newest(call, *each, NEWEST_PER_STATUS, tasks);
    rows_sort(tasks, "updatedAt");
}

void service_v1_list_tasks(struct service_call *call)
{
    double limit = service_limit(call, "limit", TASK_LIMIT, MAX_TASK_LIMIT);
    size_t count;
    if (service_orchestrator(call, "list tasks") == NULL ||
        !service_take(call, limit < 0 ? limit : floor(limit), &count))
        return;
    const char *status = service_argument(call, "status");
    const char *assignee = service_argument(call, "assigneeAgentId");
    struct rows tasks = {0};
    if (assignee != NULL) {
        add_tasks_of_assignee(call, status, limit, &tasks);
        keep_assigned(&tasks, assignee);
    } else if (status != NULL) {
        add_newest(call, status, count, &tasks);
    } else {
        add_account_tasks(call, &tasks);
        rows_sort(&tasks, "_creationTime");
    }
    answer_tasks(call, &tasks, count);
}

void service_v1_get_task(struct service_call *call)
{
    if (service_orchestrator(call, "get tasks") == NULL)
        return;
    struct document *task =
        store_get(&call->sandbox->store, TABLE_TASKS, service_argument(call, "taskId"));
    if (task != NULL && service_owns(call, task))
        document_write(task, &call->value);
}

static bool field_holds(const struct document *task, const char *key, const char *query)
{
    const char *value = document_string(task, key);
    return value != NULL && strcasestr(value, query) != NULL;
}

/* Returns a search result as a new object with its score; NULL for a task that does not match. */
static json_t *describe_result(const struct document *task, const char *query)
{
    static const char *const keys[] = {"_id", "title", "status", "priority", "blockedReason",
        "assignedAgentIds", "assignedUserIds", "createdAt", "updatedAt"};
    int score = 3 * field_holds(task, "title", query) +
                2 * field_holds(task, "description", query) +
                field_holds(task, "blockedReason", query);
    if (score == 0)
        return NULL;
    json_t *json = memory_json(json_pack("{s:f}", "relevanceScore", (double)score));
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (document_field(task, keys[i]) != NULL)
            json_object_set(json, keys[i], document_field(task, keys[i]));
    return json;
}

/* Inserts a result, which it takes, behind those of the same or a higher score. */
static void insert_result(json_t *results, json_t *result)
{
    double score = json_number_value(json_object_get(result, "relevanceScore"));
    size_t at = json_array_size(results);
    while (at > 0 && json_number_value(json_object_get(
                         json_array_get(results, at - 1), "relevanceScore")) < score)
        at--;
    json_array_insert_new(results, at, result);
}

void service_v1_search_tasks(struct service_call *call)
{
    if (service_orchestrator(call, "search tasks") == NULL)
        return;
    char *query = memory_copy_trimmed(service_argument(call, "query"));
    json_t *results = memory_json(json_array());
    struct rows tasks = {0};
    if (*query != '\0')
        add_account_tasks(call, &tasks);
    for (size_t i = 0; i < tasks.count; i++) {
        json_t *result = describe_result(tasks.items[i], query);
        if (result != NULL)
            insert_result(results, result);
    }
    size_t count = service_slice(
        service_limit(call, "limit", SEARCH_LIMIT, MAX_SEARCH_LIMIT), json_array_size(results));
    while (json_array_size(results) > count)
        json_array_remove(results, count);
    rows_fini(&tasks);
    free(query);
    service_answer(call, results);
}

/* Reads a limit that is raised to min, lowered to max, and must not be a fraction. */
static bool take_within(struct service_call *call, const char *name, double fallback, double min,
    double max, size_t *count)
{
    return service_take(call, fmax(min, service_limit(call, name, fallback, max)), count);
}

void service_v1_load_task(struct service_call *call)
{
    const struct document *agent = service_agent(call);
    const struct document *task = agent == NULL ? NULL : service_task(call);
    size_t limit;
    if (task == NULL || !take_within(call, "messageLimit", 10, 1, 200, &limit))
        return;
    service_answer(call, json_pack("{s:O, s:o}", "task", task->fields, "thread",
                             service_thread(call, task->id, limit, 0)));
}

void service_v1_get_history(struct service_call *call)
{
    const struct document *agent = service_agent(call);
    const struct document *task = agent == NULL ? NULL : service_task(call);
    size_t messages;
    size_t activities;
    if (task == NULL || !take_within(call, "messageLimit", 25, 1, 200, &messages) ||
        !take_within(call, "activityLimit", 30, 0, 200, &activities))
        return;
    service_answer(call,
        json_pack("{s:O, s:o, s:o, s:{s:f, s:f}}", "task", task->fields, "messages",
            service_thread(call, task->id, messages, 0), "activities",
            activity_history(&call->sandbox->store, task->id, activities), "meta",
            "messageLimitApplied", (double)messages, "activityLimitApplied", (double)activities));
}
