/* Calls of the backend's functions over Convex's HTTP API (contract convex-wire). */
#ifndef BACKEND_CONVEX_H
#define BACKEND_CONVEX_H

#include <jansson.h>

#include "base/error.h"
#include "base/log.h"
#include "http/client.h"
#include "telemetry/metrics.h"

/* One deployment and the account's identity there. Shared by all threads. */
struct convex;

/* Who calls, and for what: one deployment, the calling thread's own client, a trace. Borrowed. */
struct service {
    struct convex *convex;
    struct http_client *client;
    const struct trace *trace; /* what the call belongs to; NULL for nothing */
    bool for_loop;             /* its calls wait for no worker's: places are kept for the loops */
    const atomic_bool *abort; /* cuts its calls off, too, beside the client's; NULL: nothing does */
};

enum convex_kind {
    CONVEX_PLAIN,
    CONVEX_LIST, /* the answer may hold many rows */
    CONVEX_ONCE, /* repeating it does harm (convex-wire, section 6): it gets its own connection */
};

enum convex_outcome {
    CONVEX_SUCCESS,
    CONVEX_UNAVAILABLE,    /* transport, 408, 409, 421, 425, 429, 5xx, or an answer that is no
                              Convex answer: may pass; the call may or may not have run */
    CONVEX_FUNCTION_ERROR, /* the function threw; production hides why */
    CONVEX_REJECTED,       /* another status: our request or the URL is wrong */
    CONVEX_ABORTED,        /* the stop cut it off */
};

/*
 * Copies what it is given. url has no slash at its end. *convex is the caller's and is destroyed
 * after its last call has returned. ERROR_NO_MEMORY.
 */
int convex_create(struct convex **convex, const char *url, const char *account_id,
    const char *service_token, struct error *error);
void convex_destroy(struct convex *convex);

/* How long a call may take instead of a minute; at least 1. While no other thread calls. */
void convex_set_timeout(struct convex *convex, int64_t timeout_ms);

/*
 * Exchanges the service token for *token, as secret_exchange (remote/secret.h). Calls that are
 * under way go on with the old one. Any thread; a short lock; cannot fail.
 */
bool convex_exchange_token(struct convex *convex, char **token);

/* Where calls are counted and timed; borrowed. Before the first call; without it nowhere. */
void convex_set_metrics(struct convex *convex, struct metrics *metrics);

/* The outcome as the metrics name it. Pure. */
const char *convex_outcome_word(enum convex_outcome outcome);

/* The deployment's URL, for messages; the client's own, as long as it lives. Pure. */
const char *convex_url(const struct convex *convex);

/*
 * Calls service/actions:<action> with arguments (an object; the reference is taken, NULL counts as
 * failed memory) to which account and token are added. On CONVEX_SUCCESS *value is a new reference
 * to what the function returned; else *error tells what happened, without secrets. Blocks up to a
 * minute (or the time set), and while 32 other calls run, or 28 for a worker: the smallest plan
 * allows 64 at once. Any thread, each with its own client.
 */
enum convex_outcome convex_call(const struct service *service, const char *action,
    json_t *arguments, enum convex_kind kind, json_t **value, struct error *error);

/*
 * Says what an answer of the deployment means: on CONVEX_SUCCESS *value is a new reference, else it
 * is left alone and *error tells why, without secrets. Pure but for memory.
 */
enum convex_outcome convex_classify(
    const struct http_response *answer, enum convex_kind kind, json_t **value, struct error *error);

#endif
