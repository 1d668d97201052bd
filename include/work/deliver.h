/* What a worker does with a notification: ask its agent, write the reply into the thread, mark it.
 */
#ifndef WORK_DELIVER_H
#define WORK_DELIVER_H

#include "base/stats.h"
#include "config/config.h"
#include "queue/send_queue.h"
#include "remote/convex.h"
#include "remote/gateway.h"
#include "work/address.h"
#include "work/gatekeeper.h"
#include "work/loop_guard.h"
#include "work/spooling.h"
#include "work/wake.h"

/* Borrowed parts, shared by all workers; only read. */
struct deliver {
    const struct config *config;
    struct send_queue *queue;
    struct convex *convex;
    struct gateway *gateway;
    const struct gatekeeper *keeper;
    struct loop_guard *guard;
    struct directory directory;
    const struct wake *wake;
    struct stats *stats;
    struct spooling spooling;
    /* No agent is asked from then on, so what is read before that is cut off. NULL: never. */
    const atomic_bool *stopping;
};

/*
 * For entries of kind ENTRY_DELIVERY: works entry from its stage towards its end and gives it back
 * to the queue. A stage that fails leaves the entry waiting, to go on at that stage. Blocks for as
 * long as the agent takes. Workers only, each with its own client.
 */
void deliver_run(const struct deliver *deliver, struct http_client *client, struct entry *entry);

#endif
