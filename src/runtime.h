/* The runtime as a whole: starts everything, and stops it in reverse order. */
#ifndef RUNTIME_H
#define RUNTIME_H

#include <stdbool.h>

#include "base/error.h"
#include "config/config.h"

struct runtime;

/*
 * Starts everything; config is borrowed until runtime_stop. Signals must be blocked, since all
 * threads inherit the mask. On failure everything is stopped again: ERROR_INVALID for a setting,
 * ERROR_LOCKED when another runtime holds STATE_DIR, ERROR_UNREACHABLE when the health port is not
 * available, ERROR_SYSTEM, ERROR_NO_MEMORY.
 */
int runtime_start(struct runtime **runtime, const struct config *config, struct error *error);

/* Readable once the backend has requested a restart or an upgrade. Borrowed. */
int runtime_stop_fd(const struct runtime *runtime);

/*
 * Whether every control thread keeps its schedule and no thread is silent (base/watch.h). Any
 * thread; briefly takes locks.
 */
bool runtime_is_alive(const struct runtime *runtime);

/* The next three: only the main thread, between runtime_start and runtime_stop. */

/* Logs the queue's counters and what each worker does. Blocks as the log does. */
void runtime_log_work(struct runtime *runtime);

/* Pauses all sends and wake-ups, or resumes them. Briefly takes locks. */
void runtime_toggle_hold(struct runtime *runtime);

/* The tokens; a set of them is an unsigned. */
enum { TOKEN_SERVICE = 1 << 0, TOKEN_GATEWAY = 1 << 1 };

/*
 * Swaps the wanted tokens with those of *fresh: requests from now on use the new ones, and the old
 * ones are freed with *fresh. They must belong to the account and URLs of the startup and be
 * registered with redact_add_secret. Returns which ones differ from before. Briefly takes locks;
 * cannot fail.
 */
unsigned runtime_exchange_tokens(struct runtime *runtime, unsigned wanted, struct config *fresh);

/*
 * Stops and frees everything. Blocks for SHUTDOWN_GRACE_MS and a second at most: new sends are
 * refused at once; sends in flight and write-backs may finish until SHUTDOWN_GRACE_MS less a second
 * and are then aborted. A gateway that is our child gets SIGTERM once no send is in flight, and has
 * 10 s from then.
 */
void runtime_stop(struct runtime *runtime);

#endif
