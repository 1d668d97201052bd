/*
 * A single-threaded HTTP server with canned responses. The request is assumed to arrive in one
 * read, as libcurl's do. Connections without an answer are kept open until the server is stopped.
 */
#include "stub_server.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/sync.h"
#include "loopback.h"

enum { CONNECTIONS = 64 };

struct stub_server {
    const char *canned;
    stub_server_answer *answer_to;
    void *context;
    int listen_fd;
    int stop_pipe[2]; /* closing the write end ends the thread's poll() */
    unsigned port;
    pthread_t thread;
    int silent[CONNECTIONS]; /* kept open until the server is stopped */
    unsigned silent_count;
};

/* Reads one request, answers it and closes the connection. */
static void answer_request(const struct stub_server *server, int fd)
{
    char request[16384];
    ssize_t length = read(fd, request, sizeof request - 1);
    const char *bytes = server->canned;
    request[length > 0 ? length : 0] = '\0';
    if (length > 0 && server->answer_to != NULL)
        bytes = server->answer_to(server->context, request);
    if (bytes == NULL)
        length = 0;
    else if (length > 0 && write(fd, bytes, strlen(bytes)) > 0)
        shutdown(fd, SHUT_WR);
    /* Closing with unread bytes would send a reset, which could overtake the answer. */
    while (length > 0)
        length = read(fd, request, sizeof request);
    close(fd);
}

static void *serve_requests(void *argument)
{
    struct stub_server *server = argument;
    struct pollfd fds[] = {{.fd = server->listen_fd, .events = POLLIN},
        {.fd = server->stop_pipe[0], .events = POLLIN}};
    while (poll(fds, 2, -1) > 0 && fds[1].revents == 0) {
        int fd = accept4(server->listen_fd, NULL, NULL, SOCK_CLOEXEC);
        if (fd >= 0 && (server->canned != NULL || server->answer_to != NULL))
            answer_request(server, fd);
        else if (fd >= 0 && server->silent_count < CONNECTIONS)
            server->silent[server->silent_count++] = fd;
    }
    return NULL;
}

static struct stub_server *start_server(
    const char *answer_bytes, stub_server_answer *answer_to, void *context)
{
    struct stub_server *server = calloc(1, sizeof *server);
    assert_non_null(server);
    server->canned = answer_bytes;
    server->answer_to = answer_to;
    server->context = context;
    server->listen_fd = loopback_listen(CONNECTIONS, &server->port);
    assert_int_equal(pipe(server->stop_pipe), 0);
    assert_int_equal(thread_start(&server->thread, "stub", serve_requests, server, NULL), 0);
    return server;
}

struct stub_server *stub_server_start(const char *answer_bytes)
{
    return start_server(answer_bytes, NULL, NULL);
}

struct stub_server *stub_server_start_with(stub_server_answer *answer_to, void *context)
{
    return start_server(NULL, answer_to, context);
}

static const char *answer_as_control_ui(void *context, const char *request)
{
    (void)context;
    return strncmp(request, "GET ", 4) == 0
               ? "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<!doctype html>"
               : "HTTP/1.1 405 Method Not Allowed\r\nContent-Type: text/plain\r\n\r\n"
                 "Method Not Allowed";
}

struct stub_server *stub_server_start_control_ui(void)
{
    return stub_server_start_with(answer_as_control_ui, NULL);
}

unsigned stub_server_port(const struct stub_server *server)
{
    return server->port;
}

void stub_server_stop(struct stub_server *server)
{
    close(server->stop_pipe[1]);
    thread_join(server->thread);
    for (unsigned i = 0; i < server->silent_count; i++)
        close(server->silent[i]);
    close(server->stop_pipe[0]);
    close(server->listen_fd);
    free(server);
}
