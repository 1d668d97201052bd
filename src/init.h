/* The duties of process 1 of a container, in a process of their own. */
#ifndef INIT_H
#define INIT_H

#include <stdbool.h>

/*
 * Does nothing unless this is process 1 of its PID namespace. Then forks: the child returns false
 * and goes on as the runtime; the parent forwards signals to it and reaps every orphan of the
 * namespace until the child ends, and returns true with the status to exit with (128 + n after
 * signal n). Also returns false if it cannot fork, which is logged. Call it with all signals
 * blocked and before any thread is started.
 */
bool init_run(int *exit_status);

#endif
