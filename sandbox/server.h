/* A single-threaded HTTP server whose requests can wait, be dropped, or be answered partially. */
#ifndef SANDBOX_SERVER_H
#define SANDBOX_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/text.h"

/* Everything runs in the thread that calls server_run; nothing here may be called from others. */
struct server;

/*
 * One request and its answer. It lives until its answer is sent or its connection ends, whichever
 * comes first; the server owns it.
 */
struct exchange;

typedef void (*exchange_function)(struct exchange *exchange, void *argument);

struct server_handler {
    void *context;
    /* Limit on the bodies sent to path; a larger one is discarded. */
    size_t (*body_limit_bytes)(void *context, const char *path);
    /* Called with a complete request. Must answer, drop or wait, as must every continuation. */
    void (*begin)(void *context, struct exchange *exchange);
    /*
     * Called after each batch of requests, to act on the state that they changed, and when
     * wake_descriptor, which it has to read, is readable.
     */
    void (*batch_ended)(void *context);
    int wake_descriptor; /* with which other threads end the server's sleep */
};

/*
 * Listens on host and port ("0": a free one). The handler's context must outlive the server.
 * Errors: ERROR_UNREACHABLE when the address cannot be bound, ERROR_SYSTEM. Freed with
 * server_destroy.
 */
int server_create(const char *host, const char *port, const struct server_handler *handler,
    struct server **server, struct error *error);

/* The port on which the server listens. */
unsigned server_port(const struct server *server);

/* Whether it listens on all addresses of this machine. */
bool server_is_on_all_addresses(const struct server *server);

/*
 * Serves until SIGTERM or SIGINT, which must be blocked in every thread. Returns 0 then, or
 * ERROR_SYSTEM.
 */
int server_run(struct server *server, struct error *error);

/* Drops waiting requests, closes every connection and frees the server. NULL is allowed. */
void server_destroy(struct server *server);

/* The request. Strings are borrowed and valid as long as the exchange; absent ones are NULL. */
const char *exchange_method(const struct exchange *exchange);
const char *exchange_path(const struct exchange *exchange);
const char *exchange_query(const struct exchange *exchange, const char *name);
const char *exchange_header(const struct exchange *exchange, const char *name);
const struct text *exchange_body(const struct exchange *exchange);
bool exchange_body_is_too_large(const struct exchange *exchange);

/* Registers ended(owner) to be called once, when the exchange is about to be freed. */
void exchange_on_end(struct exchange *exchange, void (*ended)(void *owner), void *owner);

/*
 * Calls then(exchange, argument) at due_ms (monotonic; SYNC_NO_DEADLINE: never), when
 * exchange_resume is called, or when the client disconnects, whichever is first. The exchange must
 * not be answered yet.
 */
void exchange_wait(
    struct exchange *exchange, int64_t due_ms, exchange_function then, void *argument);

/* Ends a wait early. Does nothing if it has ended. */
void exchange_resume(struct exchange *exchange);

/* Whether the client closed its connection while the exchange waited. */
bool exchange_is_gone(const struct exchange *exchange);

/* Adds a header to the answer, which must not have been given yet; copies both strings. */
void exchange_add_header(struct exchange *exchange, const char *name, const char *value);

/* Answers; takes ownership of body, allocated with malloc (NULL with 0 bytes: none). */
void exchange_answer(struct exchange *exchange, unsigned status, char *body, size_t body_bytes);

enum cut_kind { CUT_NONE, CUT_CLOSE, CUT_STALL };

/* Faults in the sending of an answer. */
struct exchange_cut {
    enum cut_kind kind;
    size_t at_bytes;    /* body bytes after which it is closed or stalls */
    size_t chunk_bytes; /* 0: as fast as the connection takes them */
    int64_t chunk_ms;   /* the pause after each chunk */
};

/* Makes the answer, whether given before or after, end early, stall, or come in chunks. */
void exchange_set_cut(struct exchange *exchange, const struct exchange_cut *cut);

/* Closes the connection without an answer. */
void exchange_drop(struct exchange *exchange);

/* Writes raw bytes to the connection in place of an HTTP answer, and closes it. */
void exchange_drop_after_bytes(struct exchange *exchange, const char *bytes, size_t length_bytes);

#endif
