/*
 * Connects the circuit breaker (gateway/breaker.h), which only judges, to everything that depends
 * on its judgement. Two parts:
 *
 * - Results come in: workers record how sends ended, the prober how probes ended, the supervisor
 *   that its child has been started or has exited. If one changes the breaker's state, the new
 *   state goes out: to the send queue as its policy, to the log, to
 *   the health reporter, to the prober (when it is not closed) and to the heartbeat scheduler
 *   (when it has opened, so that it postpones queued wake-ups). Changes may be published by several
 *   threads at once; the version in the policy keeps an older one from replacing a newer.
 *
 * - Prober: mc-probe asks a gateway whose breaker is not closed, or of which nothing was heard for
 *   long, whether it accepts us. The breaker decides when, and how long an answer may take. As the
 *   circuit is never closed when a child starts, the first answer of each child is to a probe.
 *
 * The breaker, the queue and the stats have their own locks, each held briefly and never two at a
 * time. Only the prober's requests block.
 */
#include "delivery/breaker_control.h"

#include <stdlib.h>

#include "base/log.h"
#include "base/loop.h"
#include "base/sync.h"

static const char component[] = "Gateway";

/* A gateway that is our child is not missed while it starts. */
static void log_state(const struct breaker_view *view, bool is_starting)
{
    if (view->state == BREAKER_OPEN && is_starting)
        log_info(component, "waiting for the gateway process to accept connections");
    else if (view->state == BREAKER_OPEN)
        log_error(component, "gateway unavailable, sends paused: %s", view->reason);
    else if (view->state == BREAKER_HALF_OPEN)
        log_debug(component, "probing the gateway: %s", view->reason);
    else if (view->limited)
        log_warn(component, "%d sends at a time: %s", SEND_QUEUE_LIMITED_SENDS, view->reason);
    else
        log_info(component, "gateway available, sends allowed");
}

static bool control_is_starting(const struct breaker_control *control)
{
    return control->supervisor != NULL &&
           supervisor_is_starting(control->supervisor, clock_monotonic_ms());
}

/* Publishes the state to the queue, and returns it. */
static struct breaker_view publish_policy(const struct breaker_control *control)
{
    struct breaker_view view;
    breaker_snapshot(control->breaker, &view);
    const struct send_policy policy = {
        .version = view.version,
        .paused = view.state != BREAKER_CLOSED,
        .limited = view.limited,
    };
    send_queue_set_policy(control->queue, &policy);
    return view;
}

void breaker_control_apply(const struct breaker_control *control)
{
    struct breaker_view view = publish_policy(control);
    log_state(&view, control_is_starting(control));
    stats_changed(control->stats);
    if (view.state != BREAKER_CLOSED)
        loop_poke(control->prober);
    if (view.state == BREAKER_OPEN && control->heartbeat != NULL)
        loop_poke(control->heartbeat);
}

void breaker_control_publish(const struct breaker_control *control)
{
    publish_policy(control);
}

bool breaker_control_hold(const struct breaker_control *control, bool held, const char *by)
{
    bool changed = send_queue_hold(control->queue, held) != held;
    if (changed)
        log_info(component,
            held ? "sends paused by operator (%s)" : "sends resumed by operator (%s)", by);
    return changed;
}

void breaker_control_toggle_hold(const struct breaker_control *control)
{
    struct send_queue_view view;
    send_queue_snapshot(control->queue, &view);
    breaker_control_hold(control, !view.held_by_operator, "SIGUSR2");
}

void breaker_control_token_changed(const struct breaker_control *control)
{
    breaker_token_changed(control->breaker, clock_monotonic_ms());
    publish_policy(control);
    loop_poke(control->prober);
}

void breaker_control_child_changed(void *control, bool started)
{
    const struct breaker_control *changed = control;
    const char *reason =
        started ? "the gateway process has just been started" : "the gateway process has exited";
    if (breaker_suspect(changed->breaker, reason, started, clock_monotonic_ms()))
        breaker_control_apply(changed);
    else
        loop_poke(changed->prober);
}

/* The prober. */

