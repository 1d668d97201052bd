/* The HTTP client's connections: keep-alive probes, how long data may go unacknowledged, and what
 * closes one that is kept. */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "../lib/loopback.h"
#include "../lib/stub_server.h"
#include "backend/service.h"
#include "base/sync.h"
#include "http/client.h"

enum { LIMIT_BYTES = 4096, USER_TIMEOUT_MS = 7000, MAX_FDS = 256 };

static const char answer_bytes[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

static void fetch(struct http_client *client, unsigned port, struct http_response *response)
{
    static const char *const headers[] = {NULL};
    char url[64];
    snprintf(url, sizeof url, "http://127.0.0.1:%u/", port);
    const struct http_request request = {.url = url,
        .headers = headers,
        .timeout_ms = 10000,
        .response_limit_bytes = LIMIT_BYTES,
        .single_use_connection = true,
        .user_timeout_ms = USER_TIMEOUT_MS,
        .ignore_proxy = true};
    http_client_perform(client, &request, response);
}

static struct http_client *create_client(void)
{
    static const atomic_bool never = false;
    struct http_client *client;
    assert_int_equal(http_client_create(&client, NULL, &never, NULL), 0);
    return client;
}

/* The descriptor of this process that is connected to the port, or -1. */
static int find_connection_to(unsigned port)
{
    for (int fd = 0; fd < MAX_FDS; fd++) {
        struct sockaddr_in peer = {0};
        socklen_t length = sizeof peer;
        if (getpeername(fd, (struct sockaddr *)&peer, &length) == 0 && peer.sin_family == AF_INET &&
            ntohs(peer.sin_port) == port)
            return fd;
    }
    return -1;
}

static int socket_option(int fd, int level, int name)
{
    int value = -1;
    socklen_t length = sizeof value;
    assert_int_equal(getsockopt(fd, level, name, &value, &length), 0);
    return value;
}

struct socket_options {
    unsigned port;
    int keep_alive;
    int idle_s;
    int gap_s;
    int user_timeout_ms;
};

/* Looks at the client's end while its request is in flight. */
static const char *note_options(void *context, const char *request)
{
    (void)request;
    struct socket_options *options = context;
    int fd = find_connection_to(options->port);
    assert_true(fd >= 0);
    options->keep_alive = socket_option(fd, SOL_SOCKET, SO_KEEPALIVE);
    options->idle_s = socket_option(fd, IPPROTO_TCP, TCP_KEEPIDLE);
    options->gap_s = socket_option(fd, IPPROTO_TCP, TCP_KEEPINTVL);
    options->user_timeout_ms = socket_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT);
    return answer_bytes;
}

static void test_connections_are_probed_and_given_up_when_silent(void **state)
{
    (void)state;
    struct http_response response;
    struct socket_options options = {0};
    struct stub_server *server = stub_server_start_with(note_options, &options);
    struct http_client *client = create_client();
    options.port = stub_server_port(server);
    fetch(client, options.port, &response);
    assert_int_equal(response.failure, HTTP_ANSWERED);
    assert_int_equal(options.keep_alive, 1);
    assert_int_equal(options.idle_s, 30);
    assert_in_range(options.gap_s, 1, 30);
    assert_int_equal(options.user_timeout_ms, USER_TIMEOUT_MS);
    http_client_destroy(client);
    stub_server_stop(server);
}

/*
 * A backend's edge that keeps connections open: the first answers one call, and from then on gives
 * the error of a misdirected request, while later ones work. Ends after the second.
 */
static void *serve_sticky(void *argument)
{
    static const char good[] = "HTTP/1.1 200 OK\r\nContent-Length: 45\r\n\r\n"
                               "{\"status\":\"success\",\"value\":{\"success\":true}}";
    static const char bad[] = "HTTP/1.1 421 Misdirected Request\r\nContent-Length: 2\r\n\r\n{}";
    const int *listen_fd = argument;
    char request[4096];
    for (unsigned connection = 0; connection < 2; connection++) {
        int fd = accept4(*listen_fd, NULL, NULL, SOCK_CLOEXEC);
        const char *answer = good;
        while (read(fd, request, sizeof request) > 0) {
            (void)!write(fd, answer, strlen(answer));
            answer = connection == 0 ? bad : good;
        }
        close(fd);
    }
    return NULL;
}

static void test_connection_to_the_backend_is_closed_after_its_error(void **state)
{
    (void)state;
    unsigned port;
    pthread_t thread;
    char url[64];
    struct convex *convex;
    struct error error;
    int listen_fd = loopback_listen(2, &port);
    snprintf(url, sizeof url, "http://127.0.0.1:%u", port);
    struct http_client *client = create_client();
    assert_int_equal(convex_create(&convex, url, "account", "token", &error), 0);
    assert_int_equal(thread_start(&thread, "edge", serve_sticky, &listen_fd, NULL), 0);
    const struct service service = {.convex = convex, .client = client};
    assert_int_equal(service_mark_delivered(&service, "n1", &error), CONVEX_SUCCESS);
    assert_false(convex_is_failing(convex));
    assert_int_equal(service_mark_delivered(&service, "n2", &error), CONVEX_UNAVAILABLE);
    assert_true(convex_is_failing(convex));
    assert_int_equal(service_mark_delivered(&service, "n2", &error), CONVEX_SUCCESS);
    assert_false(convex_is_failing(convex));
    http_client_destroy(client);
    thread_join(thread);
    convex_destroy(convex);
    close(listen_fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_connections_are_probed_and_given_up_when_silent),
        cmocka_unit_test(test_connection_to_the_backend_is_closed_after_its_error),
    };
    assert_int_equal(http_client_library_start(NULL), 0);
    int failures = cmocka_run_group_tests_name("http_connection", tests, NULL, NULL);
    http_client_library_stop();
    return failures;
}
