/* Tokens that can be rotated while in use, and the redaction of secrets from outgoing text. */
#ifndef BASE_SECRET_H
#define BASE_SECRET_H

#include <stdbool.h>

#include "base/text.h"

/* A token. Shared by all threads. */
struct secret;

/* Copies value (NULL for none). The caller destroys it. NULL when out of memory. */
struct secret *secret_create(const char *value);
void secret_destroy(struct secret *secret);

/*
 * Exchanges the value with *value. Both are owned: the caller frees what is in *value afterwards.
 * Returns whether they differ; NULL and "" do not. Requests in flight keep the old value. Any
 * thread; briefly takes the secret's lock; cannot fail.
 */
bool secret_exchange(struct secret *secret, char **value);

/* Appends the value, if any, to text. Any thread; briefly takes the secret's lock. */
void secret_append(struct secret *secret, struct text *text);

/*
 * Registers a value so that redact() removes it wherever it occurs and however it is written: as it
 * is, escaped by JSON any number of times, URL-encoded, HTML-escaped, or in hexadecimal or base64.
 * Values shorter than 6 bytes are ignored, as they would blank out ordinary words. The value is
 * copied. The last 64 values are kept; one that is already known becomes the newest. Returns false
 * when out of memory. Any thread; briefly takes a lock.
 */
bool redact_add_secret(const char *value);

/* Forgets and frees every registered value. */
void redact_forget_all(void);

/*
 * Replaces the following by stars, in place and never making the text longer: registered values,
 * anything that begins with mc_service_, the value after "Bearer " and "Authorization: Basic ",
 * user and password in scheme://user:password@host, the tag of a session key ("~" and exactly 26
 * letters a-z2-7), words with the form of a model provider's key (sk-..., AIza...), and the values
 * of names that end in api_key and of token-like names (SERVICE_TOKEN, serviceToken,
 * OPENCLAW_GATEWAY_TOKEN, token) in assignments, headers or JSON. Also removes a registered value
 * that the end of the text truncated. Any thread; briefly takes a lock.
 */
void redact(char *text);

#endif
