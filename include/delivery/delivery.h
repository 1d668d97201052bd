/* What a worker does with a notification: ask its agent, write the reply into the thread, mark it.
 */
#ifndef DELIVERY_DELIVERY_H
#define DELIVERY_DELIVERY_H

#include "backend/convex.h"
#include "config/config.h"
#include "delivery/breaker_control.h"
#include "delivery/journal.h"
#include "delivery/loop_guard.h"
#include "delivery/send_queue.h"
#include "gateway/gateway.h"
#include "gateway/roster.h"
#include "telemetry/stats.h"

/* Borrowed parts, shared by all workers; only read. */
struct delivery {
    const struct config *config;
    struct send_queue *queue;
    struct convex *convex;
    struct gateway *gateway;
    const struct breaker_control *control;
    struct loop_guard *guard;
    struct agent_router router;
    struct stats *stats;
    struct journal journal;
    /* No agent is asked from then on, so what is read before that is cut off. NULL: never. */
    const atomic_bool *stopping;
    /* Called after each delivery, on the worker that made it; may block. NULL: nobody. */
    void (*on_delivered)(void *delivered_context, struct http_client *client, const char *agent_id,
        const struct trace *trace);
    void *delivered_context;
};

/*
 * For entries of kind ENTRY_DELIVERY: works entry from its stage towards its end and gives it back
 * to the queue. A stage that fails leaves the entry waiting, to go on at that stage. Blocks for as
 * long as the agent takes. Workers only, each with its own client.
 */
void delivery_run(const struct delivery *delivery, struct http_client *client, struct entry *entry);

#endif
