/*
 * The metrics page, and the decision which clients get it. Most metrics are counted where things
 * happen, in struct metrics. The rest are gauges whose value another module keeps anyway, such as
 * the depth of the queue: these are copied into struct metrics just before each page is written.
 *
 * /health serves metrics as well to a client that prefers them. Prometheus sends a long Accept
 * header with several formats and weights, and ends it with a wildcard, so a wildcard must not
 * count as a wish for metrics but does count for JSON (RFC 9110, 12.5.1).
 */
#include "serve/serve.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/log_output.h"
#include "base/sync.h"
#include "telemetry/exposition.h"

enum { RANGE_BYTES = 256 };

/* How specifically a range names JSON; the most specific one gives the weight. */
enum { NOT_NAMED, ANYTHING, ANY_APPLICATION, BY_NAME };

/* Splits the next piece off *rest and trims it; NULL at the end. */
static char *next_accept_piece(char **rest, const char *separator)
{
    char *piece = strsep(rest, separator);
    if (piece == NULL)
        return NULL;
    piece += strspn(piece, " \t");
    size_t length = strlen(piece);
    while (length > 0 && strchr(" \t", piece[length - 1]) != NULL)
        length--;
    piece[length] = '\0';
    return piece;
}

/* 0 for anything but a number from 0 to 1. */
static double read_accept_weight(const char *text)
{
    char *end;
    double weight = strtod(text, &end);
    bool fits = end != text && *end == '\0' && weight >= 0 && weight <= 1;
    return fits ? weight : 0;
}

static int json_specificity_of(const char *type)
{
    if (strcasecmp(type, "application/json") == 0)
        return BY_NAME;
    if (strcasecmp(type, "application/*") == 0)
        return ANY_APPLICATION;
    return strcmp(type, "*/*") == 0 ? ANYTHING : NOT_NAMED;
}

/* Raises the weights, which are from 0 to 1 (0: not acceptable), to those of one range. */
static void read_accept_range(
    char *range, double *metrics_weight, double *json_weight, int *json_specificity)
{
    const char *type = next_accept_piece(&range, ";");
    double weight = 1;
    bool our_version = false;
    for (char *parameter; (parameter = next_accept_piece(&range, ";")) != NULL;) {
        if (strncasecmp(parameter, "q=", 2) == 0)
            weight = read_accept_weight(parameter + 2);
        else if (strcasecmp(parameter, "version=0.0.4") == 0)
            our_version = true;
    }
    bool metrics = strcasecmp(type, "application/openmetrics-text") == 0 ||
                   (our_version && strcasecmp(type, "text/plain") == 0);
    if (metrics && weight > *metrics_weight)
        *metrics_weight = weight;
    int specificity = json_specificity_of(type);
    if (specificity > *json_specificity) {
        *json_specificity = specificity;
        *json_weight = weight;
    }
}

bool accept_prefers_metrics(const char *accept)
{
    double metrics = 0;
    double json = 0;
    int json_specificity = NOT_NAMED;
    while (*accept != '\0') {
        char range[RANGE_BYTES];
        size_t length = strcspn(accept, ",");
        if (length < sizeof range) {
            memcpy(range, accept, length);
            range[length] = '\0';
            read_accept_range(range, &metrics, &json, &json_specificity);
        }
        accept += length + (accept[length] == ',');
    }
    return metrics > json;
}

static void set_gauge(struct metrics *metrics, enum metric metric, int64_t number)
{
    metrics_set(metrics, metric, NULL, number);
}

/* Families of time have microseconds. */
static void set_gauge_ms(struct metrics *metrics, enum metric metric, int64_t time_ms)
{
    metrics_set(metrics, metric, NULL, time_ms * 1000);
}

/* 0 if there is nothing, or if the time lies in the future because a clock was set back. */
static void set_gauge_age(struct metrics *metrics, enum metric metric, int64_t since_ms)
{
    int64_t now_ms = clock_wall_ms();
    set_gauge_ms(metrics, metric, since_ms != 0 && since_ms < now_ms ? now_ms - since_ms : 0);
}

