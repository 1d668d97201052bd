/* A TCP proxy on a free port of 127.0.0.1 that injects faults into the exchanges through it. */
#ifndef TEST_LIB_FAULT_PROXY_H
#define TEST_LIB_FAULT_PROXY_H

#include <stddef.h>
#include <stdint.h>

#include "wire_log.h"

/* What happens to an exchange, which is one request and its answer. */
enum fault_kind {
    FAULT_NONE,
    FAULT_REFUSE,         /* connections are refused; open ones are reset at the next request */
    FAULT_RESET,          /* the connection is reset at a request, which is not forwarded */
    FAULT_HANG,           /* the request is read and never answered */
    FAULT_RESET_REQUEST,  /* after_bytes of the request are forwarded, then both sides are reset */
    FAULT_RESET_ANSWER,   /* after_bytes of the answer are forwarded, then a reset */
    FAULT_CUT_ANSWER,     /* the same, with a normal close */
    FAULT_DELAY_ANSWER,   /* the answer is delayed by delay_ms */
    FAULT_CORRUPT_ANSWER, /* every byte of the answer from after_bytes on is inverted */
    FAULT_KINDS
};

struct fault {
    size_t after_bytes;
    int64_t delay_ms;
    const char *match; /* only requests that contain this in one read; NULL: all */
    enum fault_kind kind;
    unsigned times; /* number of exchanges to affect; 0: until the next fault_proxy_set */
};

struct fault_proxy;

/*
 * Starts a proxy for target_port of 127.0.0.1, without a fault; fails the test when it cannot.
 * fault_proxy_stop resets the open connections.
 */
struct fault_proxy *fault_proxy_start(unsigned target_port);
void fault_proxy_stop(struct fault_proxy *proxy);

unsigned fault_proxy_port(const struct fault_proxy *proxy);

/*
 * Replaces the fault for exchanges that begin after this returns; current ones keep theirs.
 * fault->match must stay valid until then. FAULT_REFUSE ignores match and times. Any thread.
 */
void fault_proxy_set(struct fault_proxy *proxy, const struct fault *fault);

#define FAULT(proxy, ...) fault_proxy_set((proxy), &(const struct fault){__VA_ARGS__})

/* Resets every open connection, as the restart of a peer does. Any thread. */
void fault_proxy_drop_connections(struct fault_proxy *proxy);

/*
 * Number of exchanges that faults of this kind have affected. Connections refused by FAULT_REFUSE
 * never reach the proxy and are not counted. Any thread.
 */
unsigned fault_proxy_hits(struct fault_proxy *proxy, enum fault_kind kind);

/*
 * What passed so far, as wire_log_describe has it; a new reference. An exchange counts from when
 * its request has named a notification. fault_proxy_forget_log empties the log, while no client has
 * a connection. Any thread.
 */
json_t *fault_proxy_describe_log(struct fault_proxy *proxy, enum wire_kind kind);
void fault_proxy_forget_log(struct fault_proxy *proxy);

/* Waits for that number of hits; fails the test at the usual time limit. */
void fault_proxy_wait_hits(struct fault_proxy *proxy, enum fault_kind kind, unsigned hits);

#endif
