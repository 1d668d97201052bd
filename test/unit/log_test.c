/*
 * Log lines as they leave the process, as text and as JSON. Both streams are captured through
 * pipes; assertions come after the capture, since cmocka prints to the same streams.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../lib/utf8.h"
#include "base/log.h"
#include "base/secret.h"
#include "base/sync.h"
#include "base/text.h"

enum { LINE_LIMIT_BYTES = 4096, STREAMS = 2 };

/* Captures standard output and error through pipes between begin and end. */
struct capture {
    int saved[STREAMS];
    int pipes[STREAMS][2];
    char output[STREAMS][16384]; /* NUL-terminated */
};

static void capture_begin(struct capture *capture)
{
    fflush(NULL);
    for (int i = 0; i < STREAMS; i++) {
        assert_int_equal(pipe2(capture->pipes[i], O_CLOEXEC), 0);
        capture->saved[i] = fcntl(STDOUT_FILENO + i, F_DUPFD_CLOEXEC, 10);
        dup2(capture->pipes[i][1], STDOUT_FILENO + i);
    }
}

/* No test writes more than a pipe holds, so reading afterwards is enough. */
static void capture_end(struct capture *capture)
{
    for (int i = 0; i < STREAMS; i++) {
        dup2(capture->saved[i], STDOUT_FILENO + i);
        close(capture->saved[i]);
        close(capture->pipes[i][1]);
        size_t used = 0;
        ssize_t got;
        while ((got = read(capture->pipes[i][0], capture->output[i] + used,
                    sizeof capture->output[i] - 1 - used)) > 0)
            used += (size_t)got;
        capture->output[i][used] = '\0';
        close(capture->pipes[i][0]);
    }
}

static struct capture capture;
static const char *const out = capture.output[0];
static const char *const err = capture.output[1];

static int reset_log(void **state)
{
    (void)state;
    redact_forget_all();
    capture_begin(&capture);
    log_flush();
    capture_end(&capture);
    log_configure(LOG_LEVEL_INFO, false);
    return 0;
}

/* Fails unless a text line begins with a time; returns the rest of the line. */
static const char *after_time(const char *line)
{
    static const char form[] = "dddd-dd-ddTdd:dd:dd.dddZ ";
    for (size_t i = 0; form[i] != '\0'; i++)
        if (form[i] == 'd' ? line[i] < '0' || line[i] > '9' : line[i] != form[i])
            fail_msg("no time: %s", line);
    return line + strlen(form);
}

static void expect_utf8(const char *text)
{
    if (!utf8_is_valid(text, strlen(text)))
        fail_msg("not UTF-8: %s", text);
}

/* Parses text, which must be a single line, as JSON; returns a new reference. */
static json_t *parse_only_line(const char *text)
{
    json_error_t error;
    const char *end = strchr(text, '\n');
    assert_non_null(end);
    assert_string_equal(end, "\n");
    json_t *line = json_loads(text, JSON_REJECT_DUPLICATES, &error);
    if (line == NULL)
        fail_msg("%s at column %d of %s", error.text, error.column, text);
    return line;
}

static const char *line_string(const json_t *line, const char *key)
{
    const char *value = json_string_value(json_object_get(line, key));
    assert_non_null(value);
    return value;
}

static void test_level_selects_stream_and_filters(void **state)
{
    (void)state;
    capture_begin(&capture);
    log_debug("A", "not shown");
    log_info("A", "one %d", 1);
    log_warn("B", "two");
    log_error("C", "three");
    log_configure(LOG_LEVEL_ERROR, false);
    log_warn("B", "not shown");
    bool info_is_on = log_is_on(LOG_LEVEL_INFO);
    log_configure(LOG_LEVEL_DEBUG, false);
    log_debug("D", "four");
    capture_end(&capture);
    assert_false(info_is_on);
    const char *next = strchr(out, '\n') + 1;
    assert_true(strncmp(after_time(out), "info [A] one 1\n", 15) == 0);
    assert_string_equal(after_time(next), "debug [D] four\n");
    next = strchr(err, '\n') + 1;
    assert_true(strncmp(after_time(err), "warn [B] two\n", 13) == 0);
    assert_string_equal(after_time(next), "error [C] three\n");
}

