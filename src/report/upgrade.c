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

enum { MAX_REPORT_ATTEMPTS = 5 }; /* tries to tell a result, before reports go on without it */

static const char component[] = "Upgrade";
static const char restart_component[] = "Status";

void upgrade_begin(struct upgrade_state *state, const struct reporter_parts *parts)
{
    *state = (struct upgrade_state){.parts = parts};
    upgrade_record_load(parts->config->state_dir, &state->memory);
}

/* Our OpenClaw version; false while it is being found out. "unknown" counts as found. */
static bool know_openclaw(const struct upgrade_state *state, char version[static VERSION_BYTES])
{
    version[0] = '\0';
    return version_probe_get(state->parts->version, version, VERSION_BYTES);
}

static bool acts_on_requests(const struct upgrade_state *state)
{
    return strcmp(state->parts->config->upgrade_mode, "exit") == 0;
}

static bool is_reached(
    const struct upgrade_state *state, const struct upgrade *upgrade, const char *openclaw)
{
    return strcmp(upgrade->openclaw, openclaw) == 0 &&
           strcmp(upgrade->runtime, state->parts->config->runtime_version) == 0;
}

static enum convex_outcome record_result(const struct upgrade_state *state,
    const struct service *service, const struct upgrade *upgrade, const char *openclaw,
    struct error *error)
{
    bool reached = is_reached(state, upgrade, openclaw);
    const struct upgrade_result result = {
        .success = reached,
        .from_openclaw = state->memory.from_openclaw,
        .to_openclaw = upgrade->openclaw,
        .from_runtime = state->memory.from_runtime,
        .to_runtime = upgrade->runtime,
        .duration_ms = clock_wall_ms() - upgrade->initiated_at_ms,
        .error = reached ? NULL : "after the restart the versions were not those asked for",
    };
    log_event(reached ? LOG_LEVEL_INFO : LOG_LEVEL_ERROR, component,
        LOG_FIELDS(LOG_TEXT("openclaw", openclaw),
            LOG_TEXT("runtime", state->parts->config->runtime_version)),
        reached ? "The upgrade has succeeded" : "The upgrade to OpenClaw %s, runtime %s has failed",
        upgrade->openclaw, upgrade->runtime);
    return service_record_upgrade(service, &result, error);
}

/* Whether that was the last try. */
static bool note_try(
    struct upgrade_state *state, enum convex_outcome outcome, const struct error *error)
{
    if (outcome != CONVEX_SUCCESS && outcome != CONVEX_ABORTED)
        log_warn(component, "The result could not be told: %s", error->text);
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
    bool knows_openclaw = know_openclaw(state, openclaw);
    if (state->result_reported || state->memory.initiated_at_ms == 0)
        return true;
    if (state->awaits_version && !knows_openclaw)
        return false;
    enum convex_outcome outcome = service_pending_upgrade(service, &upgrade, &error);
    /* A result whose answer was lost is told again only if the request is still there. */
    bool is_owed =
        outcome == CONVEX_SUCCESS && upgrade.initiated_at_ms == state->memory.initiated_at_ms;
    /* The memory is kept for good: only for what is owed may a report wait for the version. */
    state->awaits_version = is_owed && !knows_openclaw;
    if (state->awaits_version)
        return false;
    if (is_owed)
        outcome = record_result(state, service, &upgrade, openclaw, &error);
    return note_try(state, outcome, &error);
}

static void request_stop(struct upgrade_state *state)
{
    state->stop_requested = true;
    eventfd_write(state->parts->stop_fd, 1);
}

static void look_for_restart(struct upgrade_state *state, const struct service *service)
{
    bool requested = false;
    struct error error;
    enum convex_outcome outcome = service_take_restart_request(service, &requested, &error);
    if (outcome != CONVEX_SUCCESS && outcome != CONVEX_ABORTED)
        log_warn(restart_component, "Failed to ask for restart requests: %s", error.text);
    if (outcome != CONVEX_SUCCESS || !requested)
        return;
    if (!acts_on_requests(state)) {
        log_warn(restart_component,
            "A restart is asked for; UPGRADE_MODE is not \"exit\", so it is ignored");
        return;
    }
    log_info(
        restart_component, "A restart is asked for: stopping, so that the supervisor starts anew");
    request_stop(state);
}

/*
 * Remembered before the stop: a process that comes back unchanged must not stop for it again. What
 * becomes of it is for that process to tell; of this one it would be that it has failed.
 */
