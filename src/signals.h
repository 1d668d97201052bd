/* Signal handling from startup to exit. Main thread only. */
#ifndef SIGNALS_H
#define SIGNALS_H

#include <stdbool.h>

#include "base/error.h"
#include "config/config.h"
#include "runtime.h"

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
 * requested it. config is the settings of the startup. SIGHUP reads env_file (NULL: none) and the
 * environment again, and if all settings are valid, applies LOG_LEVEL, SERVICE_TOKEN and
 * OPENCLAW_GATEWAY_TOKEN; problems, changes, and settings that require a restart are logged. Blocks
 * until then.
 */
int signals_wait_for_end(
    int fd, struct runtime *runtime, const struct config *config, const char *env_file);

/*
 * From here on SIGTERM or SIGINT exits at once with 128 + its number, whatever the process is
 * doing; the other signals stay blocked. If the shutdown was not requested by a signal
 * (first_came is false), the first one is ignored: it is the supervisor's for this very shutdown.
 */
void signals_watch_for_second(bool first_came);

#endif
