#include "serve/health.h"

#include <jansson.h>
#include <malloc.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "base/process.h"
#include "base/sync.h"
#include "delivery/breaker_control.h"
#include "serve/routes.h"

/* What the status is judged by, read once so that the rest of the answer agrees with it. */
struct snapshot {
    bool gateway_running;
    bool delivery_running;
    bool spool_broken;
    unsigned poll_failures;
    long long last_poll_ms; /* wall clock, 0: none yet */
    struct breaker_view breaker;
    bool has_process;
    struct supervisor_status process;
};

static void look(struct snapshot *seen, const struct health_sources *sources)
{
    struct stats *stats = sources->stats;
    seen->gateway_running = atomic_load(&stats->gateway_running);
    seen->delivery_running = atomic_load(&stats->delivery_running);
    seen->spool_broken = atomic_load(&stats->spool_broken);
    seen->poll_failures = atomic_load(&stats->consecutive_poll_failures);
    seen->last_poll_ms = atomic_load(&stats->last_poll_ms);
    breaker_snapshot(sources->breaker, &seen->breaker);
    seen->has_process = sources->process != NULL;
    if (seen->has_process)
        supervisor_status(sources->process, &seen->process);
}

static bool is_healthy(const struct snapshot *seen)
{
    return seen->gateway_running && seen->delivery_running &&
           runtime_health_from(
               &seen->breaker, seen->last_poll_ms, seen->poll_failures, seen->spool_broken) &&
           (!seen->has_process || seen->process.accepting);
}

/* Wall-clock milliseconds; null for never. */
static json_t *json_time(int64_t at_ms)
{
    return at_ms == 0 ? json_null() : json_integer(at_ms);
}

static json_t *json_error(const struct stats_error *error)
{
    return json_body_words(error->at_ms != 0 ? error->text : NULL);
}

static json_t *openclaw_version(const struct health_sources *sources)
{
    char version[VERSION_PROBE_BYTES];
    bool known = version_probe_get(sources->version, version, sizeof version);
    return json_string(known ? version : VERSION_PROBE_UNKNOWN);
}

static json_t *describe_versions(const struct health_sources *sources)
{
    return json_pack("{s:s, s:o}", "runtimeService", sources->config->runtime_version, "openclaw",
        openclaw_version(sources));
}

static json_t *describe_infrastructure(const struct config *config)
{
    return json_pack("{s:s, s:s, s:s}", "dropletId", config->droplet_id, "ipAddress",
        config->droplet_ip, "region", config->droplet_region);
}

static json_t *describe_exit(const struct supervisor_status *process)
{
    const struct child_exit *last = &process->last_exit;
    if (process->last_exit_at_ms == 0)
        return json_null();
    return json_pack("{s:o, s:o, s:I}", "code",
        last->signal == 0 ? json_integer(last->code) : json_null(), "signal",
        last->signal != 0 ? json_integer(last->signal) : json_null(), "at",
        (json_int_t)process->last_exit_at_ms);
}

/* Null when the gateway is not our child. */
static json_t *describe_process(const struct snapshot *seen)
{
    const struct supervisor_status *process = &seen->process;
    if (!seen->has_process)
        return json_null();
    return json_pack("{s:o, s:I, s:o, s:b}", "pid",
        process->pid != 0 ? json_integer(process->pid) : json_null(), "restarts",
        (json_int_t)process->restarts, "lastExit", describe_exit(process), "accepting",
        process->accepting);
}

static json_t *describe_gateway(const struct health_sources *sources, const struct snapshot *seen,
    const struct stats_errors *errors)
{
    struct stats *stats = sources->stats;
    return json_pack("{s:b, s:I, s:o, s:o, s:s, s:o, s:b, s:o}", "running", seen->gateway_running,
        "sessions", (json_int_t)wake_schedule_count(sources->schedule), "lastSendAt",
        json_time(atomic_load(&stats->last_send_ms)), "lastSendError", json_error(&errors->send),
        "state", breaker_view_word(&seen->breaker), "reason", json_body_words(seen->breaker.reason),
        "heldByHand", atomic_load(&stats->held_by_operator), "process", describe_process(seen));
}

