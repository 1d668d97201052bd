/*
 * Startup and shutdown of everything. runtime_start has two phases: first it creates all modules,
 * since threads hold pointers to each other's loops, then it starts the threads, from the HTTP
 * server (so that probes are answered) to the loops that bring in work. runtime_stop undoes both in
 * reverse order. Every destroy function accepts NULL and every stop function a thread that never
 * started, so a startup that fails half-way is undone by the same calls.
 *
 * The order of the shutdown is what keeps replies (docs/architecture.md, Startup and shutdown):
 *
 *     queue closed, abort_control set   no new sends; reads for a send and all polls are aborted
 *     control threads joined            nothing brings in work any more
 *     gateway child gets SIGTERM        once no agent run is in flight
 *     workers finish                    runs and write-backs, until deadline_ms
 *     agents' requests finish           likewise; those not begun were answered with 503
 *     abort_workers set                 aborts what is still in flight; workers joined
 *     gateway child, HTTP server        joined
 *     backend told "offline"            when no thread can report "online" any more
 *
 * What was aborted is in the spool or still undelivered at the backend, and resumes at the next
 * startup. deadline_ms is SHUTDOWN_GRACE_MS less the time that a transfer takes to notice an abort.
 *
 * All functions run on the main thread, except runtime_is_alive. Everything that threads share was
 * set before they started, is atomic, or has its own lock.
 */
#include "runtime.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "agent_tools/api_address.h"
#include "agent_tools/capability.h"
#include "agents/agents.h"
#include "backend/convex.h"
#include "base/control_socket.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/watch.h"
#include "control.h"
#include "delivery/breaker_control.h"
#include "delivery/delivery.h"
#include "delivery/journal.h"
#include "delivery/loop_guard.h"
#include "delivery/poller.h"
#include "delivery/send_queue.h"
#include "delivery/worker_pool.h"
#include "gateway/breaker.h"
#include "gateway/gateway.h"
#include "gateway/roster.h"
#include "gateway/supervisor.h"
#include "gateway/version_probe.h"
#include "http/ca_store.h"
#include "http/client.h"
#include "report/reporter.h"
#include "serve/agent_api.h"
#include "serve/routes.h"
#include "spool/spool.h"
#include "telemetry/stats.h"

/* Upper bound on the time a transfer takes to notice that it is aborted. */
enum { ABORT_MS = 1000 };

/* Upper bound on the probe interval of an idle gateway. */
enum { MAX_IDLE_PROBE_MS = 60 * 1000 };

static const char component[] = "Runtime";

struct runtime {
    const struct config *config;
    struct stats stats;
    struct state_dir state_dir;
    bool curl_started;
    int stop_fd; /* eventfd: the backend has requested a restart or an upgrade */
    struct ca_store *store;
    struct convex *convex;
    struct gateway *gateway;
    struct breaker *breaker;
    struct gateway_roster *roster;
    struct other_runtime *other_runtime;
    struct send_queue *queue;
    struct spool *spool;
    struct journal journal;
    struct version_probe *version;
    struct wake_schedule *schedule;
    struct gateway_supervisor *supervisor; /* NULL: the gateway is not our child */
    struct gateway_prober *prober;
    struct breaker_control control;
    struct attention attention;
    struct delivery_poller *poller;
    struct heartbeat *heartbeat;
    struct agent_sync *agents;
    struct reporter *reporter;
    struct watchdog watchdog;
    struct loop_guard *guard;
    struct delivery delivery;
    struct worker_pool *workers;
    struct tool_menu menu;
    struct capability *capability;
    struct agent_api *agent_api;
    char *agent_api_url; /* under which agents are told to reach it */
    struct routes *routes;
    struct control_parts control_parts;
    struct control_socket *control_socket; /* NULL: it cannot be had */
    bool complete;                         /* the startup has succeeded */
    int64_t deadline_ms;                   /* of the shutdown, for work in flight; monotonic */
    atomic_bool abort_control; /* aborts requests of control threads, and reads before a send */
    atomic_bool abort_workers; /* aborts all other requests */
};

static void warn_of_exposed_state_dir(const char *path)
{
    const char *fault = state_dir_find_fault(path);
    if (fault != NULL)
        log_warn(component,
            "STATE_DIR %s %s; give it to the runtime's user (chown) and chmod 700 it", path, fault);
}

