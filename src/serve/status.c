/*
 * /status, which is all that the page shows: the state in a word and the reasons for it in
 * sentences, what waits and what each worker does, and the history behind the charts.
 *
 * The history is a ring of 180 samples, one per 10 s. A sample holds the difference between the
 * counters at the end of its interval and at the end of the one before (trend_mark), quantiles from
 * the differences of the histogram's buckets over five minutes, and the queue's gauges. It is
 * written and read by the HTTP server's thread only and takes no lock; the counters are atomic.
 *
 * Every other part of the response copies what its module publishes, under that module's own lock
 * and one at a time, so the parts may differ by what happened in between. That does not matter to a
 * person; what must agree, heldByHand with the state and the reasons, comes from one reading.
 *
 * A part that cannot be built is NULL. json_pack then drops the other parts and returns NULL as
 * well, so that a shortage of memory ends in a 500 and leaks nothing.
 */
#include "serve/serve.h"

#include <assert.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/sync.h"

static void read_trend_mark(struct trend_mark *mark, const struct metrics *metrics, int64_t now_ms)
{
    mark->at_ms = now_ms;
    mark->delivered = metrics_total(metrics, METRIC_NOTIFICATIONS_DELIVERED);
    mark->failed = metrics_total(metrics, METRIC_NOTIFICATIONS_FAILED);
    for (size_t i = 0; i < TREND_BUCKETS; i++)
        mark->buckets[i] = metrics_cell(metrics, METRIC_DELIVERY, 0, i);
}

void trend_init(
    struct trend *trend, const struct metrics *metrics, struct send_queue *queue, int64_t now_ms)
{
    assert(metric_families[METRIC_DELIVERY].bound_count + 1 == TREND_BUCKETS);
    memset(trend, 0, sizeof *trend);
    trend->metrics = metrics;
    trend->queue = queue;
    read_trend_mark(&trend->mark, metrics, now_ms);
    memcpy(trend->timed[0], trend->mark.buckets, sizeof trend->timed[0]);
}

static int32_t clamp_int32(int64_t number)
{
    return number < INT32_MAX ? (int32_t)number : INT32_MAX;
}

/* Longer deliveries count as if they had taken this long: the last bound of the histogram. */
static int32_t trend_max_ms(void)
{
    const struct metric_family *family = &metric_families[METRIC_DELIVERY];
    return clamp_int32(family->bounds_us[family->bound_count - 1] / 1000);
}

/* -1 if nothing was delivered. */
static int32_t delivery_quantile_ms(const int64_t *counts, double share)
{
    const struct metric_family *family = &metric_families[METRIC_DELIVERY];
    int64_t found_us = histogram_quantile_us(family->bounds_us, family->bound_count, counts, share);
    return found_us < 0 ? -1 : clamp_int32(found_us / 1000);
}

/* Fills in the quantiles over the last intervals, the current one included. */
static void time_deliveries(
    struct trend_sample *sample, const struct trend *trend, const struct trend_mark *end)
{
    static_assert(TREND_SAMPLES % TREND_TIMED == 0, "next is an index into both rings");
    size_t oldest = trend->count < TREND_TIMED ? 0 : (trend->next + 1) % TREND_TIMED;
    const int64_t *begin = trend->timed[oldest];
    int64_t counts[TREND_BUCKETS];
    int64_t total = 0;
    for (size_t i = 0; i < TREND_BUCKETS; i++) {
        counts[i] = end->buckets[i] - begin[i];
        total += counts[i];
    }
    sample->timed = clamp_int32(total);
    sample->p50_ms = delivery_quantile_ms(counts, 0.5);
    sample->p95_ms = delivery_quantile_ms(counts, 0.95);
}

/* The queue's gauges are those of now, which is the end of the interval. */
static void fill_trend_sample(struct trend_sample *sample, const struct trend *trend,
    const struct trend_mark *begin, const struct trend_mark *end)
{
    struct send_queue_view view;
    send_queue_snapshot(trend->queue, &view);
    *sample = (struct trend_sample){
        .lasted_ms = clamp_int32(end->at_ms - begin->at_ms),
        .delivered = clamp_int32(end->delivered - begin->delivered),
        .failed = clamp_int32(end->failed - begin->failed),
        .ready = clamp_int32((int64_t)view.ready),
        .waiting = clamp_int32((int64_t)view.waiting),
        .busy = clamp_int32((int64_t)view.running),
    };
    time_deliveries(sample, trend, end);
}

void trend_peek(const struct trend *trend, int64_t now_ms, struct trend_sample *sample)
{
    struct trend_mark now;
    read_trend_mark(&now, trend->metrics, now_ms);
    fill_trend_sample(sample, trend, &trend->mark, &now);
}

