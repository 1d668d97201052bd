/* A TLS terminator on a free port of 127.0.0.1 in front of a plain server. */
#ifndef TEST_LIB_TLS_PROXY_H
#define TEST_LIB_TLS_PROXY_H

#include "certificate.h"

struct tls_proxy;

/*
 * Starts a terminator for target_port of 127.0.0.1 with leaf as its certificate and at most
 * max_version (such as TLS1_2_VERSION; 0: any). Ended by tls_proxy_stop.
 */
struct tls_proxy *tls_proxy_start(
    const struct certificate *leaf, int max_version, unsigned target_port);
unsigned tls_proxy_port(const struct tls_proxy *proxy);

/* Number of completed handshakes. */
unsigned tls_proxy_handshakes(const struct tls_proxy *proxy);

/* Number of handshakes that resumed a session. */
unsigned tls_proxy_resumptions(const struct tls_proxy *proxy);

void tls_proxy_stop(struct tls_proxy *proxy);

#endif
