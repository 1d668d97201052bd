#include <arpa/inet.h>
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

static const char *const result_words[] = {
    [REPORT_OK] = "ok",
    [REPORT_WARN] = "warn",
    [REPORT_FAIL] = "fail",
    [REPORT_SKIP] = "skip",
};

static const char *const result_marks[] = {
    [REPORT_OK] = "ok",
    [REPORT_WARN] = "warn",
    [REPORT_FAIL] = "FAIL",
    [REPORT_SKIP] = "skip",
};

static void write_line(FILE *lines, const struct report_check *check)
{
    fprintf(lines, "%-4s  %-18s  %s", result_marks[check->result], check->name, check->detail);
    if (check->fix != NULL)
        fprintf(lines, "; fix: %s", check->fix);
    fputc('\n', lines);
    /* The next check may take seconds. */
    fflush(lines);
}

void report_add(struct report *report, const char *name, enum report_result result, const char *fix,
    const char *format, ...)
{
    struct text detail = {0};
    va_list arguments;
    assert(report->count < REPORT_CHECKS);
    va_start(arguments, format);
    text_vprintf(&detail, format, arguments);
    va_end(arguments);
    struct report_check check = {.name = name,
        .result = result,
        .detail = text_take(&detail),
        .fix = fix != NULL ? strdup(fix) : NULL};
    if (check.detail == NULL || (fix != NULL && check.fix == NULL)) {
        free(check.detail);
        free(check.fix);
        report->failed = true;
        return;
    }
    redact(check.detail);
    report->checks[report->count++] = check;
    if (report->lines != NULL)
        write_line(report->lines, &check);
}

static size_t count_of(const struct report *report, enum report_result result)
{
    size_t count = 0;
    for (size_t i = 0; i < report->count; i++)
        count += report->checks[i].result == result ? 1 : 0;
    return count;
}

bool report_is_ok(const struct report *report)
{
    return !report->failed && count_of(report, REPORT_FAIL) == 0;
}

void report_append_summary(const struct report *report, struct text *text)
{
    if (report->failed)
        text_append(text, "There was no memory to say everything.\n");
    else if (report_is_ok(report))
        text_printf(text, "All is well: %zu checks, none failed; warnings: %zu.\n", report->count,
            count_of(report, REPORT_WARN));
    else
        text_printf(text, "%zu of %zu checks failed; could not be made: %zu.\n",
            count_of(report, REPORT_FAIL), report->count, count_of(report, REPORT_SKIP));
}

void report_append_json(const struct report *report, struct text *text)
{
    json_t *checks = json_array();
    for (size_t i = 0; i < report->count; i++) {
        const struct report_check *check = &report->checks[i];
        json_array_append_new(
            checks, json_pack("{s:s, s:s, s:s, s:s?}", "name", check->name, "result",
                        result_words[check->result], "detail", check->detail, "fix", check->fix));
    }
    bool complete = json_array_size(checks) == report->count;
    json_t *whole = json_pack("{s:b, s:o}", "ok", report_is_ok(report), "checks", checks);
    char *dumped = complete && whole != NULL ? json_dumps(whole, JSON_INDENT(2)) : NULL;
    json_decref(whole);
    if (dumped != NULL)
        text_printf(text, "%s\n", dumped);
    else
        text->failed = true;
    free(dumped);
}

void report_fini(struct report *report)
{
    for (size_t i = 0; i < report->count; i++) {
        free(report->checks[i].detail);
        free(report->checks[i].fix);
    }
    *report = (struct report){0};
}

enum { DATE_STEP_MS = 1000, CLOCK_WARN_MS = 30 * 1000, CLOCK_FAIL_MS = 5 * 60 * 1000 };

int64_t doctor_clock_ahead_ms(int64_t date_ms, int64_t before_ms, int64_t after_ms)
{
    int64_t latest_ms = date_ms + DATE_STEP_MS - 1;
    if (before_ms > latest_ms)
        return before_ms - latest_ms;
    return after_ms < date_ms ? after_ms - date_ms : 0;
}

enum report_result doctor_rule_clock(int64_t ahead_ms)
{
    int64_t off_ms = ahead_ms < 0 ? -ahead_ms : ahead_ms;
    if (off_ms > CLOCK_FAIL_MS)
        return REPORT_FAIL;
    return off_ms > CLOCK_WARN_MS ? REPORT_WARN : REPORT_OK;
}

/* 127.0.0.0/8, and the address that means this machine where there is nothing to listen. */
static bool is_loopback_ipv4(struct text_span host)
{
    char text[INET_ADDRSTRLEN];
    struct in_addr address;
    snprintf(text, sizeof text, "%.*s", (int)host.length_bytes, host.bytes);
    if (host.length_bytes >= sizeof text || inet_pton(AF_INET, text, &address) != 1)
        return false;
    return ntohl(address.s_addr) >> 24 == IN_LOOPBACKNET || address.s_addr == htonl(INADDR_ANY);
}

bool doctor_is_near(const struct url *url)
{
    struct text_span host = url->host;
    bool is_ipv6 = memchr(host.bytes, ':', host.length_bytes) != NULL;
    if (is_ipv6)
        return url_host_is(url, "::1");
    if (memchr(host.bytes, '.', host.length_bytes) == NULL)
        return true;
    return is_loopback_ipv4(host) || url_host_ends_with(url, ".localhost") ||
           url_host_is(url, "host.docker.internal");
}

static int refuse(const char *problem)
{
    fprintf(stderr, "mission-control-runtime: standard output cannot be written: %s\n", problem);
    return EX_OSERR;
}

int print_bytes(const char *bytes, size_t length_bytes)
{
    if (fwrite(bytes, 1, length_bytes, stdout) == length_bytes && fflush(stdout) == 0)
        return EX_OK;
    return refuse(strerror(errno));
}

int print_text(const struct text *text)
{
    if (text->failed)
        return refuse("no memory");
    return print_bytes(text->data != NULL ? text->data : "", text->length_bytes);
}
