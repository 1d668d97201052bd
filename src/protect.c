/*
 * A process of the same user, such as an agent's tool beside a gateway child, may by default read
 * our memory and the environment that we were started with, and a core dump writes all of it to
 * disk. Against that:
 *
 * - PR_SET_DUMPABLE 0 gives /proc/PID to root and refuses ptrace(2) to others. It ends with execve,
 *   so children are not affected.
 * - RLIMIT_CORE 0 leaves no core. Children inherit it, as they hold tokens, too.
 * - The environment's first bytes, which every exec lays out where /proc/PID/environ shows them,
 *   are wiped once they have been copied.
 *
 * Root can read everything all the same, and what a child is given is readable in the child.
 * Debuggers and sanitizers: LeakSanitizer makes the process dumpable by itself for as long as it
 * looks at it; gdb needs root's rights or MISSION_CONTROL_DEBUG_CORE=on.
 */
#include "protect.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

bool protect_memory(void)
{
    const struct rlimit none = {0, 0};
    const char *debug = getenv(PROTECT_DEBUG_VARIABLE);
    if (debug != NULL && strcasecmp(debug, "on") == 0)
        return false;
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    /* Where a filter of system calls refuses it, the process still leaves no core as it is now. */
    int limited = setrlimit(RLIMIT_CORE, &none);
    (void)limited;
    return true;
}

void protect_environment(void)
{
    for (char **variable = environ; variable != NULL && *variable != NULL; variable++) {
        char *copy = strdup(*variable);
        if (copy == NULL)
            continue;
        explicit_bzero(*variable, strlen(*variable));
        *variable = copy;
    }
}
