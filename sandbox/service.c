/*
 * The table of the backend's service actions: name, validator of the arguments, implementation. A
 * call is validated, then authorized, then run, as with the real backend (docs/protocol.md,
 * "Backend functions"); so a call with a bad argument and a bad token reports the argument. The
 * validators are data because their text is part of the error messages (validator.c).
 */
#include "service.h"

#include <stdarg.h>

#include "base/sync.h"
#include "memory.h"

#define COMMON                                                           \
    {.name = "accountId", .kind = VALIDATE_ID, .table = TABLE_ACCOUNTS}, \
    {                                                                    \
        .name = "serviceToken", .kind = VALIDATE_STRING                  \
    }
#define STRING(name_)                            \
    {                                            \
        .name = (name_), .kind = VALIDATE_STRING \
    }
#define OPTIONAL_STRING(name_)                                     \
    {                                                              \
        .name = (name_), .kind = VALIDATE_STRING, .optional = true \
    }
#define OPTIONAL_NUMBER(name_)                                     \
    {                                                              \
        .name = (name_), .kind = VALIDATE_NUMBER, .optional = true \
    }
#define ID(name_, table_)                                       \
    {                                                           \
        .name = (name_), .kind = VALIDATE_ID, .table = (table_) \
    }
#define END          \
    {                \
        .name = NULL \
    }

static const char *const agent_statuses[] = {"online", "busy", "idle", "offline", "error", NULL};
static const char *const runtime_statuses[] = {
    "provisioning", "online", "degraded", "offline", "error", NULL};
static const char *const upgrade_results[] = {"success", "failed", "rolled_back", NULL};

static const struct field common[] = {COMMON, END};

static const struct field list_undelivered[] = {COMMON, OPTIONAL_NUMBER("limit"), END};

static const struct field one_notification[] = {
    COMMON, ID("notificationId", TABLE_NOTIFICATIONS), END};

static const struct field attachment[] = {
    STRING("type"), STRING("url"), STRING("name"), {.name = "size", .kind = VALIDATE_NUMBER}, END};

static const struct field create_message[] = {COMMON, ID("taskId", TABLE_TASKS),
    ID("agentId", TABLE_AGENTS), STRING("content"),
    {.name = "attachments", .kind = VALIDATE_ARRAY, .optional = true, .fields = attachment},
    {.name = "sourceNotificationId",
        .kind = VALIDATE_ID,
        .optional = true,
        .table = TABLE_NOTIFICATIONS},
    END};

static const struct field update_heartbeat[] = {COMMON, ID("agentId", TABLE_AGENTS),
    {.name = "status", .kind = VALIDATE_UNION, .literals = agent_statuses},
    {.name = "currentTaskId", .kind = VALIDATE_ID, .optional = true, .table = TABLE_TASKS}, END};

static const struct field runtime_config[] = {STRING("dropletId"), STRING("ipAddress"),
    OPTIONAL_STRING("region"), OPTIONAL_NUMBER("lastHealthCheck"),
    OPTIONAL_STRING("openclawVersion"), OPTIONAL_STRING("runtimeServiceVersion"),
    OPTIONAL_NUMBER("lastUpgradeAt"),
    {.name = "lastUpgradeStatus",
        .kind = VALIDATE_UNION,
        .optional = true,
        .literals = upgrade_results},
    END};

static const struct field update_runtime[] = {COMMON,
    {.name = "status", .kind = VALIDATE_UNION, .literals = runtime_statuses},
    {.name = "config", .kind = VALIDATE_OBJECT, .optional = true, .fields = runtime_config}, END};

static const struct field record_upgrade[] = {COMMON,
    {.name = "status", .kind = VALIDATE_UNION, .literals = upgrade_results},
    STRING("fromOpenclawVersion"), STRING("toOpenclawVersion"), STRING("fromRuntimeVersion"),
    STRING("toRuntimeVersion"), OPTIONAL_NUMBER("duration"), OPTIONAL_STRING("error"), END};

const struct service_function service_functions[] = {
    {"listAgents", common, service_list_agents},
    {"listUndeliveredNotifications", list_undelivered, service_list_undelivered},
    {"getNotificationForDelivery", one_notification, service_get_notification},
    {"markNotificationDelivered", one_notification, service_mark_delivered},
    {"createMessageFromAgent", create_message, service_create_message},
    {"updateAgentHeartbeat", update_heartbeat, service_update_heartbeat},
    {"updateRuntimeStatus", update_runtime, service_update_runtime},
    {"checkAndClearRestartRequested", common, service_check_restart},
    {"getPendingUpgrade", common, service_get_upgrade},
    {"recordUpgradeResult", record_upgrade, service_record_upgrade},
    {NULL, NULL, NULL},
};

const char *const *service_names(void)
{
    static const char *names[sizeof service_functions / sizeof *service_functions];
    for (size_t i = 0; service_functions[i].name != NULL; i++)
        names[i] = service_functions[i].name;
    return names;
}

const struct service_function *service_find(const char *name)
{
    for (const struct service_function *f = service_functions; f->name != NULL; f++)
        if (strcmp(f->name, name) == 0)
            return f;
    return NULL;
}

void service_run(const struct service_function *function, struct service_call *call)
{
    call->now_ms = (double)clock_wall_ms();
    if (!validator_check(
            &call->sandbox->store, function->arguments, call->arguments, &call->failure))
        return;
    if (service_authorize(call))
        function->run(call);
}

void service_fail(struct service_call *call, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    text_append(&call->failure, "Uncaught Error: ");
    text_vprintf(&call->failure, format, arguments);
    va_end(arguments);
}

void service_answer(struct service_call *call, json_t *json)
{
    char *dump = memory_json_dump(memory_json(json));
    text_append(&call->value, dump);
    free(dump);
    json_decref(json);
}

void service_answer_success(struct service_call *call)
{
    text_append(&call->value, "{\"success\":true}");
}

bool service_owns(const struct service_call *call, const struct document *document)
{
    return strcmp(document_string(document, "accountId"), call->account->id) == 0;
}

const char *service_argument(const struct service_call *call, const char *name)
{
    return json_string_value(json_object_get(call->arguments, name));
}
