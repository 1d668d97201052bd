/* What the gateway was asked, when, and what was under way at the same time. */
#ifndef SANDBOX_RECORDER_H
#define SANDBOX_RECORDER_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "map.h"

/* The last so many requests are kept. */
enum { RECORDER_CAPACITY = 20000 };

TAILQ_HEAD(record_list, record);

/* One agent run. Strings are owned, NULL when absent. Times are monotonic microseconds. */
struct record {
    TAILQ_ENTRY(record) link;
    uint64_t number; /* 1, 2, ... in order of arrival */
    int64_t begun_us;
    int64_t ended_us; /* 0 while under way */
    char *session;    /* the key that the run was in */
    char *agent;      /* the agent that ran */
    char *openclaw_session;
    char *clawdbot_session;
    char *openclaw_agent;
    char *clawdbot_agent;
    char *traceparent;
    char *user;
    char *model;
    char *input; /* its first bytes */
    size_t input_bytes;
    char *notification_id;
    unsigned status;     /* of the answer, 0: none */
    const char *outcome; /* under_way, answered, dropped, aborted (the client went away) */
    unsigned in_flight;  /* at its begin, itself included */
    unsigned in_flight_session;
    struct session *of; /* private */
};

/* Used by the server's thread only. Zero-initialise and call recorder_init. */
struct recorder {
    struct record_list records;
    size_t kept;
    struct map sessions; /* session key -> struct session */
    uint64_t posts;      /* POST /v1/responses, refused ones included */
    uint64_t refused;    /* of them, answered before a run */
    uint64_t probes;     /* of those, with an empty object as the body */
    uint64_t runs;
    uint64_t deliveries; /* runs whose input names a notification */
    uint64_t answered;
    uint64_t dropped;
    uint64_t aborted;
    unsigned in_flight;
    unsigned max_in_flight;
    unsigned max_in_flight_session;
};

void recorder_init(struct recorder *recorder);
void recorder_fini(struct recorder *recorder);

/* Forgets what is over and starts counting afresh; runs that are under way go on. */
void recorder_reset(struct recorder *recorder);

/*
 * Takes *record, whose strings the caller has filled in, and notes that its run begins. The result
 * stays valid until recorder_end.
 */
struct record *recorder_begin(struct recorder *recorder, struct record *record);

/* Notes the end of a run. outcome is a constant string. */
void recorder_end(
    struct recorder *recorder, struct record *record, const char *outcome, unsigned status);

/* The counts as a new object. */
json_t *recorder_stats(const struct recorder *recorder);

/*
 * The records with a number above since, at most limit, as a new array; of one agent or session
 * only, when those are not NULL.
 */
json_t *recorder_describe(const struct recorder *recorder, uint64_t since, uint64_t limit,
    const char *agent, const char *session);

#endif