void trend_take(struct trend *trend, int64_t now_ms)
{
    struct trend_mark now;
    read_trend_mark(&now, trend->metrics, now_ms);
    fill_trend_sample(&trend->samples[trend->next], trend, &trend->mark, &now);
    trend->mark = now;
    trend->next = (trend->next + 1) % TREND_SAMPLES;
    memcpy(trend->timed[trend->next % TREND_TIMED], now.buckets, sizeof now.buckets);
    if (trend->count < TREND_SAMPLES)
        trend->count++;
}

const struct trend_sample *trend_at(const struct trend *trend, size_t number)
{
    assert(number < trend->count);
    size_t oldest = trend->next + TREND_SAMPLES - trend->count;
    return &trend->samples[(oldest + number) % TREND_SAMPLES];
}

/* Milliseconds since at_ms (wall clock); null for never, 0 if the clock was set back. */
static json_t *json_ago(int64_t at_ms)
{
    if (at_ms == 0)
        return json_null();
    int64_t ago_ms = clock_wall_ms() - at_ms;
    return json_integer(ago_ms > 0 ? ago_ms : 0);
}

/* Milliseconds until due_ms (monotonic); 0 if that has passed. */
static json_t *json_until(int64_t due_ms)
{
    int64_t left_ms = due_ms - clock_monotonic_ms();
    return json_integer(left_ms > 0 ? left_ms : 0);
}

static json_t *json_totals(const struct metrics *metrics)
{
    return json_pack("{s:I, s:I, s:I, s:I, s:I}", "delivered",
        (json_int_t)metrics_total(metrics, METRIC_NOTIFICATIONS_DELIVERED), "skipped",
        (json_int_t)metrics_total(metrics, METRIC_NOTIFICATIONS_SKIPPED), "failedAttempts",
        (json_int_t)metrics_total(metrics, METRIC_NOTIFICATIONS_FAILED), "dead",
        (json_int_t)metrics_total(metrics, METRIC_NOTIFICATIONS_DEAD), "agentRuns",
        (json_int_t)metrics_total(metrics, METRIC_RUNS));
}

static json_t *json_queue(const struct send_queue_view *view, const struct config *config)
{
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:o}", "ready", (json_int_t)view->ready, "capacity",
        (json_int_t)config->delivery_queue_capacity, "waiting", (json_int_t)view->waiting, "lanes",
        (json_int_t)view->lanes, "undelivered", (json_int_t)view->undelivered, "oldestMs",
        json_ago(view->oldest_undelivered_ms));
}

/* The slug for an agent that is only known by its id yet; any other name is left as it is. */
static json_t *json_agent_name(const struct routes_sources *sources, const char *name)
{
    struct agent agent;
    bool found = wake_schedule_find(sources->schedule, name, &agent) && agent.slug[0] != '\0';
    return json_body_words(found ? agent.slug : name);
}

static json_t *json_worker(
    const struct routes_sources *sources, unsigned number, const struct activity *view)
{
    json_int_t for_ms = clock_monotonic_ms() - view->since_ms;
    if (!view->busy)
        return json_pack("{s:i, s:b, s:I}", "number", (int)number, "busy", false, "forMs", for_ms);
    return json_pack("{s:i, s:b, s:s, s:o, s:s, s:I}", "number", (int)number, "busy", true, "does",
        view->kind == ENTRY_WAKE ? "wake-up" : "delivery", "agent",
        json_agent_name(sources, view->agent), "stage", entry_stage_words[view->stage], "forMs",
        for_ms);
}

static json_t *json_workers(const struct routes_sources *sources)
{
    json_t *list = json_array();
    struct activity view;
    for (unsigned number = 1; worker_pool_snapshot(sources->workers, number, &view); number++)
        json_array_append_new(list, json_worker(sources, number, &view));
    return list;
}

static json_t *json_waiting_entry(
    const struct routes_sources *sources, const struct send_queue_waiting *waiting)
{
    return json_pack("{s:o, s:o, s:s, s:s?, s:o, s:o}", "id", json_body_words(waiting->id), "agent",
        json_agent_name(sources, waiting->agent), "stage", entry_stage_words[waiting->stage],
        "lastFailure", failure_class_words[waiting->failure_class], "nextTryMs",
        waiting->due_ms != 0 ? json_until(waiting->due_ms) : json_null(), "ageMs",
        json_ago(waiting->created_at_ms));
}

