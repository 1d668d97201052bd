#include "remote/service_runtime.h"

#include "base/json_guard.h"
#include "base/text.h"

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
