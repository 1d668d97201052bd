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

/*
 * Starts its thread, mc-agents, which syncs at once and then every AGENT_SYNC_INTERVAL. A sync that
 * fails changes nothing. The caller ends it with agent_sync_stop. ERROR_NO_MEMORY, ERROR_SYSTEM.
 */
int agent_sync_start(
    struct agent_sync **sync, const struct agent_sync_parts *parts, struct error *error);

/* Whether its thread has shown up when it was due (loops/loop.h). Any thread. */
bool agent_sync_is_alive(struct agent_sync *sync, int64_t now_ms);

/* Ends the thread, waiting for it, and frees. */
void agent_sync_stop(struct agent_sync *sync);

#endif
