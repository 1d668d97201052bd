/* What the files of the command doctor share. */
#ifndef COMMAND_DOCTOR_CHECKS_H
#define COMMAND_DOCTOR_CHECKS_H

#include <jansson.h>

#include "command/report.h"
#include "config/config.h"
#include "remote/http_client.h"

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

#endif
