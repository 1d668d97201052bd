/* The account's agents: which exist, when each is woken next, and what a wake-up is. */
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
#include "delivery/delivery.h"
#include "delivery/send_queue.h"
#include "gateway/roster.h"
#include "telemetry/stats.h"

/*
 * The schedule: the account's agents and their due times (docs/architecture.md, Heartbeats). All
 * functions but create and destroy may be called from any thread, take the schedule's lock briefly
 * and do not block. now_ms is monotonic; it is an argument so that tests can choose the time.
 */
struct wake_schedule;

/* An empty schedule. The caller destroys it. ERROR_NO_MEMORY. */
int wake_schedule_create(struct wake_schedule **schedule, struct error *error);
void wake_schedule_destroy(struct wake_schedule *schedule);

/* How an update changed the number of agents. */
struct wake_changes {
    size_t added;
    size_t removed;
    size_t total;
};

/*
 * Replaces the list of agents; those missing from it are not woken again. The agents of the first
 * list are spread by position over min(0.4 * interval, 2 min); a single one is due at once. Agents
 * that appear later, or whose interval changed, are due within 2 s. An agent that is being woken
 * meanwhile keeps its one place in the schedule. ERROR_NO_MEMORY: nothing has changed.
 */
int wake_schedule_update(struct wake_schedule *schedule, const struct agent_list *list,
    int64_t now_ms, struct wake_changes *changes, struct error *error);

/*
 * Takes out the agent with the earliest due time, if that has come; wake_schedule_done or
 * wake_schedule_postpone puts it back. False when none is due. *next_ms is when to call again
 * (SYNC_NO_DEADLINE: after a change). Agents overdue by more than a few seconds, as after the
 * machine was suspended, are spread again first.
 */
bool wake_schedule_take(
    struct wake_schedule *schedule, int64_t now_ms, char id[static ID_BYTES], int64_t *next_ms);

/* Puts back an agent whose wake-up succeeded or failed: due after its interval and some jitter. */
void wake_schedule_done(struct wake_schedule *schedule, const char *id, int64_t now_ms);

/* Puts back an agent that could not be woken now: due soon, at a random distance from others. */
void wake_schedule_postpone(struct wake_schedule *schedule, const char *id, int64_t now_ms);

/* Records how an agent's wake-up ended; unknown agents are ignored. */
void wake_schedule_record_wake(struct wake_schedule *schedule, const char *id, bool woken);

/* Records that the agent was reported as online after it was woken. */
void wake_schedule_record_online(struct wake_schedule *schedule, const char *id, int64_t now_ms);

/*
 * Whether an agent that has just made a delivery should be reported as online: it is waiting to be
 * woken, too busy for that, and was not reported for an interval. If true, it counts as reported
 * and *agent is filled in.
 */
bool wake_schedule_owes_report(
    struct wake_schedule *schedule, const char *id, int64_t now_ms, struct agent *agent);

/* Copies an agent as the last list had it. False when it is not in that list. */
bool wake_schedule_find(struct wake_schedule *schedule, const char *id, struct agent *agent);

/*
 * Copies the agent with that slug of slug_bytes, in any case of its letters. False when there is
 * none, or more than one. Takes time in proportion to the list.
 */
bool wake_schedule_find_slug(
    struct wake_schedule *schedule, const char *slug, size_t slug_bytes, struct agent *agent);

/* An agent as people see it. Times are of the wall clock unless they say otherwise. */
struct agent_view {
    struct agent agent;
    int64_t woken_at_ms;           /* when its last wake-up succeeded; 0: not yet */
    int64_t wakes_failing_from_ms; /* the first that failed since then; 0: none */
    int64_t due_ms;                /* of its next wake-up, monotonic; 0: it is being woken */
};

/*
 * Copies at most max agents, in the order in which they came to the list, and returns how many;
 * *total is how many there are.
 */
size_t wake_schedule_list(
    struct wake_schedule *schedule, struct agent_view *views, size_t max, size_t *total);

/* The number of agents whose last WAKE_FAILURES wake-ups or more have all failed. */
enum { WAKE_FAILURES = 3 };
size_t wake_schedule_count_failing(struct wake_schedule *schedule);

/* The number of agents. */
size_t wake_schedule_count(struct wake_schedule *schedule);

/* The heartbeat: the thread that queues due wake-ups, and the workers' part that performs them. */
struct heartbeat;

/* Borrowed until the loop and the workers have stopped. */
struct heartbeat_parts {
    const struct config *config;
    struct wake_schedule *schedule;
    struct send_queue *queue;
    struct convex *convex;
    const struct gateway *gateway;
    const struct breaker_control *control;
    const struct delivery *delivery; /* what wake-ups on v1 share with deliveries */
    const atomic_bool *stopping;     /* aborts reports to the backend */
    struct gateway_roster *roster;
    struct stats *stats;
};

/* The thread is not started. The caller destroys it. ERROR_NO_MEMORY. */
int heartbeat_create(
    struct heartbeat **heartbeat, const struct heartbeat_parts *parts, struct error *error);
void heartbeat_destroy(struct heartbeat *heartbeat);

/* Its thread, mc-beat. Poke it when the schedule changes and when the circuit breaker opens. */
struct loop *heartbeat_loop(struct heartbeat *heartbeat);

/*
 * Performs an entry of kind ENTRY_WAKE: asks the agent to check for work, reports it as online,
 * finishes the entry and puts the agent back into the schedule. Blocks for as long as the agent
 * takes. Workers only, each with its own client. A worker_run; context is the struct heartbeat.
 */
void heartbeat_run_wake(void *context, struct http_client *client, struct entry *entry);

/*
 * Reports an agent as online that is kept from being woken by its deliveries, once per interval.
 * context is the struct heartbeat (struct delivery, on_delivered). Blocks for the backend. Workers
 * only.
 */
void heartbeat_after_delivery(
    void *context, struct http_client *client, const char *agent_id, const struct trace *trace);

/* The thread that reads the account's agents and those that the gateway knows. */
struct agent_sync;

/* Borrowed until the loop has stopped. */
struct agent_sync_parts {
    const struct config *config;
    struct convex *convex;
    const struct gateway *gateway;
    struct breaker *breaker;
    struct gateway_roster *roster;
    struct wake_schedule *schedule;
    struct ca_store *store;
    struct stats *stats;
    const atomic_bool *abort; /* aborts the request in flight */
    struct loop *heartbeat;   /* poked after the schedule has changed */
};

/* The thread is not started. The caller destroys it. ERROR_NO_MEMORY. */
int agent_sync_create(
    struct agent_sync **sync, const struct agent_sync_parts *parts, struct error *error);
void agent_sync_destroy(struct agent_sync *sync);

/*
 * Its thread, mc-agents: syncs at once, then every AGENT_SYNC_INTERVAL. A sync that fails leaves
 * the schedule as it is and is retried sooner.
 */
struct loop *agent_sync_loop(struct agent_sync *sync);

#endif
