/* The answer of /status: all that the page for people shows, as JSON. */
#ifndef SERVE_STATUS_H
#define SERVE_STATUS_H

#include "queue/send_queue.h"
#include "queue/worker_pool.h"
#include "serve/health.h"
#include "serve/trend.h"

enum { STATUS_WAITING = 100, STATUS_UNKNOWN_AGENTS = 100 };

/* What the answer is made of; borrowed, outliving the server. */
struct status_sources {
    const struct health_sources *health;
    struct send_queue *queue;
    struct worker_pool *workers;
    const struct trend *trend;
};

/*
 * Appends the JSON. Times are milliseconds before or after now, so that the reader's clock does not
 * matter. Lists are bounded: STATUS_WAITING notifications, STATS_RECENT errors. Holds no secret,
 * session key, message or reply. Out of memory sets body->failed, or leaves items of a list out.
 * Only the thread that owns the trend; takes short locks.
 */
void status_append(struct text *body, const struct status_sources *sources);

/* The handler of the path; context is the struct status_sources. */
http_server_handler status_handle;

#endif
