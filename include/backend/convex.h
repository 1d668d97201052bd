/* Calls the backend's functions over HTTP (docs/protocol.md, "Convex HTTP API"). */
#ifndef BACKEND_CONVEX_H
#define BACKEND_CONVEX_H

#include <jansson.h>

#include "base/error.h"
#include "base/log.h"
#include "base/loop.h"
#include "config/config.h"
#include "http/client.h"
#include "telemetry/metrics.h"

/* Why a call failed, as far as that can be told: advice, by which nothing may be decided. */
enum convex_problem {
    PROBLEM_NONE, /* it did not fail, or nothing is known that would help */
    PROBLEM_NAME,
    PROBLEM_CONNECTION,
    PROBLEM_CERTIFICATE,
    PROBLEM_TLS, /* for another reason than the certificate */
    PROBLEM_DESCRIPTORS,
    PROBLEM_SILENCE, /* the request was sent, and its time was over */
    PROBLEM_LOGIN,   /* 401 or 403 */
    PROBLEM_URL,     /* another status that refuses the request, or not Convex's envelope */
    PROBLEM_SERVER,  /* a transient status, or a connection that broke */
    PROBLEM_TOKEN,   /* from here on the function refused the call: see service_refusal */
    PROBLEM_NO_TOKEN,
    PROBLEM_OTHER_ACCOUNT,
    PROBLEM_NO_ACCOUNT,
    PROBLEM_OTHER_BACKEND,
    PROBLEM_HIDDEN,
    PROBLEM_FUNCTION, /* it failed for another reason */
};

/* A deployment and the account's credentials there. Shared by all threads. */
struct backend_clock;
struct convex;

/* The caller's side of a call: deployment, the calling thread's own client, trace. Borrowed. */
struct service {
    struct convex *convex;
    struct http_client *client;
    const struct trace *trace; /* the trace that the call belongs to; NULL for none */
    bool for_loop;             /* a control loop, for which call slots are reserved */
    const atomic_bool *abort;  /* aborts its calls in addition to the client's flag; may be NULL */
    int64_t timeout_ms;        /* of each call; 0: the deployment's (convex_set_timeout) */
    bool *may_have_run; /* set by each call: whether the function may have run; may be NULL */
    enum convex_problem *problem; /* set by each call: why it failed; may be NULL */
};

enum convex_kind {
    CONVEX_PLAIN,
    CONVEX_LIST, /* the value may have many rows */
    CONVEX_ONCE, /* not idempotent; gets a connection of its own, so that libcurl never repeats it
                  */
};

enum convex_outcome {
    CONVEX_SUCCESS,
    CONVEX_UNAVAILABLE,    /* transport failure, 408, 409, 421, 425, 429, 5xx, or not a Convex
                              response: transient; the call may or may not have run */
    CONVEX_FUNCTION_ERROR, /* the function threw; production deployments hide why */
    CONVEX_REJECTED,       /* another status: our request or the URL is wrong */
    CONVEX_ABORTED,        /* aborted by shutdown; the call may or may not have run */
};

/* Which generation of Mission Control's backend a deployment is. */
enum backend_version {
    BACKEND_UNKNOWN, /* nothing has told yet */
    BACKEND_V0,      /* one session for each agent */
    BACKEND_V1,      /* sessions by task, behaviour flags, an orchestrator */
};

/* Their words in the log and in JSON documents; indexed by the enum's values. */
extern const char *const backend_version_words[];

/*
 * Creates a client; copies its arguments. url must not end in a slash. The caller destroys *convex
 * after the last call has returned. ERROR_NO_MEMORY.
 */
int convex_create(struct convex **convex, const char *url, const char *account_id,
    const char *service_token, struct error *error);
void convex_destroy(struct convex *convex);

/* Sets the timeout of a call, a minute by default; at least 1. Not while calls are in flight. */
void convex_set_timeout(struct convex *convex, int64_t timeout_ms);

/*
 * Exchanges the service token for *token, as secret_exchange (base/secret.h). Calls in flight keep
 * the old one. Any thread; takes a lock briefly; cannot fail.
 */
