/* The threads that ask a gateway behind a gate that is not open whether it is back. */
#ifndef LOOPS_GATEWAY_PROBER_H
#define LOOPS_GATEWAY_PROBER_H

#include <stdatomic.h>

#include "remote/gateway_roster.h"
#include "work/gatekeeper.h"

struct gateway_prober;

/* Borrowed until gateway_prober_stop has returned. */
struct gateway_prober_parts {
    const struct gateway *gateway;
    const struct gatekeeper *keeper;
    struct gateway_roster *roster;
    struct ca_store *store;
    const atomic_bool *abort; /* ends a probe that is under way */
};

/*
 * Makes a prober without starting it: workers need one to poke before there is anything to probe
 * for. The caller destroys it. ERROR_NO_MEMORY.
 */
int gateway_prober_create(
    struct gateway_prober **prober, const struct gateway_prober_parts *parts, struct error *error);
void gateway_prober_destroy(struct gateway_prober *prober);

/*
 * Starts its two threads. mc-probe gives up on an answer early, so that it soon sees a gateway that
 * returns; mc-probe-slow waits long, so that it sees one that is slow. ERROR_SYSTEM.
 */
int gateway_prober_start(struct gateway_prober *prober, struct error *error);

/* Lets the threads look at the gate. The argument is a struct gateway_prober. Any thread. */
void gateway_prober_poke(void *prober);

/* Whether its threads have shown up when they were due (loops/loop.h). Any thread. */
bool gateway_prober_is_alive(struct gateway_prober *prober, int64_t now_ms);

/* Ends the threads, waiting for them. Does nothing for those that were not started. */
void gateway_prober_stop(struct gateway_prober *prober);

#endif
