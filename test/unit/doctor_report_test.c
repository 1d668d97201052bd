/* The doctor's report: lines, JSON, summary, and redaction. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "base/secret.h"
#include "cli/cli.h"

#define SECRET "wMmUprPJ3qiYgJnk"

static void add_three_checks(struct doctor_report *report)
{
    doctor_report_add(report, "first", DOCTOR_OK, NULL, "is %d", 1);
    doctor_report_add(report, "second", DOCTOR_WARN, "mend \"it\"", "is not \\ good");
    doctor_report_add(report, "third", DOCTOR_SKIP, NULL, "because");
}

static void test_report_as_lines(void **state)
{
    (void)state;
    char *lines = NULL;
    size_t lines_bytes;
    struct doctor_report report = {.lines = open_memstream(&lines, &lines_bytes)};
    FILE *stream = report.lines;
    add_three_checks(&report);
    assert_true(doctor_report_is_ok(&report));
    doctor_report_add(&report, "fourth", DOCTOR_FAIL, "turn it on", "off");
    assert_false(doctor_report_is_ok(&report));
    fclose(stream);
    assert_string_equal(lines, "ok    first               is 1\n"
                               "warn  second              is not \\ good; fix: mend \"it\"\n"
                               "skip  third               because\n"
                               "FAIL  fourth              off; fix: turn it on\n");
    free(lines);
    doctor_report_fini(&report);
}

static void test_report_as_json(void **state)
{
    (void)state;
    struct doctor_report report = {0};
    struct text text = {0};
    add_three_checks(&report);
    doctor_report_append_json(&report, &text);
    json_t *parsed = json_loads(text.data, 0, NULL);
    json_t *expected =
        json_loads("{\"ok\":true,\"checks\":["
                   "{\"name\":\"first\",\"result\":\"ok\",\"detail\":\"is 1\",\"fix\":null},"
                   "{\"name\":\"second\",\"result\":\"warn\",\"detail\":\"is not \\\\ good\","
                   "\"fix\":\"mend \\\"it\\\"\"},"
                   "{\"name\":\"third\",\"result\":\"skip\",\"detail\":\"because\",\"fix\":null}]}",
            0, NULL);
    assert_true(json_equal(parsed, expected));
    json_decref(parsed);
    json_decref(expected);
    text_fini(&text);
    doctor_report_fini(&report);
}

static void test_summary_counts_failures_and_warnings(void **state)
{
    (void)state;
    struct doctor_report report = {0};
    struct text text = {0};
    add_three_checks(&report);
    doctor_report_append_summary(&report, &text);
    assert_string_equal(text.data, "No check failed; checks: 3, warnings: 1.\n");
    text_clear(&text);
    doctor_report_add(&report, "fourth", DOCTOR_FAIL, NULL, "off");
    doctor_report_append_summary(&report, &text);
    assert_string_equal(text.data, "1 of 4 checks failed; skipped: 1.\n");
    text_fini(&text);
    doctor_report_fini(&report);
}

static void test_report_contains_no_secret(void **state)
{
    (void)state;
    struct doctor_report report = {0};
    redact_add_secret(SECRET);
    doctor_report_add(&report, "name", DOCTOR_FAIL, NULL, "said %s", SECRET);
    assert_string_equal(report.checks[0].detail, "said ***");
    doctor_report_fini(&report);
    redact_forget_all();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_report_as_lines),
        cmocka_unit_test(test_report_as_json),
        cmocka_unit_test(test_summary_counts_failures_and_warnings),
        cmocka_unit_test(test_report_contains_no_secret),
    };
    return cmocka_run_group_tests_name("doctor_report", tests, NULL, NULL);
}
