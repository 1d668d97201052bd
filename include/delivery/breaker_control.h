/*
 * Applies the circuit breaker's state to the send queue, the prober, the heartbeat scheduler and
 * the log (docs/architecture.md, The circuit breaker).
 */
#ifndef DELIVERY_BREAKER_CONTROL_H
#define DELIVERY_BREAKER_CONTROL_H

#include <stdatomic.h>
#include <stdbool.h>

#include "base/loop.h"
#include "delivery/send_queue.h"
#include "gateway/breaker.h"
#include "gateway/roster.h"
#include "gateway/supervisor.h"
#include "telemetry/stats.h"

/* Borrowed; shared by all threads, only read. */
struct breaker_control {
    struct breaker *breaker;
    struct send_queue *queue;
    struct stats *stats;
    struct gateway_supervisor *supervisor; /* NULL: the gateway is not our child */
    struct loop *prober;                   /* poked when a probe may be due */
    struct loop *heartbeat;                /* poked when the breaker has opened; NULL: none */
};

/* Sets the queue's policy as the breaker is now. Any thread; does not block. */
void breaker_control_publish(const struct breaker_control *control);

/*
 * Holds all sends and wake-ups, whatever the breaker says, until called with false. Logs it, with
 * by, how it was asked for. Returns whether that changed anything. Any thread; blocks only as the
 * log does.
 */
bool breaker_control_hold(const struct breaker_control *control, bool held, const char *by);

/* Holds them if they are not held, else releases them: SIGUSR2. As above. */
void breaker_control_toggle_hold(const struct breaker_control *control);

/*
 * To be called when breaker_record_send, breaker_record_probe or breaker_suspect has changed the
 * breaker: publishes and logs its state. Any thread; blocks only as the log does.
 */
void breaker_control_apply(const struct breaker_control *control);

/* As breaker_token_changed, and has the gateway probed. Any thread; does not block. */
void breaker_control_token_changed(const struct breaker_control *control);

/*
 * The gateway, our child, has been started or else has exited, as supervisor_settings.on_change:
 * sends wait until a probe of the new one is accepted. control is a struct breaker_control. Any
 * thread; blocks only as the log does.
 */
void breaker_control_child_changed(void *control, bool started);

/* The thread that asks the gateway, while the breaker is not closed, whether it is back. */

struct gateway_prober;

/* Borrowed until the loop has been stopped. */
struct gateway_prober_parts {
    const struct gateway *gateway;
    const struct breaker_control *control;
    struct gateway_supervisor *supervisor; /* told of each answer; NULL: not our child */
    struct gateway_roster *roster;
    struct ca_store *store;
    const atomic_bool *abort; /* once true, a probe in flight ends within a second */
};

/* A prober whose thread has not been started. The caller destroys it. ERROR_NO_MEMORY. */
int gateway_prober_create(
    struct gateway_prober **prober, const struct gateway_prober_parts *parts, struct error *error);
void gateway_prober_destroy(struct gateway_prober *prober);

/* Its thread, mc-probe. A poke makes it check whether a probe is due. */
struct loop *gateway_prober_loop(struct gateway_prober *prober);

#endif
