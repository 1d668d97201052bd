/* What the last half hour was like: a ring of samples of the metrics, for the charts of the page.
 */
#ifndef SERVE_TREND_H
#define SERVE_TREND_H

#include "base/metrics.h"
#include "queue/send_queue.h"

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
int32_t trend_longest_ms(void);

/* An empty one, whose first interval begins now (monotonic). What is given is borrowed. */
void trend_init(struct trend *trend, const struct metrics *metrics, const struct send_queue *queue,
    int64_t now_ms);

/* Ends the interval; the oldest sample goes when the ring is full. */
void trend_take(struct trend *trend, int64_t now_ms);

/* The interval that is under way, as if it ended now. */
void trend_peek(const struct trend *trend, int64_t now_ms, struct trend_sample *sample);

/* The sample that was taken as number number (0 to count - 1) of those in the ring. */
const struct trend_sample *trend_at(const struct trend *trend, size_t number);

#endif
