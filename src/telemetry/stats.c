/*
 * State that several threads record and the HTTP server reports: plain atomics for single values,
 * and a lock for the texts of errors. Recording never waits for a reader beyond copying a text.
 *
 * Errors are kept twice. One slot for each source holds the last error, which /health shows and,
 * for sends and syncs, the next success clears. The list of recent errors is for people: it holds
 * the last STATS_RECENT distinct ones, an error that recurs moves to the front with its count, and
 * nothing clears it.
 *
 * Of attempts to deliver it keeps the count since the last success, and how the last attempt of
 * each of the last STATS_AGENTS agents ended. From these follows whether deliveries succeed at all.
 */
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

static void stats_record_last(
    struct stats *stats, struct stats_error *slot, const char *part, const char *text)
{
    struct stats_error recorded = {.at_ms = clock_wall_ms(), .count = 1, .part = part};
    text_copy(recorded.text, sizeof recorded.text, text);
    mutex_lock(&stats->lock);
    *slot = recorded;
    mutex_unlock(&stats->lock);
}

static void stats_clear_last(struct stats *stats, struct stats_error *slot)
{
    mutex_lock(&stats->lock);
    *slot = (struct stats_error){0};
    mutex_unlock(&stats->lock);
}

/* The place that already has this error; otherwise the least recently used one, overwritten. */
static struct stats_error *stats_recent_place_locked(
    struct stats *stats, const char *part, const char *text)
{
    mutex_assert_held(&stats->lock);
    struct stats_error *oldest = &stats->recent[0];
    for (size_t i = 0; i < STATS_RECENT; i++) {
        struct stats_error *place = &stats->recent[i];
        if (place->at_ms != 0 && strcmp(place->part, part) == 0 && strcmp(place->text, text) == 0)
            return place;
        if (place->at_ms < oldest->at_ms)
            oldest = place;
    }
    *oldest = (struct stats_error){.part = part};
    text_copy(oldest->text, sizeof oldest->text, text);
    return oldest;
}

static void stats_record_recent(struct stats *stats, const char *part, const char *text)
{
    /* Truncated first, as it is compared with texts that were. */
    char cut[STATS_TEXT_BYTES];
    int64_t now_ms = clock_wall_ms();
    text_copy(cut, sizeof cut, text);
    mutex_lock(&stats->lock);
    struct stats_error *place = stats_recent_place_locked(stats, part, cut);
    place->at_ms = now_ms;
    place->count++;
    mutex_unlock(&stats->lock);
}

void stats_delivery_failed(struct stats *stats, const char *text)
{
    stats_record_last(stats, &stats->errors[STATS_DELIVERY], "delivery", text);
    stats_record_recent(stats, "delivery", text);
}

void stats_wake_failed(struct stats *stats, const char *text)
{
    stats_record_recent(stats, "wake-up", text);
}

void stats_send_ended(struct stats *stats, const char *text)
{
    if (text != NULL) {
        stats_record_last(stats, &stats->errors[STATS_SEND], "send", text);
        return;
    }
    atomic_store(&stats->last_send_ms, clock_wall_ms());
    stats_clear_last(stats, &stats->errors[STATS_SEND]);
}

void stats_sync_ended(struct stats *stats, const char *text)
{
    if (text != NULL) {
        stats_record_last(stats, &stats->errors[STATS_SYNC], "agents", text);
        stats_record_recent(stats, "agents", text);
        return;
    }
    atomic_store(&stats->last_sync_ms, clock_wall_ms());
    stats_clear_last(stats, &stats->errors[STATS_SYNC]);
}

void stats_profiles_ended(struct stats *stats, const char *text)
{
    bool was_broken = atomic_exchange(&stats->profiles_broken, text != NULL);
    if (text != NULL) {
        stats_record_last(stats, &stats->errors[STATS_PROFILES], "profiles", text);
        stats_record_recent(stats, "profiles", text);
    } else {
        stats_clear_last(stats, &stats->errors[STATS_PROFILES]);
    }
    if (was_broken != (text != NULL))
        stats_changed(stats);
}

/* Attempts to deliver. */

enum { MIN_ATTEMPTS = 5, WORKING_FOR_MS = 5 * 60 * 1000, FAILING_FOR_MS = 15 * 60 * 1000 };

