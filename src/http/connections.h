/* The sockets of the HTTP server: the one it listens on, and its open connections by age. */
#ifndef HTTP_CONNECTIONS_H
#define HTTP_CONNECTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "base/error.h"

struct http_post;

/*
 * Listens on host (an IPv4 or IPv6 literal, or a name, of whose addresses IPv4 is tried first) and
 * port (0..65535; 0 is any free one). Stores the socket, which the caller owns, non-blocking and
 * close-on-exec, and the port in use. Blocks while a name is resolved. Any thread. ERROR_INVALID if
 * host is neither an address nor a name; ERROR_UNREACHABLE if the port is in use or not permitted,
 * or the address does not belong to this machine or cannot be resolved now; else ERROR_SYSTEM or
 * ERROR_NO_MEMORY. The text names host and port.
 */
int listener_open(
    const char *host, unsigned port, int *fd, unsigned *bound_port, struct error *error);

/* Whether the listener takes connections to any address of this machine. Any thread. */
bool listener_is_on_all_addresses(int fd);

/* Whether listener_open would succeed now, without listening: 0, or its error. Any thread. */
int listener_check(const char *host, unsigned port, struct error *error);

/* From accept to close; carries one request, as every response closes the connection. */
struct connection {
    TAILQ_ENTRY(connection) by_age;
    int fd;
    int64_t deadline_ms;
    bool expired; /* shut down, and no longer listed */
    bool is_held; /* likewise not listed; http/posts.c ends it */

    /* The progress of its request, kept by the server. */
    bool header_seen;
    size_t body_bytes;
    struct http_post *post; /* NULL unless it is one */
};

/* Not locked: used only by the server's thread once that runs. */
struct connections {
    unsigned max; /* that may be open at a time */
    unsigned listed;
    unsigned held; /* at most half of max */
    TAILQ_HEAD(, connection) oldest_first;
};

/* Initializes an empty list; max is a share of this process's limit of descriptors. */
void connections_init(struct connections *connections);

/*
 * Adds a connection accepted at now_ms (monotonic). If that makes nearly max, the oldest is shut
 * down. Freed by connections_remove. NULL when out of memory, and then fd is shut down.
 */
struct connection *connections_add(struct connections *connections, int fd, int64_t now_ms);

/*
 * Exempts a connection from deadlines and eviction: whoever calls this ends it. False when half of
 * max are held already, since the other half is for those that come and go.
 */
bool connections_hold(struct connections *connections, struct connection *connection);

/* Frees a closed connection; does nothing for NULL. */
void connections_remove(struct connections *connections, struct connection *connection);

/* Shuts down connections past their deadline, whatever their clients do; the server closes them. */
void connections_expire_old(struct connections *connections, int64_t now_ms);

/* When the oldest connection expires, monotonic; INT64_MAX if there is none. */
int64_t connections_due_ms(const struct connections *connections);

#endif
