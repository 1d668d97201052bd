/*
 * Calls of functions that agents' tools use. Unlike the typed calls of service.c they are packed by
 * the tools themselves, and their failures are told to an agent: whether the function may have run,
 * which decides if the agent may try again, and the reason that the function gave.
 *
 * A development deployment wraps a reason in its own words (docs/protocol.md, "Convex HTTP API"):
 *
 *     [Request ID: 0123456789abcdef] Server Error
 *     Uncaught Error: Forbidden: Agent is not allowed to create tasks
 *         at handler (../convex/service/actions.ts:41:11)
 *
 * Error texts come here on one line, with a blank for each line break, redacted, and cut where the
 * deployment echoes arguments. Of a refused argument only its name is kept.
 *
 * There is no state here. Everything but service_invoke is pure.
 */
#include "backend/service_tools.h"

#include <stdio.h>
#include <string.h>

#include "base/text.h"

static const char validation_error[] = "ArgumentValidationError";
static const char path_label[] = "Path: .";

/* Moves span past the first occurrence of words, if there is one. */
static void skip_past(struct text_span *span, const char *words)
{
    const char *found = memmem(span->bytes, span->length_bytes, words, strlen(words));
    if (found == NULL)
        return;
    found += strlen(words);
    span->length_bytes -= (size_t)(found - span->bytes);
    span->bytes = found;
}

static void cut_before(struct text_span *span, const char *words)
{
    const char *found = memmem(span->bytes, span->length_bytes, words, strlen(words));
    if (found != NULL)
        span->length_bytes = (size_t)(found - span->bytes);
}

/* Which argument a validation error is about; false if it does not say. */
static bool find_argument(const struct text_span *said, struct text_span *name)
{
    *name = *said;
    const char *found = memmem(said->bytes, said->length_bytes, path_label, strlen(path_label));
    if (found == NULL)
        return false;
    skip_past(name, path_label);
    size_t length = 0;
    while (length < name->length_bytes && strchr(TEXT_LETTERS TEXT_DIGITS "_", name->bytes[length]))
        length++;
    name->length_bytes = length;
    return length > 0;
}

void service_reason_read(const char *text, char reason[static SERVICE_REASON_BYTES])
{
    struct text_span said = {text, strlen(text)};
    struct text_span name;
    skip_past(&said, "Server Error");
    skip_past(&said, "Uncaught ");
    cut_before(&said, "    at ");
    said = text_trim(said.bytes, said.length_bytes);
    static const char *const classes[] = {"Error: ", "ConvexError: "};
    for (size_t i = 0; i < sizeof classes / sizeof classes[0]; i++)
        if (said.length_bytes > strlen(classes[i]) &&
            memcmp(said.bytes, classes[i], strlen(classes[i])) == 0)
            skip_past(&said, classes[i]);
    bool is_validation =
        memmem(said.bytes, said.length_bytes, validation_error, strlen(validation_error)) != NULL;
    if (!is_validation)
        snprintf(reason, SERVICE_REASON_BYTES, "%.*s", (int)said.length_bytes, said.bytes);
    else if (find_argument(&said, &name))
        snprintf(reason, SERVICE_REASON_BYTES, "Not found: %.*s is not an id that the board knows",
            (int)name.length_bytes, name.bytes);
    else
        reason[0] = '\0';
}

/* Takes in what a function error says about the function and the version. */
static void read_function_error(
    const struct service *service, const char *action, struct service_failure *failure)
{
    enum service_refusal refusal = service_refusal_parse(failure->error.text);
    failure->function_is_absent = refusal == REFUSAL_FUNCTION_UNKNOWN;
    failure->may_have_run = !failure->function_is_absent;
    if (refusal == REFUSAL_FUNCTION_UNKNOWN || refusal == REFUSAL_UNEXPLAINED)
        convex_doubt_version(service->convex);
    /* The error begins with "ACTION: ". */
    size_t action_bytes = strlen(action) + strlen(": ");
    if (!failure->function_is_absent && strlen(failure->error.text) >= action_bytes)
        service_reason_read(failure->error.text + action_bytes, failure->reason);
}

enum convex_outcome service_invoke(const struct service *service, const char *action,
    json_t *arguments, bool changes, json_t **value, struct service_failure *failure)
{
    *failure = (struct service_failure){0};
    if (convex_likely_version(service->convex) == BACKEND_V0) {
        json_decref(arguments);
        failure->function_is_absent = true;
        error_set(&failure->error, ERROR_REMOTE, "%s: the backend is version 0", action);
        return CONVEX_FUNCTION_ERROR;
    }
    struct service own = *service;
    own.may_have_run = &failure->may_have_run;
    enum convex_outcome outcome = convex_call(
        &own, action, arguments, changes ? CONVEX_ONCE : CONVEX_LIST, value, &failure->error);
    if (outcome == CONVEX_FUNCTION_ERROR)
        read_function_error(service, action, failure);
    return outcome;
}
