#include "fault_proxy.h"

#include <arpa/inet.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/sync.h"
#include "process.h"

enum { LINES = 256, PIECE_BYTES = 16384, WAIT_MS = 15000, FIXED_FDS = 2 };

/* A client's connection and the one to the target that was made for it. */
struct line {
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

struct fault_proxy {
    unsigned port;
    unsigned target_port;
    int reserved_fd; /* keeps the port while nobody listens on it */
    int wake_fd;
    pthread_t thread;

    /* The thread's own. */
    int listen_fd; /* -1 while connections are refused */
    struct line lines[LINES];
    size_t line_count;

    /* Guards the fields below. */
    struct mutex lock;
    struct cond changed;
    struct fault fault;
    bool asked; /* for the thread to take notice of the fault, or of the two below */
    bool drop_lines;
    bool stop;
    unsigned hits[FAULT_KINDS];
};

static int bind_to(unsigned port)
{
    static const int yes = 1;
    struct sockaddr_in address = {.sin_family = AF_INET,
        .sin_port = htons((uint16_t)port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &yes, sizeof yes), 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

static unsigned port_of(int fd)
{
    struct sockaddr_in address = {0};
    socklen_t length = sizeof address;
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &length), 0);
    return ntohs(address.sin_port);
}

static int connect_to(unsigned port)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
        .sin_port = htons((uint16_t)port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) == 0)
        return fd;
    if (fd >= 0)
        close(fd);
    return -1;
}

static void reset(int fd)
{
    static const struct linger at_once = {.l_onoff = 1, .l_linger = 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
}

static void close_line(struct line *line, bool by_reset)
{
    if (by_reset) {
        reset(line->client_fd);
        reset(line->target_fd);
    }
    close(line->client_fd);
    close(line->target_fd);
    line->closed = true;
}

static void count_hit(struct fault_proxy *proxy, struct line *line)
{
    if (line->hit)
        return;
    line->hit = true;
    mutex_lock(&proxy->lock);
    proxy->hits[line->fault.kind]++;
    cond_broadcast(&proxy->changed);
    mutex_unlock(&proxy->lock);
}

/* The exchange gets the fault that is in force, if the request is one that it is meant for. */
static void take_fault(
    struct fault_proxy *proxy, struct line *line, const char *bytes, size_t length)
{
    mutex_lock(&proxy->lock);
    struct fault *fault = &proxy->fault;
    if (fault->kind != FAULT_NONE && (fault->match == NULL || memmem(bytes, length, fault->match,
                                                                  strlen(fault->match)) != NULL)) {
        line->fault = *fault;
        if (fault->times > 0 && --fault->times == 0)
            fault->kind = FAULT_NONE;
    }
    mutex_unlock(&proxy->lock);
}

static void begin_exchange(struct line *line)
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
    struct fault_proxy *proxy, struct line *line, const char *bytes, size_t length)
{
    size_t rest = until(line->fault.after_bytes, line->request_bytes);
    line->request_bytes += length;
    switch (line->fault.kind) {
    case FAULT_RESET_REQUEST:
        if (length <= rest)
            break;
        pass_on(line->target_fd, bytes, rest);
        count_hit(proxy, line);
        close_line(line, true);
        return;
    case FAULT_REFUSE:
    case FAULT_RESET:
        count_hit(proxy, line);
        close_line(line, true);
        return;
    case FAULT_HANG:
        count_hit(proxy, line);
        return;
    default:
        break;
    }
    if (!pass_on(line->target_fd, bytes, length))
        close_line(line, true);
}

static void read_client(struct fault_proxy *proxy, struct line *line)
{
    char bytes[PIECE_BYTES];
    ssize_t length = recv(line->client_fd, bytes, sizeof bytes, 0);
    if (length <= 0) {
        close_line(line, length < 0);
        return;
    }
    if (line->answering)
        begin_exchange(line);
    if (line->fault.kind == FAULT_NONE)
        take_fault(proxy, line, bytes, (size_t)length);
    pass_request(proxy, line, bytes, (size_t)length);
}

static void spoil(struct fault_proxy *proxy, struct line *line, char *bytes, size_t length)
{
    for (size_t i = until(line->fault.after_bytes, line->answer_bytes); i < length; i++) {
        bytes[i] = (char)~bytes[i];
        count_hit(proxy, line);
    }
}

