/* Foreign text in JSON responses: redaction, truncation, and failure without memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/secret.h"
#include "serve/serve.h"

static void expect_words_json(const char *words, const char *json)
{
    struct text text = {0};
    json_body_append(&text, json_pack("[o]", json_body_words(words)), JSON_COMPACT);
    assert_false(text.failed);
    assert_string_equal(text.data, json);
    text_fini(&text);
}

static void test_words_are_escaped_or_null(void **state)
{
    (void)state;
    expect_words_json(NULL, "[null]");
    expect_words_json("", "[null]");
    expect_words_json("<b>\"a\\", "[\"<b>\\\"a\\\\\"]");
}

static void test_secrets_and_invalid_bytes_are_removed(void **state)
{
    (void)state;
    redact_add_secret("a-very-secret-token");
    json_t *words = json_body_words("one\x01two\nthree \xff a-very-secret-token");
    assert_non_null(words);
    assert_true(json_is_string(words));
    const char *string = json_string_value(words);
    assert_null(strstr(string, "secret"));
    assert_null(strpbrk(string, "\x01\n\xff"));
    assert_memory_equal(string, "one", 3);
    json_decref(words);
    redact_forget_all();
}

static void test_long_words_are_truncated(void **state)
{
    (void)state;
    char many[2 * JSON_BODY_WORDS_BYTES];
    memset(many, 'a', sizeof many - 1);
    many[sizeof many - 1] = '\0';
    json_t *words = json_body_words(many);
    assert_int_equal(json_string_length(words), JSON_BODY_WORDS_BYTES - 1);
    json_decref(words);
}

static void test_missing_value_fails_the_body(void **state)
{
    (void)state;
    struct text body = {0};
    json_body_append(&body, json_pack("{s:i}", "a", 1), JSON_COMPACT);
    assert_false(body.failed);
    assert_string_equal(body.data, "{\"a\":1}");
    json_body_append(&body, NULL, JSON_COMPACT);
    assert_true(body.failed);
    text_fini(&body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_words_are_escaped_or_null),
        cmocka_unit_test(test_secrets_and_invalid_bytes_are_removed),
        cmocka_unit_test(test_long_words_are_truncated),
        cmocka_unit_test(test_missing_value_fails_the_body),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
