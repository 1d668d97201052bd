/* Agent runs: a responses request from its checks to its answer. */
#ifndef SANDBOX_GATEWAY_RUN_H
#define SANDBOX_GATEWAY_RUN_H

#include "sandbox.h"

/* Checks an authorized request and runs the agent; answers immediately or later. */
void gateway_run_begin(struct sandbox *sandbox, struct exchange *exchange);

/* Applies the first rule with before_checks that matches; false when there is none. */
bool gateway_run_begin_early_fault(struct sandbox *sandbox, struct exchange *exchange);

/* Refuses a request before any run: {"error": {"message": ..., "type": ...}}. */
void gateway_run_refuse(
    struct exchange *exchange, unsigned status, const char *type, const char *message);

#endif
