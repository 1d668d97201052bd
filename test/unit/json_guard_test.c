/*
 * The JSON guard: what it repairs, what it refuses, and the accessors. Every text is loaded from a
 * block of exactly its size (json_fixture).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "../lib/json_fixture.h"
#include "base/json.h"
#include "base/text.h"

#define FFFD "\xEF\xBF\xBD"

/* Fails unless json is a string that decodes to exactly the length bytes of text. */
static void expect_decoded_bytes(const char *json, const char *text, size_t length)
{
    json_t *value = json_fixture_must_load(json);
    assert_true(json_is_string(value));
    if (json_string_length(value) != length || memcmp(json_string_value(value), text, length) != 0)
        fail_msg("%s became \"%s\"", json, json_string_value(value));
    json_decref(value);
}

static void expect_decoded(const char *json, const char *text)
{
    expect_decoded_bytes(json, text, strlen(text));
}

static void test_lone_surrogates_are_replaced(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"\"\\uD800\"", FFFD},
        {"\"\\uDBFFx\"", FFFD "x"},
        {"\"a\\uDC00\"", "a" FFFD},
        {"\"\\uDfFf\"", FFFD},
        {"\"\\ud800\\n\"", FFFD "\n"},
        {"\"\\ud800\\u0041\"", FFFD "A"},
        {"\"\\ud800\\ud800\"", FFFD FFFD},
        {"\"\\udc00\\ud800\"", FFFD FFFD},
        {"\"\\ud800\\ud83d\\ude00\"", FFFD "\xF0\x9F\x98\x80"},
        {"\"\\ud83d\\ude00\\ude00\"", "\xF0\x9F\x98\x80" FFFD},
        {"\"\\ud83d\\ude00\"", "\xF0\x9F\x98\x80"},
        {"\"\\uD7FF\\uE000\"", "\xED\x9F\xBF\xEE\x80\x80"},
        {"\"\\\\ud800\"", "\\ud800"},
        {"\"\\\\\\ud800\"", "\\" FFFD},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        expect_decoded(cases[i][0], cases[i][1]);
}

/* Each byte that belongs to no character becomes one replacement character. */
static void test_invalid_bytes_are_replaced_one_by_one(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"\"\x80\"", FFFD},
        {"\"a\xBFz\"", "a" FFFD "z"},
        {"\"\xC3\"", FFFD},
        {"\"\xE2\x82\"", FFFD FFFD},
        {"\"\xF0\x9F\x98\"", FFFD FFFD FFFD},
        {"\"\xC3(\"", FFFD "("},
        {"\"\xC0\x80\"", FFFD FFFD},
        {"\"\xC1\xBF\"", FFFD FFFD},
        {"\"\xE0\x9F\xBF\"", FFFD FFFD FFFD},
        {"\"\xF0\x8F\xBF\xBF\"", FFFD FFFD FFFD FFFD},
        {"\"\xED\xA0\x80\"", FFFD FFFD FFFD},
        {"\"\xF4\x90\x80\x80\"", FFFD FFFD FFFD FFFD},
        {"\"\xF5\xFE\xFF\"", FFFD FFFD FFFD},
        {"\"\xC3\xA4\xE2\x82\xAC\xF4\x8F\xBF\xBF\"", "\xC3\xA4\xE2\x82\xAC\xF4\x8F\xBF\xBF"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        expect_decoded(cases[i][0], cases[i][1]);
}

static void test_repairs_include_keys_only_inside_strings(void **state)
{
    (void)state;
    json_t *value =
        json_fixture_must_load("{\"k\xFF\":[\"\\ud800\",1,\"x\\u00e4\"],\"b\":\"\xFE\"}");
    const json_t *array = json_object_get(value, "k" FFFD);
    assert_int_equal(json_array_size(array), 3);
    assert_string_equal(json_string_value(json_array_get(array, 0)), FFFD);
    assert_string_equal(json_string_value(json_array_get(array, 2)), "x\xC3\xA4");
    assert_string_equal(json_guard_string(value, "b"), FFFD);
    json_decref(value);
    json_fixture_must_refuse("\xFF[]", ERROR_INVALID);
    json_fixture_must_refuse("[1,\x80]", ERROR_INVALID);
}

static void test_nul_is_allowed_escaped_in_values_only(void **state)
{
    (void)state;
    expect_decoded_bytes("\"a\\u0000b\"", "a\0b", 3);
    json_fixture_must_refuse("{\"a\\u0000b\":1}", ERROR_INVALID);
    json_t *value;
    assert_int_equal(json_fixture_load("\"a\0b\"", 5, &value), ERROR_INVALID);
    assert_int_equal(json_fixture_load("[]\0", 3, &value), ERROR_INVALID);
    assert_int_equal(json_fixture_load("\0", 1, &value), ERROR_INVALID);
}

