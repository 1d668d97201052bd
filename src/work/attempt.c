#include "attempt.h"

#include "base/backoff.h"
#include "base/clock.h"
#include "base/json_guard.h"
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
    attempt->note = note;
    return attempt_go_on(STAGE_SETTLED);
}

struct finish attempt_mark_as(struct attempt *attempt, enum entry_verdict verdict, const char *note)
{
    attempt->entry->verdict = verdict;
    attempt->note = note;
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

bool context_is_over(const struct delivery_context *context)
{
    return json_is_null(context->value) ||
           json_is_number(json_object_get(context->notification, "deliveredAt"));
}

bool context_task_is_gone(const struct delivery_context *context)
{
    return context->task == NULL && json_guard_string(context->notification, "taskId") != NULL;
}

struct finish attempt_backend_failed(struct attempt *attempt, enum entry_stage stage,
    enum convex_outcome outcome, const struct error *error)
{
    if (outcome == CONVEX_ABORTED)
        return attempt_put_back(stage);
    attempt->entry->errors.going_on = false;
    return attempt_again(attempt, attempt_backend_failure(outcome), stage, 0, 0, error);
}
