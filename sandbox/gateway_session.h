/* Selection of the agent and the session of a gateway request. */
#ifndef SANDBOX_GATEWAY_SESSION_H
#define SANDBOX_GATEWAY_SESSION_H

#include <stdbool.h>

#include "base/text.h"
#include "sandbox.h"

/* The parts of a request that select them. Borrowed, NULL when absent. */
struct session_request {
    const char *key;   /* x-openclaw-session-key */
    const char *agent; /* x-openclaw-agent-id */
    const char *model;
    const char *user;
};

/* The selection. Its strings are owned and freed by the caller, also after a failure. */
struct session_choice {
    unsigned status; /* 0: runs; 400: refused with text; 500: the run fails */
    struct text text;
    char *agent;
    char *key;
};

/* Selects as a gateway of release 2026.9.6 does (docs/protocol.md, "Sessions and agents"). */
void gateway_session_choose(
    struct sandbox *sandbox, const struct session_request *request, struct session_choice *choice);

/* The agents that the gateway knows, as a new array of ids. */
json_t *gateway_session_agents(struct sandbox *sandbox);

#endif
