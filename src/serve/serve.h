/* What the files of src/serve share: the builders of all response bodies. */
#ifndef SERVE_SERVE_H
#define SERVE_SERVE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/text.h"
#include "delivery/runtime_health.h"
#include "serve/routes.h"
#include "telemetry/metrics.h"

/*
 * The builders append to body. When out of memory they set body->failed, which the server turns
 * into a 500, or leave an item out of a list. They block for nothing but brief locks. No body
 * contains a secret, a session key, a message or a reply.
 */

/*
 * Appends json, serialized with Jansson's flags, and drops the reference. NULL, which json_pack
 * returns when out of memory, sets body->failed.
 */
void json_body_append(struct text *body, json_t *json, size_t flags);

/*
 * Text from outside as a JSON string: without secrets, control characters and invalid UTF-8, at
 * most JSON_BODY_WORDS_BYTES - 1 bytes. null for "" and NULL. A new reference.
 */
enum { JSON_BODY_WORDS_BYTES = 512 };
json_t *json_body_words(const char *words);

/* The member "versions" of /health and /status. A new reference. */
json_t *json_body_versions(const struct routes_sources *sources);

/* The version of the backend that the runtime goes by, in doubt the last one seen. Any thread. */
enum backend_version health_backend_version(const struct routes_sources *sources);

/*
 * The agents that are not asked because of their slugs, as {slug, problem}: none on v0, where every
 * slug is usable. A new reference; NULL without memory.
 */
json_t *json_body_unusable_slugs(const struct routes_sources *sources);

/* Reads what /health judges by. Any thread; briefly takes locks. */
void health_read(struct runtime_health *health, const struct routes_sources *sources);

/* The body of /health: indented JSON with a fixed order of keys. */
void health_append(struct text *body, const struct routes_sources *sources);

/* The body of /version: compact JSON, four strings. */
void health_append_version(struct text *body, const struct routes_sources *sources);

/*
 * The body of /livez, and whether every control thread keeps its schedule and no thread is silent
 * (base/watch.h); if not, only a restart helps. Failed checks are named; verbose names those that
 * pass as well.
 */
bool probes_append_alive(struct text *body, const struct routes_sources *sources, bool verbose);

/*
 * The body of /readyz, and whether notifications can be delivered now: the runtime is neither
 * starting nor stopping, the last poll succeeded and the circuit breaker is closed. verbose as
 * above; it also tells what /health says of the deliveries.
 */
bool probes_append_ready(struct text *body, const struct routes_sources *sources, bool verbose);

/*
 * Whether an Accept header prefers metrics to JSON, as Prometheus' does: it gives
 * text/plain;version=0.0.4 or OpenMetrics more weight than JSON, by name or by wildcard. Wildcards
 * alone (curl, browsers) do not ask for metrics. Malformed parts are ignored. Pure.
 */
bool accept_prefers_metrics(const char *accept);

/*
 * The body of /metrics. One thread at a time, since it first brings the gauges that others keep up
 * to date, for which it briefly takes the queue's and the breaker's locks.
 */
void metrics_page_append(struct text *body, const struct routes_sources *sources);

enum {
    TREND_SAMPLES = 180,
    TREND_INTERVAL_MS = 10 * 1000,
    TREND_BUCKETS = 15, /* of METRIC_DELIVERY, including the one without a bound */
    TREND_TIMED = 30,   /* intervals that a quantile is over: five minutes */
};

/*
 * One interval. The quantiles are over TREND_TIMED intervals that end with it, as the few
 * deliveries of one would say nothing; -1 if nothing was delivered in them.
 */
struct trend_sample {
    int32_t lasted_ms; /* TREND_INTERVAL_MS, unless it has not ended or was taken late */
    int32_t delivered;
    int32_t failed;
    int32_t timed;  /* deliveries that the quantiles are of */
    int32_t p50_ms; /* of whole deliveries */
    int32_t p95_ms;
    int32_t ready; /* this and the rest: at the end of the interval */
    int32_t waiting;
    int32_t busy;
};

/* The counters at one moment. */
struct trend_mark {
    int64_t at_ms; /* monotonic */
    int64_t delivered;
    int64_t failed;
    int64_t buckets[TREND_BUCKETS];
};

/* The last half hour. Used by one thread, so it has no lock; all its memory is in here (11 KiB). */
struct trend {
    struct trend_sample samples[TREND_SAMPLES];
    size_t next;            /* index of the next sample */
    size_t count;           /* at most TREND_SAMPLES */
    struct trend_mark mark; /* at the end of the last sample */
    /* The histogram at the ends of the last samples; that of the last one at next. */
    int64_t timed[TREND_TIMED][TREND_BUCKETS];
    const struct metrics *metrics;
    struct send_queue *queue;
};

/* An empty ring, whose first interval begins now (monotonic). The rest is borrowed. */
void trend_init(
    struct trend *trend, const struct metrics *metrics, struct send_queue *queue, int64_t now_ms);

/* Ends the interval; a full ring drops its oldest sample. */
void trend_take(struct trend *trend, int64_t now_ms);

/* The current interval, as if it ended now. */
void trend_peek(const struct trend *trend, int64_t now_ms, struct trend_sample *sample);

/* A sample of the ring, 0 (the oldest) to count - 1. */
const struct trend_sample *trend_at(const struct trend *trend, size_t number);

enum { STATUS_WAITING = 100, STATUS_AGENTS = 100 };

/*
 * The body of /status: everything the page shows. Times are in milliseconds relative to the
 * response, so the reader's clock does not matter. Lists are bounded: STATUS_WAITING
 * notifications, STATUS_AGENTS agents, STATS_RECENT errors. Only the thread that uses the
 * trend.
 */
void status_append(
    struct text *body, const struct routes_sources *sources, const struct trend *trend);

#endif
