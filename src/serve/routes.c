#include "serve/routes.h"

#include <string.h>

#include "base/clock.h"
#include "serve/page.h"

static void take_sample(void *trend)
{
    trend_take(trend, clock_monotonic_ms());
}

void routes_init(struct routes *routes, const struct health_sources *health,
    struct send_queue *queue, struct worker_pool *workers,
    const char *(*find_stuck)(void *stuck_context), void *stuck_context)
{
    routes->health = *health;
    routes->metrics = (struct metrics_sources){
        .config = health->config,
        .stats = health->stats,
        .queue = queue,
        .gate = health->gate,
        .health = &routes->health,
    };
    routes->probes = (struct probe_sources){
        .stats = health->stats,
        .gate = health->gate,
        .find_stuck = find_stuck,
        .stuck_context = stuck_context,
    };
    routes->status = (struct status_sources){
        .health = &routes->health,
        .queue = queue,
        .workers = workers,
        .trend = &routes->trend,
    };
    trend_init(&routes->trend, &health->stats->metrics, queue, clock_monotonic_ms());
    routes->ticker = (struct http_server_ticker){
        .interval_ms = TREND_INTERVAL_MS,
        .tick = take_sample,
        .tick_context = &routes->trend,
    };
    const struct http_server_route table[ROUTES + 1] = {
        {"/health", metrics_page_handle_health, &routes->metrics},
        {"/metrics", metrics_page_handle, &routes->metrics},
        {"/livez", probes_handle_alive, &routes->probes},
        {"/readyz", probes_handle_ready, &routes->probes},
        {"/version", health_handle_version, &routes->health},
        {"/status", status_handle, &routes->status},
        {"/", page_handle, (void *)&page_html},
        {"/page.js", page_handle, (void *)&page_script},
        {"/page.css", page_handle, (void *)&page_style},
        {"/icon.svg", page_handle, (void *)&page_icon},
        {NULL, NULL, NULL},
    };
    memcpy(routes->table, table, sizeof table);
}