static void pass_answer(struct fault_proxy *proxy, struct line *line, char *bytes, size_t length)
{
    enum fault_kind kind = line->fault.kind;
    size_t rest = until(line->fault.after_bytes, line->answer_bytes);
    if ((kind == FAULT_CUT_ANSWER || kind == FAULT_RESET_ANSWER) && length > rest) {
        pass_on(line->client_fd, bytes, rest);
        count_hit(proxy, line);
        close_line(line, kind == FAULT_RESET_ANSWER);
        return;
    }
    if (kind == FAULT_CORRUPT_ANSWER)
        spoil(proxy, line, bytes, length);
    line->answer_bytes += length;
    line->answering = true;
    if (!pass_on(line->client_fd, bytes, length))
        close_line(line, true);
}

/* Whether the answer, of which bytes are there, may come back now. */
static bool may_answer(struct fault_proxy *proxy, struct line *line)
{
    if (line->fault.kind != FAULT_DELAY_ANSWER)
        return true;
    if (line->answer_from_ms == 0) {
        line->answer_from_ms = clock_monotonic_ms() + line->fault.delay_ms;
        count_hit(proxy, line);
    }
    return clock_monotonic_ms() >= line->answer_from_ms;
}

static void read_target(struct fault_proxy *proxy, struct line *line)
{
    char bytes[PIECE_BYTES];
    if (!may_answer(proxy, line))
        return;
    ssize_t length = recv(line->target_fd, bytes, sizeof bytes, 0);
    if (length <= 0)
        close_line(line, length < 0);
    else
        pass_answer(proxy, line, bytes, (size_t)length);
}

static void accept_line(struct fault_proxy *proxy)
{
    int client_fd = accept4(proxy->listen_fd, NULL, NULL, SOCK_CLOEXEC);
    if (client_fd < 0)
        return;
    int target_fd = connect_to(proxy->target_port);
    if (target_fd < 0) {
        reset(client_fd);
        close(client_fd);
        return;
    }
    proxy->lines[proxy->line_count++] =
        (struct line){.client_fd = client_fd, .target_fd = target_fd};
}

static void drop_lines(struct fault_proxy *proxy)
{
    for (size_t i = 0; i < proxy->line_count; i++)
        close_line(&proxy->lines[i], true);
    proxy->line_count = 0;
}

static void forget_closed(struct fault_proxy *proxy)
{
    for (size_t i = 0; i < proxy->line_count;)
        if (proxy->lines[i].closed)
            proxy->lines[i] = proxy->lines[--proxy->line_count];
        else
            i++;
}

static void set_listening(struct fault_proxy *proxy, bool listening)
{
    if (listening && proxy->listen_fd < 0) {
        proxy->listen_fd = bind_to(proxy->port);
        assert_int_equal(listen(proxy->listen_fd, LINES), 0);
    } else if (!listening && proxy->listen_fd >= 0) {
        close(proxy->listen_fd);
        proxy->listen_fd = -1;
    }
}

/* Does what was asked for since the last look; false at the stop. */
static bool obey(struct fault_proxy *proxy)
{
    mutex_lock(&proxy->lock);
    bool stop = proxy->stop;
    bool drop = proxy->drop_lines || stop;
    bool refuse = proxy->fault.kind == FAULT_REFUSE || stop;
    mutex_unlock(&proxy->lock);
    set_listening(proxy, !refuse);
    if (drop)
        drop_lines(proxy);
    mutex_lock(&proxy->lock);
    proxy->asked = proxy->drop_lines = false;
    cond_broadcast(&proxy->changed);
    mutex_unlock(&proxy->lock);
    return !stop;
}

/* A line whose answer is put off, or never comes, is watched for the end of its client only. */
static void watch_line(const struct line *line, int64_t now_ms, struct pollfd *fds, int *timeout_ms)
{
    bool silent = line->fault.kind == FAULT_HANG && line->hit;
    int64_t rest_ms = line->answer_from_ms - now_ms;
    fds[0] = (struct pollfd){.fd = line->client_fd, .events = POLLIN};
    fds[1] = (struct pollfd){.fd = silent || rest_ms > 0 ? -1 : line->target_fd, .events = POLLIN};
    if (rest_ms > 0 && (*timeout_ms < 0 || rest_ms < *timeout_ms))
        *timeout_ms = (int)rest_ms;
}