static json_t *describe_delivery(
    struct stats *stats, const struct snapshot *seen, const struct stats_errors *errors)
{
    return json_pack("{s:b, s:o, s:I, s:I, s:I, s:o, s:o}", "running", seen->delivery_running,
        "lastDelivery", json_time(seen->last_poll_ms), "delivered",
        (json_int_t)metrics_total(&stats->metrics, METRIC_NOTIFICATIONS_DELIVERED), "failed",
        (json_int_t)metrics_total(&stats->metrics, METRIC_NOTIFICATIONS_FAILED),
        "consecutiveFailures", (json_int_t)seen->poll_failures, "lastErrorAt",
        json_time(errors->delivery.at_ms), "lastErrorMessage", json_error(&errors->delivery));
}

static json_t *describe_spool(struct stats *stats, const struct snapshot *seen)
{
    return json_pack("{s:b, s:I, s:I}", "broken", seen->spool_broken, "dead",
        (json_int_t)atomic_load(&stats->dead_files), "deadBytes",
        (json_int_t)atomic_load(&stats->dead_bytes));
}

static json_t *describe_heartbeat(const struct health_sources *sources)
{
    return json_pack("{s:b, s:I}", "running", atomic_load(&sources->stats->heartbeat_running),
        "scheduledAgents", (json_int_t)wake_schedule_count(sources->schedule));
}

static json_t *describe_agent_sync(
    const struct health_sources *sources, const struct stats_errors *errors)
{
    struct stats *stats = sources->stats;
    return json_pack("{s:b, s:o, s:o, s:I, s:I, s:o}", "running", atomic_load(&stats->sync_running),
        "lastSyncAt", json_time(atomic_load(&stats->last_sync_ms)), "lastError",
        json_error(&errors->sync), "addedCount", (json_int_t)atomic_load(&stats->sync_added),
        "removedCount", (json_int_t)atomic_load(&stats->sync_removed), "unknownToGateway",
        gateway_roster_missing(sources->roster));
}

/* The heap is the allocator's: what it has from the kernel, and what of that is handed out. */
static json_t *describe_memory(void)
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

bool health_is_good(const struct health_sources *sources)
{
    struct snapshot seen;
    look(&seen, sources);
    return is_healthy(&seen);
}

void health_append(struct text *body, const struct health_sources *sources)
{
    struct snapshot seen;
    struct stats_errors errors;
    look(&seen, sources);
    stats_errors(sources->stats, &errors);
    json_t *json = json_pack("{s:s, s:f, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:I, s:o}", "status",
        is_healthy(&seen) ? "healthy" : "degraded", "uptime", uptime_s(sources->stats), "versions",
        describe_versions(sources), "infrastructure", describe_infrastructure(sources->config),
        "gateway", describe_gateway(sources, &seen, &errors), "delivery",
        describe_delivery(sources->stats, &seen, &errors), "heartbeat", describe_heartbeat(sources),
        "agentSync", describe_agent_sync(sources, &errors), "memory", describe_memory(),
        "timestamp", (json_int_t)clock_wall_ms(), "spool", describe_spool(sources->stats, &seen));
    json_body_append(body, json, JSON_INDENT(2) | JSON_REAL_PRECISION(15));
}

void health_append_version(struct text *body, const struct health_sources *sources)
{
    const struct config *config = sources->config;
    json_t *json = json_pack("{s:s, s:o, s:s, s:s}", "runtimeServiceVersion",
        config->runtime_version, "openclawVersion", openclaw_version(sources), "dropletId",
        config->droplet_id, "region", config->droplet_region);
    json_body_append(body, json, JSON_COMPACT);
}

void health_handle(
    void *context, const struct http_server_request *request, struct http_server_reply *reply)
{
    (void)request;
    health_append(&reply->body, context);
}

