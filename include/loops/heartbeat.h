/*
 * The thread that lines up the wake-ups that are due, and puts off those that meet a shut gate.
 */
#ifndef LOOPS_HEARTBEAT_H
#define LOOPS_HEARTBEAT_H

#include "base/stats.h"
#include "queue/send_queue.h"
#include "remote/gateway_gate.h"
#include "work/wake_schedule.h"

struct heartbeat;

/* Borrowed until heartbeat_stop has returned. */
struct heartbeat_parts {
    struct wake_schedule *schedule;
    struct send_queue *queue;
    struct gateway_gate *gate;
    struct stats *stats;
};

/* Makes it without starting it, so that others can poke it. The caller destroys it.
 * ERROR_NO_MEMORY. */
int heartbeat_create(
    struct heartbeat **heartbeat, const struct heartbeat_parts *parts, struct error *error);
void heartbeat_destroy(struct heartbeat *heartbeat);

/* Starts its thread, mc-beat. ERROR_SYSTEM. */
int heartbeat_start(struct heartbeat *heartbeat, struct error *error);

/*
 * Lets it look at the schedule, and at the gate. The argument is a struct heartbeat. Any thread;
 * does not block.
 */
void heartbeat_poke(void *heartbeat);

/* Whether its thread has shown up when it was due (loops/loop.h). Any thread. */
bool heartbeat_is_alive(struct heartbeat *heartbeat, int64_t now_ms);

/* Ends the thread, waiting for it. Does nothing if it was not started. */
void heartbeat_stop(struct heartbeat *heartbeat);

#endif
