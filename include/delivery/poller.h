/* The thread that lists undelivered notifications and offers them to the send queue. */
#ifndef DELIVERY_POLLER_H
#define DELIVERY_POLLER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "backend/convex.h"
#include "base/loop.h"
#include "config/config.h"
#include "delivery/attention.h"
#include "delivery/journal.h"
#include "delivery/send_queue.h"
#include "telemetry/stats.h"

struct delivery_poller;

/* Borrowed until the loop has been stopped. */
struct delivery_poller_parts {
    const struct config *config;
    struct send_queue *queue;
    struct attention *attention;
    struct loop_guard *guard; /* saves its counts */
    struct journal journal;   /* is checked again while it is broken */
    struct convex *convex;
    struct ca_store *store;
    struct stats *stats;
    const atomic_bool *abort; /* once true, a request in flight ends within a second */
};

/* A poller whose thread has not been started. The caller destroys it. ERROR_NO_MEMORY. */
int delivery_poller_create(struct delivery_poller **poller,
    const struct delivery_poller_parts *parts, struct error *error);
void delivery_poller_destroy(struct delivery_poller *poller);

/*
 * Its thread, mc-poll, which polls as soon as it starts. A poke requests a poll soon, at most every
 * 100 ms; it is never lost, since it is consumed before the request begins.
 */
struct loop *delivery_poller_loop(struct delivery_poller *poller);

/*
 * How many rows a page may be asked for. Rows differ in size, and a response has its limit, ours or
 * the backend's, which cannot be told in rows: it is found by trying. Only the poller's thread uses
 * it; times are arguments, so that tests own the clock.
 */
struct page_limit {
    unsigned max_rows;     /* of the next page; SEND_QUEUE_MAX_HELD is not a limit */
    bool is_grown;         /* by the last good page, and not tried since */
    int64_t grows_from_ms; /* not before: the last attempt to grow has failed */
};

enum { PAGE_LIMIT_PAUSE_MS = 60 * 1000 };

/* Unlimited. Cannot fail. */
void page_limit_init(struct page_limit *limit);

/* How many rows to ask for when wanted (1 at least) are wanted: 1 at least. Pure. */
unsigned page_limit_rows(const struct page_limit *limit, size_t wanted);

/*
 * A page of up to rows failed, and may have been too large: the limit becomes half of that. If the
 * limit had just grown, the next attempt to grow is PAGE_LIMIT_PAUSE_MS away, because it costs a
 * failed poll as likely as not.
 */
void page_limit_failed(struct page_limit *limit, unsigned rows, int64_t now_ms);

/*
 * A page of up to rows succeeded; full says that it was truncated there. If that was the limit, the
 * limit doubles, or ends. True when the next page may show what this one could not.
 */
bool page_limit_worked(struct page_limit *limit, unsigned rows, bool full, int64_t now_ms);

#endif