static void test_byte_order_mark_is_skipped_once(void **state)
{
    (void)state;
    expect_decoded("\xEF\xBB\xBF\"x\"", "x");
    json_fixture_must_refuse("\xEF\xBB\xBF", ERROR_INVALID);
    json_fixture_must_refuse("\xEF\xBB\xBF\xEF\xBB\xBF\"x\"", ERROR_INVALID);
    json_fixture_must_refuse("\xEF\xBB", ERROR_INVALID);
}

static void test_all_numbers_become_reals(void **state)
{
    (void)state;
    static const struct {
        const char *json;
        double number;
    } cases[] = {{"1", 1}, {"50.0", 50}, {"1e21", 1e21}, {"-0", 0}, {"-7", -7}, {"1E+2", 100},
        {"12345678901234567890123", 12345678901234567890123.0}, {"1e-999", 0}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        json_t *value = json_fixture_must_load(cases[i].json);
        assert_true(json_is_real(value));
        assert_true(json_real_value(value) == cases[i].number);
        json_decref(value);
    }
    static const char *const wrong[] = {
        "01", "1.", ".5", "+1", "-", "1e", "NaN", "Infinity", "-Infinity", "0x10"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        json_fixture_must_refuse(wrong[i], ERROR_INVALID);
}

static void test_last_duplicate_key_wins(void **state)
{
    (void)state;
    json_t *value = json_fixture_must_load("{\"a\":1,\"b\":2,\"a\":\"last\"}");
    assert_string_equal(json_guard_string(value, "a"), "last");
    assert_int_equal(json_object_size(value), 2);
    json_decref(value);
}

static void test_any_value_is_allowed_at_the_top(void **state)
{
    (void)state;
    static const char *const cases[] = {"null", " true ", "false", "\"\"", "[]", "\t{}\r\n", "0"};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        json_decref(json_fixture_must_load(cases[i]));
    static const char *const wrong[] = {"", "  ", "nul", "truex", "[] []", "{} x", "[1,]", "{,}",
        "{\"a\"}", "{a:1}", "{'a':1}", "[1 2]", "// x\n1", "]", "\"a\nb\"", "\"\\x\"",
        "\"\\u12g4\"", "\"\\ud800", "\"\\u", "\"\\"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        json_fixture_must_refuse(wrong[i], ERROR_INVALID);
}

static void test_every_truncation_is_refused(void **state)
{
    (void)state;
    static const char whole[] =
        "{\"a\":[1.5,true,null,\"\\ud83d\\ude00\xC3\xA4\\n\"],\"b\":{\"c\":\"\\u0000\"}}";
    json_decref(json_fixture_must_load(whole));
    for (size_t length = 0; length < strlen(whole); length++) {
        json_t *value;
        assert_int_equal(json_fixture_load(whole, length, &value), ERROR_INVALID);
    }
}

static void test_errors_give_the_line_but_no_content(void **state)
{
    (void)state;
    struct error error;
    json_t *value;
    static const char json[] = "{\n \"token\": hunter2hunter2}";
    assert_int_equal(json_guard_load(json, strlen(json), &value, &error), ERROR_INVALID);
    assert_non_null(strstr(error.text, "line 2"));
    assert_null(strstr(error.text, "hunter2"));
    assert_int_equal(json_guard_load(json, strlen(json), &value, NULL), ERROR_INVALID);
}

/* As Infinity would be: RFC 8259 has no such number, and what nobody reads must not cost a reply.
 */
static void test_number_that_no_double_holds_is_null(void **state)
{
    (void)state;
    static const char *const numbers[] = {
        "1e400", "-1e400", "1E+400", "1.5e309", "9e99999999999999999999", "-2.0e+308"};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        struct text json = {0};
        json_t *value;
        text_printf(&json, "{\"a\":%s,\"text\":\"kept\",\"b\":[%s]}", numbers[i], numbers[i]);
        assert_int_equal(json_guard_load(json.data, json.length_bytes, &value, NULL), 0);
        assert_true(json_is_null(json_object_get(value, "a")));
        assert_true(json_is_null(json_array_get(json_object_get(value, "b"), 0)));
        assert_string_equal(json_guard_string(value, "text"), "kept");
        json_decref(value);
        text_fini(&json);
    }
}

static void test_long_digits_become_null_and_small_ones_stay(void **state)
{
    (void)state;
    json_t *value;
    char digits[402];
    memset(digits, '7', sizeof digits);
    assert_int_equal(json_guard_load(digits, 400, &value, NULL), 0);
    assert_true(json_is_null(value));
    json_decref(value);
    assert_int_equal(json_guard_load("[1e308,-1e-400,1e5]", 19, &value, NULL), 0);
    assert_true(json_number_value(json_array_get(value, 0)) == 1e308);
    assert_true(json_number_value(json_array_get(value, 2)) == 1e5);
    json_decref(value);
    static const char *const wrong[] = {"01e400", "1e400x", "--1e400", "1e", "1e400e400", "+1e400"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        assert_int_not_equal(json_guard_load(wrong[i], strlen(wrong[i]), &value, NULL), 0);
}

static void test_number_is_checked_against_its_range(void **state)
{
    (void)state;
    json_t *value = json_fixture_must_load("{\"n\":5,\"s\":\"5\"}");
    double number = -1;
    assert_false(json_guard_number(json_object_get(value, "s"), 0, 9, &number));
    assert_false(json_guard_number(NULL, 0, 9, &number));
    assert_false(json_guard_number(json_object_get(value, "n"), 0, 4.9, &number));
    assert_false(json_guard_number(json_object_get(value, "n"), 5.1, 9, &number));
    assert_true(number == -1);
    assert_true(json_guard_number(json_object_get(value, "n"), 5, 5, &number));
    assert_true(number == 5);
    assert_null(json_guard_string(value, "n"));
    assert_null(json_guard_string(value, "x"));
    assert_null(json_guard_string(NULL, "s"));
    json_decref(value);
}

static void test_time_is_within_javascript_dates(void **state)
{
    (void)state;
    static const struct {
        const char *json;
        int64_t min_ms;
        int64_t time_ms; /* -1: none */
    } cases[] = {
        {"{\"at\":0}", 0, 0},
        {"{\"at\":-0.0}", 0, 0},
        {"{\"at\":0.5}", 0, 0},
        {"{\"at\":-0.5}", 0, -1},
        {"{\"at\":0}", 1, -1},
        {"{\"at\":0.999}", 1, -1},
        {"{\"at\":1}", 1, 1},
        {"{\"at\":1700000000123.75}", 1, INT64_C(1700000000123)},
        {"{\"at\":1.7e12}", 1, INT64_C(1700000000000)},
        {"{\"at\":8640000000000000}", 0, INT64_C(8640000000000000)},
        {"{\"at\":8640000000000001}", 0, -1},
        {"{\"at\":1e300}", 0, -1},
        {"{\"at\":\"1\"}", 0, -1},
        {"{\"at\":null}", 0, -1},
        {"{\"at\":[1]}", 0, -1},
        {"{\"then\":1}", 0, -1},
        {"[1]", 0, -1},
        {"1", 0, -1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        json_t *value = json_fixture_must_load(cases[i].json);
        int64_t time_ms = -1;
        bool read = json_guard_time_ms(value, "at", cases[i].min_ms, &time_ms);
        if (read != (cases[i].time_ms >= 0) || time_ms != cases[i].time_ms)
            fail_msg("case %zu: %lld", i, (long long)time_ms);
        json_decref(value);
    }
    int64_t untouched_ms = 5;
    assert_false(json_guard_time_ms(NULL, "at", 0, &untouched_ms));
    assert_int_equal(untouched_ms, 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lone_surrogates_are_replaced),
        cmocka_unit_test(test_invalid_bytes_are_replaced_one_by_one),
        cmocka_unit_test(test_repairs_include_keys_only_inside_strings),
        cmocka_unit_test(test_nul_is_allowed_escaped_in_values_only),
        cmocka_unit_test(test_byte_order_mark_is_skipped_once),
        cmocka_unit_test(test_all_numbers_become_reals),
        cmocka_unit_test(test_last_duplicate_key_wins),
        cmocka_unit_test(test_any_value_is_allowed_at_the_top),
        cmocka_unit_test(test_every_truncation_is_refused),
        cmocka_unit_test(test_errors_give_the_line_but_no_content),
        cmocka_unit_test(test_number_that_no_double_holds_is_null),
        cmocka_unit_test(test_long_digits_become_null_and_small_ones_stay),
        cmocka_unit_test(test_number_is_checked_against_its_range),
        cmocka_unit_test(test_time_is_within_javascript_dates),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
