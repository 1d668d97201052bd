/* The address at the gateway of a session that a backend of either version names. */
#ifndef DELIVERY_AGENT_ADDRESS_H
#define DELIVERY_AGENT_ADDRESS_H

#include <stdbool.h>

#include "backend/convex.h"
#include "config/config.h"
#include "gateway/roster.h"

/*
 * Derives the address of a session: session_key as a backend of that version names it, for the
 * agent that is now called slug. On v0, and without a session_key, it is agent_address_make
 * (gateway/roster.h). On v1 it also tells whether the agent is unusable, which must not be asked
 * then. The caller ends address->session_key. False without memory. Any thread; briefly takes the
 * roster's lock.
 */
bool session_address_make(struct agent_address *address, const struct config *config,
    struct gateway_roster *roster, enum backend_version version, const char *slug,
    const char *session_key);

#endif
