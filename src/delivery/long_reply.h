/* Replies that are longer than a v1 backend accepts in a thread. */
#ifndef DELIVERY_LONG_REPLY_H
#define DELIVERY_LONG_REPLY_H

#include "base/text.h"
#include "delivery/attempt.h"

/*
 * Whether the full text of a reply of this attempt, whose context is of v1, may become a document.
 * Pure.
 */
bool long_reply_may_be_document(const struct attempt *attempt);

/* Whether a reply is too long for a thread of v1. Pure. */
bool reply_exceeds_thread(const char *reply);

/*
 * Stores the full text of a reply (document.wanted) as a document, once, and appends to content
 * what the thread gets instead: its beginning and a link. Fails as service_create_message does; if
 * the backend refuses the document, that is not a failure, and there is no link. Blocks for the
 * backend and the disk. Called by the worker that has the entry.
 */
enum convex_outcome long_reply_publish(
    struct attempt *attempt, struct text *content, struct error *error);

#endif
