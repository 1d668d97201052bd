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

/* A connection pool and its buffers. Used by one thread at a time. */
struct http_client;

struct http_request {
    const char *url;
    const char *const *headers; /* "Name: value" strings, NULL-terminated */
    const char *body;           /* a POST; NULL makes it a GET */
    size_t body_bytes;
    int64_t timeout_ms; /* from the call to the last byte of the response; at least 1 */
    size_t response_limit_bytes;
    /*
     * A new connection, closed afterwards. libcurl silently repeats a POST when a reused connection
     * dies before the first byte of the response, so requests that must not run twice set this.
     */
    bool single_use_connection;
    /*
     * How long bytes that we sent may go unacknowledged before the connection counts as dead
     * (TCP_USER_TIMEOUT); 0 leaves it to the system. For a kept connection the first request's.
     */
    int64_t user_timeout_ms;
    bool ignore_proxy;  /* otherwise http_proxy, https_proxy and no_proxy apply */
    bool wants_details; /* fills in the fields of the response marked as details */
    /* Aborts the request once true, like the flag of the client; outlives it. NULL: none. */
    const atomic_bool *extra_abort;
};

enum http_failure {
    HTTP_ANSWERED,  /* not a failure: status and body are set */
    HTTP_NOT_SENT,  /* no byte of the request was sent: DNS, connect or TLS failed */
    HTTP_TIMED_OUT, /* the deadline passed after something was sent */
    HTTP_LOST,      /* the connection broke after something was sent, or not an HTTP response */
    HTTP_TOO_LARGE, /* the body exceeded response_limit_bytes */
    HTTP_ABORTED,   /* an abort flag was set; see sent */
    HTTP_NO_MEMORY, /* nothing was sent */
};

/* The steps of an exchange, in order. */
enum http_step { HTTP_STEP_LOOKUP, HTTP_STEP_CONNECT, HTTP_STEP_TLS, HTTP_STEP_EXCHANGE };

enum { HTTP_PEER_BYTES = 72 };

struct http_response {
    enum http_failure failure;
    enum http_step step;        /* the last one begun; on failure, the one that did not succeed */
    int status;                 /* 0 if there was no response */
    struct text_span body;      /* in the client's memory, valid until its next request */
    bool timed_out;             /* the time for it, or for connecting, was over */
    bool sent;                  /* whether any byte of the request was sent */
    bool has_retry_after;       /* whether the header was present; not looked for in a 2xx */
    int64_t retry_after_ms;     /* from now, a day at most; 0 if it could not be parsed */
    int64_t date_ms;            /* detail: the Date header, since 1970; 0 without one */
    bool short_of_descriptors;  /* nothing was sent, as this process or machine has too few */
    bool certificate_refused;   /* nothing was sent because of the peer's certificate */
    char peer[HTTP_PEER_BYTES]; /* detail: "address port number" of the peer or the proxy */
    char reason[ERROR_TEXT_BYTES]; /* what went wrong, for an operator; "" if HTTP_ANSWERED */
};

/* Once per process, before and after all clients; not thread-safe. ERROR_SYSTEM on failure. */
int http_client_library_start(struct error *error);
void http_client_library_stop(void);

/*
 * Creates a client that trusts store (NULL if it never gets an https URL) and aborts its request
 * within a second once *abort is true; both outlive it. The caller destroys it. ERROR_NO_MEMORY.
 */
int http_client_create(struct http_client **client, struct ca_store *store,
    const atomic_bool *abort, struct error *error);
void http_client_destroy(struct http_client *client);

/* Closes the idle connections: the next request makes a new one. Between requests. */
void http_client_close_connections(struct http_client *client);

/* Whether the client's abort flag or extra_abort (NULL: none) is set. Any thread. */
bool http_client_is_aborted(const struct http_client *client, const atomic_bool *extra_abort);

/*
 * Performs the request and fills in *response. Blocks until the response is complete, timeout_ms
 * has passed or an abort flag is set. A name lookup that is not answered by then goes on without
 * it; with two of them overdue (http/lookups.h), further requests for that name fail at once.
 * HTTP/1.1; TLS 1.2 or later with certificates always verified; redirects are not followed.
 */
void http_client_perform(
    struct http_client *client, const struct http_request *request, struct http_response *response);

#endif
