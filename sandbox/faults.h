/* Fault injection: rules that make backend and gateway slow, silent or wrong, and hold requests. */
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
    FAULT_HANG,           /* no answer until released, then the connection is closed */
    FAULT_DROP,           /* the connection is closed without an answer */
    FAULT_RAW_SOCKET,     /* the body is sent as is, without HTTP, and the connection closed */
};

/* When a rule acts besides what it does to the request: before or after what the request does. */
enum fault_moment { FAULT_BEFORE, FAULT_AFTER };

/* A rule, reference-counted: requests keep theirs while rules are replaced. */
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
    char *input;        /* gateway: a part of the input */
    double round;       /* gateway: 1 for what begins the work, then one more; 0: any */
    bool before_checks; /* gateway: applies to every POST, before its token is checked */
    double times;       /* uses left; negative: unlimited */
    double hits;
    int64_t ends_us; /* monotonic, when the rule stops matching; 0: never */

    double latency_ms;
    double latency_exponential_ms; /* mean of the exponential latency that is added */
    bool hold;
    bool hold_after; /* backend: held between the function and the answer */
    bool runs;       /* backend: the function runs */
    enum fault_action action;
    unsigned status;
    json_t *headers;
    char *body; /* NULL: the default one */
    size_t body_bytes;
    char *reply;   /* gateway: the agent's text, NULL: its own */
    json_t *calls; /* gateway: calls of tools in place of a reply, NULL: none */
    struct exchange_cut cut;
    json_t *post; /* a message to post (rule_post.h), or NULL */
    enum fault_moment post_moment;
    double posted;    /* messages so far */
    bool checked;     /* gateway: of calls only those come out that the gateway accepts */
    bool cut_in_half; /* cut at half of the body instead of cut.at_bytes */
};

/* The properties of a request that rules match. Absent ones are NULL. */
struct fault_subject {
    enum fault_side side;
    bool before_checks;
    const char *agent;
    const char *session;
    const char *notification;
    const char *function;
    const char *input; /* of an agent run, as the agent sees it */
    unsigned round;    /* of an agent run, 0 before the checks */
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

/* Removes the rules of that name (NULL: all) and releases what they hold. */
void faults_clear(struct faults *faults, const char *name);

/* Releases at most count requests held by rules of that name (NULL: any); returns how many. */
size_t faults_release(struct faults *faults, const char *name, double count);

/* The rules that have not ended, as a new JSON array, with their hits, uses and time left. */
json_t *faults_describe(const struct faults *faults);

/*
 * Returns the first matching rule with uses left, and uses it once; release with fault_rule_unref.
 */
struct fault_rule *faults_match(struct faults *faults, const struct fault_subject *subject);

/* Drops a reference. NULL is allowed. */
void fault_rule_unref(struct fault_rule *rule);

/* A request's delay, embedded in the structure of the request. */
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
 * Calls then(exchange, argument) after extra_latency_ms plus the rule's latency and, if hold is
 * set, once released or once the client has disconnected; immediately if there is nothing to wait
 * for. pause must stay valid until then is called or until fault_pause_end.
 */
void fault_pause_begin(struct fault_pause *pause, struct faults *faults, struct fault_rule *rule,
    struct exchange *exchange, double extra_latency_ms, bool hold, exchange_function then,
    void *argument);

/* Forgets a pause whose exchange has ended. */
void fault_pause_end(struct fault_pause *pause);

/* Holds the same request a second time; pause must have been begun. */
void fault_pause_hold(struct fault_pause *pause, exchange_function then, void *argument);

/*
 * Answers as the rule says: status, body and headers, or a dropped connection. For every action
 * except FAULT_REPLY, FAULT_HANG and FAULT_FUNCTION_ERROR. default_body is for rules without a body
 * and is copied.
 */
void fault_answer(
    const struct fault_rule *rule, struct exchange *exchange, const char *default_body);

/* Applies the rule's headers and cut to a regular answer of body_bytes. rule may be NULL. */
void fault_apply(const struct fault_rule *rule, struct exchange *exchange, size_t body_bytes);

#endif
