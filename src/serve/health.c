/*
 * Three judgements about the runtime, for three kinds of machines, and the versions:
 *
 * - /health, for monitoring: always 200, "healthy" or "degraded" in the body, with everything that
 *   went into it. "degraded" means that notifications are delivered late or not at all.
 * - /readyz, for load balancers and deployments: 503 whenever notifications cannot be delivered for
 *   want of a backend or gateway. Failing agents never fail it, as they also fail the release that
 *   a deployment would go back to; the verbose form tells them as /health does.
 * - /livez, for supervisors: 503 only if a control thread has stalled, which does not heal. An
 *   outage of backend or gateway must never fail it, or the restart would make the outage worse.
 *
 * The judgement and the fields of /health are built from one snapshot, so that they agree with each
 * other even if something changes meanwhile. Keys and their order are an interface, including those
 * that make little sense here (external, arrayBuffers, dropletId): monitoring depends on them.
 * Fields may be added.
 */
#include "serve/serve.h"

#include <malloc.h>
#include <string.h>
#include <unistd.h>

#include "backend/backend_clock.h"
#include "base/process.h"
#include "base/sync.h"
#include "base/watch.h"
#include "delivery/runtime_health.h"

static int append_json_bytes(const char *bytes, size_t length_bytes, void *context)
{
    struct text *body = context;
    text_append_bytes(body, bytes, length_bytes);
    return body->failed ? -1 : 0;
}

void json_body_append(struct text *body, json_t *json, size_t flags)
{
    if (json == NULL || json_dump_callback(json, append_json_bytes, body, flags) != 0)
        body->failed = true;
    json_decref(json);
}

json_t *json_body_words(const char *words)
{
    char quoted[JSON_BODY_WORDS_BYTES];
    if (words == NULL || words[0] == '\0')
        return json_null();
    text_quote(quoted, sizeof quoted, words, strlen(words));
    return json_string(quoted);
}

/* Wall clock; null for never. */
static json_t *json_time_or_null(int64_t at_ms)
{
    return at_ms == 0 ? json_null() : json_integer(at_ms);
}

static json_t *json_last_error(const struct stats_error *error)
{
    return json_body_words(error->at_ms != 0 ? error->text : NULL);
}

static json_t *json_openclaw_version(const struct routes_sources *sources)
{
    char version[VERSION_PROBE_BYTES];
    bool known = version_probe_get_any(sources->version, sources->roster, version, sizeof version);
    return json_body_words(known ? version : VERSION_PROBE_UNKNOWN);
}

enum backend_version health_backend_version(const struct routes_sources *sources)
{
    if (sources->convex == NULL)
        return BACKEND_UNKNOWN;
    return convex_likely_version(sources->convex);
}

json_t *json_body_versions(const struct routes_sources *sources)
{
    return json_pack("{s:o, s:o}", "runtimeService",
        json_body_words(sources->config->runtime_version), "openclaw",
        json_openclaw_version(sources));
}

static json_t *json_infrastructure(const struct config *config)
{
    return json_pack("{s:s, s:s, s:s}", "dropletId", config->droplet_id, "ipAddress",
        config->droplet_ip, "region", config->droplet_region);
}

static json_t *json_child_exit(const struct supervisor_status *child)
{
    const struct child_exit *last = &child->last_exit;
    if (child->last_exit_at_ms == 0)
        return json_null();
    return json_pack("{s:o, s:o, s:I}", "code",
        last->signal == 0 ? json_integer(last->code) : json_null(), "signal",
        last->signal != 0 ? json_integer(last->signal) : json_null(), "at",
        (json_int_t)child->last_exit_at_ms);
}

/* Null when the gateway is not our child. */
static json_t *json_health_process(const struct runtime_health *seen)
{
    const struct supervisor_status *child = &seen->child;
    if (!seen->has_child)
        return json_null();
    return json_pack("{s:o, s:I, s:o, s:b}", "pid",
        child->pid != 0 ? json_integer(child->pid) : json_null(), "restarts",
        (json_int_t)child->restarts, "lastExit", json_child_exit(child), "accepting",
        child->accepting);
}

static json_t *json_health_gateway(const struct routes_sources *sources,
    const struct runtime_health *seen, const struct stats_error *errors)
{
    struct stats *stats = sources->stats;
    return json_pack("{s:b, s:I, s:o, s:o, s:s, s:o, s:b, s:o, s:s, s:b}", "running",
        seen->gateway_running, "sessions", (json_int_t)wake_schedule_count(sources->schedule),
        "lastSendAt", json_time_or_null(atomic_load(&stats->last_send_ms)), "lastSendError",
        json_last_error(&errors[STATS_SEND]), "state", breaker_view_word(&seen->breaker), "reason",
        json_body_words(seen->breaker.reason), "heldByHand", seen->held_by_operator, "process",
        json_health_process(seen), "toolDialect",
        tool_dialect_words[gateway_roster_dialect(sources->roster)], "toolsCollide",
        gateway_roster_has_collision(sources->roster));
}

