#include "runtime.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "parts/parts.h"

static const char component[] = "Runtime";

/* How long a transfer may take to notice that it is cut off. */
enum { ABORT_MS = 1000 };

/* The one order: each part may use those above it, and is stopped before them. */
static const struct part *const parts[] = {
    &part_stats,
    &part_state_folder,
    &part_library,
    &part_stop_request,
    &part_store,
    &part_convex,
    &part_farewell,
    &part_gateway,
    &part_gate,
    &part_roster,
    &part_queue,
    &part_spool,
    &part_version,
    &part_schedule,
    &part_gateway_process,
    &part_poller,
    &part_prober,
    &part_heartbeat,
    &part_agents,
    &part_reporter,
    &part_workers,
    &part_server, /* asks all those above whether they live */
    &part_gateway_child,
    &part_guard,
    &part_worker_threads,
    &part_prober_thread,
    &part_poller_thread,
    &part_heartbeat_thread,
    &part_agents_thread,
    &part_reporter_thread,
};

enum { PARTS = sizeof parts / sizeof parts[0] };

int runtime_start(struct runtime **runtime, const struct config *config, struct error *error)
{
    struct runtime *created = calloc(1, sizeof *created);
    if (created == NULL)
        return error_set(error, ERROR_NO_MEMORY, "no memory to start");
    created->config = config;
    while (created->started < PARTS) {
        int result = parts[created->started]->start(created, error);
        if (result != 0) {
            runtime_stop(created);
            return result;
        }
        created->started++;
    }
    created->complete = true;
    atomic_store(&created->stats.phase, PHASE_RUNNING);
    *runtime = created;
    return 0;
}

int runtime_stop_fd(const struct runtime *runtime)
{
    return runtime->stop_fd;
}

bool runtime_is_alive(struct runtime *runtime)
{
    return roll_call_find_stuck(&runtime->loops) == NULL;
}

void runtime_log_work(struct runtime *runtime)
{
    struct send_queue_counts counts;
    send_queue_counts(runtime->queue, &counts);
    log_event(LOG_LEVEL_INFO, component,
        LOG_FIELDS(LOG_NUMBER("held", (int64_t)counts.held),
            LOG_NUMBER("ready", (int64_t)counts.ready),
            LOG_NUMBER("waiting", (int64_t)counts.waiting),
            LOG_NUMBER("settled", (int64_t)counts.settled)),
        "%zu of %u workers are busy", counts.running, runtime->config->delivery_workers);
    worker_pool_log(runtime->workers);
}

void runtime_toggle_hold(struct runtime *runtime)
{
    gatekeeper_hold_by_hand(&runtime->keeper, !atomic_load(&runtime->stats.held_by_hand));
}

struct runtime_tokens runtime_exchange_tokens(
    struct runtime *runtime, struct runtime_tokens wanted, struct config *fresh)
{
    return (struct runtime_tokens){
        .service = wanted.service && convex_exchange_token(runtime->convex, &fresh->service_token),
        .gateway =
            wanted.gateway && gateway_exchange_token(runtime->gateway, &fresh->gateway_token),
    };
}

/* At once for all parts, before they are stopped one after the other. */
static void begin_stop(struct runtime *runtime)
{
    int64_t grace_ms = runtime->config->shutdown_grace_ms - ABORT_MS;
    if (runtime->started > 0)
        atomic_store(&runtime->stats.phase, PHASE_STOPPING);
    runtime->deadline_ms = clock_monotonic_ms() + (grace_ms > 0 ? grace_ms : 0);
    atomic_store(&runtime->abort_control, true);
    if (runtime->complete)
        send_queue_close(runtime->queue, runtime->deadline_ms);
}

void runtime_stop(struct runtime *runtime)
{
    begin_stop(runtime);
    while (runtime->started > 0) {
        runtime->started--;
        parts[runtime->started]->stop(runtime);
    }
    free(runtime);
}
