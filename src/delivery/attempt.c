#include "delivery/attempt.h"

#include "base/log.h"
#include "base/stop_point.h"
#include "base/sync.h"
#include "delivery/prompt.h"
#include "delivery/reply.h"
#include "gateway/roster.h"

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

struct finish attempt_settle(struct attempt *attempt, enum entry_outcome verdict, const char *note)
{
    attempt->entry->verdict = verdict;
    attempt->entry->note = note;
    return attempt_go_on(STAGE_SETTLED);
}

struct finish attempt_mark_as(struct attempt *attempt, enum entry_outcome verdict, const char *note)
{
    attempt->entry->verdict = verdict;
    attempt->entry->note = note;
    return attempt_go_on(STAGE_WRITTEN);
}

void attempt_count_failure(struct attempt *attempt, const char *class, const struct error *error)
{
    struct stats *stats = attempt->delivery->stats;
    attempt->entry->failures++;
    attempt->entry->failure_class = class;
    metrics_add(&stats->metrics, METRIC_NOTIFICATIONS_FAILED, class, NULL, 1);
    stats_delivery_failed(stats, error->text);
}

struct finish attempt_retry(struct attempt *attempt, const char *class, enum entry_stage stage,
    unsigned more_doublings, int64_t min_ms, const struct error *error)
{
    const struct config *config = attempt->delivery->config;
    struct entry *entry = attempt->entry;
    attempt_count_failure(attempt, class, error);
    int64_t delay_ms = backoff_ms(entry->failures + more_doublings,
        config->delivery_backoff_base_ms, config->delivery_backoff_max_ms, backoff_random_unit());
    if (delay_ms < min_ms)
        delay_ms = min_ms;
    entry->retry_delay_ms = delay_ms;
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

bool attempt_failing_too_long(struct attempt *attempt, struct failing *failing, int64_t clock_ms)
{
    int64_t passed_ms = clock_ms - failing->mark_ms;
    int64_t tried_ms = attempt->entry->retry_delay_ms + attempt_total_ms(attempt);
    if (failing->going_on && passed_ms > 0)
        failing->total_ms += passed_ms < tried_ms ? passed_ms : tried_ms;
    failing->going_on = true;
    failing->mark_ms = clock_ms;
    journal_save_failing(&attempt->delivery->journal, attempt->entry);
    return failing->total_ms >= attempt->delivery->config->delivery_give_up_after_ms;
}

/*
 * The reply goes to dead/ and the notification is marked. That is remembered, on disk before the
 * mark: should the reply be tried again, by an operator or after a restart, the mark is ours, and
 * no sign that it has been answered.
 */
static void give_up_reply(struct attempt *attempt)
{
    attempt->entry->reply_abandoned = true;
    journal_save_failing(&attempt->delivery->journal, attempt->entry);
}

/*
 * The backend refused the stage for too long. What it could not be told goes to dead/: a reply, or
 * the whole end.
 */
static struct finish fail_backend_refused(struct attempt *attempt, enum entry_stage stage)
{
    struct entry *entry = attempt->entry;
    entry->note = "refused_for_too_long";
    entry->verdict = OUTCOME_DEAD;
    attempt_forget_failures(attempt);
    if (stage == STAGE_WRITTEN)
        return attempt_go_on(STAGE_SETTLED);
    if (stage == STAGE_KNOWN) {
        text_copy(entry->failure, sizeof entry->failure, "the backend refused it for too long");
        return attempt_go_on(entry->task_id[0] != '\0' ? STAGE_NOTIFY_FAILURE : STAGE_SETTLED);
    }
    entry->notice_failed = true;
    if (stage == STAGE_REPLIED)
        give_up_reply(attempt);
    return attempt_go_on(STAGE_WRITTEN);
}

/* While polls fail as well, it is not this notification that the backend refuses. */
static bool is_refused_for_too_long(struct attempt *attempt)
{
    struct failing *errors = &attempt->entry->errors;
    if (atomic_load(&attempt->delivery->stats->consecutive_poll_failures) > 0) {
        errors->going_on = false;
        return false;
    }
    return attempt_failing_too_long(attempt, errors, clock_monotonic_ms());
}

/* The backend has it as delivered, or no longer at all: by us, if only the mark was missing. */
static struct finish is_over(struct attempt *attempt, enum entry_stage stage)
{
    if (stage != STAGE_WRITTEN)
        return attempt_settle(attempt, OUTCOME_SKIPPED, "ended_elsewhere");
    attempt->entry->acked = true;
    return attempt_go_on(STAGE_SETTLED);
}

/* The context can be read: what does it say about the stage that failed? */
static struct finish judge_by_context(struct attempt *attempt, enum entry_stage stage,
    const struct delivery_context *context, const struct error *error)
{
    const char *class = attempt_backend_failure(CONVEX_FUNCTION_ERROR);
    bool gone = context->agent == NULL || delivery_context_task_is_gone(context);
    if (delivery_context_is_over(context) &&
        !(stage == STAGE_REPLIED && attempt->entry->reply_abandoned))
        return is_over(attempt, stage);
    if (stage == STAGE_KNOWN) /* what failed was to read it */
        return attempt_retry(attempt, class, stage, 0, 0, error);
    if (stage == STAGE_REPLIED && gone)
        give_up_reply(attempt);
    if (stage != STAGE_WRITTEN && gone)
        return attempt_mark_as(
            attempt, OUTCOME_DEAD, context->agent == NULL ? "agent_gone" : "task_gone");
    if (is_refused_for_too_long(attempt))
        return fail_backend_refused(attempt, stage);
    return attempt_retry(attempt, class, stage, 0, 0, error);
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
        return fail_backend_refused(attempt, stage);
    if (outcome != CONVEX_SUCCESS)
        return attempt_retry(
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
    return attempt_retry(attempt, attempt_backend_failure(outcome), stage, 0, 0, error);
}

/* A run that failed may have cost money and left traces: the next one is put off further. */
enum { DOUBLINGS_AFTER_A_RUN = 4 };

/* However often our own timeout passes, no run is waited for longer, unless the setting is. */
static const int64_t MAX_TIMEOUT_MS = INT64_C(15) * 60 * 1000;

bool ask_budget_is_spent(const struct attempt *attempt)
{
    const struct config *config = attempt->delivery->config;
    return attempt->entry->runs >= config->delivery_max_runs ||
           attempt->entry->refusals.total_ms >= config->delivery_give_up_after_ms;
}

static struct finish fail_runs_exhausted(
    struct attempt *attempt, const char *class, const struct error *error)
{
    const struct entry *entry = attempt->entry;
    attempt_count_failure(attempt, class, error);
    log_event(LOG_LEVEL_WARN, component, ATTEMPT_FIELDS(attempt, LOG_NUMBER("runs", entry->runs)),
        "Failed to deliver %s for the last time: %s", entry->item.id, error->text);
    attempt_forget_failures(attempt);
    return attempt_go_on(STAGE_NOTIFY_FAILURE);
}

/* A run failed, or may have: another follows as long as the budget lasts. */
static struct finish run_failed(struct attempt *attempt, const char *failure,
    enum gateway_outcome outcome, const struct error *error)
{
    const char *class = attempt_gateway_failure(outcome);
    text_copy(attempt->entry->failure, sizeof attempt->entry->failure, failure);
    if (ask_budget_is_spent(attempt))
        return fail_runs_exhausted(attempt, class, error);
    return attempt_retry(attempt, class, STAGE_KNOWN, DOUBLINGS_AFTER_A_RUN, 0, error);
}

static struct finish take_reply(struct attempt *attempt, struct gateway_result *result)
{
    struct entry *entry = attempt->entry;
    struct error error;
    stats_send_ended(attempt->delivery->stats, NULL);
    if (reply_read(result->body, &entry->reply, &error) != 0)
        return run_failed(attempt, "its reply could not be read", result->outcome, &error);
    entry->replied_us = clock_monotonic_us();
    attempt_forget_failures(attempt);
    entry->refusals = (struct failing){0};
    journal_save_reply(&attempt->delivery->journal, entry);
    STOP_POINT("after_spool");
    return attempt_go_on(STAGE_REPLIED);
}

/* The gateway keeps refusing this one, and takes others. */
static struct finish refused(struct attempt *attempt, const struct gateway_result *result)
{
    const struct delivery *delivery = attempt->delivery;
    const char *class = attempt_gateway_failure(result->outcome);
    struct entry *entry = attempt->entry;
    int64_t open_ms = breaker_closed_ms(delivery->control->breaker, clock_monotonic_ms());
    text_copy(entry->failure, sizeof entry->failure, "the gateway refused it for too long");
    if (attempt_failing_too_long(attempt, &entry->refusals, open_ms))
        return fail_runs_exhausted(attempt, class, &result->error);
    return attempt_retry(attempt, class, STAGE_KNOWN, 0, result->retry_after_ms, &result->error);
}

/*
 * The gate says when agents can be asked again, so nothing is counted and the entry stays at the
 * front of its lane.
 */
static struct finish breaker_trips(struct attempt *attempt, const struct gateway_result *result)
{
    struct entry *entry = attempt->entry;
    struct stats *stats = attempt->delivery->stats;
    entry->failure_class = attempt_gateway_failure(result->outcome);
    metrics_add(&stats->metrics, METRIC_NOTIFICATIONS_FAILED, entry->failure_class, NULL, 1);
    stats_delivery_failed(stats, result->error.text);
    log_event(LOG_LEVEL_WARN, component,
        ATTEMPT_FIELDS(attempt, LOG_NUMBER("held_back", entry->breaker_trips)),
        "Could not ask about %s: %s", entry->item.id, result->error.text);
    return attempt_put_back(STAGE_KNOWN);
}

/*
 * An entry that meets a shut gate again and again, although probes find the gateway well, meets it
 * because of itself: it is then treated as refused, by the gate, too, or all others would wait
 * with it.
 */
static void note_refusals(struct entry *entry, struct gateway_result *result)
{
    enum { TIMES = 3 };
    bool nobody_gets_in =
        result->outcome == GATEWAY_MISCONFIGURED || result->outcome == GATEWAY_BUSY;
    entry->breaker_trips = nobody_gets_in ? entry->breaker_trips + 1 : 0;
    if (entry->breaker_trips > TIMES)
        result->outcome = GATEWAY_REFUSED;
    if (result->outcome != GATEWAY_REFUSED)
        entry->refusals.going_on = false;
}

static struct finish after_send(struct attempt *attempt, struct gateway_result *result)
{
    struct entry *entry = attempt->entry;
    if (result->outcome != GATEWAY_REPLIED && result->outcome != GATEWAY_ABORTED)
        stats_send_ended(attempt->delivery->stats, result->error.text);
    note_refusals(entry, result);
    switch (result->outcome) {
    case GATEWAY_REPLIED:
        return take_reply(attempt, result);
    case GATEWAY_FAILED_RUN:
        return run_failed(attempt, "the run failed", result->outcome, &result->error);
    case GATEWAY_AMBIGUOUS:
        entry->timeouts += result->timed_out ? 1 : 0;
        return run_failed(attempt,
            result->timed_out ? "no answer in time" : "the connection was lost", result->outcome,
            &result->error);
    case GATEWAY_REFUSED:
        return refused(attempt, result);
    case GATEWAY_UNREACHABLE:
    case GATEWAY_MISCONFIGURED:
    case GATEWAY_BUSY:
        return breaker_trips(attempt, result);
    case GATEWAY_ABORTED:
    case GATEWAY_DISABLED:
        break;
    }
    return attempt_put_back(STAGE_KNOWN);
}

/* Whether the answer, or its absence, proves that the agent was not run. */
static bool certainly_no_run(const struct gateway_result *result)
{
    switch (result->outcome) {
    case GATEWAY_REPLIED:
    case GATEWAY_FAILED_RUN:
    case GATEWAY_AMBIGUOUS:
        return false;
    case GATEWAY_ABORTED:
        return !result->sent;
    case GATEWAY_DISABLED:
    case GATEWAY_UNREACHABLE:
    case GATEWAY_MISCONFIGURED:
    case GATEWAY_BUSY:
    case GATEWAY_REFUSED:
        break;
    }
    return true;
}

/* Twice the time after each run that took longer than we waited. */
static int64_t timeout_ms(const struct attempt *attempt)
{
    int64_t set_ms = attempt->delivery->config->gateway_timeout_ms;
    int64_t max_ms = set_ms > MAX_TIMEOUT_MS ? set_ms : MAX_TIMEOUT_MS;
    return backoff_doubled_ms(set_ms, attempt->entry->timeouts, max_ms);
}

static void count_run(const struct attempt *attempt, int64_t duration_us)
{
    struct metrics *metrics = &attempt->delivery->stats->metrics;
    const struct entry *entry = attempt->entry;
    metrics_add(metrics, METRIC_RUNS, entry->runs == 1 ? "first" : "repeat", NULL, 1);
    metrics_add(metrics, METRIC_AGENT_RUNS, entry->agent_slug, NULL, 1);
    metrics_observe(metrics, METRIC_AGENT_RUN, NULL, duration_us);
}

static void send_to_agent(struct attempt *attempt, const struct agent_address *address,
    const struct text *input, struct gateway_result *result)
{
    const struct delivery *delivery = attempt->delivery;
    struct entry *entry = attempt->entry;
    const struct gateway_message message = {
        .session_key = address->session_key.data,
        .agent_slug = address->agent_slug,
        .input = input->data,
        .input_bytes = input->length_bytes,
        .timeout_ms = timeout_ms(attempt),
        .trace = &entry->trace,
    };
    int64_t began_us = clock_monotonic_us();
    journal_begin_run(&delivery->journal, entry);
    STOP_POINT("before_send");
    gateway_send(delivery->gateway, attempt->client, &message, result);
    STOP_POINT("after_send");
    int64_t duration_us = clock_monotonic_us() - began_us;
    attempt->run_ms = duration_us / 1000;
    if (certainly_no_run(result))
        journal_undo_run(&delivery->journal, entry);
    else
        count_run(attempt, duration_us);
}

static struct finish post(
    struct attempt *attempt, const struct agent_address *address, const struct text *input)
{
    const struct delivery *delivery = attempt->delivery;
    struct gateway_result result;
    /* Before the queue is asked, so that a change of the gate in between makes the result stale. */
    uint64_t ticket = breaker_ticket(delivery->control->breaker);
    if (!send_queue_advance(delivery->queue, attempt->entry, STAGE_SENDING))
        return attempt_put_back(STAGE_KNOWN);
    send_to_agent(attempt, address, input, &result);
    /* The reply goes to disk before anything else that could take time. */
    struct finish finish = after_send(attempt, &result);
    breaker_control_record_send(delivery->control, ticket, attempt->entry->agent_id, &result);
    gateway_result_fini(&result);
    return finish;
}

struct finish ask_agent(struct attempt *attempt, const struct delivery_context *context)
{
    struct agent_address address;
    struct text input = {0};
    struct finish finish;
    bool complete = agent_address_from_json(&address, &attempt->delivery->router, context->agent);
    prompt_build(context, &input);
    if (!complete || input.failed) {
        struct error error;
        error_set(&error, ERROR_NO_MEMORY, "no memory for the message to the agent");
        finish = attempt_retry(attempt, attempt_other_failure, STAGE_KNOWN, 0, 0, &error);
    } else {
        finish = post(attempt, &address, &input);
    }
    agent_address_fini(&address);
    text_fini(&input);
    return finish;
}
