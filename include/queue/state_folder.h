/* The folder that outlives the process, and the lock that keeps a second runtime out of it. */
#ifndef QUEUE_STATE_FOLDER_H
#define QUEUE_STATE_FOLDER_H

#include "base/error.h"

struct state_folder {
    int lock_fd; /* -1 while closed; close-on-exec */
};

/*
 * Makes path and what is missing above it, with mode 0700, and locks it. Returns 0, ERROR_INVALID
 * when it cannot be made or written to, or ERROR_LOCKED when another runtime has it; the text says
 * which process. The caller closes it.
 */
int state_folder_open(struct state_folder *folder, const char *path, struct error *error);
void state_folder_close(struct state_folder *folder);

#endif
