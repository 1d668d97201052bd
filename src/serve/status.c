#include "serve/status.h"

#include <assert.h>
#include <jansson.h>
#include <string.h>

#include "base/sync.h"
#include "serve/routes.h"
#include "telemetry/metrics.h"

/* How long ago a time of the wall clock was; null for never. A clock that was set back is now. */
static json_t *json_ago(int64_t at_ms)
{
    if (at_ms == 0)
        return json_null();
    int64_t ago_ms = clock_wall_ms() - at_ms;
    return json_integer(ago_ms > 0 ? ago_ms : 0);
}

/* How long it is until a time of the monotonic clock; 0 when that is over. */
static json_t *json_until(int64_t due_ms)
{
    int64_t left_ms = due_ms - clock_monotonic_ms();
    return json_integer(left_ms > 0 ? left_ms : 0);
}

static json_t *describe_versions(const struct health_sources *health)
{
    char openclaw[VERSION_PROBE_BYTES];
    if (!version_probe_get(health->version, openclaw, sizeof openclaw))
        text_copy(openclaw, sizeof openclaw, VERSION_PROBE_UNKNOWN);
    return json_pack("{s:o, s:o}", "runtimeService",
        json_body_words(health->config->runtime_version), "openclaw", json_body_words(openclaw));
}

static json_t *describe_totals(const struct metrics *metrics)
{
    return json_pack("{s:I, s:I, s:I, s:I, s:I}", "delivered",
        (json_int_t)metrics_total(metrics, METRIC_NOTIFICATIONS_DELIVERED), "skipped",
        (json_int_t)metrics_total(metrics, METRIC_NOTIFICATIONS_SKIPPED), "failedAttempts",
        (json_int_t)metrics_total(metrics, METRIC_NOTIFICATIONS_FAILED), "dead",
        (json_int_t)metrics_total(metrics, METRIC_NOTIFICATIONS_DEAD), "agentRuns",
        (json_int_t)metrics_total(metrics, METRIC_RUNS));
}

static json_t *describe_queue(const struct send_queue_view *view, const struct config *config)
{
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:o}", "ready", (json_int_t)view->ready, "capacity",
        (json_int_t)config->delivery_queue_capacity, "waiting", (json_int_t)view->waiting, "lanes",
        (json_int_t)view->lanes, "undelivered", (json_int_t)view->undelivered, "oldestMs",
        json_ago(view->oldest_undelivered_ms));
}

/* An agent's slug, when all that is known of it so far is its id; what is no agent's id stays. */
static json_t *json_agent(const struct health_sources *health, const char *name)
{
    struct agent agent;
    bool found = wake_schedule_find(health->schedule, name, &agent) && agent.slug[0] != '\0';
    return json_body_words(found ? agent.slug : name);
}

static json_t *describe_worker(
    const struct health_sources *health, unsigned number, const struct activity_view *view)
{
    json_int_t for_ms = clock_monotonic_ms() - view->since_ms;
    if (!view->busy)
        return json_pack("{s:i, s:b, s:I}", "number", (int)number, "busy", false, "forMs", for_ms);
    return json_pack("{s:i, s:b, s:s, s:o, s:s, s:I}", "number", (int)number, "busy", true, "does",
        view->kind == ENTRY_WAKE ? "wake-up" : "delivery", "agent", json_agent(health, view->agent),
        "stage", entry_stage_word(view->stage), "forMs", for_ms);
}

static json_t *describe_workers(const struct status_sources *sources)
{
    json_t *list = json_array();
    struct activity_view view;
    for (unsigned number = 1; worker_pool_snapshot(sources->workers, number, &view); number++)
        json_array_append_new(list, describe_worker(sources->health, number, &view));
    return list;
}

static json_t *describe_entry(
    const struct health_sources *health, const struct send_queue_waiting *waiting)
{
    return json_pack("{s:o, s:o, s:s, s:s?, s:o, s:o}", "id", json_body_words(waiting->id), "agent",
        json_agent(health, waiting->agent), "stage", entry_stage_word(waiting->stage),
        "lastFailure", waiting->failure_class, "nextTryMs",
        waiting->due_ms != 0 ? json_until(waiting->due_ms) : json_null(), "ageMs",
        json_ago(waiting->created_at_ms));
}

static json_t *describe_waiting(const struct status_sources *sources)
{
    struct send_queue_waiting waiting[STATUS_WAITING];
    size_t total;
    json_t *list = json_array();
    size_t count = send_queue_list_waiting(sources->queue, waiting, STATUS_WAITING, &total);
    for (size_t i = 0; i < count; i++)
        json_array_append_new(list, describe_entry(sources->health, &waiting[i]));
    return json_pack("{s:I, s:o}", "total", (json_int_t)total, "oldest", list);
}

