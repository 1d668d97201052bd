/*
 * One proxied connection. Exchanges are told apart by direction: a client's bytes after a target's
 * begin a new one, whose fault is taken when its first request bytes match. Everything runs in the
 * proxy's thread; only the fault switch is shared, under its lock.
 */
#include "fault_conn.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/sync.h"

enum { PIECE_BYTES = 16384 };

static void set_reset_on_close(int fd)
{
    static const struct linger at_once = {.l_onoff = 1, .l_linger = 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
}

void fault_conn_close(struct fault_conn *conn, bool by_reset)
{
    if (by_reset) {
        set_reset_on_close(conn->client_fd);
        set_reset_on_close(conn->target_fd);
    }
    close(conn->client_fd);
    close(conn->target_fd);
    conn->closed = true;
}

static void count_hit(struct fault_switch *faults, struct fault_conn *conn)
{
    if (conn->hit)
        return;
    conn->hit = true;
    mutex_lock(&faults->lock);
    faults->hits[conn->fault.kind]++;
    cond_broadcast(&faults->changed);
    mutex_unlock(&faults->lock);
}

/* Assigns the current fault to the exchange if the request matches it. */
static void take_fault(
    struct fault_switch *faults, struct fault_conn *conn, const char *bytes, size_t length)
{
    mutex_lock(&faults->lock);
    struct fault *fault = &faults->fault;
    if (fault->kind != FAULT_NONE && (fault->match == NULL || memmem(bytes, length, fault->match,
                                                                  strlen(fault->match)) != NULL)) {
        conn->fault = *fault;
        if (fault->times > 0 && --fault->times == 0)
            fault->kind = FAULT_NONE;
    }
    mutex_unlock(&faults->lock);
}

static void begin_exchange(struct fault_conn *conn)
{
    conn->fault = (struct fault){0};
    conn->answering = conn->hit = false;
    conn->request_bytes = conn->answer_bytes = 0;
    conn->answer_from_ms = 0;
}

static bool forward(int fd, const char *bytes, size_t length)
{
    while (length > 0) {
        ssize_t sent = send(fd, bytes, length, MSG_NOSIGNAL);
        if (sent <= 0)
            return false;
        bytes += sent;
        length -= (size_t)sent;
    }
    return true;
}

static void log_request(
    struct fault_switch *faults, struct fault_conn *conn, const char *bytes, size_t length)
{
    mutex_lock(&faults->lock);
    wire_reader_request(&conn->reader, &faults->log, bytes, length);
    mutex_unlock(&faults->lock);
}

/* Forwards a part of an answer to the client, logged before it can act on it. */
static bool forward_to_client(
    struct fault_switch *faults, struct fault_conn *conn, const char *bytes, size_t length)
{
    mutex_lock(&faults->lock);
    wire_reader_answer(&conn->reader, &faults->log, bytes, length);
    mutex_unlock(&faults->lock);
    return forward(conn->client_fd, bytes, length);
}

static size_t bytes_until(size_t limit_bytes, size_t passed_bytes)
{
    return limit_bytes > passed_bytes ? limit_bytes - passed_bytes : 0;
}

static void forward_request(
    struct fault_switch *faults, struct fault_conn *conn, const char *bytes, size_t length)
{
    size_t rest = bytes_until(conn->fault.after_bytes, conn->request_bytes);
    conn->request_bytes += length;
    switch (conn->fault.kind) {
    case FAULT_RESET_REQUEST:
        if (length <= rest)
            break;
        forward(conn->target_fd, bytes, rest);
        count_hit(faults, conn);
        fault_conn_close(conn, true);
        return;
    case FAULT_REFUSE:
    case FAULT_RESET:
        count_hit(faults, conn);
        fault_conn_close(conn, true);
        return;
    case FAULT_HANG:
        count_hit(faults, conn);
        return;
    default:
        break;
    }
    if (!forward(conn->target_fd, bytes, length))
        fault_conn_close(conn, true);
}

void fault_conn_read_client(struct fault_conn *conn, struct fault_switch *faults)
{
    char bytes[PIECE_BYTES];
    ssize_t length = recv(conn->client_fd, bytes, sizeof bytes, 0);
    if (length <= 0) {
        fault_conn_close(conn, length < 0);
        return;
    }
    if (conn->answering)
        begin_exchange(conn);
    log_request(faults, conn, bytes, (size_t)length);
    if (conn->fault.kind == FAULT_NONE)
        take_fault(faults, conn, bytes, (size_t)length);
    forward_request(faults, conn, bytes, (size_t)length);
}

static void corrupt_bytes(
    struct fault_switch *faults, struct fault_conn *conn, char *bytes, size_t length)
{
    for (size_t i = bytes_until(conn->fault.after_bytes, conn->answer_bytes); i < length; i++) {
        bytes[i] = (char)~bytes[i];
        count_hit(faults, conn);
    }
}

static void forward_answer(
    struct fault_switch *faults, struct fault_conn *conn, char *bytes, size_t length)
{
    enum fault_kind kind = conn->fault.kind;
    size_t rest = bytes_until(conn->fault.after_bytes, conn->answer_bytes);
    if ((kind == FAULT_CUT_ANSWER || kind == FAULT_RESET_ANSWER) && length > rest) {
        forward_to_client(faults, conn, bytes, rest);
        count_hit(faults, conn);
        fault_conn_close(conn, kind == FAULT_RESET_ANSWER);
        return;
    }
    if (kind == FAULT_CORRUPT_ANSWER)
        corrupt_bytes(faults, conn, bytes, length);
    conn->answer_bytes += length;
    conn->answering = true;
    if (!forward_to_client(faults, conn, bytes, length))
        fault_conn_close(conn, true);
}

/* Whether the answer, which has begun to arrive, may be forwarded now. */
static bool may_answer(struct fault_switch *faults, struct fault_conn *conn)
{
    if (conn->fault.kind != FAULT_DELAY_ANSWER)
        return true;
    if (conn->answer_from_ms == 0) {
        conn->answer_from_ms = clock_monotonic_ms() + conn->fault.delay_ms;
        count_hit(faults, conn);
    }
    return clock_monotonic_ms() >= conn->answer_from_ms;
}

void fault_conn_read_target(struct fault_conn *conn, struct fault_switch *faults)
{
    char bytes[PIECE_BYTES];
    if (!may_answer(faults, conn))
        return;
    ssize_t length = recv(conn->target_fd, bytes, sizeof bytes, 0);
    if (length <= 0)
        fault_conn_close(conn, length < 0);
    else
        forward_answer(faults, conn, bytes, (size_t)length);
}

void fault_conn_watch(const struct fault_conn *conn, struct pollfd fds[static 2], int *timeout_ms)
{
    bool silent = conn->fault.kind == FAULT_HANG && conn->hit;
    int64_t rest_ms = conn->answer_from_ms - clock_monotonic_ms();
    fds[0] = (struct pollfd){.fd = conn->client_fd, .events = POLLIN};
    fds[1] = (struct pollfd){.fd = silent || rest_ms > 0 ? -1 : conn->target_fd, .events = POLLIN};
    if (rest_ms > 0 && (*timeout_ms < 0 || rest_ms < *timeout_ms))
        *timeout_ms = (int)rest_ms;
}
