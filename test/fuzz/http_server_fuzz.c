/*
 * The bytes go to the server through a real connection, whose sending side is then closed: it has
 * to answer with a status of its own or nothing, and the next client as if nothing had been. A
 * request that is not whole is not waited for until the server ends it.
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

enum { ANSWER_BYTES = 16 * 1024, PATIENCE_MS = 20, TRIES = 500 };

static void answer_shortly(
    void *context, const struct http_server_request *request, struct http_server_reply *reply)
{
    (void)context;
    assert(strcmp(request->path, "/health") == 0 && request->accept != NULL);
    text_append(&reply->body, "{}");
}

static const struct http_server_route routes[] = {
    {"/health", answer_shortly, NULL},
    {NULL, NULL, NULL},
};

static struct http_server *the_server(void)
{
    static struct http_server *server;
    struct error error;
    if (server == NULL && http_server_create(&server, "127.0.0.1", 0, routes, NULL, &error) != 0)
        abort();
    return server;
}

static int dial(void)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons((uint16_t)http_server_port(the_server())),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert(fd >= 0);
    /* libFuzzer's alarm may interrupt it, which does not end it. */
    int failed = connect(fd, (struct sockaddr *)&address, sizeof address);
    assert(failed == 0 || errno == EINTR);
    return fd;
}

/* Sends what the server takes while reading what it says; the length of that. *closed: it ended. */
static size_t exchange(int fd, const uint8_t *data, size_t size, char *answer, bool *closed)
{
    size_t length = 0;
    size_t sent = 0;
    *closed = false;
    for (;;) {
        bool sending = sent < size;
        struct pollfd ready = {.fd = fd, .events = (short)(POLLIN | (sending ? POLLOUT : 0))};
        if (poll(&ready, 1, PATIENCE_MS) <= 0)
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

/* One connection from begin to end. */
static size_t talk(const uint8_t *data, size_t size, char *answer, bool *closed)
{
    static const struct linger no_linger = {.l_onoff = 1, .l_linger = 0};
    int fd = dial();
    if (size == 0)
        shutdown(fd, SHUT_WR);
    size_t length = exchange(fd, data, size, answer, closed);
    /* Thousands of closed connections would else keep their ports. */
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &no_linger, sizeof no_linger);
    close(fd);
    answer[length] = '\0';
    return length;
}

static bool may_answer(long status)
{
    static const long statuses[] = {
        200, 400, 404, 405, 408, 411, 413, 414, 417, 431, 500, 501, 503, 505};
    for (size_t i = 0; i < sizeof statuses / sizeof statuses[0]; i++)
        if (statuses[i] == status)
            return true;
    return false;
}

/* A whole answer: perhaps "go on", then one of the server's own. */
static void check_answer(const char *answer)
{
    static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
    while (strncmp(answer, go_on, sizeof go_on - 1) == 0)
        answer += sizeof go_on - 1;
    if (*answer == '\0')
        return;
    assert(strncmp(answer, "HTTP/1.1 ", 9) == 0 || strncmp(answer, "HTTP/1.0 ", 9) == 0);
    assert(may_answer(strtol(answer + 9, NULL, 10)));
    assert(strcasestr(answer, "\r\nConnection: close\r\n") != NULL);
}

/* Whatever came before, the next client is served. */
static void check_next_client(char *answer)
{
    static const char request[] = "GET /health HTTP/1.1\r\nHost: h\r\n\r\n";
    bool closed = false;
    for (int i = 0; i < TRIES && !closed; i++)
        talk((const uint8_t *)request, sizeof request - 1, answer, &closed);
    assert(closed && strncmp(answer, "HTTP/1.1 200 ", 13) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char answer[ANSWER_BYTES];
    bool closed;
    if (talk(data, size, answer, &closed) > 0 && closed)
        check_answer(answer);
    check_next_client(answer);
    return 0;
}
