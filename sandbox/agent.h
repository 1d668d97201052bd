/* The agent behind the gateway: simple rules instead of a language model. */
#ifndef SANDBOX_AGENT_H
#define SANDBOX_AGENT_H

#include <stdbool.h>

/*
 * What the agent says to an input, the caller's to free. It answers notifications in the six
 * required sections, hands work on to a colleague when a user's message says "ask NAME", keeps
 * silent (with the gateway's own words for it) to colleagues unless chatty, so that two agents
 * never talk for ever, and answers heartbeats with HEARTBEAT_OK. Pure.
 */
char *agent_reply(const char *agent, const char *input, bool chatty);

/* The value behind the last "Notification ID: " of an input, the caller's to free, or NULL. */
char *agent_notification_id(const char *input);

#endif