static int create_foundation(struct runtime *runtime, struct error *error)
{
    const struct config *config = runtime->config;
    int result = state_dir_open(&runtime->state_dir, config->state_dir, error);
    if (result != 0)
        return result;
    warn_of_exposed_state_dir(config->state_dir);
    result = http_client_library_start(error);
    if (result != 0)
        return result;
    runtime->curl_started = true;
    runtime->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (runtime->stop_fd < 0)
        return error_set_errno(error, ERROR_SYSTEM, errno, "cannot create an eventfd");
    return ca_store_create(&runtime->store, config->ca_file, error);
}

static int create_breaker(struct runtime *runtime, struct error *error)
{
    const struct config *config = runtime->config;
    const struct breaker_settings settings = {
        .enabled = gateway_is_enabled(runtime->gateway),
        .url = config->gateway_url,
        .idle_probe_ms = config->health_check_interval_ms < MAX_IDLE_PROBE_MS
                             ? config->health_check_interval_ms
                             : MAX_IDLE_PROBE_MS,
    };
    if (!settings.enabled)
        stats_send_ended(&runtime->stats,
            "OpenClaw gateway URL is not set (OPENCLAW_GATEWAY_URL); cannot send to session");
    return breaker_create(&runtime->breaker, &settings, clock_monotonic_ms(), error);
}

static int create_supervisor(struct runtime *runtime, struct error *error)
{
    const struct supervisor_settings settings = {
        .command = runtime->config->gateway_command,
        .state_dir = runtime->config->state_dir,
        .on_change = breaker_control_child_changed,
        .context = &runtime->control,
    };
    return supervisor_create(&runtime->supervisor, &settings, error);
}

static int create_remotes(struct runtime *runtime, struct error *error)
{
    const struct config *config = runtime->config;
    int result = convex_create(
        &runtime->convex, config->convex_url, config->account_id, config->service_token, error);
    if (result != 0)
        return result;
    convex_set_metrics(runtime->convex, &runtime->stats.metrics);
    convex_pin_version(runtime->convex, config->backend_pin);
    result = gateway_create(&runtime->gateway, config->gateway_url, config->gateway_token, error);
    if (result == 0)
        result = create_breaker(runtime, error);
    if (result == 0)
        result = gateway_roster_create(&runtime->roster, error);
    if (result == 0 && config->gateway_command != NULL)
        result = create_supervisor(runtime, error);
    return result;
}

/* Restores the spool before any worker runs: the queue must know every reply that is on disk. */
static int create_queue(struct runtime *runtime, struct error *error)
{
    const struct config *config = runtime->config;
    const struct send_queue_settings settings = {
        .capacity = config->delivery_queue_capacity,
        .max_wakes = (config->delivery_workers + 1) / 2,
        .looks_ahead = true,
        .min_lane_gap_ms = config->delivery_backoff_base_ms,
        .max_lane_gap_ms = config->delivery_backoff_max_ms,
        .other_runtime = runtime->other_runtime,
    };
    attention_init(&runtime->attention, config->delivery_interval_active_ms,
        config->delivery_interval_ms, config->delivery_interval_idle_ms, clock_monotonic_ms());
    int result = send_queue_create(&runtime->queue, &settings, error);
    if (result == 0)
        result = spool_open(&runtime->spool, config->state_dir, config->account_id, error);
    if (result != 0)
        return result;
    runtime->journal = (struct journal){.spool = runtime->spool, .stats = &runtime->stats};
    result = journal_restore(
        &runtime->journal, runtime->queue, config->delivery_give_up_after_ms, error);
    if (result == 0)
        journal_trim_dead(&runtime->journal);
    return result;
}

static int create_prober(struct runtime *runtime, struct error *error)
{
    const struct gateway_prober_parts parts = {
        .gateway = runtime->gateway,
        .control = &runtime->control,
        .supervisor = runtime->supervisor,
        .roster = runtime->roster,
        .store = runtime->store,
        .abort = &runtime->abort_control,
    };
    int result = gateway_prober_create(&runtime->prober, &parts, error);
    if (result != 0)
        return result;
    runtime->control = (struct breaker_control){
        .breaker = runtime->breaker,
        .queue = runtime->queue,
        .stats = &runtime->stats,
        .supervisor = runtime->supervisor,
        .prober = gateway_prober_loop(runtime->prober),
        .heartbeat = heartbeat_loop(runtime->heartbeat),
    };
    breaker_control_publish(&runtime->control);
    return 0;
}

