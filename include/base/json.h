/* Parsing untrusted JSON within limits, reading single fields, and writing JSON. */
#ifndef BASE_JSON_H
#define BASE_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/text.h"

enum {
    JSON_GUARD_MAX_DEPTH = 64,
    JSON_GUARD_MAX_VALUES = 100000,
    /* For the lists of the backend: 8,000 rows of 50 keys and values. Up to 40 MiB when parsed. */
    JSON_GUARD_MAX_LIST_VALUES = 400000,
};

/*
 * Installs the allocator by which json_guard_load distinguishes out of memory from invalid JSON.
 * Once per process, before anything else uses Jansson and before other threads start.
 */
void json_guard_start(void);

/*
 * Parses length_bytes of JSON into *value, a new reference. Any JSON value is allowed at the top.
 * Invalid UTF-8 bytes and lone surrogate escapes become U+FFFD; \u0000 stays as a NUL inside
 * the string; numbers become reals whatever their form (1, 50.0, 1e21). The last of duplicate keys
 * wins; a byte order mark at the start is skipped. bytes need not be NUL-terminated.
 * Errors: ERROR_TOO_LARGE for nesting over 64 levels or more than 100,000 values and keys;
 * ERROR_INVALID for invalid JSON (with line and column, never with the content) or more invalid
 * bytes than a text would have; ERROR_NO_MEMORY (without json_guard_start possibly ERROR_INVALID).
 * Any thread.
 */
int json_guard_load(const char *bytes, size_t length_bytes, json_t **value, struct error *error);

/* The same with a limit of max_values values and keys. */
int json_guard_load_within(
    const char *bytes, size_t length_bytes, size_t max_values, json_t **value, struct error *error);

/* Stores json in *number if it is a number within [min, max]; else returns false. */
bool json_guard_number(const json_t *json, double min, double max, double *number);

/*
 * Stores object[key], truncated to whole milliseconds, in *time_ms if it is a number within
 * [min_ms, the latest JavaScript date (8.64e15)]; else returns false. For times and durations.
 * min_ms is not negative; object may be NULL. Pure; any thread.
 */
bool json_guard_time_ms(const json_t *object, const char *key, int64_t min_ms, int64_t *time_ms);

/* object[key] if it is an object or an array, else NULL. Borrowed from object, which may be NULL.
 */
json_t *json_guard_object(const json_t *object, const char *key);
json_t *json_guard_array(const json_t *object, const char *key);

/* object[key] if it is a string, else NULL. Borrowed likewise. */
const char *json_guard_string(const json_t *object, const char *key);

/* The same with its length, as it may hold NULs; "" if it is none. */
struct text_span json_guard_text(const json_t *object, const char *key);

/* object[key] if it is an id of the backend (base/containers.h), else NULL. Borrowed likewise. */
const char *json_guard_id(const json_t *object, const char *key);

/* Whether object[key] is that word; if it is no string, whether absent is. */
bool json_guard_is(const json_t *object, const char *key, const char *word, const char *absent);

/*
 * Returns an object or array as compact JSON, which the caller frees; NULL when out of memory or
 * when json is NULL. Keys keep the order in which they were set; only the characters that RFC 8259
 * section 7 requires are escaped. Unlike json_dumps it never omits a part when memory runs out, and
 * a long text takes a sixth of the time. Any thread.
 */
char *json_write(const json_t *json);

/* Appends the same to a text, which fails without memory or when json is NULL. Any thread. */
void json_append(struct text *text, const json_t *json);

/*
 * Appends bytes as a JSON string, as json_write would; the text fails if they are not UTF-8, as
 * Jansson takes no others. Any thread.
 */
void json_append_string(struct text *text, const char *bytes, size_t length_bytes);

#endif
