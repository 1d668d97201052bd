/* An HTTP server on a free port for one test, and requests to it over plain sockets. */
#ifndef TEST_LIB_HTTP_FIXTURE_H
#define TEST_LIB_HTTP_FIXTURE_H

#include "http/server.h"

enum {
    HTTP_FIXTURE_RESPONSE_BYTES = 4096,
    HTTP_FIXTURE_TIMEOUT_MS = 20000, /* what has to come has come by then */
    HTTP_FIXTURE_PROMPT_MS = 2000,   /* what need not wait for anything has */
};

/*
 * /echo answers "context|PATH|ACCEPT", /page a 503 with "<p>" as HTML that may use what is on its
 * own server, and /memory runs out of memory in the middle of its body.
 */
extern const struct http_server_route http_fixture_routes[];

/* cmocka fixtures: *state becomes a struct http_server of these routes on 127.0.0.1, or NULL. */
int http_fixture_setup(void **state);
int http_fixture_teardown(void **state);

#define WITH_SERVER(test) \
    cmocka_unit_test_setup_teardown(test, http_fixture_setup, http_fixture_teardown)

/* A request of one line and whole further lines, "" for none, without a body. */
#define REQUEST(line, headers) line " HTTP/1.1\r\nHost: h\r\n" headers "\r\n"

/* A connection to 127.0.0.1, which the caller closes. Fails the test when there is none. */
int http_fixture_connect(const struct http_server *server);

/* Sends all of bytes, or as many as the server takes before it closes. */
void http_fixture_send(int fd, const char *bytes);

/* Reads until the server closes, and closes. Fails the test when it does not in time. */
void http_fixture_receive(int fd, char answer[static HTTP_FIXTURE_RESPONSE_BYTES]);

/* All three: what the server says to request until it closes. */
void http_fixture_exchange(const struct http_server *server, const char *request,
    char answer[static HTTP_FIXTURE_RESPONSE_BYTES]);

/* Each fails the test, showing the answer, unless part is in it, at its start, or all its body. */
void response_must_contain(const char *answer, const char *part);
void response_must_start_with(const char *answer, const char *part);
void response_body_must_be(const char *answer, const char *part);

#endif
