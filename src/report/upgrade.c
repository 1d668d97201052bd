/*
 * The backend cannot install anything; it can only ask us to shut down with status 0. Whatever
 * installs versions on the machine (docs/operations.md, Upgrades) learns of it from a file:
 *
 *     old process: request found --> save request and record --> shut down
 *     installer:   take the request --> install --> leave a result
 *     new process: load the record --> judge the request, each round until it has ended
 *
 * Installing takes minutes, while the supervisor starts us again after seconds. So a process whose
 * versions are not the requested ones waits, and publishes what for. The request ends
 *
 *     success        as soon as the versions of a process match, whoever installed them
 *     rolled_back    when the installer's result says so, with its reason
 *     failed         UPGRADE_LIFE_MS after it was initiated, before the backend gives it up
 *
 * A version may start, be recorded as a success, and still be replaced by its installer, which asks
 * more of it than that it starts. Then the history gets rolled_back after the success.
 *
 * An installation that failed without changing anything is only shown until then: it can be
 * repeated. A target that is empty or "unknown" is met by any version, and one for OpenClaw by an
 * OpenClaw whose version cannot be known. The backend itself ends a request whose targets it reads
 * word for word in a health report, so a request is judged before the first one, and a result is
 * recorded only while the backend still has the request.
 *
 * The record makes this safe. It is on disk before the shutdown, and a request with the same
 * initiatedAt is never acted on again; otherwise a supervisor that starts the same image again
 * would shut down for the same request forever. For the same reason a request is ignored if the
 * record cannot be saved. The record is never deleted: one request has one result.
 *
 * A backend that answers a result with an error is not sent it again. A failing connection holds
 * the first report back for MAX_REPORT_ATTEMPTS attempts; after that each round repeats it. The
 * process that shuts down judges nothing, since its versions are still the old ones.
 *
 * Restart requests need no record, since reading one removes it at the backend.
 */
#include "report/upgrade.h"

#include <string.h>
#include <sys/eventfd.h>
#include <time.h>

#include "backend/backend_clock.h"
#include "base/log.h"
#include "base/sync.h"
#include "base/text.h"

enum { MAX_REPORT_ATTEMPTS = 5 }; /* before the first report, which then goes on without it */

static const char component[] = "Upgrade";
static const char restart_component[] = "Status";

void upgrade_begin(struct upgrade_state *state, const struct reporter_parts *parts)
{
    *state = (struct upgrade_state){.parts = parts};
    upgrade_record_load(parts->config->state_dir, &state->acted_on);
}

/* False while the version is being detected; "unknown" is a result. */
static bool get_openclaw_version(
    const struct upgrade_state *state, char version[static VERSION_BYTES])
{
    version[0] = '\0';
    return version_probe_get_any(
        state->parts->version, state->parts->roster, version, VERSION_BYTES);
}

static bool obeys_requests(const struct upgrade_state *state)
{
    return strcmp(state->parts->config->upgrade_mode, "exit") == 0;
}

/* Whether a target demands a version at all. */
static bool names_version(const char *target)
{
    return target[0] != '\0' && strcmp(target, VERSION_PROBE_UNKNOWN) != 0;
}

/* Whether no one will ever say which version it is. A gateway that is down may say it later. */
static bool is_openclaw_unknowable(const struct upgrade_state *state, const char *openclaw)
{
    struct breaker_view view;
    if (strcmp(openclaw, VERSION_PROBE_UNKNOWN) != 0)
        return false;
    breaker_snapshot(state->parts->breaker, &view);
    return view.state == BREAKER_CLOSED || state->parts->config->gateway_url[0] == '\0';
}

static bool openclaw_matches(
    const struct upgrade_state *state, const struct upgrade *upgrade, const char *openclaw)
{
    return !names_version(upgrade->openclaw) || strcmp(upgrade->openclaw, openclaw) == 0 ||
           is_openclaw_unknowable(state, openclaw);
}

static bool runtime_matches(const struct upgrade_state *state, const struct upgrade *upgrade)
{
    return !names_version(upgrade->runtime) ||
           strcmp(upgrade->runtime, state->parts->config->runtime_version) == 0;
}