static void stop_for(
    struct upgrade_state *state, const struct upgrade *upgrade, const char *openclaw)
{
    const struct config *config = state->parts->config;
    struct upgrade_record memory = {.initiated_at_ms = upgrade->initiated_at_ms};
    struct error error;
    text_copy(memory.from_openclaw, sizeof memory.from_openclaw, openclaw);
    text_copy(memory.from_runtime, sizeof memory.from_runtime, config->runtime_version);
    if (upgrade_record_save(config->state_dir, &memory, &error) != 0) {
        log_error(component,
            "An upgrade is asked for, but it cannot be noted that it was acted on, so it is not: "
            "%s",
            error.text);
        return;
    }
    state->memory = memory;
    state->result_reported = true;
    log_info(component, "Upgrade asked for: OpenClaw %s -> %s, runtime %s -> %s; stopping",
        openclaw, upgrade->openclaw, config->runtime_version, upgrade->runtime);
    request_stop(state);
}

static void handle_pending_upgrade(struct upgrade_state *state, const struct upgrade *upgrade)
{
    char openclaw[VERSION_BYTES];
    if (upgrade->initiated_at_ms == 0 || strcmp(upgrade->strategy, "immediate") != 0 ||
        !know_openclaw(state, openclaw) || is_reached(state, upgrade, openclaw) ||
        upgrade->initiated_at_ms == state->memory.initiated_at_ms)
        return;
    if (acts_on_requests(state)) {
        stop_for(state, upgrade, openclaw);
    } else if (state->logged_initiated_at_ms != upgrade->initiated_at_ms) {
        state->logged_initiated_at_ms = upgrade->initiated_at_ms;
        log_warn(component,
            "Upgrade asked for: OpenClaw %s, runtime %s; UPGRADE_MODE is not \"exit\", so it is "
            "ignored",
            upgrade->openclaw, upgrade->runtime);
    }
}

static void look_for_upgrade(struct upgrade_state *state, const struct service *service)
{
    struct upgrade upgrade;
    struct error error;
    enum convex_outcome outcome = service_pending_upgrade(service, &upgrade, &error);
    if (outcome == CONVEX_SUCCESS)
        handle_pending_upgrade(state, &upgrade);
    else if (outcome != CONVEX_ABORTED)
        log_warn(component, "Failed to ask for upgrades: %s", error.text);
}

void upgrade_look_for_requests(struct upgrade_state *state, const struct service *service)
{
    look_for_restart(state, service);
    look_for_upgrade(state, service);
}

enum { FILE_BYTES_MAX = 4096 };

static const char file_name[] = "upgrade.json";

static void read_document(const json_t *document, struct upgrade_record *memory)
{
    const char *openclaw = json_guard_string(document, "fromOpenclaw");
    const char *runtime = json_guard_string(document, "fromRuntime");
    if (openclaw == NULL || runtime == NULL ||
        !json_guard_time_ms(document, "initiatedAt", 1, &memory->initiated_at_ms))
        return;
    text_copy(memory->from_openclaw, sizeof memory->from_openclaw, openclaw);
    text_copy(memory->from_runtime, sizeof memory->from_runtime, runtime);
}

void upgrade_record_load(const char *state_dir, struct upgrade_record *memory)
{
    char path[PATH_MAX];
    struct file_content content;
    json_t *document;
    *memory = (struct upgrade_record){0};
    snprintf(path, sizeof path, "%s/%s", state_dir, file_name);
    if (file_read(path, FILE_BYTES_MAX, &content, NULL) != 0)
        return;
    if (json_guard_load(content.bytes, content.length_bytes, &document, NULL) == 0) {
        read_document(document, memory);
        json_decref(document);
    }
    free(content.bytes);
}

int upgrade_record_save(
    const char *state_dir, const struct upgrade_record *memory, struct error *error)
{
    json_t *document =
        json_pack("{s:I, s:s, s:s}", "initiatedAt", (json_int_t)memory->initiated_at_ms,
            "fromOpenclaw", memory->from_openclaw, "fromRuntime", memory->from_runtime);
    char *bytes = json_write(document);
    json_decref(document);
    if (bytes == NULL)
        return error_set(error, ERROR_NO_MEMORY, "no memory to remember an upgrade");
    int dir_fd = open(state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int result = dir_fd >= 0 ? file_replace(dir_fd, file_name, bytes, strlen(bytes), true, error)
                             : error_set_errno(error, ERROR_SYSTEM, errno, "%s", state_dir);
    if (dir_fd >= 0)
        close(dir_fd);
    free(bytes);
    return result;
}
