/* The response resource: the body of the answer to an agent run. */
#ifndef SANDBOX_GATEWAY_RESOURCE_H
#define SANDBOX_GATEWAY_RESOURCE_H

#include <jansson.h>

/* What a run comes to. Borrowed. */
struct run_outcome {
    const char *model;
    const char *message; /* what the agent was asked, for the count of tokens; NULL: unknown */
    const char *text;    /* what it said; NULL: nothing */
    const json_t *calls; /* of tools, {call_id, name, arguments}; NULL: none */
    const char *error;   /* why the run failed; NULL: it did not */
    const char *code;    /* with error: its code */
};

/*
 * Returns the resource as JSON text; the caller frees it. Text beside calls is commentary, which
 * stands before them.
 */
char *gateway_resource_make(const struct run_outcome *outcome);

#endif
