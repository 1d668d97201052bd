/* Agents' profiles: what the board says of them, as files for them and their gateway. */
#ifndef AGENTS_PROFILES_H
#define AGENTS_PROFILES_H

#include <jansson.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "agents/profile_files.h"
#include "backend/service.h"
#include "config/config.h"
#include "gateway/gateway.h"
#include "telemetry/stats.h"

/* Texts of files (profile_texts.c). Those that fail for lack of memory have failed set. */

/* What the texts are made of; borrowed. */
struct profile_source {
    const json_t *profile;       /* a row of listAgentsForRuntime */
    const char *instructions;    /* the operator's AGENTS.md; NULL: the one built in */
    const char *wake_up_routine; /* the operator's HEARTBEAT.md; NULL likewise */
};

/* A file in an agent's folder. */
struct profile_file {
    const char *name;
    enum profile_put put;
    /* Appends its content; nothing: the file is not made. */
    void (*append)(struct text *text, const struct profile_source *source);
};

enum { PROFILE_FILES = 7 };
extern const struct profile_file profile_file_table[PROFILE_FILES];

/* Appends SKILL.md of one of the row's resolvedSkills; nothing when it has no content. */
void profile_append_skill(struct text *text, const json_t *skill);

/*
 * Has the file at path tell a gateway of that generation which agents there are (agents_file.c):
 * entries has their settings by slug, and is only read. *written as for profile_file_put. Blocks
 * for the disk. ERROR_NO_MEMORY, ERROR_TOO_LARGE, ERROR_SYSTEM: the file is as it was.
 */
int agents_file_write(const char *path, json_t *entries, enum gateway_generation generation,
    bool *written, struct error *error);

/* Keeps the files in step with the board; one for each runtime, used by its agent syncer alone. */
struct profiles {
    const struct config *config;
    struct stats *stats;
    const atomic_bool *abort;       /* ends a sync between two agents */
    char trouble[ERROR_TEXT_BYTES]; /* what was said last; "" for none */
    char skipped[ERROR_TEXT_BYTES]; /* slugs that were reported as not usable; "" for none */
    bool has_said_v0;

    /* Of a sync that takes several rounds. */
    bool has_said_unfinished;
    char next_id[ID_BYTES];    /* the agent at which the next round begins; "": the first */
    struct text found_skipped; /* slugs that are not usable, so far */
    struct error found_error;  /* the first so far; its text is "" until then */
};

/* Frees what it holds. */
void profiles_fini(struct profiles *profiles);

/*
 * One round of a sync lasts so long, and then until its current agent is done. In the meantime the
 * wake-up schedule waits for agents that have come or gone on the board, for as long as for a sync
 * at the default interval. A new agent costs two waits for the disk, so on a slow one (50 ms) a
 * round makes 600.
 */
enum { PROFILES_ROUND_MS = 60 * 1000 };

/*
 * Reads the profiles and writes what has changed: files in agents' folders, then the gateway's list
 * of agents, in the form for a gateway of that generation. listed is the number of agents that
 * listAgents has just returned. What goes wrong is logged when it changes, and recorded in stats.
 * Returns whether the gateway's list was written. When the time of a round is up, the next call
 * goes on with the next agent, and profiles_unfinished is set in stats until then; the list has the
 * agents that have their folder. Does nothing unless OPENCLAW_PROFILE_SYNC is on and the backend is
 * v1. Blocks for the backend and the disk.
 */
bool profiles_sync(struct profiles *profiles, const struct service *service,
    enum gateway_generation generation, size_t listed);

/*
 * The same with the rows at hand, which are read only. Does not block for the backend. For
 * profiles_sync and tests.
 */
bool profiles_write(
    struct profiles *profiles, const json_t *rows, enum gateway_generation generation);

#endif
