/*
 * Changes of a task's status by an agent, in version 1. The agent says where the task shall end.
 * The backend walks there by single changes, each of which may fail by itself; those made before
 * stay, and only the last one is announced, as coming from the one before it.
 *
 * Whether an agent may review a task or mark it as done is not checked by flags here, but done is
 * kept for the agent responsible for quality, or, where there is none, for the orchestrator.
 */
#include "account.h"
#include "board.h"
#include "memory.h"
#include "service_v1.h"
#include "task_status.h"

static bool check_reviewed(struct service_call *call, const char *from, const char *to)
{
    if (strcmp(to, "done") != 0 || strcmp(from, "review") == 0 || strcmp(from, "done") == 0)
        return true;
    service_fail(call, "Forbidden: Task must be in review before marking done");
    return false;
}

static bool check_may_finish(
    struct service_call *call, const struct document *agent, const char *status)
{
    const struct store *store = &call->sandbox->store;
    if (strcmp(status, "done") != 0)
        return true;
    if (account_find_qa(store, call->account->id) != NULL) {
        if (account_is_qa(agent))
            return true;
        service_fail(call, "Forbidden: QA must approve and mark tasks as done");
    } else if (account_orchestrator(store, call->account->id) == NULL) {
        service_fail(call, "Forbidden: Orchestrator must be set to mark tasks as done");
    } else if (!account_is_orchestrator(store, agent)) {
        service_fail(call, "Forbidden: Only the orchestrator can mark tasks as done");
    } else {
        return true;
    }
    return false;
}

/* Makes one change on the way to status. false means that the call has failed. */
static bool make_step(struct service_call *call, struct document *task,
    const struct document *agent, const char *step, const char *status, const char *reason)
{
    struct store *store = &call->sandbox->store;
    const char *obstacle = task_status_obstacle(step, task_has_assignees(task), reason);
    if (obstacle != NULL) {
        service_fail(call, "Invalid status change: %s", obstacle);
        return false;
    }
    if (strcmp(step, status) == 0)
        board_set_task_status(store, task, status, reason, agent);
    else
        task_status_store(store, task, step, reason);
    return true;
}

bool service_move_task(struct service_call *call, struct document *task,
    const struct document *agent, const char *status, const char *reason)
{
    if (!check_reviewed(call, document_string(task, "status"), status))
        return false;
    while (!document_is(task, "status", status)) {
        const char *from = document_string(task, "status");
        const char *step = task_status_next_step(from, status);
        if (step == NULL) {
            service_fail(call, "Invalid transition: Cannot move from '%s' to '%s'", from, status);
            return false;
        }
        if (!check_may_finish(call, agent, step) ||
            !make_step(call, task, agent, step, status, reason))
            return false;
    }
    return true;
}

static void answer_status(struct service_call *call, const struct document *task, bool changed)
{
    service_answer(call, json_pack("{s:b, s:s, s:s, s:O, s:O, s:b}", "success", 1, "taskId",
                             task->id, "requestedStatus", service_argument(call, "status"),
                             "status", document_field(task, "status"), "updatedAt",
                             document_field(task, "updatedAt"), "changed", (int)changed));
}

void service_v1_update_status(struct service_call *call)
{
    const char *status = service_argument(call, "status");
    const char *expected = service_argument(call, "expectedStatus");
    if (!task_status_is_in(task_agent_statuses, status)) {
        service_fail(call, "Invalid status: must be in_progress, review, done, or blocked");
        return;
    }
    const struct document *agent = service_agent_allowed(
        call, "canModifyTaskStatus", "Agent is not allowed to modify task status");
    struct document *task = agent == NULL ? NULL : service_task(call);
    if (task == NULL)
        return;
    char *before = memory_copy(document_string(task, "status"));
    if (expected != NULL && strcmp(expected, before) != 0)
        answer_status(call, task, false);
    else if (service_move_task(call, task, agent, status, service_argument(call, "blockedReason")))
        answer_status(call, task, strcmp(before, document_string(task, "status")) != 0);
    free(before);
}
