/*
 * Keeps agents from answering each other without end. Who caused a notification is read from its
 * message; what that message answered, from memory or else from the backend. (Design, section 4.)
 */
#ifndef DELIVERY_LOOP_GUARD_H
#define DELIVERY_LOOP_GUARD_H

#include <stdbool.h>

#include "backend/service.h"
#include "delivery/entry.h"

/* Notifications whose cause is remembered; the least recently used one goes first. */
enum { LOOP_GUARD_REMEMBERED = 8192 };

struct loop_guard;

/*
 * A guard that lets a chain of max_hops agent-to-agent hops pass; switched off it only stops what
 * our own notes cause. The caller destroys it. ERROR_NO_MEMORY.
 */
int loop_guard_create(
    struct loop_guard **guard, bool enabled, unsigned max_hops, struct error *error);
void loop_guard_destroy(struct loop_guard *guard);

/*
 * Judges the notification of context, addressed to agent_id. *reason becomes a fixed word when it
 * has to be skipped, NULL when it is to be delivered. Returns CONVEX_SUCCESS, or why the backend
 * could not be asked, with *error; never CONVEX_FUNCTION_ERROR, which is an end of the chain. May
 * block for as many calls as the chain is long, at most max_hops + 1. Any thread.
 */
enum convex_outcome loop_guard_judge(struct loop_guard *guard, const struct service *service,
    const char *agent_id, const struct delivery_context *context, enum end_reason *reason,
    struct error *error);

#endif
