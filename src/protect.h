/* Keeps the secrets in this process from other processes of the same user. */
#ifndef PROTECT_H
#define PROTECT_H

#include <stdbool.h>

/* The variable of the environment that allows debuggers and core dumps when it is "on". */
#define PROTECT_DEBUG_VARIABLE "MISSION_CONTROL_DEBUG_CORE"

/*
 * Makes the process unreadable for others of its user and lets it leave no core dump, unless
 * PROTECT_DEBUG_VARIABLE is on. Returns whether it protects. To be called by the only thread,
 * before any secret is read.
 */
bool protect_memory(void);

/*
 * Moves the variables of the environment to the heap, where getenv and environ find them as before,
 * and wipes the bytes that /proc/PID/environ shows. A variable for which there is no memory stays.
 * To be called once, by the only thread.
 */
void protect_environment(void);

#endif
