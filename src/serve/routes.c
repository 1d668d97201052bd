#include "serve/routes.h"

#include <string.h>

void routes_init(struct routes *routes, const struct route_parts *parts)
{
    const struct health_sources *health = &parts->health;
    routes->health = *health;
    routes->metrics = (struct metrics_sources){
        .config = health->config,
        .stats = health->stats,
        .queue = parts->queue,
        .gate = health->gate,
        .health = &routes->health,
    };
    routes->probes = (struct probe_sources){
        .stats = health->stats,
        .gate = health->gate,
        .find_stuck = parts->find_stuck,
        .stuck_context = parts->stuck_context,
    };
    const struct http_server_route table[ROUTES + 1] = {
        {"/health", metrics_page_handle_health, &routes->metrics},
        {"/metrics", metrics_page_handle, &routes->metrics},
        {"/livez", probes_handle_alive, &routes->probes},
        {"/readyz", probes_handle_ready, &routes->probes},
        {"/version", health_handle_version, &routes->health},
        {NULL, NULL, NULL},
    };
    memcpy(routes->table, table, sizeof table);
}
