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

#endif
