/*
 * Service actions of the runtime's supervision (docs/protocol.md, "Supervision"): status reports,
 * restart requests, upgrades. There is one row per account, created by the first report.
 *
 * A pending upgrade ends in one of three ways: recordUpgradeResult, a status report with the
 * target versions, or a report more than 30 minutes after it was initiated.
 */
#include "memory.h"
#include "service.h"

enum { MAX_HISTORY = 10 };

static const double PENDING_TIMEOUT_MS = 30.0 * 60 * 1000;

struct document *service_runtime_row(struct service_call *call)
{
    struct document *row = NULL;
    TAILQ_FOREACH (row, &call->sandbox->store.tables[TABLE_RUNTIMES], siblings) {
        if (service_owns(call, row))
            return row;
    }
    return NULL;
}

static bool strings_equal(const char *one, const char *other)
{
    return one != NULL && other != NULL && strcmp(one, other) == 0;
}

static const char *string_or(const char *text, const char *fallback)
{
    return text != NULL ? text : fallback;
}

static struct document *add_runtime_row(
    struct service_call *call, const char *status, const json_t *config)
{
    const char *version =
        string_or(json_string_value(json_object_get(config, "runtimeServiceVersion")), "");
    const char *openclaw =
        string_or(json_string_value(json_object_get(config, "openclawVersion")), "");
    json_t *fields = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:O*, s:f, s:f}",
        "accountId", call->account->id, "provider", "digitalocean", "providerId",
        string_or(json_string_value(json_object_get(config, "dropletId")), ""), "ipAddress",
        string_or(json_string_value(json_object_get(config, "ipAddress")), ""), "region",
        string_or(json_string_value(json_object_get(config, "region")), ""), "openclawVersion",
        openclaw, "runtimeServiceVersion", version, "dockerImageTag",
        *version == '\0' ? "latest" : version, "status", status, "lastHealthCheck",
        json_object_get(config, "lastHealthCheck"), "createdAt", call->now_ms, "updatedAt",
        call->now_ms);
    return store_insert(&call->sandbox->store, TABLE_RUNTIMES, fields, NULL);
}

/*
 * Fields in config overwrite the row's; absent ones stay, except lastHealthCheck, which is removed.
 */
static void update_runtime_row(
    struct service_call *call, struct document *row, const char *status, const json_t *config)
{
    static const char *const pairs[][2] = {{"dropletId", "providerId"}, {"ipAddress", "ipAddress"},
        {"region", "region"}, {"openclawVersion", "openclawVersion"},
        {"runtimeServiceVersion", "runtimeServiceVersion"}};
    struct store *store = &call->sandbox->store;
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        json_t *value = json_object_get(config, pairs[i][0]);
        if (value != NULL)
            store_set(store, row, pairs[i][1], json_incref(value));
    }
    store_set(
        store, row, "lastHealthCheck", json_incref(json_object_get(config, "lastHealthCheck")));
    json_t *version = json_object_get(config, "runtimeServiceVersion");
    if (service_is_v1(call) && version != NULL)
        store_set(store, row, "dockerImageTag", json_incref(version));
    store_set(store, row, "status", memory_json(json_string(status)));
    store_set(store, row, "updatedAt", memory_json(json_real(call->now_ms)));
}

/* Appends an entry, which it takes, to the row's history; the last MAX_HISTORY are kept. */
static void append_history(struct service_call *call, struct document *row, json_t *entry)
{
    json_t *history = json_incref(document_field(row, "upgradeHistory"));
    if (history == NULL)
        history = memory_json(json_array());
    json_array_append_new(history, memory_json(entry));
    while (json_array_size(history) > MAX_HISTORY)
        json_array_remove(history, 0);
    store_set(&call->sandbox->store, row, "upgradeHistory", history);
}

/* The row's versions before a status report, for the history. */
struct versions {
    char *openclaw;
    char *runtime;
};

static void finish_pending_upgrade(struct service_call *call, struct document *row,
    const json_t *pending, const struct versions *before, const char *status, const char *error)
{
    append_history(call, row,
        json_pack("{s:s, s:O, s:s, s:O, s:s, s:O, s:f, s:s*, s:O}", "fromOpenclawVersion",
            before->openclaw, "toOpenclawVersion",
            json_object_get(pending, "targetOpenclawVersion"), "fromRuntimeVersion",
            before->runtime, "toRuntimeVersion", json_object_get(pending, "targetRuntimeVersion"),
            "status", status, "startedAt", json_object_get(pending, "initiatedAt"), "completedAt",
            call->now_ms, "error", error, "initiatedBy", json_object_get(pending, "initiatedBy")));
    store_set(&call->sandbox->store, row, "pendingUpgrade", NULL);
}

