#include "runtime.h"

#include <assert.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "config/version_probe.h"
#include "loops/delivery_poller.h"
#include "loops/gateway_prober.h"
#include "queue/spool.h"
#include "queue/state_folder.h"
#include "queue/worker_pool.h"
#include "remote/gateway_process.h"
#include "serve/health.h"
#include "serve/http_server.h"
#include "work/deliver.h"
#include "work/restore.h"

static const char component[] = "Runtime";

/* How long a transfer may take to notice that it is cut off. */
enum { ABORT_MS = 1000 };

struct runtime {
    const struct config *config;
    size_t started; /* parts of the list below */
    struct stats stats;
    struct state_folder state_folder;
    struct ca_store *store;
    struct convex *convex;
    struct gateway *gateway;
    struct gateway_gate *gate;
    struct gateway_roster *roster;
    struct gateway_prober *prober;
    struct gatekeeper keeper;
    struct gateway_process *gateway_process; /* NULL: the gateway is not our child */
    struct send_queue *queue;
    struct spool *spool;
    struct spooling spooling;
    struct version_probe *version;
    struct health_sources health;
    struct http_server_route routes[3];
    struct http_server *server;
    struct delivery_poller *poller;
    struct loop_guard *guard;
    struct deliver deliver;
    struct worker_pool *workers;
    atomic_bool abort_control; /* ends the requests of the control threads */
    atomic_bool abort_workers;
};

static int start_stats(struct runtime *runtime, struct error *error)
{
    (void)error;
    stats_init(&runtime->stats);
    return 0;
}

static void stop_stats(struct runtime *runtime)
{
    stats_fini(&runtime->stats);
}

static int start_state_folder(struct runtime *runtime, struct error *error)
{
    return state_folder_open(&runtime->state_folder, runtime->config->state_dir, error);
}

static void stop_state_folder(struct runtime *runtime)
{
    state_folder_close(&runtime->state_folder);
}

static int start_library(struct runtime *runtime, struct error *error)
{
    (void)runtime;
    return http_client_library_start(error);
}

static void stop_library(struct runtime *runtime)
{
    (void)runtime;
    http_client_library_stop();
}

static int start_store(struct runtime *runtime, struct error *error)
{
    return ca_store_create(&runtime->store, runtime->config->ca_file, error);
}

static void stop_store(struct runtime *runtime)
{
    ca_store_destroy(runtime->store);
}

static int start_convex(struct runtime *runtime, struct error *error)
{
    const struct config *config = runtime->config;
    return convex_create(
        &runtime->convex, config->convex_url, config->account_id, config->service_token, error);
}

static void stop_convex(struct runtime *runtime)
{
    convex_destroy(runtime->convex);
}

static int start_gateway(struct runtime *runtime, struct error *error)
{
    const struct config *config = runtime->config;
    int result =
        gateway_create(&runtime->gateway, config->gateway_url, config->gateway_token, error);
    if (result == 0 && !gateway_is_enabled(runtime->gateway))
        stats_send_ended(&runtime->stats,
            "OpenClaw gateway URL is not set (OPENCLAW_GATEWAY_URL); cannot send to session");
    return result;
}

static void stop_gateway(struct runtime *runtime)
{
    gateway_destroy(runtime->gateway);
}

static int start_gate(struct runtime *runtime, struct error *error)
{
    const struct config *config = runtime->config;
    return gateway_gate_create(&runtime->gate, gateway_is_enabled(runtime->gateway),
        config->delivery_backoff_base_ms, config->delivery_backoff_max_ms, clock_monotonic_ms(),
        error);
}

static void stop_gate(struct runtime *runtime)
{
    gateway_gate_destroy(runtime->gate);
}

static int start_roster(struct runtime *runtime, struct error *error)
{
    return gateway_roster_create(&runtime->roster, error);
}

static void stop_roster(struct runtime *runtime)
{
    gateway_roster_destroy(runtime->roster);
}

static int start_queue(struct runtime *runtime, struct error *error)
{
    const struct config *config = runtime->config;
    return send_queue_create(&runtime->queue, config->delivery_queue_capacity,
        (config->delivery_workers + 1) / 2, error);
}

static void stop_queue(struct runtime *runtime)
{
    send_queue_destroy(runtime->queue);
}

