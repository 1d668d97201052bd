/* Shared by the files of the commands: output, the parts of the doctor, spool listings. */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>

#include "backend/convex.h"
#include "base/text.h"
#include "config/config.h"
#include "config/url.h"
#include "config/usage.h"
#include "gateway/gateway.h"
#include "http/client.h"
#include "spool/spool.h"

/*
 * Appends value, indented, and a newline; takes the reference. flags are Jansson's. value NULL, or
 * a lack of memory, makes text fail.
 */
void text_append_json(struct text *text, json_t *value, size_t flags);

enum doctor_result { DOCTOR_OK, DOCTOR_WARN, DOCTOR_FAIL, DOCTOR_SKIP };

enum { DOCTOR_MAX_CHECKS = 32 };

/*
 * The doctor's checks so far. Zero-initialize it, with the stream set; freed by doctor_report_fini.
 * One thread at a time.
 */
struct doctor_report {
    FILE *lines; /* each check is printed here as it is added; NULL: not */
    struct {
        const char *name; /* a constant */
        enum doctor_result result;
        char *detail; /* owned; one line, without secrets */
        char *fix;    /* owned; NULL when there is nothing to do */
    } checks[DOCTOR_MAX_CHECKS];
    size_t count;
    bool failed; /* out of memory: checks are missing */
};

/*
 * Adds a check and prints it. fix is NULL or what to do, in the imperative and in our own words; it
 * is copied. The format makes the detail, from which secrets are redacted; text of others in it
 * must have been quoted (text_quote). Blocks as the stream does.
 */
void doctor_report_add(struct doctor_report *report, const char *name, enum doctor_result result,
    const char *fix, const char *format, ...) __attribute__((format(printf, 5, 6)));

/* Whether no check failed and the report is complete. Warnings and skips are not failures. Pure. */
bool doctor_report_is_ok(const struct doctor_report *report);

/* Appends a summary in one line. */
void doctor_report_append_summary(const struct doctor_report *report, struct text *text);

/* Appends {"ok": ..., "checks": [{"name", "result", "detail", "fix"}]} and a newline. */
void doctor_report_append_json(const struct doctor_report *report, struct text *text);

void doctor_report_fini(struct doctor_report *report);

/* DOCTOR_WARN for a clock that is off by more than 30 s, DOCTOR_FAIL for more than 5 min. Pure. */
enum doctor_result doctor_judge_clock(int64_t ahead_ms);

enum { DOCTOR_TIMEOUT_MS = 10000 };

/* One run of the doctor. */
struct doctor {
    const struct config *config;
    struct doctor_report report;
    struct http_client *client;
    json_t *agents;               /* the result of listAgents, an array; NULL if it failed */
    enum backend_version version; /* of the backend, as far as its answers show it */
    json_t *runtime;          /* /health of the runtime that holds the state directory, or NULL */
    const char *clock_source; /* the server that sent date_ms; NULL: none has */
    int64_t date_ms;          /* the server's clock, and ours before and after; since 1970 */
    int64_t before_ms;
    int64_t after_ms;
};

/* A server that the runtime needs, and the checks of the way to it. */
struct doctor_server {
    const char *title; /* "the backend" */
    const char *url;
    const char *option;    /* where the URL is set */
    const char *probe_url; /* something harmless to request there */
    bool ignore_proxy;
    const char *names[HTTP_STEP_EXCHANGE + 1]; /* of the checks, by enum http_step */
    const char *connect_fix;
    const char *answer_fix;
};

/*
 * Requests probe_url and adds a check for each step: name, connection, TLS, and the answer only if
 * it failed. Returns NULL when an answer came, whatever its status; otherwise the name of the check
 * that failed, with those after it added as skipped. Blocks up to DOCTOR_TIMEOUT_MS.
 */
const char *doctor_reach(struct doctor *doctor, const struct doctor_server *server);

/* Adds the checks in names (NULL-terminated) as skipped because the check called failed failed. */
void doctor_skip(struct doctor *doctor, const char *const names[], const char *failed);

/*
 * The checks of the HTTP server's address, which also finds a runtime that is running, and of the
 * gateway's command if one is set. The first blocks while a name is resolved, and up to 5 s.
 */
void doctor_check_address(struct doctor *doctor);
void doctor_check_command(struct doctor *doctor);

/*
 * The checks of what depends on the backend's version, once its agents were asked for. convex may
 * be NULL if doctor->agents is. Blocks up to DOCTOR_TIMEOUT_MS.
 */
void doctor_check_version(struct doctor *doctor, struct convex *convex);

/* Shortens path to the part of it that exists; "/" always does. */
void doctor_cut_to_existing(char *path);

/* The reason why existing, the part of a path that exists, cannot be written to, or NULL. */
const char *doctor_find_dir_obstacle(const char *existing, const struct stat *status);

/*
 * The check of which of the account's agents the gateway lacks, once it has accepted the token; or
 * adds it as skipped. Blocks up to DOCTOR_TIMEOUT_MS.
 */
void doctor_check_agents(struct doctor *doctor, const struct gateway *gateway);
void doctor_skip_agents(struct doctor *doctor, const char *failed);

/* The checks of agents' folders and their list for the gateway, if profiles are synced. */
void doctor_check_workspaces(struct doctor *doctor);

/*
 * The check of whether the gateway takes tools, once it has accepted the token; or adds it as
 * skipped. Neither does anything on version 0 of the backend. Blocks up to
 * DOCTOR_TIMEOUT_MS.
 */
void doctor_check_tools(struct doctor *doctor, const struct gateway *gateway);
void doctor_skip_tools(struct doctor *doctor, const char *failed);

/* The checks of backend and gateway, in this order: the gateway's need doctor->agents. */
void doctor_check_backend(struct doctor *doctor);
void doctor_check_gateway(struct doctor *doctor);

/*
 * `spool list`: appends a table of all records with totals, or a JSON array. Blocks on the disk.
 * ERROR_SYSTEM, ERROR_NO_MEMORY; text may also fail, which the caller checks.
 */
int spool_list_records(struct spool *spool, const struct config *config,
    const struct arguments *arguments, struct text *text, struct error *error);

/*
 * `spool show ID`: appends everything known of one valid id, its reply last; both records if spool/
 * and dead/ have one. ERROR_CLOSED when neither has, otherwise as spool_list_records.
 */
int spool_show_record(struct spool *spool, const struct config *config,
    const struct arguments *arguments, struct text *text, struct error *error);

#endif
