/* The file that names the gateway process, by which the next runtime finds one that is left over.
 */
#ifndef GATEWAY_SUPERVISOR_RECORD_H
#define GATEWAY_SUPERVISOR_RECORD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "base/process.h"

enum { CHILD_RECORD_BOOT_BYTES = 64 };

/*
 * The identity of a child, kept in STATE_DIR/gateway.pid. A pid alone may belong to another process
 * by now, so its start time and the boot are part of it.
 */
struct child_record {
    pid_t pid;     /* also the id of its process group */
    pid_t session; /* identifies the group once its leader has exited */
    int64_t start_ticks;
    char boot_id[CHILD_RECORD_BOOT_BYTES];
};

/* Fills *record for a running child of ours. Returns 0 or ERROR_SYSTEM. Does not block. */
int child_record_make(struct child_record *record, pid_t pid, struct error *error);

/* Writes the file atomically, mode 0600, without syncing it. Returns 0 or ERROR_SYSTEM. */
int child_record_save(
    const char *state_dir, const struct child_record *record, struct error *error);

/*
 * Reads the file. Returns 0; ERROR_CLOSED when it does not exist; ERROR_INVALID when it is damaged;
 * ERROR_SYSTEM or ERROR_NO_MEMORY when it cannot be read now.
 */
int child_record_load(const char *state_dir, struct child_record *record, struct error *error);

/* Removes the file, if it exists. */
void child_record_remove(const char *state_dir);

/*
 * Whether the recorded process, or one of its group that outlived it, still runs. A process that
 * merely got the same pid is told apart by its start time; while it has the pid, no group of ours
 * can exist. A group whose leader has exited must also have the recorded session.
 */
enum process_presence child_record_check(const struct child_record *record);

/*
 * Ends the recorded process and its group, if child_record_check finds them: SIGTERM, and SIGKILL
 * after limit_ms. Blocks for up to a second longer than that; returns early, without SIGKILL, when
 * stop_fd (-1: none) becomes readable. Returns true only if they are known to be gone.
 */
bool child_record_end(const struct child_record *record, int64_t limit_ms, int stop_fd);

#endif
