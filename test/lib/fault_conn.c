#include "fault_conn.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/sync.h"

enum { PIECE_BYTES = 16384 };

static void reset(int fd)
{
    static const struct linger at_once = {.l_onoff = 1, .l_linger = 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
}

void fault_conn_close(struct fault_conn *line, bool by_reset)
{
    if (by_reset) {
        reset(line->client_fd);
        reset(line->target_fd);
    }
    close(line->client_fd);
    close(line->target_fd);
    line->closed = true;
}

static void count_hit(struct fault_switch *faults, struct fault_conn *line)
{
    if (line->hit)
        return;
    line->hit = true;
    mutex_lock(&faults->lock);
    faults->hits[line->fault.kind]++;
    cond_broadcast(&faults->changed);
    mutex_unlock(&faults->lock);
}

/* The exchange gets the fault that is in force, if the request is one that it is meant for. */
static void take_fault(
    struct fault_switch *faults, struct fault_conn *line, const char *bytes, size_t length)
{
    mutex_lock(&faults->lock);
    struct fault *fault = &faults->fault;
    if (fault->kind != FAULT_NONE && (fault->match == NULL || memmem(bytes, length, fault->match,
                                                                  strlen(fault->match)) != NULL)) {
        line->fault = *fault;
        if (fault->times > 0 && --fault->times == 0)
            fault->kind = FAULT_NONE;
    }
    mutex_unlock(&faults->lock);
}

static void begin_exchange(struct fault_conn *line)
{
    line->fault = (struct fault){0};
    line->answering = line->hit = false;
    line->request_bytes = line->answer_bytes = 0;
    line->answer_from_ms = 0;
}

static bool pass_on(int fd, const char *bytes, size_t length)
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

static size_t until(size_t limit_bytes, size_t passed_bytes)
{
    return limit_bytes > passed_bytes ? limit_bytes - passed_bytes : 0;
}

static void pass_request(
    struct fault_switch *faults, struct fault_conn *line, const char *bytes, size_t length)
{
    size_t rest = until(line->fault.after_bytes, line->request_bytes);
    line->request_bytes += length;
    switch (line->fault.kind) {
    case FAULT_RESET_REQUEST:
        if (length <= rest)
            break;
        pass_on(line->target_fd, bytes, rest);
        count_hit(faults, line);
        fault_conn_close(line, true);
        return;
    case FAULT_REFUSE:
    case FAULT_RESET:
        count_hit(faults, line);
        fault_conn_close(line, true);
        return;
    case FAULT_HANG:
        count_hit(faults, line);
        return;
    default:
        break;
    }
    if (!pass_on(line->target_fd, bytes, length))
        fault_conn_close(line, true);
}

void fault_conn_read_client(struct fault_conn *line, struct fault_switch *faults)
{
    char bytes[PIECE_BYTES];
    ssize_t length = recv(line->client_fd, bytes, sizeof bytes, 0);
    if (length <= 0) {
        fault_conn_close(line, length < 0);
        return;
    }
    if (line->answering)
        begin_exchange(line);
    if (line->fault.kind == FAULT_NONE)
        take_fault(faults, line, bytes, (size_t)length);
    pass_request(faults, line, bytes, (size_t)length);
}

static void spoil(struct fault_switch *faults, struct fault_conn *line, char *bytes, size_t length)
{
    for (size_t i = until(line->fault.after_bytes, line->answer_bytes); i < length; i++) {
        bytes[i] = (char)~bytes[i];
        count_hit(faults, line);
    }
}

static void pass_answer(
    struct fault_switch *faults, struct fault_conn *line, char *bytes, size_t length)
{
    enum fault_kind kind = line->fault.kind;
    size_t rest = until(line->fault.after_bytes, line->answer_bytes);
    if ((kind == FAULT_CUT_ANSWER || kind == FAULT_RESET_ANSWER) && length > rest) {
        pass_on(line->client_fd, bytes, rest);
        count_hit(faults, line);
        fault_conn_close(line, kind == FAULT_RESET_ANSWER);
        return;
    }
    if (kind == FAULT_CORRUPT_ANSWER)
        spoil(faults, line, bytes, length);
    line->answer_bytes += length;
    line->answering = true;
    if (!pass_on(line->client_fd, bytes, length))
        fault_conn_close(line, true);
}

/* Whether the answer, of which bytes are there, may come back now. */
static bool may_answer(struct fault_switch *faults, struct fault_conn *line)
{
    if (line->fault.kind != FAULT_DELAY_ANSWER)
        return true;
    if (line->answer_from_ms == 0) {
        line->answer_from_ms = clock_monotonic_ms() + line->fault.delay_ms;
        count_hit(faults, line);
    }
    return clock_monotonic_ms() >= line->answer_from_ms;
}

void fault_conn_read_target(struct fault_conn *line, struct fault_switch *faults)
{
    char bytes[PIECE_BYTES];
    if (!may_answer(faults, line))
        return;
    ssize_t length = recv(line->target_fd, bytes, sizeof bytes, 0);
    if (length <= 0)
        fault_conn_close(line, length < 0);
    else
        pass_answer(faults, line, bytes, (size_t)length);
}

void fault_conn_watch(const struct fault_conn *line, struct pollfd fds[static 2], int *timeout_ms)
{
    bool silent = line->fault.kind == FAULT_HANG && line->hit;
    int64_t rest_ms = line->answer_from_ms - clock_monotonic_ms();
    fds[0] = (struct pollfd){.fd = line->client_fd, .events = POLLIN};
    fds[1] = (struct pollfd){.fd = silent || rest_ms > 0 ? -1 : line->target_fd, .events = POLLIN};
    if (rest_ms > 0 && (*timeout_ms < 0 || rest_ms < *timeout_ms))
        *timeout_ms = (int)rest_ms;
}
