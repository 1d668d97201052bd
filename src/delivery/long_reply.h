/* Replies that are longer than a v1 backend takes in a thread. */
#ifndef DELIVERY_LONG_REPLY_H
#define DELIVERY_LONG_REPLY_H

#include "base/text.h"
#include "delivery/attempt.h"

/*
 * Whether all of a reply of this attempt, whose context is of v1, may become a document if it is
 * too long. Pure.
 */
bool long_reply_may_be_document(const struct attempt *attempt);

/* Whether a reply is too long for a thread. Pure. */
bool long_reply_is_one(const char *reply);

/*
 * Makes the document of a reply that is_long, once, and appends to content what is posted in the
 * thread in its place. As service_create_message, of which a failure is a failure to post; a
 * refused document is none. Blocks for the backend and the disk. The worker that has the entry.
 */
enum convex_outcome long_reply_shorten(
    struct attempt *attempt, struct text *content, struct error *error);

#endif
