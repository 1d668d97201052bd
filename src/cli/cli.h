/* What a row of checks found: said line by line as they end, or at the end as JSON. */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/text.h"
#include "config/config.h"
#include "config/url.h"
#include "http/client.h"
#include "spool/spool.h"

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

/* The judgements of the command doctor that need no network. All pure. */

/*
 * How far our clock is ahead of a server's (negative: behind), in milliseconds, as far as is
 * certain: the server wrote date_ms, cut to seconds, between our before_ms and after_ms. All are
 * times since 1970.
 */
int64_t doctor_clock_ahead_ms(int64_t date_ms, int64_t before_ms, int64_t after_ms);

/* A clock that is off by more than 30 s is worth a warning, by more than 5 min a failure. */
enum report_result doctor_rule_clock(int64_t ahead_ms);

/*
 * Whether what is sent to the host stays on this machine or its containers' network, so that it may
 * go unencrypted: localhost, loopback addresses, names without a dot, and host.docker.internal.
 */
bool doctor_is_near(const struct url *url);

/* What the files of the command doctor share. */

enum { DOCTOR_TIMEOUT_MS = 10000 };

/* One examination. */
struct doctor {
    const struct config *config;
    struct report report;
    struct http_client *client;
    json_t *roster;    /* what listAgents returned, an array; NULL when it did not */
    const char *clock; /* whose clock the times below are of; NULL: nobody told */
    int64_t date_ms;   /* what it said */
    int64_t before_ms; /* our clock around that */
    int64_t after_ms;
};

/* A server to be reached, and what the checks of its steps are called, by enum http_step. */
struct doctor_side {
    const char *whose; /* "the backend" */
    const char *url;
    const char *option;    /* where the URL was set */
    const char *probe_url; /* of something harmless there */
    bool ignore_proxy;
    const char *names[HTTP_STEP_EXCHANGE + 1];
    const char *connect_fix;
    const char *answer_fix;
};

/*
 * Asks for probe_url and adds a check for each step: name, connection, TLS, and the answer only if
 * it failed. Returns NULL when an answer came, whatever its status, else the name of the check that
 * failed; those behind it were added as skipped.
 */
const char *doctor_reach(struct doctor *doctor, const struct doctor_side *side);

/* Adds the checks in names (ended by NULL) as skipped because the check called failed failed. */
void doctor_skip(struct doctor *doctor, const char *const names[], const char *failed);

/* The parts of an examination, in this order. The gateway's looks at the roster. */
void doctor_check_state(struct doctor *doctor);
void doctor_check_backend(struct doctor *doctor);
void doctor_check_gateway(struct doctor *doctor);

/* The verbs of the command spool that only look. */

/* Borrowed. */
struct spool_listing {
    struct spool *spool;
    const char *state_dir;
    const char *id; /* NULL for list */
    bool json;
    bool visible; /* for a terminal: no control characters of a reply reach it */
};

/*
 * Appends a table of all records with totals below it, or an array of objects. Blocks for the disk.
 * ERROR_SYSTEM, ERROR_NO_MEMORY; a text that failed is the caller's to notice.
 */
int spool_listing_print(const struct spool_listing *look, struct text *out, struct error *error);

/*
 * Appends all that is known of one id, the reply's text last; both records if spool/ and dead/ have
 * one. ERROR_CLOSED when neither has, else as spool_listing_print.
 */
int spool_listing_show(const struct spool_listing *look, struct text *out, struct error *error);

#endif
