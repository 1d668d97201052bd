#include "loops/reporter.h"

#include <stdlib.h>
#include <string.h>

#include "base/backoff.h"
#include "base/clock.h"
#include "base/log.h"
#include "loops/loop.h"
#include "loops/upgrade_memory.h"
#include "remote/service_runtime.h"
#include "work/condition.h"

enum {
    FIRST_REPORT_MS = 2000, /* that the first one waits for something to report */
    CHANGE_GAP_MS = 1000,   /* between two reports, however often the condition changes */
    OFFLINE_MS = 1000,
    MOST_TELLS = 5, /* tries to tell a result, before reports go on without it */
};

static const char component[] = "Status";
static const char upgrade_component[] = "Upgrade";

struct reporter {
    struct reporter_parts parts;
    struct loop loop;

    /* The thread's own. */
    struct trace trace; /* of the current round */
    struct upgrade_memory memory;
    unsigned tells;   /* tries so far */
    bool told_result; /* what became of an upgrade that an earlier process acted on */
    bool reported;
    bool last_good;       /* the condition as it was reported last */
    unsigned failures;    /* reports in a row */
    int64_t said_upgrade; /* initiatedAt of the last one that was only logged */
};

int reporter_create(
    struct reporter **reporter, const struct reporter_parts *parts, struct error *error)
{
    struct reporter *created = calloc(1, sizeof *created);
    if (created == NULL)
        return error_set(error, ERROR_NO_MEMORY, "no memory for the health reporter");
    created->parts = *parts;
    int result = loop_open(&created->loop, parts->store, parts->abort, error);
    if (result != 0) {
        free(created);
        return result;
    }
    *reporter = created;
    return 0;
}

void reporter_destroy(struct reporter *reporter)
{
    if (reporter == NULL)
        return;
    loop_close(&reporter->loop);
    free(reporter);
}

static struct service service_of(const struct reporter *reporter)
{
    return (struct service){.convex = reporter->parts.convex,
        .client = reporter->loop.client,
        .trace = &reporter->trace,
        .for_loop = true};
}

/* Our OpenClaw version; false while it is being found out. "unknown" counts as found. */
static bool know_openclaw(const struct reporter *reporter, char version[static VERSION_BYTES])
{
    version[0] = '\0';
    return version_probe_get(reporter->parts.version, version, VERSION_BYTES);
}

static bool acts_on_requests(const struct reporter *reporter)
{
    return strcmp(reporter->parts.config->upgrade_mode, "exit") == 0;
}

static bool is_reached(
    const struct reporter *reporter, const struct upgrade *upgrade, const char *openclaw)
{
    return strcmp(upgrade->openclaw, openclaw) == 0 &&
           strcmp(upgrade->runtime, reporter->parts.config->runtime_version) == 0;
}

static enum convex_outcome record_result(const struct reporter *reporter,
    const struct upgrade *upgrade, const char *openclaw, struct error *error)
{
    const struct service service = service_of(reporter);
    bool reached = is_reached(reporter, upgrade, openclaw);
    const struct upgrade_result result = {
        .success = reached,
        .from_openclaw = reporter->memory.from_openclaw,
        .to_openclaw = upgrade->openclaw,
        .from_runtime = reporter->memory.from_runtime,
        .to_runtime = upgrade->runtime,
        .duration_ms = clock_wall_ms() - upgrade->initiated_at_ms,
        .error = reached ? NULL : "after the restart the versions were not those asked for",
    };
    log_event(reached ? LOG_LEVEL_INFO : LOG_LEVEL_ERROR, upgrade_component,
        LOG_FIELDS(LOG_TEXT("openclaw", openclaw),
            LOG_TEXT("runtime", reporter->parts.config->runtime_version)),
        reached ? "The upgrade has succeeded" : "The upgrade to OpenClaw %s, runtime %s has failed",
        upgrade->openclaw, upgrade->runtime);
    return service_record_upgrade(&service, &result, error);
}

/*
 * Before the first report, since that may clear the request: tells what became of the upgrade that
 * an earlier process ended for. True once that is done or there is nothing to tell.
 */
