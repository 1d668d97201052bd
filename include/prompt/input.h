/* The input of a run: a notification of a v1 backend, with what belongs to it. */
#ifndef PROMPT_INPUT_H
#define PROMPT_INPUT_H

#include "backend/delivery_context.h"
#include "base/text.h"
#include "prompt/instructions.h"

/*
 * Appends the notification of context, its task, thread and people (docs/protocol.md, "What an
 * agent is told"), trimmed at both ends. context is of v1 and has not ended. text->failed tells
 * that memory ran out. Pure.
 */
void input_append(
    struct text *text, const struct delivery_context *context, const struct prompt_run *run);

/*
 * Appends what earlier runs have changed with tools, {name, arguments, output} each, and that it is
 * not to be done again; nothing for NULL. of_what: what these runs were about. Pure.
 */
void input_append_changes(struct text *text, const json_t *changes, const char *of_what);

#endif
