/* Shared state and last errors, recorded by all parts and read by /health, /readyz and /metrics. */
#ifndef TELEMETRY_STATS_H
#define TELEMETRY_STATS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/containers.h"
#include "base/loop.h"
#include "base/sync.h"
#include "telemetry/metrics.h"

enum { STATS_TEXT_BYTES = 512 };

/* An error: the last one of its source, or one of the last distinct ones. */
struct stats_error {
    int64_t at_ms;    /* when it last occurred (wall clock); 0 if there is none */
    int64_t count;    /* occurrences since it entered the list of distinct ones */
    const char *part; /* its source; static */
    char text[STATS_TEXT_BYTES];
};

enum { STATS_RECENT = 20 };

/* The phase of the runtime as a whole. */
enum { PHASE_STARTING, PHASE_RUNNING, PHASE_STOPPING };

/* The sources whose last error is kept. */
enum {
    STATS_DELIVERY,
    STATS_SEND,     /* cleared by the next successful send */
    STATS_SYNC,     /* cleared by the next successful sync */
    STATS_PROFILES, /* likewise */
    STATS_SOURCES
};

/* Agents of the last attempts to deliver: enough to tell one broken agent from an outage. */
enum { STATS_AGENTS = 128 };

/* Attempts to deliver since the last one that succeeded, and what follows from them. */
struct stats_attempts_view {
    size_t failed;          /* attempts */
    size_t failing_agents;  /* whose last attempt is one of these */
    int64_t since_ms;       /* when the last one succeeded (monotonic); 0: never */
    size_t working_agents;  /* delivered to in the last five minutes and not failing since */
    int64_t last_failed_ms; /* monotonic; 0: none */
    bool none_succeeds;     /* stats_attempts_judge */
};

/* What is known of the attempts for one agent; wall clock. */
struct stats_agent_view {
    int64_t delivered_at_ms;  /* its last delivery; 0: none */
    int64_t failing_since_ms; /* the first failed attempt since then; 0: none */
};

enum { STATS_VERSION_BYTES = 128 };

/* An upgrade that the board has requested and that has not ended. Times are the backend's. */
struct stats_upgrade {
    int64_t initiated_at_ms;            /* 0: none is waited for */
    int64_t fails_at_ms;                /* unless the versions are there by then */
    char openclaw[STATS_VERSION_BYTES]; /* the targets, as requested */
    char runtime[STATS_VERSION_BYTES];
    char text[STATS_TEXT_BYTES]; /* what is waited for, in a sentence without its full stop */
};

/*
 * Atomics are written by the thread that observes the event and read by any thread. Times are
 * wall-clock milliseconds, 0 for never.
 */
struct stats {
    int64_t started_monotonic_ms;
    struct metrics metrics;
    atomic_int phase; /* one of PHASE_STARTING and the like */
    atomic_uint consecutive_poll_failures;
    atomic_int poll_problem; /* of the last poll: an enum convex_problem */
    atomic_bool delivery_running;
    atomic_bool gateway_running; /* a gateway is configured and the workers run */
    atomic_bool heartbeat_running;
    atomic_bool sync_running;
    atomic_bool list_full;    /* the backend may have notifications beyond those that it lists */
    atomic_bool spool_broken; /* the last write to the spool failed */
    atomic_bool profiles_unfinished; /* not every agent has had its turn in the current sync */
    atomic_bool profiles_broken; /* the last sync of agents' profiles could not write all of them */
    atomic_bool reported_good;   /* what the last report said; false before the first */
    atomic_llong last_poll_ms;   /* the end of the last successful poll */
    atomic_llong refused_ids;
    atomic_llong dead_files; /* records in dead/ */
    atomic_llong dead_bytes;
    atomic_llong newer_records; /* in the spool or dead/ at startup, of a newer release */
    atomic_llong last_send_ms;
    atomic_llong last_sync_ms; /* the end of the last successful sync of the agents */
    atomic_llong sync_added;   /* by the last sync */
    atomic_llong sync_removed;
    atomic_llong last_report_ms; /* the end of the last successful report */

    /* Set before other threads start. */
    struct loop *reporter;

    /* Guards everything below. */
    struct mutex lock;
    struct stats_error errors[STATS_SOURCES]; /* the last of each source */
    struct stats_error recent[STATS_RECENT];
    struct {
        char id[ID_BYTES];
        int64_t at_ms; /* of its last attempt (monotonic); 0: the place is free */
        bool failed;   /* that attempt */
        struct stats_agent_view view;
    } agents[STATS_AGENTS];
    struct stats_attempts_view attempts; /* the agents' counts are computed when asked for */
    struct stats_upgrade upgrade;
};

/* Embedded. Called before other threads start and after they have ended. Cannot fail. */
void stats_init(struct stats *stats);
void stats_fini(struct stats *stats);

/* Records an error of polling or of one delivery. Any thread; briefly takes the lock. */
void stats_delivery_failed(struct stats *stats, const char *text);

/* Records the end of a send to the gateway; text is NULL for success. Any thread; takes the lock.
 */
void stats_send_ended(struct stats *stats, const char *text);

/* Records a failed wake-up, or one that could not be reported. Any thread; takes the lock. */
void stats_wake_failed(struct stats *stats, const char *text);

/* Records a report to the backend that failed. Any thread; takes the lock. */
void stats_report_failed(struct stats *stats, const char *text);

/* Records that something has become a dead letter, or that there are some. As above. */
void stats_dead_letter(struct stats *stats, const char *text);

/* Records the end of a sync of the agents; text is NULL for success. Any thread; takes the lock. */
void stats_sync_ended(struct stats *stats, const char *text);

/* Records the end of a sync of agents' profiles; text is NULL for success. Any thread; locks. */
void stats_profiles_ended(struct stats *stats, const char *text);

/*
 * Records how an attempt to deliver a notification to that agent ended: any failure, at any stage,
 * or a delivery. now_ms is monotonic. Any thread; briefly takes the lock.
 */
void stats_attempt_failed(struct stats *stats, const char *agent_id, int64_t now_ms);
void stats_attempt_succeeded(struct stats *stats, const char *agent_id, int64_t now_ms);

/* Copies what is known of that agent; all zero if nothing is. Any thread; briefly takes the lock.
 */
void stats_agent(struct stats *stats, const char *agent_id, struct stats_agent_view *view);

/*
 * Judges whether deliveries succeed at all, given how many agents have work
 * (delivery/runtime_health.h), and copies the counts. Any thread; briefly takes the lock.
 */
void stats_attempts_judge(
    struct stats *stats, size_t agents_with_work, int64_t now_ms, struct stats_attempts_view *view);

/* The same from counts; counts->none_succeeds is the judgement before. Pure. */
bool stats_none_succeeds(
    const struct stats_attempts_view *counts, size_t agents_with_work, int64_t now_ms);

/* Makes the reporter send a report soon, as health may have changed. Any thread; briefly locks. */
void stats_changed(struct stats *stats);

/* Publishes and copies the upgrade that is waited for. Any thread; briefly take the lock. */
void stats_set_upgrade(struct stats *stats, const struct stats_upgrade *upgrade);
void stats_upgrade(struct stats *stats, struct stats_upgrade *upgrade);

/* Copies the last error of each source. Any thread; briefly takes the lock. */
void stats_errors(struct stats *stats, struct stats_error errors[static STATS_SOURCES]);

/*
 * Copies the last distinct errors, newest first, into list, which has STATS_RECENT places, and
 * returns their number. Any thread; briefly takes the lock.
 */
size_t stats_recent(struct stats *stats, struct stats_error *list);

#endif
