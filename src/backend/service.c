/*
 * The backend's functions as typed C calls: one function for each, which packs the arguments, calls
 * through convex_call and checks the result (docs/protocol.md, "Backend functions"). Those that one
 * notification needs are in service_delivery.c; here are the lists and the reports.
 *
 * A result that lacks something we rely on is CONVEX_UNAVAILABLE, as if no answer had come: the
 * call is repeated instead of a reply being dropped or a notification being settled on a
 * half-understood answer. Rows of a list are an exception: a row without usable ids is left out and
 * counted, because one bad row must not stop all other notifications.
 *
 * There is no state here. Every call blocks as convex_call does, from any thread. The *_read
 * functions are separate from the calls so that unit tests and fuzzers can feed them directly.
 */
#include "backend/service.h"

#include <stdlib.h>
#include <string.h>

#include "backend/backend_clock.h"
#include "base/json.h"
#include "base/log.h"
#include "base/sync.h"
#include "base/text.h"

/* In minutes. An interval near 0 would wake an agent without pause, so it counts as missing. */
static const double DEFAULT_INTERVAL = 5;
static const double MIN_INTERVAL = 0.001;
static const double MAX_INTERVAL = 60.0 * 24 * 366;

static bool text_ends_with(const char *text, const char *ending)
{
    size_t text_bytes = strlen(text);
    size_t ending_bytes = strlen(ending);
    return text_bytes >= ending_bytes && strcmp(text + text_bytes - ending_bytes, ending) == 0;
}

enum service_refusal service_refusal_parse(const char *text)
{
    /* The first match counts: a development deployment puts its text after "Server Error". */
    static const struct {
        const char *phrase;
        enum service_refusal refusal;
    } refusals[] = {
        {"Invalid service token", REFUSAL_TOKEN_INVALID},
        {"Account has no service token configured", REFUSAL_TOKEN_NOT_CONFIGURED},
        {"Service token does not match account", REFUSAL_ACCOUNT_MISMATCH},
        {"Account does not exist", REFUSAL_ACCOUNT_UNKNOWN},
        {"ArgumentValidationError", REFUSAL_ARGUMENTS_INVALID},
        {"Could not find public function", REFUSAL_FUNCTION_UNKNOWN},
    };
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++)
        if (strstr(text, refusals[i].phrase) != NULL)
            return refusals[i].refusal;
    return text_ends_with(text, "Server Error") ? REFUSAL_UNEXPLAINED : REFUSAL_NONE;
}

/* Calls an action whose result carries no information. */
static enum convex_outcome call_for_effect(const struct service *service, const char *action,
    json_t *arguments, enum convex_kind kind, struct error *error)
{
    json_t *value;
    enum convex_outcome outcome = convex_call(service, action, arguments, kind, &value, error);
    if (outcome == CONVEX_SUCCESS)
        json_decref(value);
    return outcome;
}

/* Allocates a row for each item of a list; NULL with *error when value is not a list. */
static void *alloc_rows(
    const json_t *value, const char *action, size_t row_bytes, struct error *error)
{
    if (!json_is_array(value)) {
        error_set(error, ERROR_REMOTE, "%s: the result is not an array", action);
        return NULL;
    }
    /* One more, because calloc of nothing may return NULL. */
    void *rows = calloc(json_array_size(value) + 1, row_bytes);
    if (rows == NULL)
        error_set(
            error, ERROR_NO_MEMORY, "%s: no memory for %zu rows", action, json_array_size(value));
    return rows;
}

static bool read_notification_row(const json_t *item, struct notification_row *row)
{
    const char *id = json_guard_id(item, "_id");
    const char *agent_id = json_guard_id(item, "recipientId");
    if (id == NULL || agent_id == NULL)
        return false;
    text_copy(row->id, sizeof row->id, id);
    text_copy(row->agent_id, sizeof row->agent_id, agent_id);
    const char *task_id = json_guard_id(item, "taskId");
    text_copy(row->task_id, sizeof row->task_id, task_id != NULL ? task_id : "");
    /* Stays 0, for unknown, if it cannot be read: it only orders notifications. */
    row->created_at_ms = 0;
    json_guard_time_ms(item, "createdAt", 0, &row->created_at_ms);
    return true;
}