static void test_text_line_with_fields(void **state)
{
    (void)state;
    capture_begin(&capture);
    log_event(LOG_LEVEL_INFO, "Delivery",
        LOG_FIELDS(LOG_TEXT("agent", "jarvis"), LOG_NUMBER("run_ms", -5), LOG_TEXT("note", "a b"),
            LOG_TEXT("empty", ""), LOG_TEXT("q", "x\"y\\z"), LOG_TEXT("e", "a=b")),
        "Delivered %s", "n1");
    capture_end(&capture);
    assert_string_equal(after_time(out),
        "info [Delivery] Delivered n1 agent=jarvis run_ms=-5 note=\"a b\" empty=\"\" "
        "q=\"x\\\"y\\\\z\" e=\"a=b\"\n");
}

static void test_json_line_with_fields(void **state)
{
    (void)state;
    log_configure(LOG_LEVEL_INFO, true);
    capture_begin(&capture);
    log_event(LOG_LEVEL_WARN, "Delivery",
        LOG_FIELDS(LOG_TEXT("agent", "j\"\\\xC3\xA4"), LOG_NUMBER("n", INT64_MIN)), "say \"%s\"",
        "a\\b");
    capture_end(&capture);
    json_t *line = parse_only_line(err);
    assert_string_equal(line_string(line, "level"), "warn");
    assert_string_equal(line_string(line, "component"), "Delivery");
    assert_string_equal(line_string(line, "msg"), "say \"a\\b\"");
    assert_string_equal(line_string(line, "agent"), "j\"\\\xC3\xA4");
    assert_true(json_integer_value(json_object_get(line, "n")) == INT64_MIN);
    assert_int_equal(strlen(line_string(line, "ts")), CLOCK_ISO_BYTES - 1);
    assert_int_equal(json_object_size(line), 6);
    json_decref(line);
}

/* Line breaks, terminal escape sequences (also as the single character U+009B), invalid bytes. */
static void test_control_characters_are_not_written(void **state)
{
    (void)state;
    static const char bad[] = "a\nb\r\tc\x1B[31m\x7F\xFF\xC2\x9B"
                              "31m";
    for (int as_json = 0; as_json < 2; as_json++) {
        log_configure(LOG_LEVEL_INFO, as_json == 1);
        capture_begin(&capture);
        log_event(LOG_LEVEL_INFO, "A", LOG_FIELDS(LOG_TEXT("k", bad)), "%s", bad);
        capture_end(&capture);
        expect_utf8(out);
        assert_null(strstr(out, "\xC2\x9B"));
        assert_int_equal(strcspn(out, "\n"), strlen(out) - 1);
        for (const char *at = out; at[1] != '\0'; at++)
            assert_true((unsigned char)*at >= ' ' && *at != 0x7F);
    }
    json_t *line = parse_only_line(out);
    assert_string_equal(line_string(line, "msg"), line_string(line, "k"));
    json_decref(line);
}

static void test_secrets_are_not_written(void **state)
{
    (void)state;
    redact_add_secret("hunter2hunter2");
    for (int as_json = 0; as_json < 2; as_json++) {
        log_configure(LOG_LEVEL_INFO, as_json == 1);
        capture_begin(&capture);
        log_event(LOG_LEVEL_INFO, "A",
            LOG_FIELDS(LOG_TEXT("k", "hunter2hunter2"), LOG_TEXT("j", "Bearer abc0")),
            "see {\"serviceToken\":\"abc1\"} mc_service_x_abc2 hunter2hunter2 %s", "token=abc3");
        capture_end(&capture);
        assert_null(strstr(out, "hunter2"));
        assert_null(strstr(out, "abc"));
        assert_non_null(strstr(out, "***"));
    }
}

/* A secret that the message's maximum length truncates, at every position. */
static void test_truncated_secret_is_not_written(void **state)
{
    (void)state;
    redact_add_secret("hunter2-0123456789");
    char message[4096];
    for (size_t lead = 3040; lead < 3080; lead++) {
        memset(message, 'x', lead);
        snprintf(message + lead, sizeof message - lead, "hunter2-0123456789");
        capture_begin(&capture);
        log_info("A", "%s", message);
        capture_end(&capture);
        assert_null(strstr(out, "hunter"));
    }
}

