/* What the kernel says of processes in /proc, to tell one from a later one with its number. */
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
    int64_t start_ticks; /* when it began, in clock ticks since the machine started */
};

/*
 * Reads a line of /proc/PID/stat, NUL-ended. False when it is none; then *stat is undefined. The
 * program's name in it may hold blanks, brackets and anything else. Pure.
 */
bool process_stat_parse(const char *line, struct process_stat *stat);

/* The same of the process pid; *stat is undefined unless it lives. Any thread; does not block. */
enum process_presence process_stat_read(pid_t pid, struct process_stat *stat);

/*
 * Whether a process of the group still runs, of this session unless it is PROCESS_ANY_SESSION.
 * Those that ended and were not waited for do not count, in contrast to kill(-group, 0). Reads all
 * of /proc. Any thread.
 */
enum process_presence process_group_look(pid_t group, pid_t session);

#endif
