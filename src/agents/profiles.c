/*
 * Keeps agents' folders, and the file that tells the gateway which agents there are, in step with
 * the board. It runs in mc-agents after each list of agents, and only on v1 of the backend.
 *
 * Each sync goes through all agents: claim the folder, compare each file with what it should hold,
 * write what differs. It reads much and writes nothing as long as nothing changes, so a file that
 * an agent has spoilt is restored by the next sync. The agents' file comes last, so that an agent
 * has its folder before the gateway knows it. The gateway includes that file in its configuration
 * and loads it again when it changes (docs/protocol.md, "Agents of the board").
 *
 * The first sync of a large account writes much. A sync that is not done after a minute stops
 * between two agents, so that schedule and wake-ups go on, and the next round begins where it has
 * stopped. Agents at which a round does not come are in its list if their folder is there.
 *
 * An agent whose slug cannot be a folder's name, or is shared, is left out: so is one whose folder
 * still is another agent's, as it would read that one's memory. Any other failure concerns the
 * files alone. The agent stays in the agents' file, and deliveries go on: what is wrong is said
 * once, and makes the runtime degraded until a sync succeeds.
 *
 * Which model an agent gets depends on what the gateway has keys for, which only its start script
 * knows: it leaves a table beside the agents' file. Without one, or for a model that is not in it,
 * agents run on the gateway's default, as the gateway fails every run with a model that it lacks.
 */
#include "agents/profiles.h"

#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/io.h"
#include "base/json.h"
#include "base/log.h"
#include "base/stop_point.h"
#include "base/sync.h"
#include "base/watch.h"
#include "delivery/session_key.h"

enum {
    OPERATORS_FILE_BYTES = 256 * 1024,
    MODELS_FILE_BYTES = 64 * 1024,
    SLUG_NAME_BYTES = 65,
    DAY_S = 24 * 3600,
};

static const char component[] = "Profiles";
static const char models_name[] = "mission-control-models.json";

/* One sync. */
struct profile_round {
    struct profiles *profiles;
    struct profile_folders folders;
    struct text instructions; /* the operator's AGENTS.md and HEARTBEAT.md; empty: none */
    struct text wake_up_routine;
    json_t *models;  /* board's model: the gateway's; NULL: none */
    json_t *slugs;   /* how often each slug occurs, in lower case */
    json_t *entries; /* of the agents' file */
    bool incomplete; /* the entries are, for want of memory or of a folder's owner */
};

/* Keeps the first failure of a sync, with where it was in front. */
static void note_failure(struct profile_round *round, const char *where, struct error *error)
{
    struct error *first = &round->profiles->found_error;
    if (first->text[0] != '\0')
        return;
    error_wrap(error, "%s", where);
    *first = *error;
}

/* Reads a file of the operator beside the root; one that is not there is no failure. */
static void read_operators_file(struct profile_round *round, const char *name, struct text *content)
{
    char path[PATH_MAX];
    char parent[PATH_MAX];
    struct error error;
    text_copy(parent, sizeof parent, round->profiles->config->workspace_root);
    int length = snprintf(path, sizeof path, "%s/%s", dirname(parent), name);
    if (length < 0 || (size_t)length >= sizeof path || access(path, F_OK) != 0)
        return;
    if (file_read_unlinked(path, OPERATORS_FILE_BYTES, content, &error) == 0)
        return;
    note_failure(round, "the agents' common instructions", &error);
    /* Empty, so that what is there stays instead of being replaced by what is built in. */
    text_append(content, "");
}

/* The table that the gateway's start script leaves. One that cannot be read counts as none. */
static void read_models(struct profile_round *round)
{
    char path[PATH_MAX];
    char parent[PATH_MAX];
    struct text content = {0};
    struct error error;
    text_copy(parent, sizeof parent, round->profiles->config->agents_file);
    int length = snprintf(path, sizeof path, "%s/%s", dirname(parent), models_name);
    if (length < 0 || (size_t)length >= sizeof path)
        return;
    int result = file_read_unlinked(path, MODELS_FILE_BYTES, &content, &error);
    if (result == 0)
        result = json_guard_load(content.data, content.length_bytes, &round->models, &error);
    round->incomplete = result == ERROR_NO_MEMORY;
    text_fini(&content);
}

