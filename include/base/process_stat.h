/* What the kernel says of processes in /proc: which one it is, and what it takes up. */
#ifndef BASE_PROCESS_STAT_H
#define BASE_PROCESS_STAT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum { PROCESS_ANY_SESSION = -1 };

enum process_presence {
    PROCESS_GONE,
    PROCESS_LIVES,
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
enum process_presence process_group_look(pid_t group, pid_t session);

#endif
