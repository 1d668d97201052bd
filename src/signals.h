/* Signal handling from startup to exit. Main thread only. */
#ifndef SIGNALS_H
#define SIGNALS_H

#include <stdbool.h>

#include "base/error.h"
#include "config/config.h"
#include "runtime.h"

/* What signals act on; borrowed. */
struct signals_targets {
    struct runtime *runtime;
    const struct config *config; /* the settings of the startup */
    const char *env_file;        /* read again by SIGHUP, with the environment; NULL: none */
};

/* Blocks all signals. Before any thread starts, since threads inherit the mask. */
void signals_block(void);

/*
 * Opens the descriptor that signals_wait_for_end reads; the caller closes it. Signals must be
 * blocked; those that are pending are read from it. Call it before the threads start: if they used
 * up all descriptors first, no signal could end the process. ERROR_SYSTEM.
 */
int signals_open(int *fd, struct error *error);

/*
 * Handles SIGHUP, SIGUSR1 and SIGUSR2 and does the periodic work (the log's repeat counts,
 * systemd's watchdog) until the shutdown: returns SIGTERM or SIGINT, or 0 when the backend has
 * requested it. Blocks until then.
 */
int signals_wait_for_end(int fd, const struct signals_targets *targets);

/*
 * From here on SIGTERM or SIGINT exits at once with 128 + its number, whatever the process is
 * doing; the other signals stay blocked. If the shutdown was not requested by a signal
 * (first_came is false), the first one is ignored: it is the supervisor's for this very shutdown.
 */
void signals_watch_for_second(bool first_came);

#endif
