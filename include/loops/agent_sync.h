/* The thread that reads the account's agents and what the gateway knows of them. */
#ifndef LOOPS_AGENT_SYNC_H
#define LOOPS_AGENT_SYNC_H

#include <stdatomic.h>

#include "base/stats.h"
#include "config/config.h"
#include "remote/convex.h"
#include "remote/gateway_roster.h"
#include "work/wake_schedule.h"

struct agent_sync;

/* Borrowed until agent_sync_stop has returned. */
struct agent_sync_parts {
    const struct config *config;
    struct convex *convex;
    const struct gateway *gateway;
    struct gateway_roster *roster;
    struct wake_schedule *schedule;
    struct ca_store *store;
    struct stats *stats;
    const atomic_bool *abort; /* ends a request that is under way */
    /* Called when the schedule has changed; must not block. */
    void (*ask_for_look)(void *look_context);
    void *look_context;
};

/* Makes it without starting it. The caller destroys it. ERROR_NO_MEMORY. */
int agent_sync_create(
    struct agent_sync **sync, const struct agent_sync_parts *parts, struct error *error);
void agent_sync_destroy(struct agent_sync *sync);

/*
 * Starts its thread, mc-agents, which syncs at once and then every AGENT_SYNC_INTERVAL. A sync that
 * fails changes nothing. ERROR_SYSTEM.
 */
int agent_sync_start(struct agent_sync *sync, struct error *error);

/* Whether its thread has shown up when it was due (loops/loop.h). Any thread. */
bool agent_sync_is_alive(struct agent_sync *sync, int64_t now_ms);

/* Ends the thread, waiting for it. Does nothing if it was not started. */
void agent_sync_stop(struct agent_sync *sync);

#endif