static int create_guard(struct runtime *runtime, struct error *error)
{
    const struct config *config = runtime->config;
    const struct loop_guard_settings settings = {
        .enabled = config->delivery_loop_guard != 0,
        .max_hops = config->delivery_max_hops,
        .max_agent_runs = config->delivery_max_agent_runs,
        .state_dir = config->state_dir,
    };
    return loop_guard_create(&runtime->guard, &settings, error);
}

static int create_poller(struct runtime *runtime, struct error *error)
{
    const struct delivery_poller_parts parts = {
        .config = runtime->config,
        .queue = runtime->queue,
        .attention = &runtime->attention,
        .guard = runtime->guard,
        .journal = runtime->journal,
        .convex = runtime->convex,
        .store = runtime->store,
        .stats = &runtime->stats,
        .abort = &runtime->abort_control,
    };
    int result = delivery_poller_create(&runtime->poller, &parts, error);
    if (result != 0)
        return result;
    runtime->attention.poller = delivery_poller_loop(runtime->poller);
    send_queue_set_poller(runtime->queue, delivery_poller_loop(runtime->poller));
    convex_on_recovery(runtime->convex, delivery_poller_loop(runtime->poller));
    return 0;
}

static int create_agents(struct runtime *runtime, struct error *error)
{
    const struct heartbeat_parts heartbeat = {
        .config = runtime->config,
        .schedule = runtime->schedule,
        .queue = runtime->queue,
        .convex = runtime->convex,
        .gateway = runtime->gateway,
        .control = &runtime->control,
        .delivery = &runtime->delivery,
        .stopping = &runtime->abort_control,
        .roster = runtime->roster,
        .stats = &runtime->stats,
    };
    int result = heartbeat_create(&runtime->heartbeat, &heartbeat, error);
    if (result != 0)
        return result;
    const struct agent_sync_parts agents = {
        .config = runtime->config,
        .convex = runtime->convex,
        .gateway = runtime->gateway,
        .breaker = runtime->breaker,
        .roster = runtime->roster,
        .schedule = runtime->schedule,
        .store = runtime->store,
        .stats = &runtime->stats,
        .abort = &runtime->abort_control,
        .heartbeat = heartbeat_loop(runtime->heartbeat),
    };
    return agent_sync_create(&runtime->agents, &agents, error);
}

static int create_reporter(struct runtime *runtime, struct error *error)
{
    const struct reporter_parts parts = {
        .config = runtime->config,
        .convex = runtime->convex,
        .breaker = runtime->breaker,
        .queue = runtime->queue,
        .supervisor = runtime->supervisor,
        .version = runtime->version,
        .roster = runtime->roster,
        .store = runtime->store,
        .stats = &runtime->stats,
        .abort = &runtime->abort_control,
        .stop_fd = runtime->stop_fd,
    };
    int result = reporter_create(&runtime->reporter, &parts, error);
    if (result != 0)
        return result;
    runtime->stats.reporter = reporter_loop(runtime->reporter);
    convex_on_version(runtime->convex, reporter_loop(runtime->reporter));
    return 0;
}

/* None of the threads runs yet: they poke each other through the pointers set here. */
static int create_loops(struct runtime *runtime, struct error *error)
{
    int result = version_probe_start(&runtime->version, runtime->config->openclaw_version, error);
    if (result == 0)
        result = wake_schedule_create(&runtime->schedule, error);
    if (result == 0)
        result = create_agents(runtime, error);
    if (result == 0)
        result = create_prober(runtime, error);
    if (result == 0)
        result = create_guard(runtime, error);
    if (result == 0)
        result = create_poller(runtime, error);
    if (result == 0)
        result = create_reporter(runtime, error);
    if (result != 0)
        return result;
    runtime->watchdog = (struct watchdog){
        .loops = {gateway_prober_loop(runtime->prober), delivery_poller_loop(runtime->poller),
            heartbeat_loop(runtime->heartbeat), agent_sync_loop(runtime->agents),
            reporter_loop(runtime->reporter)},
        .count = 5,
    };
    return 0;
}

