/* Loading of JSON through the guard from a block of exactly its size. */
#ifndef TEST_LIB_JSON_FIXTURE_H
#define TEST_LIB_JSON_FIXTURE_H

#include <jansson.h>
#include <stddef.h>

/*
 * Calls json_guard_load on a copy that ends where the JSON ends. Fails the test unless result,
 * value and error are consistent; *value is NULL after an error.
 */
int json_fixture_load(const char *bytes, size_t length_bytes, json_t **value);

/* A copy of text with " for each ', for the caller to free. */
char *json_fixture_quote(const char *text);

/* Fail the test if json is refused, or if it is not refused with code. */
json_t *json_fixture_must_load(const char *json);
void json_fixture_must_refuse(const char *json, int code);

#endif
