/*
 * Any bytes as a request, over a real connection that is then half-closed. The server must answer
 * with one of its own statuses or not at all, and must serve the next client normally. The fuzzer
 * does not wait for the server's timeout on incomplete requests.
 */
#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "http/server.h"

enum { ANSWER_BYTES = 16 * 1024, POLL_MS = 20, MAX_TRIES = 500 };

static void route_health(
    void *context, const struct http_server_request *request, struct http_server_reply *reply)
{
    (void)context;
    assert(strcmp(request->path, "/health") == 0 && request->accept != NULL);
    text_append(&reply->body, "{}");
}

static const struct http_server_route routes[] = {
    {"/health", route_health, NULL},
    {NULL, NULL, NULL},
};

static struct http_server *get_server(void)
{
    static struct http_server *server;
    struct error error;
    if (server == NULL &&
        http_server_create(&server, "127.0.0.1", 0, routes, NULL, NULL, &error) != 0)
        abort();
    return server;
}

static int connect_to_server(void)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons((uint16_t)http_server_port(get_server())),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert(fd >= 0);
    /* libFuzzer's SIGALRM may interrupt connect(), which then completes in the background. */
    int failed = connect(fd, (struct sockaddr *)&address, sizeof address);
    assert(failed == 0 || errno == EINTR);
    return fd;
}

/*
 * Sends as much as the server takes while reading its response; returns the length of the response.
 * *closed tells whether the server closed the connection.
 */
static size_t send_and_receive(int fd, const uint8_t *data, size_t size, char *answer, bool *closed)
{
    size_t length = 0;
    size_t sent = 0;
    *closed = false;
    for (;;) {
        bool sending = sent < size;
        struct pollfd ready = {.fd = fd, .events = (short)(POLLIN | (sending ? POLLOUT : 0))};
        if (poll(&ready, 1, POLL_MS) <= 0)
            return length;
        if (sending && (ready.revents & POLLOUT) != 0) {
            ssize_t part = send(fd, data + sent, size - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
            sent = part > 0 ? sent + (size_t)part : size;
            if (sent == size)
                shutdown(fd, SHUT_WR);
        }
        if ((ready.revents & (POLLIN | POLLHUP | POLLERR)) == 0)
            continue;
        ssize_t got = recv(fd, answer + length, ANSWER_BYTES - 1 - length, MSG_DONTWAIT);
        *closed = got <= 0;
        if (got <= 0)
            return length;
        length += (size_t)got;
        assert(length < ANSWER_BYTES - 1);
    }
}

/* Makes one connection, exchanges data over it and closes it. */
static size_t talk_once(const uint8_t *data, size_t size, char *answer, bool *closed)
{
    static const struct linger no_linger = {.l_onoff = 1, .l_linger = 0};
    int fd = connect_to_server();
    if (size == 0)
        shutdown(fd, SHUT_WR);
    size_t length = send_and_receive(fd, data, size, answer, closed);
    /* Without it, thousands of connections in TIME_WAIT would exhaust the ports. */
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &no_linger, sizeof no_linger);
    close(fd);
    answer[length] = '\0';
    return length;
}

static bool is_own_status(long status)
{
    static const long statuses[] = {
        200, 400, 404, 405, 408, 411, 413, 414, 417, 431, 500, 501, 503, 505};
    for (size_t i = 0; i < sizeof statuses / sizeof statuses[0]; i++)
        if (statuses[i] == status)
            return true;
    return false;
}

/* A complete response: any number of "100 Continue", then one with a status of the server's own. */
static void check_answer(const char *answer)
{
    static const char continue_line[] = "HTTP/1.1 100 Continue\r\n\r\n";
    while (strncmp(answer, continue_line, sizeof continue_line - 1) == 0)
        answer += sizeof continue_line - 1;
    if (*answer == '\0')
        return;
    assert(strncmp(answer, "HTTP/1.1 ", 9) == 0 || strncmp(answer, "HTTP/1.0 ", 9) == 0);
    assert(is_own_status(strtol(answer + 9, NULL, 10)));
    assert(strcasestr(answer, "\r\nConnection: close\r\n") != NULL);
}

/* Whatever the input was, the next client must be served. */
static void check_next_client(char *answer)
{
    static const char request[] = "GET /health HTTP/1.1\r\nHost: h\r\n\r\n";
    bool closed = false;
    for (int i = 0; i < MAX_TRIES && !closed; i++)
        talk_once((const uint8_t *)request, sizeof request - 1, answer, &closed);
    assert(closed && strncmp(answer, "HTTP/1.1 200 ", 13) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char answer[ANSWER_BYTES];
    bool closed;
    if (talk_once(data, size, answer, &closed) > 0 && closed)
        check_answer(answer);
    check_next_client(answer);
    return 0;
}
