/*
 * The thread that reports the runtime's health to the backend and asks it for restarts and upgrades
 * (design, section 7; contract runtime-behaviour-v0, section 8).
 */
#ifndef LOOPS_REPORTER_H
#define LOOPS_REPORTER_H

#include <stdatomic.h>

#include "base/stats.h"
#include "config/config.h"
#include "config/version_probe.h"
#include "remote/convex.h"
#include "remote/gateway_gate.h"

struct reporter;

/* Borrowed until reporter_stop has returned. */
struct reporter_parts {
    const struct config *config;
    struct convex *convex;
    struct gateway_gate *gate;
    struct version_probe *version;
    struct ca_store *store;
    struct stats *stats;
    const atomic_bool *abort; /* ends a request that is under way */
    /* Called when the backend wants this process to end; must not block. */
    void (*ask_for_stop)(void *stop_context);
    void *stop_context;
};

/* Makes it without starting it, so that others can poke it. The caller destroys it.
 * ERROR_NO_MEMORY. */
int reporter_create(
    struct reporter **reporter, const struct reporter_parts *parts, struct error *error);
void reporter_destroy(struct reporter *reporter);

/*
 * Starts its thread, mc-report: the first report goes out once the first probe and poll have ended
 * (2 s at most), then one every HEALTH_CHECK_INTERVAL and at every change. Only where the backend
 * still waits for the result of an upgrade does the first one wait for our version. ERROR_SYSTEM.
 */
int reporter_start(struct reporter *reporter, struct error *error);

/* Lets it see whether the condition has changed. The argument is a struct reporter. Any thread. */
void reporter_poke(void *reporter);

/* Whether its thread has shown up when it was due (loops/loop.h). Any thread. */
bool reporter_is_alive(struct reporter *reporter, int64_t now_ms);

/* Ends the thread, waiting for it. Does nothing if it was not started. */
void reporter_stop(struct reporter *reporter);

/*
 * Tells the backend that the runtime is offline. For the end of the stop, when nobody else calls
 * it any more; blocks up to a second.
 */
void reporter_say_offline(struct convex *convex, struct ca_store *store);

#endif
