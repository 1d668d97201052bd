/* Rules that make the two roles slow, silent or wrong, and requests that are held by them. */
#ifndef SANDBOX_FAULTS_H
#define SANDBOX_FAULTS_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "base/error.h"
#include "server.h"

enum fault_side { FAULT_GATEWAY, FAULT_BACKEND };

enum fault_action {
    FAULT_REPLY,          /* answer as if there were no rule */
    FAULT_STATUS,         /* an HTTP status with a body */
    FAULT_FUNCTION_ERROR, /* backend: 200 with "status":"error" */
    FAULT_HANG,           /* no answer until released, then the line is dropped */
    FAULT_DROP,           /* the line is closed without an answer */
    FAULT_RAW_SOCKET,     /* the body is sent as it is, without HTTP, and the line closed */
};

/* One rule. Counted references: requests keep it while rules are replaced. */
struct fault_rule {
    TAILQ_ENTRY(fault_rule) link;
    unsigned references;
    char *name;
    enum fault_side side;

    /* The match; NULL fields match everything. */
    char *agent;
    char *session;
    char *notification;
    char *function;
    bool before_checks; /* gateway: applies to every POST, before the token is looked at */
    double times;       /* left; negative: for ever */
    double hits;

    double latency_ms;
    double latency_exponential_ms; /* the mean of what is added */
    bool hold;
    bool hold_after; /* backend: held between the function and the answer */
    bool runs;       /* backend: the function runs */
    enum fault_action action;
    unsigned status;
    json_t *headers;
    char *body; /* NULL: the usual one */
    size_t body_bytes;
    char *reply; /* gateway: the agent's text, NULL: its own */
    struct exchange_cut cut;
    bool cut_in_half; /* cut.at_bytes is to be half of the body */
};

/* What a request is matched by. Absent parts are NULL. */
struct fault_subject {
    enum fault_side side;
    bool before_checks;
    const char *agent;
    const char *session;
    const char *notification;
    const char *function;
};

struct fault_pause;

TAILQ_HEAD(fault_rule_list, fault_rule);
TAILQ_HEAD(fault_pause_list, fault_pause);

/* Used by the server's thread only. */
struct faults {
    struct fault_rule_list rules;
    struct fault_pause_list held;
    size_t held_count;
};

void faults_init(struct faults *faults);
void faults_fini(struct faults *faults);

/*
 * Adds the rules of {"gateway": [...], "backend": [...]} (docs/sandbox.md). All or, on
 * ERROR_INVALID, none.
 */
int faults_add(struct faults *faults, const json_t *rules, struct error *error);

/* Drops the rules of one name (NULL: all) and lets go what they hold. */
void faults_clear(struct faults *faults, const char *name);

/* Lets at most count requests go that rules of that name (NULL: any) hold; returns how many. */
size_t faults_release(struct faults *faults, const char *name, double count);

/* The rules as a new JSON array, with hits and times left. */
json_t *faults_describe(const struct faults *faults);

/* The first rule with times left that matches, counted; the caller calls fault_drop_rule. */
struct fault_rule *faults_match(struct faults *faults, const struct fault_subject *subject);

/* Gives a reference back. NULL is allowed. */
void fault_drop_rule(struct fault_rule *rule);

/* A request's stop on its way, embedded in whatever carries the request. */
struct fault_pause {
    TAILQ_ENTRY(fault_pause) link;
    struct faults *faults;
    struct fault_rule *rule;
    struct exchange *exchange;
    bool is_held;
    bool hold;
    exchange_function then;
    void *argument;
};

/*
 * Calls then(exchange, argument) after extra_latency_ms and the rule's latency, and, if hold, when
 * the rule releases it or the client has gone. Without either it is called at once. pause must
 * stay until then is called or fault_pause_end.
 */
void fault_pause_begin(struct fault_pause *pause, struct faults *faults, struct fault_rule *rule,
    struct exchange *exchange, double extra_latency_ms, bool hold, exchange_function then,
    void *argument);

/* Forgets a pause whose exchange has ended. */
void fault_pause_end(struct fault_pause *pause);

/* Holds the same request a second time; pause must have been begun. */
void fault_pause_hold(struct fault_pause *pause, exchange_function then, void *argument);

/*
 * Gives the rule's own answer: status, body, headers, drop. For every action but FAULT_REPLY,
 * FAULT_HANG and FAULT_FUNCTION_ERROR. usual is the body of a rule without one; copied.
 */
void fault_answer(const struct fault_rule *rule, struct exchange *exchange, const char *usual);

/* Applies the rule's headers and cut to the usual answer of body_bytes. rule may be NULL. */
void fault_spoil(const struct fault_rule *rule, struct exchange *exchange, size_t body_bytes);

#endif