static int start_spool(struct runtime *runtime, struct error *error)
{
    const struct config *config = runtime->config;
    int result = spool_open(&runtime->spool, config->state_dir, config->account_id, error);
    if (result != 0)
        return result;
    runtime->spooling = (struct spooling){.spool = runtime->spool, .stats = &runtime->stats};
    spooling_watch_dead(&runtime->spooling);
    result = restore_from_spool(runtime->spool, runtime->queue, error);
    if (result != 0)
        spool_close(runtime->spool);
    return result;
}

static void stop_spool(struct runtime *runtime)
{
    spool_close(runtime->spool);
}

static int start_version(struct runtime *runtime, struct error *error)
{
    return version_probe_start(&runtime->version, runtime->config->openclaw_version, error);
}

static void stop_version(struct runtime *runtime)
{
    version_probe_stop(runtime->version);
}

static int create_gateway_process(struct runtime *runtime, struct error *error)
{
    const struct config *config = runtime->config;
    if (config->gateway_command == NULL)
        return 0;
    return gateway_process_create(&runtime->gateway_process, config->gateway_command,
        config->gateway_url, config->state_dir, error);
}

static void destroy_gateway_process(struct runtime *runtime)
{
    gateway_process_destroy(runtime->gateway_process);
}

static int start_gateway_process(struct runtime *runtime, struct error *error)
{
    if (runtime->gateway_process == NULL)
        return 0;
    return gateway_process_start(runtime->gateway_process, error);
}

static void stop_gateway_process(struct runtime *runtime)
{
    if (runtime->gateway_process != NULL)
        gateway_process_stop(runtime->gateway_process);
}

static int start_server(struct runtime *runtime, struct error *error)
{
    const struct config *config = runtime->config;
    runtime->health = (struct health_sources){
        .config = config,
        .stats = &runtime->stats,
        .version = runtime->version,
        .gate = runtime->gate,
        .process = runtime->gateway_process,
    };
    struct http_server_route *routes = runtime->routes;
    routes[0] = (struct http_server_route){"/health", health_handle, &runtime->health};
    routes[1] = (struct http_server_route){"/version", health_handle_version, &runtime->health};
    int result = http_server_create(
        &runtime->server, config->health_host, config->health_port, routes, error);
    if (result == 0)
        log_info("Health", "Listening on %s port %u", config->health_host,
            http_server_port(runtime->server));
    return result;
}

static void stop_server(struct runtime *runtime)
{
    http_server_destroy(runtime->server);
}

static int create_poller(struct runtime *runtime, struct error *error)
{
    const struct delivery_poller_parts parts = {
        .config = runtime->config,
        .queue = runtime->queue,
        .convex = runtime->convex,
        .store = runtime->store,
        .stats = &runtime->stats,
        .abort = &runtime->abort_control,
    };
    return delivery_poller_create(&runtime->poller, &parts, error);
}

static void destroy_poller(struct runtime *runtime)
{
    delivery_poller_destroy(runtime->poller);
}

static int create_prober(struct runtime *runtime, struct error *error)
{
    const struct gateway_prober_parts parts = {
        .gateway = runtime->gateway,
        .keeper = &runtime->keeper,
        .store = runtime->store,
        .abort = &runtime->abort_control,
    };
    int result = gateway_prober_create(&runtime->prober, &parts, error);
    runtime->keeper = (struct gatekeeper){
        .gate = runtime->gate,
        .queue = runtime->queue,
        .ask_for_probe = gateway_prober_poke,
        .probe_context = runtime->prober,
    };
    if (result == 0)
        gatekeeper_apply(&runtime->keeper);
    return result;
}

static void destroy_prober(struct runtime *runtime)
{
    gateway_prober_destroy(runtime->prober);
}

static int start_prober(struct runtime *runtime, struct error *error)
{
    return gateway_prober_start(runtime->prober, error);
}

static void stop_prober(struct runtime *runtime)
{
    atomic_store(&runtime->abort_control, true);
    gateway_prober_stop(runtime->prober);
}

static int start_guard(struct runtime *runtime, struct error *error)
{
    const struct config *config = runtime->config;
    return loop_guard_create(&runtime->guard, config->delivery_loop_guard == CONFIG_ON,
        config->delivery_max_hops, error);
}

static void stop_guard(struct runtime *runtime)
{
    loop_guard_destroy(runtime->guard);
}

