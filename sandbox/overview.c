/* Counts and samples the tasks of an account by status, as the orchestrator's chat shows them. */
#include "overview.h"

#include "memory.h"
#include "rows.h"

enum { MAX_COUNT = 100, TOP_TASKS = 3 };

static const char *const statuses[] = {"inbox", "assigned", "in_progress", "review", "blocked"};

static json_t *describe_top_task(const struct document *task)
{
    return memory_json(json_pack("{s:s, s:O, s:O, s:O?, s:O?, s:O?}", "taskId", task->id, "title",
        document_field(task, "title"), "status", document_field(task, "status"), "priority",
        document_field(task, "priority"), "assignedAgentIds",
        document_field(task, "assignedAgentIds"), "assignedUserIds",
        document_field(task, "assignedUserIds")));
}

/* Adds the status to both lists. tasks are all of the account, oldest first. */
static void add_status(
    const struct rows *tasks, const char *status, json_t *totals, json_t *top_tasks)
{
    json_t *top = memory_json(json_array());
    json_int_t count = 0;
    for (size_t i = tasks->count; i-- > 0;) {
        const struct document *task = tasks->items[i];
        if (!document_is(task, "status", status) || count == MAX_COUNT)
            continue;
        count++;
        if (json_array_size(top) < TOP_TASKS)
            json_array_append_new(top, describe_top_task(task));
    }
    json_array_append_new(
        totals, memory_json(json_pack("{s:s, s:f}", "status", status, "count", (double)count)));
    json_array_append_new(
        top_tasks, memory_json(json_pack("{s:s, s:o}", "status", status, "tasks", top)));
}

json_t *overview_describe(const struct store *store, const char *account_id)
{
    struct rows tasks = {0};
    json_t *totals = memory_json(json_array());
    json_t *top_tasks = memory_json(json_array());
    rows_add_account(&tasks, store, TABLE_TASKS, account_id);
    for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++)
        add_status(&tasks, statuses[i], totals, top_tasks);
    rows_fini(&tasks);
    return memory_json(json_pack("{s:o, s:o}", "totals", totals, "topTasks", top_tasks));
}
