/*
 * The tools that change tasks: status, fields, new ones, assignees, messages, archiving, pull
 * requests. Arguments have the names that the backend's functions use, so a handler passes them on
 * and adds who calls; what it checks itself are rules between arguments, which the table cannot
 * express.
 *
 * A new task of the orchestrator's never has the orchestrator among its assignees, and is made
 * without a status that would assign it to its creator. Slugs are resolved before the one call that
 * changes something, so a call that fails on a slug has changed nothing.
 */
#include <string.h>

#include "agent_tools/handlers.h"
#include "agent_tools/slugs.h"
#include "base/json.h"
#include "base/text.h"

enum { BAD_REQUEST = 400, FORBIDDEN = 403, UNPROCESSABLE = 422 };

#define STATUS_HINT                                                                           \
    "the task may not exist, or its status may not allow this change (assigned, "             \
    "in_progress, review, done in this order; blocked from any but done), or you may not be " \
    "the one to make it"

static const struct backend_action update_status = {.name = "updateTaskStatusFromAgent",
    .changes = true,
    .statuses = REFUSED_STATUS,
    .failed = "Failed to update task status",
    .hint = STATUS_HINT};
static const struct backend_action update_task = {.name = "updateTaskFromAgent",
    .changes = true,
    .statuses = REFUSED_STATUS,
    .failed = "Failed to update task status",
    .hint = STATUS_HINT ", or an assignee does not exist"};
static const struct backend_action create_task = {.name = "createTaskFromAgent",
    .changes = true,
    .statuses = REFUSED_CREATION,
    .hint = "you may not create tasks, or the status needs assignees"};
static const struct backend_action assign_task = {.name = "assignTaskFromAgent",
    .changes = true,
    .hint = "the task may not exist, or one of its assignees may be gone"};
static const struct backend_action post_message = {
    .name = "createTaskMessageForAgentTool", .changes = true, .hint = "the task may not exist"};
static const struct backend_action delete_task = {
    .name = "deleteTaskFromAgent", .changes = true, .hint = "the task may not exist"};
static const struct backend_action link_task = {
    .name = "linkTaskToPrForAgentTool", .changes = true, .hint = "the task may not exist"};

/* Whether a task that becomes blocked has a reason; if not, the result says so. */
static bool check_blocked_reason(
    const json_t *arguments, const char *words, struct tool_result *result)
{
    if (!json_guard_is(arguments, "status", "blocked", "") ||
        json_object_get(arguments, "blockedReason") != NULL)
        return true;
    tool_fail(result, TOOL_REFUSED, UNPROCESSABLE, "%s", words);
    return false;
}

/* Takes the reference to value. */
static void answer_status(const struct tool_call *call, json_t *value, struct tool_result *result)
{
    const char *status = json_guard_string(value, "status");
    bool is_known = json_is_true(json_object_get(value, "success")) && status != NULL &&
                    json_guard_string(value, "taskId") != NULL;
    if (!is_known)
        tool_fail_uncertain(call, result);
    else if (call->by_http)
        tool_succeed(result, json_incref(value));
    else if (json_is_false(json_object_get(value, "changed")))
        tool_succeed(result,
            json_pack("{s:b, s:O, s:s+}", "success", 1, "taskId", json_object_get(value, "taskId"),
                "message", "Nothing to change: the status is ", status));
    else
        tool_succeed(result,
            json_pack("{s:b, s:O}", "success", 1, "taskId", json_object_get(value, "taskId")));
    json_decref(value);
}

void handle_task_status(
    const struct tool_call *call, const json_t *arguments, struct tool_result *result)
{
    json_t *value;
    if (check_blocked_reason(
            arguments, "blockedReason is required when status is blocked", result) &&
        tool_invoke(call, &update_status, tool_pack(call, arguments), &value, result))
        answer_status(call, value, result);
}

/* A new text that lists what was changed; NULL without memory. */
static json_t *describe_changes(const json_t *fields)
{
    struct text text = {0};
    size_t index;
    const json_t *field;
    text_append(&text, json_array_size(fields) > 0 ? "Updated: " : "No changes");
    json_array_foreach (fields, index, field) {
        const char *name = json_string_value(field);
        text_printf(&text, "%s%s", index > 0 ? ", " : "", name != NULL ? name : "?");
    }
    json_t *string = text.failed ? NULL : json_string(text.data);
    text_fini(&text);
    return string;
}

/* Takes the reference to value. */
static void answer_update(const struct tool_call *call, json_t *value, struct tool_result *result)
{
    const char *task_id = json_guard_string(value, "taskId");
    json_t *fields = json_object_get(value, "changedFields");
    if (task_id == NULL || !json_is_array(fields))
        tool_fail_uncertain(call, result);
    else if (call->by_http)
        tool_succeed(result,
            json_pack("{s:s, s:O, s:b}", "taskId", task_id, "changedFields", fields, "success", 1));
    else
        tool_succeed(result, json_pack("{s:b, s:s, s:o}", "success", 1, "taskId", task_id,
                                 "message", describe_changes(fields)));
    json_decref(value);
}

