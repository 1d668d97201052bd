/* Agents' folders below a root that the agents themselves can write to, and files in them. */
#ifndef AGENTS_PROFILE_FILES_H
#define AGENTS_PROFILE_FILES_H

#include <jansson.h>
#include <stdbool.h>

#include "base/containers.h"
#include "base/error.h"
#include "base/text.h"

/*
 * All functions below block for the disk and never follow a symbolic link below the root. They may
 * be called from any thread, but not for the same root at the same time. Their errors name what is
 * wrong within the folder that they were given; the caller says whose it is.
 */

/* Whether name can be a folder's: 1 to 64 of [A-Za-z0-9_-], a letter or a digit first. Pure. */
bool profile_name_is_safe(const char *name);

/* Opens the root, creating what is missing of it. The caller closes *fd. ERROR_SYSTEM. */
int profile_root_open(const char *path, int *fd, struct error *error);

/*
 * Opens the folder of that safe name, creating it if it is missing. The caller closes *fd.
 * ERROR_SYSTEM for a link, a file, a folder of another user, and all that the system refuses.
 */
int profile_folder_enter(int parent_fd, const char *name, int *fd, struct error *error);

/* What becomes of a file that is there already. */
enum profile_put {
    PROFILE_REPLACE, /* it gets the content */
    PROFILE_SAVE, /* the same, and on disk: after a loss of power it is the old one or the new one
                   */
    PROFILE_KEEP, /* it stays as it is */
};

/*
 * Has the file name hold content: written under a temporary name and renamed, with PROFILE_SAVE
 * synced before. Nothing is written if it holds that already. *written is set to true, and
 * otherwise left alone, when something was; it may be NULL. ERROR_SYSTEM: the file is as it was.
 */
int profile_file_put(int folder_fd, const char *name, struct text_span content,
    enum profile_put put, bool *written, struct error *error);

/*
 * Whether the folder of that name is that of the agent with that id. Only reads. 0: it is;
 * ERROR_CLOSED: it is not, or not there; ERROR_LOCKED or ERROR_NO_MEMORY: that cannot be found out,
 * for good or for now; ERROR_SYSTEM: something else is in its place.
 */
int profile_folder_check(int root_fd, const char *name, const char *agent_id, struct error *error);

/* The folders below a root and whose they are, read when first needed. Zero-initialize it. */
struct profile_folders {
    int root_fd;
    json_t *by_id; /* agent's id: name of its folder; NULL until read */
};

void profile_folders_fini(struct profile_folders *folders);

/*
 * Opens the folder of the agent with that id, which is called slug now, and notes in it whose it
 * is. A folder that another agent had under that slug is renamed to "slug.ID", with the id of that
 * agent; one that this agent has under another name is renamed to slug; otherwise a new one is
 * made. One that is nobody's becomes this agent's. The caller closes *fd. ERROR_LOCKED: the folder
 * is another agent's and stays so; ERROR_SYSTEM otherwise.
 */
int profile_folder_claim(struct profile_folders *folders, const char *slug, const char *agent_id,
    int *fd, struct error *error);

#endif
