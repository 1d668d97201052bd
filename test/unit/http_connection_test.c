/* The HTTP client's connections: keep-alive probes, how long data may go unacknowledged, what
 * closes one that is kept, and what is said of a server without TLS. */
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

/* How a server that does not speak TLS may take the beginning of a handshake. */
enum manner {
    CLOSES_AT_ONCE,
    CLOSES_UNREAD,
    READS_AND_CLOSES,
    RESETS,
    ANSWERS,
    ALERTS,
    KEEPS_SILENT
};

struct plain_server {
    enum manner manner;
    int listen_fd;
    int connections; /* to serve */
};

static void treat_handshake(enum manner manner, int fd)
{
    static const char page[] = "<!DOCTYPE HTML><html><head><title>Error response</title>";
    static const char alert[] = "\x15\x03\x03\x00\x02\x02\x28"; /* a failed handshake, fatal */
    const struct linger at_once = {.l_onoff = 1};
    char bytes[4096];
    if (manner != CLOSES_AT_ONCE)
        (void)!read(fd, bytes, manner == CLOSES_UNREAD ? 10 : sizeof bytes);
    if (manner == RESETS)
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    if (manner == ANSWERS)
        (void)!write(fd, page, sizeof page - 1);
    if (manner == ALERTS)
        (void)!write(fd, alert, sizeof alert - 1);
    if (manner == KEEPS_SILENT)
        (void)!read(fd, bytes, sizeof bytes);
}

static void *serve_without_tls(void *argument)
{
    const struct plain_server *server = argument;
    for (int i = 0; i < server->connections; i++) {
        int fd = accept4(server->listen_fd, NULL, NULL, SOCK_CLOEXEC);
        treat_handshake(server->manner, fd);
        close(fd);
    }
    return NULL;
}

/* Makes that many requests; the reason of each has to contain one of the words, and the last not.
 */
static void expect_reasons(enum manner manner, int attempts, const char *const words[2], bool named)
{
    static const atomic_bool never = false;
    static const char *const headers[] = {NULL};
    struct plain_server server = {.manner = manner, .connections = attempts};
    struct ca_store *store;
    struct http_client *client;
    struct http_response response;
    pthread_t thread;
    unsigned port;
    char url[64];
    server.listen_fd = loopback_listen(4, &port);
    snprintf(url, sizeof url, "https://127.0.0.1:%u/", port);
    assert_int_equal(ca_store_create(&store, NULL, NULL), 0);
    assert_int_equal(http_client_create(&client, store, &never, NULL), 0);
    assert_int_equal(thread_start(&thread, "plain", serve_without_tls, &server, NULL), 0);
    const struct http_request request = {.url = url,
        .headers = headers,
        .timeout_ms = manner == KEEPS_SILENT ? 200 : 10000,
        .response_limit_bytes = LIMIT_BYTES,
        .ignore_proxy = true};
    for (int i = 0; i < attempts; i++) {
        http_client_perform(client, &request, &response);
        assert_int_equal(response.failure, HTTP_NOT_SENT);
        assert_int_equal(response.step, HTTP_STEP_TLS);
        if (strstr(response.reason, words[0]) == NULL && strstr(response.reason, words[1]) == NULL)
            fail_msg("attempt %d, manner %d: %s", i, (int)manner, response.reason);
        assert_true((strstr(response.reason, "http, ") != NULL) == named);
        assert_null(strstr(response.reason, " )"));
    }
    http_client_destroy(client);
    ca_store_destroy(store);
    thread_join(thread);
    close(server.listen_fd);
}

/* Which of the reasons it is depends on what is faster, but there is never one without http. */
static void test_https_to_a_plain_server_is_named_each_time(void **state)
{
    (void)state;
    enum { ATTEMPTS = 50 };
    static const char *const ended[] = {"the connection ended in the TLS handshake (",
        "the server has a problem, or speaks http, not https"};
    static const char *const plain[] = {"it is probably plain http, or the wrong port",
        "): the server has a problem, or speaks http, not https"};
    static const char *const silent[] = {
        "): the server hangs, or speaks http, not https", "no answer to the TLS handshake ("};
    expect_reasons(CLOSES_AT_ONCE, ATTEMPTS, ended, true);
    expect_reasons(CLOSES_UNREAD, ATTEMPTS, ended, true);
    expect_reasons(READS_AND_CLOSES, ATTEMPTS, ended, true);
    expect_reasons(RESETS, ATTEMPTS, ended, true);
    expect_reasons(ANSWERS, ATTEMPTS, plain, true);
    expect_reasons(KEEPS_SILENT, 3, silent, true);
}

/* A server that sends an alert speaks TLS, so nothing is said of http. */
static void test_refused_handshake_is_not_taken_for_http(void **state)
{
    (void)state;
    static const char *const alert[] = {"alert handshake failure", "handshake_failure"};
    expect_reasons(ALERTS, 50, alert, false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_connections_are_probed_and_given_up_when_silent),
        cmocka_unit_test(test_connection_to_the_backend_is_closed_after_its_error),
        cmocka_unit_test(test_https_to_a_plain_server_is_named_each_time),
        cmocka_unit_test(test_refused_handshake_is_not_taken_for_http),
    };
    assert_int_equal(http_client_library_start(NULL), 0);
    int failures = cmocka_run_group_tests_name("http_connection", tests, NULL, NULL);
    http_client_library_stop();
    return failures;
}
