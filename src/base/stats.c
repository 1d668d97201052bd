#include "base/stats.h"

#include <string.h>

#include "base/clock.h"
#include "base/text.h"

void stats_init(struct stats *stats)
{
    memset(stats, 0, sizeof *stats);
    stats->started_monotonic_ms = clock_monotonic_ms();
    metrics_init(&stats->metrics);
    mutex_init(&stats->lock);
}

void stats_fini(struct stats *stats)
{
    mutex_fini(&stats->lock);
    metrics_fini(&stats->metrics);
}

static void note(struct stats *stats, struct stats_error *slot, const char *text)
{
    struct stats_error noted = {.at_ms = clock_wall_ms()};
    text_copy(noted.text, sizeof noted.text, text);
    mutex_lock(&stats->lock);
    *slot = noted;
    mutex_unlock(&stats->lock);
}

void stats_delivery_failed(struct stats *stats, const char *text)
{
    note(stats, &stats->delivery_error, text);
}

void stats_send_ended(struct stats *stats, const char *text)
{
    if (text != NULL) {
        note(stats, &stats->send_error, text);
        return;
    }
    atomic_store(&stats->last_send_ms, clock_wall_ms());
    mutex_lock(&stats->lock);
    stats->send_error = (struct stats_error){0};
    mutex_unlock(&stats->lock);
}

void stats_sync_ended(struct stats *stats, const char *text)
{
    if (text != NULL) {
        note(stats, &stats->sync_error, text);
        return;
    }
    atomic_store(&stats->last_sync_ms, clock_wall_ms());
    mutex_lock(&stats->lock);
    stats->sync_error = (struct stats_error){0};
    mutex_unlock(&stats->lock);
}

void stats_changed(struct stats *stats)
{
    if (stats->on_change != NULL)
        stats->on_change(stats->change_context);
}

void stats_errors(struct stats *stats, struct stats_errors *errors)
{
    mutex_lock(&stats->lock);
    errors->delivery = stats->delivery_error;
    errors->send = stats->send_error;
    errors->sync = stats->sync_error;
    mutex_unlock(&stats->lock);
}
