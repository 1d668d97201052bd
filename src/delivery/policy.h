/* Whether the recipient of a notification of a v1 backend is asked about it. */
#ifndef DELIVERY_POLICY_H
#define DELIVERY_POLICY_H

#include "backend/delivery_context.h"
#include "delivery/entry.h"

/*
 * Judges a context of v1 that has not ended (has_ended) for the agent agent_id, the notification's
 * recipient. Returns why it is skipped, or REASON_REPLIED when the agent is to be asked. How far
 * agents may go on answering each other is not judged here (delivery/loop_guard.h). Pure.
 */
enum end_reason policy_judge(const struct delivery_context *context, const char *agent_id);

#endif
