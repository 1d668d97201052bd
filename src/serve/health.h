/* The answers of /health and /version, built from what the parts of the runtime last said. */
#ifndef SERVE_HEALTH_H
#define SERVE_HEALTH_H

#include "agents/agents.h"
#include "base/text.h"
#include "config/config.h"
#include "gateway/breaker.h"
#include "gateway/roster.h"
#include "gateway/supervisor.h"
#include "gateway/version_probe.h"
#include "http/server.h"
#include "telemetry/stats.h"

/* What the answers are made of; all borrowed and outliving the server, none NULL but process. */
struct health_sources {
    const struct config *config;
    struct stats *stats;
    struct version_probe *version;
    struct breaker *breaker;
    struct gateway_roster *roster;
    struct wake_schedule *schedule;
    struct gateway_supervisor *process; /* NULL: the gateway is not our child */
};

/*
 * Appends the JSON of /health, indented by two, with the keys of contract runtime-behaviour-v0,
 * section 9, in that order, and more. "healthy" while the gateway and the delivery run, the gate is
 * open and not for one send at a time, a gateway that is our child accepts connections, and neither
 * the last poll nor the last write to the spool failed, else "degraded". Holds no secret, session
 * key or reply: errors are redacted. Out of memory sets body->failed. Any thread; takes short
 * locks.
 */
void health_append(struct text *body, const struct health_sources *sources);

/* Whether it says "healthy". Any thread; takes short locks. */
bool health_is_good(const struct health_sources *sources);

/* Appends the JSON of /version: compact, four strings (same section). As health_append. */
void health_append_version(struct text *body, const struct health_sources *sources);

/* The handlers of both paths; context is the struct health_sources. */
http_server_handler health_handle;
http_server_handler health_handle_version;

/* The answers of /livez and /readyz, for supervisors that start, restart and route by them. */

/* What the answers are made of; borrowed, outliving the server. */
struct probe_sources {
    struct stats *stats;
    const struct breaker *breaker;
    const struct watchdog *watchdog;
};

/*
 * Appends the JSON of /livez: whether every control thread shows up. A runtime for which this is
 * false does not mend by itself. Returns it. With verbose the check is named when all is well, too.
 */
bool probes_append_alive(struct text *body, const struct probe_sources *sources, bool verbose);

/*
 * Appends the JSON of /readyz: whether notifications can be delivered now. Not while the runtime
 * starts or stops, nor while the last poll failed or the gateway lets nobody in. Returns it. With
 * verbose all checks are named, not only those that fail.
 */
bool probes_append_ready(struct text *body, const struct probe_sources *sources, bool verbose);

/* The handlers of both paths, 200 or 503; context is the struct probe_sources. */
http_server_handler probes_handle_alive;
http_server_handler probes_handle_ready;

#endif
