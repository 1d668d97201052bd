/* When each notification passed which point on its way through both roles, for benchmarks. */
#ifndef SANDBOX_TIMINGS_H
#define SANDBOX_TIMINGS_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "map.h"

/* Of as many notifications, the first ones, the moments are kept. */
enum { TIMINGS_CAPACITY = 100000 };

/* In the order in which a delivery passes them. Each call has its arrival and its answer. */
enum timing_moment {
    TIMING_LISTED, /* the answer that first showed it */
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
 * Notes that a notification passes moment now, unless it has passed it before. id may be NULL, for
 * requests that are about none.
 */
void timings_note(struct timings *timings, const char *id, enum timing_moment moment);

/*
 * Notes the arrival, or with is_answer the answer, of a call of a backend function that is about
 * the notification id. Functions that are no part of a delivery leave no trace.
 */
void timings_note_call(
    struct timings *timings, const char *id, const char *function, bool is_answer);

/* A new array of {"notification": id, "listed_us": ..., ...}, oldest first; moments not passed are
 * left out. Times are monotonic microseconds. */
json_t *timings_describe(const struct timings *timings);

#endif
