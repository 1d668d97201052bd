/* Which agents the gateway knows, as it last said; asked by everybody who sends. */
#ifndef REMOTE_GATEWAY_ROSTER_H
#define REMOTE_GATEWAY_ROSTER_H

#include <stdbool.h>

#include "remote/gateway_probe.h"

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

#endif
