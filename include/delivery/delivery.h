/* What a worker does with a notification: asks its agent, posts the reply, acknowledges it. */
#ifndef DELIVERY_DELIVERY_H
#define DELIVERY_DELIVERY_H

#include "agent_tools/capability.h"
#include "agent_tools/catalog.h"
#include "backend/convex.h"
#include "config/config.h"
#include "delivery/attention.h"
#include "delivery/breaker_control.h"
#include "delivery/journal.h"
#include "delivery/loop_guard.h"
#include "delivery/other_runtime.h"
#include "delivery/send_queue.h"
#include "gateway/gateway.h"
#include "gateway/roster.h"
#include "telemetry/stats.h"

/* Everything that deliveries need. Borrowed; shared by all workers, only read. */
struct delivery {
    const struct config *config;
    struct send_queue *queue;
    struct convex *convex;
    struct gateway *gateway;
    const struct breaker_control *control;
    struct loop_guard *guard;
    struct attention *attention; /* is told of what agents change; NULL: nobody */
    struct gateway_roster *roster;
    struct other_runtime *other_runtime; /* NULL: nobody looks for its traces */
    struct stats *stats;
    struct journal journal;
    const struct tool_menu *menu;        /* what agents can call; its catalog has the handlers */
    const struct capability *capability; /* NULL: agents are told of no HTTP endpoints */
    const char *agent_api_url;           /* below which they are; NULL likewise */
    /* Once true no agent is asked, so requests that precede a send are aborted. NULL: never. */
    const atomic_bool *stopping;
    /*
     * Called after each delivery to an agent that has a wake-up in the queue, on the worker that
     * made it; may block. NULL: none.
     */
    void (*on_delivered)(void *delivered_context, struct http_client *client, const char *agent_id,
        const struct trace *trace);
    void *delivered_context;
};

/*
 * Takes an entry of kind ENTRY_DELIVERY from its stage as far as it gets and returns it to the
 * queue: settled, or waiting to resume at the stage that failed. Blocks for as long as the agent
 * takes. Workers only, each with its own client. A worker_run; context is the struct delivery.
 */
void delivery_run(void *context, struct http_client *client, struct entry *entry);

#endif
