/* Calls of the backend's functions for agents' tools, whose failures an agent is told. */
#ifndef BACKEND_SERVICE_TOOLS_H
#define BACKEND_SERVICE_TOOLS_H

#include <stdbool.h>
#include <stddef.h>

#include "backend/service.h"

enum { SERVICE_REASON_BYTES = 512 };

/* Why a call did not succeed. */
struct service_failure {
    bool may_have_run;       /* whether the function may have run, or has */
    bool function_is_absent; /* the backend does not have it */
    /*
     * Of a CONVEX_FUNCTION_ERROR: what the function said, fit for an agent; "" when the deployment
     * hides it.
     */
    char reason[SERVICE_REASON_BYTES];
    struct error error; /* for the log */
};

/*
 * Calls a function of version 1 with arguments, an object of which it takes the reference; NULL
 * counts as out of memory. With changes the request goes out at most once. On CONVEX_SUCCESS *value
 * is a new reference, otherwise *failure says what is known. Nothing is sent to a backend that has
 * shown itself to be v0. A function error that may mean that v1 is gone puts the version in doubt.
 * Blocks as convex_call does; any thread, each with its own client.
 */
enum convex_outcome service_invoke(const struct service *service, const char *action,
    json_t *arguments, bool changes, json_t **value, struct service_failure *failure);

/*
 * Writes what a function said into reason, without what the deployment puts around it: request id,
 * error class, stack. text is that of a CONVEX_FUNCTION_ERROR. "" when it says nothing. Pure.
 */
void service_reason_read(const char *text, char reason[static SERVICE_REASON_BYTES]);

#endif
