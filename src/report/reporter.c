/*
 * Each round of mc-report makes up to five calls to the backend, in this order: the result of an
 * upgrade (upgrade.c), the health report, and the checks for restart and upgrade requests. A round
 * whose report fails is repeated with backoff and skips the checks.
 *
 * The first report waits until there is something to report, so that the board does not show
 * "degraded" after every start. Later rounds start every HEALTH_CHECK_INTERVAL, or earlier when
 * health has changed: stats_changed pokes the loop, and the thread compares the current state with
 * the one it reported last. CHANGE_GAP_MS bounds how often a flapping state is reported.
 *
 * A v1 backend takes a runtime offline 90 s after its last report, with all its agents. So there
 * rounds are at most 30 s apart, however long the interval is, a report waits for its answer no
 * longer than that, and a backend that turns out to be v1 gets a report at once. One that is lost
 * can then be repeated in time.
 *
 * reporter_report_offline runs on the main thread at the end of the shutdown, with its own HTTP
 * client and without the abort flag, which is set by then.
 */
#include "report/reporter.h"

#include <stdlib.h>
#include <string.h>

#include "backend/service.h"
#include "base/log.h"
#include "base/sync.h"
#include "delivery/runtime_health.h"
#include "report/upgrade.h"

enum {
    FIRST_REPORT_TIMEOUT_MS = 2000, /* for the first probe and poll to end */
    VERSION_RETRY_MS = 100,         /* while an upgrade's result waits for our version */
    CHANGE_GAP_MS = 1000,           /* between the starts of two rounds */
    OFFLINE_TIMEOUT_MS = 1000,
    V1_INTERVAL_MS = 30 * 1000, /* at most, between the starts of two rounds */
    V1_TIMEOUT_MS = 20 * 1000,  /* of a report */
};

static const char component[] = "Status";

struct reporter {
    struct reporter_parts parts;
    struct loop loop;
    struct http_client *client;

    /* Used only by the thread. */
    struct trace trace; /* of the current round */
    struct upgrade_state upgrade;
    bool reported;
    bool reported_good; /* in the last report */
    bool was_v1;        /* the backend, when the current round began */
    unsigned failures;  /* consecutive */
};

static struct service reporter_service(const struct reporter *reporter)
{
    return (struct service){.convex = reporter->parts.convex,
        .client = reporter->client,
        .trace = &reporter->trace,
        .for_loop = true};
}

/* In doubt as before: reports must not stop for it. */
static bool is_backend_v1(const struct reporter *reporter)
{
    return convex_likely_version(reporter->parts.convex) == BACKEND_V1;
}

int64_t reporter_interval_ms(int64_t configured_ms, bool is_v1)
{
    return is_v1 && configured_ms > V1_INTERVAL_MS ? V1_INTERVAL_MS : configured_ms;
}

static bool is_health_good(const struct reporter *reporter)
{
    const struct reporter_parts *parts = &reporter->parts;
    const struct runtime_health_sources sources = {
        .stats = parts->stats,
        .breaker = parts->breaker,
        .queue = parts->queue,
        .supervisor = parts->supervisor,
        .convex = parts->convex,
    };
    struct runtime_health health;
    runtime_health_read(&health, &sources);
    return runtime_health_is_good(&health);
}

static bool send_report(struct reporter *reporter, const struct service *for_round)
{
    struct service service = *for_round;
    service.timeout_ms = reporter->was_v1 ? V1_TIMEOUT_MS : 0;
    char openclaw[VERSION_BYTES];
    bool known = version_probe_get_any(
        reporter->parts.version, reporter->parts.roster, openclaw, sizeof openclaw);
    bool good = is_health_good(reporter);
    int64_t now_ms = clock_wall_ms();
    struct error error;
    enum convex_outcome outcome = service_report_status(&service, good ? "online" : "degraded",
        reporter->parts.config, known ? openclaw : NULL, &error);
    if (outcome == CONVEX_SUCCESS) {
        reporter->reported = true;
        reporter->reported_good = good;
        atomic_store(&reporter->parts.stats->reported_good, good);
        reporter->failures = 0;
        atomic_store(&reporter->parts.stats->last_report_ms, now_ms);
    } else if (outcome != CONVEX_ABORTED) {
        reporter->failures++;
        stats_report_failed(reporter->parts.stats, error.text);
        log_error(component, "failed to report health: %s", error.text);
    }
    return outcome == CONVEX_SUCCESS;
}

