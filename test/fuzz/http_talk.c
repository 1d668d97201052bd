#include "http_talk.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <sys/socket.h>
#include <unistd.h>

enum { POLL_MS = 20 };

static int connect_to_server(unsigned port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons((uint16_t)port),
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
static size_t send_and_receive(int fd, const char *bytes, size_t size, char *answer, bool *closed)
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
            ssize_t part = send(fd, bytes + sent, size - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
            sent = part > 0 ? sent + (size_t)part : size;
            if (sent == size)
                shutdown(fd, SHUT_WR);
        }
        if ((ready.revents & (POLLIN | POLLHUP | POLLERR)) == 0)
            continue;
        ssize_t got = recv(fd, answer + length, HTTP_TALK_ANSWER_BYTES - 1 - length, MSG_DONTWAIT);
        *closed = got <= 0;
        if (got <= 0)
            return length;
        length += (size_t)got;
        assert(length < HTTP_TALK_ANSWER_BYTES - 1);
    }
}

size_t http_talk(unsigned port, const char *bytes, size_t size,
    char answer[static HTTP_TALK_ANSWER_BYTES], bool *closed)
{
    static const struct linger no_linger = {.l_onoff = 1, .l_linger = 0};
    int fd = connect_to_server(port);
    if (size == 0)
        shutdown(fd, SHUT_WR);
    size_t length = send_and_receive(fd, bytes, size, answer, closed);
    /* Without it, thousands of connections in TIME_WAIT would exhaust the ports. */
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &no_linger, sizeof no_linger);
    close(fd);
    answer[length] = '\0';
    return length;
}
