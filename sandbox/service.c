/*
 * Runs the backend's service actions. Each version has a table of its functions: name, validator
 * of the arguments, implementation. A call is validated, then authorized, then run, as with the
 * real backend (docs/protocol.md, "Backend functions"); so a call with a bad argument and a bad
 * token reports the argument.
 */
#include "service.h"

#include <stdarg.h>

#include "base/sync.h"
#include "memory.h"

enum { MAX_FUNCTIONS = 48 };

static const struct service_function *functions_of(enum backend_version version)
{
    return version == BACKEND_V1 ? service_functions_v1 : service_functions_v0;
}

const char *const *service_names(enum backend_version version)
{
    static const char *names[2][MAX_FUNCTIONS + 1];
    const struct service_function *functions = functions_of(version);
    for (size_t i = 0; i < MAX_FUNCTIONS && functions[i].name != NULL; i++)
        names[version][i] = functions[i].name;
    return names[version];
}

const struct service_function *service_find(enum backend_version version, const char *name)
{
    for (const struct service_function *f = functions_of(version); f->name != NULL; f++)
        if (strcmp(f->name, name) == 0)
            return f;
    return NULL;
}

bool service_is_change(const char *name)
{
    static const char *const changes[] = {"createMessageFromAgent", "createTaskMessageForAgentTool",
        "createResponseRequestNotifications", "updateTaskStatusFromAgent", "createTaskFromAgent",
        "assignTaskFromAgent", "updateTaskFromAgent", "deleteTaskFromAgent",
        "linkTaskToPrForAgentTool", "createDocumentFromAgent"};
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++)
        if (strcmp(changes[i], name) == 0)
            return true;
    return false;
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

bool service_is_v1(const struct service_call *call)
{
    return service_version(call->sandbox) == BACKEND_V1;
}

enum backend_version service_version(const struct sandbox *sandbox)
{
    return sandbox->settings.rolled_back ? BACKEND_V0 : sandbox->options.backend;
}

bool service_owns(const struct service_call *call, const struct document *document)
{
    return document_is(document, "accountId", call->account->id);
}

const char *service_argument(const struct service_call *call, const char *name)
{
    return json_string_value(json_object_get(call->arguments, name));
}
