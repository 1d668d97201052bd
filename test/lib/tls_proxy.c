/*
 * A TLS terminator: one thread accepts, and one per connection decrypts and forwards both ways. It
 * offers old protocol versions and arbitrary certificates, so that tests can check what the client
 * refuses, and counts resumed sessions.
 */
#include "tls_proxy.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/sync.h"
#include "loopback.h"

enum { MAX_CONNS = 64 };

/* One accepted connection and its thread. */
struct conn {
    struct tls_proxy *proxy;
    pthread_t thread;
    int client_fd;
};

struct tls_proxy {
    SSL_CTX *context;
    int listen_fd;
    int stop_pipe[2]; /* closing the write end ends every thread's poll() */
    unsigned port;
    unsigned target_port;
    pthread_t thread;
    atomic_uint handshakes;
    atomic_uint resumptions;
    struct conn conns[MAX_CONNS];
    unsigned conn_count; /* written by the accepting thread, read after joining it */
};

/* Moves bytes both ways until one side ends or the proxy stops. */
static void relay(const struct conn *conn, SSL *tls, int target_fd)
{
    char bytes[16384];
    struct pollfd fds[] = {{.fd = conn->client_fd, .events = POLLIN},
        {.fd = target_fd, .events = POLLIN}, {.fd = conn->proxy->stop_pipe[0], .events = POLLIN}};
    for (;;) {
        if (SSL_pending(tls) == 0 && poll(fds, 3, -1) < 0)
            return;
        if (fds[2].revents != 0)
            return;
        if (SSL_pending(tls) > 0 || fds[0].revents != 0) {
            int length = SSL_read(tls, bytes, sizeof bytes);
            if (length <= 0 || write(target_fd, bytes, (size_t)length) != length)
                return;
        }
        if (fds[1].revents != 0) {
            ssize_t length = read(target_fd, bytes, sizeof bytes);
            if (length <= 0 || SSL_write(tls, bytes, (int)length) != length)
                return;
        }
        fds[0].revents = fds[1].revents = 0;
    }
}

static void *serve_conn(void *argument)
{
    struct conn *conn = argument;
    SSL *tls = SSL_new(conn->proxy->context);
    int target_fd = -1;
    SSL_set_fd(tls, conn->client_fd);
    if (SSL_accept(tls) == 1) {
        atomic_fetch_add(&conn->proxy->handshakes, 1);
        atomic_fetch_add(&conn->proxy->resumptions, (unsigned)SSL_session_reused(tls));
        target_fd = loopback_connect(conn->proxy->target_port);
    }
    if (target_fd >= 0) {
        relay(conn, tls, target_fd);
        close(target_fd);
    }
    SSL_shutdown(tls);
    SSL_free(tls);
    close(conn->client_fd);
    return NULL;
}

static void *accept_conns(void *argument)
{
    struct tls_proxy *proxy = argument;
    struct pollfd fds[] = {
        {.fd = proxy->listen_fd, .events = POLLIN}, {.fd = proxy->stop_pipe[0], .events = POLLIN}};
    while (proxy->conn_count < MAX_CONNS && poll(fds, 2, -1) > 0 && fds[1].revents == 0) {
        struct conn *conn = &proxy->conns[proxy->conn_count];
        conn->proxy = proxy;
        conn->client_fd = accept4(proxy->listen_fd, NULL, NULL, SOCK_CLOEXEC);
        if (conn->client_fd >= 0 &&
            thread_start(&conn->thread, "tls-link", serve_conn, conn, NULL) == 0)
            proxy->conn_count++;
    }
    return NULL;
}

struct tls_proxy *tls_proxy_start(
    const struct certificate *leaf, int max_version, unsigned target_port)
{
    struct tls_proxy *proxy = calloc(1, sizeof *proxy);
    assert_non_null(proxy);
    proxy->target_port = target_port;
    proxy->context = SSL_CTX_new(TLS_server_method());
    assert_non_null(proxy->context);
    /* OpenSSL offers old versions at the lowest security level only. */
    SSL_CTX_set_cipher_list(proxy->context, "ALL:@SECLEVEL=0");
    SSL_CTX_set_min_proto_version(proxy->context, TLS1_VERSION);
    SSL_CTX_set_max_proto_version(proxy->context, max_version);
    assert_int_equal(SSL_CTX_use_certificate(proxy->context, leaf->x509), 1);
    assert_int_equal(SSL_CTX_use_PrivateKey(proxy->context, leaf->key), 1);
    assert_int_equal(pipe(proxy->stop_pipe), 0);
    proxy->listen_fd = loopback_listen(MAX_CONNS, &proxy->port);
    assert_int_equal(thread_start(&proxy->thread, "tls-accept", accept_conns, proxy, NULL), 0);
    return proxy;
}

unsigned tls_proxy_port(const struct tls_proxy *proxy)
{
    return proxy->port;
}

unsigned tls_proxy_handshakes(const struct tls_proxy *proxy)
{
    return atomic_load(&proxy->handshakes);
}

unsigned tls_proxy_resumptions(const struct tls_proxy *proxy)
{
    return atomic_load(&proxy->resumptions);
}

void tls_proxy_stop(struct tls_proxy *proxy)
{
    close(proxy->stop_pipe[1]);
    thread_join(proxy->thread);
    for (unsigned i = 0; i < proxy->conn_count; i++)
        thread_join(proxy->conns[i].thread);
    close(proxy->stop_pipe[0]);
    close(proxy->listen_fd);
    SSL_CTX_free(proxy->context);
    free(proxy);
}
