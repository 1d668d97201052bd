/* The answers of /livez and /readyz, for supervisors that start, restart and route by them. */
#ifndef SERVE_PROBES_H
#define SERVE_PROBES_H

#include "base/stats.h"
#include "base/text.h"
#include "remote/gateway_gate.h"
#include "serve/http_server.h"

/* What the answers are made of; borrowed, outliving the server. */
struct probe_sources {
    struct stats *stats;
    const struct gateway_gate *gate;
    /* The name of a thread that does not show up when it is due, or NULL; short locks only. */
    const char *(*find_stuck)(void *stuck_context);
    void *stuck_context;
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