enum convex_outcome notification_page_read(
    const json_t *value, struct notification_page *page, struct error *error)
{
    *page = (struct notification_page){0};
    page->rows = alloc_rows(value, "listUndeliveredNotifications", sizeof *page->rows, error);
    if (page->rows == NULL)
        return CONVEX_UNAVAILABLE;
    page->listed = json_array_size(value);
    size_t index;
    const json_t *item;
    json_array_foreach (value, index, item) {
        if (read_notification_row(item, &page->rows[page->count]))
            page->count++;
    }
    page->refused = page->listed - page->count;
    return CONVEX_SUCCESS;
}

void notification_page_fini(struct notification_page *page)
{
    free(page->rows);
    *page = (struct notification_page){0};
}

enum convex_outcome service_list_undelivered(const struct service *service, unsigned limit,
    struct notification_page *page, struct error *error)
{
    json_t *value;
    enum convex_outcome outcome = convex_call(service, "listUndeliveredNotifications",
        json_pack("{s:i}", "limit", (int)limit), CONVEX_LIST, &value, error);
    if (outcome != CONVEX_SUCCESS)
        return outcome;
    outcome = notification_page_read(value, page, error);
    json_decref(value);
    return outcome;
}

static void copy_string(char *field, size_t field_bytes, const json_t *object, const char *key)
{
    const char *value = json_guard_string(object, key);
    text_copy(field, field_bytes, value != NULL ? value : "");
}

static int64_t read_interval_ms(const json_t *item)
{
    double minutes = json_number_value(json_object_get(item, "heartbeatInterval"));
    if (!(minutes >= MIN_INTERVAL)) /* also true for NaN */
        minutes = DEFAULT_INTERVAL;
    if (minutes > MAX_INTERVAL)
        minutes = MAX_INTERVAL;
    return (int64_t)(minutes * 60 * 1000);
}

static bool read_agent(const json_t *item, struct agent *agent)
{
    if (json_guard_id(item, "_id") == NULL)
        return false;
    copy_string(agent->id, sizeof agent->id, item, "_id");
    copy_string(agent->slug, sizeof agent->slug, item, "slug");
    copy_string(agent->name, sizeof agent->name, item, "name");
    bool is_v1 = json_guard_string(item, "systemSessionKey") != NULL;
    agent->version = is_v1 ? BACKEND_V1 : BACKEND_V0;
    copy_string(agent->session_key, sizeof agent->session_key, item,
        is_v1 ? "systemSessionKey" : "sessionKey");
    if (is_v1)
        agent->flags = behavior_flags_read(json_object_get(item, "effectiveBehaviorFlags"));
    agent->heartbeat_interval_ms = read_interval_ms(item);
    return true;
}

enum convex_outcome agent_list_read(
    const json_t *value, struct agent_list *list, struct error *error)
{
    *list = (struct agent_list){0};
    list->agents = alloc_rows(value, "listAgents", sizeof *list->agents, error);
    if (list->agents == NULL)
        return CONVEX_UNAVAILABLE;
    size_t index;
    const json_t *item;
    json_array_foreach (value, index, item) {
        if (read_agent(item, &list->agents[list->count]))
            list->count++;
        else
            list->refused++;
    }
    return CONVEX_SUCCESS;
}

void agent_list_fini(struct agent_list *list)
{
    free(list->agents);
    *list = (struct agent_list){0};
}

