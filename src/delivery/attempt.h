/* One worker's attempt at one notification, and the ways in which a stage can end. */
#ifndef DELIVERY_ATTEMPT_H
#define DELIVERY_ATTEMPT_H

#include "backend/service.h"
#include "base/log.h"
#include "delivery/delivery.h"

/* Lives in the worker's frame. */
struct attempt {
    const struct delivery *delivery;
    struct http_client *client;
    struct service service;
    struct entry *entry;
    int64_t run_ms; /* how long the agent took, -1 when it was not asked */
};

/* The fields of every log line about an attempt, and those that the line adds. */
#define ATTEMPT_FIELDS(attempt_, ...)                                \
    LOG_FIELDS(LOG_TEXT("notification", (attempt_)->entry->item.id), \
        LOG_TEXT("agent", (attempt_)->entry->agent_slug),            \
        LOG_NUMBER("attempt", (attempt_)->entry->attempts),          \
        LOG_NUMBER("run_ms", (attempt_)->run_ms),                    \
        LOG_NUMBER("total_ms", attempt_total_ms(attempt_)),          \
        LOG_TEXT("trace", (attempt_)->entry->trace.id), __VA_ARGS__)

/* How long the attempt has taken so far. */
int64_t attempt_total_ms(const struct attempt *attempt);

/* The next stage follows at once. */
struct finish attempt_go_on(enum entry_stage stage);

/* The stage goes on when the queue lets it: nothing failed, and the entry keeps its place. */
struct finish attempt_put_back(enum entry_stage stage);

/* The end; the backend needs no mark, or has it. */
struct finish attempt_settle(struct attempt *attempt, enum entry_outcome verdict, const char *note);

/* Nothing is to be sent or written; the notification is marked so that it leaves the list. */
struct finish attempt_mark_as(
    struct attempt *attempt, enum entry_outcome verdict, const char *note);

/*
 * Why an attempt failed, as the metrics name it (base/metric_families.c). What has to do with
 * neither gateway nor backend, as missing memory, is attempt_other_failure. Pure.
 */
extern const char attempt_other_failure[];
const char *attempt_gateway_failure(enum gateway_outcome outcome);
const char *attempt_backend_failure(enum convex_outcome outcome);

/* Counts a failure of that class and keeps its words for /health. */
void attempt_count_failure(struct attempt *attempt, const char *class, const struct error *error);

/*
 * The stage failed: counts a failure of that class, says why, and waits with backoff, at least
 * min_ms.
 */
struct finish attempt_retry(struct attempt *attempt, const char *class, enum entry_stage stage,
    unsigned more_doublings, int64_t min_ms, const struct error *error);

/* The stage is over: its failures no longer count, but for the gateway's refusals. */
void attempt_forget_failures(struct attempt *attempt);

/*
 * Adds the time since the last failure of this kind, which is one of the entry's, on that kind's
 * own clock; but of time in which nobody tried, as while sends are held or the process is stopped,
 * only what the failure made it wait. Returns true when the sum is as long as
 * DELIVERY_GIVE_UP_AFTER_MS allows.
 */
bool attempt_failing_too_long(struct attempt *attempt, struct failing *failing, int64_t clock_ms);

/*
 * A call of the stage to the backend failed, with anything but CONVEX_SUCCESS. After an error of
 * the function itself what became of the notification is read from its context, and may end it; a
 * backend that is away or wrong is waited for with backoff; an aborted call leaves the entry as it
 * is. Blocks for that read.
 */
struct finish attempt_call_failed(struct attempt *attempt, enum entry_stage stage,
    enum convex_outcome outcome, const struct error *error);

/* The stages past the send, each a call to the backend, for which it blocks. */

/* Of STAGE_REPLIED: writes the agent's reply into the thread, unless there is nothing to write. */
struct finish write_back_reply(struct attempt *attempt);

/* Of STAGE_NOTIFY_FAILURE: writes into the thread, in our words, why there will be no reply. */
struct finish write_back_note(struct attempt *attempt);

/* Of STAGE_WRITTEN: marks the notification as delivered, so that it leaves the backend's list. */
struct finish write_back_mark(struct attempt *attempt);

/* Asking the agent: the run, and what its outcome means. */

/*
 * Words the message, asks the agent of the context, which must have one, and keeps a reply on disk.
 * A run that took place, or may have, is counted. Blocks for as long as the agent takes.
 */
struct finish ask_agent(struct attempt *attempt, const struct delivery_context *context);

/* Whether no further run is allowed: too many took place, or the gateway refused for too long. */
bool ask_budget_is_spent(const struct attempt *attempt);

#endif