bool convex_exchange_token(struct convex *convex, char **token);

/* Counts and times calls in metrics (borrowed) from now on. To be called before the first call. */
void convex_set_metrics(struct convex *convex, struct metrics *metrics);

/*
 * Names the loop to poke when a call succeeds after one that found the backend unavailable; NULL:
 * none. It must outlive the calls. Only while no other thread makes calls.
 */
void convex_on_recovery(struct convex *convex, struct loop *loop);

/* Whether no call has succeeded since one found the backend unavailable. Any thread. */
bool convex_is_failing(const struct convex *convex);

/*
 * Makes everything go by that version of the backend, whatever its answers show; forgets what they
 * have shown. Before the first call.
 */
void convex_pin_version(struct convex *convex, enum backend_pin pin);

/*
 * The version to go by: the pinned one, else the last one seen unless that is in doubt. Only what
 * BACKEND_V1 is returned for may be sent functions and arguments that are new in it. This and the
 * other functions of the version: any thread, without a lock.
 */
enum backend_version convex_version(const struct convex *convex);

/*
 * The same for what is right for both versions, or nearly: in doubt the last one seen, as a doubt
 * seldom proves right.
 */
enum backend_version convex_likely_version(const struct convex *convex);

/* The last version seen, in doubt or not, whatever is pinned. */
enum backend_version convex_seen_version(const struct convex *convex);

/* The one that is pinned; BACKEND_UNKNOWN: none. */
enum backend_version convex_pinned_version(const struct convex *convex);

/*
 * Takes in what an answer showed; BACKEND_UNKNOWN changes nothing. If it differs from the last
 * version seen, that is logged, once, and the loop of convex_on_version is poked.
 */
void convex_see_version(struct convex *convex, enum backend_version version);

/*
 * A function or argument that is new in v1 was refused: as production deployments do not say why,
 * the version is unknown until an answer shows it again.
 */
void convex_doubt_version(struct convex *convex);

/*
 * Names the loop to poke when the version seen changes; NULL: none. It must outlive the calls. Only
 * while no other thread makes calls.
 */
void convex_on_version(struct convex *convex, struct loop *loop);

/* Whether the backend was seen to be another version than the pinned one, if both are known. Pure.
 */
bool backend_version_mismatches(enum backend_version pinned, enum backend_version seen);

/* How far our clock is from this deployment's. Belongs to convex; any thread. */
struct backend_clock *convex_clock(struct convex *convex);

/* The outcomes as label values of the metrics. */
extern const char *const convex_outcome_words[];

/* The deployment's URL, for messages; borrowed from convex. Pure. */
const char *convex_url(const struct convex *convex);

/*
 * Calls service/actions:<action> with arguments, an object to which account and token are added;
 * takes the reference, NULL counts as out of memory. On CONVEX_SUCCESS *value is a new reference to
 * the function's result; otherwise *error says what happened, without secrets. Blocks while 32
 * other calls are in flight (28 unless for_loop), then up to the timeout. Any thread, each with its
 * own client.
 */
enum convex_outcome convex_call(const struct service *service, const char *action,
    json_t *arguments, enum convex_kind kind, json_t **value, struct error *error);

/*
 * What the outcome of a call, the answer to it and the error's text tell about why it failed; and
 * that in words that go on from "The backend cannot be ...: ", with what a person does about it.
 * Both are "" for PROBLEM_NONE, name no value of a setting and have no full stop. Pure.
 */
enum convex_problem convex_problem_find(
    enum convex_outcome outcome, const struct http_response *answer, const char *text);
const char *convex_problem_cause(enum convex_problem problem);
const char *convex_problem_fix(enum convex_problem problem);

/*
 * Interprets a deployment's answer. On CONVEX_SUCCESS *value is a new reference; otherwise it is
 * left alone and *error says why, without secrets. Allocates; otherwise pure.
 */
enum convex_outcome convex_classify(
    const struct http_response *answer, enum convex_kind kind, json_t **value, struct error *error);

#endif
