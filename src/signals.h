/* What the signals do between the start and the end of the runtime. Only the main thread. */
#ifndef SIGNALS_H
#define SIGNALS_H

#include <stdbool.h>

#include "base/error.h"
#include "config/config.h"
#include "runtime.h"

/* What signals act on; borrowed. */
struct signals_targets {
    struct runtime *runtime;
    const struct config *config;        /* the settings of the start */
    const struct config_source *source; /* where SIGHUP reads them again */
};

/* Blocks all signals, before any thread starts: every thread inherits that. */
void signals_block(void);

/*
 * Opens the descriptor that signals_wait_for_end reads; the caller closes it. Signals must be
 * blocked; those that came before wait. Before the threads, which may use up the descriptors:
 * nothing else would end the process. ERROR_SYSTEM.
 */
int signals_open(int *fd, struct error *error);

/*
 * Acts on SIGHUP, SIGUSR1 and SIGUSR2 and does what is due by the clock (the log's counts,
 * systemd's watchdog), until something ends the run: returns SIGTERM or SIGINT, or 0 when the
 * runtime itself asks for it. Blocks until then.
 */
int signals_wait_for_end(int fd, const struct signals_targets *targets);

/*
 * From here on SIGTERM or SIGINT ends the process at once with 128 + its number, whatever it is
 * doing; the other signals stay blocked. Unless a signal was the first to ask for the stop
 * (first_came), one changes nothing: a supervisor's, which means that very stop.
 */
void signals_watch_for_second(bool first_came);

#endif
