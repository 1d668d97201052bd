/* The control API under /sandbox/, for tests, benchmarks and the page (docs/sandbox.md). */
#ifndef SANDBOX_CONTROL_H
#define SANDBOX_CONTROL_H

#include <jansson.h>

#include "sandbox.h"

enum { CONTROL_BODY_LIMIT_BYTES = 64 * 1024 * 1024 };

/* Answers a request to a path below /sandbox/, immediately or later. */
void control_begin(struct sandbox *sandbox, struct exchange *exchange);

/*
 * Handlers of single routes, in files of their own. body is the request's object, empty when there
 * was none. Each answers exchange before it returns.
 */
typedef void control_function(
    struct sandbox *sandbox, struct exchange *exchange, const json_t *body);

control_function control_seed;
control_function control_load;
control_function control_message;
control_function control_assign;
control_function control_status;
control_function control_notify;
control_function control_request;
control_function control_make_agent;
control_function control_change_agent;
control_function control_remove_agent;
control_function control_runtime;
control_function control_kill_runtime;
control_function control_readers;
control_function control_sweep;
control_function control_delete;
control_function control_set;
control_function control_token;
control_function control_restart;
control_function control_upgrade;
control_function control_settings;

/* Whether the sandbox plays version 1; if not, exchange has been answered. */
bool control_require_v1(struct sandbox *sandbox, struct exchange *exchange);

/* The string under key of a request's body, borrowed, or fallback when it is absent. */
const char *control_string(const json_t *body, const char *key, const char *fallback);

#endif
