/*
 * Carries the gate's judgement to where it counts: the queue's flow, the probers, the heartbeat
 * scheduler and the log.
 */
#ifndef DELIVERY_GATEKEEPER_H
#define DELIVERY_GATEKEEPER_H

#include <stdatomic.h>
#include <stdbool.h>

#include "base/loop.h"

#include "delivery/send_queue.h"
#include "gateway/breaker.h"
#include "gateway/roster.h"
#include "telemetry/stats.h"

/* Borrowed; shared by all threads, only read. */
struct breaker_control {
    struct breaker *breaker;
    struct send_queue *queue;
    struct stats *stats;
    struct loop *prober;    /* poked when a probe may be due */
    struct loop *heartbeat; /* poked when the circuit has opened and the queue holds sends */
};

/* Lets the queue flow as the gate says. Any thread; short locks. */
void breaker_control_publish(const struct breaker_control *control);

/*
 * Holds all sends and wake-ups until it is called with false, whatever the gate says, and logs it.
 * Any one thread; a short lock.
 */
void breaker_control_hold(const struct breaker_control *control, bool held);

/* As breaker_record_send and _note_probe, and applies and logs a change. Any thread. */
void breaker_control_record_send(const struct breaker_control *control, uint64_t ticket,
    const char *agent_id, const struct gateway_result *result);
void breaker_control_record_probe(const struct breaker_control *control, bool slow_probe,
    uint64_t ticket, const struct gateway_result *result);

/* The threads that ask a gateway behind a gate that is not open whether it is back. */

struct gateway_prober;

/* Borrowed until the loops have been stopped. */
struct gateway_prober_parts {
    const struct gateway *gateway;
    const struct breaker_control *control;
    struct gateway_roster *roster;
    struct ca_store *store;
    const atomic_bool *abort; /* ends a probe that is under way */
};

/* A prober whose threads have not been started. The caller destroys it. ERROR_NO_MEMORY. */
int gateway_prober_create(
    struct gateway_prober **prober, const struct gateway_prober_parts *parts, struct error *error);
void gateway_prober_destroy(struct gateway_prober *prober);

/*
 * Its threads. mc-probe gives up on an answer early, so that it soon sees a gateway that returns;
 * mc-probe-slow waits long, so that it sees one that is slow. A poke of the first lets both look
 * at the breaker.
 */
struct loop *gateway_prober_loop(struct gateway_prober *prober);
struct loop *gateway_prober_slow_loop(struct gateway_prober *prober);

/* Whether the runtime does its work: the one judgement behind /health and the reports. */

/*
 * True while the gate is open, and not for one send at a time, the last poll worked and so did the
 * last write to the spool. Before the first poll it is false. Any thread; a short lock.
 */
bool runtime_health_is_ok(struct stats *stats, struct breaker *breaker);

/* The same of what was read already; last_poll_ms is 0 before the first poll that worked. Pure. */
bool runtime_health_from(const struct breaker_view *breaker, long long last_poll_ms,
    unsigned poll_failures, bool spool_broken);

/* Whether the first probe and the first poll have ended, well or not. Any thread; a short lock. */
bool runtime_health_is_known(struct stats *stats, struct breaker *breaker);

#endif
