/*
 * What follows when a step of a delivery fails. Three questions decide it: whose failure was it,
 * could the agent have run, and for how long has it been failing?
 *
 * The gateway (attempt_send_failed). A run that failed, or of which nothing is known, has used up
 * one of DELIVERY_MAX_RUNS; the next waits for the backoff, which is long except after a first run
 * that was lost with its gateway, or the failure is reported in the thread once the budget is
 * spent. A refusal of this one request costs no run but is bounded in time. When the gateway takes
 * no requests at all, the notification is put back uncounted: the breaker decides when sends
 * resume.
 *
 * The backend (attempt_call_failed). While it is unreachable the stage is retried indefinitely. An
 * error of the function itself may mean that the notification ended elsewhere, so its context is
 * read again; if not, it is retried until DELIVERY_GIVE_UP_AFTER_MS of failing time have passed.
 *
 * Giving up always means the same: the notification ends as OUTCOME_DEAD, is acknowledged if
 * possible, and moves to dead/ if the thread shows neither a reply nor a notice (journal_close).
 *
 * All of it runs on the worker that has the entry. Nothing blocks except reading the context and
 * saving the failing time in the spool.
 */
#include "delivery/attempt.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/sync.h"
#include "delivery/delivery_v1.h"
#include "delivery/tool_rounds.h"

static const char component[] = "Delivery";

/* A run that failed may have cost money and left traces, so the next one waits longer. */
enum { DOUBLINGS_AFTER_A_RUN = 4 };

enum entry_stage attempt_end(struct attempt *attempt, enum entry_stage stage,
    enum entry_outcome outcome, enum end_reason reason)
{
    struct entry *entry = attempt->entry;
    /* That a newer message is skipped does not undo what was delivered before it. */
    if (outcome == OUTCOME_SKIPPED && entry->work.answers_again) {
        log_event(LOG_LEVEL_INFO, component,
            ATTEMPT_FIELDS(attempt, LOG_TEXT("reason", end_reason_words[reason])),
            "The newer message of %s is not answered", entry->item.id);
        return stage;
    }
    entry->work.outcome = outcome;
    entry->work.reason = reason;
    return stage;
}

enum failure_class attempt_gateway_failure(enum gateway_outcome outcome)
{
    switch (outcome) {
    case GATEWAY_UNREACHABLE:
        return FAILURE_GATEWAY_UNREACHABLE;
    case GATEWAY_MISCONFIGURED:
        return FAILURE_GATEWAY_MISCONFIGURED;
    case GATEWAY_BUSY:
        return FAILURE_GATEWAY_BUSY;
    case GATEWAY_REFUSED:
        return FAILURE_GATEWAY_REFUSED;
    case GATEWAY_REPLIED: /* with something that could not be read */
    case GATEWAY_FAILED_RUN:
        return FAILURE_RUN_FAILED;
    case GATEWAY_AMBIGUOUS:
        return FAILURE_RUN_AMBIGUOUS;
    case GATEWAY_ABORTED:
    case GATEWAY_DISABLED:
        break;
    }
    return FAILURE_OTHER;
}

enum failure_class attempt_backend_failure(enum convex_outcome outcome)
{
    switch (outcome) {
    case CONVEX_UNAVAILABLE:
        return FAILURE_BACKEND_UNAVAILABLE;
    case CONVEX_FUNCTION_ERROR:
        return FAILURE_BACKEND_ERROR;
    case CONVEX_REJECTED:
        return FAILURE_BACKEND_REJECTED;
    case CONVEX_ABORTED:
    case CONVEX_SUCCESS:
        break;
    }
    return FAILURE_OTHER;
}

static void count_failure(
    struct attempt *attempt, enum failure_class class, const struct error *error)
{
    struct stats *stats = attempt->delivery->stats;
    attempt->entry->work.failure_class = class;
    attempt->failed = true;
    metrics_add(&stats->metrics, METRIC_NOTIFICATIONS_FAILED, failure_class_words[class], NULL, 1);
    stats_delivery_failed(stats, error->text);
}

