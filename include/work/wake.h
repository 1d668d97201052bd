/* What a worker does with a wake-up: ask the agent to look around, and report it as online. */
#ifndef WORK_WAKE_H
#define WORK_WAKE_H

#include "base/stats.h"
#include "config/config.h"
#include "queue/send_queue.h"
#include "remote/convex.h"
#include "work/address.h"
#include "work/gatekeeper.h"
#include "work/wake_schedule.h"

/* Borrowed parts, shared by all workers; only read. */
struct wake {
    const struct config *config;
    struct send_queue *queue;
    struct convex *convex;
    const struct gateway *gateway;
    const struct gatekeeper *keeper;
    struct directory directory;
    struct wake_schedule *schedule;
    struct stats *stats;
    /* Called when the schedule has changed; must not block. */
    void (*ask_for_look)(void *look_context);
    void *look_context;
};

/*
 * For entries of kind ENTRY_WAKE: wakes the agent, gives the entry back to the queue and the agent
 * to the schedule. The agent's data is what the schedule has now. Blocks for as long as the agent
 * takes. Workers only, each with its own client.
 */
void wake_run(const struct wake *wake, struct http_client *client, struct entry *entry);

/*
 * Reports an agent as online that delivers so much that it is never woken, once per interval.
 * Blocks for that call.
 */
void wake_note_delivery(const struct wake *wake, struct http_client *client, const char *agent_id,
    const struct trace *trace);

#endif
