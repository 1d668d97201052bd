/*
 * The gateway as a child of ours (OPENCLAW_GATEWAY_COMMAND): started, its output passed on into the
 * log, started again with backoff when it ends, and stopped with everything of its process group.
 */
#ifndef GATEWAY_SUPERVISOR_H
#define GATEWAY_SUPERVISOR_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "base/process.h"

struct gateway_supervisor;

struct supervisor_status {
    pid_t pid;               /* 0: none runs */
    unsigned restarts;       /* tries to start it after the first one */
    bool accepting;          /* its port accepted a connection since it was started */
    int64_t last_exit_at_ms; /* wall clock; 0: none ended yet */
    struct child_exit last_exit;
};

/*
 * Prepares a supervisor for command (base/words.h) and the host and port of gateway_url, both as
 * the configuration checks them, which keeps its record in state_dir. Nothing runs yet. Returns 0,
 * ERROR_INVALID or ERROR_NO_MEMORY. The caller destroys it; it must not be running then.
 */
int supervisor_create(struct gateway_supervisor **process, const char *command,
    const char *gateway_url, const char *state_dir, struct error *error);
void supervisor_destroy(struct gateway_supervisor *process);

/*
 * Starts the thread mc-gateway, which first takes down a gateway that a killed runtime left behind
 * and then starts ours; returns without waiting for either. SIGCHLD must not be ignored. Returns 0
 * or ERROR_SYSTEM.
 */
int supervisor_start(struct gateway_supervisor *process, struct error *error);

/* Has the child and its group sent SIGTERM, and nothing started again. Does not block; repeatable.
 * Any thread. */
void supervisor_begin_stop(struct gateway_supervisor *process);

/*
 * Begins the stop unless it has begun, and blocks until nothing of the group is left: up to 10 s
 * after the begin, then what still runs is killed. Does nothing more if the thread never started.
 */
void supervisor_stop(struct gateway_supervisor *process);

/* Copies what is known by now. Any thread; a short lock. */
void supervisor_status(struct gateway_supervisor *process, struct supervisor_status *status);

#endif
