/* Growing strings, UTF-8 truncation, trimming, and quoting for log lines. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/secret.h"
#include "base/text.h"

static void test_text_grows_and_stays_terminated(void **state)
{
    (void)state;
    struct text text = {0};
    for (int i = 0; i < 1000; i++) {
        text_append(&text, "ab");
        text_append_bytes(&text, "c\0d", 3);
        text_printf(&text, "%03d", i);
        assert_int_equal(text.length_bytes, (i + 1) * 8);
        assert_int_equal(text.data[text.length_bytes], '\0');
        assert_true(text.length_bytes < text.capacity_bytes);
    }
    assert_memory_equal(text.data + text.length_bytes - 8, "abc\0d999", 8);
    text_clear(&text);
    assert_int_equal(text.length_bytes, 0);
    assert_string_equal(text.data, "");
    text_append(&text, "again");
    assert_string_equal(text.data, "again");
    text_fini(&text);
    assert_null(text.data);
}

/* Whatever the locale, and nothing but what is appended. */
static void test_lower_case_is_that_of_ascii(void **state)
{
    (void)state;
    struct text text = {0};
    text_append(&text, "Key ");
    text_append_lower_case(&text, "AZ@[`az{\xC3\x84", 10);
    assert_string_equal(text.data, "Key az@[`az{\xC3\x84");
    text_fini(&text);
}

static void test_take_moves_the_memory(void **state)
{
    (void)state;
    struct text text = {0};
    char *empty = text_take(&text);
    assert_string_equal(empty, "");
    free(empty);
    text_append(&text, "words");
    char *words = text_take(&text);
    assert_string_equal(words, "words");
    assert_null(text.data);
    assert_int_equal(text.length_bytes, 0);
    free(words);
}

/* No machine has that much memory, so the bytes are never read. */
static void test_failed_append_fails_the_whole_text(void **state)
{
    (void)state;
    volatile size_t far_too_many = SIZE_MAX / 2;
    struct text text = {0};
    text_append(&text, "first");
    text_append_bytes(&text, "x", far_too_many);
    assert_true(text.failed);
    text_append(&text, "second");
    text_printf(&text, "%d", 3);
    assert_string_equal(text.data, "first");
    assert_null(text_take(&text));
    assert_null(text.data);
    text_append(&text, "works again");
    assert_false(text.failed);
    text_fini(&text);
}

