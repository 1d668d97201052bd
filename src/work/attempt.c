#include "attempt.h"

#include "base/backoff.h"
#include "base/clock.h"
#include "base/log.h"

static const char component[] = "Delivery";

int64_t attempt_total_ms(const struct attempt *attempt)
{
    return (clock_monotonic_us() - attempt->entry->started_us) / 1000;
}

const char attempt_other_failure[] = "other";

const char *attempt_gateway_failure(enum gateway_outcome outcome)
{
    switch (outcome) {
    case GATEWAY_UNREACHABLE:
        return "gateway_unreachable";
    case GATEWAY_MISCONFIGURED:
        return "gateway_misconfigured";
    case GATEWAY_BUSY:
        return "gateway_busy";
    case GATEWAY_REFUSED:
        return "gateway_refused";
    case GATEWAY_REPLIED: /* with something that could not be read */
    case GATEWAY_FAILED_RUN:
        return "run_failed";
    case GATEWAY_AMBIGUOUS:
        return "run_ambiguous";
    case GATEWAY_ABORTED:
    case GATEWAY_DISABLED:
        break;
    }
    return attempt_other_failure;
}

const char *attempt_backend_failure(enum convex_outcome outcome)
{
    switch (outcome) {
    case CONVEX_UNAVAILABLE:
        return "backend_unavailable";
    case CONVEX_FUNCTION_ERROR:
        return "backend_error";
    case CONVEX_REJECTED:
        return "backend_rejected";
    case CONVEX_ABORTED:
    case CONVEX_SUCCESS:
        break;
    }
    return attempt_other_failure;
}

struct finish attempt_go_on(enum entry_stage stage)
{
    return (struct finish){.stage = stage};
}

struct finish attempt_put_back(enum entry_stage stage)
{
    return (struct finish){.stage = stage, .put_back = true};
}

struct finish attempt_settle(struct attempt *attempt, enum entry_verdict verdict, const char *note)
{
    attempt->entry->verdict = verdict;
    attempt->entry->note = note;
    return attempt_go_on(STAGE_SETTLED);
}

struct finish attempt_mark_as(struct attempt *attempt, enum entry_verdict verdict, const char *note)
{
    attempt->entry->verdict = verdict;
    attempt->entry->note = note;
    return attempt_go_on(STAGE_WRITTEN);
}

void attempt_count_failure(struct attempt *attempt, const char *class, const struct error *error)
{
    struct stats *stats = attempt->deliver->stats;
    attempt->entry->failures++;
    attempt->entry->failure_class = class;
    metrics_add(&stats->metrics, METRIC_NOTIFICATIONS_FAILED, class, NULL, 1);
    stats_delivery_failed(stats, error->text);
}

struct finish attempt_again(struct attempt *attempt, const char *class, enum entry_stage stage,
    unsigned more_doublings, int64_t least_ms, const struct error *error)
{
    const struct config *config = attempt->deliver->config;
    struct entry *entry = attempt->entry;
    attempt_count_failure(attempt, class, error);
    int64_t delay_ms = backoff_ms(entry->failures + more_doublings,
        config->delivery_backoff_base_ms, config->delivery_backoff_max_ms, backoff_random_unit());
    if (delay_ms < least_ms)
        delay_ms = least_ms;
    entry->put_off_ms = delay_ms;
    log_event(LOG_LEVEL_WARN, component, ATTEMPT_FIELDS(attempt, LOG_NUMBER("retry_ms", delay_ms)),
        "Failed to deliver %s %s", entry->item.id, error->text);
    return (struct finish){.stage = stage, .delay_ms = delay_ms > 0 ? delay_ms : 1};
}

void attempt_forget_failures(struct attempt *attempt)
{
    attempt->entry->failures = 0;
    attempt->entry->failure_class = NULL;
    attempt->entry->errors = (struct failing){0};
}

bool attempt_is_hopeless(struct attempt *attempt, struct failing *failing, int64_t clock_ms)
{
    int64_t passed_ms = clock_ms - failing->mark_ms;
    int64_t tried_ms = attempt->entry->put_off_ms + attempt_total_ms(attempt);
    if (failing->going_on && passed_ms > 0)
        failing->total_ms += passed_ms < tried_ms ? passed_ms : tried_ms;
    failing->going_on = true;
    failing->mark_ms = clock_ms;
    spooling_note_failing(&attempt->deliver->spooling, attempt->entry);
    return failing->total_ms >= attempt->deliver->config->delivery_give_up_after_ms;
}