static json_t *json_delivery_config(const struct config *config)
{
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "maxConcurrentSessions",
        (json_int_t)config->delivery_workers, "streamTimeoutMs",
        (json_int_t)config->delivery_stream_timeout_ms, "contextFetchBatchSize",
        (json_int_t)config->delivery_context_fetch_batch_size, "listLimit",
        (json_int_t)config->delivery_list_limit, "intervalMs",
        (json_int_t)config->delivery_interval_ms, "activeIntervalMs",
        (json_int_t)config->delivery_interval_active_ms, "idleIntervalMs",
        (json_int_t)config->delivery_interval_idle_ms, "backoffBaseMs",
        (json_int_t)config->delivery_backoff_base_ms, "backoffMaxMs",
        (json_int_t)config->delivery_backoff_max_ms);
}

static json_t *json_health_delivery(const struct routes_sources *sources,
    const struct runtime_health *seen, const struct stats_error *errors)
{
    struct stats *stats = sources->stats;
    return json_pack("{s:b, s:o, s:I, s:I, s:I, s:o, s:o, s:I, s:I, s:o}", "running",
        seen->delivery_running, "lastDelivery", json_time_or_null(seen->last_poll_ms), "delivered",
        (json_int_t)metrics_total(&stats->metrics, METRIC_NOTIFICATIONS_DELIVERED), "failed",
        (json_int_t)metrics_total(&stats->metrics, METRIC_NOTIFICATIONS_FAILED),
        "consecutiveFailures", (json_int_t)seen->poll_failures, "lastErrorAt",
        json_time_or_null(errors[STATS_DELIVERY].at_ms), "lastErrorMessage",
        json_last_error(&errors[STATS_DELIVERY]), "noResponseTerminalSkipCount",
        (json_int_t)metrics_value(&stats->metrics, METRIC_NO_RESPONSE, "skipped"),
        "requiredNotificationRetryExhaustedCount",
        (json_int_t)metrics_value(&stats->metrics, METRIC_NO_RESPONSE, "retries_exhausted"),
        "config", json_delivery_config(sources->config));
}

static json_t *json_health_spool(struct stats *stats, const struct runtime_health *seen)
{
    return json_pack("{s:b, s:I, s:I, s:I}", "broken", seen->spool_broken, "dead",
        (json_int_t)atomic_load(&stats->dead_files), "deadBytes",
        (json_int_t)atomic_load(&stats->dead_bytes), "newer",
        (json_int_t)atomic_load(&stats->newer_records));
}

static json_t *json_heartbeat(const struct routes_sources *sources)
{
    return json_pack("{s:b, s:I}", "running", atomic_load(&sources->stats->heartbeat_running),
        "scheduledAgents", (json_int_t)wake_schedule_count(sources->schedule));
}

json_t *json_body_unusable_slugs(const struct routes_sources *sources)
{
    bool is_v1 = health_backend_version(sources) == BACKEND_V1;
    return is_v1 ? gateway_roster_unusable(sources->roster) : json_array();
}

static json_t *json_agent_sync(
    const struct routes_sources *sources, const struct stats_error *errors)
{
    struct stats *stats = sources->stats;
    return json_pack("{s:b, s:o, s:o, s:o, s:I, s:I, s:o, s:o}", "running",
        atomic_load(&stats->sync_running), "lastSyncAt",
        json_time_or_null(atomic_load(&stats->last_sync_ms)), "lastError",
        json_last_error(&errors[STATS_SYNC]), "profilesError",
        json_last_error(&errors[STATS_PROFILES]), "addedCount",
        (json_int_t)atomic_load(&stats->sync_added), "removedCount",
        (json_int_t)atomic_load(&stats->sync_removed), "unknownToGateway",
        gateway_roster_missing(sources->roster), "unusableSlugs",
        json_body_unusable_slugs(sources));
}

static json_t *json_version_or_null(enum backend_version version)
{
    return version != BACKEND_UNKNOWN ? json_string(backend_version_words[version]) : json_null();
}

