/*
 * Runs the gateway as a child (OPENCLAW_GATEWAY_COMMAND): logs its output, restarts it with
 * backoff, and ends it with its whole process group (docs/protocol.md, "Supervision").
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
    pid_t pid;               /* 0 while no child runs */
    unsigned restarts;       /* attempts to start it after the first */
    bool accepting;          /* it has answered a request since it was started */
    int64_t last_exit_at_ms; /* wall clock; 0 until a child has exited */
    struct child_exit last_exit;
};

struct supervisor_settings {
    const char *command;   /* see argv_parse; as the configuration checks it */
    const char *state_dir; /* where gateway.pid goes */
    /*
     * Called by mc-gateway as soon as a child has been started, or has exited or is to end, so that
     * requests can be held back until the next one answers. Blocks at most as the log does.
     */
    void (*on_change)(void *context, bool started);
    void *context;
};

/*
 * Creates a supervisor; copies the strings. Starts nothing yet. Returns 0, ERROR_INVALID or
 * ERROR_NO_MEMORY. The caller destroys it once it has been stopped.
 */
int supervisor_create(struct gateway_supervisor **supervisor,
    const struct supervisor_settings *settings, struct error *error);
void supervisor_destroy(struct gateway_supervisor *supervisor);

/*
 * Starts the thread mc-gateway, which first ends a gateway that a killed runtime left behind and
 * then starts ours; returns without waiting for either. SIGCHLD must not be ignored. Returns 0 or
 * ERROR_SYSTEM.
 */
int supervisor_start(struct gateway_supervisor *supervisor, struct error *error);

/*
 * Makes the thread send SIGTERM to the child's group and start nothing again. Idempotent; does not
 * block. Any thread.
 */
void supervisor_begin_stop(struct gateway_supervisor *supervisor);

/*
 * Calls supervisor_begin_stop and blocks until the whole group has exited. What still runs 10 s
 * after the SIGTERM is killed. Does not block if the thread was never started. Called by the thread
 * that called supervisor_start.
 */
void supervisor_stop(struct gateway_supervisor *supervisor);

/*
 * The gateway has answered a request that began at asked_ms (monotonic). If that was not before the
 * start of the child that runs now, the child accepts connections, which is logged once. Any
 * thread; takes the lock briefly; blocks only as the log does.
 */
void supervisor_record_answer(struct gateway_supervisor *supervisor, int64_t asked_ms);

/*
 * Whether the gateway is expected to be absent: its first child is being started, or was not longer
 * than SUPERVISOR_STARTING_MS ago, and has not answered yet. Any thread; takes the lock briefly.
 */
enum { SUPERVISOR_STARTING_MS = 60000 };
bool supervisor_is_starting(struct gateway_supervisor *supervisor, int64_t now_ms);

/* Copies the present status. Any thread; takes the lock briefly. */
void supervisor_status(struct gateway_supervisor *supervisor, struct supervisor_status *status);

#endif
