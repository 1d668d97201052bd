/* The thread that reports the runtime's health to the backend and obeys its restart requests. */
#ifndef REPORT_REPORTER_H
#define REPORT_REPORTER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "backend/convex.h"
#include "base/loop.h"
#include "config/config.h"
#include "delivery/runtime_health.h"
#include "gateway/version_probe.h"
#include "telemetry/stats.h"

struct reporter;

/* Borrowed until the loop has stopped. */
struct reporter_parts {
    const struct config *config;
    struct convex *convex;
    struct breaker *breaker;
    struct send_queue *queue;
    struct gateway_supervisor *supervisor; /* NULL: the gateway is not our child */
    struct version_probe *version;
    struct gateway_roster *roster; /* may be NULL */
    struct ca_store *store;
    struct stats *stats;
    const atomic_bool *abort; /* aborts the request in flight */
    int stop_fd;              /* an eventfd, written when this process should shut down */
};

/* The thread is not started. The caller destroys it. ERROR_NO_MEMORY. */
int reporter_create(
    struct reporter **reporter, const struct reporter_parts *parts, struct error *error);
void reporter_destroy(struct reporter *reporter);

/*
 * Its thread, mc-report. The first report goes out once the first probe and the first poll have
 * ended, after 2 s at the latest; it waits for our OpenClaw version only if the backend still
 * expects the result of an upgrade. Then it reports every HEALTH_CHECK_INTERVAL, on v1 of the
 * backend every 30 s at least, and whenever health or the version changes, at most once a second.
 * Poke it when one of these may have changed.
 */
struct loop *reporter_loop(struct reporter *reporter);

/* Between the starts of two rounds, given HEALTH_CHECK_INTERVAL. Pure. */
int64_t reporter_interval_ms(int64_t configured_ms, bool is_v1);

/*
 * Reports the runtime as offline. The last call of the shutdown, after all threads that use convex;
 * blocks for up to a second. A failure is logged.
 */
void reporter_report_offline(struct convex *convex, struct ca_store *store);

#endif
