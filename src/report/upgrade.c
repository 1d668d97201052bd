/*
 * The backend cannot restart us; it can only ask us to shut down with status 0, after which the
 * supervisor starts us again, possibly from a new image. An upgrade therefore spans two processes:
 *
 *     old process: request found --> save the record, sync it --> shut down
 *     new process: load the record --> versions as requested? --> report success or failure
 *
 * The record is what makes this safe. It is on disk before the shutdown, and a request with the
 * same initiatedAt is never acted on again; otherwise a supervisor that starts the same image again
 * would shut down for the same request forever. For the same reason a request is ignored if the
 * record cannot be saved. The record is never deleted: one request has one result.
 *
 * The result is reported before the first health report, because the backend may clear the request
 * when it sees the new versions, and only if the backend still has that request. A backend that
 * answers with an error is not asked again; a failing connection is retried MAX_REPORT_ATTEMPTS
 * times. The process that shuts down reports nothing about its own request: its versions are still
 * the old ones, so that would be a failure.
 *
 * Restart requests need no record, since reading one removes it at the backend.
 */
#include "report/upgrade.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/io.h"
#include "base/json.h"
#include "base/log.h"
#include "base/sync.h"
#include "base/text.h"

enum {
    MAX_RECORD_BYTES = 4096,
    MAX_REPORT_ATTEMPTS = 5, /* of a result; after that health reports go on without it */
};

static const char record_name[] = "upgrade.json";

static const char component[] = "Upgrade";
static const char restart_component[] = "Status";

static void read_upgrade_record(const json_t *document, struct upgrade_record *record)
{
    const char *openclaw = json_guard_string(document, "fromOpenclaw");
    const char *runtime = json_guard_string(document, "fromRuntime");
    if (openclaw == NULL || runtime == NULL ||
        !json_guard_time_ms(document, "initiatedAt", 1, &record->initiated_at_ms))
        return;
    text_copy(record->from_openclaw, sizeof record->from_openclaw, openclaw);
    text_copy(record->from_runtime, sizeof record->from_runtime, runtime);
}

void upgrade_record_load(const char *state_dir, struct upgrade_record *record)
{
    char path[PATH_MAX];
    struct text content;
    json_t *document;
    *record = (struct upgrade_record){0};
    snprintf(path, sizeof path, "%s/%s", state_dir, record_name);
    if (file_read(path, MAX_RECORD_BYTES, &content, NULL, NULL) != 0)
        return;
    if (json_guard_load(content.data, content.length_bytes, &document, NULL) == 0) {
        read_upgrade_record(document, record);
        json_decref(document);
    }
    text_fini(&content);
}

