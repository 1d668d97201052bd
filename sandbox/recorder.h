/* Records of the gateway's agent runs: what was sent, when, and what ran concurrently. */
#ifndef SANDBOX_RECORDER_H
#define SANDBOX_RECORDER_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "map.h"

/* Number of records that are kept. */
enum { RECORDER_CAPACITY = 20000 };

TAILQ_HEAD(record_list, record);

/* One agent run. Strings are owned, NULL when absent. Times are monotonic microseconds. */
struct record {
    TAILQ_ENTRY(record) link;
    uint64_t number; /* 1, 2, ... in order of arrival */
    int64_t begun_us;
    int64_t ended_us; /* 0 while in progress */
    char *session;    /* key of the run's session */
    char *agent;      /* the agent that ran */
    char *openclaw_session;
    char *clawdbot_session;
    char *openclaw_agent;
    char *clawdbot_agent;
    char *traceparent;
    char *user;
    char *model;
    char *input; /* its first bytes, up to gateway_input_bytes */
    size_t input_bytes;
    char *instructions;
    json_t *tools;      /* names of those that were offered */
    json_t *results;    /* of calls, {call_id, output} */
    json_t *calls;      /* that the answer makes, {call_id, name, arguments} */
    unsigned round;     /* 1, or one more for each request before it that brought results */
    uint64_t first_run; /* number of the run that began the work */
    char *notification_id;
    unsigned status;     /* of the answer, 0: none */
    const char *outcome; /* under_way, answered, dropped, aborted (the client disconnected) */
    unsigned in_flight;  /* runs in flight at its begin, itself included */
    unsigned in_flight_session;
    struct session *of; /* private */
};

/* Used by the server's thread only. Zero-initialise and call recorder_init. */
struct recorder {
    struct record_list records;
    size_t kept;
    struct map sessions; /* session key -> struct session */
    uint64_t posts;      /* POST /v1/responses, refused ones included */
    uint64_t refused;    /* posts that were answered before a run */
    uint64_t probes;     /* posts with an empty object as the body */
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

/* Drops finished records and resets the counters; runs in progress continue. */
void recorder_reset(struct recorder *recorder);

/*
 * Takes *record, whose strings the caller has filled in, and records the begin of its run. The
 * result stays valid until recorder_end.
 */
struct record *recorder_begin(struct recorder *recorder, struct record *record);

/* Records the end of a run. outcome is a constant string. */
void recorder_end(
    struct recorder *recorder, struct record *record, const char *outcome, unsigned status);

/* The counts as a new object. */
json_t *recorder_stats(const struct recorder *recorder);

/*
 * Returns at most limit records with a number above since as a new array, only those of agent and
 * session unless these are NULL.
 */
json_t *recorder_describe(const struct recorder *recorder, uint64_t since, uint64_t limit,
    const char *agent, const char *session);

#endif
