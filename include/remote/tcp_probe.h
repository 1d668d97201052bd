/* Whether somebody accepts connections at an address: short tries, one after the other. */
#ifndef REMOTE_TCP_PROBE_H
#define REMOTE_TCP_PROBE_H

#include <netdb.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "config/url.h"

/* Embedded in its owner and used by one thread at a time; freed with tcp_probe_fini. */
struct tcp_probe {
    struct addrinfo *addresses;
    const struct addrinfo *next; /* the one to try next */
    int fd;                      /* a connection that is being made, else -1 */
    int64_t due_ms;              /* when that is given up, or when the next try begins; monotonic */
    int64_t wait_ms;             /* between two tries */
};

/*
 * Prepares tries at the host, an IP address or localhost, and port of url; a resolver is never
 * asked. Returns 0, ERROR_INVALID for another host, or ERROR_NO_MEMORY; then there is nothing to
 * free.
 */
int tcp_probe_init(struct tcp_probe *probe, const struct url *url, struct error *error);
void tcp_probe_fini(struct tcp_probe *probe);

/* Forgets earlier tries; the first new one is due at once. */
void tcp_probe_restart(struct tcp_probe *probe);

/*
 * Goes on as far as it can without blocking. Returns true when a connection was accepted; it is
 * closed again. Else to be called again when fd, unless it is -1, can be written to, and at due_ms.
 */
bool tcp_probe_step(struct tcp_probe *probe, int64_t now_ms);

#endif
