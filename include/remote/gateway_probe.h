/* Questions to the gateway that run no agent (contract openclaw-gateway, sections 1.2 and 1.5). */
#ifndef REMOTE_GATEWAY_PROBE_H
#define REMOTE_GATEWAY_PROBE_H

#include "remote/gateway.h"

/* Who asks, for how long, and for what. Borrowed. */
struct gateway_inquiry {
    struct http_client *client;
    int64_t timeout_ms;
    const struct trace *trace; /* NULL for nothing */
};

/*
 * Posts an empty object to the endpoint of the runs, with the token, and fills *result as
 * gateway_send does. GATEWAY_REPLIED means that the gateway looked at the request and therefore
 * takes ours (400, as a rule), GATEWAY_UNREACHABLE also that it did not answer in time;
 * result->body stays NULL. Blocks up to timeout_ms. Any thread, each with its own client.
 */
void gateway_probe(const struct gateway *gateway, const struct gateway_inquiry *inquiry,
    struct gateway_result *result);

/* The agents that the gateway knows. */
struct gateway_models {
    bool unsupported; /* 404: an older release, which has no such list */
    bool known;       /* false: it did not say, so every agent counts as known */
    json_t *list;     /* array of strings as the gateway spells them; owned; NULL unless known */
};

/*
 * Reads the list of models and fills *models, which the caller ends with gateway_models_fini. An
 * agent is there as "openclaw/<agent>". Blocks up to timeout_ms. Any thread, each with its own
 * client.
 */
void gateway_models_fetch(const struct gateway *gateway, const struct gateway_inquiry *inquiry,
    struct gateway_models *models);
void gateway_models_fini(struct gateway_models *models);

/* Whether the gateway has the agent, in any spelling of case; true when it did not say. */
bool gateway_models_have(const struct gateway_models *models, const char *agent_slug);

#endif
