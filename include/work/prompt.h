/* The text that an agent is sent for a notification. */
#ifndef WORK_PROMPT_H
#define WORK_PROMPT_H

#include "base/text.h"
#include "remote/service_actions.h"

/*
 * Appends the delivery message for context to *text, trimmed at both ends (contract
 * runtime-behaviour-v0, section 4); text->failed tells of missing memory. Pure; any thread.
 */
void prompt_build(const struct delivery_context *context, struct text *text);

/*
 * Appends the message that wakes an agent (contract runtime-behaviour-v0, section 6.5). wall_ms is
 * the time that it is told.
 */
void prompt_build_heartbeat(int64_t wall_ms, struct text *text);

#endif
