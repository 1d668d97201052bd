/* Sockets on 127.0.0.1. */
#ifndef TEST_LIB_LOOPBACK_H
#define TEST_LIB_LOOPBACK_H

#include <netinet/in.h>

struct sockaddr_in loopback_address(unsigned port);

/*
 * Returns a socket that listens on a free port and stores the port; the caller closes it. Fails the
 * test when it cannot.
 */
int loopback_listen(int backlog, unsigned *port);

/*
 * Returns a socket that keeps a free port, at which connections are refused until another process
 * listens there with SO_REUSEADDR; stores the port. The caller closes it. Fails the test when it
 * cannot.
 */
int loopback_reserve(unsigned *port);

/* Returns a connected socket, which the caller closes; -1 when the connection fails. */
int loopback_connect(unsigned port);

/*
 * A port that was free a moment ago, for a program that cannot choose one itself. Another process
 * may take it first, so a program that fails to bind to it should be started again with another.
 */
unsigned loopback_free_port(void);

#endif