/* Of each request. Short, as sends wait meanwhile; the agent syncer asks with more time. */
enum { ROSTER_TIMEOUT_MS = 400 };

struct gateway_prober {
    struct gateway_prober_parts parts;
    struct loop loop;
    struct http_client *client;
    bool child_is_starting; /* as of the last probe */
};

/*
 * Before sends resume: which of them go to the fallback agent depends on the agents it knows.
 * Whether it takes tools is asked by those who need to know (gateway/dialect.h): on v0 of the
 * backend nobody.
 */
static void update_roster(const struct gateway_prober *prober, const struct trace *trace)
{
    const struct gateway_prober_parts *parts = &prober->parts;
    struct breaker_view view;
    struct gateway_models models;
    breaker_snapshot(parts->control->breaker, &view);
    if (view.state != BREAKER_CLOSED)
        gateway_roster_begin_circuit(parts->roster);
    gateway_models_fetch(parts->gateway, prober->client, ROSTER_TIMEOUT_MS, trace, &models);
    if (models.known || models.unsupported)
        gateway_roster_update(parts->roster, &models);
    gateway_models_fini(&models);
    struct gateway_release release;
    gateway_release_fetch(parts->gateway, prober->client, ROSTER_TIMEOUT_MS, trace, &release);
    if (release.generation != GATEWAY_UNKNOWN)
        gateway_roster_set_release(parts->roster, &release);
}

/* A child that has not answered by now is an outage, which the log has not called one yet. */
static void log_late_child(struct gateway_prober *prober)
{
    struct breaker_view view;
    bool was_starting = prober->child_is_starting;
    prober->child_is_starting = control_is_starting(prober->parts.control);
    breaker_snapshot(prober->parts.control->breaker, &view);
    if (was_starting && !prober->child_is_starting && view.state == BREAKER_OPEN)
        log_state(&view, false);
}

static void run_probe(const struct gateway_prober *prober, const struct breaker_probe *probe)
{
    const struct gateway_prober_parts *parts = &prober->parts;
    struct trace trace;
    struct gateway_result result;
    int64_t began_ms = clock_monotonic_ms();
    trace_begin(&trace);
    gateway_probe(parts->gateway, prober->client, probe->timeout_ms, &trace, &result);
    if (result.status != 0 && parts->supervisor != NULL)
        supervisor_record_answer(parts->supervisor, began_ms);
    if (result.outcome == GATEWAY_REPLIED)
        update_roster(prober, &trace);
    if (breaker_record_probe(parts->control->breaker, probe->ticket, &result, clock_monotonic_ms()))
        breaker_control_apply(parts->control);
}

static void *probe_thread(void *owner)
{
    struct gateway_prober *prober = owner;
    struct breaker *breaker = prober->parts.control->breaker;
    struct breaker_probe probe;
    /* Only loop_wait notices a stop, and while probes get no answer the next is due at once. */
    do {
        if (breaker_begin_probe(breaker, clock_monotonic_ms(), &probe))
            run_probe(prober, &probe);
        log_late_child(prober);
    } while (loop_wait(&prober->loop, breaker_probe_due(breaker), 0));
    return NULL;
}

int gateway_prober_create(
    struct gateway_prober **prober, const struct gateway_prober_parts *parts, struct error *error)
{
    struct gateway_prober *created = calloc(1, sizeof *created);
    if (created == NULL)
        return error_set(error, ERROR_NO_MEMORY, "no memory for the gateway prober");
    created->parts = *parts;
    created->child_is_starting = parts->supervisor != NULL;
    int result = http_client_create(&created->client, parts->store, parts->abort, error);
    if (result != 0) {
        free(created);
        return result;
    }
    loop_init(&created->loop, "mc-probe", probe_thread, created);
    *prober = created;
    return 0;
}

void gateway_prober_destroy(struct gateway_prober *prober)
{
    if (prober == NULL)
        return;
    loop_fini(&prober->loop);
    http_client_destroy(prober->client);
    free(prober);
}

struct loop *gateway_prober_loop(struct gateway_prober *prober)
{
    return &prober->loop;
}
