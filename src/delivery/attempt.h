/* One worker's attempt at one notification, and what follows when a step of it fails. */
#ifndef DELIVERY_ATTEMPT_H
#define DELIVERY_ATTEMPT_H

#include "backend/service.h"
#include "base/log.h"
#include "base/sync.h"
#include "delivery/delivery.h"

/* Lives in the worker's frame, from send_queue_take to send_queue_finish. */
struct attempt {
    const struct delivery *delivery;
    struct http_client *client;
    struct service service;
    struct entry *entry;
    struct delivery_context context; /* from the known stage on */
    struct loop_verdict verdict;     /* of the loop guard, from the known stage on */
    int64_t run_ms;                  /* how long the agent took, -1 when it was not asked */
    bool failed;                     /* a failure was counted */
};

/* What a stage leads to. */
struct stage_result {
    enum entry_stage stage; /* where the notification goes on, or STAGE_SETTLED */
    int64_t delay_ms;       /* not before that; 0 is at once */
    bool put_back;          /* with no delay: it goes on only when a worker takes it again */
};

/* The next stage follows at once. */
static inline struct stage_result next_stage(enum entry_stage stage)
{
    return (struct stage_result){.stage = stage};
}

/* The stage runs again when the queue allows it: nothing failed, and the entry keeps its place. */
static inline struct stage_result put_back_at(enum entry_stage stage)
{
    return (struct stage_result){.stage = stage, .put_back = true};
}

/* The fields of every log line about an attempt, followed by those that the line adds. */
#define ATTEMPT_FIELDS(attempt_, ...)                                \
    LOG_FIELDS(LOG_TEXT("notification", (attempt_)->entry->item.id), \
        LOG_TEXT("agent", (attempt_)->entry->work.agent_slug),       \
        LOG_NUMBER("attempt", (attempt_)->entry->work.attempts),     \
        LOG_NUMBER("run_ms", (attempt_)->run_ms),                    \
        LOG_NUMBER("total_ms", attempt_total_ms(attempt_)),          \
        LOG_TEXT("trace", (attempt_)->entry->work.trace.id), __VA_ARGS__)

/* How long the attempt has taken so far. */
static inline int64_t attempt_total_ms(const struct attempt *attempt)
{
    return (clock_monotonic_us() - attempt->entry->work.started_us) / 1000;
}

/*
 * The notification has ended. stage is STAGE_WRITTEN when it still has to be acknowledged, so that
 * it leaves the backend's list, or STAGE_SETTLED.
 */
struct stage_result attempt_end(struct attempt *attempt, enum entry_stage stage,
    enum entry_outcome outcome, enum end_reason reason);

/* The backend has the notification as delivered; what its thread could not be told stays so. */
static inline void attempt_acknowledged(struct attempt *attempt)
{
    if (attempt->entry->work.closing == CLOSING_OPEN)
        attempt->entry->work.closing = CLOSING_ACKNOWLEDGED;
}

/* The class of a failure, by how the send or the call ended. Pure. */
enum failure_class attempt_gateway_failure(enum gateway_outcome outcome);
enum failure_class attempt_backend_failure(enum convex_outcome outcome);

/*
 * The attempt failed: counts a failure of that class, logs it, and lets the notification resume at
 * stage after the backoff.
 */
struct stage_result attempt_retry(struct attempt *attempt, enum failure_class class,
    enum entry_stage stage, const struct error *error);

/* The stage has succeeded: its failures no longer count, except the gateway's refusals. */
static inline void attempt_clear_failures(struct attempt *attempt)
{
    attempt->entry->work.failures = 0;
    attempt->entry->work.failure_class = FAILURE_NONE;
    attempt->entry->work.errors = (struct failing_time){0};
}

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
struct stage_result attempt_call_failed(struct attempt *attempt, enum entry_stage stage,
    enum convex_outcome outcome, const struct error *error);

/*
 * The send brought no reply that can be used: the agent is asked again later, or never. Turns the
 * outcome into GATEWAY_REFUSED when the gateway keeps refusing this notification but no others.
 */
struct stage_result attempt_send_failed(struct attempt *attempt, struct gateway_result *result);

/* Whether no further run is allowed: too many took place, or the gateway refused for too long. */
static inline bool attempt_budget_is_spent(const struct attempt *attempt)
{
    const struct config *config = attempt->delivery->config;
    return attempt->entry->work.runs >= config->delivery_max_runs ||
           attempt->entry->work.refusals.total_ms >= config->delivery_give_up_after_ms;
}

#endif
