/* Growing text, bounded copies, UTF-8 and white space as the backend's JavaScript sees them. */
#ifndef BASE_TEXT_H
#define BASE_TEXT_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

/*
 * A growing byte string. Zero-initialise it, append, look at failed once at the end, and free it
 * with text_fini. After a failed allocation every further append does nothing, so a half-built
 * text is never taken for a whole one. data is NUL-ended whenever it is not NULL.
 */
struct text {
    char *data;
    size_t length_bytes;
    size_t capacity_bytes;
    bool failed;
};

/* Frees the content; the text is empty again, and has not failed. */
void text_fini(struct text *text);

/* Forgets the content and keeps the memory. */
void text_clear(struct text *text);

/*
 * Copy what they are given to the end of the text, which must not be a part of it. Pure but for
 * memory; a text is one thread's at a time.
 */
void text_append(struct text *text, const char *string);
void text_append_bytes(struct text *text, const char *bytes, size_t length_bytes);
void text_printf(struct text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
void text_vprintf(struct text *text, const char *format, va_list arguments)
    __attribute__((format(printf, 2, 0)));

/*
 * The text's memory, NUL-ended, now the caller's to free; the text is empty again. NULL if an
 * append failed (then everything is freed). An empty text gives an empty string.
 */
char *text_take(struct text *text);

/* A piece of somebody else's bytes. Not NUL-ended. */
struct text_span {
    const char *bytes;
    size_t length_bytes;
};

/*
 * The span without white space at both ends. White space is what ECMAScript's trim() takes:
 * ASCII blanks, U+00A0, U+1680, U+2000-200A, U+2028, U+2029, U+202F, U+205F, U+3000, U+FEFF.
 */
struct text_span text_trim(const char *bytes, size_t length_bytes);

/* The largest length <= limit_bytes that does not cut a UTF-8 character of the string in two. */
size_t text_utf8_cut(const char *bytes, size_t length_bytes, size_t limit_bytes);

/*
 * Length in bytes (1..4) of the valid UTF-8 character that starts at bytes, 0 when there is none:
 * overlong forms, surrogates and values above U+10FFFF are invalid (RFC 3629).
 */
size_t text_utf8_length(const char *bytes, size_t available_bytes);

/*
 * Copies string into destination of destination_bytes bytes, cut at a character boundary if it is
 * too long; always NUL-ended. Returns false when it was cut.
 */
bool text_copy(char *destination, size_t destination_bytes, const char *string);

/*
 * A server's words made fit for one log line: at most destination_bytes - 1 bytes, control
 * characters and invalid bytes replaced, secrets removed (base/redact.h). For quoting only.
 */
void text_quote(
    char *destination, size_t destination_bytes, const char *bytes, size_t length_bytes);

/*
 * Appends text for a terminal: control characters other than newline and tab, and bytes that are
 * no UTF-8, become \xNN, so that it cannot move the cursor or set anything.
 */
void text_append_visible(struct text *text, const char *bytes, size_t length_bytes);

/* A stream of bytes as lines of bounded length, in bounded memory. */

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

/* A command line in words, split as a shell would, but with nothing expanded. */

/* Zero-initialise it or fill it with argv_parse; freed with argv_fini. */
struct argv {
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
int argv_parse(const char *line, struct argv *words, struct error *error);

/* Frees what argv_parse gave. */
void argv_fini(struct argv *words);

#endif
