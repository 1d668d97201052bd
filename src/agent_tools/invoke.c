/*
 * Asks the backend for a handler, and says in the result how that ended if not well:
 *
 *     the function refused              what it said, or what may be wrong when it hides that
 *     not reached, or only read         unavailable: nothing was changed
 *     a change without an answer        uncertain: it may have been carried out
 *
 * A call that changes something goes out once, on a connection of its own, and is never repeated:
 * only the agent can find out whether it took effect. A call that the backend certainly did not
 * run is told apart from it, since an agent may repeat that.
 *
 * An unknown function counts as the backend not being there: it is another version, and no other
 * call of the agent's would do better.
 */
#include <stdlib.h>
#include <string.h>

#include "agent_tools/handlers.h"
#include "backend/service_tools.h"
#include "base/json.h"
#include "base/log.h"

enum { FORBIDDEN = 403, FAILED = 500, UNAVAILABLE = 503, OUTCOME_UNKNOWN = 504 };

/* A word of an error, in any case, and the status that it stands for; the first one counts. */
struct word_status {
    const char *words;
    int status;
};

static int find_status(const struct word_status *rows, const char *reason, int otherwise)
{
    for (; rows->words != NULL; rows++)
        if (strcasestr(reason, rows->words) != NULL)
            return rows->status;
    return otherwise;
}

static int refusal_status(enum refusal_statuses statuses, const char *reason)
{
    static const struct word_status of_status[] = {{"unauthorized", 401}, {"forbidden", 403},
        {"not found", 404}, {"invalid transition", 422}, {"invalid status", 422},
        {"invalid priority", 422}, {NULL, 0}};
    static const struct word_status of_creation[] = {{"invalid agent", 422},
        {"invalid status", 422}, {"unauthorized", 401}, {"forbidden", 403}, {"not found", 404},
        {NULL, 0}};
    switch (statuses) {
    case REFUSED_STATUS:
        return find_status(of_status, reason, FAILED);
    case REFUSED_CREATION:
        return find_status(of_creation, reason, FORBIDDEN);
    case REFUSED_PLAINLY:
        break;
    }
    return FORBIDDEN;
}

static void report_refusal(const struct tool_call *call, const struct backend_action *action,
    const char *reason, struct tool_result *result)
{
    int status = refusal_status(action->statuses, reason);
    const char *said = reason[0] != '\0' ? reason : action->hint;
    if (call->by_http && status == FAILED)
        tool_fail(result, TOOL_REJECTED, status, "%s: %s", action->failed, said);
    else if (reason[0] != '\0')
        tool_fail(result, TOOL_REJECTED, status, "%s", reason);
    else
        tool_fail(result, TOOL_REJECTED, status, "The board refused without a reason: %s", said);
}

void tool_fail_uncertain(const struct tool_call *call, struct tool_result *result)
{
    tool_fail(result, TOOL_UNCERTAIN, OUTCOME_UNKNOWN, "%s",
        call->by_http ? "Outcome unknown: look before you try again" : TOOL_INTERRUPTED);
}

void tool_fail_unavailable(
    const struct tool_call *call, enum tool_end end, struct tool_result *result)
{
    tool_fail(result, end, UNAVAILABLE, "%s",
        call->by_http ? "Backend unavailable" : "Backend unavailable: nothing was changed");
}

static void report_failure(const struct tool_call *call, const struct backend_action *action,
    enum convex_outcome outcome, const struct service_failure *failure, struct tool_result *result)
{
    log_debug("Tools", "%s", failure->error.text);
    if (outcome == CONVEX_FUNCTION_ERROR && !failure->function_is_absent)
        report_refusal(call, action, failure->reason, result);
    else if (action->changes && failure->may_have_run)
        tool_fail_uncertain(call, result);
    else
        tool_fail_unavailable(
            call, outcome == CONVEX_ABORTED ? TOOL_ABORTED : TOOL_UNAVAILABLE, result);
}

bool tool_invoke(const struct tool_call *call, const struct backend_action *action,
    json_t *arguments, json_t **value, struct tool_result *result)
{
    struct service_failure failure;
    enum convex_outcome outcome =
        service_invoke(call->service, action->name, arguments, action->changes, value, &failure);
    if (outcome == CONVEX_SUCCESS)
        return true;
    report_failure(call, action, outcome, &failure, result);
    return false;
}

void tool_pack_set(json_t **packed, const char *key, json_t *value)
{
    if (json_object_set_new(*packed, key, value) == 0)
        return;
    json_decref(*packed);
    *packed = NULL;
}

/* Not json_copy: without memory it leaves members out silently. */
json_t *tool_pack(const struct tool_call *call, const json_t *arguments)
{
    json_t *packed = json_object();
    const char *key;
    json_t *value;
    json_object_foreach ((json_t *)arguments, key, value) {
        tool_pack_set(&packed, key, json_incref(value));
    }
    if (call != NULL)
        tool_pack_set(&packed, "agentId", json_string(call->agent_id));
    return packed;
}

void tool_succeed_with_data(struct tool_result *result, const char *key, json_t *value)
{
    tool_succeed(result, json_pack("{s:b, s:{s:o}}", "success", 1, "data", key, value));
}

void tool_succeed_with_id(
    const struct tool_call *call, struct tool_result *result, const char *key, json_t *value)
{
    const char *id = json_guard_string(value, key);
    if (id != NULL)
        tool_succeed(result, json_pack("{s:b, s:s}", "success", 1, key, id));
    else
        tool_fail_uncertain(call, result);
    json_decref(value);
}
