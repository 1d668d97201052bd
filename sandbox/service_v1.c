/*
 * The functions of version 1 and the validators of their arguments, and the checks that several of
 * them make in the same words. Implementations are in service_v1_*.c, by what they are about; a
 * function that did not change is that of version 0.
 */
#include "service_v1.h"

#include <math.h>

#include "account.h"
#include "service_fields.h"
#include "task_status.h"
#include "utf16.h"

static const struct field string_item = {.kind = VALIDATE_STRING};
static const struct field agent_item = {.kind = VALIDATE_ID, .table = TABLE_AGENTS};
static const struct field status_item = {.kind = VALIDATE_UNION, .literals = task_statuses};

static const char *const document_types[] = {"deliverable", "note", "template", "reference", NULL};

static const struct field skills[] = {COMMON_FIELDS, ID("agentId", TABLE_AGENTS),
    OPTIONAL_ID("queryAgentId", TABLE_AGENTS), END_OF_FIELDS};

static const struct field attachment[] = {ID("storageId", TABLE_STORAGE), STRING("name"),
    STRING("type"), NUMBER("size"), OPTIONAL_STRING("url"), END_OF_FIELDS};

static const struct field attachment_item = {.kind = VALIDATE_OBJECT, .fields = attachment};

static const struct field create_message[] = {COMMON_FIELDS, ID("taskId", TABLE_TASKS),
    ID("agentId", TABLE_AGENTS), STRING("content"),
    OPTIONAL_ID("sourceNotificationId", TABLE_NOTIFICATIONS),
    OPTIONAL_BOOLEAN("suppressAgentNotifications"), OPTIONAL_ARRAY("attachments", &attachment_item),
    END_OF_FIELDS};

static const struct field post_message[] = {COMMON_FIELDS, ID("agentId", TABLE_AGENTS),
    ID("taskId", TABLE_TASKS), STRING("content"), END_OF_FIELDS};

static const struct field list_thread[] = {COMMON_FIELDS, ID("agentId", TABLE_AGENTS),
    ID("taskId", TABLE_TASKS), OPTIONAL_NUMBER("limit"), END_OF_FIELDS};

static const struct field register_upload[] = {COMMON_FIELDS, ID("taskId", TABLE_TASKS),
    ID("agentId", TABLE_AGENTS), ID("storageId", TABLE_STORAGE), END_OF_FIELDS};

static const struct field list_assigned[] = {COMMON_FIELDS, ID("agentId", TABLE_AGENTS),
    OPTIONAL_BOOLEAN("includeDone"), OPTIONAL_NUMBER("limit"), END_OF_FIELDS};

static const struct field list_tracked[] = {
    COMMON_FIELDS, ARRAY("statuses", &status_item), OPTIONAL_NUMBER("limit"), END_OF_FIELDS};

static const struct field list_tasks[] = {COMMON_FIELDS, ID("agentId", TABLE_AGENTS),
    OPTIONAL_UNION("status", task_statuses), OPTIONAL_ID("assigneeAgentId", TABLE_AGENTS),
    OPTIONAL_NUMBER("limit"), END_OF_FIELDS};

static const struct field one_task[] = {
    COMMON_FIELDS, ID("agentId", TABLE_AGENTS), ID("taskId", TABLE_TASKS), END_OF_FIELDS};

static const struct field search_tasks[] = {COMMON_FIELDS, ID("agentId", TABLE_AGENTS),
    STRING("query"), OPTIONAL_NUMBER("limit"), END_OF_FIELDS};

static const struct field load_task[] = {COMMON_FIELDS, ID("agentId", TABLE_AGENTS),
    ID("taskId", TABLE_TASKS), OPTIONAL_NUMBER("messageLimit"), END_OF_FIELDS};

static const struct field get_history[] = {COMMON_FIELDS, ID("agentId", TABLE_AGENTS),
    ID("taskId", TABLE_TASKS), OPTIONAL_NUMBER("messageLimit"), OPTIONAL_NUMBER("activityLimit"),
    END_OF_FIELDS};

static const struct field update_status[] = {COMMON_FIELDS, ID("taskId", TABLE_TASKS),
    ID("agentId", TABLE_AGENTS), UNION("status", task_statuses), OPTIONAL_STRING("blockedReason"),
    OPTIONAL_UNION("expectedStatus", task_statuses), END_OF_FIELDS};

static const struct field create_task[] = {COMMON_FIELDS, ID("agentId", TABLE_AGENTS),
    STRING("title"), OPTIONAL_STRING("description"), OPTIONAL_NUMBER("priority"),
    OPTIONAL_ARRAY("labels", &string_item), OPTIONAL_NUMBER("dueDate"),
    OPTIONAL_UNION("status", task_statuses), OPTIONAL_STRING("blockedReason"),
    OPTIONAL_ARRAY("assignedAgentIds", &agent_item), END_OF_FIELDS};

static const struct field assign_task[] = {COMMON_FIELDS, ID("taskId", TABLE_TASKS),
    ID("agentId", TABLE_AGENTS), ARRAY("assignedAgentIds", &agent_item), END_OF_FIELDS};

static const struct field update_task[] = {COMMON_FIELDS, ID("taskId", TABLE_TASKS),
    ID("agentId", TABLE_AGENTS), OPTIONAL_STRING("title"), OPTIONAL_STRING("description"),
    OPTIONAL_NUMBER("priority"), OPTIONAL_ARRAY("labels", &string_item),
    OPTIONAL_ARRAY("assignedAgentIds", &agent_item),
    OPTIONAL_ARRAY("assignedUserIds", &string_item), OPTIONAL_UNION("status", task_statuses),
    OPTIONAL_STRING("blockedReason"), OPTIONAL_NUMBER("dueDate"), END_OF_FIELDS};

