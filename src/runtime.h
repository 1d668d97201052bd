/* The running program as a whole: everything is started here and stopped in the reverse order. */
#ifndef RUNTIME_H
#define RUNTIME_H

#include <stdbool.h>

#include "base/error.h"
#include "config/config.h"

struct runtime;

/*
 * Starts everything; config is borrowed until runtime_stop. Signals must be blocked, so that all
 * threads inherit that. On failure everything started is stopped again and *error says what and
 * why: ERROR_INVALID for a setting, ERROR_LOCKED when another runtime holds STATE_DIR,
 * ERROR_UNREACHABLE when the health port is not available, ERROR_SYSTEM and ERROR_NO_MEMORY.
 */
int runtime_start(struct runtime **runtime, const struct config *config, struct error *error);

/* Readable once the backend has asked for a restart or an upgrade. Borrowed. */
int runtime_stop_fd(const struct runtime *runtime);

/* Whether every control thread keeps its schedule. Any thread; briefly takes locks. */
bool runtime_is_alive(const struct runtime *runtime);

/* The next three: only the thread that started it, between start and stop. */

/* Logs how much work there is and what each worker does. Blocks as the log does. */
void runtime_log_work(struct runtime *runtime);

/* Pauses all sends and wake-ups, or resumes them. Briefly takes locks. */
void runtime_toggle_hold(struct runtime *runtime);

/* Some of the tokens, or none. */
struct runtime_tokens {
    bool service;
    bool gateway;
};

/*
 * Takes over the wanted tokens of *fresh for all requests that begin from now on; *fresh gets the
 * old ones, to be freed with it. They must belong to the account and the URLs given at startup, and
 * be known to base/secret.h. Returns which ones differ from before. Briefly takes locks; cannot
 * fail.
 */
struct runtime_tokens runtime_exchange_tokens(
    struct runtime *runtime, struct runtime_tokens wanted, struct config *fresh);

/*
 * Stops within SHUTDOWN_GRACE_MS and a second: no new sends, and reads that precede one are
 * aborted; running sends and all write-backs may finish until then and are aborted after. A gateway
 * that is our child is told to end once no send runs, and has 10 s for it. Blocks; frees
 * everything.
 */
void runtime_stop(struct runtime *runtime);

#endif