static void update_queue_gauges(struct metrics *metrics, const struct routes_sources *sources)
{
    struct send_queue_view view;
    send_queue_snapshot(sources->queue, &view);
    set_gauge(metrics, METRIC_SENDS_HELD, view.held_by_operator ? 1 : 0);
    set_gauge(metrics, METRIC_QUEUE_DEPTH, (int64_t)view.ready);
    set_gauge(metrics, METRIC_QUEUE_CAPACITY, sources->config->delivery_queue_capacity);
    set_gauge(metrics, METRIC_QUEUE_WAITING, (int64_t)view.waiting);
    set_gauge(metrics, METRIC_LANES, (int64_t)view.lanes);
    set_gauge(metrics, METRIC_WORKERS, sources->config->delivery_workers);
    set_gauge(metrics, METRIC_WORKERS_BUSY, (int64_t)view.running);
    set_gauge(metrics, METRIC_NOTIFICATIONS_UNDELIVERED, (int64_t)view.undelivered);
    set_gauge_age(metrics, METRIC_OLDEST_UNDELIVERED_AGE, view.oldest_undelivered_ms);
    set_gauge(metrics, METRIC_SPOOL_ENTRIES, (int64_t)view.recorded);
    set_gauge_age(metrics, METRIC_SPOOL_OLDEST_AGE, view.oldest_recorded_ms);
}

static void update_gateway_gauges(struct metrics *metrics, struct breaker *breaker)
{
    struct breaker_view view;
    breaker_snapshot(breaker, &view);
    const struct metric_label *label = &metric_families[METRIC_GATEWAY_STATE].labels[0];
    const char *now = breaker_view_word(&view);
    for (size_t i = 0; i < label->count; i++)
        metrics_set(metrics, METRIC_GATEWAY_STATE, label->values[i],
            strcmp(label->values[i], now) == 0 ? 1 : 0);
}

static void update_build_info(struct metrics *metrics, enum backend_version now)
{
    for (int version = BACKEND_UNKNOWN; version <= BACKEND_V1; version++)
        metrics_set(metrics, METRIC_BUILD_INFO, backend_version_words[version],
            version == (int)now ? 1 : 0);
}

static void update_stats_gauges(struct stats *stats)
{
    struct metrics *metrics = &stats->metrics;
    set_gauge(metrics, METRIC_NOTIFICATIONS_REFUSED, atomic_load(&stats->refused_ids));
    set_gauge(metrics, METRIC_SPOOL_BROKEN, atomic_load(&stats->spool_broken) ? 1 : 0);
    set_gauge(metrics, METRIC_DEAD_LETTERS, atomic_load(&stats->dead_files));
    set_gauge(metrics, METRIC_DEAD_LETTER_BYTES, atomic_load(&stats->dead_bytes));
    set_gauge(metrics, METRIC_POLL_FAILURES, atomic_load(&stats->consecutive_poll_failures));
    set_gauge_ms(metrics, METRIC_LAST_POLL, atomic_load(&stats->last_poll_ms));
    set_gauge_ms(metrics, METRIC_LAST_SYNC, atomic_load(&stats->last_sync_ms));
    set_gauge_ms(metrics, METRIC_LAST_REPORT, atomic_load(&stats->last_report_ms));
}

static void update_agent_gauges(struct metrics *metrics, const struct routes_sources *sources)
{
    json_t *missing = gateway_roster_missing(sources->roster);
    bool has_fallback = sources->config->fallback_agent != NULL;
    set_gauge(metrics, METRIC_AGENTS_UNKNOWN, has_fallback ? 0 : (int64_t)json_array_size(missing));
    json_decref(missing);
    set_gauge(metrics, METRIC_TOOLS_COLLIDE, gateway_roster_has_collision(sources->roster));
    set_gauge(metrics, METRIC_HEARTBEAT_FAILING_AGENTS,
        (int64_t)wake_schedule_count_failing(sources->schedule));
}

static void update_health_gauges(struct metrics *metrics, const struct routes_sources *sources)
{
    struct runtime_health health;
    health_read(&health, sources);
    for (int trouble = 0; trouble < TROUBLE_COUNT; trouble++)
        metrics_set(metrics, METRIC_DEGRADED, runtime_health_label((enum health_trouble)trouble),
            runtime_health_has(&health, (enum health_trouble)trouble) ? 1 : 0);
}

void metrics_page_append(struct text *body, const struct routes_sources *sources)
{
    struct metrics *metrics = &sources->stats->metrics;
    update_build_info(metrics, health_backend_version(sources));
    update_queue_gauges(metrics, sources);
    update_gateway_gauges(metrics, sources->breaker);
    update_stats_gauges(sources->stats);
    update_agent_gauges(metrics, sources);
    set_gauge(metrics, METRIC_LOG_LINES_DROPPED, (int64_t)log_stream_dropped());
    update_health_gauges(metrics, sources);
    set_gauge(metrics, METRIC_OTHER_RUNTIME,
        other_runtime_is_seen(sources->other_runtime, clock_monotonic_ms()) ? 1 : 0);
    process_metrics_update(metrics);
    exposition_append(body, metrics);
}
