/*
 * Any bytes as a request, over a real connection that is then half-closed. The server must answer
 * with one of its own statuses or not at all, and must serve the next client normally. The fuzzer
 * does not wait for the server's timeout on incomplete requests.
 */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "http/server.h"
#include "http_talk.h"

enum { MAX_TRIES = 500 };

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
        http_talk(http_server_port(get_server()), request, sizeof request - 1, answer, &closed);
    assert(closed && strncmp(answer, "HTTP/1.1 200 ", 13) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char answer[HTTP_TALK_ANSWER_BYTES];
    bool closed;
    if (http_talk(http_server_port(get_server()), (const char *)data, size, answer, &closed) > 0 &&
        closed)
        check_answer(answer);
    check_next_client(answer);
    return 0;
}
