/* A small HTTP server for status: a few paths, GET and HEAD. The only user of libmicrohttpd. */
#ifndef HTTP_SERVER_H
#define HTTP_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/text.h"

struct http_server;

/* What a handler is asked; valid during the call. */
struct http_server_request {
    const char *path;   /* without the query string; %XX as it came */
    const char *accept; /* the Accept header, "" when there is none */
    bool verbose;       /* asked with ?verbose */
};

/* What a handler answers. Comes as 200 with JSON as its content type and an empty body. */
struct http_server_reply {
    unsigned status;
    const char *content_type;   /* lives as long as the server */
    const char *content_policy; /* Content-Security-Policy; lives as long as the server */
    struct text body;           /* the handler appends, the server frees; failed makes it a 500 */
};

/* Runs on the server's thread, which answers nobody else meanwhile: must not block for long. */
typedef void http_server_handler(
    void *context, const struct http_server_request *request, struct http_server_reply *reply);

struct http_server_route {
    const char *path; /* compared exactly; NULL ends a table */
    http_server_handler *handle;
    void *context; /* handed to handle; may be shared with other threads if handle can cope */
};

/* Something small that the server's thread does again and again, between answers. */
struct http_server_ticker {
    int64_t interval_ms; /* at least 1 */
    void (*tick)(void *tick_context);
    void *tick_context;
};

/*
 * Listens on host (an IPv4 or IPv6 literal or a name like localhost) and port (0..65535; 0 is any
 * free one) and starts the thread mc-http, which answers from routes. The table and what it points
 * to must outlive the server; the caller ends it with http_server_destroy. ticker is copied; NULL
 * is none. Blocks while a name is looked up. Errors as of listener_open (serve/listener.h).
 *
 * Every answer closes its connection, is not to be cached or sniffed. Unknown path: 404, method
 * other than GET and HEAD: 405, header over 8 KiB: 431, all with {"error": ...} as their body. At
 * most a quarter of the descriptors there may be as connections, 16 to 1,024, each at most 5 s old,
 * whatever the client does meanwhile; when there are 15 of 16, a new one ends the oldest, so a
 * crowd that keeps its connections keeps nobody out.
 */
int http_server_create(struct http_server **server, const char *host, unsigned port,
    const struct http_server_route *routes, const struct http_server_ticker *ticker,
    struct error *error);

/* The port that it listens on. Any thread. */
unsigned http_server_port(const struct http_server *server);

/*
 * Stops listening, drops open connections, joins the thread and frees. Blocks for a running handler
 * only. NULL is nothing.
 */
void http_server_destroy(struct http_server *server);

#endif
