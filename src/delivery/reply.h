/* The words of an agent, taken from the gateway's answer and made fit for the thread. */
#ifndef DELIVERY_REPLY_H
#define DELIVERY_REPLY_H

#include <jansson.h>

#include "base/error.h"

/* What the backend accepts with room to spare: a document is limited to 1 MiB. */
enum { REPLY_LIMIT_BYTES = 900000 };

/*
 * Finds the reply in body, any JSON value (contract runtime-behaviour-v0, section 5, "Response text
 * extraction"): trimmed, without NULs, cut to REPLY_LIMIT_BYTES at a character with a visible
 * notice. *reply is a NUL-ended string, the caller's to free: "" when the agent said nothing, which
 * includes the gateway's own placeholders (openclaw-gateway, section 1.3). ERROR_NO_MEMORY. Pure.
 */
int reply_read(const json_t *body, char **reply, struct error *error);

#endif
