/* Lengths and cuts in UTF-16 units, in which version 1 counts, as its functions are JavaScript. */
#ifndef SANDBOX_UTF16_H
#define SANDBOX_UTF16_H

#include <jansson.h>
#include <stddef.h>

/* The length of valid UTF-8 in UTF-16 units. Pure. */
size_t utf16_length(const char *string);

/*
 * The length in bytes of the longest prefix with at most limit units. A character of two units is
 * not split.
 */
size_t utf16_prefix(const char *string, size_t limit);

/*
 * Returns a new JSON string: the text, or if it has more than limit units, its first limit units
 * and "…".
 */
json_t *utf16_excerpt(const char *string, size_t limit);

#endif
