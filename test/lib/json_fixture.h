/* JSON handed to the guard from memory of exactly its size. */
#ifndef TEST_LIB_JSON_FIXTURE_H
#define TEST_LIB_JSON_FIXTURE_H

#include <jansson.h>
#include <stddef.h>

/*
 * json_guard_load from memory that ends where the JSON ends, so that a read behind it is seen by
 * the sanitizer. Fails the test unless code, value and error agree; *value is NULL after an error.
 */
int json_fixture_load(const char *bytes, size_t length_bytes, json_t **value);

/* Each fails the test when json is refused, or is not refused with code. */
json_t *json_fixture_must_load(const char *json);
void json_fixture_must_refuse(const char *json, int code);

#endif
