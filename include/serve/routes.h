/* The paths that the runtime's server answers, and what each is answered from. */
#ifndef SERVE_ROUTES_H
#define SERVE_ROUTES_H

#include "serve/health.h"
#include "serve/http_server.h"
#include "serve/metrics_page.h"
#include "serve/probes.h"
#include "serve/status.h"

enum { ROUTES = 10 };

struct routes {
    struct health_sources health;
    struct metrics_sources metrics;
    struct probe_sources probes;
    struct status_sources status;
    struct trend trend;               /* the server's thread's */
    struct http_server_ticker ticker; /* for http_server_create; takes the samples of trend */
    struct http_server_route table[ROUTES + 1]; /* for http_server_create */
};

/*
 * Fills in routes, which stay where they are as long as a server uses them. What health names is
 * borrowed, as are queue and workers; find_stuck and its context are those of struct probe_sources.
 */
void routes_init(struct routes *routes, const struct health_sources *health,
    struct send_queue *queue, struct worker_pool *workers,
    const char *(*find_stuck)(void *stuck_context), void *stuck_context);

#endif
