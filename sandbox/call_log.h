/* A record of the latest calls of backend functions, for tests of their order and arguments. */
#ifndef SANDBOX_CALL_LOG_H
#define SANDBOX_CALL_LOG_H

#include <jansson.h>
#include <stdint.h>

enum { CALL_LOG_CAPACITY = 4096 };

struct call_record {
    uint64_t number; /* 0: unused */
    char function[48];
    json_t *arguments; /* without those for authorization; long strings are cut */
    int64_t begun_us;  /* monotonic */
    int64_t ended_us;  /* 0 while it is under way */
    const char *outcome;
};

/* Used by the server's thread only. Zero-initialise; freed with call_log_fini. */
struct call_log {
    struct call_record *records; /* NULL before the first call */
    uint64_t last;               /* number of the last call */
};

/* Forgets all calls. Numbers go on, so that calls under way do not match new records. */
void call_log_fini(struct call_log *log);

/* A copy of a call's arguments that is safe to show and not large, as a new reference. */
json_t *call_log_copy_arguments(const json_t *arguments);

/* Records the begin of a call and returns its number, which is at least 1. */
uint64_t call_log_begin(struct call_log *log, const char *function, const json_t *arguments);

/*
 * Records how a call ended, unless that is recorded or the call is not kept any more. outcome is a
 * constant string.
 */
void call_log_end(struct call_log *log, uint64_t number, const char *outcome);

/*
 * Returns the kept calls with a number above since as a new array, in order; only those of a
 * function and about a notification, unless these are NULL.
 */
json_t *call_log_describe(
    const struct call_log *log, uint64_t since, const char *function, const char *notification_id);

#endif