static void describe_delivery(struct runtime *runtime)
{
    runtime->delivery = (struct delivery){
        .config = runtime->config,
        .queue = runtime->queue,
        .convex = runtime->convex,
        .gateway = runtime->gateway,
        .control = &runtime->control,
        .guard = runtime->guard,
        .attention = &runtime->attention,
        .roster = runtime->roster,
        .other_runtime = runtime->other_runtime,
        .stats = &runtime->stats,
        .journal = runtime->journal,
        .menu = &runtime->menu,
        .stopping = &runtime->abort_control,
        .on_delivered = heartbeat_after_delivery,
        .delivered_context = runtime->heartbeat,
    };
}

static int create_workers(struct runtime *runtime, struct error *error)
{
    const struct worker_pool_parts parts = {
        .queue = runtime->queue,
        .run = {[ENTRY_DELIVERY] = delivery_run, [ENTRY_WAKE] = heartbeat_run_wake},
        .contexts = {[ENTRY_DELIVERY] = &runtime->delivery, [ENTRY_WAKE] = runtime->heartbeat},
        .store = runtime->store,
        .abort = &runtime->abort_workers,
    };
    int result = tool_menu_init(&runtime->menu, &tool_catalog, error);
    if (result == 0)
        result =
            worker_pool_create(&runtime->workers, &parts, runtime->config->delivery_workers, error);
    if (result == 0)
        describe_delivery(runtime);
    return result;
}

static int create_control_socket(struct runtime *runtime, struct error *error)
{
    runtime->control_parts = (struct control_parts){
        .letters = {.spool = runtime->spool,
            .queue = runtime->queue,
            .journal = &runtime->journal,
            .give_up_after_ms = runtime->config->delivery_give_up_after_ms},
        .breaker = &runtime->control,
    };
    return control_open(
        &runtime->control_socket, runtime->config->state_dir, &runtime->control_parts, error);
}

static int create_agent_api(struct runtime *runtime, struct error *error)
{
    int result = capability_create(&runtime->capability, runtime->config->state_dir, error);
    if (result != 0)
        return result;
    const struct agent_api_parts parts = {
        .config = runtime->config,
        .catalog = &tool_catalog,
        .capability = runtime->capability,
        .convex = runtime->convex,
        .schedule = runtime->schedule,
        .attention = &runtime->attention,
        .store = runtime->store,
        .stats = &runtime->stats,
        .abort = &runtime->abort_workers,
    };
    return agent_api_create(&runtime->agent_api, &parts, error);
}

static int start_routes(struct runtime *runtime, struct error *error)
{
    const struct routes_sources sources = {
        .config = runtime->config,
        .stats = &runtime->stats,
        .convex = runtime->convex,
        .version = runtime->version,
        .breaker = runtime->breaker,
        .roster = runtime->roster,
        .schedule = runtime->schedule,
        .supervisor = runtime->supervisor,
        .queue = runtime->queue,
        .other_runtime = runtime->other_runtime,
        .workers = runtime->workers,
        .watchdog = &runtime->watchdog,
        .posts = agent_api_posts(runtime->agent_api),
    };
    int result = routes_start(&runtime->routes, &sources, error);
    if (result == 0)
        result = agent_api_start(runtime->agent_api, routes_server(runtime->routes), error);
    return result;
}

/* What agents without tools are told of; the port is known only now. */
static int offer_agent_api(struct runtime *runtime, struct error *error)
{
    struct text url = {0};
    agent_api_base_url(runtime->config, http_server_port(routes_server(runtime->routes)), &url);
    runtime->agent_api_url = text_take(&url);
    if (runtime->agent_api_url == NULL)
        return error_set(error, ERROR_NO_MEMORY, "out of memory");
    runtime->delivery.capability = runtime->capability;
    runtime->delivery.agent_api_url = runtime->agent_api_url;
    return 0;
}

