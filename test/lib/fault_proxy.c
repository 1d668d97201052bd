#include "fault_proxy.h"

#include <arpa/inet.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/sync.h"
#include "fault_conn.h"
#include "loopback.h"
#include "process.h"

enum { LINES = 256, WAIT_MS = 15000, FIXED_FDS = 2 };

struct fault_proxy {
    unsigned port;
    unsigned target_port;
    int reserved_fd; /* keeps the port while nobody listens on it */
    int wake_fd;
    pthread_t thread;

    /* The thread's own. */
    int listen_fd; /* -1 while connections are refused */
    struct fault_conn lines[LINES];
    size_t line_count;

    struct fault_switch faults;

    /* Guarded by the lock of faults. */
    bool asked; /* for the thread to take notice of the fault, or of the two below */
    bool drop_lines;
    bool stop;
};

static int bind_to(unsigned port)
{
    static const int yes = 1;
    struct sockaddr_in address = loopback_address(port);
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

static void accept_line(struct fault_proxy *proxy)
{
    int client_fd = accept4(proxy->listen_fd, NULL, NULL, SOCK_CLOEXEC);
    if (client_fd < 0)
        return;
    int target_fd = loopback_connect(proxy->target_port);
    if (target_fd < 0) {
        close(client_fd);
        return;
    }
    proxy->lines[proxy->line_count++] =
        (struct fault_conn){.client_fd = client_fd, .target_fd = target_fd};
}

static void drop_lines(struct fault_proxy *proxy)
{
    for (size_t i = 0; i < proxy->line_count; i++)
        fault_conn_close(&proxy->lines[i], true);
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
    mutex_lock(&proxy->faults.lock);
    bool stop = proxy->stop;
    bool drop = proxy->drop_lines || stop;
    bool refuse = proxy->faults.fault.kind == FAULT_REFUSE || stop;
    mutex_unlock(&proxy->faults.lock);
    set_listening(proxy, !refuse);
    if (drop)
        drop_lines(proxy);
    mutex_lock(&proxy->faults.lock);
    proxy->asked = proxy->drop_lines = false;
    cond_broadcast(&proxy->faults.changed);
    mutex_unlock(&proxy->faults.lock);
    return !stop;
}

static void serve_lines(struct fault_proxy *proxy, const struct pollfd *fds, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct fault_conn *line = &proxy->lines[i];
        if (fds[2 * i].revents != 0)
            fault_conn_read_client(line, &proxy->faults);
        if (!line->closed && fds[2 * i + 1].revents != 0)
            fault_conn_read_target(line, &proxy->faults);
    }
    forget_closed(proxy);
}

static void *run(void *argument)
{
    struct fault_proxy *proxy = argument;
    struct pollfd fds[FIXED_FDS + 2 * LINES];
    while (obey(proxy)) {
        int timeout_ms = -1;
        size_t count = proxy->line_count;
        fds[0] = (struct pollfd){.fd = proxy->wake_fd, .events = POLLIN};
        fds[1] = (struct pollfd){.fd = count < LINES ? proxy->listen_fd : -1, .events = POLLIN};
        for (size_t i = 0; i < count; i++)
            fault_conn_watch(&proxy->lines[i], &fds[FIXED_FDS + 2 * i], &timeout_ms);
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
    mutex_assert_held(&proxy->faults.lock);
    proxy->asked = true;
    eventfd_write(proxy->wake_fd, 1);
    while (proxy->asked)
        cond_wait(&proxy->faults.changed, &proxy->faults.lock);
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
    mutex_init(&proxy->faults.lock);
    cond_init(&proxy->faults.changed);
    /* Not left to the thread: who is told the port may connect at once. */
    set_listening(proxy, true);
    assert_int_equal(thread_start(&proxy->thread, "fault-proxy", run, proxy, NULL), 0);
    return proxy;
}

void fault_proxy_stop(struct fault_proxy *proxy)
{
    mutex_lock(&proxy->faults.lock);
    proxy->stop = true;
    ask_locked(proxy);
    mutex_unlock(&proxy->faults.lock);
    thread_join(proxy->thread);
    close(proxy->reserved_fd);
    close(proxy->wake_fd);
    cond_fini(&proxy->faults.changed);
    mutex_fini(&proxy->faults.lock);
    free(proxy);
}

unsigned fault_proxy_port(const struct fault_proxy *proxy)
{
    return proxy->port;
}

void fault_proxy_set(struct fault_proxy *proxy, const struct fault *fault)
{
    mutex_lock(&proxy->faults.lock);
    proxy->faults.fault = *fault;
    ask_locked(proxy);
    mutex_unlock(&proxy->faults.lock);
}

void fault_proxy_drop_connections(struct fault_proxy *proxy)
{
    mutex_lock(&proxy->faults.lock);
    proxy->drop_lines = true;
    ask_locked(proxy);
    mutex_unlock(&proxy->faults.lock);
}

unsigned fault_proxy_hits(struct fault_proxy *proxy, enum fault_kind kind)
{
    mutex_lock(&proxy->faults.lock);
    unsigned hits = proxy->faults.hits[kind];
    mutex_unlock(&proxy->faults.lock);
    return hits;
}

void fault_proxy_wait_hits(struct fault_proxy *proxy, enum fault_kind kind, unsigned hits)
{
    int64_t deadline_ms = clock_monotonic_ms() + (int64_t)WAIT_MS * process_timeout_scale();
    bool waiting = true;
    mutex_lock(&proxy->faults.lock);
    while (proxy->faults.hits[kind] < hits && waiting)
        waiting = cond_wait_until(&proxy->faults.changed, &proxy->faults.lock, deadline_ms);
    unsigned found = proxy->faults.hits[kind];
    mutex_unlock(&proxy->faults.lock);
    if (found < hits)
        fail_msg("the fault was hit %u times instead of %u", found, hits);
}