static void test_length_of_utf8_characters(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t available, length;
    } cases[] = {
        {"", 0, 0},
        {"a", 1, 1},
        {"\0", 1, 1},
        {"\x7F", 1, 1},
        {"\x80", 1, 0},
        {"\xBF", 1, 0},
        {"\xC0\x80", 2, 0},
        {"\xC1\xBF", 2, 0},
        {"\xC2\x80", 2, 2},
        {"\xDF\xBF", 2, 2},
        {"\xC3", 1, 0},
        {"\xC3(", 2, 0},
        {"\xC3\xC3", 2, 0},
        {"\xE0\x9F\xBF", 3, 0},
        {"\xE0\xA0\x80", 3, 3},
        {"\xE2\x82\xAC", 2, 0},
        {"\xE2\x82(", 3, 0},
        {"\xED\x9F\xBF", 3, 3},
        {"\xED\xA0\x80", 3, 0},
        {"\xED\xBF\xBF", 3, 0},
        {"\xEE\x80\x80", 3, 3},
        {"\xEF\xBF\xBF", 3, 3},
        {"\xF0\x8F\xBF\xBF", 4, 0},
        {"\xF0\x90\x80\x80", 4, 4},
        {"\xF0\x9F\x98\x80", 3, 0},
        {"\xF0\x9F\x98(", 4, 0},
        {"\xF4\x8F\xBF\xBF", 4, 4},
        {"\xF4\x90\x80\x80", 4, 0},
        {"\xF5\x80\x80\x80", 4, 0},
        {"\xFF\xFF\xFF\xFF", 4, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        if (text_utf8_length(cases[i].bytes, cases[i].available) != cases[i].length)
            fail_msg("case %zu", i);
}

static void expect_trimmed(const char *text, const char *expected)
{
    struct text_span trimmed = text_trim(text, strlen(text));
    if (trimmed.length_bytes != strlen(expected) ||
        memcmp(trimmed.bytes, expected, trimmed.length_bytes) != 0)
        fail_msg("\"%s\" became \"%.*s\"", text, (int)trimmed.length_bytes, trimmed.bytes);
}

static void test_trim_removes_ecmascript_white_space(void **state)
{
    (void)state;
    static const char *const blanks[] = {" ", "\t", "\n", "\v", "\f", "\r", "\xC2\xA0",
        "\xE1\x9A\x80", "\xE2\x80\x80", "\xE2\x80\x8A", "\xE2\x80\xA8", "\xE2\x80\xA9",
        "\xE2\x80\xAF", "\xE2\x81\x9F", "\xE3\x80\x80", "\xEF\xBB\xBF"};
    for (size_t i = 0; i < sizeof blanks / sizeof blanks[0]; i++) {
        struct text text = {0};
        text_printf(&text, "%s%sa%sb%s %s", blanks[i], blanks[i], blanks[i], blanks[i], blanks[i]);
        struct text inner = {0};
        text_printf(&inner, "a%sb", blanks[i]);
        expect_trimmed(text.data, inner.data);
        expect_trimmed(blanks[i], "");
        text_fini(&text);
        text_fini(&inner);
    }
}

static void test_trim_keeps_everything_else(void **state)
{
    (void)state;
    static const char *const kept[] = {"a", "\x08", "\x0E", "\x1C", "\x7F", "\xC2\x85", "\xC2\xA1",
        "\xE2\x80\x8B", "\xE2\x81\xA0", "\xE1\xA0\x8E", "\xEF\xBB\xBE", "\xA0", "\xE3\x80",
        "\xF0\x9F\x98\x80", "\xE9\xBB\xBF"};
    for (size_t i = 0; i < sizeof kept / sizeof kept[0]; i++)
        expect_trimmed(kept[i], kept[i]);
    expect_trimmed("", "");
}

static void test_truncation_keeps_whole_characters(void **state)
{
    (void)state;
    static const char text[] = "a\xC3\xA4\xE2\x82\xAC\xF0\x9F\x98\x80z"; /* 1, 2, 3, 4, 1 bytes */
    static const size_t cuts[] = {0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10, 11, 11, 11};
    for (size_t limit = 0; limit < sizeof cuts / sizeof cuts[0]; limit++)
        assert_int_equal(text_utf8_cut(text, strlen(text), limit), cuts[limit]);
}

/* As JavaScript's length counts; a character that would pass the limit is left out whole. */
static void test_limits_in_utf16_units_keep_whole_characters(void **state)
{
    (void)state;
    static const char text[] = "a\xC3\xA4\xE2\x82\xAC\xF0\x9F\x98\x80z"; /* 1, 1, 1, 2, 1 units */
    static const size_t cuts[] = {0, 1, 3, 6, 6, 10, 11, 11};
    for (size_t limit = 0; limit < sizeof cuts / sizeof cuts[0]; limit++)
        assert_int_equal(text_utf16_cut(text, strlen(text), limit), cuts[limit]);
    assert_int_equal(text_utf16_cut("\xFF\xFE", 2, 1), 1);
    assert_int_equal(text_utf16_cut("", 0, 5), 0);
}

static void test_code_points_of_characters(void **state)
{
    (void)state;
    assert_int_equal(text_utf8_point("z", 1), 'z');
    assert_int_equal(text_utf8_point("\xC3\xA4", 2), 0xE4);
    assert_int_equal(text_utf8_point("\xE2\x82\xAC", 3), 0x20AC);
    assert_int_equal(text_utf8_point("\xF4\x8F\xBF\xBF", 4), 0x10FFFF);
}

static void test_copy_is_bounded(void **state)
{
    (void)state;
    char small[4];
    assert_true(text_copy(small, sizeof small, "abc"));
    assert_string_equal(small, "abc");
    assert_false(text_copy(small, sizeof small, "abcd"));
    assert_string_equal(small, "abc");
    assert_false(text_copy(small, sizeof small, "ab\xC3\xA4"));
    assert_string_equal(small, "ab");
    assert_false(text_copy(small, 1, "a"));
    assert_string_equal(small, "");
    assert_true(text_copy(small, 1, ""));
}

static void expect_quoted(const char *bytes, size_t length, size_t room, const char *expected)
{
    char quote[64];
    memset(quote, '#', sizeof quote);
    text_quote(quote, room, bytes, length);
    assert_string_equal(quote, expected);
    assert_int_equal(quote[room], '#');
}

static void test_quote_is_one_line_of_utf8(void **state)
{
    (void)state;
    expect_quoted("a\nb\tc\0d\x1B\x7F", 9, 40, "a b c d  ");
    expect_quoted("\x80"
                  "a\xC3(\xED\xA0\x80",
        7, 40, "?a?(???");
    expect_quoted("\xC2\x80\xC2\x9F\xC2\xA0", 6, 40, "??\xC2\xA0");
    expect_quoted("\xE2\x82\xAC\xF0\x9F\x98\x80", 7, 40, "\xE2\x82\xAC\xF0\x9F\x98\x80");
    expect_quoted("", 0, 40, "");
}

static void test_quote_fits_its_buffer(void **state)
{
    (void)state;
    expect_quoted("abcdef", 6, 7, "abcdef");
    expect_quoted("abcdef", 6, 6, "abcde");
    expect_quoted("abcdef", 6, 1, "");
    expect_quoted("ab\xE2\x82\xAC", 5, 6, "ab\xE2\x82\xAC");
    expect_quoted("ab\xE2\x82\xAC", 5, 5, "ab");
}

static void test_quote_is_redacted(void **state)
{
    (void)state;
    redact_add_secret("hunter2hunter2");
    expect_quoted("xx hunter2hunter2 yy", 20, 40, "xx *** yy");
    expect_quoted("xx hunter2hunter2 yy", 20, 12, "xx ***");
    expect_quoted("token=abc\n", 10, 40, "token=*** ");
    redact_forget_all();
}

static void test_visible_text_escapes_control_characters(void **state)
{
    (void)state;
    struct text text = {0};
    text_append_visible(&text, "a\n\tb\x1B[31m\x7F\0\r", 12);
    text_append_visible(&text, "\xC2\x9B\xC2\xA0\x80\xE2\x82\xAC", 8);
    assert_string_equal(
        text.data, "a\n\tb\\x1B[31m\\x7F\\x00\\x0D\\xC2\\x9B\xC2\xA0\\x80\xE2\x82\xAC");
    text_fini(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text_grows_and_stays_terminated),
        cmocka_unit_test(test_lower_case_is_that_of_ascii),
        cmocka_unit_test(test_take_moves_the_memory),
        cmocka_unit_test(test_failed_append_fails_the_whole_text),
        cmocka_unit_test(test_length_of_utf8_characters),
        cmocka_unit_test(test_trim_removes_ecmascript_white_space),
        cmocka_unit_test(test_trim_keeps_everything_else),
        cmocka_unit_test(test_truncation_keeps_whole_characters),
        cmocka_unit_test(test_limits_in_utf16_units_keep_whole_characters),
        cmocka_unit_test(test_code_points_of_characters),
        cmocka_unit_test(test_copy_is_bounded),
        cmocka_unit_test(test_quote_is_one_line_of_utf8),
        cmocka_unit_test(test_quote_fits_its_buffer),
        cmocka_unit_test(test_quote_is_redacted),
        cmocka_unit_test(test_visible_text_escapes_control_characters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
