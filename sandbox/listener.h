/* The sandbox's listening socket. */
#ifndef SANDBOX_LISTENER_H
#define SANDBOX_LISTENER_H

#include <stdbool.h>

#include "base/error.h"

/*
 * Opens a non-blocking, close-on-exec socket that listens on host and port ("0": a free one) and
 * stores it in *descriptor; the caller closes it. ERROR_UNREACHABLE when the address is in use,
 * unknown or not local.
 */
int listener_open(const char *host, const char *port, int *descriptor, struct error *error);

/*
 * Returns the port of a listening socket, 0 if it cannot be determined, and stores whether it
 * listens on all addresses of this machine.
 */
unsigned listener_port(int descriptor, bool *is_on_all_addresses);

#endif