static json_t *json_waiting(const struct routes_sources *sources)
{
    struct send_queue_waiting waiting[STATUS_WAITING];
    size_t total;
    json_t *list = json_array();
    size_t count = send_queue_list_waiting(sources->queue, waiting, STATUS_WAITING, &total);
    for (size_t i = 0; i < count; i++)
        json_array_append_new(list, json_waiting_entry(sources, &waiting[i]));
    return json_pack("{s:I, s:o}", "total", (json_int_t)total, "oldest", list);
}

static json_t *json_recent_errors(struct stats *stats)
{
    struct stats_error recent[STATS_RECENT];
    json_t *list = json_array();
    size_t count = stats_recent(stats, recent);
    for (size_t i = 0; i < count; i++)
        json_array_append_new(
            list, json_pack("{s:s, s:o, s:I, s:I, s:o}", "part", recent[i].part, "text",
                      json_body_words(recent[i].text), "times", (json_int_t)recent[i].count, "at",
                      (json_int_t)recent[i].at_ms, "agoMs", json_ago(recent[i].at_ms)));
    return list;
}

static json_t *json_status_process(struct gateway_supervisor *process)
{
    struct supervisor_status status;
    if (process == NULL)
        return json_null();
    supervisor_status(process, &status);
    return json_pack("{s:b, s:b, s:I}", "running", status.pid != 0, "accepting", status.accepting,
        "restarts", (json_int_t)status.restarts);
}

static json_t *json_status_gateway(const struct routes_sources *sources)
{
    struct breaker_view breaker;
    breaker_snapshot(sources->breaker, &breaker);
    int64_t probe_ms = breaker_probe_due(sources->breaker);
    return json_pack("{s:s, s:o, s:I, s:o, s:o, s:o, s:o, s:s, s:b}", "state",
        breaker_view_word(&breaker), "reason", json_body_words(breaker.reason), "forMs",
        (json_int_t)(clock_monotonic_ms() - breaker.since_ms), "nextProbeMs",
        probe_ms != SYNC_NO_DEADLINE ? json_until(probe_ms) : json_null(), "nextSendMs",
        json_null(), "lastSendMs", json_ago(atomic_load(&sources->stats->last_send_ms)), "process",
        json_status_process(sources->supervisor), "toolDialect",
        tool_dialect_words[gateway_roster_dialect(sources->roster)], "toolsCollide",
        gateway_roster_has_collision(sources->roster));
}

static json_t *json_status_spool(struct stats *stats, const struct send_queue_view *view)
{
    return json_pack("{s:b, s:I, s:o, s:I, s:I}", "broken", atomic_load(&stats->spool_broken),
        "entries", (json_int_t)view->recorded, "oldestMs", json_ago(view->oldest_recorded_ms),
        "dead", (json_int_t)atomic_load(&stats->dead_files), "deadBytes",
        (json_int_t)atomic_load(&stats->dead_bytes));
}

static json_t *json_backend(const struct routes_sources *sources)
{
    struct stats *stats = sources->stats;
    return json_pack("{s:o, s:I, s:o, s:o, s:s}", "lastPollMs",
        json_ago(atomic_load(&stats->last_poll_ms)), "pollFailures",
        (json_int_t)atomic_load(&stats->consecutive_poll_failures), "lastSyncMs",
        json_ago(atomic_load(&stats->last_sync_ms)), "lastReportMs",
        json_ago(atomic_load(&stats->last_report_ms)), "version",
        backend_version_words[health_backend_version(sources)]);
}

/* The first of a list of slugs, or of objects that have one. Takes the reference. */
static json_t *json_first_slugs(json_t *list)
{
    json_t *names = json_array();
    size_t index;
    json_t *item;
    json_array_foreach (list, index, item) {
        const json_t *slug = json_is_object(item) ? json_object_get(item, "slug") : item;
        if (index < STATUS_AGENTS)
            json_array_append_new(names, json_body_words(json_string_value(slug)));
    }
    json_decref(list);
    return names;
}

/*
 * Since when nothing has gone well with the agent: a delivery makes up for failed wake-ups, and
 * attempts that failed are history once there is no work for it.
 */
static int64_t failing_since_ms(
    const struct agent_view *view, const struct stats_agent_view *attempts, bool has_work)
{
    int64_t deliveries_ms = has_work ? attempts->failing_since_ms : 0;
    int64_t wakes_ms = view->wakes_failing_from_ms;
    if (wakes_ms <= attempts->delivered_at_ms)
        wakes_ms = 0;
    if (deliveries_ms == 0 || wakes_ms == 0)
        return deliveries_ms != 0 ? deliveries_ms : wakes_ms;
    return deliveries_ms < wakes_ms ? deliveries_ms : wakes_ms;
}

