/* Running child processes as groups, reading /proc, and notifying systemd. */
#ifndef BASE_PROCESS_H
#define BASE_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"

/* Where a child's standard error goes; its standard output always goes to the pipe. */
enum child_stderr { CHILD_STDERR_DROPPED, CHILD_STDERR_MERGED };

/*
 * A running child, the leader of a process group of its own. Embedded in its owner, used by one
 * thread at a time, and ended by child_fini.
 */
struct child {
    pid_t pid;     /* also its group's id; not reused before child_fini reaps it */
    int pid_fd;    /* readable once the process has ended */
    int output_fd; /* non-blocking read end of its output; the owner reads it */
};

/* How a child ended. */
struct child_exit {
    int code;   /* its exit status, 0..255; -1 if a signal killed it */
    int signal; /* the signal that killed it, else 0 */
};

/*
 * Starts argv[0], looked up in PATH unless it contains a '/', with argv (NULL-terminated). The
 * child has no signal blocked or ignored, /dev/null as its input, only descriptors 0 to 2, and our
 * environment without any variable that carries the service token: OPENCLAW_GATEWAY_TOKEN is the
 * only secret of ours that it sees. Returns 0 once the program is running; ERROR_SYSTEM, also if
 * it cannot be run, or ERROR_NO_MEMORY, and then there is nothing to clean up. SIGCHLD must not be
 * ignored, and no other code may reap children of this process. Any thread, as long as none
 * modifies the environment.
 */
int child_start(
    struct child *child, const char *const argv[], enum child_stderr errors, struct error *error);

/*
 * Blocks until the child has exited, deadline_ms on the monotonic clock has passed
 * (SYNC_NO_DEADLINE: never), or stop_fd (-1: none) is readable. Returns 0, ERROR_TIMEOUT or
 * ERROR_INTERRUPTED. Does not reap it. A child blocked on a full pipe does not exit, so output_fd
 * has to be read meanwhile.
 */
int child_wait(const struct child *child, int64_t deadline_ms, int stop_fd);

/* Signals the child and its whole group; does nothing if all of them have exited. Never blocks. */
void child_signal_group(const struct child *child, int signal);

/*
 * Kills what is left of the group, reaps the child and closes the descriptors. *ended, unless NULL,
 * receives how it ended: by itself, or by the SIGKILL sent here. Blocks only as long as the kernel
 * needs to tear down a killed process.
 */
void child_fini(struct child *child, struct child_exit *ended);

/*
 * Runs argv to completion and stores the first output_bytes - 1 bytes of its standard output,
 * NUL-terminated, in output; the rest and its standard error are discarded. Returns 0 with *ended
 * filled in, whatever the exit status is; ERROR_SYSTEM if it cannot be run, ERROR_TIMEOUT after
 * timeout_ms (at least 1), or ERROR_INTERRUPTED when stop_fd (-1: none) became readable. On return
 * the whole group has been killed, background processes included. Blocks for up to timeout_ms; any
 * thread.
 */
int child_output(const char *const argv[], int64_t timeout_ms, int stop_fd, char *output,
    size_t output_bytes, struct child_exit *ended, struct error *error);

/* Processes as /proc shows them. */

enum { PROCESS_ANY_SESSION = -1 };

enum process_presence {
    PROCESS_GONE,
    PROCESS_RUNNING,
    PROCESS_UNKNOWN, /* lookup failed for lack of descriptors or memory */
};

struct process_stat {
    char state; /* 'Z' and 'X' have exited */
    pid_t group;
    pid_t session;
    int64_t threads;
    /* In clock ticks since boot; distinguishes it from a later process with the same pid. */
    int64_t start_ticks;
    int64_t virtual_bytes;
    int64_t resident_bytes; /* approximate; see process_resident_bytes */
};

/*
 * Parses the NUL-terminated content of /proc/PID/stat. False if it is malformed; then *stat is
 * undefined. The program's name in it may contain blanks, parentheses and anything else. Pure.
 */
bool process_stat_parse(const char *line, struct process_stat *stat);

/* Reads it for a process; *stat is undefined unless that is running. Any thread; does not block. */
enum process_presence process_stat_read(pid_t pid, struct process_stat *stat);

/*
 * Resident memory of the process; 0 if it cannot be read. Unlike resident_bytes above, recent
 * kernels include their per-CPU counters here. Any thread; does not block.
 */
int64_t process_resident_bytes(pid_t pid);

/*
 * Whether the group has a running process, in that session unless it is PROCESS_ANY_SESSION.
 * Zombies do not count, unlike with kill(-group, 0). Reads all of /proc. Any thread.
 */
enum process_presence process_group_find(pid_t group, pid_t session);

/* Notifications to systemd (sd_notify(3)). */

/* For messages that must arrive: systemd considers the start unfinished until READY=1. */
enum { NOTIFY_TIMEOUT_MS = 10000 };

/*
 * Sends state ("READY=1", "STOPPING=1", "WATCHDOG=1") to NOTIFY_SOCKET as one datagram; does
 * nothing if that is not set. Blocks for at most timeout_ms (0: not at all) while the socket's
 * queue is full, e.g. when many services start at once, and then drops the message.
 */
void notify_send(const char *state, int64_t timeout_ms);

/*
 * The interval at which to send WATCHDOG=1: half of WATCHDOG_USEC, in milliseconds, at most a day;
 * 0 if systemd expects none from this process (WATCHDOG_PID).
 */
int64_t notify_watchdog_ms(void);

#endif
