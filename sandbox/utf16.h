/* Limits in UTF-16 units, in which version 1 counts, as its functions are JavaScript. */
#ifndef SANDBOX_UTF16_H
#define SANDBOX_UTF16_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/* Whether valid UTF-8 has more than limit units. Pure. */
bool utf16_exceeds(const char *string, size_t limit);

/*
 * Returns a new JSON string: the text, or if it has more than limit units, its first limit units
 * and "…". A character of two units is not split.
 */
json_t *utf16_excerpt(const char *string, size_t limit);

#endif
