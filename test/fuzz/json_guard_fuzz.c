/*
 * Any bytes as JSON: an error, or a value within the limits whose strings are UTF-8 and which
 * survives being written and read again.
 */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../lib/utf8.h"
#include "base/json.h"
#include "base/text.h"

/* Returns the number of values and keys. */
static size_t check_tree(json_t *value, unsigned depth)
{
    size_t count = 1;
    size_t index;
    const char *key;
    json_t *item;
    assert(depth <= JSON_GUARD_MAX_DEPTH);
    assert(!json_is_integer(value));
    if (json_is_string(value))
        assert(utf8_is_valid(json_string_value(value), json_string_length(value)));
    json_array_foreach (value, index, item)
        count += check_tree(item, depth + 1);
    json_object_foreach (value, key, item)
        count += check_tree(item, depth + 1) + 1;
    return count;
}

static void check_round_trip(const json_t *value)
{
    json_t *again = NULL;
    char *written = json_write(value);
    assert(written != NULL);
    assert(json_guard_load(written, strlen(written), &again, NULL) == 0);
    assert(json_equal(value, again));
    json_decref(again);
    free(written);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    json_t *value = NULL;
    struct error error = {0};
    int result = json_guard_load((const char *)data, size, &value, &error);
    assert((result == 0) == (value != NULL));
    assert(result == error.code);
    if (value != NULL)
        assert(check_tree(value, json_is_array(value) || json_is_object(value) ? 0 : 1) <=
               JSON_GUARD_MAX_VALUES);
    if (json_is_array(value) || json_is_object(value))
        check_round_trip(value);
    json_decref(value);
    return 0;
}