static void settle_pending_upgrade(struct service_call *call, struct document *row,
    const json_t *config, const struct versions *before)
{
    const json_t *pending = document_field(row, "pendingUpgrade");
    if (pending == NULL)
        return;
    const char *openclaw = json_string_value(json_object_get(config, "openclawVersion"));
    const char *runtime = json_string_value(json_object_get(config, "runtimeServiceVersion"));
    double started_ms = json_number_value(json_object_get(pending, "initiatedAt"));
    if (strings_equal(
            openclaw, json_string_value(json_object_get(pending, "targetOpenclawVersion"))) &&
        strings_equal(runtime, json_string_value(json_object_get(pending, "targetRuntimeVersion"))))
        finish_pending_upgrade(call, row, pending, before, "success", NULL);
    else if (call->now_ms - started_ms > PENDING_TIMEOUT_MS)
        finish_pending_upgrade(call, row, pending, before, "failed", "Upgrade timed out");
}

void service_update_runtime(struct service_call *call)
{
    struct store *store = &call->sandbox->store;
    const char *status = service_argument(call, "status");
    json_t *config = json_object_get(call->arguments, "config");
    store_set(store, call->account, "runtimeStatus", memory_json(json_string(status)));
    if (config != NULL)
        store_set(store, call->account, "runtimeConfig", json_incref(config));
    struct document *row = service_runtime_row(call);
    if (row == NULL) {
        add_runtime_row(call, status, config);
    } else {
        struct versions before = {memory_copy(document_string(row, "openclawVersion")),
            memory_copy(document_string(row, "runtimeServiceVersion"))};
        update_runtime_row(call, row, status, config);
        settle_pending_upgrade(call, row, config, &before);
        free(before.openclaw);
        free(before.runtime);
    }
    service_answer_success(call);
}

/* Reading the request clears it, so each is returned once. */
void service_check_restart(struct service_call *call)
{
    bool requested = document_field(call->account, "restartRequestedAt") != NULL;
    if (requested)
        store_set(&call->sandbox->store, call->account, "restartRequestedAt", NULL);
    service_answer(call, json_pack("{s:b}", "restartRequested", requested));
}

void service_get_upgrade(struct service_call *call)
{
    const struct document *row = service_runtime_row(call);
    json_t *pending = row == NULL ? NULL : document_field(row, "pendingUpgrade");
    if (pending != NULL)
        service_answer(call, json_incref(pending));
}

static void store_upgrade_result(struct service_call *call, struct document *row)
{
    struct store *store = &call->sandbox->store;
    const char *status = service_argument(call, "status");
    bool failed = strcmp(status, "failed") == 0;
    if (strcmp(status, "success") == 0) {
        store_set(store, row, "openclawVersion",
            json_incref(json_object_get(call->arguments, "toOpenclawVersion")));
        store_set(store, row, "runtimeServiceVersion",
            json_incref(json_object_get(call->arguments, "toRuntimeVersion")));
    }
    store_set(store, row, "status", memory_json(json_string(failed ? "error" : "online")));
    store_set(store, row, "pendingUpgrade", NULL);
}

/* Succeeds without a row: a runtime may report before its first status. */
void service_record_upgrade(struct service_call *call)
{
    struct document *row = service_runtime_row(call);
    if (row != NULL) {
        const json_t *arguments = call->arguments;
        const json_t *pending = document_field(row, "pendingUpgrade");
        json_t *started = json_object_get(pending, "initiatedAt");
        json_t *by = json_object_get(pending, "initiatedBy");
        json_t *entry = json_pack("{s:O, s:O, s:O, s:O, s:O, s:f, s:O*, s:O*, s:s, s:f}",
            "fromOpenclawVersion", json_object_get(arguments, "fromOpenclawVersion"),
            "toOpenclawVersion", json_object_get(arguments, "toOpenclawVersion"),
            "fromRuntimeVersion", json_object_get(arguments, "fromRuntimeVersion"),
            "toRuntimeVersion", json_object_get(arguments, "toRuntimeVersion"), "status",
            json_object_get(arguments, "status"), "completedAt", call->now_ms, "duration",
            json_object_get(arguments, "duration"), "error", json_object_get(arguments, "error"),
            "initiatedBy", by == NULL ? "runtime" : json_string_value(by), "startedAt",
            started == NULL ? call->now_ms : json_number_value(started));
        append_history(call, row, entry);
        store_upgrade_result(call, row);
    }
    service_answer_success(call);
}
