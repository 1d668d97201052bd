/*
 * Stop points: linked into a second build of the runtime (Makefile), which kills itself with
 * SIGKILL, or lets the thread hang, when it reaches the point named by MISSION_CONTROL_STOP_AT for
 * the given time. So a test can crash the runtime between any two steps of a delivery.
 *
 * Besides the points named in the sources, each thread's name is one, reached whenever the thread
 * ends a wait (base/watch.c).
 */
#define MISSION_CONTROL_STOP_POINTS
#include "base/stop_point.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void stop_point_reach(const char *name)
{
    static atomic_ulong reached;
    const char *at = getenv("MISSION_CONTROL_STOP_AT");
    size_t name_bytes = strlen(name);
    if (at == NULL || strncmp(at, name, name_bytes) != 0 || at[name_bytes] != ':')
        return;
    char *action;
    if (atomic_fetch_add(&reached, 1) + 1 != strtoul(at + name_bytes + 1, &action, 10))
        return;
    if (strcmp(action, ":hang") != 0)
        kill(getpid(), SIGKILL);
    dprintf(STDERR_FILENO, "hanging at %s\n", name);
    /* All signals are blocked. */
    for (;;)
        pause();
}

int64_t stop_point_number(const char *variable, int64_t otherwise)
{
    const char *text = getenv(variable);
    return text != NULL ? strtoll(text, NULL, 10) : otherwise;
}