/* The slug as the gateway spells it; false if it can be neither a folder's name nor an agent's. */
static bool read_slug(
    const struct profile_round *round, const json_t *profile, char slug[static SLUG_NAME_BYTES])
{
    const char *own = json_guard_string(profile, "slug");
    if (own == NULL || json_guard_id(profile, "_id") == NULL || !profile_name_is_safe(own) ||
        slug_check(own, round->profiles->config->fallback_agent) != SLUG_USABLE)
        return false;
    text_copy(slug, SLUG_NAME_BYTES, own);
    for (char *at = slug; *at != '\0'; at++)
        if (*at >= 'A' && *at <= 'Z')
            *at = (char)(*at - 'A' + 'a');
    return true;
}

static void count_slugs(struct profile_round *round, const json_t *rows)
{
    char slug[SLUG_NAME_BYTES];
    size_t index;
    const json_t *profile;
    json_array_foreach (rows, index, profile) {
        if (!read_slug(round, profile, slug))
            continue;
        json_int_t count = json_integer_value(json_object_get(round->slugs, slug));
        if (json_object_set_new(round->slugs, slug, json_integer(count + 1)) != 0)
            round->incomplete = true;
    }
}

/* Writes one text into a folder, unless it is empty. */
static int put_text(
    int folder_fd, const char *name, struct text *text, enum profile_put put, struct error *error)
{
    int result = 0;
    if (text->failed)
        result = error_set(error, ERROR_NO_MEMORY, "out of memory for %s", name);
    else if (text->length_bytes > 0)
        result = profile_file_put(
            folder_fd, name, (struct text_span){text->data, text->length_bytes}, put, NULL, error);
    text_fini(text);
    return result;
}

/* Yesterday's, today's and tomorrow's file, and the notes on current work. */
static int write_memory(int folder_fd, struct error *error)
{
    int memory_fd;
    int result = profile_folder_enter(folder_fd, "memory", &memory_fd, error);
    if (result != 0)
        return result;
    struct text notes = {0};
    text_append(&notes, "# Current work\n");
    result = put_text(memory_fd, "WORKING.md", &notes, PROFILE_KEEP, error);
    for (int day = -1; result == 0 && day <= 1; day++) {
        time_t at_s = (time_t)(clock_wall_ms() / 1000) + day * (time_t)DAY_S;
        char date[16];
        char name[32];
        struct tm utc;
        struct text heading = {0};
        gmtime_r(&at_s, &utc);
        strftime(date, sizeof date, "%Y-%m-%d", &utc);
        snprintf(name, sizeof name, "%s.md", date);
        text_printf(&heading, "# %s\n", date);
        result = put_text(memory_fd, name, &heading, PROFILE_KEEP, error);
    }
    close(memory_fd);
    return result;
}

/* The log names slugs of which nothing can be written. They come from the board and may hold
 * anything. */
static void note_skipped(struct profile_round *round, const json_t *item)
{
    char quoted[SLUG_NAME_BYTES];
    struct text_span slug = json_guard_text(item, "slug");
    text_quote(quoted, sizeof quoted, slug.bytes, slug.length_bytes);
    struct text *skipped = &round->profiles->found_skipped;
    text_printf(skipped, "%s\"%s\"", skipped->length_bytes > 0 ? ", " : "", quoted);
}

static int write_skill(
    struct profile_round *round, int skills_fd, const json_t *skill, struct error *error)
{
    int folder_fd;
    const char *slug = json_guard_string(skill, "slug");
    if (slug == NULL || !profile_name_is_safe(slug)) {
        note_skipped(round, skill);
        return 0;
    }
    struct text text = {0};
    profile_append_skill(&text, skill);
    if (text.length_bytes == 0 && !text.failed)
        return 0;
    int result = profile_folder_enter(skills_fd, slug, &folder_fd, error);
    if (result != 0) {
        text_fini(&text);
        return result;
    }
    result = put_text(folder_fd, "SKILL.md", &text, PROFILE_REPLACE, error);
    close(folder_fd);
    return result;
}

