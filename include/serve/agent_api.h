/* The agents' HTTP API: POST /agent/..., on threads of its own. */
#ifndef SERVE_AGENT_API_H
#define SERVE_AGENT_API_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "agent_tools/capability.h"
#include "agent_tools/catalog.h"
#include "agents/agents.h"
#include "backend/convex.h"
#include "base/error.h"
#include "config/config.h"
#include "delivery/attention.h"
#include "http/ca_store.h"
#include "http/server.h"
#include "telemetry/stats.h"

enum { AGENT_API_THREADS = 4, AGENT_API_MAX_OF_SESSION = 16 };

/* Borrowed until agent_api_destroy. */
struct agent_api_parts {
    const struct config *config;
    const struct tool_catalog *catalog; /* whose tools with a path are served */
    const struct capability *capability;
    struct convex *convex;
    struct wake_schedule *schedule;
    struct attention *attention; /* is told of calls that succeed; NULL: nobody */
    struct ca_store *store;
    struct stats *stats;
    const atomic_bool *abort; /* aborts the requests in flight */
};

struct agent_api;

/* No thread is started. The caller destroys it, after the server. ERROR_NO_MEMORY. */
int agent_api_create(
    struct agent_api **api, const struct agent_api_parts *parts, struct error *error);
void agent_api_destroy(struct agent_api *api);

/* What the HTTP server is created with, so that it takes the requests. */
const struct http_server_posts *agent_api_posts(const struct agent_api *api);

/*
 * Starts the threads mc-agent-1 to 4, which answer the requests that the server takes. Errors as
 * thread_start and http_client_create; some may run then, and agent_api_stop ends them.
 */
int agent_api_start(struct agent_api *api, struct http_server *server, struct error *error);

/* Answers what waits with 503, as whatever comes later. Any thread; does not block. */
void agent_api_begin_stop(struct agent_api *api);

/* Whether all requests in flight end before deadline_ms (monotonic). Blocks until then at most. */
bool agent_api_wait(struct agent_api *api, int64_t deadline_ms);

/*
 * Joins the threads. Blocks for the requests in flight, so set the abort flag before if they may
 * not end by themselves. The server is destroyed after that. NULL does nothing, as for all of these
 * three.
 */
void agent_api_stop(struct agent_api *api);

#endif
