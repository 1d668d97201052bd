/*
 * The tools that look at the board, and the one by which an agent asks others for a response. Those
 * that look pass their arguments on, of which limits have been clamped, as the backend fails on
 * fractions and negative ones, and return what they get under one name in "data".
 */
#include <string.h>

#include "agent_tools/handlers.h"
#include "agent_tools/slugs.h"
#include "base/json.h"

enum { BAD_REQUEST = 400, UNPROCESSABLE = 422, MAX_RECIPIENTS = 10 };

static const struct backend_action request_responses = {
    .name = "createResponseRequestNotifications",
    .changes = true,
    .hint = "the task may not exist, a slug may be unknown, or you may not ask agents"};
static const struct backend_action get_skills = {
    .name = "getAgentSkillsForTool", .hint = "the agent may not exist"};
static const struct backend_action load_task = {
    .name = "loadTaskDetailsForAgentTool", .hint = "the task may not exist"};
static const struct backend_action get_history = {
    .name = "getTaskHistoryForAgentTool", .hint = "the task may not exist"};
static const struct backend_action list_tasks = {
    .name = "listTasksForAgentTool", .hint = "you may not be the orchestrator any longer"};
static const struct backend_action get_task = {.name = "getTaskForAgentTool",
    .hint = "taskId may not be the id of a task, or you may not be the orchestrator any longer"};
static const struct backend_action get_thread = {.name = "listTaskThreadForAgentTool",
    .hint = "taskId may not be the id of a task, or you may not be the orchestrator any longer"};
static const struct backend_action search_tasks = {
    .name = "searchTasksForAgentTool", .hint = "you may not be the orchestrator any longer"};

/* Calls a function that reads, and answers with its value under key in data. */
static void answer_reading(const struct tool_call *call, const struct backend_action *action,
    json_t *packed, const char *key, struct tool_result *result)
{
    json_t *value;
    if (tool_invoke(call, action, packed, &value, result))
        tool_succeed_with_data(result, key, value);
}

/* The same for a function whose value is an object, which becomes the data. */
static void answer_reading_all(const struct tool_call *call, const struct backend_action *action,
    json_t *packed, struct tool_result *result)
{
    json_t *value;
    if (tool_invoke(call, action, packed, &value, result))
        tool_succeed(result, json_pack("{s:b, s:o}", "success", 1, "data", value));
}

void handle_task_load(
    const struct tool_call *call, const json_t *arguments, struct tool_result *result)
{
    answer_reading_all(call, &load_task, tool_pack(call, arguments), result);
}

void handle_task_history(
    const struct tool_call *call, const json_t *arguments, struct tool_result *result)
{
    answer_reading_all(call, &get_history, tool_pack(call, arguments), result);
}

void handle_task_get(
    const struct tool_call *call, const json_t *arguments, struct tool_result *result)
{
    answer_reading(call, &get_task, tool_pack(call, arguments), "task", result);
}

void handle_task_thread(
    const struct tool_call *call, const json_t *arguments, struct tool_result *result)
{
    answer_reading(call, &get_thread, tool_pack(call, arguments), "thread", result);
}

void handle_task_search(
    const struct tool_call *call, const json_t *arguments, struct tool_result *result)
{
    answer_reading(call, &search_tasks, tool_pack(call, arguments), "results", result);
}

/*
 * Puts the id of the agent that the argument names into *packed, under the name that the function
 * wants; nothing where there is no such argument. Returns whether it could; if not, the result says
 * why. Blocks for the backend.
 */
static bool pack_agent(const struct tool_call *call, const char *slug, const char *label,
    const char *key, json_t **packed, struct tool_result *result)
{
    json_t *id = slug == NULL ? NULL : slug_resolve(call, slug, label, result);
    if (id != NULL)
        tool_pack_set(packed, key, id);
    return slug == NULL || id != NULL;
}

void handle_task_list(
    const struct tool_call *call, const json_t *arguments, struct tool_result *result)
{
    const char *slug = json_guard_string(arguments, "assigneeSlug");
    json_t *packed = tool_pack(call, arguments);
    json_object_del(packed, "assigneeSlug");
    if (pack_agent(call, slug, "Unknown assignee slug", "assigneeAgentId", &packed, result))
        answer_reading(call, &list_tasks, packed, "tasks", result);
    else
        json_decref(packed);
}

/* What the backend calls agentId is who asks; the agent that is asked about has another name. */
void handle_agent_skills(
    const struct tool_call *call, const json_t *arguments, struct tool_result *result)
{
    const char *slug = json_guard_string(arguments, "agentId");
    json_t *packed = json_pack("{s:s}", "agentId", call->agent_id);
    if (pack_agent(call, slug, "Unknown agent", "queryAgentId", &packed, result))
        answer_reading(call, &get_skills, packed, "agents", result);
    else
        json_decref(packed);
}

/* Whether the request can be made; if not, the result says why. Takes nothing. */
static bool check_recipients(
    const struct tool_call *call, const json_t *slugs, struct tool_result *result)
{
    size_t count = json_array_size(slugs);
    if (count > 0 && count <= MAX_RECIPIENTS)
        return true;
    if (count == 0)
        tool_fail(result, TOOL_REFUSED, BAD_REQUEST, "%s",
            call->by_http ? "Missing required field: recipientSlugs"
                          : "recipientSlugs is required");
    else
        tool_fail(
            result, TOOL_REFUSED, UNPROCESSABLE, "Too many recipients: max 10 allowed per request");
    return false;
}

/* Takes the reference to value. asked is how many agents the call named. */
static void answer_requests(
    const struct tool_call *call, size_t asked, json_t *value, struct tool_result *result)
{
    json_t *ids = json_object_get(value, "notificationIds");
    if (!json_is_array(ids))
        tool_fail_uncertain(call, result);
    else if (call->by_http)
        tool_succeed(result, json_pack("{s:b, s:O}", "success", 1, "notificationIds", ids));
    else
        tool_succeed(
            result, json_pack("{s:b, s:{s:O}}", "success", 1, "data", "notificationIds", ids));
    /* Otherwise an agent would ask again at once. */
    if (result->end == TOOL_SUCCEEDED && !call->by_http && json_array_size(ids) < asked)
        json_object_set_new(result->value, "message",
            json_string("Not all of them were notified: some have an open request on this task, "
                        "or got one in the last 4 hours. Do not ask them again now."));
    json_decref(value);
}

void handle_response_request(
    const struct tool_call *call, const json_t *arguments, struct tool_result *result)
{
    json_t *value;
    json_t *slugs = slugs_clean(json_object_get(arguments, "recipientSlugs"));
    size_t asked = json_array_size(slugs);
    if (!check_recipients(call, slugs, result)) {
        json_decref(slugs);
        return;
    }
    json_t *packed = json_pack("{s:s, s:O, s:o, s:O}", "requesterAgentId", call->agent_id, "taskId",
        json_object_get(arguments, "taskId"), "recipientSlugs", slugs, "message",
        json_object_get(arguments, "message"));
    if (tool_invoke(call, &request_responses, packed, &value, result))
        answer_requests(call, asked, value, result);
}
