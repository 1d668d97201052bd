/* Programs run without a shell: started clean, waited for by pidfd, killed as a group. */
#ifndef BASE_CHILD_H
#define BASE_CHILD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"

/* Where a child's standard error goes; its standard output always goes to the pipe. */
enum child_errors { CHILD_ERRORS_DROPPED, CHILD_ERRORS_WITH_OUTPUT };

/*
 * A running child, the leader of a process group of its own. Embedded in its owner, used by one
 * thread at a time, and ended by child_fini.
 */
struct child {
    pid_t pid;     /* of the process and of its group; stays ours until child_fini reaps it */
    int pid_fd;    /* readable once the process has ended */
    int output_fd; /* what it writes; does not block; the owner reads it */
};

/* How a child ended. */
struct child_exit {
    int code;   /* its exit code, 0..255; -1 when a signal ended it */
    int signal; /* the signal that ended it, else 0 */
};

/*
 * Starts argv[0], looked up in PATH unless it holds a '/', with argv (ended by NULL). The child
 * has no signal blocked or ignored, /dev/null as its input, no descriptor but 0 to 2, and our
 * environment without any variable that carries the service token: OPENCLAW_GATEWAY_TOKEN is the
 * only secret of ours in it. Returns 0 or ERROR_SYSTEM (also when the program cannot be run) or
 * ERROR_NO_MEMORY; then there is nothing to end. Returns once the program is running. SIGCHLD must
 * not be ignored in this process, and nobody else may reap its children. Any thread, as long as
 * nobody changes the environment.
 */
int child_start(
    struct child *child, const char *const argv[], enum child_errors errors, struct error *error);

/*
 * Blocks until the child has ended, deadline_ms on the monotonic clock (SYNC_NO_DEADLINE: none), or
 * stop_fd (-1: none) is readable. Returns 0, ERROR_TIMEOUT or ERROR_INTERRUPTED. Does not reap: the
 * group stays ours. A child that fills its pipe does not end, so read output_fd meanwhile.
 */
int child_wait(const struct child *child, int64_t deadline_ms, int stop_fd);

/* Sends signal to the child and everything of its group. Does nothing if all of them are gone. */
void child_signal_group(const struct child *child, int signal);

/*
 * Kills what is left of the group, waits for the child's end, reaps it and closes the descriptors.
 * *ended, unless NULL, says how it ended: by itself, or by SIGKILL from here. Blocks only as long
 * as the kernel needs to end a killed process.
 */
void child_fini(struct child *child, struct child_exit *ended);

/*
 * Runs argv to its end and keeps the first output_bytes - 1 bytes of its standard output in output,
 * NUL-ended; the rest is read and dropped, standard error goes nowhere. Returns 0 with *ended
 * filled in, whatever the exit code is, or: ERROR_SYSTEM when it cannot be run, ERROR_TIMEOUT after
 * timeout_ms (at least 1), ERROR_INTERRUPTED when stop_fd (-1: none) became readable. Nothing of
 * the child's group is left on return, not even what it put into the background. Blocks up to
 * timeout_ms; any thread.
 */
int child_output(const char *const argv[], int64_t timeout_ms, int stop_fd, char *output,
    size_t output_bytes, struct child_exit *ended, struct error *error);

#endif
