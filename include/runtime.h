/* All parts of the runtime, started in one order and stopped in its reverse. */
#ifndef RUNTIME_H
#define RUNTIME_H

#include <stdbool.h>

#include "base/error.h"
#include "config/config.h"

struct runtime;

/*
 * Starts every part; config is borrowed until runtime_stop. Signals must be blocked, so that all
 * threads inherit that. On failure everything started is stopped again and *error says what and
 * why: ERROR_INVALID for a setting, ERROR_LOCKED when another runtime holds STATE_DIR,
 * ERROR_UNREACHABLE when the health port cannot be had, ERROR_SYSTEM and ERROR_NO_MEMORY.
 */
int runtime_start(struct runtime **runtime, const struct config *config, struct error *error);

/*
 * Readable once a part wants the runtime to be stopped: the backend asked for a restart or an
 * upgrade. Borrowed.
 */
int runtime_stop_fd(const struct runtime *runtime);

/* Whether every control thread goes round as it should. Any thread; short locks. */
bool runtime_is_alive(struct runtime *runtime);

/* The next three: only the thread that started it, between start and stop. */

/* Logs how much work there is and what each worker does. Blocks as the log does. */
void runtime_log_work(struct runtime *runtime);

/* Holds all sends and wake-ups, or lets go what this held. Short locks. */
void runtime_toggle_hold(struct runtime *runtime);

/* Some of the tokens, or none. */
struct runtime_tokens {
    bool service;
    bool gateway;
};

/*
 * Takes over the wanted tokens of *fresh for all requests that begin from now on; *fresh gets the
 * old ones, to be freed with it. They must belong to the account and the URLs of the start. The new
 * ones are known to base/redact.h. Returns which are others than before. Short locks; cannot fail.
 */
struct runtime_tokens runtime_exchange_tokens(
    struct runtime *runtime, struct runtime_tokens wanted, struct config *fresh);

/*
 * Stops within SHUTDOWN_GRACE_MS and a second: no new sends, and what is read before one is cut
 * off; sends that run and all write-backs may end until then; after that they are cut off. A
 * gateway that is our child is told to end once no send runs, and has 10 s for it. Blocks; frees
 * everything.
 */
void runtime_stop(struct runtime *runtime);

#endif
