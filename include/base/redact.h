/* Keeps secrets out of every text that leaves the process. */
#ifndef BASE_REDACT_H
#define BASE_REDACT_H

#include <stdbool.h>

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
