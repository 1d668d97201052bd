/* The text that an agent is sent for a notification. */
#ifndef DELIVERY_PROMPT_H
#define DELIVERY_PROMPT_H

#include <jansson.h>
#include <stdbool.h>

#include "backend/service.h"
#include "base/text.h"

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

/* The one message that the runtime itself writes: that an agent was given up on. */

/*
 * Appends the note for an agent that was asked runs times. reason is one of our own few words: no
 * text of a server and no "@", which would mention somebody.
 */
void failure_notice_append(struct text *text, unsigned runs, const char *reason);

/* Whether a message (a JSON object or NULL) is such a note, of this process or an earlier one. */
bool failure_notice_is_ours(const json_t *message);

#endif