static bool tell_result(struct reporter *reporter)
{
    const struct service service = service_of(reporter);
    char openclaw[VERSION_BYTES];
    struct upgrade upgrade;
    struct error error;
    if (reporter->told_result || reporter->memory.initiated_at_ms == 0)
        return true;
    if (!know_openclaw(reporter, openclaw))
        return false;
    enum convex_outcome outcome = service_pending_upgrade(&service, &upgrade, &error);
    /* A result whose answer was lost is told again only if the request is still there. */
    if (outcome == CONVEX_SUCCESS && upgrade.initiated_at_ms == reporter->memory.initiated_at_ms)
        outcome = record_result(reporter, &upgrade, openclaw, &error);
    if (outcome != CONVEX_SUCCESS && outcome != CONVEX_ABORTED)
        log_warn(upgrade_component, "The result could not be told: %s", error.text);
    reporter->tells++;
    reporter->told_result = outcome == CONVEX_SUCCESS || outcome == CONVEX_FUNCTION_ERROR ||
                            outcome == CONVEX_REJECTED || reporter->tells == MOST_TELLS;
    return reporter->told_result;
}

static bool report(struct reporter *reporter)
{
    const struct config *config = reporter->parts.config;
    const struct service service = service_of(reporter);
    char openclaw[VERSION_BYTES];
    bool known = know_openclaw(reporter, openclaw) && strcmp(openclaw, VERSION_PROBE_UNKNOWN) != 0;
    bool good = condition_is_good(reporter->parts.stats, reporter->parts.gate);
    const struct runtime_report report = {
        .droplet_id = config->droplet_id,
        .ip_address = config->droplet_ip,
        .region = config->droplet_region,
        .openclaw_version = known ? openclaw : NULL,
        .runtime_version = config->runtime_version,
        .at_ms = clock_wall_ms(),
    };
    struct error error;
    enum convex_outcome outcome =
        service_report_status(&service, good ? "online" : "degraded", &report, &error);
    if (outcome == CONVEX_SUCCESS) {
        reporter->reported = true;
        reporter->last_good = good;
        reporter->failures = 0;
        atomic_store(&reporter->parts.stats->last_report_ms, report.at_ms);
    } else if (outcome != CONVEX_ABORTED) {
        reporter->failures++;
        log_error(component, "Failed to update Convex status: %s", error.text);
    }
    return outcome == CONVEX_SUCCESS;
}

static void look_for_restart(struct reporter *reporter)
{
    const struct service service = service_of(reporter);
    bool requested = false;
    struct error error;
    enum convex_outcome outcome = service_take_restart_request(&service, &requested, &error);
    if (outcome != CONVEX_SUCCESS && outcome != CONVEX_ABORTED)
        log_warn(component, "Failed to ask for restart requests: %s", error.text);
    if (outcome != CONVEX_SUCCESS || !requested)
        return;
    if (!acts_on_requests(reporter)) {
        log_warn(
            component, "A restart is asked for; UPGRADE_MODE is not \"exit\", so it is ignored");
        return;
    }
    log_info(component, "A restart is asked for: stopping, so that the supervisor starts anew");
    reporter->parts.ask_for_stop(reporter->parts.stop_context);
}

/* Remembered before the stop: a process that comes back unchanged must not stop for it again. */
static void stop_for(struct reporter *reporter, const struct upgrade *upgrade, const char *openclaw)
{
    const struct config *config = reporter->parts.config;
    struct upgrade_memory memory = {.initiated_at_ms = upgrade->initiated_at_ms};
    struct error error;
    text_copy(memory.from_openclaw, sizeof memory.from_openclaw, openclaw);
    text_copy(memory.from_runtime, sizeof memory.from_runtime, config->runtime_version);
    if (upgrade_memory_save(config->state_dir, &memory, &error) != 0) {
        log_error(upgrade_component,
            "An upgrade is asked for, but it cannot be noted that it was acted on, so it is not: "
            "%s",
            error.text);
        return;
    }
    reporter->memory = memory;
    log_info(upgrade_component, "Upgrade asked for: OpenClaw %s -> %s, runtime %s -> %s; stopping",
        openclaw, upgrade->openclaw, config->runtime_version, upgrade->runtime);
    reporter->parts.ask_for_stop(reporter->parts.stop_context);
}

