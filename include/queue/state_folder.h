/* The folder that outlives the process, and the lock that keeps a second runtime out of it. */
#ifndef QUEUE_STATE_FOLDER_H
#define QUEUE_STATE_FOLDER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

struct state_folder {
    int lock_fd; /* -1 while closed; close-on-exec */
};

/*
 * Makes path and what is missing above it, with mode 0700, and locks it. Returns 0, ERROR_INVALID
 * when it cannot be made or written to, or ERROR_LOCKED when another runtime has it; the text says
 * which process. Blocks up to 0.2 s for those who only look at the lock. The caller closes it.
 */
int state_folder_open(struct state_folder *folder, const char *path, struct error *error);
void state_folder_close(struct state_folder *folder);

/*
 * Whether a runtime holds the folder now, with its process id as text in holder ("" when it cannot
 * be known). Makes nothing; a folder that is not there is held by nobody. For a moment it shares
 * the lock if nobody has it, which a runtime that starts at that very moment waits for.
 */
bool state_folder_is_held(const char *path, char *holder, size_t holder_bytes);

#endif
