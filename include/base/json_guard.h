/* JSON from the outside, made harmless before Jansson sees it. */
#ifndef BASE_JSON_GUARD_H
#define BASE_JSON_GUARD_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

enum { JSON_GUARD_MAX_DEPTH = 64, JSON_GUARD_MAX_VALUES = 100000 };

/*
 * Parses length_bytes of JSON into *value, a new reference. Any JSON value may stand at the top.
 * Invalid UTF-8 bytes and lone surrogate escapes become U+FFFD; \u0000 stays as a NUL inside
 * the string; numbers become reals whatever their form (1, 50.0, 1e21). Of duplicate keys the last
 * one counts; a byte order mark at the start is skipped. bytes need not be NUL-ended.
 * Errors: ERROR_TOO_LARGE for nesting over 64 or more than 100,000 values and keys, ERROR_INVALID
 * for what is not JSON (with line and column, never with the content) or holds so many invalid
 * bytes that it is no text, ERROR_NO_MEMORY. Pure; any thread.
 */
int json_guard_load(const char *bytes, size_t length_bytes, json_t **value, struct error *error);

/* The number in json if it is one within [least, most]; false else, leaving *number alone. */
bool json_guard_number(const json_t *json, double least, double most, double *number);

/* object[key] when it is a string, else NULL. Borrowed from object. object may be NULL. */
const char *json_guard_string(const json_t *object, const char *key);

#endif
