/* What the parts of the runtime count and last saw; read by /health, /readyz and /metrics. */
#ifndef TELEMETRY_STATS_H
#define TELEMETRY_STATS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/loop.h"
#include "base/sync.h"
#include "telemetry/metrics.h"

enum { STATS_TEXT_BYTES = 512 };

/* The last error of one part: when (wall clock) and what. at_ms 0: none yet. */
struct stats_error {
    int64_t at_ms;
    char text[STATS_TEXT_BYTES];
};

/* One of the last errors. What is said again is counted, not listed again. */
struct stats_recent {
    int64_t at_ms;    /* when it was said last (wall clock); 0: the place is free */
    int64_t count;    /* times it was said while it was in the list */
    const char *part; /* whose error it is, in fixed words */
    char text[STATS_TEXT_BYTES];
};

enum { STATS_RECENT = 20 };

/* How far the runtime as a whole has come. */
enum stats_phase { PHASE_STARTING, PHASE_RUNNING, PHASE_STOPPING };

/*
 * Counters are written with one atomic operation by whoever sees the event and read by anybody.
 * Times are wall-clock milliseconds, 0 for never.
 */
struct stats {
    int64_t started_monotonic_ms;
    struct metrics metrics;
    atomic_int phase; /* enum stats_phase */
    atomic_bool delivery_running;
    atomic_bool gateway_running; /* a gateway is configured and the workers run */
    atomic_llong last_poll_ms;   /* the end of the last good poll */
    atomic_llong refused_ids;
    atomic_bool spool_broken; /* the last write to the spool failed */
    atomic_llong dead_files;  /* records in dead/ */
    atomic_llong dead_bytes;
    atomic_uint consecutive_poll_failures;
    atomic_llong last_send_ms;
    atomic_bool held_by_operator; /* an operator holds all sends */
    atomic_bool heartbeat_running;
    atomic_bool sync_running;
    atomic_llong last_sync_ms; /* the end of the last good sync of the agents */
    atomic_llong sync_added;   /* by the last sync */
    atomic_llong sync_removed;
    atomic_llong last_report_ms; /* the end of the last good report */

    /* Set before other threads start. */
    struct loop *reporter;

    /* Guards the errors below. */
    struct mutex lock;
    struct stats_error delivery_error;
    struct stats_error send_error; /* cleared by the next good send */
    struct stats_error sync_error; /* cleared by the next sync */
    struct stats_recent recent[STATS_RECENT];
};

/* Embedded; before and after every other thread's use. Do not fail or block. */
void stats_init(struct stats *stats);
void stats_fini(struct stats *stats);

/* Notes an error of the delivery loop or of one delivery. Any thread; a short lock. */
void stats_delivery_failed(struct stats *stats, const char *text);

/* Notes how a gateway send ended: text is NULL for a good one. Any thread; a short lock. */
void stats_send_ended(struct stats *stats, const char *text);

/* Notes that an agent could not be woken, or reported as online. Any thread; a short lock. */
void stats_wake_failed(struct stats *stats, const char *text);

/* Notes how a sync of the agents ended: text is NULL for a good one. Any thread; a short lock. */
void stats_sync_ended(struct stats *stats, const char *text);

/* Tells whoever watches that something changed that decides about health. Does not block. */
void stats_changed(struct stats *stats);

/* The last error of each part. */
struct stats_errors {
    struct stats_error delivery;
    struct stats_error send;
    struct stats_error sync;
};

/* Copies the last errors. Any thread; a short lock. */
void stats_errors(struct stats *stats, struct stats_errors *errors);

/*
 * Copies the last errors of all parts into list, which has STATS_RECENT places, the newest first,
 * and returns how many there are. Any thread; a short lock.
 */
size_t stats_recent(struct stats *stats, struct stats_recent *list);

#endif