static bool has_requested_versions(
    const struct upgrade_state *state, const struct upgrade *upgrade, const char *openclaw)
{
    return runtime_matches(state, upgrade) && openclaw_matches(state, upgrade, openclaw);
}

/* By the backend's clock, which wrote initiatedAt. */
static int64_t upgrade_age_ms(const struct upgrade_state *state, const struct upgrade *upgrade)
{
    return backend_clock_exact_ms(convex_clock(state->parts->convex)) - upgrade->initiated_at_ms;
}

static bool is_upgrade_overdue(const struct upgrade_state *state, const struct upgrade *upgrade)
{
    return upgrade_age_ms(state, upgrade) >= UPGRADE_LIFE_MS;
}

/* "OpenClaw 2 (now 1) and runtime 4 (now 3)": the targets that are not met. */
static void describe_missing(struct text *text, const struct upgrade_state *state,
    const struct upgrade *upgrade, const char *openclaw)
{
    bool lacks_openclaw = !openclaw_matches(state, upgrade, openclaw);
    if (lacks_openclaw)
        text_printf(text, "OpenClaw %s (now %s)", upgrade->openclaw, openclaw);
    if (!runtime_matches(state, upgrade))
        text_printf(text, "%sruntime %s (now %s)", lacks_openclaw ? " and " : "", upgrade->runtime,
            state->parts->config->runtime_version);
}

/* The request that was acted on has its result, or is gone. */
static void end_acted_on(struct upgrade_state *state)
{
    static const struct stats_upgrade none;
    state->acted_on_ended = true;
    upgrade_files_remove(state->parts->config->state_dir);
    stats_set_upgrade(state->parts->stats, &none);
}

static bool is_acted_on(const struct upgrade_state *state, const struct upgrade *upgrade)
{
    return upgrade->initiated_at_ms == state->acted_on.initiated_at_ms;
}

/* Records a result; error is NULL for a success. */
static enum convex_outcome record_upgrade(struct upgrade_state *state,
    const struct service *service, const struct upgrade *upgrade,
    const struct upgrade_result *result, struct error *error)
{
    bool succeeded = result->error == NULL;
    metrics_set(&state->parts->stats->metrics, METRIC_UPGRADE_FAILED, NULL, succeeded ? 0 : 1);
    log_event(succeeded ? LOG_LEVEL_INFO : LOG_LEVEL_ERROR, component,
        LOG_FIELDS(LOG_TEXT("result", result->status)),
        "upgrade to OpenClaw %s, runtime %s: %s%s%s", result->to_openclaw, result->to_runtime,
        result->status, succeeded ? "" : ": ", succeeded ? "" : result->error);
    enum convex_outcome outcome = service_record_upgrade(service, result, error);
    if (outcome == CONVEX_SUCCESS || outcome == CONVEX_FUNCTION_ERROR ||
        outcome == CONVEX_REJECTED) {
        state->ended_at_ms = upgrade->initiated_at_ms;
        if (is_acted_on(state, upgrade))
            end_acted_on(state);
    }
    return outcome;
}

/* A version that was not demanded is recorded as the one that is there. */
static struct upgrade_result upgrade_result_from(const struct upgrade_state *state,
    const struct upgrade *upgrade, const char *from_openclaw, const char *openclaw)
{
    const char *runtime = state->parts->config->runtime_version;
    return (struct upgrade_result){
        .status = "success",
        .from_openclaw = from_openclaw,
        .to_openclaw = names_version(upgrade->openclaw) ? upgrade->openclaw : openclaw,
        .from_runtime = is_acted_on(state, upgrade) ? state->acted_on.from_runtime : runtime,
        .to_runtime = names_version(upgrade->runtime) ? upgrade->runtime : runtime,
        .duration_ms = upgrade_age_ms(state, upgrade),
    };
}

/* A time of day as operators and the log have it. */
static void append_utc_minute(struct text *text, int64_t at_ms)
{
    time_t at_s = (time_t)(at_ms / 1000);
    char words[sizeof "00:00 UTC"];
    struct tm parts;
    if (gmtime_r(&at_s, &parts) != NULL && strftime(words, sizeof words, "%H:%M UTC", &parts) > 0)
        text_append(text, words);
}

