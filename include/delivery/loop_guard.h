/*
 * Keeps agents from answering each other without end (docs/architecture.md, The life of a
 * notification).
 */
#ifndef DELIVERY_LOOP_GUARD_H
#define DELIVERY_LOOP_GUARD_H

#include <stdbool.h>

#include "backend/service.h"
#include "delivery/entry.h"

/* Notifications whose cause is remembered; the least recently used is dropped first. */
enum { LOOP_GUARD_REMEMBERED = 8192 };

struct loop_guard;

/*
 * A guard that allows chains of max_hops agent-to-agent hops; when not enabled it stops only what
 * our own failure notices cause. The caller destroys it. ERROR_NO_MEMORY.
 */
int loop_guard_create(
    struct loop_guard **guard, bool enabled, unsigned max_hops, struct error *error);
void loop_guard_destroy(struct loop_guard *guard);

/*
 * Judges the notification of context, which is for agent_id: *reason becomes why it has to be
 * skipped, or REASON_REPLIED if it may be delivered. Returns CONVEX_SUCCESS, or with *error why the
 * backend could not be asked; never CONVEX_FUNCTION_ERROR, which counts as the end of the chain.
 * Any thread. May block for a request for each notification of the chain, at most max_hops + 1.
 */
enum convex_outcome loop_guard_judge(struct loop_guard *guard, const struct service *service,
    const char *agent_id, const struct delivery_context *context, enum end_reason *reason,
    struct error *error);

#endif
