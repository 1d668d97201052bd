/*
 * The doctor's checks of the account's agents at the gateway: which ones it lacks, and with
 * OPENCLAW_PROFILE_SYNC whether the files are in order with which it gets them.
 *
 * The gateway's configuration may be anywhere, so whether it includes the agents' file shows in
 * what the gateway knows: an agent that is in the file for longer than a moment, but not in the
 * gateway's list, was not included. An agent that is in neither has not been written by a runtime.
 *
 * The doctor may run as another user than the runtime, whose user the state directory's owner is.
 * It writes nothing, so rights are read off the folders.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "base/json.h"
#include "base/text.h"
#include "cli/cli.h"
#include "gateway/gateway.h"
#include "gateway/roster.h"

enum { MAX_NAMED_AGENTS = 10, SLUG_BYTES = 64, AGENTS_FILE_BYTES = 2 * 1024 * 1024 };

static const char agents_check[] = "gateway agents";
static const char workspaces_check[] = "workspaces";
static const char file_check[] = "agents file";

static const char owner_fix[] =
    "give the directory to the user of the runtime and the gateway (chown -R)";

/* Slugs come from the board and may hold anything. number counts those that were named before. */
static void append_slug(struct text *names, const char *slug, size_t number)
{
    char quoted[SLUG_BYTES];
    text_quote(quoted, sizeof quoted, slug, strlen(slug));
    if (number < MAX_NAMED_AGENTS)
        text_printf(names, "%s%s", number > 0 ? ", " : "", quoted);
    else if (number == MAX_NAMED_AGENTS)
        text_append(names, " and more");
}

/* The agents' file, or NULL if it cannot be read; *error says why. */
static json_t *read_agents_file(const struct doctor *doctor, struct error *error)
{
    struct text content = {0};
    json_t *document = NULL;
    if (file_read(doctor->config->agents_file, AGENTS_FILE_BYTES, &content, NULL, error) != 0)
        return NULL;
    if (json_guard_load(content.data, content.length_bytes, &document, error) != 0)
        document = NULL;
    text_fini(&content);
    return document;
}

/* Whether the file has the agent, in the form for current or for older gateways. */
static bool file_has(const json_t *document, const char *slug)
{
    const json_t *agents = json_guard_object(document, "agents");
    const char *key;
    const json_t *value;
    size_t index;
    json_object_foreach ((json_t *)json_guard_object(agents, "entries"), key, value)
        if (strcasecmp(key, slug) == 0)
            return true;
    json_array_foreach (json_guard_array(agents, "list"), index, value) {
        const char *id = json_guard_string(value, "id");
        if (id != NULL && strcasecmp(id, slug) == 0)
            return true;
    }
    return false;
}

/* The account's agents that the gateway lacks. */
struct missing_agents {
    size_t count;
    size_t in_file;    /* of these, those that the agents' file has */
    struct text names; /* freed by the caller */
};

static void find_missing(const struct doctor *doctor, const struct gateway_models *models,
    const json_t *file, struct missing_agents *missing)
{
    size_t index;
    const json_t *agent;
    json_array_foreach (doctor->agents, index, agent) {
        const char *slug = json_guard_string(agent, "slug");
        if (slug == NULL || gateway_models_have(models, slug))
            continue;
        append_slug(&missing->names, slug, missing->count);
        missing->count++;
        missing->in_file += file_has(file, slug) ? 1 : 0;
    }
}

/* Whether the runtime brings the board's agents into the gateway. */
static bool has_profiles(const struct doctor *doctor)
{
    return doctor->config->profile_sync && doctor->version != BACKEND_V0;
}

/* Agents that the gateway lacks run as the fallback agent, if it has that one. */
static void check_fallback(
    struct doctor *doctor, const struct gateway_models *models, size_t missing)
{
    const char *fallback = doctor->config->fallback_agent;
    if (gateway_models_have(models, fallback))
        doctor_report_add(&doctor->report, agents_check, DOCTOR_OK, NULL,
            "%zu of the account's agents run as %s, because the gateway does not know them",
            missing, fallback);
    else
        doctor_report_add(&doctor->report, agents_check, DOCTOR_FAIL,
            "set OPENCLAW_FALLBACK_AGENT to an agent of the gateway",
            "the gateway knows neither %zu of the account's agents nor %s, their fallback", missing,
            fallback);
}

/* A missing agent is a failure, since notifications to it could not be delivered. */
static void report_missing(struct doctor *doctor, const struct missing_agents *missing)
{
    const struct config *config = doctor->config;
    const char *names = missing->names.failed ? "..." : missing->names.data;
    char fix[PATH_MAX + 256] = "set OPENCLAW_FALLBACK_AGENT or add the agent to the gateway";
    const char *where = "";
    if (has_profiles(doctor) && missing->in_file > 0) {
        where = ", though the agents' file has them";
        snprintf(fix, sizeof fix,
            "add \"$include\": \"%s\" to the gateway's openclaw.json, with the path as the gateway "
            "sees it; if that is not below the directory of openclaw.json, start the gateway with "
            "its directory in OPENCLAW_INCLUDE_ROOTS",
            config->agents_file);
    } else if (has_profiles(doctor)) {
        where = ", and the agents' file does not have them either";
        snprintf(fix, sizeof fix,
            "start the runtime, which writes %s; if it runs, see agentSync.profilesError in "
            "/health",
            config->agents_file);
    }
    doctor_report_add(&doctor->report, agents_check, DOCTOR_FAIL, fix,
        "the gateway does not know %zu of the account's agents: %s%s", missing->count, names,
        where);
}