/* Publishes what is waited for, and logs it when it changes. */
static void publish_waiting(struct upgrade_state *state, const struct upgrade *upgrade,
    const char *missing, const struct installation *installation)
{
    struct text text = {0};
    struct stats_upgrade before;
    struct stats_upgrade waiting = {.initiated_at_ms = upgrade->initiated_at_ms,
        .fails_at_ms = upgrade->initiated_at_ms + UPGRADE_LIFE_MS};
    text_printf(
        &text, "The board has requested an upgrade; waiting for %s to be installed by ", missing);
    append_utc_minute(&text, waiting.fails_at_ms);
    if (installation->error[0] != '\0')
        text_printf(&text, "; the installer reported: %s", installation->error);
    text_copy(waiting.openclaw, sizeof waiting.openclaw, upgrade->openclaw);
    text_copy(waiting.runtime, sizeof waiting.runtime, upgrade->runtime);
    text_copy(waiting.text, sizeof waiting.text, text.data != NULL ? text.data : "");
    text_fini(&text);
    stats_upgrade(state->parts->stats, &before);
    if (strcmp(before.text, waiting.text) != 0)
        log_warn(component, "%s", waiting.text);
    stats_set_upgrade(state->parts->stats, &waiting);
}

static enum convex_outcome record_without_versions(struct upgrade_state *state,
    const struct service *service, const struct upgrade *upgrade,
    const struct upgrade_result *wanted, const struct installation *installation,
    const char *missing, struct error *error)
{
    char reason[STATS_TEXT_BYTES];
    bool is_rolled_back = installation->status == INSTALLATION_ROLLED_BACK;
    struct upgrade_result result = *wanted;
    if (installation->error[0] != '\0')
        text_copy(reason, sizeof reason, installation->error);
    else if (is_rolled_back)
        snprintf(reason, sizeof reason, "rolled back; the installer gave no reason");
    else
        snprintf(reason, sizeof reason, "not installed within %d minutes: %s",
            UPGRADE_LIFE_MS / (60 * 1000), missing);
    state->rollback_sent |= is_rolled_back;
    result.status = is_rolled_back ? "rolled_back" : "failed";
    result.error = reason;
    return record_upgrade(state, service, upgrade, &result, error);
}

/* Judges the request that was acted on. CONVEX_SUCCESS also when it has to wait. */
static enum convex_outcome judge_upgrade(struct upgrade_state *state, const struct service *service,
    const struct upgrade *upgrade, const char *openclaw, struct error *error)
{
    struct text missing = {0};
    struct installation installation;
    enum convex_outcome outcome = CONVEX_SUCCESS;
    const struct upgrade_result result =
        upgrade_result_from(state, upgrade, state->acted_on.from_openclaw, openclaw);
    if (has_requested_versions(state, upgrade, openclaw))
        return record_upgrade(state, service, upgrade, &result, error);
    installation_load(state->parts->config->state_dir, upgrade->initiated_at_ms, &installation);
    describe_missing(&missing, state, upgrade, openclaw);
    const char *words = missing.data != NULL ? missing.data : "the requested versions";
    if (installation.status == INSTALLATION_ROLLED_BACK || is_upgrade_overdue(state, upgrade))
        outcome =
            record_without_versions(state, service, upgrade, &result, &installation, words, error);
    else
        publish_waiting(state, upgrade, words, &installation);
    text_fini(&missing);
    return outcome;
}

/* The request has ended, but the installer has gone back to the old version after that. */
static void record_late_rollback(struct upgrade_state *state, const struct service *service)
{
    const struct upgrade_record *record = &state->acted_on;
    struct installation installation;
    struct error error;
    if (record->initiated_at_ms == 0 || state->rollback_sent)
        return;
    installation_load(state->parts->config->state_dir, record->initiated_at_ms, &installation);
    if (installation.status != INSTALLATION_ROLLED_BACK)
        return;
    const struct upgrade ended = {.initiated_at_ms = record->initiated_at_ms};
    const struct upgrade_result result = {
        .status = "rolled_back",
        .from_openclaw = record->from_openclaw,
        .to_openclaw = record->to_openclaw,
        .from_runtime = record->from_runtime,
        .to_runtime = record->to_runtime,
        .duration_ms = upgrade_age_ms(state, &ended),
        .error = installation.error,
    };
    /* Sent once: if only the answer is lost, the backend has it. */
    state->rollback_sent = true;
    enum convex_outcome outcome = record_upgrade(state, service, &ended, &result, &error);
    if (outcome != CONVEX_SUCCESS)
        log_warn(component, "failed to report upgrade result: %s", error.text);
    end_acted_on(state);
}

