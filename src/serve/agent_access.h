/* Who may use the agents' API: peers, session keys. */
#ifndef SERVE_AGENT_ACCESS_H
#define SERVE_AGENT_ACCESS_H

#include <stdbool.h>
#include <sys/socket.h>

#include "agent_tools/capability.h"
#include "agents/agents.h"
#include "config/config.h"

/*
 * Whether the address is of this machine, of a private network (RFC 1918, fc00::/7) or of the link
 * (169.254/16, fe80::/10); IPv4 addresses also in their IPv6 form. Pure.
 */
bool peer_is_private(const struct sockaddr *peer);

/* What session keys are judged by. Borrowed. */
struct agent_access {
    const struct config *config;
    const struct capability *capability;
    struct wake_schedule *schedule;
};

/*
 * Whether credential, "<session key>~<tag>", names a session of one of the account's agents and has
 * its tag, if tags are wanted; then *agent is filled in, and *key_bytes tells how much of
 * credential is the session key. Any thread; takes the schedule's lock briefly.
 */
bool agent_access_check(const struct agent_access *access, const char *credential,
    struct agent *agent, size_t *key_bytes);

#endif
