/*
 * Text in four forms, each of which expects hostile bytes, as most come from a server, a child
 * process or a file:
 *
 * - struct text grows while it is appended to. An allocation that fails sets a flag that makes all
 *   later appends do nothing, so callers build a whole text without checks and look once at the
 * end.
 * - Functions on UTF-8 truncate only between characters and accept exactly what RFC 3629 allows;
 *   trimming follows ECMAScript, because the backend compares texts that JavaScript trimmed.
 * - text_quote and text_append_visible make foreign text harmless for a log line or a terminal.
 * - The line splitter and argv_parse split a stream into lines and a command line into arguments,
 *   the former in constant memory whatever a child writes.
 *
 * Nothing here blocks or locks, except text_quote for the list of secrets.
 */
#include "base/text.h"

#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/secret.h"

enum { MIN_CAPACITY_BYTES = 1024 };

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

/* Makes room for extra_bytes more and the NUL. Doubles, so that appending is linear in total. */
static bool text_reserve(struct text *text, size_t extra_bytes)
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
    if (capacity < MIN_CAPACITY_BYTES)
        capacity = MIN_CAPACITY_BYTES;
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
    if (!text_reserve(text, length_bytes))
        return;
    if (length_bytes > 0)
        memcpy(text->data + text->length_bytes, bytes, length_bytes);
    text->length_bytes += length_bytes;
    text->data[text->length_bytes] = '\0';
}

void text_append_without_nuls(struct text *text, const char *bytes, size_t length_bytes)
{
    while (length_bytes > 0) {
        const char *nul = memchr(bytes, '\0', length_bytes);
        size_t piece = nul != NULL ? (size_t)(nul - bytes) : length_bytes;
        text_append_bytes(text, bytes, piece);
        piece += nul != NULL;
        bytes += piece;
        length_bytes -= piece;
    }
}

void text_append(struct text *text, const char *string)
{
    text_append_bytes(text, string, strlen(string));
}

void text_append_lower_case(struct text *text, const char *bytes, size_t length_bytes)
{
    size_t from = text->length_bytes;
    text_append_bytes(text, bytes, length_bytes);
    for (size_t i = from; i < text->length_bytes; i++)
        if (text->data[i] >= 'A' && text->data[i] <= 'Z')
            text->data[i] = (char)(text->data[i] - 'A' + 'a');
}

