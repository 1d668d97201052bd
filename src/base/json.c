/*
 * Jansson does the parsing; this file prepares its input and reads its results.
 *
 * Before: one pass over the bytes (struct json_scan) rejects documents whose nesting or number of
 * values would exhaust the stack or the memory, since a small text can become a large tree, and
 * repairs what Jansson would reject a whole reply for: invalid UTF-8, lone surrogates, and numbers
 * that no double holds (RFC 8259, section 6, leaves their range to us), which become null. A valid
 * document, by far the usual case, is not copied: json_scan_replace starts a copy on the first
 * repair. The scan does not validate; what is not JSON is left to Jansson.
 *
 * After: readers for single fields that treat a wrong type as absent, and a writer. The writer
 * replaces json_dumps, which handles a text character by character and silently omits object keys
 * when memory runs out; a reply that was shortened like that would be posted.
 *
 * Nothing is shared except a thread-local flag, so any thread may work on its own values.
 */
#include "base/json.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/containers.h"
#include "base/text.h"

/* How much longer repairs may make a text; beyond that it is not text but binary data. */
enum { REPAIR_GROWTH_BYTES = 1024 * 1024, ESCAPE_BYTES = 6 };

/* The latest time that a JavaScript Date can hold; exact as a double and as an int64_t. */
static const double LATEST_TIME_MS = 8.64e15;

/* The state of one pass. Bytes before copied_to are already in repaired, if anything is. */
struct json_scan {
    const char *bytes;
    size_t length_bytes;
    size_t max_values;
    size_t at;
    size_t copied_to;
    unsigned depth;
    unsigned values; /* keys included */
    bool in_scalar;  /* within a number, true, false or null, which is already counted */
    struct text repaired;
};

/* Replaces the next length bytes. */
static void json_scan_replace(struct json_scan *scan, size_t length, const char *replacement)
{
    text_append_bytes(&scan->repaired, scan->bytes + scan->copied_to, scan->at - scan->copied_to);
    text_append(&scan->repaired, replacement);
    scan->at += length;
    scan->copied_to = scan->at;
}

