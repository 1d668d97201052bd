/* Opens the socket that the HTTP server listens on, with errors that an operator can act on. */
#ifndef SERVE_LISTENER_H
#define SERVE_LISTENER_H

#include "base/error.h"

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
