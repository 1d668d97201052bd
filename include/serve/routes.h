/* The page for people: the files of src/serve/page, which are part of the program. */
#ifndef SERVE_ROUTES_H
#define SERVE_ROUTES_H

#include <jansson.h>
#include <stdbool.h>

#include "base/text.h"
#include "delivery/send_queue.h"
#include "http/server.h"
#include "serve/health.h"
#include "serve/status.h"

/* One of the files, for the context of the route whose path it has; constant. */
struct page_file;
extern const struct page_file page_html;
extern const struct page_file page_script;
extern const struct page_file page_style;
extern const struct page_file page_icon;

/* Answers with the file that is the route's context, which it only reads. Does not block. */
http_server_handler page_handle;

/* JSON values as the bodies of answers. */

/*
 * Appends json, written with Jansson's flags, and drops the reference. NULL, which is what building
 * it without memory gives, and a lack of memory here set body->failed.
 */
void json_body_append(struct text *body, json_t *json, size_t flags);

/*
 * Somebody else's words, without secrets, control characters and what is no UTF-8, at most
 * JSON_BODY_WORDS_BYTES of them; a new reference. Null for "" and NULL.
 */
enum { JSON_BODY_WORDS_BYTES = 512 };
json_t *json_body_words(const char *words);

/* Reads what an HTTP client would rather have. */

/*
 * Whether an Accept header prefers metrics to JSON, as Prometheus' does: it names
 * text/plain;version=0.0.4 or OpenMetrics, with more weight than it gives JSON by name or by a
 * wildcard. Wildcards alone (curl, browsers) do not ask for metrics. Anything that cannot be read
 * counts as not said. Pure.
 */
bool accept_prefers_metrics(const char *accept);

/* The answer of /metrics, which /health gives, too, to those that ask for it. */

/* What the answer is made of; borrowed, outliving the server. */
struct metrics_sources {
    const struct config *config;
    struct stats *stats;
    const struct send_queue *queue;
    const struct breaker *breaker;
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

/* The paths that the runtime's server answers, and what each is answered from. */

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
 * borrowed, as are queue, workers and watchdog.
 */
void routes_init(struct routes *routes, const struct health_sources *health,
    struct send_queue *queue, struct worker_pool *workers, const struct watchdog *watchdog);

#endif
