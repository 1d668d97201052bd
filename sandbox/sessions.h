/* The agents' sessions, which version 1 names and counts by generation. */
#ifndef SANDBOX_SESSIONS_H
#define SANDBOX_SESSIONS_H

#include "store.h"

/*
 * Returns the key of the agent's open session for a task (whether or not it still exists), or of
 * its system session if task_id is NULL; opens the next generation when none is open. Borrowed
 * from the session's row.
 */
const char *sessions_open(struct store *store, const struct document *agent, const char *task_id);

/* Closes all sessions of a task. */
void sessions_close_task(struct store *store, const char *task_id);

#endif
