/* The one message that the runtime itself writes: that an agent was given up on. */
#ifndef WORK_NOTE_H
#define WORK_NOTE_H

#include <jansson.h>
#include <stdbool.h>

#include "base/text.h"

/*
 * Appends the note for an agent that was asked runs times. reason is one of our own few words: no
 * text of a server and no "@", which would mention somebody.
 */
void note_append(struct text *text, unsigned runs, const char *reason);

/* Whether a message (a JSON object or NULL) is such a note, of this process or an earlier one. */
bool note_is_ours(const json_t *message);

#endif