static bool has_open_upgrade(const struct upgrade_state *state)
{
    return state->acted_on.initiated_at_ms != 0 && !state->acted_on_ended;
}

/* The backend does not have the request that was acted on any more. */
static void end_without_request(struct upgrade_state *state, const struct service *service)
{
    record_late_rollback(state, service);
    if (has_open_upgrade(state))
        end_acted_on(state);
}

/* True when no further attempt is due. An error of the backend's function counts as an answer. */
static bool record_report_attempt(
    struct upgrade_state *state, enum convex_outcome outcome, const struct error *error)
{
    if (outcome != CONVEX_SUCCESS && outcome != CONVEX_ABORTED)
        log_warn(component, "failed to report upgrade result: %s", error->text);
    state->report_attempts++;
    state->may_report = outcome == CONVEX_SUCCESS || outcome == CONVEX_FUNCTION_ERROR ||
                        outcome == CONVEX_REJECTED || state->report_attempts == MAX_REPORT_ATTEMPTS;
    return state->may_report;
}

bool upgrade_report_result(struct upgrade_state *state, const struct service *service)
{
    char openclaw[VERSION_BYTES];
    struct upgrade upgrade;
    struct error error;
    bool is_version_known = get_openclaw_version(state, openclaw);
    if (state->may_report || state->stop_requested || !has_open_upgrade(state))
        return true;
    if (state->awaits_version && !is_version_known)
        return false;
    enum convex_outcome outcome = service_pending_upgrade(service, &upgrade, &error);
    /* If only the response was lost, the request is gone and must not be reported twice. */
    bool is_owed = outcome == CONVEX_SUCCESS && is_acted_on(state, &upgrade);
    /* The record is never deleted, so only a result that is owed may delay the first report. */
    state->awaits_version = is_owed && !is_version_known;
    if (state->awaits_version)
        return false;
    if (is_owed)
        outcome = judge_upgrade(state, service, &upgrade, openclaw, &error);
    else if (outcome == CONVEX_SUCCESS)
        end_without_request(state, service);
    return record_report_attempt(state, outcome, &error);
}

static void request_shutdown(struct upgrade_state *state)
{
    state->stop_requested = true;
    eventfd_write(state->parts->stop_fd, 1);
}

static void check_restart_request(struct upgrade_state *state, const struct service *service)
{
    bool requested = false;
    struct error error;
    enum convex_outcome outcome = service_take_restart_request(service, &requested, &error);
    if (outcome != CONVEX_SUCCESS && outcome != CONVEX_ABORTED)
        log_warn(restart_component, "failed to check for restart requests: %s", error.text);
    if (outcome != CONVEX_SUCCESS || !requested)
        return;
    if (!obeys_requests(state)) {
        log_warn(restart_component, "ignoring restart request: UPGRADE_MODE is not \"exit\"");
        return;
    }
    log_info(restart_component, "restart requested by the backend; shutting down");
    request_shutdown(state);
}

/* The request first: if only the record were saved, nothing would ever be installed for it. */
static int save_for_next_process(const struct upgrade_state *state, const struct upgrade *upgrade,
    const struct upgrade_record *record, struct error *error)
{
    const char *state_dir = state->parts->config->state_dir;
    int result = upgrade_request_save(state_dir, upgrade, clock_wall_ms(), error);
    if (result != 0)
        return result;
    result = upgrade_record_save(state_dir, record, error);
    if (result != 0)
        upgrade_files_remove(state_dir);
    return result;
}