static void write_long_line(const char *unit)
{
    struct text words = {0};
    for (int i = 0; i < 2500; i++)
        text_append(&words, unit);
    capture_begin(&capture);
    log_event(LOG_LEVEL_INFO, "A",
        LOG_FIELDS(LOG_TEXT("a", words.data), LOG_TEXT("b", words.data), LOG_TEXT("c", words.data),
            LOG_TEXT("d", words.data), LOG_NUMBER("n", 1)),
        "%s", words.data);
    capture_end(&capture);
    text_fini(&words);
}

/* However much is left out: one valid line of at most 4 KiB. */
static void test_long_lines_are_truncated_and_stay_valid(void **state)
{
    (void)state;
    static const char *const units[] = {"x", "\"", "\\", "\xC3\xA4", "\xE2\x82\xAC",
        "\xF0\x9F\x98\x80", "\"\xC3\xA4", "\"\"\xE2\x82\xAC", "\\\xF0\x9F\x98\x80"};
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        log_configure(LOG_LEVEL_INFO, false);
        write_long_line(units[i]);
        expect_utf8(out);
        assert_in_range(strlen(out), 1000, LINE_LIMIT_BYTES);
        assert_int_equal(strcspn(out, "\n"), strlen(out) - 1);
        log_configure(LOG_LEVEL_INFO, true);
        write_long_line(units[i]);
        expect_utf8(out);
        assert_in_range(strlen(out), 1000, LINE_LIMIT_BYTES);
        json_t *line = parse_only_line(out);
        assert_true(strncmp(line_string(line, "msg"), units[i], strlen(units[i])) == 0);
        json_decref(line);
    }
}

/* Repeats become one summary line of the same level; info is never folded. */
static void test_repeated_errors_are_folded(void **state)
{
    (void)state;
    capture_begin(&capture);
    for (int i = 0; i < 38; i++) {
        log_event(LOG_LEVEL_ERROR, "Delivery", LOG_FIELDS(LOG_NUMBER("n", i)), "It %s", "broke");
        log_info("Delivery", "It broke");
    }
    int64_t again_ms = log_write_repeats();
    log_flush();
    log_flush();
    capture_end(&capture);
    assert_in_range(again_ms, 1, 60000);
    const char *second = strchr(err, '\n') + 1;
    assert_true(strncmp(after_time(err), "error [Delivery] It broke n=0\n", 30) == 0);
    static const char summary[] = "error [Delivery] repeated 37 times in ";
    assert_memory_equal(after_time(second), summary, strlen(summary));
    assert_non_null(strstr(second, " s: It broke repeats=37\n"));
    assert_int_equal(strcspn(second, "\n"), strlen(second) - 1);
    size_t lines = 0;
    for (const char *at = out; (at = strchr(at, '\n')) != NULL; at++)
        lines++;
    assert_int_equal(lines, 38);
}

/* Changing the level must not lose the repeats counted before. */
static void test_level_change_writes_repeats_first(void **state)
{
    (void)state;
    capture_begin(&capture);
    log_warn("A", "again");
    log_warn("A", "again");
    log_set_level(LOG_LEVEL_ERROR);
    log_warn("A", "silent");
    capture_end(&capture);
    assert_int_equal(log_level_now(), LOG_LEVEL_ERROR);
    assert_non_null(strstr(err, "warn [A] repeated 1 time in "));
    assert_null(strstr(err, "silent"));
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, reset_log, reset_log)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_level_selects_stream_and_filters),
        TEST(test_text_line_with_fields),
        TEST(test_json_line_with_fields),
        TEST(test_control_characters_are_not_written),
        TEST(test_secrets_are_not_written),
        TEST(test_truncated_secret_is_not_written),
        TEST(test_long_lines_are_truncated_and_stay_valid),
        TEST(test_repeated_errors_are_folded),
        TEST(test_level_change_writes_repeats_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
