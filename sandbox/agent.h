/* The replies of the gateway's agent: simple rules in place of a language model. */
#ifndef SANDBOX_AGENT_H
#define SANDBOX_AGENT_H

#include <stdbool.h>

#include "base/text.h"

/* What an agent has done with its tools: lines for the sections of its reply, each with its "\n".
 */
struct agent_work {
    struct text done;
    struct text artifacts;
    struct text problems;
    bool has_asked; /* a colleague, with a tool */
};

/*
 * Returns the agent's reply to an input; the caller frees it. It answers notifications in the six
 * required sections, with the lines of work, and answers heartbeats with HEARTBEAT_OK. Unless it
 * has asked with a tool, it hands work to a colleague when a user's message contains "ask NAME". To
 * a colleague's thread update it replies with the gateway's placeholder for an empty reply, unless
 * chatty, so that two agents never talk indefinitely. Pure.
 */
char *agent_reply(const char *agent, const char *input, bool chatty, const struct agent_work *work);

/*
 * Appends foreign text on one line, cut at 280 bytes, without any @, which would notify people
 * again. Pure.
 */
void agent_append_quoted(struct text *reply, const char *message);

#endif