static json_t *describe_errors(struct stats *stats)
{
    struct stats_recent recent[STATS_RECENT];
    json_t *list = json_array();
    size_t count = stats_recent(stats, recent);
    for (size_t i = 0; i < count; i++)
        json_array_append_new(
            list, json_pack("{s:s, s:o, s:I, s:I, s:o}", "part", recent[i].part, "text",
                      json_body_words(recent[i].text), "times", (json_int_t)recent[i].count, "at",
                      (json_int_t)recent[i].at_ms, "agoMs", json_ago(recent[i].at_ms)));
    return list;
}

static json_t *describe_process(struct gateway_supervisor *process)
{
    struct supervisor_status status;
    if (process == NULL)
        return json_null();
    supervisor_status(process, &status);
    return json_pack("{s:b, s:b, s:I}", "running", status.pid != 0, "accepting", status.accepting,
        "restarts", (json_int_t)status.restarts);
}

static json_t *describe_gate(const struct health_sources *health)
{
    struct breaker_view breaker;
    breaker_snapshot(health->breaker, &breaker);
    int64_t probe_ms = breaker_probe_due(health->breaker, false);
    return json_pack("{s:s, s:o, s:I, s:o, s:o, s:o, s:o}", "state", breaker_view_word(&breaker),
        "reason", json_body_words(breaker.reason), "forMs",
        (json_int_t)(clock_monotonic_ms() - breaker.since_ms), "nextProbeMs",
        probe_ms != SYNC_NO_DEADLINE ? json_until(probe_ms) : json_null(), "nextSendMs",
        breaker.single_flight ? json_until(breaker.next_send_ms) : json_null(), "lastSendMs",
        json_ago(atomic_load(&health->stats->last_send_ms)), "process",
        describe_process(health->process));
}

static json_t *describe_spool(struct stats *stats, const struct send_queue_view *view)
{
    return json_pack("{s:b, s:I, s:o, s:I, s:I}", "broken", atomic_load(&stats->spool_broken),
        "entries", (json_int_t)view->recorded, "oldestMs", json_ago(view->oldest_recorded_ms),
        "dead", (json_int_t)atomic_load(&stats->dead_files), "deadBytes",
        (json_int_t)atomic_load(&stats->dead_bytes));
}

static json_t *describe_backend(struct stats *stats)
{
    return json_pack("{s:o, s:I, s:o, s:o}", "lastPollMs",
        json_ago(atomic_load(&stats->last_poll_ms)), "pollFailures",
        (json_int_t)atomic_load(&stats->consecutive_poll_failures), "lastSyncMs",
        json_ago(atomic_load(&stats->last_sync_ms)), "lastReportMs",
        json_ago(atomic_load(&stats->last_report_ms)));
}

static json_t *describe_agents(const struct health_sources *health)
{
    json_t *names = json_array();
    json_t *missing = gateway_roster_missing(health->roster);
    size_t total = json_array_size(missing);
    for (size_t i = 0; i < total && i < STATUS_UNKNOWN_AGENTS; i++)
        json_array_append_new(
            names, json_body_words(json_string_value(json_array_get(missing, i))));
    json_decref(missing);
    return json_pack("{s:I, s:I, s:o}", "scheduled",
        (json_int_t)wake_schedule_count(health->schedule), "unknownTotal", (json_int_t)total,
        "unknownToGateway", names);
}

static json_t *describe_sample(const struct trend_sample *sample)
{
    return json_pack("[i, i, i, o, o, i, i, i]", sample->lasted_ms, sample->delivered,
        sample->failed, sample->p50_ms >= 0 ? json_integer(sample->p50_ms) : json_null(),
        sample->p95_ms >= 0 ? json_integer(sample->p95_ms) : json_null(), sample->ready,
        sample->waiting, sample->busy);
}

/* The last sample is the one under way. */
static json_t *describe_history(const struct trend *trend)
{
    struct trend_sample now;
    json_t *samples = json_array();
    for (size_t i = 0; i < trend->count; i++)
        json_array_append_new(samples, describe_sample(trend_at(trend, i)));
    trend_peek(trend, clock_monotonic_ms(), &now);
    json_array_append_new(samples, describe_sample(&now));
    return json_pack("{s:i, s:i, s:[s, s, s, s, s, s, s, s], s:o}", "intervalMs",
        (int)TREND_INTERVAL_MS, "longestMs", (int)trend_max_ms(), "columns", "lastedMs",
        "delivered", "failed", "p50Ms", "p95Ms", "ready", "waiting", "busy", "samples", samples);
}

