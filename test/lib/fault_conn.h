/* A connection through the fault proxy and the fault applied to it. Used by the proxy only. */
#ifndef TEST_LIB_FAULT_CONN_H
#define TEST_LIB_FAULT_CONN_H

#include <poll.h>
#include <stdbool.h>

#include "base/sync.h"
#include "fault_proxy.h"
#include "wire_log.h"

/* The current fault, the number of exchanges that each kind has affected, and what they were. */
struct fault_switch {
    /* Guards the fields below. */
    struct mutex lock;
    struct cond changed;
    struct fault fault;
    unsigned hits[FAULT_KINDS];
    struct wire_log log;
};

/* A client's connection and its counterpart to the target. */
struct fault_conn {
    int client_fd;
    int target_fd;
    struct fault fault; /* of the current exchange */
    bool answering;     /* the last bytes came from the target */
    bool hit;
    bool closed;
    size_t request_bytes; /* of the current exchange, as answer_bytes */
    size_t answer_bytes;
    int64_t answer_from_ms; /* 0: the answer has not begun */
    struct wire_reader reader;
};

/*
 * Forward available bytes from one side, as far as the exchange's fault permits; the connection may
 * be closed afterwards. They block while the other side does not read.
 */
void fault_conn_read_client(struct fault_conn *conn, struct fault_switch *faults);
void fault_conn_read_target(struct fault_conn *conn, struct fault_switch *faults);

/* Closes both connections, normally or with a TCP reset. */
void fault_conn_close(struct fault_conn *conn, bool by_reset);

/*
 * Sets what to poll: the client, then the target unless its answer is delayed or suppressed. Lowers
 * *timeout_ms (-1: none) to the end of the delay.
 */
void fault_conn_watch(const struct fault_conn *conn, struct pollfd fds[static 2], int *timeout_ms);

#endif
