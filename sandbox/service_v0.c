/*
 * The functions of version 0 and the validators of their arguments. The validators are data
 * because their source text is part of the error messages (validator.c).
 */
#include "service.h"
#include "service_fields.h"

static const struct field attachment[] = {
    STRING("type"), STRING("url"), STRING("name"), NUMBER("size"), END_OF_FIELDS};

static const struct field attachment_item = {.kind = VALIDATE_OBJECT, .fields = attachment};

static const struct field create_message[] = {COMMON_FIELDS, ID("taskId", TABLE_TASKS),
    ID("agentId", TABLE_AGENTS), STRING("content"), OPTIONAL_ARRAY("attachments", &attachment_item),
    OPTIONAL_ID("sourceNotificationId", TABLE_NOTIFICATIONS), END_OF_FIELDS};

const struct service_function service_functions_v0[] = {
    {"listAgents", service_common_arguments, service_list_agents},
    {"listUndeliveredNotifications", service_page_arguments, service_list_undelivered},
    {"getNotificationForDelivery", service_one_notification_arguments, service_get_notification},
    {"markNotificationDelivered", service_one_notification_arguments, service_mark_delivered},
    {"createMessageFromAgent", create_message, service_create_message},
    {"updateAgentHeartbeat", service_heartbeat_arguments, service_update_heartbeat},
    {"updateRuntimeStatus", service_runtime_report_arguments, service_update_runtime},
    {"checkAndClearRestartRequested", service_common_arguments, service_check_restart},
    {"getPendingUpgrade", service_common_arguments, service_get_upgrade},
    {"recordUpgradeResult", service_upgrade_result_arguments, service_record_upgrade},
    {NULL, NULL, NULL},
};
