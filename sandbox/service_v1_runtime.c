/*
 * Service actions of version 1 on supervision, where they differ from version 0
 * (service_runtime.c): a status report has effects on agents, notifications and users (presence.c),
 * a pending upgrade that is not well-formed counts as none, and only the first line of an upgrade's
 * error is stored.
 */
#include "base/json.h"
#include "memory.h"
#include "presence.h"
#include "service_v1.h"

enum { MAX_ERROR_UNITS = 2048 };

void service_v1_update_runtime(struct service_call *call)
{
    struct store *store = &call->sandbox->store;
    char *before = memory_copy(document_string(call->account, "runtimeStatus"));
    service_update_runtime(call);
    presence_changed(store, call->account, before, service_argument(call, "status"));
    free(before);
}

static bool is_well_formed_upgrade(const json_t *pending)
{
    static const char *const strings[] = {
        "targetOpenclawVersion", "targetRuntimeVersion", "initiatedBy", "strategy"};
    for (size_t i = 0; i < sizeof strings / sizeof *strings; i++)
        if (json_guard_string(pending, strings[i]) == NULL)
            return false;
    return json_is_number(json_object_get(pending, "initiatedAt"));
}

void service_v1_get_upgrade(struct service_call *call)
{
    const struct document *row = service_runtime_row(call);
    json_t *pending = row == NULL ? NULL : document_field(row, "pendingUpgrade");
    if (is_well_formed_upgrade(pending))
        service_answer(call, json_incref(pending));
}

/* The first line of an error, trimmed and cut, as a new string; NULL when that is empty. */
static json_t *first_line(const char *error)
{
    struct text_span line = text_trim(error, strcspn(error, "\n"));
    if (line.length_bytes == 0)
        return NULL;
    return memory_json(
        json_stringn(line.bytes, text_utf16_cut(line.bytes, line.length_bytes, MAX_ERROR_UNITS)));
}

void service_v1_record_upgrade(struct service_call *call)
{
    const char *error = service_argument(call, "error");
    json_t *arguments = memory_json(json_copy((json_t *)call->arguments));
    json_t *line = error == NULL ? NULL : first_line(error);
    json_object_del(arguments, "error");
    if (line != NULL)
        json_object_set_new(arguments, "error", line);
    const json_t *given = call->arguments;
    call->arguments = arguments;
    service_record_upgrade(call);
    call->arguments = given;
    json_decref(arguments);
}