static void weigh_upgrade(struct reporter *reporter, const struct upgrade *upgrade)
{
    char openclaw[VERSION_BYTES];
    if (upgrade->initiated_at_ms == 0 || strcmp(upgrade->strategy, "immediate") != 0 ||
        !know_openclaw(reporter, openclaw) || is_reached(reporter, upgrade, openclaw) ||
        upgrade->initiated_at_ms == reporter->memory.initiated_at_ms)
        return;
    if (acts_on_requests(reporter)) {
        stop_for(reporter, upgrade, openclaw);
    } else if (reporter->said_upgrade != upgrade->initiated_at_ms) {
        reporter->said_upgrade = upgrade->initiated_at_ms;
        log_warn(upgrade_component,
            "Upgrade asked for: OpenClaw %s, runtime %s; UPGRADE_MODE is not \"exit\", so it is "
            "ignored",
            upgrade->openclaw, upgrade->runtime);
    }
}

static void look_for_upgrade(struct reporter *reporter)
{
    const struct service service = service_of(reporter);
    struct upgrade upgrade;
    struct error error;
    enum convex_outcome outcome = service_pending_upgrade(&service, &upgrade, &error);
    if (outcome == CONVEX_SUCCESS)
        weigh_upgrade(reporter, &upgrade);
    else if (outcome != CONVEX_ABORTED)
        log_warn(upgrade_component, "Failed to ask for upgrades: %s", error.text);
}

/* One round; returns how long to wait before the next, in milliseconds. */
static int64_t report_once(struct reporter *reporter)
{
    const struct config *config = reporter->parts.config;
    int64_t interval_ms = config->health_check_interval_ms;
    trace_begin(&reporter->trace);
    if (!tell_result(reporter) || !report(reporter)) {
        int64_t delay_ms = backoff_ms(reporter->failures + 1, config->delivery_backoff_base_ms,
            config->delivery_backoff_max_ms, backoff_random_unit());
        return delay_ms < interval_ms ? delay_ms : interval_ms;
    }
    look_for_restart(reporter);
    look_for_upgrade(reporter);
    return interval_ms;
}

static bool is_changed(const struct reporter *reporter)
{
    const struct reporter_parts *parts = &reporter->parts;
    return reporter->reported &&
           reporter->last_good != condition_is_good(parts->stats, parts->gate);
}

/* False when the loop has to stop. A poke without a change is no reason to report. */
static bool wait_for_turn(struct reporter *reporter, int64_t began_ms, int64_t until_ms)
{
    while (loop_wait(&reporter->loop, until_ms, began_ms + CHANGE_GAP_MS))
        if (clock_monotonic_ms() >= until_ms || is_changed(reporter))
            return true;
    return false;
}

static bool wait_for_something_to_report(struct reporter *reporter)
{
    const struct reporter_parts *parts = &reporter->parts;
    int64_t until_ms = clock_monotonic_ms() + FIRST_REPORT_MS;
    while (!condition_is_known(parts->stats, parts->gate) && clock_monotonic_ms() < until_ms)
        if (!loop_wait(&reporter->loop, until_ms, 0))
            return false;
    return true;
}

static void *run(void *argument)
{
    struct reporter *reporter = argument;
    upgrade_memory_load(reporter->parts.config->state_dir, &reporter->memory);
    if (!wait_for_something_to_report(reporter))
        return NULL;
    int64_t began_ms;
    int64_t delay_ms;
    do {
        began_ms = clock_monotonic_ms();
        delay_ms = report_once(reporter);
    } while (wait_for_turn(reporter, began_ms, began_ms + delay_ms));
    return NULL;
}

int reporter_start(struct reporter *reporter, struct error *error)
{
    return loop_start(&reporter->loop, "mc-report", run, reporter, error);
}

void reporter_poke(void *reporter)
{
    loop_poke(&((struct reporter *)reporter)->loop);
}

bool reporter_is_alive(struct reporter *reporter, int64_t now_ms)
{
    return loop_is_alive(&reporter->loop, now_ms);
}

void reporter_stop(struct reporter *reporter)
{
    loop_end(&reporter->loop);
}

void reporter_say_offline(struct convex *convex, struct ca_store *store)
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
    convex_set_timeout(convex, OFFLINE_MS);
    if (service_report_status(&service, "offline", NULL, &error) != CONVEX_SUCCESS)
        log_warn(component, "Failed to update offline status: %s", error.text);
    http_client_destroy(client);
}