/*
 * The reply goes to dead/ and the notification is marked. That is remembered, on disk before the
 * mark: should the reply be tried again, by an operator or after a restart, the mark is ours, and
 * no sign that it has been answered.
 */
static void give_up_reply(struct attempt *attempt)
{
    attempt->entry->given_up = true;
    spooling_note_failing(&attempt->deliver->spooling, attempt->entry);
}

/*
 * The backend refused the stage for too long. What it could not be told goes to dead/: a reply, or
 * the whole end.
 */
static struct finish give_up(struct attempt *attempt, enum entry_stage stage)
{
    struct entry *entry = attempt->entry;
    entry->note = "refused_for_too_long";
    entry->verdict = VERDICT_DEAD;
    attempt_forget_failures(attempt);
    if (stage == STAGE_WRITTEN)
        return attempt_go_on(STAGE_SETTLED);
    if (stage == STAGE_KNOWN) {
        text_copy(entry->failure, sizeof entry->failure, "the backend refused it for too long");
        return attempt_go_on(entry->task_id[0] != '\0' ? STAGE_GIVING_UP : STAGE_SETTLED);
    }
    entry->untold = true;
    if (stage == STAGE_REPLIED)
        give_up_reply(attempt);
    return attempt_go_on(STAGE_WRITTEN);
}

/* While polls fail as well, it is not this notification that the backend refuses. */
static bool is_refused_for_too_long(struct attempt *attempt)
{
    struct failing *errors = &attempt->entry->errors;
    if (atomic_load(&attempt->deliver->stats->consecutive_poll_failures) > 0) {
        errors->going_on = false;
        return false;
    }
    return attempt_is_hopeless(attempt, errors, clock_monotonic_ms());
}

/* The backend has it as delivered, or no longer at all: by us, if only the mark was missing. */
static struct finish is_over(struct attempt *attempt, enum entry_stage stage)
{
    if (stage != STAGE_WRITTEN)
        return attempt_settle(attempt, VERDICT_SKIPPED, "ended_elsewhere");
    attempt->entry->marked = true;
    return attempt_go_on(STAGE_SETTLED);
}

/* The context can be read: what does it say about the stage that failed? */
static struct finish judge_by_context(struct attempt *attempt, enum entry_stage stage,
    const struct delivery_context *context, const struct error *error)
{
    const char *class = attempt_backend_failure(CONVEX_FUNCTION_ERROR);
    bool gone = context->agent == NULL || delivery_context_task_is_gone(context);
    if (delivery_context_is_over(context) && !(stage == STAGE_REPLIED && attempt->entry->given_up))
        return is_over(attempt, stage);
    if (stage == STAGE_KNOWN) /* what failed was to read it */
        return attempt_again(attempt, class, stage, 0, 0, error);
    if (stage == STAGE_REPLIED && gone)
        give_up_reply(attempt);
    if (stage != STAGE_WRITTEN && gone)
        return attempt_mark_as(
            attempt, VERDICT_DEAD, context->agent == NULL ? "agent_gone" : "task_gone");
    if (is_refused_for_too_long(attempt))
        return give_up(attempt, stage);
    return attempt_again(attempt, class, stage, 0, 0, error);
}

/*
 * A function error says nothing reliable in words (production hides them), so what became of the
 * notification is read from its context.
 */
static struct finish function_failed(
    struct attempt *attempt, enum entry_stage stage, const struct error *error)
{
    struct delivery_context context;
    struct error unused;
    const char *id = attempt->entry->item.id;
    enum convex_outcome outcome = service_get_delivery(&attempt->service, id, &context, &unused);
    if (outcome == CONVEX_FUNCTION_ERROR && is_refused_for_too_long(attempt))
        return give_up(attempt, stage);
    if (outcome != CONVEX_SUCCESS)
        return attempt_again(
            attempt, attempt_backend_failure(CONVEX_FUNCTION_ERROR), stage, 0, 0, error);
    struct finish finish = judge_by_context(attempt, stage, &context, error);
    delivery_context_fini(&context);
    return finish;
}

struct finish attempt_call_failed(struct attempt *attempt, enum entry_stage stage,
    enum convex_outcome outcome, const struct error *error)
{
    if (outcome == CONVEX_FUNCTION_ERROR)
        return function_failed(attempt, stage, error);
    if (outcome == CONVEX_ABORTED)
        return attempt_put_back(stage);
    attempt->entry->errors.going_on = false;
    return attempt_again(attempt, attempt_backend_failure(outcome), stage, 0, 0, error);
}
