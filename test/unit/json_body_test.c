/* Words of others in JSON: what is taken out of them, and what a lack of memory leads to. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/secret.h"
#include "serve/serve.h"

static void must_become(const char *words, const char *json)
{
    struct text text = {0};
    json_body_append(&text, json_pack("[o]", json_body_words(words)), JSON_COMPACT);
    assert_false(text.failed);
    assert_string_equal(text.data, json);
    text_fini(&text);
}

static void test_words(void **state)
{
    (void)state;
    must_become(NULL, "[null]");
    must_become("", "[null]");
    must_become("<b>\"a\\", "[\"<b>\\\"a\\\\\"]");
}

static void test_secrets_and_broken_bytes(void **state)
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

static void test_long_words_are_cut(void **state)
{
    (void)state;
    char many[2 * JSON_BODY_WORDS_BYTES];
    memset(many, 'a', sizeof many - 1);
    many[sizeof many - 1] = '\0';
    json_t *words = json_body_words(many);
    assert_int_equal(json_string_length(words), JSON_BODY_WORDS_BYTES - 1);
    json_decref(words);
}

static void test_what_could_not_be_built_is_no_body(void **state)
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
        cmocka_unit_test(test_words),
        cmocka_unit_test(test_secrets_and_broken_bytes),
        cmocka_unit_test(test_long_words_are_cut),
        cmocka_unit_test(test_what_could_not_be_built_is_no_body),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
