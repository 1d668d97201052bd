/* The paths that the runtime's server answers, and what each is answered from. */
#ifndef SERVE_ROUTES_H
#define SERVE_ROUTES_H

#include "serve/health.h"
#include "serve/http_server.h"
#include "serve/metrics_page.h"
#include "serve/probes.h"

enum { ROUTES = 5 };

/* Where the answers come from; all borrowed. */
struct route_parts {
    struct health_sources health;
    const struct send_queue *queue;
    /* As in struct probe_sources. */
    const char *(*find_stuck)(void *stuck_context);
    void *stuck_context;
};

struct routes {
    struct health_sources health;
    struct metrics_sources metrics;
    struct probe_sources probes;
    struct http_server_route table[ROUTES + 1]; /* for http_server_create */
};

/* Fills in routes, which stay where they are as long as a server uses them. */
void routes_init(struct routes *routes, const struct route_parts *parts);

#endif
