/* The backend's functions about agents (contract service-actions-v0, section 2). */
#ifndef REMOTE_SERVICE_AGENTS_H
#define REMOTE_SERVICE_AGENTS_H

#include "remote/service_actions.h"

enum { AGENT_NAME_BYTES = 128, AGENT_KEY_BYTES = 256 };

/* What is kept of an agent. Too long texts are cut. */
struct agent {
    char id[ID_BYTES];
    char slug[ID_BYTES];
    char name[AGENT_NAME_BYTES];
    char session_key[AGENT_KEY_BYTES]; /* "" when the backend gives none */
    int64_t heartbeat_interval_ms;     /* 5 minutes when the backend gives none */
};

struct agent_list {
    struct agent *agents; /* freed with agent_list_fini */
    size_t count;
    size_t refused; /* rows left out because their id is no id */
};

/*
 * Reads what listAgents returned. CONVEX_SUCCESS, or CONVEX_UNAVAILABLE with *error and nothing to
 * free: the value is no list, or there is no memory. Of agents of the same id the first counts.
 * Pure but for memory.
 */
enum convex_outcome agent_list_read(
    const json_t *value, struct agent_list *list, struct error *error);
void agent_list_fini(struct agent_list *list);

/* Both block and fail as convex_call does; any thread, each with its own client. */
enum convex_outcome service_list_agents(
    const struct service *service, struct agent_list *list, struct error *error);

/* Reports an agent as online, which also clears its current task. Idempotent. */
enum convex_outcome service_agent_is_online(
    const struct service *service, const char *agent_id, struct error *error);

#endif