void text_vprintf(struct text *text, const char *format, va_list arguments)
{
    /* vsnprintf consumes its arguments; the second pass needs a copy. */
    va_list again;
    va_copy(again, arguments);
    int needed = vsnprintf(NULL, 0, format, arguments);
    if (needed < 0)
        text->failed = true;
    if (needed >= 0 && text_reserve(text, (size_t)needed)) {
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
    /* Allocates for a text that nothing was appended to. */
    text_append_bytes(text, "", 0);
    if (text->failed) {
        text_fini(text);
        return NULL;
    }
    char *data = text->data;
    *text = (struct text){0};
    return data;
}

bool text_is_digit(char character)
{
    return character >= '0' && character <= '9';
}

bool text_is_letter(char character)
{
    return (character >= 'a' && character <= 'z') || (character >= 'A' && character <= 'Z');
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
    /* The second byte's range excludes overlong forms, surrogates and code points over U+10FFFF. */
    unsigned char low = b[0] == 0xE0 ? 0xA0 : b[0] == 0xF0 ? 0x90 : 0x80;
    unsigned char high = b[0] == 0xED ? 0x9F : b[0] == 0xF4 ? 0x8F : 0xBF;
    if (b[1] < low || b[1] > high)
        return 0;
    for (size_t i = 2; i < length; i++)
        if ((b[i] & 0xC0) != 0x80)
            return 0;
    return length;
}

uint32_t text_utf8_point(const char *bytes, size_t length_bytes)
{
    static const unsigned char masks[] = {0, 0x7F, 0x1F, 0x0F, 0x07};
    uint32_t point = (unsigned char)bytes[0] & masks[length_bytes];
    for (size_t i = 1; i < length_bytes; i++)
        point = point << 6 | ((unsigned char)bytes[i] & 0x3F);
    return point;
}

size_t text_utf16_cut(const char *bytes, size_t length_bytes, size_t limit_units)
{
    size_t at = 0;
    size_t units = 0;
    while (at < length_bytes) {
        size_t step = text_utf8_length(bytes + at, length_bytes - at);
        units += step == 4 ? 2 : 1;
        if (units > limit_units)
            break;
        at += step > 0 ? step : 1;
    }
    return at;
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

size_t text_blank_length(const char *bytes, size_t available_bytes)
{
    const unsigned char *b = (const unsigned char *)bytes;
    if (available_bytes >= 1 && is_ascii_blank(b[0]))
        return 1;
    if (available_bytes >= 2 && b[0] == 0xC2 && b[1] == 0xA0)
        return 2;
    return available_bytes >= 3 && is_wide_blank(b) ? 3 : 0;
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
    size_t step;
    while ((step = text_blank_length(bytes, length_bytes)) > 0) {
        bytes += step;
        length_bytes -= step;
    }
    while ((step = trailing_blank((const unsigned char *)bytes, length_bytes)) > 0)
        length_bytes -= step;
    return (struct text_span){bytes, length_bytes};
}

size_t text_utf8_cut(const char *bytes, size_t length_bytes, size_t limit_bytes)
{
    if (length_bytes <= limit_bytes)
        return length_bytes;
    /* Steps back over continuation bytes, but no further than a character is long. */
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

/* FNV-1a. */
uint64_t text_digest(const char *string, size_t limit_bytes)
{
    uint64_t digest = UINT64_C(14695981039346656037);
    for (size_t i = 0; i < limit_bytes && string[i] != '\0'; i++)
        digest = (digest ^ (unsigned char)string[i]) * UINT64_C(1099511628211);
    return digest != 0 ? digest : 1;
}

/* False for control characters (ASCII and C1), and for a length of 0: bytes that are not UTF-8. */
static bool is_printable(const char *bytes, size_t length)
{
    const unsigned char *b = (const unsigned char *)bytes;
    if (length == 1)
        return b[0] >= ' ' && b[0] != 0x7F;
    /* C1 is U+0080 to U+009F, which UTF-8 writes as C2 80 to C2 9F. */
    return length > 2 || (length == 2 && (b[0] != 0xC2 || b[1] >= 0xA0));
}

void text_quote(char *destination, size_t destination_bytes, const char *bytes, size_t length_bytes)
{
    assert(destination_bytes > 0);
    size_t used = 0;
    for (size_t at = 0; at < length_bytes;) {
        size_t step = text_utf8_length(bytes + at, length_bytes - at);
        bool printable = is_printable(bytes + at, step);
        /* Each byte that is not printed becomes one character, so the text never gets longer. */
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
    /* After truncation: redact() also recognizes a secret that was split. */
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

/* A line without its CR; empty lines are not handed out. */
static void line_splitter_emit(
    struct line_splitter *splitter, line_splitter_take *take, void *context)
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
            line_splitter_emit(splitter, take, context);
            splitter->skipping = false;
        } else if (!splitter->skipping) {
            char byte = bytes[i];
            if (byte == '\0')
                byte = ' ';
            splitter->bytes[splitter->used_bytes++] = byte;
            splitter->skipping = splitter->used_bytes == LINE_SPLITTER_BYTES;
            if (splitter->skipping)
                line_splitter_emit(splitter, take, context);
        }
    }
}

void line_splitter_end(struct line_splitter *splitter, line_splitter_take *take, void *context)
{
    line_splitter_emit(splitter, take, context);
    splitter->skipping = false;
}

static const char blanks[] = " \t";

/* Where argv_parse is: the next byte to read, and where the next byte of an argument goes. */
struct argv_cursor {
    const char *in;
    char *out;
};

static void argv_copy_byte(struct argv_cursor *cursor)
{
    *cursor->out++ = *cursor->in++;
}

static int argv_copy_single_quoted(struct argv_cursor *cursor, struct error *error)
{
    cursor->in++;
    while (*cursor->in != '\'' && *cursor->in != '\0')
        argv_copy_byte(cursor);
    if (*cursor->in == '\0')
        return error_set(error, ERROR_INVALID, "has an unterminated single quote");
    cursor->in++;
    return 0;
}

static int argv_copy_double_quoted(struct argv_cursor *cursor, struct error *error)
{
    cursor->in++;
    while (*cursor->in != '"' && *cursor->in != '\0') {
        if (cursor->in[0] == '\\' && cursor->in[1] != '\0' &&
            strchr("\"\\$`", cursor->in[1]) != NULL)
            cursor->in++;
        argv_copy_byte(cursor);
    }
    if (*cursor->in == '\0')
        return error_set(error, ERROR_INVALID, "has an unterminated double quote");
    cursor->in++;
    return 0;
}

static int argv_copy_escaped(struct argv_cursor *cursor, struct error *error)
{
    cursor->in++;
    if (*cursor->in == '\0')
        return error_set(error, ERROR_INVALID, "ends with a backslash");
    argv_copy_byte(cursor);
    return 0;
}

/* Copies one argument, of any mixture of quoted and bare pieces, and terminates it. */
static int argv_copy_argument(struct argv_cursor *cursor, struct error *error)
{
    int result = 0;
    while (result == 0 && *cursor->in != '\0' && strchr(blanks, *cursor->in) == NULL) {
        if (*cursor->in == '\'')
            result = argv_copy_single_quoted(cursor, error);
        else if (*cursor->in == '"')
            result = argv_copy_double_quoted(cursor, error);
        else if (*cursor->in == '\\')
            result = argv_copy_escaped(cursor, error);
        else
            argv_copy_byte(cursor);
    }
    *cursor->out++ = '\0';
    return result;
}

int argv_parse(const char *line, struct argv *argv, struct error *error)
{
    /*
     * Each argument but the last takes at least one byte and one blank of the line, which bounds
     * their number; and each fits, with its NUL, where the line had it and its blank.
     */
    size_t length_bytes = strlen(line);
    size_t max_count = length_bytes / 2 + 1;
    *argv = (struct argv){0};
    argv->bytes = malloc(length_bytes + 1);
    argv->items = calloc(max_count + 1, sizeof argv->items[0]);
    if (argv->bytes == NULL || argv->items == NULL) {
        argv_fini(argv);
        return error_set(error, ERROR_NO_MEMORY, "out of memory parsing a command");
    }
    struct argv_cursor cursor = {.in = line, .out = argv->bytes};
    int result = 0;
    while (result == 0) {
        cursor.in += strspn(cursor.in, blanks);
        if (*cursor.in == '\0')
            return 0;
        argv->items[argv->count++] = cursor.out;
        result = argv_copy_argument(&cursor, error);
    }
    argv_fini(argv);
    return result;
}

void argv_fini(struct argv *argv)
{
    free(argv->items);
    free(argv->bytes);
    *argv = (struct argv){0};
}
