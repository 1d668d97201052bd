/* Timestamps of each notification's way through backend and gateway, for benchmarks. */
#ifndef SANDBOX_TIMINGS_H
#define SANDBOX_TIMINGS_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "map.h"

/* Timings are kept of the first notifications only, up to this number. */
enum { TIMINGS_CAPACITY = 100000 };

/* In the order of a delivery. Each call has its arrival and its answer. */
enum timing_moment {
    TIMING_LISTED, /* first list that contained it */
    TIMING_CONTEXT,
    TIMING_CONTEXT_ANSWERED,
    TIMING_ASKED,
    TIMING_ANSWERED,
    TIMING_REPLY,
    TIMING_REPLY_ANSWERED,
    TIMING_MARK,
    TIMING_MARK_ANSWERED,
    TIMING_COUNT,
};

struct timing;

TAILQ_HEAD(timing_list, timing);

/* Used by the server's thread only. */
struct timings {
    struct map by_id;
    struct timing_list list; /* oldest first; owns */
};

void timings_init(struct timings *timings);
void timings_fini(struct timings *timings);

/*
 * Records that a notification reaches moment now, unless it has before. id may be NULL, for
 * requests that are not about a notification.
 */
void timings_record(struct timings *timings, const char *id, enum timing_moment moment);

/*
 * Records the arrival, or with is_answer the answer, of a backend call about the notification id.
 * Functions that are not part of a delivery are ignored.
 */
void timings_record_call(
    struct timings *timings, const char *id, const char *function, bool is_answer);

/*
 * Returns a new array of {"notification": id, "listed_us": ..., ...}, oldest first, without moments
 * that were not reached. Times are monotonic microseconds.
 */
json_t *timings_describe(const struct timings *timings);

#endif
