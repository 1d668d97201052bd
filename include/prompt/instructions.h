/* The instructions that accompany the input of a run, for notifications of a v1 backend. */
#ifndef PROMPT_INSTRUCTIONS_H
#define PROMPT_INSTRUCTIONS_H

#include "backend/delivery_context.h"
#include "base/text.h"
#include "prompt/run.h"

/*
 * Appends who the agent is, what it can do, and the rules for its reply to the notification of
 * context (docs/protocol.md, "What an agent is told"). context is of v1 and has an agent.
 * text->failed tells that memory ran out. Pure.
 */
void instructions_append(
    struct text *text, const struct delivery_context *context, const struct prompt_run *run);

#endif
