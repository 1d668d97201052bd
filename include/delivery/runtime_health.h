/*
 * Whether the runtime does its work, and if not, why: the one judgement that /health, the page,
 * /readyz, the metrics and the reports to the board share (docs/architecture.md, Health).
 */
#ifndef DELIVERY_RUNTIME_HEALTH_H
#define DELIVERY_RUNTIME_HEALTH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "backend/convex.h"
#include "base/text.h"
#include "delivery/send_queue.h"
#include "gateway/breaker.h"
#include "gateway/supervisor.h"
#include "telemetry/stats.h"

/* What can be wrong, in the order in which it is told. Several may be true at once. */
enum health_trouble {
    TROUBLE_NOT_RUNNING, /* the workers or the poller do not run, though the breaker is closed */
    TROUBLE_GATEWAY,     /* the breaker is not closed, or limits sends */
    TROUBLE_PROCESS,     /* the gateway is our child and does not accept connections */
    TROUBLE_BACKEND,     /* the last poll failed, or none has succeeded yet */
    TROUBLE_BACKEND_VERSION, /* it is another one than the one that the operator has pinned */
    TROUBLE_SPOOL,           /* the last write to the spool failed */
    TROUBLE_PROFILES,        /* agents' profiles cannot be written */
    TROUBLE_NO_DELIVERY,     /* no delivery has succeeded since five attempts */
    TROUBLE_UNKNOWN_AGENTS,
    TROUBLE_OLD_FAILURES, /* a notification whose attempts fail is over five minutes old */
    TROUBLE_LIST_FULL,    /* the backend may have notifications that it does not list */
    TROUBLE_COUNT,
};

enum { HEALTH_MAX_AGE_MS = 5 * 60 * 1000 }; /* of a notification whose attempts fail */

/* What the judgement depends on, read once. Times of notifications are on the wall clock. */
struct runtime_health {
    bool gateway_running;
    bool delivery_running;
    bool held_by_operator; /* sends are, which is no trouble */
    bool spool_broken;
    bool list_full;
    bool profiles_broken;
    enum backend_version pinned_version; /* BACKEND_UNKNOWN: none */
    enum backend_version seen_version;   /* the last one seen */
    unsigned poll_failures;
    enum convex_problem poll_problem; /* while polls fail */
    long long last_poll_ms;           /* 0: none yet */
    struct breaker_view breaker;
    bool has_child;
    struct supervisor_status child;
    struct stats_attempts_view attempts;
    size_t agents_with_work;   /* agents with undelivered notifications */
    size_t unknown_agents;     /* of these, those that the gateway lacked at their last attempt */
    int64_t oldest_failing_ms; /* createdAt of the oldest whose last attempt failed; 0: none */
    int64_t now_ms;
};

/* Where that is read from; borrowed. */
struct runtime_health_sources {
    struct stats *stats;
    struct breaker *breaker;
    struct send_queue *queue;              /* may be NULL */
    struct gateway_supervisor *supervisor; /* NULL: the gateway is not our child */
    struct convex *convex;                 /* may be NULL */
};

/* Reads everything that the judgement depends on. Any thread; briefly takes locks, one at a time.
 */
void runtime_health_read(
    struct runtime_health *health, const struct runtime_health_sources *sources);

/* Whether one kind of trouble is there. Pure. */
bool runtime_health_has(const struct runtime_health *health, enum health_trouble trouble);

/* Whether there is no trouble: "healthy", "online". Pure. */
bool runtime_health_is_good(const struct runtime_health *health);

/* A trouble in a sentence without its full stop, and as a label of metrics. Pure. */
void runtime_health_append_sentence(
    struct text *text, const struct runtime_health *health, enum health_trouble trouble);
const char *runtime_health_label(enum health_trouble trouble);

/* All sentences, separated by "; ": nothing while health is good. Pure. */
void runtime_health_append_reason(struct text *text, const struct runtime_health *health);

/*
 * Whether the first probe and the first poll have ended, successfully or not. Any thread; briefly
 * takes the breaker's lock.
 */
bool runtime_health_is_known(const struct stats *stats, struct breaker *breaker);

#endif
