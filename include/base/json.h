/* JSON from the outside, made harmless before Jansson sees it. */
#ifndef BASE_JSON_H
#define BASE_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

enum {
    JSON_GUARD_MAX_DEPTH = 64,
    JSON_GUARD_MAX_VALUES = 100000,
    /* For the backend's lists: 8,000 rows of 50 keys and values. Up to 40 MiB when parsed. */
    JSON_GUARD_MAX_LIST_VALUES = 400000,
};

/*
 * Makes Jansson allocate so that missing memory is told from wrong JSON. Once per process, before
 * anything else uses Jansson and before threads.
 */
void json_guard_start(void);

/*
 * Parses length_bytes of JSON into *value, a new reference. Any JSON value may stand at the top.
 * Invalid UTF-8 bytes and lone surrogate escapes become U+FFFD; \u0000 stays as a NUL inside
 * the string; numbers become reals whatever their form (1, 50.0, 1e21). Of duplicate keys the last
 * one counts; a byte order mark at the start is skipped. bytes need not be NUL-ended.
 * Errors: ERROR_TOO_LARGE for nesting over 64 or more than 100,000 values and keys, ERROR_INVALID
 * for what is not JSON (with line and column, never with the content) or holds so many invalid
 * bytes that it is no text, ERROR_NO_MEMORY (after json_guard_start; else it may pass for
 * ERROR_INVALID). Pure; any thread.
 */
int json_guard_load(const char *bytes, size_t length_bytes, json_t **value, struct error *error);

/* The same with room for max_values values and keys. */
int json_guard_load_within(
    const char *bytes, size_t length_bytes, size_t max_values, json_t **value, struct error *error);

/* The number in json if it is one within [least, most]; false else, leaving *number alone. */
bool json_guard_number(const json_t *json, double min, double max, double *number);

/*
 * object[key] when it is a number within [min_ms, the last moment of a JavaScript date, 8.64e15],
 * its fraction cut off; false else, leaving *time_ms alone. In milliseconds, of a clock or of a
 * duration. min_ms is not negative; object may be NULL. Pure; any thread.
 */
bool json_guard_time_ms(const json_t *object, const char *key, int64_t min_ms, int64_t *time_ms);

/* object[key] when it is a string, else NULL. Borrowed from object. object may be NULL. */
const char *json_guard_string(const json_t *object, const char *key);

/* JSON as bytes: what is sent to others and kept in the spool. */

/*
 * The value, an object or array, as compact JSON, the caller's to free; NULL without memory or
 * when json is NULL. Keys stand in the order in which they were set; only what RFC 8259 section 7
 * demands is escaped. Unlike json_dumps it leaves nothing out when there is no memory for it, and a
 * long text costs a sixth of the time. Pure but for memory; any thread.
 */
char *json_write(const json_t *json);

#endif