/* The version that is gone by, the one that is pinned, and how far our clock is ahead. */
static json_t *json_health_backend(
    const struct routes_sources *sources, const struct runtime_health *seen)
{
    json_t *ahead = json_null();
    if (sources->convex != NULL) {
        const struct backend_clock *clock = convex_clock(sources->convex);
        if (atomic_load(&clock->is_known))
            ahead = json_integer(atomic_load(&clock->ahead_ms));
    }
    return json_pack("{s:s, s:o, s:o}", "version",
        backend_version_words[health_backend_version(sources)], "pinned",
        json_version_or_null(seen->pinned_version), "clockAheadMs", ahead);
}

/* The names are those of a Node process; heapTotal is what malloc has from the kernel. */
static json_t *json_memory(void)
{
    struct mallinfo2 heap = mallinfo2();
    size_t total_bytes = heap.arena + heap.hblkhd;
    size_t used_bytes = heap.uordblks + heap.hblkhd;
    return json_pack("{s:I, s:I, s:I, s:i, s:i}", "rss",
        (json_int_t)process_resident_bytes(getpid()), "heapTotal", (json_int_t)total_bytes,
        "heapUsed", (json_int_t)used_bytes, "external", 0, "arrayBuffers", 0);
}

static double uptime_s(const struct stats *stats)
{
    return (double)(clock_monotonic_ms() - stats->started_monotonic_ms) / 1000;
}

void health_read(struct runtime_health *health, const struct routes_sources *sources)
{
    const struct runtime_health_sources parts = {
        .stats = sources->stats,
        .breaker = sources->breaker,
        .queue = sources->queue,
        .supervisor = sources->supervisor,
        .convex = sources->convex,
    };
    runtime_health_read(health, &parts);
}

/* Why the runtime is degraded; null while it is healthy. */
static json_t *json_health_reason(const struct runtime_health *seen)
{
    struct text reason = {0};
    runtime_health_append_reason(&reason, seen);
    json_t *json = reason.failed ? NULL : json_body_words(reason.data);
    text_fini(&reason);
    return json;
}

/* What is waited for since the board requested an upgrade; null if nothing is. */
static json_t *json_health_upgrade(struct stats *stats)
{
    struct stats_upgrade upgrade;
    stats_upgrade(stats, &upgrade);
    if (upgrade.initiated_at_ms == 0)
        return json_null();
    return json_pack("{s:s, s:o, s:o, s:o, s:I, s:I}", "state", "waiting", "waitingFor",
        json_body_words(upgrade.text), "openclaw", json_body_words(upgrade.openclaw), "runtime",
        json_body_words(upgrade.runtime), "initiatedAt", (json_int_t)upgrade.initiated_at_ms,
        "failsAt", (json_int_t)upgrade.fails_at_ms);
}

void health_append(struct text *body, const struct routes_sources *sources)
{
    struct runtime_health seen;
    struct stats_error errors[STATS_SOURCES];
    health_read(&seen, sources);
    stats_errors(sources->stats, errors);
    json_t *json = json_pack(
        "{s:s, s:f, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:I, s:o, s:o, s:o, s:o, s:b, s:o}",
        "status", runtime_health_is_good(&seen) ? "healthy" : "degraded", "uptime",
        uptime_s(sources->stats), "versions", json_body_versions(sources), "infrastructure",
        json_infrastructure(sources->config), "gateway",
        json_health_gateway(sources, &seen, errors), "delivery",
        json_health_delivery(sources, &seen, errors), "heartbeat", json_heartbeat(sources),
        "agentSync", json_agent_sync(sources, errors), "memory", json_memory(), "timestamp",
        (json_int_t)clock_wall_ms(), "spool", json_health_spool(sources->stats, &seen), "reason",
        json_health_reason(&seen), "backend", json_health_backend(sources, &seen), "upgrade",
        json_health_upgrade(sources->stats), "otherRuntime",
        other_runtime_is_seen(sources->other_runtime, clock_monotonic_ms()), "account",
        json_body_words(sources->config->account_id));
    json_body_append(body, json, JSON_INDENT(2) | JSON_REAL_PRECISION(15));
}

void health_append_version(struct text *body, const struct routes_sources *sources)
{
    const struct config *config = sources->config;
    json_t *json = json_pack("{s:s, s:o, s:s, s:s}", "runtimeServiceVersion",
        config->runtime_version, "openclawVersion", json_openclaw_version(sources), "dropletId",
        config->droplet_id, "region", config->droplet_region);
    json_body_append(body, json, JSON_COMPACT);
}

enum { READY_CHECKS = 3 };

/* One check of a probe. Fixed words, so that they need no escaping as JSON. */
struct probe_check {
    const char *name;
    const char *trouble; /* NULL: passed */
    bool detail;         /* only told, never a reason to fail */
};

