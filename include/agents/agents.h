/*
 * The agents of the account and when each is to be woken next. The syncer brings every new list,
 * the heartbeat scheduler takes what is due, a worker that woke an agent says so. Times are
 * arguments, so that tests own the clock. (Design, section 7; contract runtime-behaviour-v0,
 * section 6.)
 */
#ifndef AGENTS_AGENTS_H
#define AGENTS_AGENTS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "backend/convex.h"
#include "backend/service.h"
#include "base/loop.h"
#include "config/config.h"
#include "delivery/breaker_control.h"
#include "delivery/send_queue.h"
#include "gateway/breaker.h"
#include "gateway/roster.h"
#include "telemetry/stats.h"

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
void wake_schedule_postpone(struct wake_schedule *schedule, const char *id, int64_t now_ms);

/* Notes that an agent was reported as online because it was woken. */
void wake_schedule_record_online(struct wake_schedule *schedule, const char *id, int64_t now_ms);

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

/*
 * The thread that lines up the wake-ups that are due, and puts off those that meet a shut gate.
 */

struct heartbeat;

/* Borrowed until the loop has been stopped. */
struct heartbeat_parts {
    struct wake_schedule *schedule;
    struct send_queue *queue;
    struct breaker *breaker;
    struct stats *stats;
};

/* A scheduler whose thread has not been started. The caller destroys it. ERROR_NO_MEMORY. */
int heartbeat_create(
    struct heartbeat **heartbeat, const struct heartbeat_parts *parts, struct error *error);
void heartbeat_destroy(struct heartbeat *heartbeat);

/* Its thread, mc-beat. Poke it when the schedule changes and when the circuit opens. */
struct loop *heartbeat_loop(struct heartbeat *heartbeat);

/* What a worker does with a wake-up: ask the agent to look around, and report it as online. */

/* Borrowed parts, shared by all workers; only read. */
struct wake {
    const struct config *config;
    struct send_queue *queue;
    struct convex *convex;
    const struct gateway *gateway;
    const struct breaker_control *control;
    struct agent_router router;
    struct wake_schedule *schedule;
    struct stats *stats;
    struct loop *heartbeat; /* poked when the schedule has changed */
};

/*
 * For entries of kind ENTRY_WAKE: wakes the agent, gives the entry back to the queue and the agent
 * to the schedule. The agent's data is what the schedule has now. Blocks for as long as the agent
 * takes. Workers only, each with its own client.
 */
void wake_run(const struct wake *wake, struct http_client *client, struct entry *entry);

/*
 * Reports an agent as online that delivers so much that it is never woken, once per interval.
 * Blocks for that call.
 */
void wake_report_busy_agent(const struct wake *wake, struct http_client *client,
    const char *agent_id, const struct trace *trace);

/* The thread that reads the account's agents and what the gateway knows of them. */

struct agent_sync;

/* Borrowed until the loop has been stopped. */
struct agent_sync_parts {
    const struct config *config;
    struct convex *convex;
    const struct gateway *gateway;
    struct gateway_roster *roster;
    struct wake_schedule *schedule;
    struct ca_store *store;
    struct stats *stats;
    const atomic_bool *abort; /* ends a request that is under way */
    struct loop *heartbeat;   /* poked when the schedule has changed */
};

/* A syncer whose thread has not been started. The caller destroys it. ERROR_NO_MEMORY. */
int agent_sync_create(
    struct agent_sync **sync, const struct agent_sync_parts *parts, struct error *error);
void agent_sync_destroy(struct agent_sync *sync);

/*
 * Its thread, mc-agents: syncs at once and then every AGENT_SYNC_INTERVAL. A sync that fails
 * changes nothing.
 */
struct loop *agent_sync_loop(struct agent_sync *sync);

#endif
