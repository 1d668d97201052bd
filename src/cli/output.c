/*
 * The output of the commands. Standard output is often a pipe or a file, so every write is checked
 * and flushed: a command whose answer did not get out must not end with status 0.
 *
 * The doctor's report collects checks in the order in which they are made. For people each one is
 * printed as it is added, because the next may take seconds, with a summary at the end; for
 * programs
 * (--json) the whole report is one object. Details may quote servers, so secrets are redacted when
 * a check is added. A report that ran out of memory says so instead of looking complete.
 *
 * Commands run in the main thread, and nothing here is used by a running runtime except print_text
 * for --help and --version.
 */
#include <assert.h>
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "base/secret.h"
#include "cli/cli.h"
#include "cli/commands.h"

static int print_failure(const char *problem)
{
    fprintf(stderr, "mission-control-runtime: cannot write standard output: %s\n", problem);
    return EX_OSERR;
}

int print_bytes(const char *bytes, size_t length_bytes)
{
    if (fwrite(bytes, 1, length_bytes, stdout) == length_bytes && fflush(stdout) == 0)
        return EX_OK;
    return print_failure(strerror(errno));
}

int print_text(const struct text *text)
{
    if (text->failed)
        return print_failure("out of memory");
    return print_bytes(text->data != NULL ? text->data : "", text->length_bytes);
}

void text_append_json(struct text *text, json_t *value, size_t flags)
{
    char *dumped = value != NULL ? json_dumps(value, JSON_INDENT(2) | flags) : NULL;
    json_decref(value);
    if (dumped != NULL)
        text_printf(text, "%s\n", dumped);
    else
        text->failed = true;
    free(dumped);
}

static void print_check(
    FILE *lines, const char *name, enum doctor_result result, const char *detail, const char *fix)
{
    static const char *const marks[] = {
        [DOCTOR_OK] = "ok",
        [DOCTOR_WARN] = "warn",
        [DOCTOR_FAIL] = "FAIL", /* upper case, to be seen at a glance */
        [DOCTOR_SKIP] = "skip",
    };
    fprintf(lines, "%-4s  %-18s  %s", marks[result], name, detail);
    if (fix != NULL)
        fprintf(lines, "; fix: %s", fix);
    fputc('\n', lines);
    fflush(lines);
}

void doctor_report_add(struct doctor_report *report, const char *name, enum doctor_result result,
    const char *fix, const char *format, ...)
{
    struct text text = {0};
    va_list arguments;
    assert(report->count < DOCTOR_MAX_CHECKS);
    va_start(arguments, format);
    text_vprintf(&text, format, arguments);
    va_end(arguments);
    char *detail = text_take(&text);
    char *fix_copy = fix != NULL ? strdup(fix) : NULL;
    if (detail == NULL || (fix != NULL && fix_copy == NULL)) {
        free(detail);
        free(fix_copy);
        report->failed = true;
        return;
    }
    redact(detail);
    size_t i = report->count++;
    report->checks[i].name = name;
    report->checks[i].result = result;
    report->checks[i].detail = detail;
    report->checks[i].fix = fix_copy;
    if (report->lines != NULL)
        print_check(report->lines, name, result, detail, fix);
}

static size_t count_results(const struct doctor_report *report, enum doctor_result result)
{
    size_t count = 0;
    for (size_t i = 0; i < report->count; i++)
        count += report->checks[i].result == result ? 1 : 0;
    return count;
}

bool doctor_report_is_ok(const struct doctor_report *report)
{
    return !report->failed && count_results(report, DOCTOR_FAIL) == 0;
}

void doctor_report_append_summary(const struct doctor_report *report, struct text *text)
{
    if (report->failed)
        text_append(text, "Out of memory: the report is incomplete.\n");
    else if (doctor_report_is_ok(report))
        text_printf(text, "No check failed; checks: %zu, warnings: %zu.\n", report->count,
            count_results(report, DOCTOR_WARN));
    else
        text_printf(text, "%zu of %zu checks failed; skipped: %zu.\n",
            count_results(report, DOCTOR_FAIL), report->count, count_results(report, DOCTOR_SKIP));
}

void doctor_report_append_json(const struct doctor_report *report, struct text *text)
{
    static const char *const words[] = {
        [DOCTOR_OK] = "ok",
        [DOCTOR_WARN] = "warn",
        [DOCTOR_FAIL] = "fail",
        [DOCTOR_SKIP] = "skip",
    };
    json_t *checks = json_array();
    for (size_t i = 0; i < report->count; i++) {
        json_array_append_new(
            checks, json_pack("{s:s, s:s, s:s, s:s?}", "name", report->checks[i].name, "result",
                        words[report->checks[i].result], "detail", report->checks[i].detail, "fix",
                        report->checks[i].fix));
    }
    /* Appending fails without memory; an object that lacks a check would look complete. */
    bool complete = json_array_size(checks) == report->count;
    json_t *whole = json_pack("{s:b, s:o}", "ok", doctor_report_is_ok(report), "checks", checks);
    if (!complete) {
        json_decref(whole);
        whole = NULL;
    }
    text_append_json(text, whole, 0);
}

void doctor_report_fini(struct doctor_report *report)
{
    for (size_t i = 0; i < report->count; i++) {
        free(report->checks[i].detail);
        free(report->checks[i].fix);
    }
    *report = (struct doctor_report){0};
}
