/* Validators of the functions that take the same arguments in both versions. */
#include "service_fields.h"

static const char *const agent_statuses[] = {"online", "busy", "idle", "offline", "error", NULL};
static const char *const runtime_statuses[] = {
    "provisioning", "online", "degraded", "offline", "error", NULL};
static const char *const upgrade_results[] = {"success", "failed", "rolled_back", NULL};

const struct field service_common_arguments[] = {COMMON_FIELDS, END_OF_FIELDS};

const struct field service_page_arguments[] = {
    COMMON_FIELDS, OPTIONAL_NUMBER("limit"), END_OF_FIELDS};

const struct field service_one_notification_arguments[] = {
    COMMON_FIELDS, ID("notificationId", TABLE_NOTIFICATIONS), END_OF_FIELDS};

const struct field service_heartbeat_arguments[] = {COMMON_FIELDS, ID("agentId", TABLE_AGENTS),
    UNION("status", agent_statuses), OPTIONAL_ID("currentTaskId", TABLE_TASKS), END_OF_FIELDS};

static const struct field runtime_config[] = {STRING("dropletId"), STRING("ipAddress"),
    OPTIONAL_STRING("region"), OPTIONAL_NUMBER("lastHealthCheck"),
    OPTIONAL_STRING("openclawVersion"), OPTIONAL_STRING("runtimeServiceVersion"),
    OPTIONAL_NUMBER("lastUpgradeAt"), OPTIONAL_UNION("lastUpgradeStatus", upgrade_results),
    END_OF_FIELDS};

const struct field service_runtime_report_arguments[] = {COMMON_FIELDS,
    UNION("status", runtime_statuses), OPTIONAL_OBJECT("config", runtime_config), END_OF_FIELDS};

const struct field service_upgrade_result_arguments[] = {COMMON_FIELDS,
    UNION("status", upgrade_results), STRING("fromOpenclawVersion"), STRING("toOpenclawVersion"),
    STRING("fromRuntimeVersion"), STRING("toRuntimeVersion"), OPTIONAL_NUMBER("duration"),
    OPTIONAL_STRING("error"), END_OF_FIELDS};
