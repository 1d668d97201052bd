/* One worker's attempt at one notification, and what follows when a step of it fails. */
#ifndef DELIVERY_ATTEMPT_H
#define DELIVERY_ATTEMPT_H

#include "agent_tools/run.h"
#include "backend/service.h"
#include "base/log.h"
#include "base/sync.h"
#include "delivery/delivery.h"
#include "gateway/roster.h"

/* What each request of a run repeats. Of the worker, made from the context when it is first needed.
 */
struct conversation {
    bool ready;
    struct agent_address address;
    struct text instructions;
    struct text input; /* the message, which only the first request has */
    const char
        *tools[TOOLS_MAX + 1]; /* that the agent is offered (tool_menu_list); at first none */
    struct tool_audience audience;
    int64_t deadline_ms; /* of the run with all its rounds, monotonic */
};

/* Lives in the worker's frame, from send_queue_take to send_queue_finish. */
struct attempt {
    const struct delivery *delivery;
    struct http_client *client;
    struct service service;
    struct entry *entry;
    struct delivery_context context; /* from the known stage on */
    struct loop_verdict verdict;     /* of the loop guard, from the known stage on */
    struct conversation talk;        /* from the sending stage on (converse.c) */
    int64_t run_ms;                  /* how long the agent took, -1 when it was not asked */
    bool failed;                     /* a failure was counted */
    /* How a stage ends that does not lead to the next at once. */
    int64_t delay_ms; /* the entry goes on when that has passed; 0: at once */
    bool put_back;    /* nothing failed: it goes on as soon as a worker takes it again */
};

/* The fields of every log line about an attempt, followed by those that the line adds. */
#define ATTEMPT_FIELDS(attempt_, ...)                                                        \
    LOG_FIELDS(LOG_TEXT("notification", (attempt_)->entry->item.id),                         \
        LOG_TEXT("agent", (attempt_)->entry->work.agent_slug),                               \
        LOG_NUMBER("attempt", (attempt_)->entry->work.attempts),                             \
        LOG_NUMBER("run_ms", (attempt_)->run_ms),                                            \
        LOG_NUMBER(                                                                          \
            "total_ms", (clock_monotonic_us() - (attempt_)->entry->work.started_us) / 1000), \
        LOG_TEXT("trace", (attempt_)->entry->work.trace.id), __VA_ARGS__)

/*
 * A stage runs on the worker's thread, may block for one request, and returns the stage that
 * follows. The functions below end one in another way than it hoped for.
 */

/*
 * The notification has ended. stage is STAGE_WRITTEN when it still has to be acknowledged, so that
 * it leaves the backend's list, or STAGE_SETTLED.
 */
enum entry_stage attempt_end(struct attempt *attempt, enum entry_stage stage,
    enum entry_outcome outcome, enum end_reason reason);

/*
 * Before the reply of an earlier process is posted: the notification may be marked already, by that
 * process, whose mark was its last act, or by another runtime. The reply is posted all the same,
 * which its key makes harmless; but unless the thread shows it, on v1, the delivery is not claimed
 * as ours: OUTCOME_SKIPPED, REASON_ALREADY_DELIVERED. Blocks for the read of the context; returns
 * how that ended.
 */
enum convex_outcome attempt_look_for_mark(struct attempt *attempt, struct error *error);

/* The class of a failure, by how the send or the call ended. Pure. */
enum failure_class attempt_gateway_failure(enum gateway_outcome outcome);
enum failure_class attempt_backend_failure(enum convex_outcome outcome);

/*
 * The attempt failed: counts a failure of that class, logs it, and lets the notification resume at
 * stage after the backoff.
 */
enum entry_stage attempt_retry(struct attempt *attempt, enum failure_class class,
    enum entry_stage stage, const struct error *error);

/*
 * Adds the time since the last failure of this kind, which is one of the entry's, on that kind's
 * own clock. Of time in which nothing was tried, as while sends are held or the process is
 * suspended, only the delay that the failure caused counts. Returns true once the sum reaches
 * DELIVERY_GIVE_UP_AFTER_MS. Saves the sum in the spool.
 */
bool attempt_failing_too_long(
    struct attempt *attempt, struct failing_time *failing, int64_t clock_ms);

/*
 * The stage's call to the backend ended with anything but CONVEX_SUCCESS. After an error of the
 * function itself the notification's context is read, and may show that it has ended; while the
 * backend is unreachable or misconfigured the stage is retried indefinitely; an aborted call leaves
 * the entry as it is. Blocks for the read of the context.
 */
enum entry_stage attempt_call_failed(struct attempt *attempt, enum entry_stage stage,
    enum convex_outcome outcome, const struct error *error);

/*
 * The send brought no reply that can be used: the agent is asked again later, or never. Turns the
 * outcome into GATEWAY_REFUSED when the gateway keeps refusing this notification but no others.
 */
enum entry_stage attempt_send_failed(struct attempt *attempt, struct gateway_result *result);

#endif