/* As attempt_retry; the backoff starts more_doublings further up and is at least min_ms. */
static enum entry_stage retry_later(struct attempt *attempt, enum failure_class class,
    enum entry_stage stage, unsigned more_doublings, int64_t min_ms, const struct error *error)
{
    const struct config *config = attempt->delivery->config;
    struct entry *entry = attempt->entry;
    entry->work.failures++;
    count_failure(attempt, class, error);
    int64_t delay_ms = backoff_ms(entry->work.failures + more_doublings,
        config->delivery_backoff_base_ms, config->delivery_backoff_max_ms, backoff_random_unit());
    if (delay_ms < min_ms)
        delay_ms = min_ms;
    entry->work.retry_delay_ms = delay_ms;
    log_event(LOG_LEVEL_WARN, component, ATTEMPT_FIELDS(attempt, LOG_NUMBER("retry_ms", delay_ms)),
        "Failed to deliver %s %s", entry->item.id, error->text);
    attempt->delay_ms = delay_ms > 0 ? delay_ms : 1;
    return stage;
}

enum entry_stage attempt_retry(struct attempt *attempt, enum failure_class class,
    enum entry_stage stage, const struct error *error)
{
    return retry_later(attempt, class, stage, 0, 0, error);
}

/* Nothing has failed, so nothing is counted, and the entry keeps its place in its lane. */
static enum entry_stage put_back(struct attempt *attempt, enum entry_stage stage)
{
    attempt->put_back = true;
    return stage;
}

bool attempt_failing_too_long(
    struct attempt *attempt, struct failing_time *failing, int64_t clock_ms)
{
    int64_t passed_ms = clock_ms - failing->counted_ms;
    int64_t total_ms = (clock_monotonic_us() - attempt->entry->work.started_us) / 1000;
    int64_t tried_ms = attempt->entry->work.retry_delay_ms + total_ms;
    if (failing->going_on && passed_ms > 0)
        failing->total_ms += passed_ms < tried_ms ? passed_ms : tried_ms;
    failing->going_on = true;
    failing->counted_ms = clock_ms;
    journal_save_progress(&attempt->delivery->journal, attempt->entry);
    return failing->total_ms >= attempt->delivery->config->delivery_give_up_after_ms;
}

enum convex_outcome attempt_look_for_mark(struct attempt *attempt, struct error *error)
{
    struct entry *entry = attempt->entry;
    struct delivery_context context;
    enum convex_outcome outcome =
        service_get_delivery(&attempt->service, entry->item.id, &context, error);
    if (outcome != CONVEX_SUCCESS)
        return outcome;
    bool is_marked = context.has_ended && !json_is_null(context.value);
    if (is_marked && !v1_thread_has(context.thread, entry->agent_id, entry->work.reply,
                         entry->work.thread_until_ms)) {
        entry->work.outcome = OUTCOME_SKIPPED;
        entry->work.reason = REASON_ALREADY_DELIVERED;
    }
    delivery_context_fini(&context);
    return CONVEX_SUCCESS;
}

/* The backend's failures. */

/*
 * The reply will not be posted: it goes to dead/ and the notification is acknowledged. That is
 * recorded on disk before the acknowledgement: should the reply be posted after all, by an operator
 * or after a restart, a notification that is marked as delivered was marked by us.
 */
static void abandon_reply(struct attempt *attempt)
{
    attempt->entry->work.reply_abandoned = true;
    journal_save_progress(&attempt->delivery->journal, attempt->entry);
}

/*
 * The backend has refused the stage for too long, which ends the notification. Whatever it could
 * not be told goes to dead/: the reply, the notice, or that the notification has ended.
 */
