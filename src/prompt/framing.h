/* The lines that give prompts their form, and the words of others in between. */
#ifndef PROMPT_FRAMING_H
#define PROMPT_FRAMING_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/text.h"

/* Parts of a prompt between a line that begins and a line that ends it. */
enum prompt_block {
    BLOCK_BODY,
    BLOCK_REQUEST,
    BLOCK_CONTEXT,
    BLOCK_LATEST_MESSAGE,
    BLOCK_HISTORY,
    BLOCK_SCOPE,
    BLOCK_OPERATION,
};

/* What lines of ours begin with. */
enum prompt_label {
    LABEL_NOTIFICATION,
    LABEL_AUTHOR,
    LABEL_CONTENT,
    LABEL_TASK,
    LABEL_TASK_ID,
    LABEL_DESCRIPTION,
    LABEL_REPOSITORY,
    LABEL_GLOBAL,
    LABEL_TOTALS,
    LABEL_MESSAGE_AUTHOR,
    LABEL_MESSAGE_ID,
    LABEL_MESSAGE_CONTENT,
    LABEL_AGENTS,
    LABEL_PRIMARY_USER,
    LABEL_NOTIFICATION_ID,
};

/* Indexed by enum prompt_label; each ends in a colon. */
extern const char *const prompt_labels[];

/* All functions below append to *text, which tells by text->failed that memory ran out. Pure. */

/* Append the whole line, with its end. */
void framing_begin(struct text *text, enum prompt_block block);
void framing_end(struct text *text, enum prompt_block block);

/* Removes white space at the end of the whole text. */
void framing_trim_end(struct text *text);

/* No limit to the length of words. */
#define FRAMING_NO_LIMIT SIZE_MAX

/*
 * Appends words on one line: trimmed, all white space and control characters in them as single
 * blanks, without NULs, runs of "=" escaped. Words of more than limit_units UTF-16 units are cut
 * and end in an ellipsis.
 */
void framing_append_line(struct text *text, struct text_span words, size_t limit_units);

/*
 * Appends words on as many lines as they have: trimmed, each kind of line break as "\n", without
 * NULs, lines that look like ours escaped, cut as above. Lines after the first begin with indent.
 * There is no line break at the end. Returns whether there was anything but white space.
 */
bool framing_append_lines(
    struct text *text, struct text_span words, size_t limit_units, const char *indent);

/* framing_append_line of object[key]. */
void framing_append_field(struct text *text, const json_t *object, const char *key);

/* The agent with that id in a list of the context, or NULL. agents may be NULL. */
const json_t *framing_find_agent(const json_t *agents, const char *id);

/* Appends what mentions an agent in a message: @slug, or @"name" for one without a slug. */
void framing_append_mention(struct text *text, const json_t *agent);

#endif