void doctor_check_agents(struct doctor *doctor, const struct gateway *gateway)
{
    struct gateway_models models;
    struct missing_agents missing = {0};
    if (doctor->agents == NULL) {
        doctor_skip_agents(doctor, "reading the account's agents");
        return;
    }
    json_t *file = has_profiles(doctor) ? read_agents_file(doctor, NULL) : NULL;
    gateway_models_fetch(gateway, doctor->client, DOCTOR_TIMEOUT_MS, NULL, &models);
    find_missing(doctor, &models, file, &missing);
    if (!models.known)
        doctor_report_add(&doctor->report, agents_check, DOCTOR_SKIP, NULL,
            "because the gateway does not list its agents");
    else if (missing.count > 0 && doctor->config->fallback_agent != NULL && !has_profiles(doctor))
        check_fallback(doctor, &models, missing.count);
    else if (missing.count > 0)
        report_missing(doctor, &missing);
    else
        doctor_report_add(&doctor->report, agents_check, DOCTOR_OK, NULL,
            "the gateway knows every agent of the account");
    text_fini(&missing.names);
    gateway_models_fini(&models);
    json_decref(file);
}

void doctor_skip_agents(struct doctor *doctor, const char *failed)
{
    doctor_skip(doctor, (const char *const[]){agents_check, NULL}, failed);
}

static uid_t runtime_user(const struct doctor *doctor)
{
    struct stat status;
    return stat(doctor->config->state_dir, &status) == 0 ? status.st_uid : geteuid();
}

/* Why the runtime of that user cannot write to the folder of an agent, or NULL. */
static const char *find_folder_obstacle(const struct stat *status, uid_t user)
{
    if (S_ISLNK(status->st_mode))
        return "is a symbolic link, which is not followed";
    if (!S_ISDIR(status->st_mode))
        return "is not a directory";
    if (status->st_uid != user)
        return "belongs to another user than the runtime's";
    return (status->st_mode & S_IRWXU) != S_IRWXU ? "is not writable for its owner" : NULL;
}

/* Looks at the folders of all agents. False when one was reported that cannot be used. */
static bool check_folders(struct doctor *doctor)
{
    uid_t user = runtime_user(doctor);
    size_t index;
    const json_t *agent;
    json_array_foreach (doctor->agents, index, agent) {
        struct text path = {0};
        struct stat status;
        const char *slug = json_guard_string(agent, "slug");
        if (slug == NULL || strchr(slug, '/') != NULL)
            continue;
        text_printf(&path, "%s/", doctor->config->workspace_root);
        text_append_lower_case(&path, slug, strlen(slug));
        const char *obstacle = !path.failed && lstat(path.data, &status) == 0
                                   ? find_folder_obstacle(&status, user)
                                   : NULL;
        if (obstacle != NULL)
            doctor_report_add(&doctor->report, workspaces_check, DOCTOR_FAIL, owner_fix, "%s %s",
                path.data, obstacle);
        text_fini(&path);
        if (obstacle != NULL)
            return false;
    }
    return true;
}

static bool check_root(struct doctor *doctor)
{
    char existing[PATH_MAX];
    struct stat status;
    const char *root = doctor->config->workspace_root;
    if (!text_copy(existing, sizeof existing, root)) {
        doctor_report_add(&doctor->report, workspaces_check, DOCTOR_FAIL, NULL,
            "the path of OPENCLAW_WORKSPACE_ROOT is too long");
        return false;
    }
    doctor_cut_to_existing(existing);
    /* What the doctor itself may do says nothing of the runtime, if that is another user. */
    uid_t user = runtime_user(doctor);
    const char *obstacle = stat(existing, &status) == 0
                               ? doctor_find_dir_obstacle(existing, &status)
                               : strerror(errno);
    if (obstacle == NULL && user != 0 && user != geteuid())
        obstacle = find_folder_obstacle(&status, user);
    if (obstacle == NULL)
        return true;
    doctor_report_add(&doctor->report, workspaces_check, DOCTOR_FAIL,
        "set OPENCLAW_WORKSPACE_ROOT to a directory that the runtime and the gateway can write to",
        "%s %s", existing, obstacle);
    return false;
}

static void check_file(struct doctor *doctor)
{
    struct error error;
    char fix[PATH_MAX + 64];
    const char *path = doctor->config->agents_file;
    json_t *document = read_agents_file(doctor, &error);
    snprintf(fix, sizeof fix, "start the runtime, and look at its log if %s does not come", path);
    if (document == NULL)
        doctor_report_add(
            &doctor->report, file_check, DOCTOR_WARN, fix, "not there yet: %s", error.text);
    else if (json_guard_object(document, "agents") == NULL)
        doctor_report_add(&doctor->report, file_check, DOCTOR_WARN, fix,
            "%s has no agents: no runtime has written it yet", path);
    else
        doctor_report_add(
            &doctor->report, file_check, DOCTOR_OK, NULL, "%s has been written", path);
    json_decref(document);
}

void doctor_check_workspaces(struct doctor *doctor)
{
    const struct config *config = doctor->config;
    if (!config->profile_sync)
        return;
    if (doctor->version == BACKEND_V0) {
        doctor_report_add(&doctor->report, workspaces_check, DOCTOR_OK, NULL,
            "not written: a backend of version 0 has no profiles");
        return;
    }
    if (check_root(doctor) && check_folders(doctor))
        doctor_report_add(&doctor->report, workspaces_check, DOCTOR_OK, NULL, "%s can be written",
            config->workspace_root);
    check_file(doctor);
}