static bool json_parse_hex4(const char *digits, unsigned *value)
{
    *value = 0;
    for (int i = 0; i < 4; i++) {
        char c = digits[i];
        unsigned digit;
        if (c >= '0' && c <= '9')
            digit = (unsigned)(c - '0');
        else if ((c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'))
            digit = (unsigned)((c | 0x20) - 'a' + 10);
        else
            return false;
        *value = *value << 4 | digit;
    }
    return true;
}

/* Reads the escape \uXXXX at offset; false if there is none, or not all of it. */
static bool json_read_unicode_escape(const struct json_scan *scan, size_t offset, unsigned *value)
{
    return offset + ESCAPE_BYTES <= scan->length_bytes && scan->bytes[offset] == '\\' &&
           scan->bytes[offset + 1] == 'u' && json_parse_hex4(scan->bytes + offset + 2, value);
}

/* At a backslash inside a string. Jansson rejects surrogates that do not come in pairs. */
static void json_scan_escape(struct json_scan *scan)
{
    unsigned first;
    unsigned second;
    if (!json_read_unicode_escape(scan, scan->at, &first)) {
        scan->at += scan->at + 2 <= scan->length_bytes ? 2 : 1;
    } else if (first < 0xD800 || first > 0xDFFF) {
        scan->at += ESCAPE_BYTES;
    } else if (first < 0xDC00 && json_read_unicode_escape(scan, scan->at + ESCAPE_BYTES, &second) &&
               second >= 0xDC00 && second <= 0xDFFF) {
        scan->at += (size_t)2 * ESCAPE_BYTES;
    } else {
        json_scan_replace(scan, ESCAPE_BYTES, "\\uFFFD");
    }
}

/* Skips the characters of a string that need no attention: most of any document. */
static void json_skip_plain(struct json_scan *scan)
{
    size_t at = scan->at;
    while (at < scan->length_bytes && (unsigned char)scan->bytes[at] < 0x80 &&
           scan->bytes[at] != '"' && scan->bytes[at] != '\\')
        at++;
    scan->at = at;
}

/* From after the opening quote to after the closing one, or to the end of the bytes. */
static void json_scan_string(struct json_scan *scan)
{
    for (;;) {
        json_skip_plain(scan);
        if (scan->at >= scan->length_bytes)
            return;
        char byte = scan->bytes[scan->at];
        if (byte == '"') {
            scan->at++;
            return;
        }
        size_t character = text_utf8_length(scan->bytes + scan->at, scan->length_bytes - scan->at);
        if (byte == '\\')
            json_scan_escape(scan);
        else if (character == 0)
            json_scan_replace(scan, 1, "\xEF\xBF\xBD");
        else
            scan->at += character;
    }
}

/* Whether the number, which may be any text of a number's characters, is beyond all doubles. */
static bool json_overflows(const char *bytes, size_t length_bytes)
{
    struct text number = {0};
    char *end;
    text_append_bytes(&number, bytes, length_bytes);
    text_append(&number, "");
    if (number.failed)
        return false;
    bool overflows = isinf(strtod(number.data, &end)) && end == number.data + number.length_bytes;
    text_fini(&number);
    return overflows;
}

/*
 * From the second character of a number to its end. Jansson rejects what is not a valid number,
 * such as one with a leading zero.
 */
static void json_scan_number(struct json_scan *scan)
{
    enum { MAX_SAFE_BYTES = 300 }; /* that many digits alone cannot overflow */
    size_t begin = scan->at - 1;
    bool has_exponent = false;
    size_t end = scan->at;
    for (; end < scan->length_bytes && strchr("0123456789+-.eE", scan->bytes[end]) != NULL &&
           scan->bytes[end] != '\0';
         end++)
        has_exponent = has_exponent || (scan->bytes[end] | 0x20) == 'e';
    scan->at = end;
    if ((!has_exponent && end - begin <= MAX_SAFE_BYTES) || scan->bytes[begin] == '0' ||
        !json_overflows(scan->bytes + begin, end - begin))
        return;
    scan->at = begin;
    json_scan_replace(scan, end - begin, "null");
}

/* One token outside strings: counts values and tracks the depth. */
static void json_scan_token(struct json_scan *scan)
{
    char byte = scan->bytes[scan->at++];
    switch (byte) {
    case '{':
    case '[':
        scan->values++;
        scan->depth++;
        break;
    case '}':
    case ']':
        scan->depth -= scan->depth > 0;
        break;
    case '"':
        scan->values++;
        json_scan_string(scan);
        break;
    case ':':
    case ',':
    case ' ':
    case '\t':
    case '\r':
    case '\n':
        break;
    default:
        scan->values += !scan->in_scalar;
        if (!scan->in_scalar && (byte == '-' || (byte >= '0' && byte <= '9')))
            json_scan_number(scan);
        scan->in_scalar = true;
        return;
    }
    scan->in_scalar = false;
}

static int json_scan_document(struct json_scan *scan, struct error *error)
{
    while (scan->at < scan->length_bytes) {
        json_scan_token(scan);
        if (scan->depth > JSON_GUARD_MAX_DEPTH)
            return error_set(
                error, ERROR_TOO_LARGE, "JSON nests deeper than %d levels", JSON_GUARD_MAX_DEPTH);
        if (scan->values > scan->max_values)
            return error_set(
                error, ERROR_TOO_LARGE, "JSON has more than %zu values", scan->max_values);
        if (scan->repaired.length_bytes > scan->copied_to + REPAIR_GROWTH_BYTES)
            return error_set(error, ERROR_INVALID, "not UTF-8 text");
    }
    if (scan->copied_to > 0)
        json_scan_replace(scan, 0, "");
    if (scan->repaired.failed)
        return error_set(error, ERROR_NO_MEMORY, "out of memory repairing JSON");
    return 0;
}

/*
 * Jansson mostly reports an allocation that failed as an invalid token, and sometimes not at all:
 * then a text lacks a byte. So it is noted here.
 */
static _Thread_local bool out_of_memory;

static void *json_allocate(size_t size)
{
    void *memory = malloc(size);
    if (memory == NULL)
        out_of_memory = true;
    return memory;
}

void json_guard_start(void)
{
    json_set_alloc_funcs(json_allocate, free);
}

static int json_parse(const char *bytes, size_t length_bytes, json_t **value, struct error *error)
{
    json_error_t details;
    out_of_memory = false;
    size_t flags = JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL | JSON_DECODE_ANY;
    *value = json_loadb(bytes, length_bytes, flags, &details);
    if (*value != NULL && !out_of_memory)
        return 0;
    json_decref(*value);
    *value = NULL;
    if (out_of_memory)
        return error_set(error, ERROR_NO_MEMORY, "out of memory parsing JSON");
    return error_set(
        error, ERROR_INVALID, "invalid JSON (line %d, column %d)", details.line, details.column);
}

int json_guard_load(const char *bytes, size_t length_bytes, json_t **value, struct error *error)
{
    return json_guard_load_within(bytes, length_bytes, JSON_GUARD_MAX_VALUES, value, error);
}

int json_guard_load_within(
    const char *bytes, size_t length_bytes, size_t max_values, json_t **value, struct error *error)
{
    if (length_bytes >= 3 && memcmp(bytes, "\xEF\xBB\xBF", 3) == 0) {
        bytes += 3;
        length_bytes -= 3;
    }
    struct json_scan scan = {
        .bytes = bytes, .length_bytes = length_bytes, .max_values = max_values};
    int result = json_scan_document(&scan, error);
    if (result == 0 && scan.copied_to > 0)
        result = json_parse(scan.repaired.data, scan.repaired.length_bytes, value, error);
    else if (result == 0)
        result = json_parse(bytes, length_bytes, value, error);
    text_fini(&scan.repaired);
    return result;
}

bool json_guard_number(const json_t *json, double min, double max, double *number)
{
    if (!json_is_number(json))
        return false;
    double value = json_number_value(json);
    if (!isfinite(value) || value < min || value > max)
        return false;
    *number = value;
    return true;
}

bool json_guard_time_ms(const json_t *object, const char *key, int64_t min_ms, int64_t *time_ms)
{
    double number;
    const json_t *json = json_object_get(object, key);
    if (!json_guard_number(json, (double)min_ms, LATEST_TIME_MS, &number))
        return false;
    *time_ms = (int64_t)number;
    return true;
}

json_t *json_guard_object(const json_t *object, const char *key)
{
    json_t *value = json_object_get(object, key);
    return json_is_object(value) ? value : NULL;
}

json_t *json_guard_array(const json_t *object, const char *key)
{
    json_t *value = json_object_get(object, key);
    return json_is_array(value) ? value : NULL;
}

const char *json_guard_string(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

struct text_span json_guard_text(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    if (!json_is_string(value))
        return (struct text_span){"", 0};
    return (struct text_span){json_string_value(value), json_string_length(value)};
}

const char *json_guard_id(const json_t *object, const char *key)
{
    const char *id = json_guard_string(object, key);
    return id != NULL && id_is_valid(id) ? id : NULL;
}

bool json_guard_is(const json_t *object, const char *key, const char *word, const char *absent)
{
    const char *value = json_guard_string(object, key);
    return strcmp(value != NULL ? value : absent, word) == 0;
}

static void json_write_escape(struct text *text, unsigned char byte)
{
    switch (byte) {
    case '"':
        text_append(text, "\\\"");
        break;
    case '\\':
        text_append(text, "\\\\");
        break;
    case '\n':
        text_append(text, "\\n");
        break;
    case '\r':
        text_append(text, "\\r");
        break;
    case '\t':
        text_append(text, "\\t");
        break;
    default:
        text_printf(text, "\\u%04X", byte);
    }
}

static bool json_needs_escape(unsigned char byte)
{
    return byte < 0x20 || byte == '"' || byte == '\\';
}

/* The bytes are valid UTF-8, as Jansson creates no other string. */
static void json_write_string(struct text *text, const char *bytes, size_t length_bytes)
{
    text_append_bytes(text, "\"", 1);
    for (size_t at = 0; at < length_bytes;) {
        size_t from = at;
        while (at < length_bytes && !json_needs_escape((unsigned char)bytes[at]))
            at++;
        text_append_bytes(text, bytes + from, at - from);
        if (at < length_bytes)
            json_write_escape(text, (unsigned char)bytes[at++]);
    }
    text_append_bytes(text, "\"", 1);
}

static int json_append_piece(const char *bytes, size_t length_bytes, void *text)
{
    text_append_bytes(text, bytes, length_bytes);
    return ((const struct text *)text)->failed ? -1 : 0;
}

static void json_write_value(struct text *text, const json_t *json);

static void json_write_object(struct text *text, const json_t *object)
{
    const char *separator = "{";
    /* Iterating does not modify the object, although Jansson takes a non-const one. */
    json_t *iterated = (json_t *)object;
    for (void *at = json_object_iter(iterated); at != NULL;
         at = json_object_iter_next(iterated, at)) {
        text_append_bytes(text, separator, 1);
        json_write_string(text, json_object_iter_key(at), json_object_iter_key_len(at));
        text_append_bytes(text, ":", 1);
        json_write_value(text, json_object_iter_value(at));
        separator = ",";
    }
    text_append(text, *separator == '{' ? "{}" : "}");
}

static void json_write_array(struct text *text, const json_t *array)
{
    size_t index;
    const json_t *item;
    text_append_bytes(text, "[", 1);
    json_array_foreach (array, index, item) {
        if (index > 0)
            text_append_bytes(text, ",", 1);
        json_write_value(text, item);
    }
    text_append_bytes(text, "]", 1);
}

/* Recursive, to the depth of the value: at most JSON_GUARD_MAX_DEPTH, or as deep as we build. */
static void json_write_value(struct text *text, const json_t *json)
{
    if (json_is_object(json))
        json_write_object(text, json);
    else if (json_is_array(json))
        json_write_array(text, json);
    else if (json_is_string(json))
        json_write_string(text, json_string_value(json), json_string_length(json));
    else if (json_dump_callback(json, json_append_piece, text, JSON_COMPACT | JSON_ENCODE_ANY) != 0)
        text->failed = true;
}

void json_append(struct text *text, const json_t *json)
{
    if (json_is_object(json) || json_is_array(json))
        json_write_value(text, json);
    else
        text->failed = true;
}

void json_append_string(struct text *text, const char *bytes, size_t length_bytes)
{
    for (size_t at = 0, length; at < length_bytes; at += length) {
        length = text_utf8_length(bytes + at, length_bytes - at);
        if (length == 0) {
            text->failed = true;
            return;
        }
    }
    json_write_string(text, bytes, length_bytes);
}

char *json_write(const json_t *json)
{
    struct text text = {0};
    json_append(&text, json);
    return text_take(&text);
}
