/*
 * What passes a proxy about notifications: each request to run an agent and each mark, with what
 * its answer proves. Unlike the sandbox's records it has the requests that a fault kept from the
 * sandbox, and the answers as the client got them.
 */
#ifndef TEST_LIB_WIRE_LOG_H
#define TEST_LIB_WIRE_LOG_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/containers.h"

enum wire_kind {
    WIRE_RUN,  /* a request to run an agent for a notification */
    WIRE_MARK, /* a call of markNotificationDelivered */
};

struct wire_exchange {
    enum wire_kind kind;
    bool proof; /* the answer proves: of a run, that there was none; of a mark, its success */
    char id[ID_BYTES]; /* the notification's */
};

/* Zero-initialised; freed by wire_log_fini. Not thread-safe. */
struct wire_log {
    struct wire_exchange *exchanges;
    size_t count;
    size_t capacity;
};

void wire_log_fini(struct wire_log *log);

/* New array of objects {"notification", "proof"} of the exchanges of that kind, in their order. */
json_t *wire_log_describe(const struct wire_log *log, enum wire_kind kind);

enum { WIRE_KEPT_BYTES = 32 * 1024 };

/* The exchange of one connection that is under way. A zeroed one expects a request. */
struct wire_reader {
    char request[WIRE_KEPT_BYTES]; /* the last bytes */
    char answer[WIRE_KEPT_BYTES];  /* the first bytes */
    size_t request_bytes;
    size_t answer_bytes;
    bool logged;
    size_t index; /* in the log */
};

/* The next bytes of a request, or of its answer. The log is up to date when they return. */
void wire_reader_request(
    struct wire_reader *reader, struct wire_log *log, const char *bytes, size_t length);
void wire_reader_answer(
    struct wire_reader *reader, struct wire_log *log, const char *bytes, size_t length);

#endif