static const struct field delete_task[] = {COMMON_FIELDS, ID("taskId", TABLE_TASKS),
    ID("agentId", TABLE_AGENTS), STRING("reason"), END_OF_FIELDS};

static const struct field link_task[] = {COMMON_FIELDS, ID("agentId", TABLE_AGENTS),
    ID("taskId", TABLE_TASKS), NUMBER("prNumber"), END_OF_FIELDS};

static const struct field request_responses[] = {COMMON_FIELDS,
    ID("requesterAgentId", TABLE_AGENTS), ID("taskId", TABLE_TASKS),
    ARRAY("recipientSlugs", &string_item), STRING("message"), END_OF_FIELDS};

static const struct field create_document[] = {COMMON_FIELDS, ID("agentId", TABLE_AGENTS),
    OPTIONAL_ID("documentId", TABLE_DOCUMENTS), OPTIONAL_ID("taskId", TABLE_TASKS), STRING("title"),
    STRING("content"), UNION("type", document_types), END_OF_FIELDS};

static const struct field list_documents[] = {COMMON_FIELDS, OPTIONAL_ID("taskId", TABLE_TASKS),
    OPTIONAL_UNION("type", document_types), OPTIONAL_NUMBER("limit"), END_OF_FIELDS};

const struct service_function service_functions_v1[] = {
    {"listAgents", service_common_arguments, service_v1_list_agents},
    {"listAgentsForRuntime", service_common_arguments, service_v1_list_profiles},
    {"getOrchestratorAgentId", service_common_arguments, service_v1_get_orchestrator},
    {"getAgentSkillsForTool", skills, service_v1_get_skills},
    {"updateAgentHeartbeat", service_heartbeat_arguments, service_update_heartbeat},
    {"updateRuntimeStatus", service_runtime_report_arguments, service_v1_update_runtime},
    {"checkAndClearRestartRequested", service_common_arguments, service_check_restart},
    {"getPendingUpgrade", service_common_arguments, service_v1_get_upgrade},
    {"recordUpgradeResult", service_upgrade_result_arguments, service_v1_record_upgrade},
    {"listUndeliveredNotifications", service_page_arguments, service_v1_list_undelivered},
    {"getNotificationForDelivery", service_one_notification_arguments, service_v1_get_notification},
    {"markNotificationRead", service_one_notification_arguments, service_v1_mark_read},
    {"markNotificationDeliveryEnded", service_one_notification_arguments, service_v1_mark_ended},
    {"markNotificationDelivered", service_one_notification_arguments, service_v1_mark_delivered},
    {"createResponseRequestNotifications", request_responses, service_v1_request_responses},
    {"createMessageFromAgent", create_message, service_v1_create_message},
    {"createTaskMessageForAgentTool", post_message, service_v1_post_message},
    {"listTaskThreadForAgentTool", list_thread, service_v1_list_thread},
    {"registerMessageUploadFromAgent", register_upload, service_v1_register_upload},
    {"listAssignedTasksForAgent", list_assigned, service_v1_list_assigned},
    {"listTasksForOrchestratorHeartbeat", list_tracked, service_v1_list_tracked},
    {"listTasksForAgentTool", list_tasks, service_v1_list_tasks},
    {"getTaskForAgentTool", one_task, service_v1_get_task},
    {"searchTasksForAgentTool", search_tasks, service_v1_search_tasks},
    {"loadTaskDetailsForAgentTool", load_task, service_v1_load_task},
    {"getTaskHistoryForAgentTool", get_history, service_v1_get_history},
    {"updateTaskStatusFromAgent", update_status, service_v1_update_status},
    {"createTaskFromAgent", create_task, service_v1_create_task},
    {"assignTaskFromAgent", assign_task, service_v1_assign_task},
    {"updateTaskFromAgent", update_task, service_v1_update_task},
    {"deleteTaskFromAgent", delete_task, service_v1_delete_task},
    {"linkTaskToPrForAgentTool", link_task, service_v1_link_task},
    {"createDocumentFromAgent", create_document, service_v1_create_document},
    {"listDocumentsForAgent", list_documents, service_v1_list_documents},
    {NULL, NULL, NULL},
};

struct document *service_orchestrator(struct service_call *call, const char *what)
{
    struct document *agent = service_agent(call);
    if (agent == NULL || account_is_orchestrator(&call->sandbox->store, agent))
        return agent;
    service_fail(call, "Forbidden: Only the orchestrator can %s", what);
    return NULL;
}

struct document *service_agent_allowed(
    struct service_call *call, const char *flag, const char *refusal)
{
    struct document *agent = service_agent(call);
    if (agent == NULL || account_allows(&call->sandbox->store, agent, flag))
        return agent;
    service_fail(call, "Forbidden: %s", refusal);
    return NULL;
}

double service_limit(const struct service_call *call, const char *name, double fallback, double max)
{
    const json_t *given = json_object_get(call->arguments, name);
    double limit = given == NULL ? fallback : json_number_value(given);
    return limit < max ? limit : max;
}

bool service_take(struct service_call *call, double limit, size_t *count)
{
    if (limit < 0 || floor(limit) != limit) {
        service_fail(call, "Arg 1 `n` to `take` must be a non-negative integer");
        return false;
    }
    *count = (size_t)limit;
    return true;
}

size_t service_slice(double limit, size_t count)
{
    double end = trunc(limit);
    if (end < 0)
        end += (double)count;
    if (end < 0)
        return 0;
    return end < (double)count ? (size_t)end : count;
}

bool service_check_length(
    struct service_call *call, const char *name, size_t max, const char *refusal)
{
    const char *value = service_argument(call, name);
    if (value == NULL || !utf16_exceeds(value, max))
        return true;
    service_fail(call, "%s", refusal);
    return false;
}
