/*
 * Statuses of tasks. The table of transitions is that of the backend, for agents and users alike.
 * An agent names only where a task shall end, and the backend walks there step by step; the steps
 * in between are statuses that an agent may set.
 */
#include "task_status.h"

#include "board.h"
#include "memory.h"
#include "sessions.h"

const char *const task_statuses[] = {
    "inbox", "assigned", "in_progress", "review", "done", "blocked", "archived", NULL};
const char *const task_agent_statuses[] = {"in_progress", "review", "done", "blocked", NULL};

static const struct {
    const char *from;
    const char *to[5];
} transitions[] = {
    {"inbox", {"assigned", "archived"}},
    {"assigned", {"in_progress", "blocked", "inbox", "archived"}},
    {"in_progress", {"review", "blocked", "archived"}},
    {"review", {"done", "in_progress", "blocked", "archived"}},
    {"done", {"archived"}},
    {"blocked", {"assigned", "in_progress", "archived"}},
};

bool task_status_is_in(const char *const *list, const char *status)
{
    while (*list != NULL && strcmp(*list, status) != 0)
        list++;
    return *list != NULL;
}

static bool may_follow(const char *from, const char *to)
{
    for (size_t i = 0; i < sizeof transitions / sizeof *transitions; i++)
        if (strcmp(transitions[i].from, from) == 0)
            return task_status_is_in(transitions[i].to, to);
    return false;
}

/* Whether exactly that number of steps leads from one status to the other. */
static bool leads_to(const char *from, const char *to, int steps)
{
    if (steps == 1)
        return may_follow(from, to);
    for (const char *const *by = task_agent_statuses; *by != NULL; by++)
        if (may_follow(from, *by) && leads_to(*by, to, steps - 1))
            return true;
    return false;
}

const char *task_status_next_step(const char *from, const char *to)
{
    enum { MAX_STEPS = 4 };
    if (may_follow(from, to))
        return to;
    for (int steps = 2; steps <= MAX_STEPS; steps++)
        for (const char *const *by = task_agent_statuses; *by != NULL; by++)
            if (may_follow(from, *by) && leads_to(*by, to, steps - 1))
                return *by;
    return NULL;
}

const char *task_status_obstacle(const char *status, bool has_assignees, const char *reason)
{
    if (strcmp(status, "assigned") == 0 && !has_assignees)
        return "Cannot move to 'assigned' without at least one assignee";
    if (strcmp(status, "inbox") == 0 && has_assignees)
        return "Cannot move to 'inbox' while assignees remain";
    if (strcmp(status, "in_progress") == 0 && !has_assignees)
        return "Cannot move to 'in_progress' without at least one assignee";
    if (strcmp(status, "blocked") == 0 && (reason == NULL || *reason == '\0'))
        return "Cannot move to 'blocked' without providing a reason";
    return NULL;
}

bool task_has_assignees(const struct document *task)
{
    return json_array_size(document_field(task, "assignedAgentIds")) > 0 ||
           json_array_size(document_field(task, "assignedUserIds")) > 0;
}

void task_status_store(
    struct store *store, struct document *task, const char *status, const char *reason)
{
    bool blocked = strcmp(status, "blocked") == 0;
    bool archived = strcmp(status, "archived") == 0;
    store_set(store, task, "status", memory_json_text(status));
    store_set(
        store, task, "blockedReason", blocked && reason != NULL ? memory_json_text(reason) : NULL);
    if (archived)
        store_set(store, task, "archivedAt", board_now());
    store_set(store, task, "updatedAt", board_now());
    if (archived)
        sessions_close_task(store, task->id);
}
