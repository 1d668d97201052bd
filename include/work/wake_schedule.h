/*
 * The agents of the account and when each is to be woken next. The syncer brings every new list,
 * the heartbeat scheduler takes what is due, a worker that woke an agent says so. Times are
 * arguments, so that tests own the clock. (Design, section 7; contract runtime-behaviour-v0,
 * section 6.)
 */
#ifndef WORK_WAKE_SCHEDULE_H
#define WORK_WAKE_SCHEDULE_H

#include <stdbool.h>
#include <stdint.h>

#include "remote/service_agents.h"

struct wake_schedule;

/* What taking over a list has changed. */
struct wake_changes {
    size_t added;
    size_t removed;
    size_t total;
};

/* An empty schedule. The caller destroys it. ERROR_NO_MEMORY. */
int wake_schedule_create(struct wake_schedule **schedule, struct error *error);
void wake_schedule_destroy(struct wake_schedule *schedule);

/* All of these: any thread, a short lock. now_ms is monotonic. */

/*
 * Takes over the list; what it does not hold is woken no more. The first list is the start: its
 * agents are spread over min(0.4 * interval, 2 min) by position, one alone is woken at once. Agents
 * that come later are woken within 2 s, as are those whose interval changed. One that is being
 * woken meanwhile keeps the one schedule that it has. ERROR_NO_MEMORY: nothing has changed.
 */
int wake_schedule_update(struct wake_schedule *schedule, const struct agent_list *list,
    int64_t now_ms, struct wake_changes *changes, struct error *error);

/*
 * Takes the agent that is due first, if one is: its id, then it is out until it is put back. False
 * when none is. *next_ms becomes the time when to look again (SYNC_NO_DEADLINE: when something
 * changes). Agents that are overdue by more than a few seconds, as after a long sleep, are spread
 * again first.
 */
bool wake_schedule_take(
    struct wake_schedule *schedule, int64_t now_ms, char id[static ID_BYTES], int64_t *next_ms);

/* Puts an agent back that has been woken, or failed to: it is due an interval later, and a bit. */
void wake_schedule_done(struct wake_schedule *schedule, const char *id, int64_t now_ms);

/* Puts an agent back that cannot be woken now: it is due again soon, away from the others. */
void wake_schedule_put_off(struct wake_schedule *schedule, const char *id, int64_t now_ms);

/* Notes that an agent was reported as online because it was woken. */
void wake_schedule_is_online(struct wake_schedule *schedule, const char *id, int64_t now_ms);

/*
 * Whether an agent that has just delivered something is to be reported as online: it is too busy to
 * be woken, and was not reported for an interval. The caller then reports it; it is not asked for
 * again before the next interval.
 */
bool wake_schedule_owes_report(struct wake_schedule *schedule, const char *id, int64_t now_ms);

/* Copies what the last list said of an agent. False when it is not in it. */
bool wake_schedule_find(struct wake_schedule *schedule, const char *id, struct agent *agent);

/* Agents in the schedule. */
size_t wake_schedule_count(struct wake_schedule *schedule);

#endif
