#include "base/text.h"

#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/secret.h"

enum { SMALLEST_CAPACITY_BYTES = 256 };

void text_fini(struct text *text)
{
    free(text->data);
    *text = (struct text){0};
}

void text_clear(struct text *text)
{
    text->length_bytes = 0;
    text->failed = false;
    if (text->data != NULL)
        text->data[0] = '\0';
}

/* Makes room for extra_bytes more and the closing NUL. */
static bool reserve(struct text *text, size_t extra_bytes)
{
    if (text->failed)
        return false;
    if (extra_bytes > SIZE_MAX / 4 - text->length_bytes) {
        text->failed = true;
        return false;
    }
    size_t needed = text->length_bytes + extra_bytes + 1;
    if (needed <= text->capacity_bytes)
        return true;
    size_t capacity = text->capacity_bytes * 2;
    if (capacity < SMALLEST_CAPACITY_BYTES)
        capacity = SMALLEST_CAPACITY_BYTES;
    if (capacity < needed)
        capacity = needed;
    char *data = realloc(text->data, capacity);
    if (data == NULL) {
        text->failed = true;
        return false;
    }
    text->data = data;
    text->capacity_bytes = capacity;
    return true;
}

void text_append_bytes(struct text *text, const char *bytes, size_t length_bytes)
{
    if (!reserve(text, length_bytes))
        return;
    if (length_bytes > 0)
        memcpy(text->data + text->length_bytes, bytes, length_bytes);
    text->length_bytes += length_bytes;
    text->data[text->length_bytes] = '\0';
}

void text_append(struct text *text, const char *string)
{
    text_append_bytes(text, string, strlen(string));
}

void text_vprintf(struct text *text, const char *format, va_list arguments)
{
    va_list again;
    va_copy(again, arguments);
    int needed = vsnprintf(NULL, 0, format, arguments);
    if (needed < 0)
        text->failed = true;
    if (needed >= 0 && reserve(text, (size_t)needed)) {
        vsnprintf(text->data + text->length_bytes, (size_t)needed + 1, format, again);
        text->length_bytes += (size_t)needed;
    }
    va_end(again);
}

void text_printf(struct text *text, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    text_vprintf(text, format, arguments);
    va_end(arguments);
}

char *text_take(struct text *text)
{
    text_append_bytes(text, "", 0);
    if (text->failed) {
        text_fini(text);
        return NULL;
    }
    char *data = text->data;
    *text = (struct text){0};
    return data;
}

size_t text_utf8_length(const char *bytes, size_t available_bytes)
{
    if (available_bytes == 0)
        return 0;
    const unsigned char *b = (const unsigned char *)bytes;
    if (b[0] < 0x80)
        return 1;
    size_t length = b[0] >= 0xF0 ? 4 : b[0] >= 0xE0 ? 3 : 2;
    if (b[0] < 0xC2 || b[0] > 0xF4 || available_bytes < length)
        return 0;
    /* The second byte's range excludes overlong forms, surrogates and what is over U+10FFFF. */
    unsigned char low = b[0] == 0xE0 ? 0xA0 : b[0] == 0xF0 ? 0x90 : 0x80;
    unsigned char high = b[0] == 0xED ? 0x9F : b[0] == 0xF4 ? 0x8F : 0xBF;
    if (b[1] < low || b[1] > high)
        return 0;
    for (size_t i = 2; i < length; i++)
        if ((b[i] & 0xC0) != 0x80)
            return 0;
    return length;
}

static bool is_ascii_blank(unsigned char byte)
{
    return byte == ' ' || (byte >= '\t' && byte <= '\r');
}

/* Whether the three bytes at b are one of the three-byte white space characters of ECMAScript. */
static bool is_wide_blank(const unsigned char *b)
{
    unsigned code =
        ((unsigned)(b[0] & 0x0F) << 12) | ((unsigned)(b[1] & 0x3F) << 6) | (unsigned)(b[2] & 0x3F);
    return (b[0] & 0xF0) == 0xE0 && (code == 0x1680 || (code >= 0x2000 && code <= 0x200A) ||
                                        code == 0x2028 || code == 0x2029 || code == 0x202F ||
                                        code == 0x205F || code == 0x3000 || code == 0xFEFF);
}