static json_t *json_agent(const struct routes_sources *sources, const struct agent_view *view)
{
    size_t running;
    size_t waiting;
    struct stats_agent_view attempts;
    const char *slug = view->agent.slug;
    send_queue_agent_load(sources->queue, view->agent.id, &running, &waiting);
    stats_agent(sources->stats, view->agent.id, &attempts);
    return json_pack("{s:o, s:o, s:o, s:o, s:I, s:I, s:o, s:b}", "agent", json_body_words(slug),
        "lastWakeMs", json_ago(view->woken_at_ms), "nextWakeMs",
        view->due_ms != 0 ? json_until(view->due_ms) : json_null(), "lastReplyMs",
        json_ago(attempts.delivered_at_ms), "inFlight", (json_int_t)running, "waiting",
        (json_int_t)waiting, "failingMs",
        json_ago(failing_since_ms(view, &attempts, running + waiting > 0)), "knownToGateway",
        gateway_roster_has(sources->roster, slug));
}

static json_t *json_agent_list(const struct routes_sources *sources)
{
    size_t total;
    json_t *list = json_array();
    struct agent_view *views = calloc(STATUS_AGENTS, sizeof *views);
    size_t count =
        views != NULL ? wake_schedule_list(sources->schedule, views, STATUS_AGENTS, &total) : 0;
    for (size_t i = 0; i < count; i++)
        json_array_append_new(list, json_agent(sources, &views[i]));
    free(views);
    return list;
}

static json_t *json_agents(const struct routes_sources *sources)
{
    json_t *missing = gateway_roster_missing(sources->roster);
    json_t *unusable = json_body_unusable_slugs(sources);
    json_int_t missing_total = (json_int_t)json_array_size(missing);
    json_int_t unusable_total = (json_int_t)json_array_size(unusable);
    return json_pack("{s:I, s:I, s:o, s:I, s:o, s:o}", "scheduled",
        (json_int_t)wake_schedule_count(sources->schedule), "unknownTotal", missing_total,
        "unknownToGateway", json_first_slugs(missing), "unusableTotal", unusable_total,
        "unusableSlugs", json_first_slugs(unusable), "list", json_agent_list(sources));
}

/* A row in the order of "columns", since keys would make up most of the response. */
static json_t *json_trend_sample(const struct trend_sample *sample)
{
    return json_pack("[i, i, i, o, o, i, i, i, i]", sample->lasted_ms, sample->delivered,
        sample->failed, sample->p50_ms >= 0 ? json_integer(sample->p50_ms) : json_null(),
        sample->p95_ms >= 0 ? json_integer(sample->p95_ms) : json_null(), sample->ready,
        sample->waiting, sample->busy, sample->timed);
}

/* The last sample is the current interval, which has not ended. */
static json_t *json_history(const struct trend *trend)
{
    struct trend_sample now;
    json_t *samples = json_array();
    for (size_t i = 0; i < trend->count; i++)
        json_array_append_new(samples, json_trend_sample(trend_at(trend, i)));
    trend_peek(trend, clock_monotonic_ms(), &now);
    json_array_append_new(samples, json_trend_sample(&now));
    return json_pack("{s:i, s:i, s:[s, s, s, s, s, s, s, s, s], s:o}", "intervalMs",
        (int)TREND_INTERVAL_MS, "longestMs", (int)trend_max_ms(), "columns", "lastedMs",
        "delivered", "failed", "p50Ms", "p95Ms", "ready", "waiting", "busy", "timed", "samples",
        samples);
}

/* Before it is a trouble (HEALTH_MAX_AGE_MS), and after what a restart of the gateway explains. */
enum { FAILING_WARNING_MS = 60 * 1000 };

/* Something that does not hold up deliveries now, but that an operator should look at. */
static void add_warning(json_t *warnings, const char *sentence)
{
    json_array_append_new(warnings, json_body_words(sentence));
}

/*
 * Without numbers, as a screen reader would announce each change; the page has those elsewhere.
 * NULL without memory.
 */