enum backend_version backend_version_of_agents(const json_t *value)
{
    enum backend_version version = BACKEND_UNKNOWN;
    size_t index;
    const json_t *agent;
    json_array_foreach (value, index, agent) {
        /* The new key decides, should a migrated agent still have its old one. */
        if (json_is_string(json_object_get(agent, "systemSessionKey")))
            return BACKEND_V1;
        if (json_is_string(json_object_get(agent, "sessionKey")))
            version = BACKEND_V0;
    }
    return version;
}

enum backend_version backend_version_of_orchestrator(
    enum convex_outcome outcome, const json_t *value)
{
    if (outcome == CONVEX_FUNCTION_ERROR)
        return BACKEND_V0;
    if (outcome == CONVEX_SUCCESS && json_object_get(value, "orchestratorAgentId") != NULL)
        return BACKEND_V1;
    return BACKEND_UNKNOWN;
}

/*
 * An account without agents does not show the version. The one function that is called before v1
 * was seen, right after a list that came, tells: v0 does not have it.
 */
static void ask_for_orchestrator(const struct service *service)
{
    json_t *value = NULL;
    struct error unused;
    enum convex_outcome outcome = convex_call(
        service, "getOrchestratorAgentId", json_object(), CONVEX_PLAIN, &value, &unused);
    convex_see_version(service->convex, backend_version_of_orchestrator(outcome, value));
    if (outcome == CONVEX_SUCCESS)
        json_decref(value);
}

enum convex_outcome service_list_agents(
    const struct service *service, struct agent_list *list, struct error *error)
{
    json_t *value;
    enum convex_outcome outcome =
        convex_call(service, "listAgents", json_object(), CONVEX_LIST, &value, error);
    if (outcome != CONVEX_SUCCESS)
        return outcome;
    outcome = agent_list_read(value, list, error);
    enum backend_version version = backend_version_of_agents(value);
    bool is_empty = json_is_array(value) && json_array_size(value) == 0;
    json_decref(value);
    convex_see_version(service->convex, version);
    if (is_empty && outcome == CONVEX_SUCCESS)
        ask_for_orchestrator(service);
    return outcome;
}

enum convex_outcome service_get_orchestrator(
    const struct service *service, char agent_id[static ID_BYTES], struct error *error)
{
    static const char action[] = "getOrchestratorAgentId";
    json_t *value;
    enum convex_outcome outcome =
        convex_call(service, action, json_object(), CONVEX_PLAIN, &value, error);
    if (outcome == CONVEX_FUNCTION_ERROR)
        convex_doubt_version(service->convex);
    if (outcome != CONVEX_SUCCESS)
        return outcome;
    const json_t *member = json_object_get(value, "orchestratorAgentId");
    const char *id = json_guard_id(value, "orchestratorAgentId");
    bool is_known = id != NULL || json_is_null(member);
    text_copy(agent_id, ID_BYTES, id != NULL ? id : "");
    json_decref(value);
    if (is_known)
        return CONVEX_SUCCESS;
    error_set(error, ERROR_REMOTE, "%s: the result has no orchestratorAgentId", action);
    return CONVEX_UNAVAILABLE;
}

enum convex_outcome service_list_profiles(
    const struct service *service, json_t **rows, struct error *error)
{
    static const char action[] = "listAgentsForRuntime";
    enum convex_outcome outcome =
        convex_call(service, action, json_object(), CONVEX_LIST, rows, error);
    if (outcome == CONVEX_FUNCTION_ERROR)
        convex_doubt_version(service->convex);
    if (outcome != CONVEX_SUCCESS || json_is_array(*rows))
        return outcome;
    json_decref(*rows);
    error_set(error, ERROR_REMOTE, "%s: the result is not a list", action);
    return CONVEX_UNAVAILABLE;
}

enum convex_outcome service_report_agent_online(
    const struct service *service, const char *agent_id, struct error *error)
{
    return call_for_effect(service, "updateAgentHeartbeat",
        json_pack("{s:s, s:s}", "agentId", agent_id, "status", "online"), CONVEX_PLAIN, error);
}