static int start_workers(struct runtime *runtime, struct error *error)
{
    atomic_store(&runtime->stats.gateway_running, gateway_is_enabled(runtime->gateway));
    int result = worker_pool_start(runtime->workers, error);
    if (result != 0) {
        /*
         * Workers that did start may be posting replies that an earlier run left. Those stay in
         * the spool; waiting for them would only delay the report of the failure.
         */
        atomic_store(&runtime->abort_workers, true);
        send_queue_close(runtime->queue, clock_monotonic_ms());
        worker_pool_stop(runtime->workers);
    }
    return result;
}

/* The gateway before the workers, and both before the loops that bring in work. */
static int start_threads(struct runtime *runtime, struct error *error)
{
    int result = start_routes(runtime, error);
    if (result == 0)
        result = offer_agent_api(runtime, error);
    if (result == 0 && runtime->supervisor != NULL)
        result = supervisor_start(runtime->supervisor, error);
    if (result == 0)
        result = start_workers(runtime, error);
    for (size_t i = 0; result == 0 && i < runtime->watchdog.count; i++)
        result = loop_start(runtime->watchdog.loops[i], error);
    if (result == 0 && runtime->control_socket != NULL)
        result = control_socket_start(runtime->control_socket, error);
    return result;
}

int runtime_start(struct runtime **runtime, const struct config *config, struct error *error)
{
    struct runtime *created = calloc(1, sizeof *created);
    if (created == NULL)
        return error_set(error, ERROR_NO_MEMORY, "out of memory");
    created->config = config;
    created->state_dir.lock_fd = -1;
    created->stop_fd = -1;
    stats_init(&created->stats);
    metrics_set_account(&created->stats.metrics, config->account_id);
    int result = create_foundation(created, error);
    if (result == 0)
        result = create_remotes(created, error);
    if (result == 0)
        result = other_runtime_create(&created->other_runtime, &created->stats.metrics, error);
    if (result == 0)
        result = create_queue(created, error);
    if (result == 0)
        result = create_loops(created, error);
    if (result == 0)
        result = create_workers(created, error);
    if (result == 0)
        result = create_agent_api(created, error);
    if (result == 0)
        result = create_control_socket(created, error);
    if (result == 0)
        result = start_threads(created, error);
    if (result != 0) {
        runtime_stop(created);
        return result;
    }
    created->complete = true;
    atomic_store(&created->stats.phase, PHASE_RUNNING);
    *runtime = created;
    return 0;
}

/* Takes effect in all threads at once; after that they are joined one by one. */
static void begin_stop(struct runtime *runtime)
{
    int64_t grace_ms = runtime->config->shutdown_grace_ms - ABORT_MS;
    atomic_store(&runtime->stats.phase, PHASE_STOPPING);
    runtime->deadline_ms = clock_monotonic_ms() + (grace_ms > 0 ? grace_ms : 0);
    atomic_store(&runtime->abort_control, true);
    agent_api_begin_stop(runtime->agent_api);
    if (runtime->queue != NULL)
        send_queue_close(runtime->queue, runtime->deadline_ms);
}

static void stop_loops(struct runtime *runtime)
{
    for (size_t i = 0; i < runtime->watchdog.count; i++)
        loop_request_stop(runtime->watchdog.loops[i]);
    for (size_t i = runtime->watchdog.count; i-- > 0;)
        loop_stop(runtime->watchdog.loops[i]);
}

/*
 * Sends SIGTERM to the gateway at the first moment at which no reply can be lost: when no agent run
 * is in flight, or when the remaining ones are aborted anyway. Not earlier, since not every gateway
 * finishes requests after SIGTERM; not later, so that it exits while replies are still being
 * written back and only a slow gateway exceeds the grace period.
 */
static void begin_gateway_stop(struct runtime *runtime)
{
    if (runtime->supervisor == NULL)
        return;
    send_queue_wait_for_sends(runtime->queue, runtime->deadline_ms);
    supervisor_begin_stop(runtime->supervisor);
}

