/*
 * Stop points: linked into a second build of the runtime (Makefile), which kills itself with
 * SIGKILL when it reaches the point named by MISSION_CONTROL_STOP_AT for the given time. So a test
 * can crash the runtime between any two steps of a delivery.
 */
#define MISSION_CONTROL_STOP_POINTS
#include "base/stop_point.h"

#include <signal.h>
#include <stdatomic.h>
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
    if (atomic_fetch_add(&reached, 1) + 1 == strtoul(at + name_bytes + 1, NULL, 10))
        kill(getpid(), SIGKILL);
}
