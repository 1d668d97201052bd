/* One responses request from its checks to its answer: the agent run. */
#ifndef SANDBOX_GATEWAY_RUN_H
#define SANDBOX_GATEWAY_RUN_H

#include "sandbox.h"

/* Checks an authorized request and runs the agent; answers now or later. */
void gateway_run_begin(struct sandbox *sandbox, struct exchange *exchange);

/* Applies a rule that is meant for requests as they come in; false when there is none. */
bool gateway_run_begin_early_fault(struct sandbox *sandbox, struct exchange *exchange);

/* Answers {"error": {"message": ..., "type": ...}}: refused before a run. */
void gateway_run_refuse(
    struct exchange *exchange, unsigned status, const char *type, const char *message);

#endif
