/* A small HTTP server for status: a few paths, GET and HEAD. The only user of libmicrohttpd. */
#ifndef HTTP_SERVER_H
#define HTTP_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/text.h"

struct http_server;

/* The request that a handler serves; valid during the call. */
struct http_server_request {
    const char *path;   /* without the query string; %XX is not decoded */
    const char *accept; /* the Accept header, "" if absent */
    bool verbose;       /* the query has the parameter "verbose" */
};

/* The response that a handler fills in. Initially 200, application/json, with an empty body. */
struct http_server_reply {
    unsigned status;
    const char *content_type;   /* outlives the server */
    const char *content_policy; /* Content-Security-Policy; outlives the server */
    struct text body;           /* the handler appends, the server frees; failed makes it a 500 */
};

/* Runs on the server's thread, which serves no other client meanwhile: must not block for long. */
typedef void http_server_handler(
    void *context, const struct http_server_request *request, struct http_server_reply *reply);

struct http_server_route {
    const char *path; /* compared exactly; NULL terminates a table */
    http_server_handler *handle;
    void *context; /* passed to handle */
};

/* A short task that the server's thread repeats between requests. */
struct http_server_ticker {
    int64_t interval_ms; /* at least 1 */
    void (*tick)(void *tick_context);
    void *tick_context;
};

/*
 * Listens on host (an IPv4 or IPv6 literal or a name like localhost) and port (0..65535; 0 is any
 * free one) and starts the thread mc-http, which serves routes. The table and everything it refers
 * to outlive the server; the caller ends it with http_server_destroy. ticker is copied; NULL means
 * none. Blocks while a name is resolved. ERROR_INVALID if host is neither an address nor a name;
 * ERROR_UNREACHABLE if the port is in use or not permitted or the address is not available now;
 * else ERROR_SYSTEM or ERROR_NO_MEMORY.
 *
 * Every response closes its connection and forbids caching and content sniffing. Unknown paths get
 * 404, methods other than GET and HEAD 405, headers over 8 KiB 431, each with {"error": ...} as the
 * body. Connections take at most a quarter of the descriptors, but 16 to 1,024, and live for at
 * most 5 s; when 15 of 16 are in use a new one evicts the oldest (docs/architecture.md, HTTP
 * server).
 */
int http_server_create(struct http_server **server, const char *host, unsigned port,
    const struct http_server_route *routes, const struct http_server_ticker *ticker,
    struct error *error);

/*
 * Whether http_server_create could listen there now: 0, or its error. The address is bound but
 * never listened on, so no client can connect meanwhile. Blocks while a name is resolved.
 */
int http_server_check_address(const char *host, unsigned port, struct error *error);

/* The port that the server listens on. Any thread. */
unsigned http_server_port(const struct http_server *server);

/*
 * Stops listening, closes all connections, joins the thread and frees the server. Blocks only until
 * a running handler returns. Does nothing for NULL.
 */
void http_server_destroy(struct http_server *server);

#endif
