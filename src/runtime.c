#include "runtime.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "config/version_probe.h"
#include "loops/roll_call.h"
#include "queue/spool.h"
#include "queue/state_folder.h"
#include "queue/worker_pool.h"
#include "remote/gateway_process.h"
#include "serve/http_server.h"
#include "serve/routes.h"
#include "work/deliver.h"
#include "work/restore.h"
#include "work/wake.h"

static const char component[] = "Runtime";

/* How long a transfer may take to notice that it is cut off. */
enum { ABORT_MS = 1000 };

/* A gateway that nobody asks anything is asked at least so often whether it is there. */
enum { LONGEST_CHECK_MS = 60 * 1000 };

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
    struct roll_call loops;
    struct routes routes;
    struct http_server *server;
    struct delivery_poller *poller;
    struct loop_guard *guard;
    struct deliver deliver;
    struct worker_pool *workers;
    struct wake_schedule *schedule;
    struct heartbeat *heartbeat;
    struct wake wake;
    struct agent_sync *agents;
    struct reporter *reporter;
    int stop_fd;               /* readable once somebody asks for the stop */
    bool complete;             /* every part has been started */
    int64_t deadline_ms;       /* of the stop, for what still runs; monotonic */
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

static int open_stop_request(struct runtime *runtime, struct error *error)
{
    runtime->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (runtime->stop_fd < 0)
        return error_set_errno(error, ERROR_SYSTEM, errno, "no descriptor for a stop request");
    return 0;
}

static void close_stop_request(struct runtime *runtime)
{
    close(runtime->stop_fd);
}

