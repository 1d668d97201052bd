/*
 * A small HTTP server: a few paths for GET and HEAD, and requests with bodies that other threads
 * answer. Its folder is the only user of libmicrohttpd.
 */
#ifndef HTTP_SERVER_H
#define HTTP_SERVER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/error.h"
#include "base/text.h"

struct http_server;

/* The request that a handler serves; valid during the call. */
struct http_server_request {
    const char *path;           /* without the query string; %XX is not decoded */
    const char *accept;         /* the Accept header, "" if absent */
    struct text_span authority; /* of the target, else the Host header; bytes NULL: neither */
    bool verbose;               /* the query has the parameter "verbose" */
    const char *method;
    const struct sockaddr *peer; /* the client's address */
    void *handle;                /* for http_server_request_header */
};

/* The value of a header of the request, any case of the name; NULL when absent. */
const char *http_server_request_header(const struct http_server_request *request, const char *name);

/* The response that a handler fills in. Initially 200, application/json, with an empty body. */
struct http_server_reply {
    unsigned status;
    const char *content_type;   /* outlives the server */
    const char *content_policy; /* Content-Security-Policy; outlives the server */
    const char *allow;          /* of a 405, NULL: GET and HEAD; outlives the server */
    unsigned retry_after_s;     /* 0: no Retry-After */
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

/* A request that may have a body and is answered by a thread of another module. */
struct http_post;

enum http_admission {
    HTTP_REFUSE, /* with the reply that admit has filled in */
    HTTP_READ,   /* its body is read, then a thread takes it */
    HTTP_ASK,    /* a thread takes it first, and decides whether its body is read */
};

/* What admit has found out about a request that it admits. */
struct http_post_plan {
    void *details;     /* for the thread that answers; ended by end */
    const char *group; /* of whose requests so many are admitted at a time; lives as details do */
};

/* How requests to the paths below a prefix are served. */
struct http_server_posts {
    const char *prefix; /* ends in "/" */
    unsigned max_of_group;
    /*
     * Judges a request by its header, whatever its method, on the server's thread: must not block.
     * If it refuses, there are no details.
     */
    enum http_admission (*admit)(void *context, const struct http_server_request *request,
        struct http_post_plan *plan, struct http_server_reply *reply);
    /*
     * Once for each request that was admitted, when its answer is known or its client has gone
     * (status 0): frees the details. On the server's thread: must not block.
     */
    void (*end)(void *context, void *details, unsigned status, int64_t duration_us);
    void *context;
};

enum {
    HTTP_POST_BODY_BYTES = 5 * 1024 * 1024,    /* of one request */
    HTTP_POST_BODIES_BYTES = 10 * 1024 * 1024, /* of all requests together */
    HTTP_POST_WAITING = 64,                    /* requests that no thread has taken */
    HTTP_POST_LIMIT_MS = 29 * 1000,            /* from its header until it is overdue */
    HTTP_POST_BODY_MS = 10 * 1000,             /* from when its body may be sent to its end */
};

/*
 * Listens on host (an IPv4 or IPv6 literal or a name like localhost) and port (0..65535; 0 is any
 * free one) and starts the thread mc-http, which serves routes. The table and everything it refers
 * to outlive the server; the caller ends it with http_server_destroy. ticker is copied; NULL means
 * none. posts is copied, and what it refers to outlives the server; NULL means that no path takes
 * requests with bodies. Blocks while a name is resolved. ERROR_INVALID if host is neither an
 * address nor a name; ERROR_UNREACHABLE if the port is in use or not permitted or the address is
 * not available now; else ERROR_SYSTEM or ERROR_NO_MEMORY.
 *
 * Every response closes its connection and forbids caching and content sniffing. Unknown paths get
 * 404, methods other than GET and HEAD 405, headers over 8 KiB 431, each with {"error": ...} as the
 * body; so do folded header fields, malformed names and a second Host, 400. Connections take at
 * most a quarter of the descriptors, but 16 to 1,024, and live for at most 5 s; when 15 of 16 are
 * in use a new one evicts the oldest (docs/architecture.md, HTTP server). Those of admitted posts
 * live for as long as these may take, and are at most half of all.
 */
int http_server_create(struct http_server **server, const char *host, unsigned port,
    const struct http_server_route *routes, const struct http_server_ticker *ticker,
    const struct http_server_posts *posts, struct error *error);

/*
 * For the threads that answer posts. One call takes a request and another gives it back; meanwhile
 * it belongs to the thread. Errors that the server finds by itself, {"success":false,"error":...}:
 * 408 for a body that is too slow, 413 for one over HTTP_POST_BODY_BYTES, 429 over max_of_group,
 * 503 with HTTP_POST_WAITING waiting, for one that waited too long, and after the close.
 */

/* Blocks until a request needs a thread; NULL after http_server_close_posts. */
struct http_post *http_server_take_post(struct http_server *server);

void *http_post_details(const struct http_post *post);

/* The body, NUL-terminated; bytes is NULL for a post that is to be asked about (HTTP_ASK). */
struct text_span http_post_body(const struct http_post *post);

/* When it has to be answered, monotonic: it is overdue then, and the flag becomes true. */
int64_t http_post_deadline_ms(const struct http_post *post);
const atomic_bool *http_post_overdue(const struct http_post *post);

/* Gives a post of HTTP_ASK back, to be taken again with its body. */
void http_server_read_post(struct http_server *server, struct http_post *post);

/* Gives the post back with its answer, whose body is taken. */
void http_server_answer_post(
    struct http_server *server, struct http_post *post, struct http_server_reply *reply);

/*
 * From now on no post is admitted or taken: those that no thread has are answered with 503. Any
 * thread; does not block. All threads must have given theirs back before http_server_destroy.
 */
void http_server_close_posts(struct http_server *server);

/*
 * Whether http_server_create could listen there now: 0, or its error. The address is bound but
 * never listened on, so no client can connect meanwhile. Blocks while a name is resolved.
 */
int http_server_check_address(const char *host, unsigned port, struct error *error);

/* The port that the server listens on. Any thread. */
unsigned http_server_port(const struct http_server *server);

/* Whether it listens on all addresses of this machine. Any thread. */
bool http_server_is_on_all_addresses(const struct http_server *server);

/*
 * Stops listening, closes all connections, joins the thread and frees the server. Blocks only until
 * a running handler returns. Does nothing for NULL.
 */
void http_server_destroy(struct http_server *server);

#endif