static void write_skills(
    struct profile_round *round, const char *agent_slug, int folder_fd, const json_t *profile)
{
    struct error error;
    int skills_fd;
    size_t index;
    const json_t *skill;
    if (profile_folder_enter(folder_fd, "skills", &skills_fd, &error) != 0) {
        note_failure(round, agent_slug, &error);
        return;
    }
    json_t *seen = json_object();
    json_array_foreach (json_guard_array(profile, "resolvedSkills"), index, skill) {
        const char *slug = json_guard_string(skill, "slug");
        if (slug != NULL && json_object_get(seen, slug) != NULL)
            note_skipped(round, skill);
        else if (write_skill(round, skills_fd, skill, &error) != 0)
            note_failure(round, agent_slug, &error);
        if (slug != NULL)
            json_object_set_new(seen, slug, json_true());
    }
    json_decref(seen);
    close(skills_fd);
}

/* What stands in the way of one file stops no other. */
static void write_folder(
    struct profile_round *round, const char *slug, int folder_fd, const json_t *profile)
{
    const struct profile_source source = {
        .profile = profile,
        .instructions = round->instructions.data,
        .wake_up_routine = round->wake_up_routine.data,
    };
    struct error error;
    int deliverables_fd;
    for (size_t i = 0; i < PROFILE_FILES; i++) {
        const struct profile_file *file = &profile_file_table[i];
        struct text text = {0};
        file->append(&text, &source);
        if (put_text(folder_fd, file->name, &text, file->put, &error) != 0)
            note_failure(round, slug, &error);
    }
    if (write_memory(folder_fd, &error) != 0)
        note_failure(round, slug, &error);
    write_skills(round, slug, folder_fd, profile);
    if (profile_folder_enter(folder_fd, "deliverables", &deliverables_fd, &error) == 0)
        close(deliverables_fd);
    else
        note_failure(round, slug, &error);
}

/* The gateway's name of the model that the board names; NULL: it has none, or the board names none.
 */
static const char *find_model(const struct profile_round *round, const json_t *profile)
{
    const char *named = json_guard_string(json_guard_object(profile, "openclawConfig"), "model");
    return named != NULL ? json_guard_string(round->models, named) : NULL;
}

/* The agent's entry in the gateway's configuration; NULL without memory. */
static json_t *make_entry(
    const struct profile_round *round, const char *slug, const json_t *profile)
{
    struct text path = {0};
    const char *name = json_guard_string(profile, "name");
    const char *model = find_model(round, profile);
    text_printf(&path, "%s/%s", round->profiles->config->workspace_root_in_gateway, slug);
    json_t *entry = json_pack("{s:s, s:{s:s}}", "workspace", path.failed ? NULL : path.data,
        "identity", "name", name != NULL ? name : slug);
    text_fini(&path);
    /* Jansson would leave out an optional member for which there is no memory. */
    if (model != NULL && json_object_set_new(entry, "model", json_string(model)) != 0) {
        json_decref(entry);
        return NULL;
    }
    return entry;
}

static bool is_usable(
    const struct profile_round *round, const json_t *profile, char slug[static SLUG_NAME_BYTES])
{
    return read_slug(round, profile, slug) &&
           json_integer_value(json_object_get(round->slugs, slug)) == 1;
}

/* Puts it into the agents' file, unless the folder is not to be had: result says why. */
static void list_agent(
    struct profile_round *round, const char *slug, const json_t *profile, int result)
{
    if (result == ERROR_NO_MEMORY ||
        (result != ERROR_LOCKED && result != ERROR_CLOSED &&
            json_object_set_new(round->entries, slug, make_entry(round, slug, profile)) != 0))
        round->incomplete = true;
}

/* For an agent at which the round does not come. */
static void pass_agent_over(struct profile_round *round, const json_t *profile)
{
    char slug[SLUG_NAME_BYTES];
    if (is_usable(round, profile, slug))
        list_agent(round, slug, profile,
            profile_folder_check(
                round->folders.root_fd, slug, json_guard_id(profile, "_id"), NULL));
}

