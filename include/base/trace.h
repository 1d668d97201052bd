/* Names for what belongs together across programs (W3C Trace Context, level 1). */
#ifndef BASE_TRACE_H
#define BASE_TRACE_H

#include <stdbool.h>

enum {
    TRACE_ID_BYTES = 32 + 1,
    TRACE_HEADER_BYTES =
        sizeof "traceparent: 00-0123456789abcdef0123456789abcdef-0123456789abcdef-01",
};

/* One chain of requests. Zero-initialised: none. */
struct trace {
    char id[TRACE_ID_BYTES]; /* 32 lower-case hexadecimal digits; "" for none */
};

/* Gives *trace a random id; none when the kernel has no random bytes. Any thread. */
void trace_begin(struct trace *trace);

/*
 * Writes the header by which one request belongs to trace, "traceparent: ...", with a span id of
 * its own. False, with an empty header, when trace is NULL or none. Any thread.
 */
bool trace_header(const struct trace *trace, char header[static TRACE_HEADER_BYTES]);

#endif
