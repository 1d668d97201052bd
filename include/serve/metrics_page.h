/* The answer of /metrics, which /health gives, too, to those that ask for it. */
#ifndef SERVE_METRICS_PAGE_H
#define SERVE_METRICS_PAGE_H

#include "queue/send_queue.h"
#include "serve/health.h"

/* What the answer is made of; borrowed, outliving the server. */
struct metrics_sources {
    const struct config *config;
    struct stats *stats;
    const struct send_queue *queue;
    const struct gateway_gate *gate;
    struct health_sources *health; /* for those that ask /health for JSON */
};

/*
 * Appends the metrics as they are now. Takes no lock. Out of memory sets text->failed. Only one
 * thread at a time: gauges that others keep are brought up to date first.
 */
void metrics_page_append(struct text *body, const struct metrics_sources *sources);

/* The handlers of /metrics and /health; context is the struct metrics_sources. */
http_server_handler metrics_page_handle;
http_server_handler metrics_page_handle_health;

#endif