static enum entry_stage give_up_at_backend(struct attempt *attempt, enum entry_stage stage)
{
    struct entry *entry = attempt->entry;
    entry->work.reason = REASON_REFUSED_TOO_LONG;
    entry->work.outcome = OUTCOME_DEAD;
    const char *refused = stage == STAGE_WRITTEN ? "the backend refused its mark for too long"
                                                 : "the backend refused it for too long";
    if (stage == STAGE_WRITTEN || stage == STAGE_KNOWN || stage == STAGE_ACTING)
        text_copy(entry->work.failure, sizeof entry->work.failure, refused);
    if (stage == STAGE_WRITTEN) {
        journal_save_progress(&attempt->delivery->journal, entry);
        return STAGE_SETTLED;
    }
    if (stage == STAGE_KNOWN || stage == STAGE_ACTING) {
        return entry->work.task_id[0] != '\0' ? STAGE_NOTIFY_FAILURE : STAGE_SETTLED;
    }
    entry->work.closing = CLOSING_UNREPORTED;
    if (stage == STAGE_REPLIED)
        abandon_reply(attempt);
    return STAGE_WRITTEN;
}

/* While polls fail as well, it is not this notification that the backend refuses. */
static bool backend_refuses_too_long(struct attempt *attempt)
{
    struct failing_time *errors = &attempt->entry->work.errors;
    if (atomic_load(&attempt->delivery->stats->consecutive_poll_failures) > 0) {
        errors->going_on = false;
        return false;
    }
    return attempt_failing_too_long(attempt, errors, clock_monotonic_ms());
}

/* The stage failed although the context can be read: what does the context say about it? */
static enum entry_stage judge_failed_stage(struct attempt *attempt, enum entry_stage stage,
    const struct delivery_context *context, const struct error *error)
{
    enum failure_class class = attempt_backend_failure(CONVEX_FUNCTION_ERROR);
    bool gone = context->agent == NULL || context->task_is_gone;
    bool marked_by_us = stage == STAGE_REPLIED && attempt->entry->work.reply_abandoned;
    /* One that is answered again has been marked by us, which proves nothing before it is again. */
    bool is_marked =
        context->has_ended && (stage == STAGE_WRITTEN || !attempt->entry->work.answers_again);
    bool has_ended = is_marked || json_is_null(context->value);
    attempt->entry->work.evidence.gone = json_is_null(context->value);
    if (has_ended && !marked_by_us) {
        if (stage != STAGE_WRITTEN)
            attempt_end(attempt, STAGE_SETTLED, OUTCOME_SKIPPED, REASON_ENDED_ELSEWHERE);
        else if (attempt->entry->work.closing == CLOSING_OPEN) /* the answer to our call was lost */
            attempt->entry->work.closing = CLOSING_ACKNOWLEDGED;
        return v1_settle_marked(attempt, context);
    }
    if (stage == STAGE_KNOWN || stage == STAGE_ACTING) /* what failed was this same read */
        return attempt_retry(attempt, class, stage, error);
    if (stage == STAGE_REPLIED && gone)
        abandon_reply(attempt);
    if (stage != STAGE_WRITTEN && gone)
        return attempt_end(attempt, STAGE_WRITTEN, OUTCOME_DEAD,
            context->agent == NULL ? REASON_AGENT_GONE : REASON_TASK_GONE);
    if (backend_refuses_too_long(attempt))
        return give_up_at_backend(attempt, stage);
    return attempt_retry(attempt, class, stage, error);
}

/*
 * The text of a function error proves nothing (production deployments hide it), so the context is
 * read to see what became of the notification.
 */
static enum entry_stage backend_function_failed(
    struct attempt *attempt, enum entry_stage stage, const struct error *error)
{
    struct delivery_context context;
    struct error unused;
    const char *id = attempt->entry->item.id;
    enum convex_outcome outcome = service_get_delivery(&attempt->service, id, &context, &unused);
    if (outcome == CONVEX_FUNCTION_ERROR && backend_refuses_too_long(attempt))
        return give_up_at_backend(attempt, stage);
    if (outcome != CONVEX_SUCCESS)
        return attempt_retry(attempt, attempt_backend_failure(CONVEX_FUNCTION_ERROR), stage, error);
    enum entry_stage next = judge_failed_stage(attempt, stage, &context, error);
    delivery_context_fini(&context);
    return next;
}

/*
 * Why the reply is not in its thread yet, for whoever looks at its record: at most one write for
 * each new reason. The text is the backend's, or ours when it has not spoken.
 */
