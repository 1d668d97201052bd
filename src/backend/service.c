#include "backend/service.h"

#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/text.h"

void notification_page_fini(struct notification_page *page)
{
    free(page->rows);
    *page = (struct notification_page){0};
}

/* False for a row without usable ids: it could not be asked for, nor be written for its agent. */
static bool read_row(const json_t *item, struct notification_row *row)
{
    const char *id = json_guard_string(item, "_id");
    const char *agent_id = json_guard_string(item, "recipientId");
    if (id == NULL || !id_is_valid(id) || agent_id == NULL || !id_is_valid(agent_id))
        return false;
    text_copy(row->id, sizeof row->id, id);
    text_copy(row->agent_id, sizeof row->agent_id, agent_id);
    row->created_at_ms = 0;
    json_guard_time_ms(item, "createdAt", 0, &row->created_at_ms);
    return true;
}

enum convex_outcome notification_page_read(
    const json_t *value, struct notification_page *page, struct error *error)
{
    static const char action[] = "listUndeliveredNotifications";
    *page = (struct notification_page){0};
    if (!json_is_array(value)) {
        error_set(error, ERROR_REMOTE, "%s: the answer is no array", action);
        return CONVEX_UNAVAILABLE;
    }
    page->listed = json_array_size(value);
    page->rows = calloc(page->listed + 1, sizeof *page->rows);
    if (page->rows == NULL) {
        error_set(error, ERROR_NO_MEMORY, "%s: no memory for %zu rows", action, page->listed);
        return CONVEX_UNAVAILABLE;
    }
    size_t index;
    const json_t *item;
    json_array_foreach (value, index, item) {
        if (read_row(item, &page->rows[page->count]))
            page->count++;
    }
    page->refused = page->listed - page->count;
    return CONVEX_SUCCESS;
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

void delivery_context_fini(struct delivery_context *context)
{
    json_decref(context->value);
    *context = (struct delivery_context){0};
}

bool delivery_context_is_over(const struct delivery_context *context)
{
    return json_is_null(context->value) ||
           json_is_number(json_object_get(context->notification, "deliveredAt"));
}

bool delivery_context_task_is_gone(const struct delivery_context *context)
{
    return context->task == NULL && json_guard_string(context->notification, "taskId") != NULL;
}

static const json_t *object_or_null(const json_t *parent, const char *key)
{
    const json_t *found = json_object_get(parent, key);
    return json_is_object(found) ? found : NULL;
}

/* Null, and nothing else, says that there is none. */
static bool is_object_or_null(const json_t *parent, const char *key)
{
    const json_t *found = json_object_get(parent, key);
    return json_is_object(found) || json_is_null(found);
}

static const char get_delivery[] = "getNotificationForDelivery";

/* What is wrong with a context; NULL for nothing. An agent or task that is gone is no defect. */
static const char *find_defect(const struct delivery_context *context)
{
    if (json_is_null(context->value))
        return NULL;
    if (context->notification == NULL)
        return "notification";
    if (!is_object_or_null(context->value, "agent"))
        return "agent";
    bool needs_task = json_guard_string(context->notification, "taskId") != NULL;
    return needs_task && !is_object_or_null(context->value, "task") ? "task" : NULL;
}

enum convex_outcome delivery_context_read(
    json_t *value, struct delivery_context *context, struct error *error)
{
    *context = (struct delivery_context){
        .value = value,
        .notification = object_or_null(value, "notification"),
        .agent = object_or_null(value, "agent"),
        .task = object_or_null(value, "task"),
        .message = object_or_null(value, "message"),
    };
    const char *defect = find_defect(context);
    if (defect == NULL)
        return CONVEX_SUCCESS;
    delivery_context_fini(context);
    error_set(error, ERROR_REMOTE, "%s: the answer holds no proper %s", get_delivery, defect);
    return CONVEX_UNAVAILABLE;
}

enum convex_outcome service_get_delivery(const struct service *service, const char *notification_id,
    struct delivery_context *context, struct error *error)
{
    json_t *value;
    enum convex_outcome outcome = convex_call(service, get_delivery,
        json_pack("{s:s}", "notificationId", notification_id), CONVEX_PLAIN, &value, error);
    if (outcome == CONVEX_SUCCESS)
        outcome = delivery_context_read(value, context, error);
    if (outcome != CONVEX_SUCCESS)
        return outcome;
    const char *id = json_guard_string(context->notification, "_id");
    if (id == NULL || strcmp(id, notification_id) == 0)
        return CONVEX_SUCCESS;
    delivery_context_fini(context);
    error_set(error, ERROR_REMOTE, "%s: the answer is of another notification", get_delivery);
    return CONVEX_UNAVAILABLE;
}

enum convex_outcome service_call_for_effect(const struct service *service, const char *action,
    json_t *arguments, enum convex_kind kind, struct error *error)
{
    json_t *value;
    enum convex_outcome outcome = convex_call(service, action, arguments, kind, &value, error);
    if (outcome == CONVEX_SUCCESS)
        json_decref(value);
    return outcome;
}

enum convex_outcome service_create_message(const struct service *service, const char *agent_id,
    const char *task_id, const char *content, const char *notification_id, struct error *error)
{
    static const char action[] = "createMessageFromAgent";
    json_t *value;
    enum convex_outcome outcome = convex_call(service, action,
        json_pack("{s:s, s:s, s:s, s:s}", "taskId", task_id, "agentId", agent_id, "content",
            content, "sourceNotificationId", notification_id),
        CONVEX_PLAIN, &value, error);
    if (outcome != CONVEX_SUCCESS)
        return outcome;
    /* The reply is let go of once it is there. */
    bool is_there = json_guard_string(value, "messageId") != NULL;
    json_decref(value);
    if (is_there)
        return CONVEX_SUCCESS;
    error_set(error, ERROR_REMOTE, "%s: the answer names no message", action);
    return CONVEX_UNAVAILABLE;
}

enum convex_outcome service_mark_delivered(
    const struct service *service, const char *notification_id, struct error *error)
{
    return service_call_for_effect(service, "markNotificationDelivered",
        json_pack("{s:s}", "notificationId", notification_id), CONVEX_PLAIN, error);
}

/* In minutes. Next to nothing would wake without end, so that is taken as no number is. */
static const double DEFAULT_INTERVAL = 5;
static const double MIN_INTERVAL = 0.001;
static const double MAX_INTERVAL = 60.0 * 24 * 366;

static void copy_string(char *field, size_t field_bytes, const json_t *object, const char *key)
{
    const char *value = json_guard_string(object, key);
    text_copy(field, field_bytes, value != NULL ? value : "");
}

static int64_t read_interval_ms(const json_t *item)
{
    double minutes = json_number_value(json_object_get(item, "heartbeatInterval"));
    if (!(minutes >= MIN_INTERVAL))
        minutes = DEFAULT_INTERVAL;
    if (minutes > MAX_INTERVAL)
        minutes = MAX_INTERVAL;
    return (int64_t)(minutes * 60 * 1000);
}

static bool read_agent(const json_t *item, struct agent *agent)
{
    const char *id = json_guard_string(item, "_id");
    if (id == NULL || !id_is_valid(id))
        return false;
    copy_string(agent->id, sizeof agent->id, item, "_id");
    copy_string(agent->slug, sizeof agent->slug, item, "slug");
    copy_string(agent->name, sizeof agent->name, item, "name");
    copy_string(agent->session_key, sizeof agent->session_key, item, "sessionKey");
    agent->heartbeat_interval_ms = read_interval_ms(item);
    return true;
}

enum convex_outcome agent_list_read(
    const json_t *value, struct agent_list *list, struct error *error)
{
    static const char action[] = "listAgents";
    *list = (struct agent_list){0};
    if (!json_is_array(value)) {
        error_set(error, ERROR_REMOTE, "%s: the answer is no array", action);
        return CONVEX_UNAVAILABLE;
    }
    list->agents = calloc(json_array_size(value) + 1, sizeof *list->agents);
    if (list->agents == NULL) {
        error_set(error, ERROR_NO_MEMORY, "%s: no memory for the agents", action);
        return CONVEX_UNAVAILABLE;
    }
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

enum convex_outcome service_list_agents(
    const struct service *service, struct agent_list *list, struct error *error)
{
    json_t *value;
    enum convex_outcome outcome =
        convex_call(service, "listAgents", json_object(), CONVEX_LIST, &value, error);
    if (outcome != CONVEX_SUCCESS)
        return outcome;
    outcome = agent_list_read(value, list, error);
    json_decref(value);
    return outcome;
}

enum convex_outcome service_agent_is_online(
    const struct service *service, const char *agent_id, struct error *error)
{
    return service_call_for_effect(service, "updateAgentHeartbeat",
        json_pack("{s:s, s:s}", "agentId", agent_id, "status", "online"), CONVEX_PLAIN, error);
}

static json_t *pack_report(const struct runtime_report *report)
{
    return json_pack("{s:s, s:s, s:s, s:I, s:s*, s:s}", "dropletId", report->droplet_id,
        "ipAddress", report->ip_address, "region", report->region, "lastHealthCheck",
        (json_int_t)report->at_ms, "openclawVersion", report->openclaw_version,
        "runtimeServiceVersion", report->runtime_version);
}

enum convex_outcome service_report_status(const struct service *service, const char *status,
    const struct runtime_report *report, struct error *error)
{
    json_t *arguments =
        report != NULL ? json_pack("{s:s, s:o}", "status", status, "config", pack_report(report))
                       : json_pack("{s:s}", "status", status);
    return service_call_for_effect(service, "updateRuntimeStatus", arguments, CONVEX_PLAIN, error);
}

enum convex_outcome service_take_restart_request(
    const struct service *service, bool *requested, struct error *error)
{
    json_t *value;
    enum convex_outcome outcome = convex_call(
        service, "checkAndClearRestartRequested", json_object(), CONVEX_ONCE, &value, error);
    if (outcome != CONVEX_SUCCESS)
        return outcome;
    *requested = json_is_true(json_object_get(value, "restartRequested"));
    json_decref(value);
    return CONVEX_SUCCESS;
}

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
    json_t *arguments = json_pack("{s:s, s:s, s:s, s:s, s:s, s:I, s:s*}", "status",
        result->success ? "success" : "failed", "fromOpenclawVersion", result->from_openclaw,
        "toOpenclawVersion", result->to_openclaw, "fromRuntimeVersion", result->from_runtime,
        "toRuntimeVersion", result->to_runtime, "duration", (json_int_t)result->duration_ms,
        "error", result->error);
    return service_call_for_effect(service, "recordUpgradeResult", arguments, CONVEX_ONCE, error);
}
