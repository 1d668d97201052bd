/* An HTTP request over a plain socket, for tests that check the bytes of the response. */
#ifndef TEST_LIB_PLAIN_HTTP_H
#define TEST_LIB_PLAIN_HTTP_H

struct plain_response {
    int status;
    char *header;     /* status line and headers, NUL-terminated */
    const char *body; /* NUL-terminated; in the same allocation as header */
};

/*
 * Sends a request to 127.0.0.1:port and reads until the server closes. headers are complete lines,
 * "" for none; a Host is added unless they begin with one. Fails the test when there is no response
 * in time. Freed with plain_response_fini.
 */
void plain_http_request(unsigned port, const char *method, const char *path, const char *headers,
    struct plain_response *answer);
/* The same with a body after the header, in which headers announces its size. */
void plain_http_send(unsigned port, const char *method, const char *path, const char *headers,
    const char *body, struct plain_response *answer);
void plain_response_fini(struct plain_response *answer);

/* A connection to 127.0.0.1:port on which reads fail when nothing comes in time. */
int plain_http_connect(unsigned port);

#endif
