/* The HTTP server's open connections, oldest first, and which of them have to go. */
#ifndef HTTP_CONNECTIONS_H
#define HTTP_CONNECTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/* From accept to close; holds one request, as every answer closes. */
struct connection {
    struct connection *older;
    struct connection *newer;
    int fd;
    int64_t deadline_ms;
    bool expired; /* shut down, and in the list no more */

    /* The server's. */
    bool header_seen;
    size_t body_bytes;
};

/* No lock: all of it is the server's thread's, once there is one. */
struct connections {
    unsigned max; /* that may be open at a time */
    unsigned listed;
    struct connection *oldest;
    struct connection *newest;
};

/* None yet; most is a share of the descriptors that this process may have now. */
void connections_init(struct connections *connections);

/*
 * Takes in a connection that was accepted at now_ms (monotonic) and still has its descriptor; with
 * nearly as many as may be, the oldest is shut down. The server gives it back with
 * connections_remove when it is closed. NULL without memory, and then fd is shut down.
 */
struct connection *connections_add(struct connections *connections, int fd, int64_t now_ms);

/* Frees a connection that is closed; NULL is nothing. */
void connections_remove(struct connections *connections, struct connection *connection);

/* Shuts down those that are too old, whatever their clients do; the server then closes them. */
void connections_expire_old(struct connections *connections, int64_t now_ms);

/* When the next one is too old, monotonic; INT64_MAX when there is none. */
int64_t connections_due_ms(const struct connections *connections);

/* Opens the socket that the HTTP server listens on, with errors that an operator can act on. */

/*
 * Listens on host (an IPv4 or IPv6 literal or a name, of whose addresses IPv4 goes first) and port
 * (0..65535; 0 is any free one). Stores the caller's socket, which neither blocks nor outlives an
 * exec, and the port in use. Blocks while a name is looked up. Any thread. ERROR_INVALID when host
 * is no address and no name, ERROR_UNREACHABLE when the port is taken or not allowed, or the
 * address is not this machine's or cannot be looked up now, else ERROR_SYSTEM or ERROR_NO_MEMORY;
 * the text names host and port.
 */
int listener_open(
    const char *host, unsigned port, int *fd, unsigned *bound_port, struct error *error);

#endif