static int64_t retry_delay_ms(const struct reporter *reporter)
{
    const struct config *config = reporter->parts.config;
    if (reporter->upgrade.awaits_version)
        return VERSION_RETRY_MS;
    return backoff_ms(reporter->failures + 1, config->delivery_backoff_base_ms,
        config->delivery_backoff_max_ms, backoff_random_unit());
}

/* Returns the delay from the start of this round to the next, in milliseconds. */
static int64_t run_report_round(struct reporter *reporter)
{
    const struct service service = reporter_service(reporter);
    reporter->was_v1 = is_backend_v1(reporter);
    int64_t interval_ms =
        reporter_interval_ms(reporter->parts.config->health_check_interval_ms, reporter->was_v1);
    trace_begin(&reporter->trace);
    if (!upgrade_report_result(&reporter->upgrade, &service) || !send_report(reporter, &service)) {
        int64_t delay_ms = retry_delay_ms(reporter);
        return delay_ms < interval_ms ? delay_ms : interval_ms;
    }
    upgrade_check_requests(&reporter->upgrade, &service);
    return interval_ms;
}

static bool has_news(const struct reporter *reporter)
{
    if (!reporter->was_v1 && is_backend_v1(reporter))
        return true;
    return reporter->reported && reporter->reported_good != is_health_good(reporter);
}

/* False when the loop has to stop. */
static bool wait_for_next_round(struct reporter *reporter, int64_t began_ms, int64_t until_ms)
{
    while (loop_wait(&reporter->loop, until_ms, began_ms + CHANGE_GAP_MS))
        if (clock_monotonic_ms() >= until_ms || has_news(reporter))
            return true;
    return false;
}

static bool wait_until_health_is_known(struct reporter *reporter)
{
    int64_t until_ms = clock_monotonic_ms() + FIRST_REPORT_TIMEOUT_MS;
    while (!runtime_health_is_known(reporter->parts.stats, reporter->parts.breaker) &&
           clock_monotonic_ms() < until_ms)
        if (!loop_wait(&reporter->loop, until_ms, 0))
            return false;
    return true;
}

static void *reporter_thread(void *owner)
{
    struct reporter *reporter = owner;
    upgrade_begin(&reporter->upgrade, &reporter->parts);
    if (!wait_until_health_is_known(reporter))
        return NULL;
    int64_t began_ms;
    int64_t delay_ms;
    do {
        began_ms = clock_monotonic_ms();
        delay_ms = run_report_round(reporter);
    } while (!reporter->upgrade.stop_requested &&
             wait_for_next_round(reporter, began_ms, began_ms + delay_ms));
    return NULL;
}

int reporter_create(
    struct reporter **reporter, const struct reporter_parts *parts, struct error *error)
{
    struct reporter *created = calloc(1, sizeof *created);
    if (created == NULL)
        return error_set(error, ERROR_NO_MEMORY, "out of memory for the health reporter");
    created->parts = *parts;
    int result = http_client_create(&created->client, parts->store, parts->abort, error);
    if (result != 0) {
        free(created);
        return result;
    }
    loop_init(&created->loop, "mc-report", reporter_thread, created);
    *reporter = created;
    return 0;
}

void reporter_destroy(struct reporter *reporter)
{
    if (reporter == NULL)
        return;
    loop_fini(&reporter->loop);
    http_client_destroy(reporter->client);
    free(reporter);
}

struct loop *reporter_loop(struct reporter *reporter)
{
    return &reporter->loop;
}

void reporter_report_offline(struct convex *convex, struct ca_store *store)
{
    static const atomic_bool never;
    struct http_client *client;
    struct trace trace;
    struct error error;
    if (http_client_create(&client, store, &never, &error) != 0)
        return;
    trace_begin(&trace);
    const struct service service = {
        .convex = convex, .client = client, .trace = &trace, .for_loop = true};
    convex_set_timeout(convex, OFFLINE_TIMEOUT_MS);
    if (service_report_status(&service, "offline", NULL, NULL, &error) != CONVEX_SUCCESS)
        log_warn(component, "failed to report as offline: %s", error.text);
    http_client_destroy(client);
}
