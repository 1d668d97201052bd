/* What the two halves of redact() (base/secret.h) share. */
#ifndef BASE_REDACT_H
#define BASE_REDACT_H

#include <stddef.h>

/* Replaces the length bytes at start by at most three stars and closes the gap. Pure. */
void redact_bytes(char *start, size_t length);

/* Redacts the registered values in text, in place. Any thread; briefly takes a lock. */
void redact_known(char *text);

#endif
