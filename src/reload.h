/* SIGHUP: reads the settings again without keeping the main thread waiting. Main thread only. */
#ifndef RELOAD_H
#define RELOAD_H

#include <stdbool.h>

#include "config/config.h"
#include "runtime.h"

struct reload_job;

/* Zero-initialize it except for the first three, which are borrowed. */
struct reload {
    struct runtime *runtime;
    const struct config *config; /* of the startup */
    const char *env_file;        /* NULL: none */
    struct reload_job *job;      /* under way, or NULL */
    bool again;                  /* another one was asked for meanwhile */
};

/*
 * Begins to read env_file and the environment again, on a thread of its own, since a file may keep
 * its reader waiting. While that is under way, another call has it repeated afterwards. Blocks only
 * as the log does. Failures are logged.
 */
void reload_begin(struct reload *reload);

/* Readable when reload_finish has something to do; -1 while nothing is under way. Borrowed. */
int reload_fd(const struct reload *reload);

/*
 * If all settings are valid, applies LOG_LEVEL, SERVICE_TOKEN and OPENCLAW_GATEWAY_TOKEN; problems,
 * changes, and settings that require a restart are logged. Blocks only as the log does.
 */
void reload_finish(struct reload *reload);

/* Leaves what is under way to itself. Does not block. */
void reload_abandon(struct reload *reload);

#endif
