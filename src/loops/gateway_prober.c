#include "loops/gateway_prober.h"

#include <stdlib.h>

#include "base/clock.h"
#include "loops/loop.h"

enum { QUICK, PATIENT, THREADS };

/* Work waits meanwhile. The syncer has more patience. */
enum { MODELS_TIMEOUT_MS = 400 };

static const struct {
    const char *name;
    int64_t timeout_ms;
} kinds[THREADS] = {
    [QUICK] = {"mc-probe", 1500},
    [PATIENT] = {"mc-probe-slow", 15000},
};

struct probing_thread {
    struct gateway_prober *prober;
    int kind;
    struct loop loop;
};

struct gateway_prober {
    struct gateway_prober_parts parts;
    struct probing_thread threads[THREADS];
};

/* Those of the first count threads. */
static void close_loops(struct gateway_prober *prober, int count)
{
    for (int kind = 0; kind < count; kind++)
        loop_close(&prober->threads[kind].loop);
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
        int result = loop_open(&thread->loop, parts->store, parts->abort, error);
        if (result != 0) {
            close_loops(created, kind);
            free(created);
            return result;
        }
    }
    *prober = created;
    return 0;
}

void gateway_prober_destroy(struct gateway_prober *prober)
{
    if (prober == NULL)
        return;
    close_loops(prober, THREADS);
    free(prober);
}

/* Before the gate opens: who is sent as the fallback agent depends on whom the gateway knows. */
static void learn_agents(struct probing_thread *thread, const struct gateway_inquiry *inquiry)
{
    const struct gateway_prober_parts *parts = &thread->prober->parts;
    struct gateway_models models;
    const struct gateway_inquiry quick = {
        .client = inquiry->client, .timeout_ms = MODELS_TIMEOUT_MS, .trace = inquiry->trace};
    gateway_models_fetch(parts->gateway, &quick, &models);
    if (models.known || models.unsupported)
        gateway_roster_update(parts->roster, &models);
    gateway_models_fini(&models);
}

static void probe(struct probing_thread *thread, uint64_t ticket)
{
    const struct gateway_prober_parts *parts = &thread->prober->parts;
    struct trace trace;
    const struct gateway_inquiry inquiry = {
        .client = thread->loop.client,
        .timeout_ms = kinds[thread->kind].timeout_ms,
        .trace = &trace,
    };
    struct gateway_result result;
    trace_begin(&trace);
    gateway_probe(parts->gateway, &inquiry, &result);
    if (result.outcome == GATEWAY_REPLIED)
        learn_agents(thread, &inquiry);
    gatekeeper_note_probe(parts->keeper, thread->kind == PATIENT, ticket, &result);
    gateway_result_fini(&result);
    /* A quick probe that got no answer gives the patient one its turn. */
    if (thread->kind == QUICK && result.timed_out)
        loop_poke(&thread->prober->threads[PATIENT].loop);
}

static void *run(void *argument)
{
    struct probing_thread *thread = argument;
    struct gateway_gate *gate = thread->prober->parts.keeper->gate;
    bool patient = thread->kind == PATIENT;
    uint64_t ticket;
    /* Each probe is a round: behind one that found no answer the next is due at once, for ever. */
    do {
        if (gateway_gate_begin_probe(gate, patient, clock_monotonic_ms(), &ticket))
            probe(thread, ticket);
    } while (loop_wait(&thread->loop, gateway_gate_probe_due(gate, patient), 0));
    return NULL;
}

int gateway_prober_start(struct gateway_prober *prober, struct error *error)
{
    int result = 0;
    for (int kind = 0; result == 0 && kind < THREADS; kind++) {
        struct probing_thread *thread = &prober->threads[kind];
        result = loop_start(&thread->loop, kinds[kind].name, run, thread, error);
    }
    if (result != 0)
        gateway_prober_stop(prober);
    return result;
}

void gateway_prober_poke(void *prober)
{
    struct gateway_prober *poked = prober;
    for (int kind = 0; kind < THREADS; kind++)
        loop_poke(&poked->threads[kind].loop);
}

bool gateway_prober_is_alive(struct gateway_prober *prober, int64_t now_ms)
{
    for (int kind = 0; kind < THREADS; kind++)
        if (!loop_is_alive(&prober->threads[kind].loop, now_ms))
            return false;
    return true;
}

void gateway_prober_stop(struct gateway_prober *prober)
{
    for (int kind = 0; kind < THREADS; kind++)
        loop_stop(&prober->threads[kind].loop);
    for (int kind = 0; kind < THREADS; kind++)
        loop_end(&prober->threads[kind].loop);
}
