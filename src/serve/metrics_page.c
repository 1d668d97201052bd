#include "serve/metrics_page.h"

#include "base/clock.h"
#include "serve/accept.h"
#include "serve/exposition.h"
#include "serve/process_metrics.h"

static void set(struct metrics *metrics, enum metric metric, int64_t number)
{
    metrics_set(metrics, metric, NULL, number);
}

/* What is kept in milliseconds. */
static void set_ms(struct metrics *metrics, enum metric metric, int64_t time_ms)
{
    metrics_set(metrics, metric, NULL, time_ms * 1000);
}

/* 0 when there is nothing, or when it is from a clock that is ahead of ours. */
static void set_age(struct metrics *metrics, enum metric metric, int64_t since_ms)
{
    int64_t now_ms = clock_wall_ms();
    set_ms(metrics, metric, since_ms != 0 && since_ms < now_ms ? now_ms - since_ms : 0);
}

static void update_queue(struct metrics *metrics, const struct metrics_sources *sources)
{
    struct send_queue_view view;
    send_queue_look(sources->queue, &view);
    set(metrics, METRIC_QUEUE_DEPTH, (int64_t)view.ready);
    set(metrics, METRIC_QUEUE_CAPACITY, sources->config->delivery_queue_capacity);
    set(metrics, METRIC_QUEUE_WAITING, (int64_t)view.waiting);
    set(metrics, METRIC_LANES, (int64_t)view.lanes);
    set(metrics, METRIC_WORKERS, sources->config->delivery_workers);
    set(metrics, METRIC_WORKERS_BUSY, (int64_t)view.running);
    set(metrics, METRIC_NOTIFICATIONS_UNDELIVERED, (int64_t)view.undelivered);
    set_age(metrics, METRIC_OLDEST_UNDELIVERED_AGE, view.oldest_undelivered_ms);
    set(metrics, METRIC_SPOOL_ENTRIES, (int64_t)view.recorded);
    set_age(metrics, METRIC_SPOOL_OLDEST_AGE, view.oldest_recorded_ms);
}

static void update_gateway(struct metrics *metrics, const struct gateway_gate *gate)
{
    const struct metric_label *label = &metric_families[METRIC_GATEWAY_STATE].labels[0];
    const char *now = gateway_gate_word(gate);
    for (size_t i = 0; i < label->count; i++)
        metrics_set(metrics, METRIC_GATEWAY_STATE, label->values[i],
            strcmp(label->values[i], now) == 0 ? 1 : 0);
}

static void update_stats(struct stats *stats)
{
    struct metrics *metrics = &stats->metrics;
    set(metrics, METRIC_NOTIFICATIONS_REFUSED, atomic_load(&stats->refused_ids));
    set(metrics, METRIC_SPOOL_BROKEN, atomic_load(&stats->spool_broken) ? 1 : 0);
    set(metrics, METRIC_DEAD_LETTERS, atomic_load(&stats->dead_files));
    set(metrics, METRIC_DEAD_LETTER_BYTES, atomic_load(&stats->dead_bytes));
    set(metrics, METRIC_POLL_FAILURES, atomic_load(&stats->consecutive_poll_failures));
    set_ms(metrics, METRIC_LAST_POLL, atomic_load(&stats->last_poll_ms));
    set_ms(metrics, METRIC_LAST_SYNC, atomic_load(&stats->last_sync_ms));
    set_ms(metrics, METRIC_LAST_REPORT, atomic_load(&stats->last_report_ms));
}

void metrics_page_append(struct text *body, const struct metrics_sources *sources)
{
    struct metrics *metrics = &sources->stats->metrics;
    update_queue(metrics, sources);
    update_gateway(metrics, sources->gate);
    update_stats(sources->stats);
    process_metrics_update(metrics);
    exposition_append(body, metrics);
}

void metrics_page_handle(
    void *context, const struct http_server_request *request, struct http_server_reply *reply)
{
    (void)request;
    reply->content_type = "text/plain; version=0.0.4; charset=utf-8";
    metrics_page_append(&reply->body, context);
}

void metrics_page_handle_health(
    void *context, const struct http_server_request *request, struct http_server_reply *reply)
{
    struct metrics_sources *sources = context;
    if (accept_prefers_metrics(request->accept))
        metrics_page_handle(sources, request, reply);
    else
        health_handle(sources->health, request, reply);
}