static void serve_lines(struct fault_proxy *proxy, const struct pollfd *fds, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct line *line = &proxy->lines[i];
        if (fds[2 * i].revents != 0)
            read_client(proxy, line);
        if (!line->closed && fds[2 * i + 1].revents != 0)
            read_target(proxy, line);
    }
    forget_closed(proxy);
}

static void *run(void *argument)
{
    struct fault_proxy *proxy = argument;
    struct pollfd fds[FIXED_FDS + 2 * LINES];
    while (obey(proxy)) {
        int timeout_ms = -1;
        int64_t now_ms = clock_monotonic_ms();
        size_t count = proxy->line_count;
        fds[0] = (struct pollfd){.fd = proxy->wake_fd, .events = POLLIN};
        fds[1] = (struct pollfd){.fd = count < LINES ? proxy->listen_fd : -1, .events = POLLIN};
        for (size_t i = 0; i < count; i++)
            watch_line(&proxy->lines[i], now_ms, &fds[FIXED_FDS + 2 * i], &timeout_ms);
        poll(fds, FIXED_FDS + 2 * count, timeout_ms);
        eventfd_t unused;
        if (fds[0].revents != 0)
            eventfd_read(proxy->wake_fd, &unused);
        serve_lines(proxy, &fds[FIXED_FDS], count);
        if (fds[1].revents != 0)
            accept_line(proxy);
    }
    return NULL;
}

/* Waits until the thread has acted on what was set under the lock. */
static void ask_locked(struct fault_proxy *proxy)
{
    mutex_assert_held(&proxy->lock);
    proxy->asked = true;
    eventfd_write(proxy->wake_fd, 1);
    while (proxy->asked)
        cond_wait(&proxy->changed, &proxy->lock);
}

struct fault_proxy *fault_proxy_start(unsigned target_port)
{
    struct fault_proxy *proxy = calloc(1, sizeof *proxy);
    assert_non_null(proxy);
    proxy->target_port = target_port;
    proxy->reserved_fd = bind_to(0);
    proxy->port = port_of(proxy->reserved_fd);
    proxy->listen_fd = -1;
    proxy->wake_fd = eventfd(0, EFD_CLOEXEC);
    assert_true(proxy->wake_fd >= 0);
    mutex_init(&proxy->lock);
    cond_init(&proxy->changed);
    /* Not left to the thread: who is told the port may connect at once. */
    set_listening(proxy, true);
    assert_int_equal(thread_start(&proxy->thread, "fault-proxy", run, proxy, NULL), 0);
    return proxy;
}

void fault_proxy_stop(struct fault_proxy *proxy)
{
    mutex_lock(&proxy->lock);
    proxy->stop = true;
    ask_locked(proxy);
    mutex_unlock(&proxy->lock);
    thread_join(proxy->thread);
    close(proxy->reserved_fd);
    close(proxy->wake_fd);
    cond_fini(&proxy->changed);
    mutex_fini(&proxy->lock);
    free(proxy);
}

unsigned fault_proxy_port(const struct fault_proxy *proxy)
{
    return proxy->port;
}

void fault_proxy_set(struct fault_proxy *proxy, const struct fault *fault)
{
    mutex_lock(&proxy->lock);
    proxy->fault = *fault;
    ask_locked(proxy);
    mutex_unlock(&proxy->lock);
}

void fault_proxy_drop_lines(struct fault_proxy *proxy)
{
    mutex_lock(&proxy->lock);
    proxy->drop_lines = true;
    ask_locked(proxy);
    mutex_unlock(&proxy->lock);
}

unsigned fault_proxy_hits(struct fault_proxy *proxy, enum fault_kind kind)
{
    mutex_lock(&proxy->lock);
    unsigned hits = proxy->hits[kind];
    mutex_unlock(&proxy->lock);
    return hits;
}

void fault_proxy_wait_hits(struct fault_proxy *proxy, enum fault_kind kind, unsigned hits)
{
    int64_t deadline_ms = clock_monotonic_ms() + (int64_t)WAIT_MS * process_patience();
    bool waiting = true;
    mutex_lock(&proxy->lock);
    while (proxy->hits[kind] < hits && waiting)
        waiting = cond_wait_until(&proxy->changed, &proxy->lock, deadline_ms);
    unsigned found = proxy->hits[kind];
    mutex_unlock(&proxy->lock);
    if (found < hits)
        fail_msg("the fault was hit %u times instead of %u", found, hits);
}
