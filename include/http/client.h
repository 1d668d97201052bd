/* Blocking HTTP requests with one deadline for the whole exchange. The only user of libcurl. */
#ifndef HTTP_CLIENT_H
#define HTTP_CLIENT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/text.h"
#include "http/ca_store.h"

/* One connection pool and its buffers. Belongs to one thread at a time. */
struct http_client;

struct http_request {
    const char *url;
    const char *const *headers; /* "Name: value" strings, ended by NULL */
    const char *body;           /* NULL makes it a GET, else a POST */
    size_t body_bytes;
    int64_t timeout_ms; /* from the call to the last byte of the answer; at least 1 */
    size_t response_limit_bytes;
    /*
     * A connection of its own, closed afterwards. libcurl repeats a POST by itself when a reused
     * connection dies before the first byte of the answer, so whatever must not happen twice asks
     * for this.
     */
    bool single_use_connection;
    bool ignore_proxy;  /* else http_proxy, https_proxy and no_proxy are obeyed */
    bool wants_details; /* what of the answer is said to be one */
    /* Cuts it off as the client's own flag does, once true; outlives the request. NULL: none. */
    const atomic_bool *extra_abort;
};

enum http_failure {
    HTTP_ANSWERED,  /* status and body are there */
    HTTP_NOT_SENT,  /* not a byte of the request went out: DNS, connect, TLS */
    HTTP_TIMED_OUT, /* the deadline passed after something was sent */
    HTTP_LOST,      /* the connection broke after something was sent, or no HTTP answer came */
    HTTP_TOO_LARGE, /* the answer passed response_limit_bytes */
    HTTP_ABORTED,   /* an abort flag was set; see sent */
    HTTP_NO_MEMORY, /* nothing was sent */
};

/* The steps of an exchange, in their order. */
enum http_step { HTTP_STEP_LOOKUP, HTTP_STEP_CONNECT, HTTP_STEP_TLS, HTTP_STEP_EXCHANGE };

enum { HTTP_PEER_BYTES = 72 };

struct http_response {
    enum http_failure failure;
    enum http_step step; /* the last one begun; by its end, with a failure, it had not succeeded */
    int status;          /* of the answer, 0 when there is none */
    struct text_span body;         /* in the client's memory, valid until its next request */
    bool sent;                     /* whether any byte of the request went out */
    bool has_retry_after;          /* whether the header was there */
    int64_t retry_after_ms;        /* from now, a day at most; 0 when it could not be read */
    int64_t date_ms;               /* a detail: the header Date, since 1970; 0 without one */
    bool certificate_refused;      /* the other side's certificate is why nothing was sent */
    char peer[HTTP_PEER_BYTES];    /* a detail: "address port number" spoken to, or a proxy's */
    char reason[ERROR_TEXT_BYTES]; /* what went wrong, in words; "" when HTTP_ANSWERED */
};

/* Once per process, before and after all clients; not thread-safe. ERROR_SYSTEM when it fails. */
int http_client_library_start(struct error *error);
void http_client_library_stop(void);

/*
 * A client that trusts store (NULL for one that is never given an https URL) and stops within a
 * second once *abort is true; both outlive it. The caller destroys it. ERROR_NO_MEMORY.
 */
int http_client_create(struct http_client **client, struct ca_store *store,
    const atomic_bool *abort, struct error *error);
void http_client_destroy(struct http_client *client);

/* Whether the client's abort flag is set, or extra_abort (NULL: none). Any thread. */
bool http_client_is_aborted(const struct http_client *client, const atomic_bool *extra_abort);

/*
 * Performs the request and fills *answer. Blocks until the answer is there, timeout_ms passed or
 * an abort flag is set. HTTP/1.1 over http or https, certificates always verified, TLS 1.2 at
 * least, redirects never followed, proxies as the request says.
 */
void http_client_perform(
    struct http_client *client, const struct http_request *request, struct http_response *answer);

#endif
