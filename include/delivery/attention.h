/*
 * How often the backend's list is asked for: often while something happens on the account, rarely
 * while nothing does.
 */
#ifndef DELIVERY_ATTENTION_H
#define DELIVERY_ATTENTION_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/loop.h"

enum {
    ATTENTION_MS = 60 * 1000,          /* after an event polls are at their most frequent */
    ATTENTION_SILENCE_MS = 3600 * 1000 /* without an event they are at their rarest */
};

struct attention {
    /* Never changed once threads run. */
    int64_t active_ms;   /* DELIVERY_INTERVAL_ACTIVE */
    int64_t normal_ms;   /* DELIVERY_INTERVAL */
    int64_t idle_ms;     /* DELIVERY_INTERVAL_IDLE */
    struct loop *poller; /* poked by attention_wake; NULL: none */

    int64_t began_ms;         /* silence counts from then on, at the earliest */
    _Atomic int64_t event_ms; /* the last event (monotonic); 0: none */
    int64_t interval_ms;      /* the last one; only of the poller's thread */
};

/* No event has been noted. now_ms is monotonic, as all times here. Cannot fail. */
void attention_init(struct attention *attention, int64_t active_ms, int64_t normal_ms,
    int64_t idle_ms, int64_t now_ms);

/*
 * Something happened at that time, after which more is likely: a notification is new, a reply was
 * posted, an agent has called for something, the board was changed. Times may come in any order.
 * Returns whether the last event was so long before that polls have become rare. Any thread; does
 * not block.
 */
bool attention_note(struct attention *attention, int64_t event_ms);

/*
 * Something has happened now, of which the queue does not know: the poller does not wait any longer
 * if polls have become rare. NULL does nothing. Any thread; briefly takes the loop's lock.
 */
void attention_wake(struct attention *attention);

/* How long to wait until the next poll, in milliseconds. Only the poller's thread, once a poll. */
int64_t attention_next_ms(struct attention *attention, int64_t now_ms);

#endif