static struct probe_check check_process(const struct stats *stats)
{
    static const char *const troubles[] = {
        [PHASE_STARTING] = "starting",
        [PHASE_RUNNING] = NULL,
        [PHASE_STOPPING] = "stopping",
    };
    return (struct probe_check){"process", troubles[atomic_load(&stats->phase)], false};
}

/* A poll proves more than a connection: it needs the account, the token and the functions. */
static struct probe_check check_backend(const struct stats *stats)
{
    const char *trouble = NULL;
    if (atomic_load(&stats->consecutive_poll_failures) > 0)
        trouble = "the last poll failed";
    else if (atomic_load(&stats->last_poll_ms) == 0)
        trouble = "not polled yet";
    return (struct probe_check){"backend", trouble, false};
}

static struct probe_check check_gateway(struct breaker *breaker)
{
    static const char *const troubles[] = {[BREAKER_CLOSED] = NULL,
        [BREAKER_HALF_OPEN] = "being probed",
        [BREAKER_OPEN] = "unavailable"};
    struct breaker_view view;
    breaker_snapshot(breaker, &view);
    return (struct probe_check){"gateway", troubles[view.state], false};
}

static bool all_checks_pass(const struct probe_check *checks, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (checks[i].trouble != NULL && !checks[i].detail)
            return false;
    return true;
}

static void append_failing_names(struct text *body, const struct probe_check *checks, size_t count)
{
    const char *separator = "";
    text_append(body, ",\"failing\":[");
    for (size_t i = 0; i < count; i++) {
        if (checks[i].trouble == NULL || checks[i].detail)
            continue;
        text_printf(body, "%s\"%s\"", separator, checks[i].name);
        separator = ",";
    }
    text_append(body, "]");
}

static void append_check_results(
    struct text *body, const struct probe_check *checks, size_t count, bool verbose)
{
    const char *separator = "";
    text_append(body, ",\"checks\":{");
    for (size_t i = 0; i < count; i++) {
        if ((checks[i].trouble == NULL || checks[i].detail) && !verbose)
            continue;
        text_printf(body, "%s\"%s\":\"%s\"", separator, checks[i].name,
            checks[i].trouble != NULL ? checks[i].trouble : "ok");
        separator = ",";
    }
    text_append(body, "}");
}

static bool append_probe(struct text *body, const char *good, const struct probe_check *checks,
    size_t count, bool verbose)
{
    bool passed = all_checks_pass(checks, count);
    text_printf(body, "{\"status\":\"%s%s\"", passed ? "" : "not ", good);
    if (!passed)
        append_failing_names(body, checks, count);
    if (!passed || verbose)
        append_check_results(body, checks, count, verbose);
    text_append(body, "}\n");
    return passed;
}

bool probes_append_alive(struct text *body, const struct routes_sources *sources, bool verbose)
{
    char stalled[64];
    char silent[WATCH_NAME_BYTES];
    const char *name = watchdog_find_stalled(sources->watchdog);
    if (name == NULL && watch_find_silent(silent))
        name = silent;
    if (name != NULL)
        snprintf(stalled, sizeof stalled, "%s thread stalled", name);
    const struct probe_check checks[] = {{"threads", name != NULL ? stalled : NULL, false}};
    return append_probe(body, "alive", checks, 1, verbose);
}

/* What /health says of the deliveries themselves: sentences of ours, without quotes. */
static struct probe_check check_deliveries(struct text *words, const struct routes_sources *sources)
{
    struct runtime_health health;
    const char *separator = "";
    health_read(&health, sources);
    for (int trouble = TROUBLE_NO_DELIVERY; trouble < TROUBLE_COUNT; trouble++) {
        if (!runtime_health_has(&health, (enum health_trouble)trouble))
            continue;
        text_append(words, separator);
        runtime_health_append_sentence(words, &health, (enum health_trouble)trouble);
        separator = "; ";
    }
    return (struct probe_check){"deliveries", words->data, .detail = true};
}

bool probes_append_ready(struct text *body, const struct routes_sources *sources, bool verbose)
{
    struct text words = {0};
    struct probe_check checks[READY_CHECKS + 1] = {
        check_process(sources->stats),
        check_backend(sources->stats),
        check_gateway(sources->breaker),
    };
    if (verbose)
        checks[READY_CHECKS] = check_deliveries(&words, sources);
    bool ready = append_probe(body, "ready", checks, READY_CHECKS + (verbose ? 1 : 0), verbose);
    text_fini(&words);
    return ready;
}
