/*
 * A real http_server with three routes, and clients over plain sockets, so that tests control
 * every byte of a request and see every byte of a response.
 */
#include "http_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/sync.h"
#include "loopback.h"

static void route_echo(
    void *context, const struct http_server_request *request, struct http_server_reply *reply)
{
    text_printf(&reply->body, "%s|%s|%s", (const char *)context, request->path, request->accept);
}

static void route_page(
    void *context, const struct http_server_request *request, struct http_server_reply *reply)
{
    (void)context, (void)request;
    reply->status = 503;
    reply->content_type = "text/html; charset=utf-8";
    reply->content_policy = "default-src 'self'";
    text_append(&reply->body, "<p>");
}

static void route_out_of_memory(
    void *context, const struct http_server_request *request, struct http_server_reply *reply)
{
    (void)context, (void)request;
    text_append(&reply->body, "half");
    reply->body.failed = true;
}

static char echo_context[] = "context";

const struct http_server_route http_fixture_routes[] = {
    {"/echo", route_echo, echo_context},
    {"/page", route_page, NULL},
    {"/memory", route_out_of_memory, NULL},
    {NULL, NULL, NULL},
};

int http_fixture_setup(void **state)
{
    struct error error;
    struct http_server *server = NULL;
    if (http_server_create(&server, "127.0.0.1", 0, http_fixture_routes, NULL, NULL, &error) != 0)
        fail_msg("%s", error.text);
    *state = server;
    return 0;
}

int http_fixture_teardown(void **state)
{
    http_server_destroy(*state);
    return 0;
}

int http_fixture_connect(const struct http_server *server)
{
    int fd = loopback_connect(http_server_port(server));
    assert_true(fd >= 0);
    return fd;
}

void http_fixture_send(int fd, const char *bytes)
{
    size_t length = strlen(bytes);
    while (length > 0) {
        ssize_t sent = send(fd, bytes, length, MSG_NOSIGNAL);
        if (sent <= 0)
            return;
        bytes += sent;
        length -= (size_t)sent;
    }
}

void http_fixture_receive(int fd, char answer[static HTTP_FIXTURE_RESPONSE_BYTES])
{
    size_t length = 0;
    int64_t deadline_ms = clock_monotonic_ms() + HTTP_FIXTURE_TIMEOUT_MS;
    for (;;) {
        struct pollfd ready = {.fd = fd, .events = POLLIN};
        assert_true(clock_monotonic_ms() < deadline_ms);
        if (poll(&ready, 1, 1000) <= 0)
            continue;
        ssize_t got = read(fd, answer + length, HTTP_FIXTURE_RESPONSE_BYTES - 1 - length);
        if (got <= 0)
            break;
        length += (size_t)got;
        assert_true(length < HTTP_FIXTURE_RESPONSE_BYTES - 1);
    }
    answer[length] = '\0';
    close(fd);
}

void http_fixture_exchange(const struct http_server *server, const char *request,
    char answer[static HTTP_FIXTURE_RESPONSE_BYTES])
{
    int fd = http_fixture_connect(server);
    http_fixture_send(fd, request);
    http_fixture_receive(fd, answer);
}

void response_must_contain(const char *answer, const char *part)
{
    if (strstr(answer, part) == NULL)
        fail_msg("no \"%s\" in:\n%s", part, answer);
}

void response_must_start_with(const char *answer, const char *part)
{
    if (strncmp(answer, part, strlen(part)) != 0)
        fail_msg("does not begin with \"%s\":\n%s", part, answer);
}

void response_body_must_be(const char *answer, const char *part)
{
    const char *body = strstr(answer, "\r\n\r\n");
    assert_non_null(body);
    assert_string_equal(body + 4, part);
}
