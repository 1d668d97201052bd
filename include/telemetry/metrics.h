/*
 * What Prometheus is told: a fixed table of families of numbers, and one cell for each number. Who
 * sees an event records it; the server writes all of it out (serve/exposition.h).
 */
#ifndef TELEMETRY_METRICS_H
#define TELEMETRY_METRICS_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "base/containers.h"
#include "base/sync.h"

enum metric {
    METRIC_BUILD_INFO,
    METRIC_NOTIFICATIONS_LISTED,
    METRIC_NOTIFICATIONS_DELIVERED,
    METRIC_NOTIFICATIONS_SKIPPED, /* reason */
    METRIC_NOTIFICATIONS_FAILED,  /* class */
    METRIC_NOTIFICATIONS_DEAD,
    METRIC_NOTIFICATIONS_UNDELIVERED,
    METRIC_NOTIFICATIONS_REFUSED,
    METRIC_OLDEST_UNDELIVERED_AGE,
    METRIC_RUNS,                /* kind */
    METRIC_AGENT_RUNS,          /* agent */
    METRIC_AGENT_NOTIFICATIONS, /* agent, outcome */
    METRIC_QUEUE_WAIT,
    METRIC_AGENT_RUN,
    METRIC_WRITE_BACK,
    METRIC_DELIVERY,
    METRIC_DELIVERY_LAG,
    METRIC_HEARTBEATS,      /* outcome */
    METRIC_CONVEX_REQUESTS, /* action, outcome */
    METRIC_CONVEX_REQUEST,  /* action */
    METRIC_QUEUE_DEPTH,
    METRIC_QUEUE_CAPACITY,
    METRIC_QUEUE_WAITING,
    METRIC_LANES,
    METRIC_WORKERS,
    METRIC_WORKERS_BUSY,
    METRIC_GATEWAY_STATE, /* state */
    METRIC_SENDS_HELD,
    METRIC_SPOOL_ENTRIES,
    METRIC_SPOOL_OLDEST_AGE,
    METRIC_SPOOL_BROKEN,
    METRIC_DEAD_LETTERS,
    METRIC_DEAD_LETTER_BYTES,
    METRIC_LAST_POLL,
    METRIC_LAST_SYNC,
    METRIC_LAST_REPORT,
    METRIC_POLL_FAILURES,
    METRIC_PROCESS_CPU,
    METRIC_PROCESS_OPEN_FDS,
    METRIC_PROCESS_MAX_FDS,
    METRIC_PROCESS_VIRTUAL_BYTES,
    METRIC_PROCESS_VIRTUAL_MAX_BYTES,
    METRIC_PROCESS_RESIDENT_BYTES,
    METRIC_PROCESS_START_TIME,
    METRIC_PROCESS_THREADS,
    METRICS
};

enum metric_type { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };

/* What a cell's number stands for. Times are written in seconds. */
enum metric_unit { METRIC_PLAIN, METRIC_MICROSECONDS };

enum {
    METRIC_LABELS = 2,
    METRICS_AGENTS = 100, /* agents that have a label value of their own; the rest is "other" */
    METRICS_CELLS = 1024,
};

/*
 * values are all that the label can have; a word that is none of them counts as the last, which is
 * "other" where that can happen. NULL: the agents' slugs, as they come.
 */
struct metric_label {
    const char *name; /* NULL: the family has no such label */
    const char *const *values;
    size_t count;
};

struct metric_family {
    const char *name;
    const char *help; /* one plain sentence */
    enum metric_type type;
    enum metric_unit unit;
    struct metric_label labels[METRIC_LABELS];
    const int64_t *bounds_us; /* of a histogram: the upper bounds of its buckets, ascending */
    size_t bound_count;
};

/* Indexed by enum metric; never changed. */
extern const struct metric_family metric_families[METRICS];

/*
 * A cell is written with one atomic operation and read without a lock. A histogram's cells are its
 * buckets, each counting what no lower one does, and its sum: an observation is one addition to
 * each of two cells. A reader may see one of the two and not the other, so a sum can be off by what
 * is being recorded at that moment; the count is the sum of the buckets that were read, so count
 * and buckets of one answer always agree.
 */
struct metrics {
    size_t first[METRICS]; /* cell of each family; written by metrics_init */
    atomic_llong cells[METRICS_CELLS];

    /* Held only to add a slug. Those below agents are never changed, so readers need no lock. */
    struct mutex lock;
    atomic_size_t agents;
    char slugs[METRICS_AGENTS][ID_BYTES];
};

/* All figures 0. Embedded; before and after every other thread's use. Do not fail or block. */
void metrics_init(struct metrics *metrics);
void metrics_fini(struct metrics *metrics);

/*
 * All of the following: any thread, not blocking. first and second are the values of the family's
 * labels, NULL for a label that it does not have.
 */

/* Adds number to a counter. The first time that an agent is named takes a lock for a moment. */
void metrics_add(struct metrics *metrics, enum metric metric, const char *first, const char *second,
    int64_t number);

/* Sets a gauge, or a counter that somebody else keeps. */
void metrics_set(struct metrics *metrics, enum metric metric, const char *first, int64_t number);

/* Adds a duration to a histogram; a negative one, of a clock that was set back, counts as 0. */
void metrics_observe(
    struct metrics *metrics, enum metric metric, const char *first, int64_t duration_us);

/* A counter or gauge added up over its labels. */
int64_t metrics_total(const struct metrics *metrics, enum metric metric);

/* For whoever writes everything out. A family has a series for each combination of values. */
size_t metrics_series_count(enum metric metric);

/* A label's value in a series, or NULL when no agent has that place yet. Lives as metrics does. */
const char *metrics_label_value(
    const struct metrics *metrics, enum metric metric, size_t series, size_t label);

/* One cell of a series: 0, but for a histogram bucket 0 to bound_count (no bound), then the sum. */
int64_t metrics_cell(const struct metrics *metrics, enum metric metric, size_t series, size_t cell);

/* Quantiles of what a histogram has counted. */

/*
 * The duration that share (0 to 1) of the observations do not exceed, taken as spread evenly over
 * their bucket. counts has bound_count + 1 places, each counting what no lower one does; bounds_us
 * ascend. What lies above the last bound is taken to be that bound. -1 when nothing was counted.
 * Pure.
 */
int64_t histogram_quantile_us(
    const int64_t *bounds_us, size_t bound_count, const int64_t *counts, double share);

#endif
