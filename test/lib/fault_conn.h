/* One connection through a fault proxy, and what its faults do to it. Used by the proxy only. */
#ifndef TEST_LIB_FAULT_CONN_H
#define TEST_LIB_FAULT_CONN_H

#include <poll.h>
#include <stdbool.h>

#include "base/sync.h"
#include "fault_proxy.h"

/* The fault in force, and the exchanges that each kind has changed. */
struct fault_switch {
    /* Guards the fields below. */
    struct mutex lock;
    struct cond changed;
    struct fault fault;
    unsigned hits[FAULT_KINDS];
};

/* A client's connection and the one to the target that was made for it. */
struct fault_conn {
    int client_fd;
    int target_fd;
    struct fault fault; /* of the exchange under way */
    bool answering;     /* the last bytes came from the target */
    bool hit;
    bool closed;
    size_t request_bytes; /* of the exchange under way, as answer_bytes */
    size_t answer_bytes;
    int64_t answer_from_ms; /* 0: the answer has not begun */
};

/*
 * Reads what has come from one side and passes it on, as far as the fault of the exchange lets it;
 * the line may be closed afterwards. Block while the other side takes nothing.
 */
void fault_conn_read_client(struct fault_conn *line, struct fault_switch *faults);
void fault_conn_read_target(struct fault_conn *line, struct fault_switch *faults);

/* Closes both connections, in order or with a reset. */
void fault_conn_close(struct fault_conn *line, bool by_reset);

/*
 * What to poll for: the client first, then the target, which is left out as long as its answer is
 * put off or never to come. Lowers *timeout_ms (-1: none) to when the answer may go on.
 */
void fault_conn_watch(const struct fault_conn *line, struct pollfd fds[static 2], int *timeout_ms);

#endif
