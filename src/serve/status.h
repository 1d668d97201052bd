/* What the last half hour was like: a ring of samples of the metrics, for the charts of the page.
 */
#ifndef SERVE_STATUS_H
#define SERVE_STATUS_H

#include <jansson.h>

#include "delivery/send_queue.h"
#include "delivery/worker_pool.h"
#include "serve/health.h"
#include "telemetry/metrics.h"

enum {
    TREND_SAMPLES = 180,
    TREND_INTERVAL_MS = 10 * 1000,
    TREND_BUCKETS = 15, /* of METRIC_DELIVERY, the one without a bound included */
};

/* One interval. Without a delivery in it there are no quantiles: -1. */
struct trend_sample {
    int32_t
        lasted_ms; /* TREND_INTERVAL_MS, but for one that is not over or was not taken in time */
    int32_t delivered;
    int32_t failed;
    int32_t p50_ms; /* of whole deliveries */
    int32_t p95_ms;
    int32_t ready; /* this and the rest: at its end */
    int32_t waiting;
    int32_t busy;
};

/* What the counters said at one moment. */
struct trend_mark {
    int64_t at_ms; /* monotonic */
    int64_t delivered;
    int64_t failed;
    int64_t buckets[TREND_BUCKETS];
};

/*
 * One thread's, that takes samples and reads them: no lock is needed, and none is taken. Its size
 * is all that it ever needs (6 KiB).
 */
struct trend {
    struct trend_sample samples[TREND_SAMPLES];
    size_t next;            /* place of the next sample */
    size_t count;           /* samples that have been taken, TREND_SAMPLES at most */
    struct trend_mark mark; /* at the end of the last sample */
    const struct metrics *metrics;
    const struct send_queue *queue;
};

/* What took longer is counted as if it had taken this long (metric_families in base/metrics.h).
 * Pure. */
int32_t trend_max_ms(void);

/* An empty one, whose first interval begins now (monotonic). What is given is borrowed. */
void trend_init(struct trend *trend, const struct metrics *metrics, const struct send_queue *queue,
    int64_t now_ms);

/* Ends the interval; the oldest sample goes when the ring is full. */
void trend_take(struct trend *trend, int64_t now_ms);

/* The interval that is under way, as if it ended now. */
void trend_peek(const struct trend *trend, int64_t now_ms, struct trend_sample *sample);

/* The sample that was taken as number number (0 to count - 1) of those in the ring. */
const struct trend_sample *trend_at(const struct trend *trend, size_t number);

/* The answer of /status: all that the page for people shows, as JSON. */

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

/* What /status says of the runtime as a whole, in a word and in sentences. */

/*
 * held_by_operator is the caller's, who says it, too: what one answer says of it must agree.
 * "starting", "stopping", "degraded" whenever /health says so, "held" while an operator holds the
 * sends, else "healthy". Short locks.
 */
const char *status_state_word(const struct health_sources *health, bool held_by_operator);

/* Whatever keeps notifications from being delivered as they should, a sentence each; a new array.
 */
json_t *status_state_reasons(const struct health_sources *health, bool held_by_operator);

#endif