static void stop_workers(struct runtime *runtime)
{
    struct send_queue_view counts;
    send_queue_snapshot(runtime->queue, &counts);
    if (counts.running > 0)
        log_info(component, "waiting up to %lld ms for %zu deliveries and wake-ups in flight",
            (long long)(runtime->deadline_ms - clock_monotonic_ms()), counts.running);
    begin_gateway_stop(runtime);
    if (!worker_pool_wait(runtime->workers, runtime->deadline_ms)) {
        send_queue_snapshot(runtime->queue, &counts);
        log_warn(
            component, "shutdown grace period expired; aborting %zu deliveries", counts.running);
        atomic_store(&runtime->abort_workers, true);
    }
    worker_pool_stop(runtime->workers);
    atomic_store(&runtime->stats.gateway_running, false);
}

/* Before the server, which sends their answers. */
static void stop_agent_api(struct runtime *runtime)
{
    if (!agent_api_wait(runtime->agent_api, runtime->deadline_ms))
        atomic_store(&runtime->abort_workers, true);
    agent_api_stop(runtime->agent_api);
}

static void stop_threads(struct runtime *runtime)
{
    control_socket_close(runtime->control_socket);
    stop_loops(runtime);
    if (runtime->workers != NULL)
        stop_workers(runtime);
    stop_agent_api(runtime);
    if (runtime->supervisor != NULL)
        supervisor_stop(runtime->supervisor);
    routes_stop(runtime->routes);
}

static void destroy_modules(struct runtime *runtime)
{
    /* The last report is made after the poller has gone. */
    if (runtime->convex != NULL)
        convex_on_recovery(runtime->convex, NULL);
    agent_api_destroy(runtime->agent_api);
    capability_destroy(runtime->capability);
    tool_menu_fini(&runtime->menu);
    free(runtime->agent_api_url);
    worker_pool_destroy(runtime->workers);
    loop_guard_destroy(runtime->guard);
    reporter_destroy(runtime->reporter);
    delivery_poller_destroy(runtime->poller);
    gateway_prober_destroy(runtime->prober);
    agent_sync_destroy(runtime->agents);
    heartbeat_destroy(runtime->heartbeat);
    wake_schedule_destroy(runtime->schedule);
    version_probe_stop(runtime->version);
    spool_close(runtime->spool);
    send_queue_destroy(runtime->queue);
    other_runtime_destroy(runtime->other_runtime);
}

static void destroy_foundation(struct runtime *runtime)
{
    supervisor_destroy(runtime->supervisor);
    gateway_roster_destroy(runtime->roster);
    breaker_destroy(runtime->breaker);
    gateway_destroy(runtime->gateway);
    /* A runtime that failed to start must not report for the one that may hold its place. */
    if (runtime->complete)
        reporter_report_offline(runtime->convex, runtime->store);
    convex_destroy(runtime->convex);
    ca_store_destroy(runtime->store);
    if (runtime->stop_fd >= 0)
        close(runtime->stop_fd);
    if (runtime->curl_started)
        http_client_library_stop();
    state_dir_close(&runtime->state_dir);
    stats_fini(&runtime->stats);
}

void runtime_stop(struct runtime *runtime)
{
    begin_stop(runtime);
    stop_threads(runtime);
    destroy_modules(runtime);
    destroy_foundation(runtime);
    free(runtime);
}

int runtime_stop_fd(const struct runtime *runtime)
{
    return runtime->stop_fd;
}

bool runtime_is_alive(const struct runtime *runtime)
{
    char name[WATCH_NAME_BYTES];
    return watchdog_find_stalled(&runtime->watchdog) == NULL && !watch_find_silent(name);
}

void runtime_log_work(struct runtime *runtime)
{
    struct send_queue_view counts;
    send_queue_snapshot(runtime->queue, &counts);
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
    breaker_control_toggle_hold(&runtime->control);
}

unsigned runtime_exchange_tokens(struct runtime *runtime, unsigned wanted, struct config *fresh)
{
    unsigned changed = 0;
    if ((wanted & TOKEN_SERVICE) != 0 &&
        convex_exchange_token(runtime->convex, &fresh->service_token))
        changed |= TOKEN_SERVICE;
    if ((wanted & TOKEN_GATEWAY) != 0 &&
        gateway_exchange_token(runtime->gateway, &fresh->gateway_token))
        changed |= TOKEN_GATEWAY;
    if ((changed & TOKEN_GATEWAY) != 0)
        breaker_control_token_changed(&runtime->control);
    return changed;
}
