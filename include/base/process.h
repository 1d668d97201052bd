/* Programs run without a shell: started clean, waited for by pidfd, killed as a group. */
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
    struct child *child, const char *const argv[], enum child_stderr errors, struct error *error);

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

/* What the kernel says of processes in /proc: which one it is, and what it takes up. */

enum { PROCESS_ANY_SESSION = -1 };

enum process_presence {
    PROCESS_GONE,
    PROCESS_RUNNING,
    PROCESS_UNKNOWN, /* it could not be looked for: descriptors or memory are short */
};

struct process_stat {
    char state; /* 'Z' and 'X' have ended */
    pid_t group;
    pid_t session;
    int64_t threads;
    /* In clock ticks since the machine started: tells it from a later one with its number. */
    int64_t start_ticks;
    int64_t virtual_bytes;
    int64_t resident_bytes; /* not exact; see process_resident_bytes */
};

/*
 * Reads a line of /proc/PID/stat, NUL-ended. False when it is none; then *stat is undefined. The
 * program's name in it may hold blanks, brackets and anything else. Pure.
 */
bool process_stat_parse(const char *line, struct process_stat *stat);

/* The same of the process pid; *stat is undefined unless it lives. Any thread; does not block. */
enum process_presence process_stat_read(pid_t pid, struct process_stat *stat);

/*
 * How much memory of the process is resident; 0 when the kernel does not say. Recent kernels count
 * in what each processor has counted for itself so far, which resident_bytes above lacks. Any
 * thread; does not block.
 */
int64_t process_resident_bytes(pid_t pid);

/*
 * Whether a process of the group still runs, of this session unless it is PROCESS_ANY_SESSION.
 * Those that ended and were not waited for do not count, in contrast to kill(-group, 0). Reads all
 * of /proc. Any thread.
 */
enum process_presence process_group_find(pid_t group, pid_t session);

/* Tells systemd how the service is, over the socket that it names in NOTIFY_SOCKET. */

/* For what nothing makes up for when it is lost: a start is not over before its READY=1 arrived. */
enum { NOTIFY_TIMEOUT_MS = 10000 };

/*
 * Sends state ("READY=1", "STOPPING=1", "WATCHDOG=1") as one datagram (sd_notify(3)). Does nothing
 * without NOTIFY_SOCKET. Blocks for limit_ms at most while a busy service manager has more
 * datagrams before it than the system keeps, e.g. when many services start at once; then it misses
 * this one.
 */
void notify_send(const char *state, int64_t limit_ms);

/*
 * Half of the time within which systemd wants a WATCHDOG=1, in milliseconds, at most a day; 0 when
 * it wants none of this process (WATCHDOG_USEC, WATCHDOG_PID).
 */
int64_t notify_watchdog_ms(void);

#endif
