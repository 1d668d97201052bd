/* Which agents the gateway knows, as it last said; asked by everybody who sends. */
#ifndef GATEWAY_ROSTER_H
#define GATEWAY_ROSTER_H

#include <jansson.h>
#include <stdbool.h>

#include "base/containers.h"
#include "base/text.h"
#include "gateway/gateway.h"

struct gateway_roster;

/* A roster that knows every agent until it is told otherwise. The caller destroys it. */
int gateway_roster_create(struct gateway_roster **roster, struct error *error);
void gateway_roster_destroy(struct gateway_roster *roster);

/* Takes over what the gateway said; *models is empty afterwards. Any thread; a short lock. */
void gateway_roster_update(struct gateway_roster *roster, struct gateway_models *models);

/* Keeps the slugs of the account's agents that the gateway lacks; the reference is taken. */
void gateway_roster_set_missing(struct gateway_roster *roster, json_t *missing);

/* A copy of them, a new reference; NULL without memory. Any thread; a short lock. */
json_t *gateway_roster_missing(struct gateway_roster *roster);

/* Whether the gateway has the agent, or did not say. Any thread; a short lock. */
bool gateway_roster_has(struct gateway_roster *roster, const char *agent_slug);

/* Under which session key and as which agent of the gateway an agent of the board is asked. */

/* What addresses are made from; borrowed, shared by all workers, only read. */
struct agent_router {
    const char *account_id;
    const char *fallback_agent; /* NULL for none */
    struct gateway_roster *roster;
};

/* The caller ends it with agent_address_fini, whether complete or not. */
struct agent_address {
    struct text session_key;
    char agent_slug[ID_BYTES]; /* as the gateway knows it; "" leaves it to the gateway */
};

/*
 * Makes the address of an agent: the session key that it is given, or, when that is "", one built
 * as the backend builds it; for an agent that the gateway lacks the fallback agent's, if there is
 * one (contract openclaw-gateway, section 1.2). False without memory. Takes the roster's short
 * lock.
 */
bool agent_address_make(struct agent_address *address, const struct agent_router *router,
    const char *slug, const char *session_key);

/* The same of an agent's document. */
bool agent_address_from_json(
    struct agent_address *address, const struct agent_router *router, const json_t *agent);
void agent_address_fini(struct agent_address *address);

#endif
