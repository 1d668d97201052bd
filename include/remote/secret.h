/* A token that may be replaced while requests are under way: each request takes a copy. */
#ifndef REMOTE_SECRET_H
#define REMOTE_SECRET_H

#include <stdbool.h>

#include "base/text.h"

/* Shared by all threads. */
struct secret;

/* Copies value, NULL for none. The caller destroys it. NULL without memory. */
struct secret *secret_create(const char *value);
void secret_destroy(struct secret *secret);

/*
 * Exchanges the value for *value, both owned: what is in *value afterwards is the caller's. Returns
 * whether they differ; NULL and "" do not. Requests that are under way go on with the old one. Any
 * thread; a short lock; cannot fail.
 */
bool secret_exchange(struct secret *secret, char **value);

/* Appends the value to text, nothing for none. Any thread; a short lock. */
void secret_append(struct secret *secret, struct text *text);

#endif