/* The argument is a struct runtime. */
static void ask_for_stop(void *runtime)
{
    eventfd_write(((struct runtime *)runtime)->stop_fd, 1);
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

static int start_nothing(struct runtime *runtime, struct error *error)
{
    (void)runtime;
    (void)error;
    return 0;
}

/* A runtime that could not start leaves the word to the one that may be in its way. */
static void say_offline(struct runtime *runtime)
{
    if (runtime->complete)
        reporter_say_offline(runtime->convex, runtime->store);
}

static int start_convex(struct runtime *runtime, struct error *error)
{
    const struct config *config = runtime->config;
    int result = convex_create(
        &runtime->convex, config->convex_url, config->account_id, config->service_token, error);
    if (result == 0)
        convex_set_metrics(runtime->convex, &runtime->stats.metrics);
    return result;
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
    const struct gate_settings settings = {
        .enabled = gateway_is_enabled(runtime->gateway),
        .url = config->gateway_url,
        .check_ms = config->health_check_interval_ms < LONGEST_CHECK_MS
                        ? config->health_check_interval_ms
                        : LONGEST_CHECK_MS,
        .backoff_base_ms = config->delivery_backoff_base_ms,
        .backoff_max_ms = config->delivery_backoff_max_ms,
    };
    return gateway_gate_create(&runtime->gate, &settings, clock_monotonic_ms(), error);
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
    runtime->spooling = (struct spooling){
        .spool = runtime->spool, .stats = &runtime->stats, .queue = runtime->queue};
    spooling_watch_dead(&runtime->spooling);
    result = restore_from_spool(
        runtime->spool, runtime->queue, config->delivery_give_up_after_ms, error);
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
    runtime->loops = (struct roll_call){
        .poller = runtime->poller,
        .prober = runtime->prober,
        .heartbeat = runtime->heartbeat,
        .agents = runtime->agents,
        .reporter = runtime->reporter,
    };
    const struct health_sources health = {
        .config = config,
        .stats = &runtime->stats,
        .version = runtime->version,
        .gate = runtime->gate,
        .roster = runtime->roster,
        .schedule = runtime->schedule,
        .process = runtime->gateway_process,
    };
    routes_init(&runtime->routes, &health, runtime->queue, roll_call_find_stuck, &runtime->loops);
    int result = http_server_create(
        &runtime->server, config->health_host, config->health_port, runtime->routes.table, error);
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
        .roster = runtime->roster,
        .store = runtime->store,
        .abort = &runtime->abort_control,
    };
    int result = gateway_prober_create(&runtime->prober, &parts, error);
    runtime->keeper = (struct gatekeeper){
        .gate = runtime->gate,
        .queue = runtime->queue,
        .stats = &runtime->stats,
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

static int create_schedule(struct runtime *runtime, struct error *error)
{
    return wake_schedule_create(&runtime->schedule, error);
}

static void destroy_schedule(struct runtime *runtime)
{
    wake_schedule_destroy(runtime->schedule);
}

static int create_heartbeat(struct runtime *runtime, struct error *error)
{
    const struct heartbeat_parts parts = {
        .schedule = runtime->schedule,
        .queue = runtime->queue,
        .gate = runtime->gate,
        .stats = &runtime->stats,
    };
    return heartbeat_create(&runtime->heartbeat, &parts, error);
}

static void destroy_heartbeat(struct runtime *runtime)
{
    heartbeat_destroy(runtime->heartbeat);
}

static int start_heartbeat(struct runtime *runtime, struct error *error)
{
    return heartbeat_start(runtime->heartbeat, error);
}

static void stop_heartbeat(struct runtime *runtime)
{
    heartbeat_stop(runtime->heartbeat);
}

static int create_agents(struct runtime *runtime, struct error *error)
{
    const struct agent_sync_parts parts = {
        .config = runtime->config,
        .convex = runtime->convex,
        .gateway = runtime->gateway,
        .roster = runtime->roster,
        .schedule = runtime->schedule,
        .store = runtime->store,
        .stats = &runtime->stats,
        .abort = &runtime->abort_control,
        .ask_for_look = heartbeat_poke,
        .look_context = runtime->heartbeat,
    };
    return agent_sync_create(&runtime->agents, &parts, error);
}

static void destroy_agents(struct runtime *runtime)
{
    agent_sync_destroy(runtime->agents);
}

static int start_agents(struct runtime *runtime, struct error *error)
{
    return agent_sync_start(runtime->agents, error);
}

static void stop_agents(struct runtime *runtime)
{
    atomic_store(&runtime->abort_control, true);
    agent_sync_stop(runtime->agents);
}

static int create_reporter(struct runtime *runtime, struct error *error)
{
    const struct reporter_parts parts = {
        .config = runtime->config,
        .convex = runtime->convex,
        .gate = runtime->gate,
        .version = runtime->version,
        .store = runtime->store,
        .stats = &runtime->stats,
        .abort = &runtime->abort_control,
        .ask_for_stop = ask_for_stop,
        .stop_context = runtime,
    };
    int result = reporter_create(&runtime->reporter, &parts, error);
    if (result == 0) {
        runtime->stats.on_change = reporter_poke;
        runtime->stats.change_context = runtime->reporter;
    }
    return result;
}

static void destroy_reporter(struct runtime *runtime)
{
    reporter_destroy(runtime->reporter);
}

static int start_reporter(struct runtime *runtime, struct error *error)
{
    return reporter_start(runtime->reporter, error);
}

static void stop_reporter(struct runtime *runtime)
{
    atomic_store(&runtime->abort_control, true);
    reporter_stop(runtime->reporter);
}

/* What is common to all that workers do: where an agent is asked, and as whom. */
static struct directory directory_of(const struct runtime *runtime)
{
    return (struct directory){
        .account_id = runtime->config->account_id,
        .fallback_agent = runtime->config->fallback_agent,
        .roster = runtime->roster,
    };
}

static void describe_wake(struct runtime *runtime)
{
    runtime->wake = (struct wake){
        .config = runtime->config,
        .queue = runtime->queue,
        .convex = runtime->convex,
        .gateway = runtime->gateway,
        .keeper = &runtime->keeper,
        .directory = directory_of(runtime),
        .schedule = runtime->schedule,
        .stats = &runtime->stats,
        .ask_for_look = heartbeat_poke,
        .look_context = runtime->heartbeat,
    };
}

/* A worker_run: what is taken from the queue goes to those who know about it. */
static void run_entry(void *context, struct http_client *client, struct entry *entry)
{
    struct runtime *runtime = context;
    if (entry->kind == ENTRY_WAKE)
        wake_run(&runtime->wake, client, entry);
    else
        deliver_run(&runtime->deliver, client, entry);
}

static int start_workers(struct runtime *runtime, struct error *error)
{
    describe_wake(runtime);
    runtime->deliver = (struct deliver){
        .config = runtime->config,
        .queue = runtime->queue,
        .convex = runtime->convex,
        .gateway = runtime->gateway,
        .keeper = &runtime->keeper,
        .guard = runtime->guard,
        .directory = directory_of(runtime),
        .wake = &runtime->wake,
        .stats = &runtime->stats,
        .spooling = runtime->spooling,
        .ask_for_poll = delivery_poller_poke,
        .poll_context = runtime->poller,
    };
    atomic_store(&runtime->stats.gateway_running, gateway_is_enabled(runtime->gateway));
    return worker_pool_start(&runtime->workers, runtime->config->delivery_workers, runtime->queue,
        run_entry, runtime, runtime->store, &runtime->abort_workers, error);
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
    struct send_queue_counts counts;
    send_queue_close(runtime->queue, runtime->deadline_ms);
    send_queue_counts(runtime->queue, &counts);
    if (counts.running > 0)
        log_info(component,
            "Waiting up to %lld ms for %zu deliveries and wake-ups that are under way",
            (long long)(runtime->deadline_ms - clock_monotonic_ms()), counts.running);
    begin_stop_of_gateway(runtime, runtime->deadline_ms);
    if (!worker_pool_wait(runtime->workers, runtime->deadline_ms)) {
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
    {open_stop_request, close_stop_request},
    {start_store, stop_store},
    {start_convex, stop_convex},
    {start_nothing, say_offline},
    {start_gateway, stop_gateway},
    {start_gate, stop_gate},
    {start_roster, stop_roster},
    {start_queue, stop_queue},
    {start_spool, stop_spool},
    {start_version, stop_version},
    {create_schedule, destroy_schedule},
    {create_gateway_process, destroy_gateway_process},
    {create_poller, destroy_poller},
    {create_prober, destroy_prober},
    {create_heartbeat, destroy_heartbeat},
    {create_agents, destroy_agents},
    {create_reporter, destroy_reporter},
    {start_server, stop_server}, /* asks all those above whether they live */
    {start_gateway_process, stop_gateway_process},
    {start_guard, stop_guard},
    {start_workers, stop_workers},
    {start_prober, stop_prober},
    {start_poller, stop_poller},
    {start_heartbeat, stop_heartbeat},
    {start_agents, stop_agents},
    {start_reporter, stop_reporter},
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

struct runtime_tokens runtime_exchange_tokens(struct runtime *runtime, struct config *fresh)
{
    return (struct runtime_tokens){
        .service = convex_exchange_token(runtime->convex, &fresh->service_token),
        .gateway = gateway_exchange_token(runtime->gateway, &fresh->gateway_token),
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
        parts[runtime->started].stop(runtime);
    }
    free(runtime);
}
