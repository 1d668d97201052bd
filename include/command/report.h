/* What a row of checks found: said line by line as they end, or at the end as JSON. */
#ifndef COMMAND_REPORT_H
#define COMMAND_REPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "base/text.h"

enum report_result { REPORT_OK, REPORT_WARN, REPORT_FAIL, REPORT_SKIP };

/* Its texts are owned, one line each, and free of secrets. */
struct report_check {
    const char *name; /* borrowed; a constant */
    enum report_result result;
    char *detail;
    char *fix; /* NULL when there is nothing to do */
};

enum { REPORT_CHECKS = 32 };

/* Zero-initialise it, with the stream set; freed with report_fini. One thread at a time. */
struct report {
    FILE *lines; /* each check is written here as it is added; NULL: not */
    struct report_check checks[REPORT_CHECKS];
    size_t count;
    bool failed; /* no memory for a check: what is there is not all */
};

/*
 * Adds a check. fix is NULL or what to do, in the imperative and in our words only; it is copied.
 * The format makes the detail, from which secrets are removed (base/redact.h) and in which other
 * people's words were quoted by the caller (text_quote). Writes to the stream, which may block.
 */
void report_add(struct report *report, const char *name, enum report_result result, const char *fix,
    const char *format, ...) __attribute__((format(printf, 5, 6)));

/* Whether nothing failed and everything could be said; warnings and skips are no failures. */
bool report_is_ok(const struct report *report);

/* Appends the sum of it all in one line. */
void report_append_summary(const struct report *report, struct text *text);

/* Appends {"ok": ..., "checks": [{"name", "result", "detail", "fix"}]} and a line end. */
void report_append_json(const struct report *report, struct text *text);

void report_fini(struct report *report);

#endif