static void sync_agent(struct profile_round *round, const json_t *profile)
{
    char slug[SLUG_NAME_BYTES];
    struct error error;
    int folder_fd;
    if (!is_usable(round, profile, slug)) {
        note_skipped(round, profile);
        return;
    }
    /* Without the root the list is not written, so it does not matter whether it has the agent. */
    int result = ERROR_LOCKED;
    if (round->folders.root_fd >= 0) {
        result = profile_folder_claim(
            &round->folders, slug, json_guard_id(profile, "_id"), &folder_fd, &error);
        if (result != 0) {
            note_failure(round, slug, &error);
        } else {
            write_folder(round, slug, folder_fd, profile);
            close(folder_fd);
        }
    }
    list_agent(round, slug, profile, result);
}

/* Where the last round has stopped; the first if that agent is gone, or the last one did not stop.
 */
static size_t find_beginning(const struct profiles *profiles, const json_t *rows)
{
    size_t index;
    const json_t *profile;
    if (profiles->next_id[0] == '\0')
        return 0;
    json_array_foreach (rows, index, profile)
        if (json_guard_is(profile, "_id", profiles->next_id, ""))
            return index;
    return 0;
}

/* Goes on from where the last round has stopped, until the end or until its time is up. */
static void sync_agents(struct profile_round *round, const json_t *rows)
{
    struct profiles *profiles = round->profiles;
    int64_t limit_ms = STOP_POINT_NUMBER("MISSION_CONTROL_PROFILES_ROUND_MS", PROFILES_ROUND_MS);
    int64_t end_ms = clock_monotonic_ms() + limit_ms;
    size_t beginning = find_beginning(profiles, rows);
    bool is_over = false;
    size_t index;
    const json_t *profile;
    profiles->next_id[0] = '\0';
    json_array_foreach (rows, index, profile) {
        const char *id = json_guard_id(profile, "_id");
        if (atomic_load(profiles->abort))
            return;
        watch_sign();
        if (index < beginning || is_over) {
            pass_agent_over(round, profile);
            if (is_over && profiles->next_id[0] == '\0' && id != NULL)
                text_copy(profiles->next_id, sizeof profiles->next_id, id);
        } else {
            sync_agent(round, profile);
            is_over = clock_monotonic_ms() >= end_ms;
        }
    }
    atomic_store(&profiles->stats->profiles_unfinished, profiles->next_id[0] != '\0');
}

/*
 * Returns whether the file was written. A list with some of the agents would take the others out of
 * the gateway, so then it stays.
 */
static bool write_agents_file(struct profile_round *round, enum gateway_generation generation)
{
    const char *path = round->profiles->config->agents_file;
    struct error error;
    bool written = false;
    if (round->incomplete) {
        error_set(&error, ERROR_NO_MEMORY, "no memory for all agents");
        note_failure(round, path, &error);
    } else if (agents_file_write(path, round->entries, generation, &written, &error) != 0) {
        note_failure(round, path, &error);
    }
    return written;
}

/* Says what is wrong when that changes. text is "" for nothing. */
static void report_trouble(struct profiles *profiles, const char *text)
{
    if (strcmp(profiles->trouble, text) != 0 && text[0] != '\0')
        log_error(component,
            "the agents' profiles cannot be written: %s; deliveries go on, and this is tried again",
            text);
    else if (profiles->trouble[0] != '\0' && text[0] == '\0')
        log_info(component, "the agents' profiles are written again");
    text_copy(profiles->trouble, sizeof profiles->trouble, text);
    stats_profiles_ended(profiles->stats, text[0] != '\0' ? text : NULL);
}

static void report_skipped(struct profiles *profiles)
{
    const struct text *skipped = &profiles->found_skipped;
    const char *slugs = skipped->data != NULL && !skipped->failed ? skipped->data : "";
    char shown[ERROR_TEXT_BYTES];
    text_copy(shown, sizeof shown, slugs);
    if (shown[0] != '\0' && strcmp(profiles->skipped, shown) != 0)
        log_warn(component,
            "nothing is written for agents and skills whose slug is reserved, shared, or not made "
            "of "
            "letters, digits, - and _: %s",
            shown);
    text_copy(profiles->skipped, sizeof profiles->skipped, shown);
}

