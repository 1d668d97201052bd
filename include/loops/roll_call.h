/* Asks every control thread whether it goes round as it should. */
#ifndef LOOPS_ROLL_CALL_H
#define LOOPS_ROLL_CALL_H

#include "loops/agent_sync.h"
#include "loops/delivery_poller.h"
#include "loops/gateway_prober.h"
#include "loops/heartbeat.h"
#include "loops/reporter.h"

/* All of them; borrowed, none NULL. */
struct roll_call {
    struct delivery_poller *poller;
    struct gateway_prober *prober;
    struct heartbeat *heartbeat;
    struct agent_sync *agents;
    struct reporter *reporter;
};

/*
 * In fixed words, which thread has not shown up when it was due (loops/loop.h), or NULL. The
 * argument is a struct roll_call. Any thread; short locks.
 */
const char *roll_call_find_stuck(void *roll_call);

#endif