void health_handle_version(
    void *context, const struct http_server_request *request, struct http_server_reply *reply)
{
    (void)request;
    health_append_version(&reply->body, context);
}

enum { MAX_CHECKS = 3, UNAVAILABLE = 503 };

struct check {
    const char *name;
    const char *trouble; /* fixed words; NULL: passed */
};

static struct check check_process(const struct stats *stats)
{
    static const char *const troubles[] = {
        [PHASE_STARTING] = "starting",
        [PHASE_RUNNING] = NULL,
        [PHASE_STOPPING] = "stopping",
    };
    return (struct check){"process", troubles[atomic_load(&stats->phase)]};
}

static struct check check_backend(const struct stats *stats)
{
    const char *trouble = NULL;
    if (atomic_load(&stats->consecutive_poll_failures) > 0)
        trouble = "the last poll failed";
    else if (atomic_load(&stats->last_poll_ms) == 0)
        trouble = "not polled yet";
    return (struct check){"backend", trouble};
}

static struct check check_gateway(const struct breaker *breaker)
{
    const char *state = breaker_word(breaker);
    const char *trouble = NULL;
    if (strcmp(state, "shut") == 0)
        trouble = "it lets nobody in";
    else if (strcmp(state, "suspect") == 0)
        trouble = "being probed";
    return (struct check){"gateway", trouble};
}

static bool all_pass(const struct check *checks, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (checks[i].trouble != NULL)
            return false;
    return true;
}

static void append_failing(struct text *body, const struct check *checks, size_t count)
{
    const char *separator = "";
    text_append(body, ",\"failing\":[");
    for (size_t i = 0; i < count; i++) {
        if (checks[i].trouble == NULL)
            continue;
        text_printf(body, "%s\"%s\"", separator, checks[i].name);
        separator = ",";
    }
    text_append(body, "]");
}

static void append_checks(struct text *body, const struct check *checks, size_t count, bool verbose)
{
    const char *separator = "";
    text_append(body, ",\"checks\":{");
    for (size_t i = 0; i < count; i++) {
        if (checks[i].trouble == NULL && !verbose)
            continue;
        text_printf(body, "%s\"%s\":\"%s\"", separator, checks[i].name,
            checks[i].trouble != NULL ? checks[i].trouble : "ok");
        separator = ",";
    }
    text_append(body, "}");
}

static bool append_answer(
    struct text *body, const char *good, const struct check *checks, size_t count, bool verbose)
{
    bool passed = all_pass(checks, count);
    text_printf(body, "{\"status\":\"%s%s\"", passed ? "" : "not ", good);
    if (!passed)
        append_failing(body, checks, count);
    if (!passed || verbose)
        append_checks(body, checks, count, verbose);
    text_append(body, "}\n");
    return passed;
}

bool probes_append_alive(struct text *body, const struct probe_sources *sources, bool verbose)
{
    char stalled[64];
    const char *name = watchdog_find_stalled(sources->watchdog);
    if (name != NULL)
        snprintf(stalled, sizeof stalled, "%s thread stalled", name);
    const struct check checks[] = {{"threads", name != NULL ? stalled : NULL}};
    return append_answer(body, "alive", checks, 1, verbose);
}

bool probes_append_ready(struct text *body, const struct probe_sources *sources, bool verbose)
{
    const struct check checks[MAX_CHECKS] = {
        check_process(sources->stats),
        check_backend(sources->stats),
        check_gateway(sources->breaker),
    };
    return append_answer(body, "ready", checks, MAX_CHECKS, verbose);
}

void probes_handle_alive(
    void *context, const struct http_server_request *request, struct http_server_reply *reply)
{
    if (!probes_append_alive(&reply->body, context, request->verbose))
        reply->status = UNAVAILABLE;
}

void probes_handle_ready(
    void *context, const struct http_server_request *request, struct http_server_reply *reply)
{
    if (!probes_append_ready(&reply->body, context, request->verbose))
        reply->status = UNAVAILABLE;
}
