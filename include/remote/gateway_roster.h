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

/* Whether the gateway has the agent, or did not say. Any thread; a short lock. */
bool gateway_roster_has(struct gateway_roster *roster, const char *agent_slug);

#endif
