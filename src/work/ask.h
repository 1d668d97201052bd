/* Asking the agent: the run, and what its outcome means. */
#ifndef WORK_ASK_H
#define WORK_ASK_H

#include "attempt.h"

/*
 * Words the message, asks the agent of the context, which must have one, and keeps a reply on disk.
 * A run that took place, or may have, is counted. Blocks for as long as the agent takes.
 */
struct finish ask_agent(struct attempt *attempt, const struct delivery_context *context);

/* Whether no further run is allowed: too many took place, or the gateway refused for too long. */
bool ask_budget_is_spent(const struct attempt *attempt);

#endif