/* The index of the agent's place; otherwise of the one with the oldest attempt. */
static size_t find_agent_place_locked(const struct stats *stats, const char *agent_id)
{
    mutex_assert_held(&stats->lock);
    size_t oldest = 0;
    for (size_t i = 0; i < STATS_AGENTS; i++) {
        if (stats->agents[i].at_ms != 0 && strcmp(stats->agents[i].id, agent_id) == 0)
            return i;
        if (stats->agents[i].at_ms < stats->agents[oldest].at_ms)
            oldest = i;
    }
    return oldest;
}

static void record_attempt_locked(
    struct stats *stats, const char *agent_id, bool failed, int64_t now_ms)
{
    mutex_assert_held(&stats->lock);
    size_t place = find_agent_place_locked(stats, agent_id);
    text_copy(stats->agents[place].id, sizeof stats->agents[place].id, agent_id);
    stats->agents[place].at_ms = now_ms;
    stats->agents[place].failed = failed;
}

void stats_attempt_failed(struct stats *stats, const char *agent_id, int64_t now_ms)
{
    mutex_lock(&stats->lock);
    record_attempt_locked(stats, agent_id, true, now_ms);
    stats->attempts.failed++;
    stats->attempts.last_failed_ms = now_ms;
    mutex_unlock(&stats->lock);
}

void stats_attempt_succeeded(struct stats *stats, const char *agent_id, int64_t now_ms)
{
    mutex_lock(&stats->lock);
    record_attempt_locked(stats, agent_id, false, now_ms);
    stats->attempts = (struct stats_attempts_view){.since_ms = now_ms};
    mutex_unlock(&stats->lock);
}

bool stats_none_succeeds(
    const struct stats_attempts_view *counts, size_t agents_with_work, int64_t now_ms)
{
    size_t needed = agents_with_work < MIN_ATTEMPTS ? agents_with_work : MIN_ATTEMPTS;
    bool stale = agents_with_work == 0 && now_ms - counts->last_failed_ms >= FAILING_FOR_MS;
    if (counts->failed < MIN_ATTEMPTS || stale)
        return false;
    return counts->none_succeeds ||
           (counts->failing_agents >= needed && counts->failing_agents > counts->working_agents);
}

void stats_attempts_judge(
    struct stats *stats, size_t agents_with_work, int64_t now_ms, struct stats_attempts_view *view)
{
    mutex_lock(&stats->lock);
    struct stats_attempts_view *counts = &stats->attempts;
    counts->failing_agents = 0;
    counts->working_agents = 0;
    for (size_t i = 0; i < STATS_AGENTS; i++) {
        bool failed = stats->agents[i].failed;
        int64_t at_ms = stats->agents[i].at_ms;
        if (at_ms == 0)
            continue;
        counts->failing_agents += failed && at_ms >= counts->since_ms;
        counts->working_agents += !failed && now_ms - at_ms < WORKING_FOR_MS;
    }
    counts->none_succeeds = stats_none_succeeds(counts, agents_with_work, now_ms);
    *view = *counts;
    mutex_unlock(&stats->lock);
}

void stats_changed(struct stats *stats)
{
    if (stats->reporter != NULL)
        loop_poke(stats->reporter);
}

void stats_set_upgrade(struct stats *stats, const struct stats_upgrade *upgrade)
{
    mutex_lock(&stats->lock);
    stats->upgrade = *upgrade;
    mutex_unlock(&stats->lock);
}

void stats_upgrade(struct stats *stats, struct stats_upgrade *upgrade)
{
    mutex_lock(&stats->lock);
    *upgrade = stats->upgrade;
    mutex_unlock(&stats->lock);
}

void stats_errors(struct stats *stats, struct stats_error errors[static STATS_SOURCES])
{
    mutex_lock(&stats->lock);
    memcpy(errors, stats->errors, sizeof stats->errors);
    mutex_unlock(&stats->lock);
}

static int compare_newest_first(const void *left, const void *right)
{
    int64_t left_ms = ((const struct stats_error *)left)->at_ms;
    int64_t right_ms = ((const struct stats_error *)right)->at_ms;
    return (left_ms < right_ms) - (left_ms > right_ms);
}

size_t stats_recent(struct stats *stats, struct stats_error *list)
{
    size_t count = 0;
    mutex_lock(&stats->lock);
    memcpy(list, stats->recent, sizeof stats->recent);
    mutex_unlock(&stats->lock);
    qsort(list, STATS_RECENT, sizeof list[0], compare_newest_first);
    while (count < STATS_RECENT && list[count].at_ms != 0)
        count++;
    return count;
}