static json_t *state_warnings(
    const struct routes_sources *sources, const struct runtime_health *health)
{
    json_t *warnings = json_array();
    json_t *missing = gateway_roster_missing(sources->roster);
    json_t *unusable = json_body_unusable_slugs(sources);
    struct stats_error errors[STATS_SOURCES];
    stats_errors(sources->stats, errors);
    if (health->oldest_failing_ms != 0 && !runtime_health_has(health, TROUBLE_OLD_FAILURES) &&
        health->now_ms - health->oldest_failing_ms > FAILING_WARNING_MS)
        add_warning(warnings, "A notification is over a minute old, and its attempts fail");
    if (json_array_size(missing) > 0)
        add_warning(warnings, "The gateway does not know some of the agents");
    if (json_array_size(unusable) > 0)
        add_warning(warnings, "The slugs of some agents are not usable, so they are not asked");
    if (wake_schedule_count_failing(sources->schedule) > 0)
        add_warning(warnings, "The wake-ups of some agents fail again and again");
    if (errors[STATS_SYNC].at_ms != 0)
        add_warning(warnings, "The list of agents cannot be read from the board");
    if (atomic_load(&sources->stats->dead_files) > 0)
        add_warning(warnings, "There are dead letters; mission-control-runtime spool list shows "
                              "them");
    json_decref(missing);
    json_decref(unusable);
    return warnings;
}

/* A degraded runtime is "degraded" even if sends are paused: the outage is the worse news. */
static const char *state_word(const struct stats *stats, const struct runtime_health *health,
    bool held_by_operator, bool has_warnings)
{
    int phase = atomic_load(&stats->phase);
    if (phase == PHASE_STARTING)
        return "starting";
    if (phase == PHASE_STOPPING)
        return "stopping";
    if (!runtime_health_is_good(health))
        return "degraded";
    if (held_by_operator)
        return "held";
    return has_warnings ? "attention" : "healthy";
}

static void add_trouble(
    json_t *reasons, const struct runtime_health *health, enum health_trouble trouble)
{
    struct text sentence = {0};
    runtime_health_append_sentence(&sentence, health, trouble);
    if (!sentence.failed)
        json_array_append_new(reasons, json_body_words(sentence.data));
    text_fini(&sentence);
}

/* The operator's hold, another runtime, and the sentences that /health has as its reason. */
static json_t *state_reasons(
    const struct runtime_health *health, bool held_by_operator, bool other_runtime)
{
    json_t *reasons = json_array();
    if (held_by_operator)
        json_array_append_new(
            reasons, json_body_words("Sends are paused by an operator; mission-control-runtime "
                                     "release, or SIGUSR2, resumes them"));
    if (other_runtime)
        json_array_append_new(
            reasons, json_body_words("Another runtime seems to work on the same account, so agents "
                                     "are run twice; find it and stop it"));
    for (int trouble = 0; trouble < TROUBLE_COUNT; trouble++)
        if (runtime_health_has(health, (enum health_trouble)trouble))
            add_trouble(reasons, health, (enum health_trouble)trouble);
    return reasons;
}

/* A sentence on what is waited for since the board requested an upgrade; null if nothing is. */
static json_t *json_status_upgrade(struct stats *stats)
{
    struct stats_upgrade upgrade;
    stats_upgrade(stats, &upgrade);
    return json_body_words(upgrade.initiated_at_ms != 0 ? upgrade.text : NULL);
}

void status_append(
    struct text *body, const struct routes_sources *sources, const struct trend *trend)
{
    struct stats *stats = sources->stats;
    struct send_queue_view view;
    struct runtime_health health;
    send_queue_snapshot(sources->queue, &view);
    health_read(&health, sources);
    bool held_by_operator = view.held_by_operator;
    bool other_runtime = other_runtime_is_seen(sources->other_runtime, clock_monotonic_ms());
    json_t *warnings = state_warnings(sources, &health);
    bool has_warnings = other_runtime || json_array_size(warnings) > 0;
    char host[HOST_NAME_MAX + 1] = "";
    gethostname(host, sizeof host - 1);
    json_t *json = json_pack(
        "{s:s, s:o, s:o, s:b, s:b, s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, "
        "s:o, s:o, s:o, s:o}",
        "state", state_word(stats, &health, held_by_operator, has_warnings), "reasons",
        state_reasons(&health, held_by_operator, other_runtime), "warnings", warnings, "heldByHand",
        held_by_operator, "otherRuntime", other_runtime, "uptimeMs",
        (json_int_t)(clock_monotonic_ms() - stats->started_monotonic_ms), "versions",
        json_body_versions(sources), "totals", json_totals(&stats->metrics), "queue",
        json_queue(&view, sources->config), "workers", json_workers(sources), "waiting",
        json_waiting(sources), "errors", json_recent_errors(stats), "gateway",
        json_status_gateway(sources), "spool", json_status_spool(stats, &view), "backend",
        json_backend(sources), "agents", json_agents(sources), "history", json_history(trend),
        "upgrade", json_status_upgrade(stats), "account",
        json_body_words(sources->config->account_id), "host", json_body_words(host), "board",
        json_body_words(sources->config->board_url));
    json_body_append(body, json, JSON_COMPACT);
}
