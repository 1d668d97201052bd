/* An agent's reply, extracted from the gateway's response. */
#ifndef DELIVERY_REPLY_H
#define DELIVERY_REPLY_H

#include <jansson.h>

#include "base/error.h"

/* The backend limits a document to 1 MiB; this leaves room for its other fields. */
enum { REPLY_LIMIT_BYTES = 900000 };

/*
 * Extracts the reply from body, any JSON value (docs/protocol.md, Gateway answers): trimmed,
 * without NULs, cut at a character to REPLY_LIMIT_BYTES with a visible notice. *reply is
 * NUL-terminated, the caller's to free; "" when the agent said nothing, or the gateway sent one of
 * its placeholders. ERROR_NO_MEMORY. Pure.
 */
int reply_read(const json_t *body, char **reply, struct error *error);

#endif
