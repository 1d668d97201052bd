#include "parts/parts.h"

#include "base/clock.h"

/* A gateway that nobody asks anything is asked at least so often whether it is there. */
enum { LONGEST_CHECK_MS = 60 * 1000 };

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

const struct part part_farewell = {start_nothing, say_offline};

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

const struct part part_convex = {start_convex, stop_convex};

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

const struct part part_gateway = {start_gateway, stop_gateway};

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

const struct part part_gate = {start_gate, stop_gate};

static int start_roster(struct runtime *runtime, struct error *error)
{
    return gateway_roster_create(&runtime->roster, error);
}

static void stop_roster(struct runtime *runtime)
{
    gateway_roster_destroy(runtime->roster);
}

const struct part part_roster = {start_roster, stop_roster};

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

const struct part part_gateway_process = {create_gateway_process, destroy_gateway_process};

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

const struct part part_gateway_child = {start_gateway_process, stop_gateway_process};

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

const struct part part_prober = {create_prober, destroy_prober};

static int start_prober(struct runtime *runtime, struct error *error)
{
    return gateway_prober_start(runtime->prober, error);
}

static void stop_prober(struct runtime *runtime)
{
    atomic_store(&runtime->abort_control, true);
    gateway_prober_stop(runtime->prober);
}

const struct part part_prober_thread = {start_prober, stop_prober};
