/* Line splitting: independent of how the stream is chunked, with a bound on a line's length. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

static void append_line(void *context, const char *line)
{
    text_printf(context, "<%s>", line);
}

/* Returns the lines of bytes when fed in chunks of step bytes; the caller frees it. */
static char *split_in_steps(const char *bytes, size_t length_bytes, size_t step)
{
    struct text lines = {0};
    struct line_splitter splitter = {0};
    text_append(&lines, "");
    for (size_t at = 0; at < length_bytes; at += step) {
        size_t left = length_bytes - at;
        line_splitter_feed(&splitter, bytes + at, left < step ? left : step, append_line, &lines);
    }
    line_splitter_end(&splitter, append_line, &lines);
    line_splitter_end(&splitter, append_line, &lines);
    char *taken = text_take(&lines);
    assert_non_null(taken);
    return taken;
}

static void test_lines_do_not_depend_on_the_chunks(void **state)
{
    (void)state;
#define BYTES(literal) literal, sizeof(literal) - 1
    static const struct {
        const char *bytes;
        size_t length_bytes;
        const char *lines;
    } cases[] = {
        {BYTES("one\ntwo\n"), "<one><two>"},
        {BYTES("one\r\ntwo"), "<one><two>"},
        {BYTES("\n\r\n\none\n\n"), "<one>"},
        {BYTES("a\0b\n"), "<a b>"},
        {BYTES("a\rb\n"), "<a\rb>"},
        {BYTES(""), ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        for (size_t step = 1; step < 8; step++) {
            char *lines = split_in_steps(cases[i].bytes, cases[i].length_bytes, step);
            assert_string_equal(lines, cases[i].lines);
            free(lines);
        }
}

static void expect_long_line(const char *line, size_t length_bytes)
{
    assert_int_equal(line[0], '<');
    assert_int_equal(strspn(line + 1, "x"), length_bytes);
    assert_int_equal(line[length_bytes + 1], '>');
}

static void test_long_line_is_truncated(void **state)
{
    (void)state;
    enum { MORE = 5000 };
    static const char end[] = "\nnext\n";
    static char bytes[LINE_SPLITTER_BYTES + MORE + sizeof end];
    for (size_t length = LINE_SPLITTER_BYTES - 1; length < LINE_SPLITTER_BYTES + MORE;
         length += length < LINE_SPLITTER_BYTES + 1 ? 1 : 997) {
        memset(bytes, 'x', length);
        memcpy(bytes + length, end, sizeof end);
        char *lines = split_in_steps(bytes, length + strlen(end), 1000);
        size_t kept = length < LINE_SPLITTER_BYTES ? length : LINE_SPLITTER_BYTES;
        expect_long_line(lines, kept);
        assert_string_equal(lines + kept + 2, "<next>");
        free(lines);
    }
}

static void test_endless_line_is_delivered_once(void **state)
{
    (void)state;
    struct text lines = {0};
    struct line_splitter splitter = {0};
    char bytes[1000];
    memset(bytes, 'x', sizeof bytes);
    for (int i = 0; i < 1000; i++)
        line_splitter_feed(&splitter, bytes, sizeof bytes, append_line, &lines);
    expect_long_line(lines.data, LINE_SPLITTER_BYTES);
    assert_int_equal(lines.length_bytes, LINE_SPLITTER_BYTES + 2);
    line_splitter_end(&splitter, append_line, &lines);
    assert_int_equal(lines.length_bytes, LINE_SPLITTER_BYTES + 2);
    /* The next stream starts with a new line. */
    line_splitter_feed(&splitter, "a\n", 2, append_line, &lines);
    assert_string_equal(lines.data + LINE_SPLITTER_BYTES + 2, "<a>");
    text_fini(&lines);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines_do_not_depend_on_the_chunks),
        cmocka_unit_test(test_long_line_is_truncated),
        cmocka_unit_test(test_endless_line_is_delivered_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
