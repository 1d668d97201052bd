/* The texts that the runtime writes: messages to agents, and the notice about a failed run. */
#ifndef DELIVERY_PROMPT_H
#define DELIVERY_PROMPT_H

#include <jansson.h>
#include <stdbool.h>

#include "backend/service.h"
#include "base/text.h"

/*
 * All of these append to *text, which tells by text->failed that memory ran out. Their wording is
 * part of the interface (docs/protocol.md, Message and notification rules). Any thread; pure.
 */

/* The message to an agent about the notification of context, trimmed at both ends. */
void prompt_build(const struct delivery_context *context, struct text *text);

/* The message that wakes an agent; wall_ms is the time that it is told. */
void prompt_build_heartbeat(int64_t wall_ms, struct text *text);

/*
 * The notice in a thread that its agent was asked runs times in vain. reason is one of our own
 * fixed phrases: no text of a server, and no "@", which would mention someone.
 */
void failure_notice_append(struct text *text, unsigned runs, const char *reason);

/*
 * The note in a thread that its agents have used up the max_runs runs that they may cause among
 * themselves, and go on only when a person writes.
 */
void limit_note_append(struct text *text, unsigned max_runs);

/* Whether a message (a JSON object or NULL) is one of both, by this process or an earlier one. */
bool notice_is_ours(const json_t *message);

#endif
