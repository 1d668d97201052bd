/* The statuses of tasks in version 1: which may follow which, and what a change requires. */
#ifndef SANDBOX_TASK_STATUS_H
#define SANDBOX_TASK_STATUS_H

#include "store.h"

/* All statuses, and those that an agent may set, NULL-ended. */
extern const char *const task_statuses[];
extern const char *const task_agent_statuses[];

/* Whether list, one of these two, contains status. */
bool task_status_is_in(const char *const *list, const char *status);

/*
 * The first step of the shortest chain of changes from one status to another by way of statuses
 * that an agent may set, or NULL when there is none. Pure.
 */
const char *task_status_next_step(const char *from, const char *to);

/*
 * What keeps a task with or without assignees from having the status, as the backend puts it
 * ("Cannot move to ..."), or NULL. reason is that of being blocked, NULL for none. Pure.
 */
const char *task_status_obstacle(const char *status, bool has_assignees, const char *reason);

/* Whether a user or an agent is assigned to the task. */
bool task_has_assignees(const struct document *task);

/*
 * Changes the status, and what depends on it: the reason of being blocked (NULL for none), the time
 * of archiving, the task's sessions, which archiving closes. Notifies nobody.
 */
void task_status_store(
    struct store *store, struct document *task, const char *status, const char *reason);

#endif