/* A v1 backend compares it with its own time; v0 only shows it. */
static int64_t report_time_ms(const struct service *service)
{
    bool is_compared = convex_likely_version(service->convex) == BACKEND_V1;
    return is_compared ? backend_clock_now_ms(convex_clock(service->convex)) : clock_wall_ms();
}

/* An unknown version is left out ("*"): the function accepts an absent field but no null. */
static json_t *pack_runtime_report(
    const struct config *config, const char *openclaw_version, int64_t now_ms)
{
    return json_pack("{s:s, s:s, s:s, s:I, s:s*, s:s}", "dropletId", config->droplet_id,
        "ipAddress", config->droplet_ip, "region", config->droplet_region, "lastHealthCheck",
        (json_int_t)now_ms, "openclawVersion", openclaw_version, "runtimeServiceVersion",
        config->runtime_version);
}

enum convex_outcome service_report_status(const struct service *service, const char *status,
    const struct config *config, const char *openclaw_version, struct error *error)
{
    json_t *arguments =
        config != NULL ? json_pack("{s:s, s:o}", "status", status, "config",
                             pack_runtime_report(config, openclaw_version, report_time_ms(service)))
                       : json_pack("{s:s}", "status", status);
    return call_for_effect(service, "updateRuntimeStatus", arguments, CONVEX_PLAIN, error);
}

enum convex_outcome service_take_restart_request(
    const struct service *service, bool *requested, struct error *error)
{
    json_t *value;
    /* ONCE: the function clears what it returns, so a repetition would lose the request. */
    enum convex_outcome outcome = convex_call(
        service, "checkAndClearRestartRequested", json_object(), CONVEX_ONCE, &value, error);
    if (outcome != CONVEX_SUCCESS)
        return outcome;
    *requested = json_is_true(json_object_get(value, "restartRequested"));
    json_decref(value);
    return CONVEX_SUCCESS;
}

/* A request that lacks a field could not be acted on or reported, so it counts as none. */
static void read_upgrade(const json_t *value, struct upgrade *upgrade)
{
    const char *openclaw = json_guard_string(value, "targetOpenclawVersion");
    const char *runtime = json_guard_string(value, "targetRuntimeVersion");
    const char *strategy = json_guard_string(value, "strategy");
    *upgrade = (struct upgrade){0};
    if (openclaw == NULL || runtime == NULL || strategy == NULL ||
        !json_guard_time_ms(value, "initiatedAt", 1, &upgrade->initiated_at_ms))
        return;
    text_copy(upgrade->openclaw, sizeof upgrade->openclaw, openclaw);
    text_copy(upgrade->runtime, sizeof upgrade->runtime, runtime);
    text_copy(upgrade->strategy, sizeof upgrade->strategy, strategy);
}

enum convex_outcome service_pending_upgrade(
    const struct service *service, struct upgrade *upgrade, struct error *error)
{
    json_t *value;
    enum convex_outcome outcome =
        convex_call(service, "getPendingUpgrade", json_object(), CONVEX_PLAIN, &value, error);
    if (outcome != CONVEX_SUCCESS)
        return outcome;
    read_upgrade(value, upgrade);
    json_decref(value);
    return CONVEX_SUCCESS;
}

enum convex_outcome service_record_upgrade(
    const struct service *service, const struct upgrade_result *result, struct error *error)
{
    json_t *arguments = json_pack("{s:s, s:s, s:s, s:s, s:s, s:I, s:s*}", "status", result->status,
        "fromOpenclawVersion", result->from_openclaw, "toOpenclawVersion", result->to_openclaw,
        "fromRuntimeVersion", result->from_runtime, "toRuntimeVersion", result->to_runtime,
        "duration", (json_int_t)result->duration_ms, "error", result->error);
    /* ONCE: each call appends to a history. */
    return call_for_effect(service, "recordUpgradeResult", arguments, CONVEX_ONCE, error);
}
