/* The syntax of .env files: what is accepted, what is refused, and the error texts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/text.h"
#include "config/env_file.h"

struct fixture {
    struct env_file file;
    struct problems problems;
};

static int setup(void **state)
{
    *state = calloc(1, sizeof(struct fixture));
    return *state == NULL;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    env_file_fini(&fixture->file);
    problems_fini(&fixture->problems);
    free(fixture);
    return 0;
}

static int parse_text(struct fixture *fixture, const char *text)
{
    return env_file_parse(&fixture->file, "x.env", text, strlen(text), &fixture->problems);
}

static void expect_entry(struct fixture *fixture, const char *name, const char *value)
{
    const struct env_entry *entry = env_file_find(&fixture->file, name);
    assert_true(entry != NULL && entry->value != NULL);
    assert_string_equal(entry->value, value);
}

/* Each line sets A to the value, without a problem. */
static void test_values_are_unquoted_and_trimmed(void **state)
{
    struct fixture *fixture = *state;
    static const char *const cases[][2] = {
        {"A=b", "b"},
        {"A=", ""},
        {"A=   ", ""},
        {"A=b c  ", "b c"},
        {"  A=b", "b"},
        {"\tA = b", "b"},
        {"export A=b", "b"},
        {"export \t A=b", "b"},
        {"A=b # note", "b"},
        {"A=b\t#note", "b"},
        {"A=b#c", "b#c"},
        {"A=#b", "#b"},
        {"A= # note", ""},
        {"A=b=c", "b=c"},
        {"A='b # c'", "b # c"},
        {"A='b\\n\"$x'", "b\\n\"$x"},
        {"A='' # note", ""},
        {"A=\"b c\"  # note", "b c"},
        {"A=\"1\\n2\\t3\\r4\\\"5\\\\6\\$7\"", "1\n2\t3\r4\"5\\6$7"},
        {"A=\"C:\\dir\\q\"", "C:\\dir\\q"},
        {"A=\"\\\\n\"", "\\n"},
        {"A=\"it's\"", "it's"},
        {"A=it's", "it's"},
        {"A=b\"c\"", "b\"c\""},
        {"A=$HOME", "$HOME"},
        {"A=b\r\n", "b"},
        {"A=\"b\"\r\n", "b"},
        {"\xEF\xBB\xBF"
         "A=b",
            "b"},
        {"# A=c\n\n   # more\nA=b\n\n", "b"},
        {"A=\xC3\xA4", "\xC3\xA4"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(parse_text(fixture, cases[i][0]), 0);
        expect_entry(fixture, "A", cases[i][1]);
        assert_int_equal(fixture->file.count, 1);
        assert_int_equal(fixture->problems.count, 0);
        env_file_fini(&fixture->file);
    }
}

static void test_names_are_letters_digits_and_underscores(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(parse_text(fixture, "_a1=1\nexport=2\nexports=3\nB_=4"), 0);
    expect_entry(fixture, "_a1", "1");
    expect_entry(fixture, "export", "2");
    expect_entry(fixture, "exports", "3");
    expect_entry(fixture, "B_", "4");
    assert_null(env_file_find(&fixture->file, "B"));
    assert_int_equal(fixture->problems.count, 0);
}

/* About a setting, each is an error on line 2 that does not quote the line; line 3 is still read.
 */
static void test_invalid_lines_are_reported_without_content(void **state)
{
    struct fixture *fixture = *state;
    static const char *const cases[][2] = {
        {"LOG_LEVEL", "expected NAME=value"},
        {"LOG_LEVEL: s3cr3t", "expected NAME=value"},
        {"LOG_LEVEL s3cr3t", "expected NAME=value"},
        {"set LOG_LEVEL=s3cr3t", "expected NAME=value"},
        {"$env:LOG_LEVEL = s3cr3t", "expected NAME=value"},
        {"declare -x LOG_LEVEL=s3cr3t", "expected NAME=value"},
        {"\xC2\xA0LOG_LEVEL=s3cr3t", "expected NAME=value"},
        {"SERVICE_TOKEN_FILE s3cr3t", "expected NAME=value"},
        {"LOG_LEVEL='s3cr3t", "unterminated quote"},
        {"LOG_LEVEL=\"s3cr3t", "unterminated quote"},
        {"LOG_LEVEL=\"s3cr3t\\\"", "unterminated quote"},
        {"LOG_LEVEL=\"s3cr3t\\", "unterminated quote"},
        {"LOG_LEVEL='b's3cr3t", "after the closing quote"},
        {"LOG_LEVEL=\"b\" s3cr3t", "after the closing quote"},
        {"LOG_LEVEL=\"b\"#s3cr3t", "after the closing quote"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[128];
        snprintf(text, sizeof text, "X=1\n%s\nZ=3\n", cases[i][0]);
        assert_int_equal(parse_text(fixture, text), 0);
        assert_int_equal(fixture->problems.count, 1);
        const char *problem = fixture->problems.items[0].text;
        assert_int_equal(fixture->problems.items[0].severity, PROBLEM_ERROR);
        assert_non_null(strstr(problem, "x.env line 2: "));
        assert_non_null(strstr(problem, cases[i][1]));
        assert_null(strstr(problem, "s3cr3t"));
        expect_entry(fixture, "X", "1");
        expect_entry(fixture, "Z", "3");
        const struct env_entry *entry = env_file_find(&fixture->file, "LOG_LEVEL");
        assert_true(entry == NULL || entry->value == NULL);
        env_file_fini(&fixture->file);
        problems_fini(&fixture->problems);
    }
}

/* A setting on an invalid line must not be reported as missing. */
static void test_name_of_invalid_line_is_kept(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(parse_text(fixture, "LOG_LEVEL=\"b"), 0);
    const struct env_entry *entry = env_file_find(&fixture->file, "LOG_LEVEL");
    assert_non_null(entry);
    assert_null(entry->value);
}

/* None of our settings is on them, so no line is worth a word; A and Z are still read. */
static void test_lines_of_other_programs_are_left_alone(void **state)
{
    struct fixture *fixture = *state;
    static const char *const cases[] = {
        "my-var=1",
        "spring.log_level=1",
        "my-LOG_LEVEL=1",
        "LOG_LEVEL.x=1",
        "XLOG_LEVEL: 1",
        "LOG_LEVEL_FILE: 1",
        "; LOG_LEVEL=debug",
        "// a comment",
        "=1",
        "1B=1",
        "export",
        "export NODE_ENV",
        "NODE_ENV",
        "NODE_ENV: test",
        "set NODE_ENV=test",
        "KEY=\"-----BEGIN KEY-----\nMIIEv+/=\nAg==\n-----END KEY-----\"",
        "KEY='it'\\''s'",
        "KEY=\"x\"#note",
        "KEY=one\\\ntwo",
        "KEY=1\nKEY=2",
        "[section]",
        "\xE2\x80\x9C",
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[128];
        snprintf(text, sizeof text, "A=1\n%s\nZ=3\n", cases[i]);
        assert_int_equal(parse_text(fixture, text), 0);
        if (fixture->problems.count != 0)
            fail_msg("\"%s\": %s", cases[i], fixture->problems.items[0].text);
        expect_entry(fixture, "A", "1");
        expect_entry(fixture, "Z", "3");
        env_file_fini(&fixture->file);
    }
}

static void test_later_line_wins_with_a_warning(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(parse_text(fixture, "LOG_LEVEL=s3cr3t\nB=2\nLOG_LEVEL=other\n"), 0);
    expect_entry(fixture, "LOG_LEVEL", "other");
    assert_int_equal(fixture->file.count, 2);
    assert_int_equal(fixture->problems.count, 1);
    assert_int_equal(fixture->problems.items[0].severity, PROBLEM_WARNING);
    assert_string_equal(
        fixture->problems.items[0].text, "x.env line 3: LOG_LEVEL was already set on line 1");
}

static void test_every_invalid_line_is_reported(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(parse_text(fixture, "LOG_LEVEL b\nA=1\nLOG_FORMAT='\nSTATE_DIR\n"), 0);
    assert_int_equal(fixture->problems.count, 3);
    assert_non_null(strstr(fixture->problems.items[0].text, "line 1"));
    assert_non_null(strstr(fixture->problems.items[1].text, "line 3"));
    assert_non_null(strstr(fixture->problems.items[2].text, "line 4"));
}

static void test_binary_text_and_huge_files_are_refused(void **state)
{
    struct fixture *fixture = *state;
    static const char binary[] = "A=1\n\0B=2";
    assert_int_equal(
        env_file_parse(&fixture->file, "x.env", binary, sizeof binary - 1, &fixture->problems),
        ERROR_INVALID);
    assert_non_null(strstr(fixture->problems.items[0].text, "NUL"));
    assert_int_equal(fixture->file.count, 0);

    problems_fini(&fixture->problems);
    static const char utf16[] = "\xFF\xFE"
                                "A\0=\0"
                                "1\0";
    assert_int_equal(
        env_file_parse(&fixture->file, "x.env", utf16, sizeof utf16 - 1, &fixture->problems),
        ERROR_INVALID);
    assert_non_null(strstr(fixture->problems.items[0].text, "is UTF-16 text, not UTF-8"));

    struct text text = {0};
    for (int i = 0; i < 1000; i++)
        text_append(&text, "what is this\n");
    problems_fini(&fixture->problems);
    assert_int_equal(parse_text(fixture, text.data), ERROR_INVALID);
    assert_int_equal(fixture->problems.count, 1);
    assert_string_equal(fixture->problems.items[0].text,
        "x.env has no line of the form NAME=value; is it a .env file?");

    text_clear(&text);
    for (int i = 0; i < 1000; i++)
        text_append(&text, "LOG_LEVEL is this\n");
    problems_fini(&fixture->problems);
    assert_int_equal(parse_text(fixture, text.data), ERROR_INVALID);
    assert_in_range(fixture->problems.count, 2, 30);

    text_clear(&text);
    for (int i = 0; i < 5000; i++)
        text_printf(&text, "A%d=\n", i);
    assert_int_equal(parse_text(fixture, text.data), ERROR_TOO_LARGE);
    text_fini(&text);
}

static void test_empty_files_are_valid(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(env_file_parse(&fixture->file, "x.env", NULL, 0, &fixture->problems), 0);
    assert_int_equal(parse_text(fixture, "\n"), 0);
    assert_int_equal(parse_text(fixture, "\xEF\xBB\xBF"), 0);
    assert_int_equal(parse_text(fixture, "\r\n\r"), 0);
    assert_int_equal(fixture->file.count, 0);
    assert_int_equal(fixture->problems.count, 0);
}

/* Creates a file with the given mode in TMPDIR; the caller unlinks it and frees the path. */
static char *make_temporary_file(const char *bytes, size_t length_bytes, mode_t mode)
{
    const char *dir = getenv("TMPDIR");
    struct text path = {0};
    text_printf(&path, "%s/env_file_test.XXXXXX", dir != NULL ? dir : "/tmp");
    int descriptor = mkstemp(path.data);
    assert_true(descriptor >= 0);
    assert_int_equal(write(descriptor, bytes, length_bytes), length_bytes);
    assert_int_equal(fchmod(descriptor, mode), 0);
    close(descriptor);
    return text_take(&path);
}

static void test_load_reads_file_and_mode(void **state)
{
    struct fixture *fixture = *state;
    char *path = make_temporary_file("A=1\n", 4, 0600);
    assert_int_equal(env_file_load(&fixture->file, path, &fixture->problems), 0);
    expect_entry(fixture, "A", "1");
    assert_false(fixture->file.world_readable);
    assert_int_equal(chmod(path, 0644), 0);
    assert_int_equal(env_file_load(&fixture->file, path, &fixture->problems), 0);
    assert_true(fixture->file.world_readable);
    unlink(path);
    free(path);
}

static void test_load_errors_name_the_file(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(
        env_file_load(&fixture->file, "/nowhere/x.env", &fixture->problems), ERROR_INVALID);
    assert_int_equal(env_file_load(&fixture->file, "/", &fixture->problems), ERROR_INVALID);
    assert_int_equal(fixture->problems.count, 2);
    assert_non_null(strstr(
        fixture->problems.items[0].text, "cannot read /nowhere/x.env: No such file or directory"));
    assert_non_null(strstr(fixture->problems.items[1].text, "Is a directory"));
}

/* Reading one could wait for ever, or never end. */
static void test_fifos_and_devices_are_refused_at_once(void **state)
{
    struct fixture *fixture = *state;
    char *path = make_temporary_file("", 0, 0600);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(env_file_load(&fixture->file, path, &fixture->problems), ERROR_INVALID);
    assert_int_equal(env_file_load(&fixture->file, "/dev/zero", &fixture->problems), ERROR_INVALID);
    assert_int_equal(fixture->problems.count, 2);
    for (size_t i = 0; i < 2; i++)
        assert_non_null(strstr(fixture->problems.items[i].text, "not a regular file"));
    unlink(path);
    free(path);
}

/* What the system refuses now it may allow at the next start; a wrong path stays wrong. */
static void test_refusals_of_the_system_are_told_from_wrong_paths(void **state)
{
    (void)state;
    static const int refusals[] = {ENOSPC, EROFS, EDQUOT, EIO, EACCES, EPERM, EMFILE, ENFILE};
    static const int wrong[] = {ENOENT, ENOTDIR, EISDIR, ELOOP, ENAMETOOLONG};
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++)
        assert_int_equal(error_code_of_path(refusals[i]), ERROR_SYSTEM);
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        assert_int_equal(error_code_of_path(wrong[i]), ERROR_INVALID);
    assert_int_equal(problem_of_code(ERROR_SYSTEM), PROBLEM_REFUSAL);
    assert_int_equal(problem_of_code(ERROR_INVALID), PROBLEM_ERROR);
}

static void test_size_limit_is_inclusive(void **state)
{
    struct fixture *fixture = *state;
    char *bytes = malloc(ENV_FILE_BYTES_MAX + 1);
    assert_non_null(bytes);
    memset(bytes, '#', ENV_FILE_BYTES_MAX + 1);
    char *path = make_temporary_file(bytes, ENV_FILE_BYTES_MAX, 0600);
    assert_int_equal(env_file_load(&fixture->file, path, &fixture->problems), 0);
    unlink(path);
    free(path);
    path = make_temporary_file(bytes, ENV_FILE_BYTES_MAX + 1, 0600);
    assert_int_equal(env_file_load(&fixture->file, path, &fixture->problems), ERROR_TOO_LARGE);
    assert_int_equal(fixture->problems.count, 1);
    assert_non_null(strstr(fixture->problems.items[0].text, "larger than 1048576 bytes"));
    unlink(path);
    free(path);
    free(bytes);
}

int main(void)
{
#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_values_are_unquoted_and_trimmed),
        TEST(test_names_are_letters_digits_and_underscores),
        TEST(test_invalid_lines_are_reported_without_content),
        TEST(test_lines_of_other_programs_are_left_alone),
        TEST(test_name_of_invalid_line_is_kept),
        TEST(test_later_line_wins_with_a_warning),
        TEST(test_every_invalid_line_is_reported),
        TEST(test_binary_text_and_huge_files_are_refused),
        TEST(test_empty_files_are_valid),
        TEST(test_load_reads_file_and_mode),
        TEST(test_load_errors_name_the_file),
        TEST(test_fifos_and_devices_are_refused_at_once),
        TEST(test_refusals_of_the_system_are_told_from_wrong_paths),
        TEST(test_size_limit_is_inclusive),
    };
#undef TEST
    return cmocka_run_group_tests(tests, NULL, NULL);
}
