/* Which agent a gateway request runs, and in which session. */
#ifndef SANDBOX_GATEWAY_SESSION_H
#define SANDBOX_GATEWAY_SESSION_H

#include <stdbool.h>

#include "base/text.h"
#include "sandbox.h"

/* What a request says about it. Borrowed, NULL when absent. */
struct session_request {
    const char *key;   /* x-openclaw-session-key */
    const char *agent; /* x-openclaw-agent-id */
    const char *model;
    const char *user;
};

/* The answer; owned strings, freed by the caller also after a failure. */
struct session_choice {
    unsigned status; /* 0: runs; 400: refused with text; 500: the run fails */
    struct text text;
    char *agent;
    char *key;
};

/* Decides as a gateway of release 2026.9.6 does (contract openclaw-gateway, section 6). */
void gateway_session_choose(
    struct sandbox *sandbox, const struct session_request *request, struct session_choice *choice);

/* The agents that the gateway knows, as a new array of ids. */
json_t *gateway_session_agents(struct sandbox *sandbox);

#endif
