#include "parts/parts.h"

#include <sys/eventfd.h>

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

const struct part part_poller = {create_poller, destroy_poller};

static int start_poller(struct runtime *runtime, struct error *error)
{
    return delivery_poller_start(runtime->poller, error);
}

static void stop_poller(struct runtime *runtime)
{
    atomic_store(&runtime->abort_control, true);
    delivery_poller_stop(runtime->poller);
}

const struct part part_poller_thread = {start_poller, stop_poller};

static int create_schedule(struct runtime *runtime, struct error *error)
{
    return wake_schedule_create(&runtime->schedule, error);
}

static void destroy_schedule(struct runtime *runtime)
{
    wake_schedule_destroy(runtime->schedule);
}

const struct part part_schedule = {create_schedule, destroy_schedule};

static int create_heartbeat(struct runtime *runtime, struct error *error)
{
    const struct heartbeat_parts parts = {
        .schedule = runtime->schedule,
        .queue = runtime->queue,
        .gate = runtime->gate,
        .stats = &runtime->stats,
    };
    int result = heartbeat_create(&runtime->heartbeat, &parts, error);
    if (result == 0) {
        runtime->keeper.on_shut = heartbeat_poke;
        runtime->keeper.shut_context = runtime->heartbeat;
    }
    return result;
}

static void destroy_heartbeat(struct runtime *runtime)
{
    heartbeat_destroy(runtime->heartbeat);
}

const struct part part_heartbeat = {create_heartbeat, destroy_heartbeat};

static int start_heartbeat(struct runtime *runtime, struct error *error)
{
    return heartbeat_start(runtime->heartbeat, error);
}

static void stop_heartbeat(struct runtime *runtime)
{
    heartbeat_stop(runtime->heartbeat);
}

const struct part part_heartbeat_thread = {start_heartbeat, stop_heartbeat};

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

const struct part part_agents = {create_agents, destroy_agents};

static int start_agents(struct runtime *runtime, struct error *error)
{
    return agent_sync_start(runtime->agents, error);
}

static void stop_agents(struct runtime *runtime)
{
    atomic_store(&runtime->abort_control, true);
    agent_sync_stop(runtime->agents);
}

const struct part part_agents_thread = {start_agents, stop_agents};

/* The argument is a struct runtime. */
static void ask_for_stop(void *runtime)
{
    eventfd_write(((struct runtime *)runtime)->stop_fd, 1);
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

const struct part part_reporter = {create_reporter, destroy_reporter};

static int start_reporter(struct runtime *runtime, struct error *error)
{
    return reporter_start(runtime->reporter, error);
}

static void stop_reporter(struct runtime *runtime)
{
    atomic_store(&runtime->abort_control, true);
    reporter_stop(runtime->reporter);
}

const struct part part_reporter_thread = {start_reporter, stop_reporter};
