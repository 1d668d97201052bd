/* An HTTP server on a free port for one test, and requests to it over plain sockets. */
#ifndef TEST_LIB_HTTP_FIXTURE_H
#define TEST_LIB_HTTP_FIXTURE_H

#include "http/server.h"

enum {
    HTTP_FIXTURE_RESPONSE_BYTES = 4096,
    HTTP_FIXTURE_TIMEOUT_MS = 20000, /* time limit for what must happen */
    HTTP_FIXTURE_PROMPT_MS = 2000,   /* time limit for what must not wait */
};

/*
 * /echo answers "context|PATH|ACCEPT"; /page answers 503 with "<p>" as HTML and a content policy of
 * its own; /memory runs out of memory in the middle of its body.
 */
extern const struct http_server_route http_fixture_routes[];

/* cmocka fixtures: *state becomes a struct http_server of these routes on 127.0.0.1, or NULL. */
int http_fixture_setup(void **state);
int http_fixture_teardown(void **state);

#define WITH_SERVER(test) \
    cmocka_unit_test_setup_teardown(test, http_fixture_setup, http_fixture_teardown)

/* A request from its first line and further complete header lines ("": none), without a body. */
#define REQUEST(line, headers) line " HTTP/1.1\r\nHost: h\r\n" headers "\r\n"

/* Connects to the server; the caller closes the socket. Fails the test when it cannot. */
int http_fixture_connect(const struct http_server *server);

/* Sends bytes, or as many of them as the server reads before it closes. */
void http_fixture_send(int fd, const char *bytes);

/* Reads until the server closes, then closes the socket. Fails the test at the time limit. */
void http_fixture_receive(int fd, char answer[static HTTP_FIXTURE_RESPONSE_BYTES]);

/* Connects, sends request and receives the whole response. */
void http_fixture_exchange(const struct http_server *server, const char *request,
    char answer[static HTTP_FIXTURE_RESPONSE_BYTES]);

/*
 * Each fails the test, printing the response, unless it contains part, begins with part, or has
 * part as its body.
 */
void response_must_contain(const char *answer, const char *part);
void response_must_start_with(const char *answer, const char *part);
void response_body_must_be(const char *answer, const char *part);

#endif