/* Whether there is anything to update; if not, the result says so. */
static bool check_has_update(const json_t *arguments, struct tool_result *result)
{
    static const char *const fields[] = {"title", "description", "priority", "labels",
        "assignedAgentIds", "assignedUserIds", "status", "dueDate"};
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++)
        if (json_object_get(arguments, fields[i]) != NULL)
            return true;
    tool_fail(result, TOOL_REFUSED, BAD_REQUEST,
        "At least one field (title, description, priority, labels, assignedAgentIds, "
        "assignedUserIds, status, dueDate) must be provided");
    return false;
}

void handle_task_update(
    const struct tool_call *call, const json_t *arguments, struct tool_result *result)
{
    json_t *value;
    const char *words = call->by_http ? "blockedReason is required when status is blocked"
                                      : "blockedReason is required when status is 'blocked'";
    if (check_has_update(arguments, result) && check_blocked_reason(arguments, words, result) &&
        tool_invoke(call, &update_task, tool_pack(call, arguments), &value, result))
        answer_update(call, value, result);
}

/* Whether the caller may create a task with these arguments; if not, the result says so. */
static bool check_new_task(
    const struct tool_call *call, const json_t *arguments, struct tool_result *result)
{
    bool has_assignees = json_array_size(json_object_get(arguments, "assigneeSlugs")) > 0;
    if (has_assignees && !call->audience.is_orchestrator) {
        tool_fail(result, TOOL_REFUSED, FORBIDDEN,
            "Forbidden: Only the orchestrator can assign agents during task creation");
        return false;
    }
    /* A new task is not the one that the run is about, so what counts is the agent's right. */
    if (json_guard_is(arguments, "status", "done", "") && !call->audience.flags.can_mark_done) {
        tool_fail(result, TOOL_REFUSED, FORBIDDEN, "Forbidden: Not allowed to mark tasks as done");
        return false;
    }
    return check_blocked_reason(
        arguments, "blockedReason is required when status is blocked", result);
}

/*
 * Replaces the slugs in *packed by ids. An orchestrator does not get the task itself, which it
 * would without assignees in these two states. Returns whether it could be done.
 */
static bool resolve_assignees(
    const struct tool_call *call, json_t **packed, struct tool_result *result)
{
    bool succeeded = true;
    const json_t *slugs = json_object_get(*packed, "assigneeSlugs");
    if (json_array_size(slugs) > 0) {
        json_t *ids = slugs_resolve(call, slugs, call->agent_id, result);
        succeeded = ids != NULL;
        if (json_array_size(ids) > 0)
            tool_pack_set(packed, "assignedAgentIds", json_incref(ids));
        json_decref(ids);
    }
    json_object_del(*packed, "assigneeSlugs");
    bool would_assign = json_guard_is(*packed, "status", "assigned", "") ||
                        json_guard_is(*packed, "status", "in_progress", "");
    if (would_assign && call->audience.is_orchestrator)
        tool_pack_set(packed, "status", json_string("inbox"));
    return succeeded;
}

void handle_task_create(
    const struct tool_call *call, const json_t *arguments, struct tool_result *result)
{
    json_t *value;
    if (!check_new_task(call, arguments, result))
        return;
    json_t *packed = tool_pack(call, arguments);
    if (!resolve_assignees(call, &packed, result))
        json_decref(packed);
    else if (tool_invoke(call, &create_task, packed, &value, result))
        tool_succeed_with_id(call, result, "taskId", value);
}

void handle_task_assign(
    const struct tool_call *call, const json_t *arguments, struct tool_result *result)
{
    json_t *value;
    json_t *ids = slugs_resolve(call, json_object_get(arguments, "assigneeSlugs"), NULL, result);
    if (ids == NULL)
        return;
    if (json_array_size(ids) == 0) {
        json_decref(ids);
        tool_fail(result, TOOL_REFUSED, BAD_REQUEST, "assigneeSlugs is required");
        return;
    }
    json_t *packed = tool_pack(call, arguments);
    json_object_del(packed, "assigneeSlugs");
    tool_pack_set(&packed, "assignedAgentIds", ids);
    if (tool_invoke(call, &assign_task, packed, &value, result))
        tool_succeed_with_id(call, result, "taskId", value);
}

void handle_task_message(
    const struct tool_call *call, const json_t *arguments, struct tool_result *result)
{
    json_t *value;
    if (tool_invoke(call, &post_message, tool_pack(call, arguments), &value, result))
        tool_succeed_with_id(call, result, "messageId", value);
}

void handle_task_delete(
    const struct tool_call *call, const json_t *arguments, struct tool_result *result)
{
    json_t *value;
    if (!tool_invoke(call, &delete_task, tool_pack(call, arguments), &value, result))
        return;
    tool_succeed(result, json_pack("{s:b}", "success", 1));
    json_decref(value);
}

void handle_task_link_pr(
    const struct tool_call *call, const json_t *arguments, struct tool_result *result)
{
    json_t *value;
    if (!tool_invoke(call, &link_task, tool_pack(call, arguments), &value, result))
        return;
    tool_succeed(result, json_pack("{s:b, s:{s:O, s:O}}", "success", 1, "data", "taskId",
                             json_object_get(arguments, "taskId"), "prNumber",
                             json_object_get(arguments, "prNumber")));
    json_decref(value);
}
