#include "delivery/breaker_control.h"

#include <stdlib.h>

#include "base/log.h"
#include "base/loop.h"
#include "base/sync.h"

static const char component[] = "Gateway";

static struct send_policy policy_of(const struct breaker_view *view)
{
    return (struct send_policy){
        .version = view->version,
        .paused = view->state != BREAKER_CLOSED,
        .single_flight = view->single_flight,
        .next_send_ms = view->next_send_ms,
    };
}

static void say(const struct breaker_view *view)
{
    int64_t wait_ms = view->next_send_ms - clock_monotonic_ms();
    if (view->state == BREAKER_OPEN)
        log_error(component, "No agent is asked for now: %s", view->reason);
    else if (view->state == BREAKER_HALF_OPEN)
        log_debug(component, "Being probed: %s", view->reason);
    else if (view->single_flight)
        log_event(LOG_LEVEL_WARN, component, LOG_FIELDS(LOG_NUMBER("next_send_ms", wait_ms)),
            "One agent is asked at a time: %s", view->reason);
    else
        log_info(component, "The gateway answers: agents can be asked");
}

static void publish_change(const struct breaker_control *control)
{
    struct breaker_view view;
    breaker_snapshot(control->breaker, &view);
    const struct send_policy policy = policy_of(&view);
    send_queue_set_policy(control->queue, &policy);
    say(&view);
    stats_changed(control->stats);
    if (view.state != BREAKER_CLOSED)
        loop_poke(control->prober);
    if (view.state == BREAKER_OPEN && control->heartbeat != NULL)
        loop_poke(control->heartbeat);
}

void breaker_control_publish(const struct breaker_control *control)
{
    struct breaker_view view;
    breaker_snapshot(control->breaker, &view);
    const struct send_policy policy = policy_of(&view);
    send_queue_set_policy(control->queue, &policy);
}

void breaker_control_hold(const struct breaker_control *control, bool held)
{
    send_queue_hold(control->queue, held);
    atomic_store(&control->stats->held_by_operator, held);
    log_info(component, held ? "Sends are held by hand: no agent is asked until they are released"
                             : "Sends are no longer held by hand");
}

void breaker_control_record_send(const struct breaker_control *control, uint64_t ticket,
    const char *agent_id, const struct gateway_result *result)
{
    if (breaker_record_send(control->breaker, ticket, agent_id, result, clock_monotonic_ms()))
        publish_change(control);
}

void breaker_control_record_probe(const struct breaker_control *control, bool slow_probe,
    uint64_t ticket, const struct gateway_result *result)
{
    if (breaker_record_probe(control->breaker, slow_probe, ticket, result, clock_monotonic_ms()))
        publish_change(control);
}

enum { QUICK, SLOW, THREADS };

/* Work waits meanwhile. The syncer has more patience. */
enum { MODELS_TIMEOUT_MS = 400 };

static const struct {
    const char *name;
    int64_t timeout_ms;
} kinds[THREADS] = {
    [QUICK] = {"mc-probe", 1500},
    [SLOW] = {"mc-probe-slow", 15000},
};

struct probing_thread {
    struct gateway_prober *prober;
    int kind;
    struct loop loop;
    struct http_client *client;
};

struct gateway_prober {
    struct gateway_prober_parts parts;
    struct probing_thread threads[THREADS];
};

/* Before the gate opens: who is sent as the fallback agent depends on whom the gateway knows. */
static void learn_agents(struct probing_thread *thread, const struct trace *trace)
{
    const struct gateway_prober_parts *parts = &thread->prober->parts;
    struct gateway_models models;
    gateway_models_fetch(parts->gateway, thread->client, MODELS_TIMEOUT_MS, trace, &models);
    if (models.known || models.unsupported)
        gateway_roster_update(parts->roster, &models);
    gateway_models_fini(&models);
}

static void probe(struct probing_thread *thread, uint64_t ticket)
{
    const struct gateway_prober_parts *parts = &thread->prober->parts;
    struct trace trace;
    struct gateway_result result;
    trace_begin(&trace);
    gateway_probe(parts->gateway, thread->client, kinds[thread->kind].timeout_ms, &trace, &result);
    if (result.outcome == GATEWAY_REPLIED)
        learn_agents(thread, &trace);
    breaker_control_record_probe(parts->control, thread->kind == SLOW, ticket, &result);
    gateway_result_fini(&result);
}

static void *probe_thread(void *owner)
{
    struct probing_thread *thread = owner;
    struct breaker *breaker = thread->prober->parts.control->breaker;
    bool slow_probe = thread->kind == SLOW;
    uint64_t ticket;
    /* Each probe is a round: behind one that found no answer the next is due at once, for ever. */
    do {
        if (breaker_begin_probe(breaker, slow_probe, clock_monotonic_ms(), &ticket))
            probe(thread, ticket);
        if (!slow_probe)
            loop_poke(&thread->prober->threads[SLOW].loop);
    } while (loop_wait(&thread->loop, breaker_probe_due(breaker, slow_probe), 0));
    return NULL;
}

/* The first count threads. */
static void close_threads(struct gateway_prober *prober, int count)
{
    for (int kind = 0; kind < count; kind++) {
        loop_fini(&prober->threads[kind].loop);
        http_client_destroy(prober->threads[kind].client);
    }
}

int gateway_prober_create(
    struct gateway_prober **prober, const struct gateway_prober_parts *parts, struct error *error)
{
    struct gateway_prober *created = calloc(1, sizeof *created);
    if (created == NULL)
        return error_set(error, ERROR_NO_MEMORY, "no memory for the gateway prober");
    created->parts = *parts;
    for (int kind = 0; kind < THREADS; kind++) {
        struct probing_thread *thread = &created->threads[kind];
        thread->prober = created;
        thread->kind = kind;
        int result = http_client_create(&thread->client, parts->store, parts->abort, error);
        if (result != 0) {
            close_threads(created, kind);
            free(created);
            return result;
        }
        loop_init(&thread->loop, kinds[kind].name, probe_thread, thread);
    }
    *prober = created;
    return 0;
}

void gateway_prober_destroy(struct gateway_prober *prober)
{
    if (prober == NULL)
        return;
    close_threads(prober, THREADS);
    free(prober);
}

struct loop *gateway_prober_loop(struct gateway_prober *prober)
{
    return &prober->threads[QUICK].loop;
}

struct loop *gateway_prober_slow_loop(struct gateway_prober *prober)
{
    return &prober->threads[SLOW].loop;
}

bool runtime_health_from(const struct breaker_view *breaker, long long last_poll_ms,
    unsigned poll_failures, bool spool_broken)
{
    return breaker->state == BREAKER_CLOSED && !breaker->single_flight && last_poll_ms != 0 &&
           poll_failures == 0 && !spool_broken;
}

bool runtime_health_is_ok(struct stats *stats, struct breaker *breaker)
{
    struct breaker_view view;
    breaker_snapshot(breaker, &view);
    return runtime_health_from(&view, atomic_load(&stats->last_poll_ms),
        atomic_load(&stats->consecutive_poll_failures), atomic_load(&stats->spool_broken));
}

bool runtime_health_is_known(struct stats *stats, struct breaker *breaker)
{
    struct breaker_view view;
    breaker_snapshot(breaker, &view);
    bool polled = atomic_load(&stats->last_poll_ms) != 0 ||
                  atomic_load(&stats->consecutive_poll_failures) != 0;
    return view.state != BREAKER_HALF_OPEN && polled;
}
