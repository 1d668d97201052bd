/* The activity log of version 1, which getTaskHistoryForAgentTool returns. */
#ifndef SANDBOX_ACTIVITY_H
#define SANDBOX_ACTIVITY_H

#include "store.h"

/*
 * Records an activity of actor (a user or an agent; NULL: the system) on target. Takes meta, an
 * object or NULL.
 */
void activity_record(struct store *store, const char *type, const struct document *actor,
    const struct document *target, json_t *meta);

/* The task's activities as a new array, newest first, at most limit. */
json_t *activity_history(const struct store *store, const char *task_id, size_t limit);

#endif
