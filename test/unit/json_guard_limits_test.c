/* The JSON guard's limits on depth and number of values, and its behaviour without memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "../lib/alloc_fault.h"
#include "../lib/json_fixture.h"
#include "base/json.h"
#include "base/text.h"

/* Returns depth times open, a value, then depth times close. */
static char *make_nested(size_t depth, const char *open, const char *close)
{
    struct text text = {0};
    for (size_t i = 0; i < depth; i++)
        text_append(&text, open);
    text_append(&text, "1");
    for (size_t i = 0; i < depth; i++)
        text_append(&text, close);
    return text_take(&text);
}

static void expect_depth_result(size_t depth, const char *open, const char *close, int result)
{
    char *json = make_nested(depth, open, close);
    json_t *value;
    assert_int_equal(json_fixture_load(json, strlen(json), &value), result);
    json_decref(value);
    free(json);
}

static void test_depth_is_limited(void **state)
{
    (void)state;
    assert_int_equal(JSON_GUARD_MAX_DEPTH, 64);
    expect_depth_result(JSON_GUARD_MAX_DEPTH, "[", "]", 0);
    expect_depth_result(JSON_GUARD_MAX_DEPTH + 1, "[", "]", ERROR_TOO_LARGE);
    expect_depth_result(JSON_GUARD_MAX_DEPTH, "{\"a\":", "}", 0);
    expect_depth_result(JSON_GUARD_MAX_DEPTH + 1, "{\"a\":", "}", ERROR_TOO_LARGE);
    expect_depth_result(JSON_GUARD_MAX_DEPTH / 2 + 1, "[{\"a\":", "}]", ERROR_TOO_LARGE);
    expect_depth_result(100000, "[", "]", ERROR_TOO_LARGE);
}

/* Siblings do not nest, and brackets in strings are text. */
static void test_depth_counts_open_containers_only(void **state)
{
    (void)state;
    char *brackets = make_nested(500, "[{", "");
    struct text text = {0};
    text_append(&text, "[[]");
    for (int i = 0; i < 500; i++)
        text_append(&text, ",[{}]");
    text_printf(&text, ",\"\\\"%s\"]", brackets);
    json_decref(json_fixture_must_load(text.data));
    text_fini(&text);
    free(brackets);
}

/* Loads prefix, count times piece separated by commas, and suffix. */
static int load_repeated(const char *prefix, const char *piece, size_t count, const char *suffix)
{
    struct text text = {0};
    text_append(&text, prefix);
    for (size_t i = 0; i < count; i++)
        text_printf(&text, "%s%s", i > 0 ? "," : "", piece);
    text_append(&text, suffix);
    assert_false(text.failed);
    json_t *value;
    int result = json_fixture_load(text.data, text.length_bytes, &value);
    json_decref(value);
    text_fini(&text);
    return result;
}

static void test_values_are_limited(void **state)
{
    (void)state;
    enum { MAX = JSON_GUARD_MAX_VALUES };
    assert_int_equal(MAX, 100000);
    static const char *const scalars[] = {"1", "\"\"", "null", "{}", "[]", " -1.5e3 "};
    for (size_t i = 0; i < sizeof scalars / sizeof scalars[0]; i++) {
        assert_int_equal(load_repeated("[", scalars[i], MAX - 1, "]"), 0);
        assert_int_equal(load_repeated("[", scalars[i], MAX, "]"), ERROR_TOO_LARGE);
    }
    assert_int_equal(load_repeated("{", "\"k\":1", MAX / 2 - 1, "}"), 0);
    assert_int_equal(load_repeated("{", "\"k\":1", MAX / 2, "}"), ERROR_TOO_LARGE);
    assert_int_equal(load_repeated("\"", "[1", MAX, "\""), 0);
}

static void test_lists_have_a_higher_limit(void **state)
{
    (void)state;
    struct text text = {0};
    json_t *value;
    text_append(&text, "[0");
    for (int i = 0; i < JSON_GUARD_MAX_VALUES; i++)
        text_append(&text, ",0");
    text_append(&text, "]");
    assert_int_equal(json_guard_load(text.data, text.length_bytes, &value, NULL), ERROR_TOO_LARGE);
    assert_int_equal(json_guard_load_within(
                         text.data, text.length_bytes, JSON_GUARD_MAX_LIST_VALUES, &value, NULL),
        0);
    assert_int_equal(json_array_size(value), JSON_GUARD_MAX_VALUES + 1);
    json_decref(value);
    text_fini(&text);
}

static void test_binary_data_is_refused(void **state)
{
    (void)state;
    enum { MIB = 1024 * 1024 };
    static char bytes[MIB + 2];
    memset(bytes, 0xFF, sizeof bytes);
    json_t *value;
    bytes[0] = '"';
    bytes[MIB / 2] = '"';
    assert_int_equal(json_fixture_load(bytes, MIB / 2 + 1, &value), 0);
    json_decref(value);
    bytes[MIB / 2] = (char)0xFF;
    bytes[MIB + 1] = '"';
    assert_int_equal(json_fixture_load(bytes, sizeof bytes, &value), ERROR_INVALID);
}

/* Number of allocations that Jansson is still granted. */
static size_t allocations_left;

static void *allocate_if_granted(size_t bytes)
{
    if (allocations_left == 0)
        return NULL;
    allocations_left--;
    return malloc(bytes);
}

/* Whichever allocation fails: an error, no value and no leak. */
static void test_every_failed_allocation_is_an_error(void **state)
{
    (void)state;
    static const char json[] = "{\"a\":[1,\"text\",{\"b\":null}],\"c\":\"\\ud800\"}";
    int result = ERROR_NO_MEMORY;
    json_set_alloc_funcs(allocate_if_granted, free);
    size_t granted = 0;
    for (; result != 0 && granted < 1000; granted++) {
        json_t *value = NULL;
        allocations_left = granted;
        result = json_guard_load(json, strlen(json), &value, NULL);
        json_decref(value);
    }
    json_set_alloc_funcs(malloc, free);
    assert_int_equal(result, 0);
    assert_true(granted > 10);
}

/* One that fails while later ones succeed must not cost a text a byte: Jansson does not tell. */
static void test_no_failed_allocation_changes_a_text(void **state)
{
    (void)state;
    static const char json[] = "{\"a text\":\"a text that is longer than 16 bytes\"}";
    json_guard_start();
    for (unsigned number = 1;; number++) {
        json_t *value = NULL;
        alloc_fault_arm(number);
        int result = json_guard_load(json, strlen(json), &value, NULL);
        alloc_fault_disarm();
        assert_int_equal(result, alloc_fault_fired() ? ERROR_NO_MEMORY : 0);
        assert_int_equal(value != NULL, result == 0);
        json_decref(value);
        if (result == 0)
            break;
    }
    json_set_alloc_funcs(malloc, free);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_depth_is_limited),
        cmocka_unit_test(test_depth_counts_open_containers_only),
        cmocka_unit_test(test_values_are_limited),
        cmocka_unit_test(test_lists_have_a_higher_limit),
        cmocka_unit_test(test_binary_data_is_refused),
        cmocka_unit_test(test_every_failed_allocation_is_an_error),
        cmocka_unit_test(test_no_failed_allocation_changes_a_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
