/* A TCP proxy on a free port of 127.0.0.1 that spoils what passes through it, as it is told. */
#ifndef TEST_LIB_FAULT_PROXY_H
#define TEST_LIB_FAULT_PROXY_H

#include <stddef.h>
#include <stdint.h>

/* What happens to an exchange, which is one request and its answer. */
enum fault_kind {
    FAULT_NONE,
    FAULT_REFUSE,         /* nobody listens; lines that are open are reset when a request comes */
    FAULT_RESET,          /* the line is reset when a request comes, of which nothing goes on */
    FAULT_HANG,           /* the request is taken and nothing ever comes back */
    FAULT_RESET_REQUEST,  /* after_bytes of the request go on, then both lines are reset */
    FAULT_RESET_ANSWER,   /* after_bytes of the answer come back, then the line is reset */
    FAULT_CUT_ANSWER,     /* the same, with an orderly end of the line */
    FAULT_DELAY_ANSWER,   /* the answer comes delay_ms late */
    FAULT_CORRUPT_ANSWER, /* every byte of the answer from after_bytes on is inverted */
    FAULT_KINDS
};

struct fault {
    size_t after_bytes;
    int64_t delay_ms;
    const char *match; /* only requests that hold these words in one piece; NULL: all */
    enum fault_kind kind;
    unsigned times; /* exchanges until it is over; 0: until the next fault_proxy_set */
};

struct fault_proxy;

/*
 * Starts a proxy without a fault in front of target_port of 127.0.0.1. Ended by fault_proxy_stop,
 * which resets the lines that are left. Both fail the test when they cannot.
 */
struct fault_proxy *fault_proxy_start(unsigned target_port);
void fault_proxy_stop(struct fault_proxy *proxy);

unsigned fault_proxy_port(const struct fault_proxy *proxy);

/*
 * Puts fault in the place of the one before, for exchanges that begin when this has returned; those
 * under way keep theirs. fault->match must stay valid as long. FAULT_REFUSE knows neither match nor
 * times. Any thread.
 */
void fault_proxy_set(struct fault_proxy *proxy, const struct fault *fault);

#define FAULT(proxy, ...) fault_proxy_set((proxy), &(const struct fault){__VA_ARGS__})

/* Resets every line that is open, as a peer does that restarts. Any thread. */
void fault_proxy_drop_connections(struct fault_proxy *proxy);

/*
 * Exchanges that a fault of this kind has really changed so far. Connections that FAULT_REFUSE
 * turned away are seen by nobody and not counted: who was refused has to tell. Any thread.
 */
unsigned fault_proxy_hits(struct fault_proxy *proxy, enum fault_kind kind);

/* Waits until that many were hit, and fails the test when they are not within the usual limit. */
void fault_proxy_wait_hits(struct fault_proxy *proxy, enum fault_kind kind, unsigned hits);

#endif
