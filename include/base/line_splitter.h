/* A stream of bytes as lines of bounded length, in bounded memory. */
#ifndef BASE_LINE_SPLITTER_H
#define BASE_LINE_SPLITTER_H

#include <stdbool.h>
#include <stddef.h>

enum { LINE_SPLITTER_BYTES = 4096 };

/* Zero-initialised and embedded; needs no freeing. Used by one thread at a time. */
struct line_splitter {
    char bytes[LINE_SPLITTER_BYTES + 1];
    size_t used_bytes;
    bool skipping; /* the line was handed out already, for its length */
};

/* Gets a line without its end, NUL-ended, the splitter's; it may hold invalid UTF-8. */
typedef void line_splitter_take(void *context, const char *line);

/*
 * Takes bytes in and hands every line to take: once its end is there, or LINE_SPLITTER_BYTES of it;
 * the rest of such a line is dropped, as a secret cut in two would not be known as one. Empty lines
 * are left out, NUL bytes become blanks, a CR before the line end goes.
 */
void line_splitter_feed(struct line_splitter *splitter, const char *bytes, size_t length_bytes,
    line_splitter_take *take, void *context);

/* Hands out a last line that has no end, and is ready for another stream. */
void line_splitter_end(struct line_splitter *splitter, line_splitter_take *take, void *context);

#endif
