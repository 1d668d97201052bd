/*
 * The thread that reports the runtime's health to the backend and asks it for restarts and upgrades
 * (design, section 7; contract runtime-behaviour-v0, section 8).
 */
#ifndef REPORT_REPORTER_H
#define REPORT_REPORTER_H

#include <stdatomic.h>

#include "backend/convex.h"
#include "base/loop.h"
#include "config/config.h"
#include "gateway/breaker.h"
#include "gateway/version_probe.h"
#include "telemetry/stats.h"

struct reporter;

/* Borrowed until the loop has been stopped. */
struct reporter_parts {
    const struct config *config;
    struct convex *convex;
    struct breaker *breaker;
    struct version_probe *version;
    struct ca_store *store;
    struct stats *stats;
    const atomic_bool *abort; /* ends a request that is under way */
    int stop_fd;              /* an eventfd, written when the backend wants this process to end */
};

/* A reporter whose thread has not been started. The caller destroys it. ERROR_NO_MEMORY. */
int reporter_create(
    struct reporter **reporter, const struct reporter_parts *parts, struct error *error);
void reporter_destroy(struct reporter *reporter);

/*
 * Its thread, mc-report: the first report goes out once the first probe and poll have ended
 * (2 s at most), then one every HEALTH_CHECK_INTERVAL and at every change. Only where the backend
 * still waits for the result of an upgrade does the first one wait for our version. A poke lets it
 * see whether our health has changed.
 */
struct loop *reporter_loop(struct reporter *reporter);

/*
 * Tells the backend that the runtime is offline. For the end of the stop, when nobody else calls
 * it any more; blocks up to a second.
 */
void reporter_say_offline(struct convex *convex, struct ca_store *store);

#endif
