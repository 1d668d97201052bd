/* Growing text, UTF-8, harmless quoting of foreign bytes, line splitting and command lines. */
#ifndef BASE_TEXT_H
#define BASE_TEXT_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/*
 * A growing byte string. Zero-initialize it, append, check failed once at the end, and free it with
 * text_fini. After a failed allocation all further appends do nothing, so a partial text is never
 * mistaken for a complete one. data is NUL-terminated whenever it is not NULL. Used by one thread
 * at a time.
 */
struct text {
    char *data;
    size_t length_bytes;
    size_t capacity_bytes;
    bool failed;
};

/* Frees the memory and resets the text to empty, with failed cleared. */
void text_fini(struct text *text);

/* Empties the text, clears failed, and keeps the memory. */
void text_clear(struct text *text);

/* Append a copy of their argument, which must not be part of the text itself. */
void text_append(struct text *text, const char *string);
void text_append_bytes(struct text *text, const char *bytes, size_t length_bytes);

/* Appends all bytes but the NULs, which would end a string for those that read it as one. */
void text_append_without_nuls(struct text *text, const char *bytes, size_t length_bytes);
void text_printf(struct text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
void text_vprintf(struct text *text, const char *format, va_list arguments)
    __attribute__((format(printf, 2, 0)));

/* The same, with the letters of ASCII in lower case. */
void text_append_lower_case(struct text *text, const char *bytes, size_t length_bytes);

/*
 * Hands the memory, NUL-terminated, to the caller to free, and resets the text. An empty text gives
 * an empty string. NULL if an append failed; then everything is freed.
 */
char *text_take(struct text *text);

/* Borrowed bytes. Not NUL-terminated. */
struct text_span {
    const char *bytes;
    size_t length_bytes;
};

/* Characters of ASCII, whatever the locale; the strings are for strspn(). */
#define TEXT_DIGITS "0123456789"
#define TEXT_LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
bool text_is_digit(char character);
bool text_is_letter(char character);

/*
 * The bytes without leading and trailing white space, as ECMAScript's trim() defines it:
 * ASCII blanks, U+00A0, U+1680, U+2000-200A, U+2028, U+2029, U+202F, U+205F, U+3000, U+FEFF.
 */
struct text_span text_trim(const char *bytes, size_t length_bytes);

/* The length in bytes of the white space character, as above, at the start of bytes; 0: none. */
size_t text_blank_length(const char *bytes, size_t available_bytes);

/* The largest length <= limit_bytes that does not split a UTF-8 character. */
size_t text_utf8_cut(const char *bytes, size_t length_bytes, size_t limit_bytes);

/*
 * Length in bytes (1..4) of the UTF-8 character at the start of bytes, 0 if it is not valid:
 * overlong forms, surrogates and code points above U+10FFFF are not (RFC 3629).
 */
size_t text_utf8_length(const char *bytes, size_t available_bytes);

/* The code point of the valid UTF-8 character of length_bytes bytes (1..4) at bytes. */
uint32_t text_utf8_point(const char *bytes, size_t length_bytes);

/*
 * The length in bytes of the longest beginning that has at most limit_units UTF-16 units, in which
 * JavaScript counts: one for each character, two for those above U+FFFF. Never splits a character.
 */
size_t text_utf16_cut(const char *bytes, size_t length_bytes, size_t limit_units);

/*
 * Copies string into destination of destination_bytes bytes, truncated at a character boundary if
 * it is too long; always NUL-terminated. Returns false if it was truncated.
 */
bool text_copy(char *destination, size_t destination_bytes, const char *string);

/*
 * A number that stands for the first limit_bytes of string, or all of it if it is shorter; never 0.
 * Not against chosen texts. Pure.
 */
uint64_t text_digest(const char *string, size_t limit_bytes);

/*
 * Makes foreign text fit for one log line: at most destination_bytes - 1 bytes, control characters
 * and invalid bytes replaced, secrets redacted (base/secret.h). For display only. Briefly takes the
 * lock of redact().
 */
void text_quote(
    char *destination, size_t destination_bytes, const char *bytes, size_t length_bytes);

/*
 * Appends text for a terminal: control characters other than newline and tab, and bytes that are
 * not UTF-8, become \xNN, so that they cannot move the cursor or change the terminal's state.
 */
void text_append_visible(struct text *text, const char *bytes, size_t length_bytes);

/* Splitting a stream of bytes into lines of bounded length, in constant memory. */

enum { LINE_SPLITTER_BYTES = 4096 };

/* Zero-initialized and embedded; needs no freeing. Used by one thread at a time. */
struct line_splitter {
    char bytes[LINE_SPLITTER_BYTES + 1];
    size_t used_bytes;
    bool skipping; /* the line was too long and handed out; its rest is dropped */
};

/* Receives a line without its end, NUL-terminated and borrowed; it may not be valid UTF-8. */
typedef void line_splitter_take(void *context, const char *line);

/*
 * Calls take for every line once its end has been read, or LINE_SPLITTER_BYTES of it. The rest of
 * such a line is dropped: a secret split over two lines would not be redacted. Empty lines are
 * skipped, NUL bytes become blanks, a CR before the line end is removed.
 */
void line_splitter_feed(struct line_splitter *splitter, const char *bytes, size_t length_bytes,
    line_splitter_take *take, void *context);

/* Flushes a last line without an end and resets the splitter for another stream. */
void line_splitter_end(struct line_splitter *splitter, line_splitter_take *take, void *context);

/* Splitting a command line as a shell does, but without any expansion. */

/* Zero-initialize it or fill it with argv_parse; freed with argv_fini. */
struct argv {
    const char **items; /* NULL-terminated, as for exec; they point into bytes */
    size_t count;
    char *bytes;
};

/*
 * Splits line at spaces and tabs. Single quotes make everything literal; within double quotes a
 * backslash escapes " \ $ and ` and is literal before anything else; outside quotes it escapes the
 * next character. Adjacent pieces form one argument, and '' is an empty one. Everything else is
 * literal: variables, patterns, '~', '#', operators. Returns 0; ERROR_INVALID for an unterminated
 * quote or a trailing backslash, with a text that completes a sentence beginning with the
 * setting's name; or ERROR_NO_MEMORY. On failure there is nothing to free. Pure.
 */
int argv_parse(const char *line, struct argv *argv, struct error *error);

/* Frees the result of argv_parse. */
void argv_fini(struct argv *argv);

#endif
