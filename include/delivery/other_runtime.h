/*
 * Notices that another runtime works on the same account. Then agents are run twice for one
 * notification, and the reply that is posted second is dropped; neither runtime fails at anything,
 * and the backend offers no lease that could keep one of them out. It happens when a cluster that
 * is split starts a second copy, or a machine that was given up comes back. All there is to see are
 * traces, of which three within ten minutes are believed:
 *
 * - A notification that we have in hand is marked as delivered, though not by us: a page of the
 *   list begun later lacks it, or its context says so.
 * - A reply that we posted comes back with other words, since another reply under the same key was
 *   there first: as the message that a notification is about, or on v1 in a thread.
 *
 * Not a trace is what a single runtime can meet: a row that people have deleted, a mark of ours
 * whose answer was lost, and whatever an earlier process of ours may have done with a notification
 * before it ended. Nothing is decided by this; it is only told: in the log, /health, /status, the
 * metrics.
 */
#ifndef DELIVERY_OTHER_RUNTIME_H
#define DELIVERY_OTHER_RUNTIME_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "backend/delivery_context.h"
#include "base/containers.h"
#include "base/error.h"
#include "delivery/entry.h"
#include "telemetry/metrics.h"

enum {
    OTHER_RUNTIME_TRACES = 3, /* within the window: it is told */
    OTHER_RUNTIME_WINDOW_MS = 10 * 60 * 1000,
    OTHER_RUNTIME_REPLIES = 256,       /* of ours, the last ones, that are recognised */
    OTHER_RUNTIME_DIGEST_BYTES = 1024, /* the part of a reply by which it is: less than v1 cuts */
};

struct other_runtime;

/* Traces are counted in metrics, which is borrowed. The caller destroys it. ERROR_NO_MEMORY. */
int other_runtime_create(
    struct other_runtime **other, struct metrics *metrics, struct error *error);
void other_runtime_destroy(struct other_runtime *other);

/*
 * Looks at the words of agents in a context: keeps in entry->work.evidence what its message says,
 * and compares a v1 thread with our replies. For the worker that has the entry; briefly takes the
 * lock; logs. other may be NULL.
 */
void other_runtime_read_context(
    struct other_runtime *other, struct entry *entry, const struct delivery_context *context);

/*
 * Judges notifications that the queue is about to forget: ended is a list of entries (item), linked
 * by next, of which those that have not settled count for nothing. For the poller, after each page;
 * holds no lock of the queue; briefly takes its own; logs.
 */
void other_runtime_judge(struct other_runtime *other, const struct id_item *ended, int64_t now_ms);

/*
 * Whether another runtime is believed to work on the account: the last three traces came within ten
 * minutes, the last of them less than ten minutes ago. Any thread; briefly takes the lock. now_ms
 * is monotonic. other may be NULL.
 */
bool other_runtime_is_seen(struct other_runtime *other, int64_t now_ms);

#endif
