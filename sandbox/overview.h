/* The overview of an account's tasks that the orchestrator gets in its chat. Version 1 only. */
#ifndef SANDBOX_OVERVIEW_H
#define SANDBOX_OVERVIEW_H

#include "store.h"

/*
 * Returns {totals: [{status, count}], topTasks: [{status, tasks: [...]}]} of the statuses of open
 * tasks as a new object: counts end at 100, and of each status there are the three newest tasks.
 */
json_t *overview_describe(const struct store *store, const char *account_id);

#endif
