/* A token that may be replaced while requests are under way: each request takes a copy. */
#ifndef BASE_SECRET_H
#define BASE_SECRET_H

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

/* Keeps secrets out of every text that leaves the process. */

/*
 * Remembers a secret so that redact() removes it wherever it occurs, also as JSON writes it. Values
 * shorter than 6 bytes are not remembered: they would blank out ordinary words. The value is
 * copied. At least 32 values; a further one replaces the oldest, and one that is known already
 * becomes the newest. Returns false without memory. Any thread; takes a short lock.
 */
bool redact_add_secret(const char *value);

/* Forgets every remembered value and frees it. */
void redact_forget_all(void);

/*
 * Replaces, in place and never making the text longer: remembered values, anything that begins
 * mc_service_, what follows "Bearer ", and the values of token-like names (SERVICE_TOKEN,
 * serviceToken, OPENCLAW_GATEWAY_TOKEN, token), written as assignments, headers or JSON.
 * Also removes a secret that the end of the text cut in two. Any thread; takes a short lock.
 * (Contract runtime-behaviour-v0, section 11.)
 */
void redact(char *text);

#endif
