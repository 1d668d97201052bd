#include "parts/parts.h"

#include "base/clock.h"
#include "base/log.h"

static const char component[] = "Runtime";

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

const struct part part_guard = {start_guard, stop_guard};

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

static int create_workers(struct runtime *runtime, struct error *error)
{
    const struct worker_pool_parts parts = {
        .queue = runtime->queue,
        .run = run_entry,
        .context = runtime,
        .store = runtime->store,
        .abort = &runtime->abort_workers,
    };
    return worker_pool_create(&runtime->workers, &parts, runtime->config->delivery_workers, error);
}

static void destroy_workers(struct runtime *runtime)
{
    worker_pool_destroy(runtime->workers);
}

const struct part part_workers = {create_workers, destroy_workers};

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
        .stopping = &runtime->abort_control,
    };
    send_queue_on_poll(runtime->queue, delivery_poller_poke, runtime->poller);
    atomic_store(&runtime->stats.gateway_running, gateway_is_enabled(runtime->gateway));
    int result = worker_pool_start(runtime->workers, error);
    if (result != 0) {
        /* Those that run already may be writing replies back. */
        atomic_store(&runtime->abort_workers, true);
        send_queue_close(runtime->queue, clock_monotonic_ms());
        worker_pool_stop(runtime->workers);
    }
    return result;
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

const struct part part_worker_threads = {start_workers, stop_workers};
