/*
 * A minimal HTTP client over a plain socket, for tests that check the exact bytes of a response.
 */
#include "plain_http.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/text.h"
#include "loopback.h"
#include "process.h"

enum { LIMIT_S = 15 };

int plain_http_connect(unsigned port)
{
    const struct timeval limit = {.tv_sec = (time_t)LIMIT_S * process_timeout_scale()};
    int fd = loopback_connect(port);
    assert_true(fd >= 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    return fd;
}

static char *read_to_end(int fd)
{
    struct text text = {0};
    char bytes[4096];
    ssize_t got;
    while ((got = read(fd, bytes, sizeof bytes)) > 0 || (got < 0 && errno == EINTR))
        text_append_bytes(&text, bytes, got > 0 ? (size_t)got : 0);
    assert_int_equal(got, 0);
    char *whole = text_take(&text);
    assert_non_null(whole);
    return whole;
}

void plain_http_request(unsigned port, const char *method, const char *path, const char *headers,
    struct plain_response *answer)
{
    plain_http_send(port, method, path, headers, "", answer);
}

void plain_http_send(unsigned port, const char *method, const char *path, const char *headers,
    const char *body, struct plain_response *answer)
{
    struct text request = {0};
    const char *host = strncmp(headers, "Host:", 5) == 0 ? "" : "Host: h\r\n";
    text_printf(&request, "%s %s HTTP/1.1\r\n%s%s\r\n%s", method, path, host, headers, body);
    int fd = plain_http_connect(port);
    ssize_t sent = send(fd, request.data, request.length_bytes, MSG_NOSIGNAL);
    assert_int_equal(sent, request.length_bytes);
    text_fini(&request);
    answer->header = read_to_end(fd);
    close(fd);
    char *end = strstr(answer->header, "\r\n\r\n");
    assert_non_null(end);
    end[2] = '\0';
    answer->body = end + 4;
    assert_memory_equal(answer->header, "HTTP/1.1 ", strlen("HTTP/1.1 "));
    answer->status = (int)strtol(answer->header + strlen("HTTP/1.1 "), NULL, 10);
}

void plain_response_fini(struct plain_response *answer)
{
    free(answer->header);
    *answer = (struct plain_response){0};
}
