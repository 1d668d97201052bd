/* Splitting of command lines into words: a shell's quoting, without any expansion. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

enum { MAX_WORDS = 6 };

static const struct {
    const char *line;
    const char *words[MAX_WORDS];
} good[] = {
    {"openclaw gateway --port 18789", {"openclaw", "gateway", "--port", "18789"}},
    {"  a \t b\t c ", {"a", "b", "c"}},
    {"a", {"a"}},
    {"a b", {"a", "b"}},
    {"", {NULL}},
    {" \t ", {NULL}},
    /* Quotes. */
    {"'a b'", {"a b"}},
    {"\"a b\"", {"a b"}},
    {"a' 'b\" \"c\\ d", {"a b c d"}},
    {"'' x", {"", "x"}},
    {"\"\"", {""}},
    {"''''", {""}},
    {"a '' \"\"", {"a", "", ""}},
    {"'\"' \"'\"", {"\"", "'"}},
    {"'a\\'", {"a\\"}},
    {"'a'\\''b'", {"a'b"}},
    /* Backslashes. */
    {"a\\b", {"ab"}},
    {"\\'a \\\"b \\\\c", {"'a", "\"b", "\\c"}},
    {"\"\\\" \\\\ \\$ \\`\"", {"\" \\ $ `"}},
    {"\"\\a\\n\\'\\ \"", {"\\a\\n\\'\\ "}},
    /* No expansions, no operators. */
    {"$HOME ${A} `id` $(id)", {"$HOME", "${A}", "`id`", "$(id)"}},
    {"\"$HOME\" ~ * a?[b] {c,d}", {"$HOME", "~", "*", "a?[b]", "{c,d}"}},
    {"a; b && c|d", {"a;", "b", "&&", "c|d"}},
    {"a>b <c # d", {"a>b", "<c", "#", "d"}},
    {"N=1 sh -c 'kill -9 $$'", {"N=1", "sh", "-c", "kill -9 $$"}},
    {"gr\xc3\xbc\xc3\x9f \xc2\xa0", {"gr\xc3\xbc\xc3\x9f", "\xc2\xa0"}},
};

static void test_lines_are_split_like_a_shell_does(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        struct argv words;
        struct error error;
        /* In a block of exactly its size, so that the sanitizer sees a read past the end. */
        char *line = strdup(good[i].line);
        assert_int_equal(argv_parse(line, &words, &error), 0);
        free(line);
        size_t count = 0;
        for (; good[i].words[count] != NULL; count++) {
            assert_true(count < words.count);
            assert_string_equal(words.items[count], good[i].words[count]);
        }
        assert_int_equal(words.count, count);
        assert_null(words.items[count]);
        argv_fini(&words);
    }
}

static const char *const broken[][2] = {
    {"'", "has an unterminated single"},
    {"a 'b c", "has an unterminated single"},
    {"\"", "has an unterminated double"},
    {"a \"b 'c'", "has an unterminated double"},
    {"\"a\\\"", "has an unterminated double"},
    {"\"a\\", "has an unterminated double"},
    {"it's here", "has an unterminated single"},
    {"\\", "ends with a backslash"},
    {"a \\", "ends with a backslash"},
};

static void test_broken_quoting_is_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++) {
        struct argv words;
        struct error error;
        char *line = strdup(broken[i][0]);
        assert_int_equal(argv_parse(line, &words, &error), ERROR_INVALID);
        free(line);
        assert_non_null(strstr(error.text, broken[i][1]));
        assert_null(words.items);
        assert_null(words.bytes);
    }
}

/* One-letter words at every line length: the worst case for the size of the arrays. */
static void test_maximum_number_of_words_fits(void **state)
{
    (void)state;
    char line[64];
    for (size_t length = 0; length < sizeof line; length++) {
        struct argv words;
        for (size_t i = 0; i < length; i++)
            line[i] = i % 2 == 0 ? 'x' : ' ';
        line[length] = '\0';
        assert_int_equal(argv_parse(line, &words, NULL), 0);
        assert_int_equal(words.count, (length + 1) / 2);
        argv_fini(&words);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines_are_split_like_a_shell_does),
        cmocka_unit_test(test_broken_quoting_is_refused),
        cmocka_unit_test(test_maximum_number_of_words_fits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
