/* The runtime's HTTP endpoints: /health, /livez, /readyz, /metrics, /version, /status and a page.
 */
#ifndef SERVE_ROUTES_H
#define SERVE_ROUTES_H

#include "agents/agents.h"
#include "backend/convex.h"
#include "base/loop.h"
#include "config/config.h"
#include "delivery/other_runtime.h"
#include "delivery/send_queue.h"
#include "delivery/worker_pool.h"
#include "gateway/breaker.h"
#include "gateway/roster.h"
#include "gateway/supervisor.h"
#include "gateway/version_probe.h"
#include "http/server.h"
#include "telemetry/stats.h"

/* What the responses are made from; borrowed until routes_stop. */
struct routes_sources {
    const struct config *config;
    struct stats *stats;
    struct convex *convex;
    struct version_probe *version;
    struct breaker *breaker;
    struct gateway_roster *roster;
    struct wake_schedule *schedule;
    struct gateway_supervisor *supervisor; /* NULL: the gateway is not our child */
    struct send_queue *queue;
    struct other_runtime *other_runtime; /* NULL: nobody looks for its traces */
    struct worker_pool *workers;
    const struct watchdog *watchdog;
    const struct http_server_posts *posts; /* what takes requests with bodies; NULL: nothing does */
};

struct routes;

/*
 * Listens on HEALTH_HOST:HEALTH_PORT and starts the thread mc-http, which runs all handlers.
 * Errors as http_server_create; ERROR_NO_MEMORY. Blocks while a host name is resolved. The caller
 * ends it with routes_stop, before anything in sources.
 */
int routes_start(struct routes **routes, const struct routes_sources *sources, struct error *error);

/* The server, for the threads that answer what posts takes. Lives until routes_stop. */
struct http_server *routes_server(const struct routes *routes);

/* Drops open connections and joins the thread. NULL does nothing. */
void routes_stop(struct routes *routes);

#endif
