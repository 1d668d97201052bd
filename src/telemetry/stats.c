#include "telemetry/stats.h"

#include <stdlib.h>
#include <string.h>

#include "base/sync.h"
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

/* The place that has these words already, else that of the words that were said the longest ago. */
static struct stats_recent *find_place_locked(
    struct stats *stats, const char *part, const char *text)
{
    mutex_assert_held(&stats->lock);
    struct stats_recent *oldest = &stats->recent[0];
    for (size_t i = 0; i < STATS_RECENT; i++) {
        struct stats_recent *place = &stats->recent[i];
        if (place->at_ms != 0 && strcmp(place->part, part) == 0 && strcmp(place->text, text) == 0)
            return place;
        if (place->at_ms < oldest->at_ms)
            oldest = place;
    }
    *oldest = (struct stats_recent){.part = part};
    text_copy(oldest->text, sizeof oldest->text, text);
    return oldest;
}

static void list(struct stats *stats, const char *part, const char *text)
{
    char cut[STATS_TEXT_BYTES];
    int64_t now_ms = clock_wall_ms();
    text_copy(cut, sizeof cut, text);
    mutex_lock(&stats->lock);
    struct stats_recent *place = find_place_locked(stats, part, cut);
    place->at_ms = now_ms;
    place->count++;
    mutex_unlock(&stats->lock);
}

void stats_delivery_failed(struct stats *stats, const char *text)
{
    note(stats, &stats->delivery_error, text);
    list(stats, "delivery", text);
}

void stats_wake_failed(struct stats *stats, const char *text)
{
    list(stats, "wake-up", text);
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
        list(stats, "agents", text);
        return;
    }
    atomic_store(&stats->last_sync_ms, clock_wall_ms());
    mutex_lock(&stats->lock);
    stats->sync_error = (struct stats_error){0};
    mutex_unlock(&stats->lock);
}

void stats_changed(struct stats *stats)
{
    if (stats->reporter != NULL)
        loop_poke(stats->reporter);
}

void stats_errors(struct stats *stats, struct stats_errors *errors)
{
    mutex_lock(&stats->lock);
    errors->delivery = stats->delivery_error;
    errors->send = stats->send_error;
    errors->sync = stats->sync_error;
    mutex_unlock(&stats->lock);
}

static int newest_first(const void *left, const void *right)
{
    int64_t left_ms = ((const struct stats_recent *)left)->at_ms;
    int64_t right_ms = ((const struct stats_recent *)right)->at_ms;
    return (left_ms < right_ms) - (left_ms > right_ms);
}

size_t stats_recent(struct stats *stats, struct stats_recent *list)
{
    size_t count = 0;
    mutex_lock(&stats->lock);
    memcpy(list, stats->recent, sizeof stats->recent);
    mutex_unlock(&stats->lock);
    qsort(list, STATS_RECENT, sizeof list[0], newest_first);
    while (count < STATS_RECENT && list[count].at_ms != 0)
        count++;
    return count;
}
