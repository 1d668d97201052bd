/*
 * Carries the gate's judgement to where it counts: the queue's flow, the probers, the heartbeat
 * scheduler and the log.
 */
#ifndef WORK_GATEKEEPER_H
#define WORK_GATEKEEPER_H

#include "base/stats.h"
#include "queue/send_queue.h"
#include "remote/gateway_gate.h"

/* Borrowed; shared by all threads, only read. */
struct gatekeeper {
    struct gateway_gate *gate;
    struct send_queue *queue;
    struct stats *stats;
    /* Called when a probe may be due; must not block. */
    void (*ask_for_probe)(void *probe_context);
    void *probe_context;
    /* Called when the gate has shut, once the queue holds sends; must not block. NULL for nobody.
     */
    void (*on_shut)(void *shut_context);
    void *shut_context;
};

/* Lets the queue flow as the gate says. Any thread; short locks. */
void gatekeeper_apply(const struct gatekeeper *keeper);

/*
 * Holds all sends and wake-ups until it is called with false, whatever the gate says, and logs it.
 * Any one thread; a short lock.
 */
void gatekeeper_hold_by_hand(const struct gatekeeper *keeper, bool held);

/* As gateway_gate_note_send and _note_probe, and applies and logs a change. Any thread. */
void gatekeeper_note_send(const struct gatekeeper *keeper, uint64_t ticket, const char *agent_id,
    const struct gateway_result *result);
void gatekeeper_note_probe(const struct gatekeeper *keeper, bool patient, uint64_t ticket,
    const struct gateway_result *result);

#endif
