/*
 * Every text is copied into a block of exactly its size first, so that AddressSanitizer reports a
 * read past its end.
 */
#include "json_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"

int json_fixture_load(const char *bytes, size_t length_bytes, json_t **value)
{
    struct error error = {0};
    char *exact = malloc(length_bytes > 0 ? length_bytes : 1);
    assert_non_null(exact);
    memcpy(exact, bytes, length_bytes);
    *value = NULL;
    int result = json_guard_load(exact, length_bytes, value, &error);
    free(exact);
    assert_int_equal(error.code, result);
    assert_true((result == 0) == (*value != NULL));
    return result;
}

char *json_fixture_quote(const char *text)
{
    char *copy = strdup(text);
    assert_non_null(copy);
    for (char *quote = copy; (quote = strchr(quote, '\'')) != NULL; quote++)
        *quote = '"';
    return copy;
}

json_t *json_fixture_must_load(const char *json)
{
    json_t *value;
    if (json_fixture_load(json, strlen(json), &value) != 0)
        fail_msg("refused: %s", json);
    return value;
}

void json_fixture_must_refuse(const char *json, int code)
{
    json_t *value;
    int result = json_fixture_load(json, strlen(json), &value);
    if (result != code)
        fail_msg("%d instead of %d: %.60s", result, code, json);
}