void profiles_fini(struct profiles *profiles)
{
    text_fini(&profiles->found_skipped);
    profiles->found_error.text[0] = '\0';
}

/* What went well is only known once all agents have had their turn. */
static void report_round(struct profiles *profiles, const json_t *rows)
{
    const char *error = profiles->found_error.text;
    bool unfinished = atomic_load(&profiles->stats->profiles_unfinished);
    if (unfinished && !profiles->has_said_unfinished)
        log_info(component,
            "the profiles of %zu agents take longer than a minute to write: the rest of them "
            "follow in further rounds",
            json_array_size(rows));
    else if (!unfinished && profiles->has_said_unfinished)
        log_info(component, "the profiles of all agents have been written");
    profiles->has_said_unfinished = unfinished;
    if (!unfinished || error[0] != '\0')
        report_trouble(profiles, error);
    if (unfinished)
        return;
    report_skipped(profiles);
    profiles_fini(profiles);
}

static void end_round(struct profile_round *round)
{
    if (round->folders.root_fd >= 0)
        close(round->folders.root_fd);
    profile_folders_fini(&round->folders);
    text_fini(&round->instructions);
    text_fini(&round->wake_up_routine);
    json_decref(round->models);
    json_decref(round->slugs);
    json_decref(round->entries);
}

bool profiles_write(
    struct profiles *profiles, const json_t *rows, enum gateway_generation generation)
{
    struct profile_round round = {
        .profiles = profiles, .slugs = json_object(), .entries = json_object()};
    struct error error;
    bool written = false;
    read_operators_file(&round, "AGENTS.md", &round.instructions);
    read_operators_file(&round, "HEARTBEAT.md", &round.wake_up_routine);
    read_models(&round);
    if (profile_root_open(profiles->config->workspace_root, &round.folders.root_fd, &error) != 0)
        note_failure(&round, "OPENCLAW_WORKSPACE_ROOT", &error);
    count_slugs(&round, rows);
    sync_agents(&round, rows);
    /* Aborted, it has not seen all agents; without the root, not whose folders they would get. */
    if (!atomic_load(profiles->abort)) {
        if (round.folders.root_fd >= 0)
            written = write_agents_file(&round, generation);
        report_round(profiles, rows);
    }
    end_round(&round);
    return written;
}

/* Whether there is something to sync, which on v0 there is not. */
static bool profiles_are_offered(struct profiles *profiles, const struct service *service)
{
    if (!profiles->config->profile_sync)
        return false;
    enum backend_version version = convex_version(service->convex);
    if (version == BACKEND_V0 && !profiles->has_said_v0)
        log_info(component, "OPENCLAW_PROFILE_SYNC has no effect: the backend is version 0, which "
                            "has no profiles");
    profiles->has_said_v0 = version == BACKEND_V0;
    return version == BACKEND_V1;
}

/* The board's profiles, a new reference; NULL when there is nothing to write, which has been said.
 */
static json_t *read_profiles(
    struct profiles *profiles, const struct service *service, size_t listed)
{
    json_t *rows;
    struct error error;
    if (!profiles_are_offered(profiles, service))
        return NULL;
    enum convex_outcome outcome = service_list_profiles(service, &rows, &error);
    if (outcome == CONVEX_ABORTED)
        return NULL;
    if (outcome != CONVEX_SUCCESS) {
        log_warn(component, "the agents' profiles cannot be read: %s", error.text);
        return NULL;
    }
    /* The gateway is not to forget all agents because of one odd answer. */
    if (json_array_size(rows) == 0 && listed > 0) {
        log_warn(
            component, "the board lists %zu agents, but no profiles: nothing is changed", listed);
        json_decref(rows);
        return NULL;
    }
    return rows;
}

bool profiles_sync(struct profiles *profiles, const struct service *service,
    enum gateway_generation generation, size_t listed)
{
    json_t *rows = read_profiles(profiles, service, listed);
    if (rows == NULL) {
        /* What is left of a sync has to wait for the next interval, not for another second. */
        atomic_store(&profiles->stats->profiles_unfinished, false);
        return false;
    }
    bool written = profiles_write(profiles, rows, generation);
    json_decref(rows);
    return written;
}
