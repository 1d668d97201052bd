/* The listening socket. */
#ifndef SANDBOX_LISTENER_H
#define SANDBOX_LISTENER_H

#include "base/error.h"

/*
 * Opens a non-blocking, close-on-exec socket that listens on host and port ("0": a free one) and
 * stores it in *descriptor, the caller's to close. ERROR_UNREACHABLE when the address is busy,
 * unknown or not ours.
 */
int listener_open(const char *host, const char *port, int *descriptor, struct error *error);

/* The port that a listening socket has, 0 if it cannot be told. */
unsigned listener_port(int descriptor);

#endif
