/* What an agent said, taken from the gateway's answer and made fit for the thread. */
#ifndef DELIVERY_REPLY_H
#define DELIVERY_REPLY_H

#include <jansson.h>
#include <stdbool.h>

#include "base/error.h"
#include "base/text.h"
#include "gateway/roster.h"

/* What the backend accepts with room to spare: a document is limited to 1 MiB. */
enum { REPLY_LIMIT_BYTES = 900000 };

/* What the text of an incomplete run ends with. */
extern const char reply_incomplete_notice[];

/* What a v1 backend accepts in a message, in UTF-16 units. */
enum { REPLY_V1_LIMIT_UNITS = 100000 };

enum reply_kind {
    REPLY_TEXT,           /* to be posted */
    REPLY_SILENT,         /* the agent chose to say nothing; final */
    REPLY_PLACEHOLDER,    /* the gateway's words for an answer without text */
    REPLY_BLANK,          /* no text at all */
    REPLY_PROVIDER_ERROR, /* a failed call of the model provider, sent as the agent's words */
};

/* How an answer is to be read. */
struct reply_context {
    bool is_wake_up;  /* HEARTBEAT_OK as a word anywhere in the text is silence */
    bool incomplete;  /* the run ended before its time; a text gets a notice that it was cut */
    size_t max_units; /* a longer text is cut, in UTF-16 units; 0: only the limit in bytes counts */
    enum gateway_generation generation;
};

struct reply {
    enum reply_kind kind;
    char *text; /* owned by the caller; "" unless REPLY_TEXT */
};

/*
 * Reads the agent's words in body, any JSON value (docs/protocol.md, "Gateway answers"): trimmed,
 * without NULs and reasoning, without a silence token on the last line, cut to REPLY_LIMIT_BYTES at
 * a character with a visible notice. ERROR_NO_MEMORY, after which reply->text is NULL. Pure.
 */
int reply_read(const json_t *body, const struct reply_context *context, struct reply *reply,
    struct error *error);

/*
 * Appends what the agent said in an answer that asks for calls of tools, of whose results it knew
 * nothing yet. "" for nothing; text->failed tells that memory ran out. Pure.
 */
void reply_append_beside_calls(struct text *text, const json_t *body);

#endif
