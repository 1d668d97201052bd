#include "serve/trend.h"

#include <assert.h>
#include <string.h>

#include "base/quantile.h"

static void set_mark(struct trend_mark *mark, const struct metrics *metrics, int64_t now_ms)
{
    mark->at_ms = now_ms;
    mark->delivered = metrics_total(metrics, METRIC_NOTIFICATIONS_DELIVERED);
    mark->failed = metrics_total(metrics, METRIC_NOTIFICATIONS_FAILED);
    for (size_t i = 0; i < TREND_BUCKETS; i++)
        mark->buckets[i] = metrics_cell(metrics, METRIC_DELIVERY, 0, i);
}

void trend_init(struct trend *trend, const struct metrics *metrics, const struct send_queue *queue,
    int64_t now_ms)
{
    assert(metric_families[METRIC_DELIVERY].bound_count + 1 == TREND_BUCKETS);
    memset(trend, 0, sizeof *trend);
    trend->metrics = metrics;
    trend->queue = queue;
    set_mark(&trend->mark, metrics, now_ms);
}

static int32_t bounded(int64_t number)
{
    return number < INT32_MAX ? (int32_t)number : INT32_MAX;
}

int32_t trend_longest_ms(void)
{
    const struct metric_family *family = &metric_families[METRIC_DELIVERY];
    return bounded(family->bounds_us[family->bound_count - 1] / 1000);
}

static int32_t quantile_ms(const int64_t *counts, double share)
{
    const struct metric_family *family = &metric_families[METRIC_DELIVERY];
    int64_t found_us = quantile_us(family->bounds_us, family->bound_count, counts, share);
    return found_us < 0 ? -1 : bounded(found_us / 1000);
}

static void fill(struct trend_sample *sample, const struct trend *trend,
    const struct trend_mark *begin, const struct trend_mark *end)
{
    struct send_queue_view view;
    int64_t counts[TREND_BUCKETS];
    send_queue_look(trend->queue, &view);
    for (size_t i = 0; i < TREND_BUCKETS; i++)
        counts[i] = end->buckets[i] - begin->buckets[i];
    *sample = (struct trend_sample){
        .lasted_ms = bounded(end->at_ms - begin->at_ms),
        .delivered = bounded(end->delivered - begin->delivered),
        .failed = bounded(end->failed - begin->failed),
        .p50_ms = quantile_ms(counts, 0.5),
        .p95_ms = quantile_ms(counts, 0.95),
        .ready = bounded((int64_t)view.ready),
        .waiting = bounded((int64_t)view.waiting),
        .busy = bounded((int64_t)view.running),
    };
}

void trend_peek(const struct trend *trend, int64_t now_ms, struct trend_sample *sample)
{
    struct trend_mark now;
    set_mark(&now, trend->metrics, now_ms);
    fill(sample, trend, &trend->mark, &now);
}

void trend_take(struct trend *trend, int64_t now_ms)
{
    struct trend_mark now;
    set_mark(&now, trend->metrics, now_ms);
    fill(&trend->samples[trend->next], trend, &trend->mark, &now);
    trend->mark = now;
    trend->next = (trend->next + 1) % TREND_SAMPLES;
    if (trend->count < TREND_SAMPLES)
        trend->count++;
}

const struct trend_sample *trend_at(const struct trend *trend, size_t number)
{
    assert(number < trend->count);
    size_t oldest = trend->next + TREND_SAMPLES - trend->count;
    return &trend->samples[(oldest + number) % TREND_SAMPLES];
}