static void record_refused_reply(
    struct attempt *attempt, enum convex_outcome outcome, const struct error *error)
{
    static const char thrown[] = "Uncaught Error: "; /* what follows is the function's own */
    static const char stack[] = "    at ";           /* and after that, where it was thrown */
    struct entry *entry = attempt->entry;
    char stable[ERROR_TEXT_BYTES];
    char failure[sizeof entry->work.failure];
    error_copy_stable(stable, sizeof stable, error->text);
    const char *own = strstr(stable, thrown);
    own = own != NULL ? own + strlen(thrown) : stable;
    const char *end = strstr(own, stack);
    text_quote(failure, sizeof failure, own, end != NULL ? (size_t)(end - own) : strlen(own));
    if (outcome == CONVEX_UNAVAILABLE)
        text_copy(failure, sizeof failure, "the backend is unavailable");
    if (strcmp(entry->work.failure, failure) == 0)
        return;
    text_copy(entry->work.failure, sizeof entry->work.failure, failure);
    journal_save_progress(&attempt->delivery->journal, entry);
}

enum entry_stage attempt_call_failed(struct attempt *attempt, enum entry_stage stage,
    enum convex_outcome outcome, const struct error *error)
{
    if (stage == STAGE_REPLIED && outcome != CONVEX_ABORTED)
        record_refused_reply(attempt, outcome, error);
    if (outcome == CONVEX_FUNCTION_ERROR)
        return backend_function_failed(attempt, stage, error);
    if (outcome == CONVEX_ABORTED)
        return put_back(attempt, stage);
    attempt->entry->work.errors.going_on = false;
    return attempt_retry(attempt, attempt_backend_failure(outcome), stage, error);
}

/* The gateway's failures. */

/* What could not be sent is what has to be sent later: the message, or the results of calls. */
static enum entry_stage stage_to_send_at(const struct attempt *attempt)
{
    return tool_rounds_are_under_way(attempt->entry->work.rounds) ? STAGE_ACTING : STAGE_KNOWN;
}

/* The agent is not asked again; what is left is to say so in the thread. */
static enum entry_stage give_up_on_agent(
    struct attempt *attempt, const struct gateway_result *result)
{
    const struct entry *entry = attempt->entry;
    count_failure(attempt, attempt_gateway_failure(result->outcome), &result->error);
    log_event(LOG_LEVEL_WARN, component,
        ATTEMPT_FIELDS(attempt, LOG_NUMBER("runs", entry->work.runs)),
        "Failed to deliver %s for the last time: %s", entry->item.id, result->error.text);
    return STAGE_NOTIFY_FAILURE;
}

/*
 * How much longer the next run waits than after another failure. A first run whose connection was
 * lost is over, as when the gateway crashed, and the circuit lets no send pass before a probe has
 * found the gateway again: that it is back is all there is to wait for. One that took too long, for
 * us or for a proxy, may still be going on; and what loses its gateway twice may be the cause.
 */
static unsigned doublings_after_run(
    const struct attempt *attempt, const struct gateway_result *result)
{
    enum { PROXY_TIMEOUT = 504 };
    bool may_go_on = result->timed_out || result->status == PROXY_TIMEOUT;
    bool was_lost = result->outcome == GATEWAY_AMBIGUOUS && !may_go_on;
    return was_lost && attempt->entry->work.runs == 1 ? 0 : DOUBLINGS_AFTER_A_RUN;
}

/* A run failed, or may have: another follows as long as there may be one. */
static enum entry_stage agent_run_failed(
    struct attempt *attempt, const char *failure, const struct gateway_result *result)
{
    enum failure_class class = attempt_gateway_failure(result->outcome);
    text_copy(attempt->entry->work.failure, sizeof attempt->entry->work.failure, failure);
    if (attempt->entry->work.runs >= attempt->delivery->config->delivery_max_runs)
        return give_up_on_agent(attempt, result);
    return retry_later(
        attempt, class, STAGE_KNOWN, doublings_after_run(attempt, result), 0, &result->error);
}

