/* Metrics for Prometheus: a fixed table of families, recorded by any thread without a lock. */
#ifndef TELEMETRY_METRICS_H
#define TELEMETRY_METRICS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/containers.h"
#include "base/sync.h"

enum metric {
    METRIC_BUILD_INFO, /* backend; the others have one value */
    METRIC_UPGRADE_FAILED,
    METRIC_LOG_LINES_DROPPED,
    METRIC_NOTIFICATIONS_LISTED,
    METRIC_NOTIFICATIONS_DELIVERED,
    METRIC_NOTIFICATIONS_SILENT,
    METRIC_NO_RESPONSE,           /* outcome */
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
    METRIC_TOOL_CALLS, /* tool, outcome */
    METRIC_TOOL_CALL,
    METRIC_TOOL_ROUNDS,
    METRIC_HEARTBEATS,             /* outcome */
    METRIC_HEARTBEAT_READS_FAILED, /* read */
    METRIC_HEARTBEAT_MESSAGES,     /* outcome */
    METRIC_HEARTBEAT_FOLLOW_UPS,   /* outcome */
    METRIC_HEARTBEAT_FAILING_AGENTS,
    METRIC_AGENTS_UNKNOWN,
    METRIC_TOOLS_COLLIDE,
    METRIC_CONVEX_REQUESTS,    /* action, outcome */
    METRIC_CONVEX_REQUEST,     /* action */
    METRIC_AGENT_API_REQUESTS, /* endpoint, status */
    METRIC_AGENT_API_REQUEST,
    METRIC_AGENT_API_IN_FLIGHT,
    METRIC_AGENT_API_REFUSED_KEYS,
    METRIC_QUEUE_DEPTH,
    METRIC_QUEUE_CAPACITY,
    METRIC_QUEUE_WAITING,
    METRIC_LANES,
    METRIC_WORKERS,
    METRIC_WORKERS_BUSY,
    METRIC_GATEWAY_STATE, /* state */
    METRIC_DEGRADED,      /* reason */
    METRIC_OTHER_RUNTIME,
    METRIC_OTHER_RUNTIME_TRACES, /* trace */
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

enum {
    METRIC_LABELS = 4,
    METRICS_AGENTS = 100, /* agents with a label value of their own; the others are "other" */
    METRICS_CELLS = 2048,
};

/*
 * values are all that the label can have; any other counts as the last one, which is "other" where
 * that can happen. NULL: with a count of 1 the account, with 0 the slugs of the agents, in order of
 * first use.
 */
struct metric_label {
    const char *name; /* NULL: the family has no such label */
    const char *const *values;
    size_t count;
};

struct metric_family {
    const char *name;
    const char *help; /* one sentence */
    enum { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM } type;
    bool is_time;      /* cells count microseconds, and are exported in seconds */
    bool only_current; /* series that are 0 are not exported */
    struct metric_label labels[METRIC_LABELS];
    const int64_t *bounds_us; /* of a histogram: the upper bounds of its buckets, ascending */
    size_t bound_count;
};

/* Indexed by enum metric; constant. */
extern const struct metric_family metric_families[METRICS];

/*
 * A cell is written with one atomic operation and read without a lock. The cells of a histogram are
 * its buckets, each counting only its own range, and its sum: an observation adds to two cells. A
 * reader may see one of the two additions, so a sum may be off by what is just being recorded; the
 * count is the sum of the buckets that were read, so count and buckets of one scrape always agree.
 */
struct metrics {
    size_t first[METRICS]; /* the first cell of each family; constant after metrics_init */
    atomic_llong cells[METRICS_CELLS];
    const char *account; /* borrowed; "" until it is set */

    /* Held only to add a slug. Slugs before agents are constant, so readers need no lock. */
    struct mutex lock;
    atomic_size_t agents;
    char slugs[METRICS_AGENTS][ID_BYTES];
};

/* Embedded. Called before other threads start and after they have ended. Cannot fail. */
void metrics_init(struct metrics *metrics);
void metrics_fini(struct metrics *metrics);

/* Sets the value of the label account, borrowed. Called before other threads start. */
void metrics_set_account(struct metrics *metrics, const char *account);

/*
 * The following may be called by any thread and do not block. first and second are the values of
 * the family's labels, NULL for a label that it does not have. Further labels have one value.
 */

/* Adds number to a counter. The first use of an agent briefly takes the lock. */
void metrics_add(struct metrics *metrics, enum metric metric, const char *first, const char *second,
    int64_t number);

/* Sets a gauge, or a counter whose total is kept elsewhere. */
void metrics_set(struct metrics *metrics, enum metric metric, const char *first, int64_t number);

/* Adds a duration to a histogram; a negative one, after the clock was set back, counts as 0. */
void metrics_observe(
    struct metrics *metrics, enum metric metric, const char *first, int64_t duration_us);

/*
 * A counter or gauge with that value of its first label, which is not an agent, summed over the
 * values of the others. 0 for a value that the label does not have.
 */
int64_t metrics_value(const struct metrics *metrics, enum metric metric, const char *first);

/* The sum of a counter or gauge over all label values. */
int64_t metrics_total(const struct metrics *metrics, enum metric metric);

/* For export: the number of series of a family, one for each combination of label values. */
size_t metrics_series_count(enum metric metric);

/* A label's value in a series, or NULL if no agent has that place yet. Borrowed from metrics. */
const char *metrics_label_value(
    const struct metrics *metrics, enum metric metric, size_t series, size_t label);

/* One cell of a series: 0; for a histogram, bucket 0 to bound_count (no bound), then the sum. */
int64_t metrics_cell(const struct metrics *metrics, enum metric metric, size_t series, size_t cell);

/*
 * The duration that a share (0 to 1) of the observations do not exceed, assuming that they are
 * spread evenly over their bucket. counts has bound_count + 1 places, each counting only its own
 * range; bounds_us ascend. Observations above the last bound count as that bound. -1 if there are
 * none. Pure.
 */
int64_t histogram_quantile_us(
    const int64_t *bounds_us, size_t bound_count, const int64_t *counts, double share);

#endif
