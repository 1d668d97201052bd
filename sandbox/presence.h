/* What it means in version 1 that a runtime comes, goes, or is silent. */
#ifndef SANDBOX_PRESENCE_H
#define SANDBOX_PRESENCE_H

#include "sandbox.h"

/*
 * Records that an account's runtime went from one status to another: activity, notifications to
 * users, and if it is offline now, its agents and the marks of reading.
 */
void presence_changed(
    struct store *store, struct document *account, const char *from, const char *to);

/*
 * Takes those accounts offline whose runtime, online or degraded, last reported more than 90 s ago;
 * returns how many.
 */
size_t presence_sweep(struct store *store);

/* Sweeps if the last time is 30 s ago. Cheap; called often. Version 1 only. */
void presence_sweep_if_due(struct sandbox *sandbox);

#endif