/* Length of the white space character at the start of the bytes, or 0. */
static size_t leading_blank(const unsigned char *b, size_t length)
{
    if (length >= 1 && is_ascii_blank(b[0]))
        return 1;
    if (length >= 2 && b[0] == 0xC2 && b[1] == 0xA0)
        return 2;
    return length >= 3 && is_wide_blank(b) ? 3 : 0;
}

static size_t trailing_blank(const unsigned char *b, size_t length)
{
    if (length >= 1 && is_ascii_blank(b[length - 1]))
        return 1;
    if (length >= 2 && b[length - 2] == 0xC2 && b[length - 1] == 0xA0)
        return 2;
    return length >= 3 && is_wide_blank(b + length - 3) ? 3 : 0;
}

struct text_span text_trim(const char *bytes, size_t length_bytes)
{
    const unsigned char *b = (const unsigned char *)bytes;
    size_t step;
    while ((step = leading_blank(b, length_bytes)) > 0) {
        b += step;
        length_bytes -= step;
    }
    while ((step = trailing_blank(b, length_bytes)) > 0)
        length_bytes -= step;
    return (struct text_span){(const char *)b, length_bytes};
}

size_t text_utf8_cut(const char *bytes, size_t length_bytes, size_t limit_bytes)
{
    if (length_bytes <= limit_bytes)
        return length_bytes;
    size_t cut = limit_bytes;
    while (cut > 0 && limit_bytes - cut < 4 && ((unsigned char)bytes[cut] & 0xC0) == 0x80)
        cut--;
    return cut;
}

bool text_copy(char *destination, size_t destination_bytes, const char *string)
{
    assert(destination_bytes > 0);
    size_t length = strlen(string);
    size_t kept = text_utf8_cut(string, length, destination_bytes - 1);
    memcpy(destination, string, kept);
    destination[kept] = '\0';
    return kept == length;
}

/* Whether the character of length bytes is no control character, neither of ASCII nor C1. */
static bool is_printable(const char *bytes, size_t length)
{
    const unsigned char *b = (const unsigned char *)bytes;
    if (length == 1)
        return b[0] >= ' ' && b[0] != 0x7F;
    return length > 2 || (length == 2 && (b[0] != 0xC2 || b[1] >= 0xA0));
}

void text_quote(char *destination, size_t destination_bytes, const char *bytes, size_t length_bytes)
{
    assert(destination_bytes > 0);
    size_t used = 0;
    for (size_t at = 0; at < length_bytes;) {
        size_t step = text_utf8_length(bytes + at, length_bytes - at);
        bool printable = is_printable(bytes + at, step);
        size_t wide = printable ? step : 1;
        if (used + wide >= destination_bytes)
            break;
        if (printable)
            memcpy(destination + used, bytes + at, step);
        else
            destination[used] = step == 1 ? ' ' : '?';
        used += wide;
        at += step > 0 ? step : 1;
    }
    destination[used] = '\0';
    redact(destination);
}

void text_append_visible(struct text *text, const char *bytes, size_t length_bytes)
{
    for (size_t at = 0; at < length_bytes;) {
        size_t step = text_utf8_length(bytes + at, length_bytes - at);
        size_t wide = step > 0 ? step : 1;
        if (is_printable(bytes + at, step) || bytes[at] == '\n' || bytes[at] == '\t')
            text_append_bytes(text, bytes + at, wide);
        else
            for (size_t i = 0; i < wide; i++)
                text_printf(text, "\\x%02X", (unsigned)(unsigned char)bytes[at + i]);
        at += wide;
    }
}