/* Without an answer that proves anything, it counts as a run. */
static enum entry_stage agent_may_have_run(
    struct attempt *attempt, const struct gateway_result *result)
{
    char failure[48];
    if (result->timed_out)
        text_copy(failure, sizeof failure, "no answer in time");
    else if (result->status != 0)
        snprintf(failure, sizeof failure, "unclear answer with status %d", result->status);
    else
        text_copy(failure, sizeof failure, "the connection was lost");
    attempt->entry->work.timeouts += result->timed_out ? 1 : 0;
    return agent_run_failed(attempt, failure, result);
}

/* The gateway refuses this request, or this agent's for now, but accepts others. */
static enum entry_stage send_refused(struct attempt *attempt, const struct gateway_result *result)
{
    enum failure_class class = attempt_gateway_failure(result->outcome);
    struct entry *entry = attempt->entry;
    /* Time in which the breaker let no send pass is not time in which this one was refused. */
    int64_t closed_ms =
        breaker_closed_ms(attempt->delivery->control->breaker, clock_monotonic_ms());
    text_copy(
        entry->work.failure, sizeof entry->work.failure, "the gateway refused it for too long");
    if (attempt_failing_too_long(attempt, &entry->work.refusals, closed_ms))
        return give_up_on_agent(attempt, result);
    return retry_later(
        attempt, class, stage_to_send_at(attempt), 0, result->retry_after_ms, &result->error);
}

/*
 * The gateway takes no requests at all. The breaker knows when it does again, so nothing is counted
 * against the entry, which stays at the front of its lane.
 */
static enum entry_stage send_impossible(
    struct attempt *attempt, const struct gateway_result *result)
{
    struct entry *entry = attempt->entry;
    count_failure(attempt, attempt_gateway_failure(result->outcome), &result->error);
    log_event(LOG_LEVEL_WARN, component,
        ATTEMPT_FIELDS(attempt, LOG_NUMBER("held_back", entry->work.breaker_trips)),
        "Could not ask about %s: %s", entry->item.id, result->error.text);
    return put_back(attempt, stage_to_send_at(attempt));
}

/*
 * A lane that opens the breaker again and again, although probes find the gateway well, is itself
 * the cause. Its sends then count as refused, for the breaker as well, or all others would wait.
 */
static void count_breaker_trips(struct entry *entry, struct gateway_result *result)
{
    enum { MAX_TRIPS = 3 };
    bool trips = result->outcome == GATEWAY_MISCONFIGURED || result->draining;
    entry->work.breaker_trips = trips ? entry->work.breaker_trips + 1 : 0;
    if (entry->work.breaker_trips > MAX_TRIPS)
        result->outcome = GATEWAY_REFUSED;
    bool only_this = result->outcome == GATEWAY_REFUSED ||
                     (result->outcome == GATEWAY_BUSY && !result->draining);
    if (!only_this)
        entry->work.refusals.going_on = false;
}

enum entry_stage attempt_send_failed(struct attempt *attempt, struct gateway_result *result)
{
    if (result->outcome != GATEWAY_REPLIED && result->outcome != GATEWAY_ABORTED)
        stats_send_ended(attempt->delivery->stats, result->error.text);
    count_breaker_trips(attempt->entry, result);
    /* The agent's session is rate-limited, so its other notifications would be refused as well. */
    if (result->outcome == GATEWAY_BUSY)
        attempt->entry->work.lane_pause_ms = result->retry_after_ms;
    switch (result->outcome) {
    case GATEWAY_REPLIED:
        return agent_run_failed(attempt, "its reply could not be read", result);
    case GATEWAY_FAILED_RUN:
        return agent_run_failed(attempt, "the run failed", result);
    case GATEWAY_AMBIGUOUS:
        return agent_may_have_run(attempt, result);
    case GATEWAY_REFUSED:
        return send_refused(attempt, result);
    case GATEWAY_BUSY:
        return result->draining ? send_impossible(attempt, result) : send_refused(attempt, result);
    case GATEWAY_UNREACHABLE:
    case GATEWAY_MISCONFIGURED:
        return send_impossible(attempt, result);
    case GATEWAY_ABORTED:
    case GATEWAY_DISABLED:
        break;
    }
    return put_back(attempt, stage_to_send_at(attempt));
}
