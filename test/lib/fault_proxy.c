/*
 * A TCP proxy in one thread. Callers change the fault switch under its lock and then wait until
 * the thread has acted on it (request_and_wait_locked), so that a fault is in force when
 * fault_proxy_set returns.
 *
 * FAULT_REFUSE closes the listening socket. A second socket, bound with SO_REUSEPORT but not
 * listening, keeps the port reserved meanwhile.
 */
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

enum { MAX_CONNS = 256, WAIT_MS = 15000, FIXED_FDS = 2 };

struct fault_proxy {
    unsigned port;
    unsigned target_port;
    int reserved_fd; /* keeps the port while listen_fd is closed */
    int wake_fd;
    pthread_t thread;

    /* The thread's own. */
    int listen_fd; /* -1 while connections are refused */
    struct fault_conn conns[MAX_CONNS];
    size_t conn_count;

    struct fault_switch faults;

    /* Guarded by the lock of faults. */
    bool requested; /* the thread has yet to act on the fault or on the two below */
    bool drop_conns;
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

static void accept_conn(struct fault_proxy *proxy)
{
    int client_fd = accept4(proxy->listen_fd, NULL, NULL, SOCK_CLOEXEC);
    if (client_fd < 0)
        return;
    int target_fd = loopback_connect(proxy->target_port);
    if (target_fd < 0) {
        close(client_fd);
        return;
    }
    proxy->conns[proxy->conn_count++] =
        (struct fault_conn){.client_fd = client_fd, .target_fd = target_fd};
}

static void drop_conns(struct fault_proxy *proxy)
{
    for (size_t i = 0; i < proxy->conn_count; i++)
        fault_conn_close(&proxy->conns[i], true);
    proxy->conn_count = 0;
}

static void remove_closed(struct fault_proxy *proxy)
{
    for (size_t i = 0; i < proxy->conn_count;)
        if (proxy->conns[i].closed)
            proxy->conns[i] = proxy->conns[--proxy->conn_count];
        else
            i++;
}

static void set_listening(struct fault_proxy *proxy, bool listening)
{
    if (listening && proxy->listen_fd < 0) {
        proxy->listen_fd = bind_to(proxy->port);
        assert_int_equal(listen(proxy->listen_fd, MAX_CONNS), 0);
    } else if (!listening && proxy->listen_fd >= 0) {
        close(proxy->listen_fd);
        proxy->listen_fd = -1;
    }
}

/* Acts on the requests since the last call; returns false when the thread must end. */
static bool act_on_requests(struct fault_proxy *proxy)
{
    mutex_lock(&proxy->faults.lock);
    bool stop = proxy->stop;
    bool drop = proxy->drop_conns || stop;
    bool refuse = proxy->faults.fault.kind == FAULT_REFUSE || stop;
    mutex_unlock(&proxy->faults.lock);
    set_listening(proxy, !refuse);
    if (drop)
        drop_conns(proxy);
    mutex_lock(&proxy->faults.lock);
    proxy->requested = proxy->drop_conns = false;
    cond_broadcast(&proxy->faults.changed);
    mutex_unlock(&proxy->faults.lock);
    return !stop;
}

static void serve_conns(struct fault_proxy *proxy, const struct pollfd *fds, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct fault_conn *conn = &proxy->conns[i];
        if (fds[2 * i].revents != 0)
            fault_conn_read_client(conn, &proxy->faults);
        if (!conn->closed && fds[2 * i + 1].revents != 0)
            fault_conn_read_target(conn, &proxy->faults);
    }
    remove_closed(proxy);
}

static void *run_proxy(void *argument)
{
    struct fault_proxy *proxy = argument;
    struct pollfd fds[FIXED_FDS + 2 * MAX_CONNS];
    while (act_on_requests(proxy)) {
        int timeout_ms = -1;
        size_t count = proxy->conn_count;
        fds[0] = (struct pollfd){.fd = proxy->wake_fd, .events = POLLIN};
        fds[1] = (struct pollfd){.fd = count < MAX_CONNS ? proxy->listen_fd : -1, .events = POLLIN};
        for (size_t i = 0; i < count; i++)
            fault_conn_watch(&proxy->conns[i], &fds[FIXED_FDS + 2 * i], &timeout_ms);
        poll(fds, FIXED_FDS + 2 * count, timeout_ms);
        eventfd_t unused;
        if (fds[0].revents != 0)
            eventfd_read(proxy->wake_fd, &unused);
        serve_conns(proxy, &fds[FIXED_FDS], count);
        if (fds[1].revents != 0)
            accept_conn(proxy);
    }
    return NULL;
}

/* Waits until the thread has acted on what was set under the lock. */
static void request_and_wait_locked(struct fault_proxy *proxy)
{
    mutex_assert_held(&proxy->faults.lock);
    proxy->requested = true;
    eventfd_write(proxy->wake_fd, 1);
    while (proxy->requested)
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
    /* Not left to the thread: the caller may connect as soon as it knows the port. */
    set_listening(proxy, true);
    assert_int_equal(thread_start(&proxy->thread, "fault-proxy", run_proxy, proxy, NULL), 0);
    return proxy;
}

void fault_proxy_stop(struct fault_proxy *proxy)
{
    mutex_lock(&proxy->faults.lock);
    proxy->stop = true;
    request_and_wait_locked(proxy);
    mutex_unlock(&proxy->faults.lock);
    thread_join(proxy->thread);
    close(proxy->reserved_fd);
    close(proxy->wake_fd);
    wire_log_fini(&proxy->faults.log);
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
    request_and_wait_locked(proxy);
    mutex_unlock(&proxy->faults.lock);
}

void fault_proxy_drop_connections(struct fault_proxy *proxy)
{
    mutex_lock(&proxy->faults.lock);
    proxy->drop_conns = true;
    request_and_wait_locked(proxy);
    mutex_unlock(&proxy->faults.lock);
}

unsigned fault_proxy_hits(struct fault_proxy *proxy, enum fault_kind kind)
{
    mutex_lock(&proxy->faults.lock);
    unsigned hits = proxy->faults.hits[kind];
    mutex_unlock(&proxy->faults.lock);
    return hits;
}

json_t *fault_proxy_describe_log(struct fault_proxy *proxy, enum wire_kind kind)
{
    mutex_lock(&proxy->faults.lock);
    json_t *list = wire_log_describe(&proxy->faults.log, kind);
    mutex_unlock(&proxy->faults.lock);
    return list;
}

/* Connections that their client has closed may not have been noticed yet, hence the drop. */
void fault_proxy_forget_log(struct fault_proxy *proxy)
{
    fault_proxy_drop_connections(proxy);
    mutex_lock(&proxy->faults.lock);
    wire_log_fini(&proxy->faults.log);
    mutex_unlock(&proxy->faults.lock);
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
        fail_msg("the fault was hit %u times, expected %u", found, hits);
}
