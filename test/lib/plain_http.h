/* One request over a plain socket, for tests that look at the bytes of the answer. */
#ifndef TEST_LIB_PLAIN_HTTP_H
#define TEST_LIB_PLAIN_HTTP_H

struct plain_response {
    int status;
    char *header;     /* with the status line, NUL-ended */
    const char *body; /* NUL-ended, behind the header in the same memory */
};

/*
 * Asks 127.0.0.1:port and reads until it closes. headers are whole lines, "" for none. Fails the
 * test when there is no answer in time. The caller ends *answer with plain_response_fini.
 */
void plain_http_request(unsigned port, const char *method, const char *path, const char *headers,
    struct plain_response *answer);
void plain_response_fini(struct plain_response *answer);

#endif
