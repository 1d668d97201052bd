/* The gateway's agent: simple rules in place of a language model. */
#ifndef SANDBOX_AGENT_H
#define SANDBOX_AGENT_H

#include <stdbool.h>

/*
 * Returns the agent's reply to an input; the caller frees it. It answers notifications in the six
 * required sections, hands work to a colleague when a user's message contains "ask NAME", and
 * answers heartbeats with HEARTBEAT_OK. To a colleague's thread update it replies with the
 * gateway's placeholder for an empty reply, unless chatty, so that two agents never talk
 * indefinitely. Pure.
 */
char *agent_reply(const char *agent, const char *input, bool chatty);

/*
 * Returns the value after the last "Notification ID: " of an input, for the caller to free, or
 * NULL.
 */
char *agent_notification_id(const char *input);

#endif