static void shut_down_for_upgrade(
    struct upgrade_state *state, const struct upgrade *upgrade, const char *openclaw)
{
    const struct config *config = state->parts->config;
    struct upgrade_record record = {.initiated_at_ms = upgrade->initiated_at_ms};
    struct error error;
    text_copy(record.from_openclaw, sizeof record.from_openclaw, openclaw);
    text_copy(record.from_runtime, sizeof record.from_runtime, config->runtime_version);
    text_copy(record.to_openclaw, sizeof record.to_openclaw, upgrade->openclaw);
    text_copy(record.to_runtime, sizeof record.to_runtime, upgrade->runtime);
    if (save_for_next_process(state, upgrade, &record, &error) != 0) {
        log_error(component, "ignoring upgrade request: cannot persist it: %s", error.text);
        return;
    }
    state->acted_on = record;
    log_info(component, "upgrade requested: OpenClaw %s -> %s, runtime %s -> %s; shutting down",
        openclaw, upgrade->openclaw, config->runtime_version, upgrade->runtime);
    request_shutdown(state);
}

/*
 * Nothing needs to be installed. The backend sees that by itself if the targets are our versions
 * word for word, but not if they demand nothing.
 */
static void end_met_request(struct upgrade_state *state, const struct service *service,
    const struct upgrade *upgrade, const char *openclaw)
{
    struct error error;
    if (strcmp(upgrade->openclaw, openclaw) == 0 &&
        strcmp(upgrade->runtime, state->parts->config->runtime_version) == 0)
        return;
    const struct upgrade_result result = upgrade_result_from(state, upgrade, openclaw, openclaw);
    enum convex_outcome outcome = record_upgrade(state, service, upgrade, &result, &error);
    if (outcome != CONVEX_SUCCESS && outcome != CONVEX_ABORTED)
        log_warn(component, "failed to report upgrade result: %s", error.text);
}

static void ignore_upgrade_request(
    struct upgrade_state *state, const struct upgrade *upgrade, const char *reason)
{
    if (state->logged_at_ms == upgrade->initiated_at_ms)
        return;
    state->logged_at_ms = upgrade->initiated_at_ms;
    log_warn(component, "ignoring upgrade request (OpenClaw %s, runtime %s): %s", upgrade->openclaw,
        upgrade->runtime, reason);
}

static void handle_new_request(struct upgrade_state *state, const struct service *service,
    const struct upgrade *upgrade, const char *openclaw)
{
    if (strcmp(upgrade->strategy, "immediate") != 0)
        return;
    if (has_requested_versions(state, upgrade, openclaw))
        end_met_request(state, service, upgrade, openclaw);
    else if (!obeys_requests(state))
        ignore_upgrade_request(state, upgrade, "UPGRADE_MODE is not \"exit\"");
    else if (is_upgrade_overdue(state, upgrade))
        ignore_upgrade_request(state, upgrade, "it is more than 25 minutes old");
    else
        shut_down_for_upgrade(state, upgrade, openclaw);
}

static void handle_pending_upgrade(
    struct upgrade_state *state, const struct service *service, const struct upgrade *upgrade)
{
    char openclaw[VERSION_BYTES];
    struct error error;
    if (!is_acted_on(state, upgrade))
        end_without_request(state, service);
    if (upgrade->initiated_at_ms == 0 || upgrade->initiated_at_ms == state->ended_at_ms ||
        !get_openclaw_version(state, openclaw))
        return;
    if (!is_acted_on(state, upgrade)) {
        handle_new_request(state, service, upgrade, openclaw);
        return;
    }
    enum convex_outcome outcome = judge_upgrade(state, service, upgrade, openclaw, &error);
    if (outcome != CONVEX_SUCCESS && outcome != CONVEX_ABORTED)
        log_warn(component, "failed to report upgrade result: %s", error.text);
}

static void check_upgrade_request(struct upgrade_state *state, const struct service *service)
{
    struct upgrade upgrade;
    struct error error;
    enum convex_outcome outcome = service_pending_upgrade(service, &upgrade, &error);
    if (outcome == CONVEX_SUCCESS)
        handle_pending_upgrade(state, service, &upgrade);
    else if (outcome != CONVEX_ABORTED)
        log_warn(component, "failed to check for upgrade requests: %s", error.text);
}

void upgrade_check_requests(struct upgrade_state *state, const struct service *service)
{
    check_restart_request(state, service);
    check_upgrade_request(state, service);
}
