/* The thread that lists undelivered notifications and offers them to the send queue. */
#ifndef LOOPS_DELIVERY_POLLER_H
#define LOOPS_DELIVERY_POLLER_H

#include <stdatomic.h>

#include "base/stats.h"
#include "config/config.h"
#include "queue/send_queue.h"
#include "remote/convex.h"

struct delivery_poller;

/* Borrowed until delivery_poller_stop has returned. */
struct delivery_poller_parts {
    const struct config *config;
    struct send_queue *queue;
    struct convex *convex;
    struct ca_store *store;
    struct stats *stats;
    const atomic_bool *abort; /* ends a request that is under way */
};

/*
 * Makes a poller without starting it: workers need one to poke before there is anything to poll
 * for. The caller destroys it. ERROR_NO_MEMORY.
 */
int delivery_poller_create(struct delivery_poller **poller,
    const struct delivery_poller_parts *parts, struct error *error);
void delivery_poller_destroy(struct delivery_poller *poller);

/* Starts its thread, mc-poll, which polls at once. ERROR_SYSTEM. */
int delivery_poller_start(struct delivery_poller *poller, struct error *error);

/*
 * Asks for a poll soon: at most one in 100 ms, and never lost, since the flag is cleared before the
 * request begins. The argument is a struct delivery_poller. Any thread; does not block.
 */
void delivery_poller_poke(void *poller);

/* Whether its thread has shown up when it was due (loops/loop.h). Any thread. */
bool delivery_poller_is_alive(struct delivery_poller *poller, int64_t now_ms);

/* Ends the thread, waiting for it. Does nothing if it was not started. */
void delivery_poller_stop(struct delivery_poller *poller);

#endif
