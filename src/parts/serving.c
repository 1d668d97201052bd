#include "parts/parts.h"

#include "base/log.h"

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

const struct part part_server = {start_server, stop_server};