static void hand_out(struct line_splitter *splitter, line_splitter_take *take, void *context)
{
    size_t used = splitter->used_bytes;
    splitter->used_bytes = 0;
    if (used > 0 && splitter->bytes[used - 1] == '\r')
        used--;
    splitter->bytes[used] = '\0';
    if (used > 0)
        take(context, splitter->bytes);
}

void line_splitter_feed(struct line_splitter *splitter, const char *bytes, size_t length_bytes,
    line_splitter_take *take, void *context)
{
    for (size_t i = 0; i < length_bytes; i++) {
        if (bytes[i] == '\n') {
            hand_out(splitter, take, context);
            splitter->skipping = false;
        } else if (!splitter->skipping) {
            char byte = bytes[i];
            if (byte == '\0')
                byte = ' ';
            splitter->bytes[splitter->used_bytes++] = byte;
            splitter->skipping = splitter->used_bytes == LINE_SPLITTER_BYTES;
            if (splitter->skipping)
                hand_out(splitter, take, context);
        }
    }
}

void line_splitter_end(struct line_splitter *splitter, line_splitter_take *take, void *context)
{
    hand_out(splitter, take, context);
    splitter->skipping = false;
}

static const char blanks[] = " \t";

/* What is still to be read, and where the next byte of a word goes. */
struct splitter {
    const char *at;
    char *out;
};

static void take(struct splitter *splitter)
{
    *splitter->out++ = *splitter->at++;
}

static int take_single_quoted(struct splitter *splitter, struct error *error)
{
    splitter->at++;
    while (*splitter->at != '\'' && *splitter->at != '\0')
        take(splitter);
    if (*splitter->at == '\0')
        return error_set(error, ERROR_INVALID, "has a ' without another one that closes it");
    splitter->at++;
    return 0;
}

static int take_double_quoted(struct splitter *splitter, struct error *error)
{
    splitter->at++;
    while (*splitter->at != '"' && *splitter->at != '\0') {
        if (splitter->at[0] == '\\' && splitter->at[1] != '\0' &&
            strchr("\"\\$`", splitter->at[1]) != NULL)
            splitter->at++;
        take(splitter);
    }
    if (*splitter->at == '\0')
        return error_set(error, ERROR_INVALID, "has a \" without another one that closes it");
    splitter->at++;
    return 0;
}

static int take_escaped(struct splitter *splitter, struct error *error)
{
    splitter->at++;
    if (*splitter->at == '\0')
        return error_set(error, ERROR_INVALID, "ends with a backslash");
    take(splitter);
    return 0;
}

static int take_word(struct splitter *splitter, struct error *error)
{
    int result = 0;
    while (result == 0 && *splitter->at != '\0' && strchr(blanks, *splitter->at) == NULL) {
        if (*splitter->at == '\'')
            result = take_single_quoted(splitter, error);
        else if (*splitter->at == '"')
            result = take_double_quoted(splitter, error);
        else if (*splitter->at == '\\')
            result = take_escaped(splitter, error);
        else
            take(splitter);
    }
    *splitter->out++ = '\0';
    return result;
}

int argv_parse(const char *line, struct argv *words, struct error *error)
{
    /* A word takes at least one byte of the line and one blank, but for the last one. */
    size_t length_bytes = strlen(line);
    size_t max_words = length_bytes / 2 + 1;
    *words = (struct argv){0};
    words->bytes = malloc(length_bytes + 1);
    words->items = calloc(max_words + 1, sizeof words->items[0]);
    if (words->bytes == NULL || words->items == NULL) {
        argv_fini(words);
        return error_set(error, ERROR_NO_MEMORY, "no memory for the words of a command");
    }
    struct splitter splitter = {.at = line, .out = words->bytes};
    int result = 0;
    while (result == 0) {
        splitter.at += strspn(splitter.at, blanks);
        if (*splitter.at == '\0')
            return 0;
        words->items[words->count++] = splitter.out;
        result = take_word(&splitter, error);
    }
    argv_fini(words);
    return result;
}

void argv_fini(struct argv *words)
{
    free(words->items);
    free(words->bytes);
    *words = (struct argv){0};
}