void status_append(struct text *body, const struct status_sources *sources)
{
    const struct health_sources *health = sources->health;
    struct stats *stats = health->stats;
    struct send_queue_view view;
    send_queue_snapshot(sources->queue, &view);
    bool held_by_operator = atomic_load(&stats->held_by_operator);
    json_t *json =
        json_pack("{s:s, s:o, s:b, s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, "
                  "s:o}",
            "state", status_state_word(health, held_by_operator), "reasons",
            status_state_reasons(health, held_by_operator), "heldByHand", held_by_operator,
            "uptimeMs", (json_int_t)(clock_monotonic_ms() - stats->started_monotonic_ms),
            "versions", describe_versions(health), "totals", describe_totals(&stats->metrics),
            "queue", describe_queue(&view, health->config), "workers", describe_workers(sources),
            "waiting", describe_waiting(sources), "errors", describe_errors(stats), "gateway",
            describe_gate(health), "spool", describe_spool(stats, &view), "backend",
            describe_backend(stats), "agents", describe_agents(health), "history",
            describe_history(sources->trend));
    json_body_append(body, json, JSON_COMPACT);
}

void status_handle(
    void *context, const struct http_server_request *request, struct http_server_reply *reply)
{
    (void)request;
    status_append(&reply->body, context);
}

enum { SENTENCE_BYTES = BREAKER_REASON_BYTES + 64 };

const char *status_state_word(const struct health_sources *health, bool held_by_operator)
{
    int phase = atomic_load(&health->stats->phase);
    if (phase == PHASE_STARTING)
        return "starting";
    if (phase == PHASE_STOPPING)
        return "stopping";
    if (!health_is_good(health))
        return "degraded";
    return held_by_operator ? "held" : "healthy";
}

static void add(json_t *reasons, const char *words)
{
    json_array_append_new(reasons, json_body_words(words));
}

static void add_gateway(json_t *reasons, const struct health_sources *health)
{
    struct breaker_view breaker;
    char sentence[SENTENCE_BYTES];
    breaker_snapshot(health->breaker, &breaker);
    if (breaker.state == BREAKER_CLOSED && !breaker.single_flight)
        return;
    snprintf(sentence, sizeof sentence, "%s: %s",
        breaker.state == BREAKER_CLOSED ? "One agent is asked at a time" : "No agent can be asked",
        breaker.reason);
    add(reasons, sentence);
}

static void add_process(json_t *reasons, const struct health_sources *health)
{
    struct supervisor_status status;
    if (health->process == NULL)
        return;
    supervisor_status(health->process, &status);
    if (!status.accepting)
        add(reasons, "The gateway, which runs as a child, accepts no connections yet");
}

static void add_backend(json_t *reasons, struct stats *stats)
{
    /* Without their number, which would make each of them news to who has the page read out. */
    if (atomic_load(&stats->consecutive_poll_failures) > 0)
        add(reasons, "The last polls of the backend failed");
    else if (atomic_load(&stats->last_poll_ms) == 0)
        add(reasons, "The backend has not answered a poll yet");
}

json_t *status_state_reasons(const struct health_sources *health, bool held_by_operator)
{
    struct stats *stats = health->stats;
    json_t *reasons = json_array();
    if (held_by_operator)
        add(reasons, "All sends are held by hand; SIGUSR2 releases them");
    add_gateway(reasons, health);
    add_process(reasons, health);
    add_backend(reasons, stats);
    if (atomic_load(&stats->spool_broken))
        add(reasons, "The state directory cannot be written");
    return reasons;
}

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

int32_t trend_max_ms(void)
{
    const struct metric_family *family = &metric_families[METRIC_DELIVERY];
    return bounded(family->bounds_us[family->bound_count - 1] / 1000);
}

static int32_t quantile_ms(const int64_t *counts, double share)
{
    const struct metric_family *family = &metric_families[METRIC_DELIVERY];
    int64_t found_us = histogram_quantile_us(family->bounds_us, family->bound_count, counts, share);
    return found_us < 0 ? -1 : bounded(found_us / 1000);
}

static void fill(struct trend_sample *sample, const struct trend *trend,
    const struct trend_mark *begin, const struct trend_mark *end)
{
    struct send_queue_view view;
    int64_t counts[TREND_BUCKETS];
    send_queue_snapshot(trend->queue, &view);
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
