/* The JSON writer: its output, which Jansson must read as the same value. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "../lib/alloc_fault.h"
#include "base/error.h"
#include "base/json.h"

/* Fails unless json is written as bytes; takes the reference. */
static void expect_written(json_t *json, const char *bytes)
{
    char *written = json_write(json);
    assert_non_null(written);
    assert_string_equal(written, bytes);
    free(written);
    json_decref(json);
}

static void test_containers_and_scalars(void **state)
{
    (void)state;
    expect_written(json_pack("{}"), "{}");
    expect_written(json_pack("[]"), "[]");
    expect_written(json_pack("[[], {}, [{}]]"), "[[],{},[{}]]");
    expect_written(json_pack("{s:s, s:[i, b, b, n], s:{s:{}}}", "b", "", "a", -7, 1, 0, "c", "d"),
        "{\"b\":\"\",\"a\":[-7,true,false,null],\"c\":{\"d\":{}}}");
    expect_written(
        json_pack("[I, I]", INT64_MAX, INT64_MIN), "[9223372036854775807,-9223372036854775808]");
    expect_written(json_pack("[f]", 0.5), "[0.5]");
}

static void test_keys_keep_their_order_and_are_escaped(void **state)
{
    (void)state;
    expect_written(json_pack("{s:i, s:i}", "z\"\n", 1, "a", 2), "{\"z\\\"\\n\":1,\"a\":2}");
}

static void test_strings_are_escaped(void **state)
{
    (void)state;
    expect_written(
        json_pack("[s]", "\"\\/\b\f\n\r\t\x7F"), "[\"\\\"\\\\/\\u0008\\u000C\\n\\r\\t\x7F\"]");
    expect_written(json_pack("[s%]", "a\0b", 3), "[\"a\\u0000b\"]");
    expect_written(json_pack("[s]", "gr\xC3\xBC\xC3\x9F \xE2\x82\xAC \xF0\x9F\x98\x80"),
        "[\"gr\xC3\xBC\xC3\x9F \xE2\x82\xAC \xF0\x9F\x98\x80\"]");
}

static void test_every_ascii_character_round_trips(void **state)
{
    (void)state;
    char all[128];
    for (int i = 0; i < 128; i++)
        all[i] = (char)i;
    json_t *json = json_pack("{s:s%, s:[s%, s%]}", "all", all, sizeof all, "cut", all, 40, all, 93);
    char *written = json_write(json);
    json_t *read = json_loads(written, JSON_ALLOW_NUL, NULL);
    assert_true(json_equal(read, json));
    json_decref(read);
    json_decref(json);
    free(written);
}

static void test_scalar_or_null_is_not_a_document(void **state)
{
    (void)state;
    json_t *text = json_string("text");
    assert_null(json_write(text));
    assert_null(json_write(NULL));
    json_decref(text);
}

static int write_with_fault(unsigned number)
{
    char text[2000];
    memset(text, 'x', sizeof text);
    json_t *json = json_pack("{s:s%, s:i, s:s%}", "a", text, sizeof text, "b", 7, "c", text, 300);
    alloc_fault_arm(number);
    char *written = json_write(json);
    alloc_fault_disarm();
    json_decref(json);
    int result = written != NULL ? 0 : ERROR_NO_MEMORY;
    free(written);
    return result;
}

static void test_failed_allocation_gives_no_document(void **state)
{
    (void)state;
    alloc_fault_sweep(write_with_fault);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_containers_and_scalars),
        cmocka_unit_test(test_keys_keep_their_order_and_are_escaped),
        cmocka_unit_test(test_strings_are_escaped),
        cmocka_unit_test(test_every_ascii_character_round_trips),
        cmocka_unit_test(test_failed_allocation_gives_no_document),
        cmocka_unit_test(test_scalar_or_null_is_not_a_document),
    };
    return cmocka_run_group_tests_name("json_write", tests, NULL, NULL);
}