int upgrade_record_save(
    const char *state_dir, const struct upgrade_record *record, struct error *error)
{
    json_t *document =
        json_pack("{s:I, s:s, s:s}", "initiatedAt", (json_int_t)record->initiated_at_ms,
            "fromOpenclaw", record->from_openclaw, "fromRuntime", record->from_runtime);
    char *bytes = json_write(document);
    json_decref(document);
    if (bytes == NULL)
        return error_set(error, ERROR_NO_MEMORY, "out of memory for the upgrade record");
    int dir_fd = open(state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int result = dir_fd >= 0 ? file_replace(dir_fd, record_name, bytes, strlen(bytes), true, error)
                             : error_set_errno(error, ERROR_SYSTEM, errno,
                                   "cannot open STATE_DIR %s", state_dir);
    if (dir_fd >= 0)
        close(dir_fd);
    free(bytes);
    return result;
}

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

static bool has_requested_versions(
    const struct upgrade_state *state, const struct upgrade *upgrade, const char *openclaw)
{
    return strcmp(upgrade->openclaw, openclaw) == 0 &&
           strcmp(upgrade->runtime, state->parts->config->runtime_version) == 0;
}

static enum convex_outcome send_upgrade_result(const struct upgrade_state *state,
    const struct service *service, const struct upgrade *upgrade, const char *openclaw,
    struct error *error)
{
    bool reached = has_requested_versions(state, upgrade, openclaw);
    const struct upgrade_result result = {
        .success = reached,
        .from_openclaw = state->acted_on.from_openclaw,
        .to_openclaw = upgrade->openclaw,
        .from_runtime = state->acted_on.from_runtime,
        .to_runtime = upgrade->runtime,
        .duration_ms = clock_wall_ms() - upgrade->initiated_at_ms,
        .error = reached ? NULL : "the versions after the restart are not the requested ones",
    };
    metrics_set(&state->parts->stats->metrics, METRIC_UPGRADE_FAILED, NULL, reached ? 0 : 1);
    log_event(reached ? LOG_LEVEL_INFO : LOG_LEVEL_ERROR, component,
        LOG_FIELDS(LOG_TEXT("openclaw", openclaw),
            LOG_TEXT("runtime", state->parts->config->runtime_version)),
        reached ? "upgrade to OpenClaw %s, runtime %s succeeded"
                : "upgrade to OpenClaw %s, runtime %s failed",
        upgrade->openclaw, upgrade->runtime);
    return service_record_upgrade(service, &result, error);
}

/* True when no further attempt is due. An error of the backend's function counts as an answer. */
static bool record_report_attempt(
    struct upgrade_state *state, enum convex_outcome outcome, const struct error *error)
{
    if (outcome != CONVEX_SUCCESS && outcome != CONVEX_ABORTED)
        log_warn(component, "failed to report upgrade result: %s", error->text);
    state->report_attempts++;
    state->result_reported = outcome == CONVEX_SUCCESS || outcome == CONVEX_FUNCTION_ERROR ||
                             outcome == CONVEX_REJECTED ||
                             state->report_attempts == MAX_REPORT_ATTEMPTS;
    return state->result_reported;
}

bool upgrade_report_result(struct upgrade_state *state, const struct service *service)
{
    char openclaw[VERSION_BYTES];
    struct upgrade upgrade;
    struct error error;
    bool is_version_known = get_openclaw_version(state, openclaw);
    if (state->result_reported || state->acted_on.initiated_at_ms == 0)
        return true;
    if (state->awaits_version && !is_version_known)
        return false;
    enum convex_outcome outcome = service_pending_upgrade(service, &upgrade, &error);
    /* If only the response was lost, the request is gone and must not be reported twice. */
    bool is_owed =
        outcome == CONVEX_SUCCESS && upgrade.initiated_at_ms == state->acted_on.initiated_at_ms;
    /* The record is never deleted, so only a result that is owed may delay the first report. */
    state->awaits_version = is_owed && !is_version_known;
    if (state->awaits_version)
        return false;
    if (is_owed)
        outcome = send_upgrade_result(state, service, &upgrade, openclaw, &error);
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

static void shut_down_for_upgrade(
    struct upgrade_state *state, const struct upgrade *upgrade, const char *openclaw)
{
    const struct config *config = state->parts->config;
    struct upgrade_record record = {.initiated_at_ms = upgrade->initiated_at_ms};
    struct error error;
    text_copy(record.from_openclaw, sizeof record.from_openclaw, openclaw);
    text_copy(record.from_runtime, sizeof record.from_runtime, config->runtime_version);
    if (upgrade_record_save(config->state_dir, &record, &error) != 0) {
        log_error(component, "ignoring upgrade request: cannot persist it: %s", error.text);
        return;
    }
    state->acted_on = record;
    state->result_reported = true;
    log_info(component, "upgrade requested: OpenClaw %s -> %s, runtime %s -> %s; shutting down",
        openclaw, upgrade->openclaw, config->runtime_version, upgrade->runtime);
    request_shutdown(state);
}

static void handle_pending_upgrade(struct upgrade_state *state, const struct upgrade *upgrade)
{
    char openclaw[VERSION_BYTES];
    if (upgrade->initiated_at_ms == 0 || strcmp(upgrade->strategy, "immediate") != 0 ||
        !get_openclaw_version(state, openclaw) ||
        has_requested_versions(state, upgrade, openclaw) ||
        upgrade->initiated_at_ms == state->acted_on.initiated_at_ms)
        return;
    if (obeys_requests(state)) {
        shut_down_for_upgrade(state, upgrade, openclaw);
    } else if (state->logged_initiated_at_ms != upgrade->initiated_at_ms) {
        state->logged_initiated_at_ms = upgrade->initiated_at_ms;
        log_warn(component,
            "ignoring upgrade request (OpenClaw %s, runtime %s): UPGRADE_MODE is not \"exit\"",
            upgrade->openclaw, upgrade->runtime);
    }
}

static void check_upgrade_request(struct upgrade_state *state, const struct service *service)
{
    struct upgrade upgrade;
    struct error error;
    enum convex_outcome outcome = service_pending_upgrade(service, &upgrade, &error);
    if (outcome == CONVEX_SUCCESS)
        handle_pending_upgrade(state, &upgrade);
    else if (outcome != CONVEX_ABORTED)
        log_warn(component, "failed to check for upgrade requests: %s", error.text);
}

void upgrade_check_requests(struct upgrade_state *state, const struct service *service)
{
    check_restart_request(state, service);
    check_upgrade_request(state, service);
}
