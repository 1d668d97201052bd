/* A command line in words, split as a shell would, but with nothing expanded. */
#ifndef BASE_WORDS_H
#define BASE_WORDS_H

#include <stddef.h>

#include "base/error.h"

/* Zero-initialise it or fill it with words_split; freed with words_fini. */
struct words {
    const char **items; /* ended by NULL, so that it can be an argv; they point into bytes */
    size_t count;
    char *bytes;
};

/*
 * Splits line, one line, at spaces and tabs. Single quotes take everything literally; in double
 * quotes a backslash takes away the meaning of " \ $ and `, and stands for itself before anything
 * else; outside of quotes it takes the next character literally. Pieces that touch are one word,
 * and '' is an empty one. Everything else means itself: variables, patterns, '~', '#', operators.
 * Returns 0, ERROR_INVALID for a quote that is not closed or a backslash at the end, with a text
 * that follows "NAME ", or ERROR_NO_MEMORY; then there is nothing to free. Pure.
 */
int words_split(const char *line, struct words *words, struct error *error);

/* Frees what words_split gave. */
void words_fini(struct words *words);

#endif