static int start_workers(struct runtime *runtime, struct error *error)
{
    runtime->deliver = (struct deliver){
        .config = runtime->config,
        .queue = runtime->queue,
        .convex = runtime->convex,
        .gateway = runtime->gateway,
        .keeper = &runtime->keeper,
        .guard = runtime->guard,
        .directory = {.account_id = runtime->config->account_id,
            .fallback_agent = runtime->config->fallback_agent,
            .roster = runtime->roster},
        .stats = &runtime->stats,
        .spooling = runtime->spooling,
        .ask_for_poll = delivery_poller_poke,
        .poll_context = runtime->poller,
    };
    atomic_store(&runtime->stats.gateway_running, gateway_is_enabled(runtime->gateway));
    return worker_pool_start(&runtime->workers, runtime->config->delivery_workers, runtime->queue,
        deliver_run, &runtime->deliver, runtime->store, &runtime->abort_workers, error);
}

/*
 * The gateway is told to end at the first moment at which no reply can be lost by it: when no agent
 * is being asked any more, or when the runs that are left are cut off anyway. Not earlier, since
 * only some gateways let running requests end after SIGTERM; not later, so that it ends while
 * replies are still written back, and the grace is exceeded only by a gateway that takes its time.
 */
static void begin_stop_of_gateway(struct runtime *runtime, int64_t deadline_ms)
{
    if (runtime->gateway_process == NULL)
        return;
    send_queue_wait_for_sends(runtime->queue, deadline_ms);
    gateway_process_begin_stop(runtime->gateway_process);
}

/* What runs may end by itself until the grace is nearly over; then transfers are cut off. */
static void stop_workers(struct runtime *runtime)
{
    int64_t grace_ms = runtime->config->shutdown_grace_ms - ABORT_MS;
    int64_t deadline_ms = clock_monotonic_ms() + (grace_ms > 0 ? grace_ms : 0);
    struct send_queue_counts counts;
    send_queue_close(runtime->queue, deadline_ms);
    send_queue_counts(runtime->queue, &counts);
    if (counts.running > 0)
        log_info(component, "Waiting up to %lld ms for %zu deliveries that are under way",
            (long long)(grace_ms > 0 ? grace_ms : 0), counts.running);
    begin_stop_of_gateway(runtime, deadline_ms);
    if (!worker_pool_wait(runtime->workers, deadline_ms)) {
        send_queue_counts(runtime->queue, &counts);
        log_warn(component, "The grace is over: %zu deliveries are cut off", counts.running);
        atomic_store(&runtime->abort_workers, true);
    }
    worker_pool_stop(runtime->workers);
    atomic_store(&runtime->stats.gateway_running, false);
}

static int start_poller(struct runtime *runtime, struct error *error)
{
    return delivery_poller_start(runtime->poller, error);
}

static void stop_poller(struct runtime *runtime)
{
    atomic_store(&runtime->abort_control, true);
    delivery_poller_stop(runtime->poller);
}

/* The one order: each part may use those above it, and is stopped before them. */
static const struct part {
    int (*start)(struct runtime *runtime, struct error *error);
    void (*stop)(struct runtime *runtime);
} parts[] = {
    {start_stats, stop_stats},
    {start_state_folder, stop_state_folder},
    {start_library, stop_library},
    {start_store, stop_store},
    {start_convex, stop_convex},
    {start_gateway, stop_gateway},
    {start_gate, stop_gate},
    {start_roster, stop_roster},
    {start_queue, stop_queue},
    {start_spool, stop_spool},
    {start_version, stop_version},
    {create_gateway_process, destroy_gateway_process},
    {start_server, stop_server},
    {start_gateway_process, stop_gateway_process},
    {create_poller, destroy_poller},
    {create_prober, destroy_prober},
    {start_guard, stop_guard},
    {start_workers, stop_workers},
    {start_prober, stop_prober},
    {start_poller, stop_poller},
};

enum { PARTS = sizeof parts / sizeof parts[0] };

int runtime_start(struct runtime **runtime, const struct config *config, struct error *error)
{
    struct runtime *created = calloc(1, sizeof *created);
    if (created == NULL)
        return error_set(error, ERROR_NO_MEMORY, "no memory to start");
    created->config = config;
    while (created->started < PARTS) {
        int result = parts[created->started].start(created, error);
        if (result != 0) {
            runtime_stop(created);
            return result;
        }
        created->started++;
    }
    *runtime = created;
    return 0;
}

void runtime_stop(struct runtime *runtime)
{
    while (runtime->started > 0) {
        runtime->started--;
        parts[runtime->started].stop(runtime);
    }
    free(runtime);
}
