#include "work/deliver.h"

#include <stdlib.h>
#include <string.h>

#include "base/backoff.h"
#include "base/clock.h"
#include "base/json_guard.h"
#include "base/log.h"
#include "base/stop_point.h"
#include "work/prompt.h"
#include "work/reply.h"

/* A run that failed may have cost money and left traces: the next one is put off further. */
enum { DOUBLINGS_AFTER_A_RUN = 4 };

static const char component[] = "Delivery";

/* In the thread for an agent that failed too often: nothing of what a server said, no mention. */
static const char dead_note[] =
    "**No reply.** The agent was asked %u times about this notification and its run did not end "
    "well (%s). It will not be asked again by itself; post in this thread to ask it anew.";

/* One worker's attempt at one entry. */
struct attempt {
    const struct deliver *deliver;
    struct http_client *client;
    struct service service;
    struct entry *entry;
    int64_t run_ms;   /* how long the agent took, -1 when it was not asked */
    const char *note; /* why it ended other than delivered, for the log */
};

static struct finish go_on(enum entry_stage stage)
{
    return (struct finish){.stage = stage};
}

static struct finish wait_at(enum entry_stage stage, int64_t delay_ms)
{
    return (struct finish){.stage = stage, .delay_ms = delay_ms > 0 ? delay_ms : 1};
}

static void count_failure(struct attempt *attempt, const struct error *error)
{
    attempt->entry->failures++;
    atomic_fetch_add(&attempt->deliver->stats->failed, 1);
    stats_delivery_failed(attempt->deliver->stats, error->text);
}

/* The stage failed: counts, says why, and waits with backoff before it is tried again. */
static struct finish try_again(struct attempt *attempt, enum entry_stage stage,
    unsigned more_doublings, int64_t least_ms, const struct error *error)
{
    const struct config *config = attempt->deliver->config;
    const struct entry *entry = attempt->entry;
    count_failure(attempt, error);
    int64_t delay_ms = backoff_ms(entry->failures + more_doublings,
        config->delivery_backoff_base_ms, config->delivery_backoff_max_ms, backoff_random_unit());
    if (delay_ms < least_ms)
        delay_ms = least_ms;
    log_event(LOG_LEVEL_WARN, component,
        LOG_FIELDS(LOG_TEXT("agent", entry->agent_slug), LOG_NUMBER("attempt", entry->attempts),
            LOG_NUMBER("retry_ms", delay_ms)),
        "Failed to deliver %s %s", entry->item.id, error->text);
    return wait_at(stage, delay_ms);
}

/* The stop interrupts an attempt; the backend keeps the notification for the next start. */
static struct finish interrupted(enum entry_stage stage)
{
    return wait_at(stage, 1);
}

static struct finish settle(struct attempt *attempt, enum entry_verdict verdict, const char *note)
{
    attempt->entry->verdict = verdict;
    attempt->note = note;
    return go_on(STAGE_SETTLED);
}

/* Nothing is to be sent; the notification is marked so that it leaves the backend's list. */
static struct finish skip(struct attempt *attempt, enum entry_verdict verdict, const char *note)
{
    attempt->entry->verdict = verdict;
    attempt->note = note;
    return go_on(STAGE_WRITTEN);
}

static bool is_over(const struct delivery_context *context)
{
    return json_is_null(context->value) ||
           json_is_number(json_object_get(context->notification, "deliveredAt"));
}

static bool task_is_gone(const struct delivery_context *context)
{
    return context->task == NULL && json_guard_string(context->notification, "taskId") != NULL;
}

/* Fills *finish and returns true when the context says that there is nothing to send. */
static bool decide_without_send(
    struct attempt *attempt, const struct delivery_context *context, struct finish *finish)
{
    if (json_is_null(context->value))
        *finish = settle(attempt, VERDICT_SKIPPED, "notification_gone");
    else if (is_over(context))
        *finish = settle(attempt, VERDICT_SKIPPED, "already_delivered");
    else if (context->agent == NULL)
        *finish = skip(attempt, VERDICT_SKIPPED, "agent_gone");
    else if (task_is_gone(context))
        *finish = skip(attempt, VERDICT_SKIPPED, "task_gone");
    else
        return false;
    return true;
}

/* What the context says about the entry and later stages need. */
static void remember_context(struct entry *entry, const struct delivery_context *context)
{
    const char *slug = json_guard_string(context->agent, "slug");
    const char *task_id = json_guard_string(context->notification, "taskId");
    text_copy(entry->agent_slug, sizeof entry->agent_slug, slug != NULL ? slug : "");
    text_copy(entry->task_id, sizeof entry->task_id, task_id != NULL ? task_id : "");
}

/* The backend could not be asked, or refused. Only the stop is no failure. */
static struct finish backend_failed(struct attempt *attempt, enum entry_stage stage,
    enum convex_outcome outcome, const struct error *error)
{
    if (outcome == CONVEX_ABORTED)
        return interrupted(stage);
    return try_again(attempt, stage, 0, 0, error);
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
    if (service_get_delivery(&attempt->service, id, &context, &unused) != CONVEX_SUCCESS)
        return try_again(attempt, stage, 0, 0, error);
    struct finish finish;
    if (is_over(&context))
        finish = settle(attempt, VERDICT_SKIPPED, "ended_elsewhere");
    else if (stage != STAGE_WRITTEN && (context.agent == NULL || task_is_gone(&context)))
        finish = skip(attempt, VERDICT_DEAD, context.agent == NULL ? "agent_gone" : "task_gone");
    else
        finish = try_again(attempt, stage, 0, 0, error);
    delivery_context_fini(&context);
    return finish;
}

static struct finish write_failed(struct attempt *attempt, enum entry_stage stage,
    enum convex_outcome outcome, const struct error *error)
{
    if (outcome == CONVEX_FUNCTION_ERROR)
        return function_failed(attempt, stage, error);
    return backend_failed(attempt, stage, outcome, error);
}

static bool budget_is_spent(const struct attempt *attempt)
{
    return attempt->entry->runs >= attempt->deliver->config->delivery_max_runs;
}

/* A run failed, or may have: another follows as long as the budget lasts. */
static struct finish run_failed(struct attempt *attempt, const struct error *error)
{
    const struct entry *entry = attempt->entry;
    if (!budget_is_spent(attempt))
        return try_again(attempt, STAGE_KNOWN, DOUBLINGS_AFTER_A_RUN, 0, error);
    count_failure(attempt, error);
    log_event(LOG_LEVEL_WARN, component,
        LOG_FIELDS(LOG_TEXT("agent", entry->agent_slug), LOG_NUMBER("attempt", entry->attempts),
            LOG_NUMBER("runs", entry->runs)),
        "Failed to deliver %s for the last time: %s", entry->item.id, error->text);
    return go_on(STAGE_GIVING_UP);
}

static struct finish take_reply(struct attempt *attempt, struct gateway_result *result)
{
    struct entry *entry = attempt->entry;
    struct error error;
    stats_send_ended(attempt->deliver->stats, NULL);
    if (reply_read(result->body, &entry->reply, &error) != 0)
        return run_failed(attempt, &error);
    spooling_keep_reply(&attempt->deliver->spooling, entry);
    STOP_POINT("after_spool");
    entry->failures = 0;
    return go_on(STAGE_REPLIED);
}

static const char *failure_words(const struct gateway_result *result)
{
    if (result->timed_out)
        return "no answer in time";
    return result->outcome == GATEWAY_AMBIGUOUS ? "the connection was lost" : "the run failed";
}

static struct finish after_send(struct attempt *attempt, struct gateway_result *result)
{
    if (result->outcome == GATEWAY_REPLIED)
        return take_reply(attempt, result);
    if (result->outcome == GATEWAY_ABORTED)
        return interrupted(STAGE_KNOWN);
    stats_send_ended(attempt->deliver->stats, result->error.text);
    if (result->outcome == GATEWAY_FAILED_RUN || result->outcome == GATEWAY_AMBIGUOUS) {
        text_copy(attempt->entry->failure, sizeof attempt->entry->failure, failure_words(result));
        return run_failed(attempt, &result->error);
    }
    return try_again(attempt, STAGE_KNOWN, 0, result->retry_after_ms, &result->error);
}

/* The agent's own key, or one built as the backend builds it. */
static void session_key(
    const struct attempt *attempt, const struct delivery_context *context, struct text *key)
{
    const char *given = json_guard_string(context->agent, "sessionKey");
    if (given != NULL && given[0] != '\0')
        text_append(key, given);
    else
        text_printf(
            key, "agent:%s:%s", attempt->entry->agent_slug, attempt->deliver->config->account_id);
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

static struct finish post(struct attempt *attempt, const struct text *key, const struct text *input)
{
    const struct deliver *deliver = attempt->deliver;
    struct entry *entry = attempt->entry;
    if (!send_queue_advance(deliver->queue, entry, STAGE_SENDING))
        return interrupted(STAGE_KNOWN);
    const struct gateway_message message = {
        .session_key = key->data,
        .agent_slug = entry->agent_slug,
        .input = input->data,
        .input_bytes = input->length_bytes,
        .timeout_ms = deliver->config->gateway_timeout_ms,
    };
    struct gateway_result result;
    int64_t began_us = clock_monotonic_us();
    spooling_begin_run(&deliver->spooling, entry);
    STOP_POINT("before_send");
    gateway_send(deliver->gateway, attempt->client, &message, &result);
    STOP_POINT("after_send");
    attempt->run_ms = (clock_monotonic_us() - began_us) / 1000;
    if (certainly_no_run(&result))
        spooling_take_back_run(&deliver->spooling, entry);
    else
        atomic_fetch_add(&deliver->stats->runs, 1);
    struct finish finish = after_send(attempt, &result);
    gateway_result_fini(&result);
    return finish;
}

static struct finish ask_agent(struct attempt *attempt, const struct delivery_context *context)
{
    struct text key = {0};
    struct text input = {0};
    session_key(attempt, context, &key);
    prompt_build(context, &input);
    struct finish finish;
    if (key.failed || input.failed) {
        struct error error;
        error_set(&error, ERROR_NO_MEMORY, "no memory for the message to the agent");
        finish = try_again(attempt, STAGE_KNOWN, 0, 0, &error);
    } else {
        finish = post(attempt, &key, &input);
    }
    text_fini(&key);
    text_fini(&input);
    return finish;
}

static struct finish run_known(struct attempt *attempt)
{
    struct delivery_context context;
    struct error error;
    enum convex_outcome outcome =
        service_get_delivery(&attempt->service, attempt->entry->item.id, &context, &error);
    if (outcome != CONVEX_SUCCESS)
        return backend_failed(attempt, STAGE_KNOWN, outcome, &error);
    remember_context(attempt->entry, &context);
    struct finish finish;
    if (!decide_without_send(attempt, &context, &finish))
        finish = budget_is_spent(attempt) ? go_on(STAGE_GIVING_UP) : ask_agent(attempt, &context);
    delivery_context_fini(&context);
    return finish;
}

/* A reply without words, or without a task to put it in, is delivered without a message. */
static struct finish run_replied(struct attempt *attempt)
{
    const struct deliver *deliver = attempt->deliver;
    struct entry *entry = attempt->entry;
    struct error error;
    entry->verdict = VERDICT_DELIVERED;
    if (spooling_recall_reply(&deliver->spooling, entry, &error) != 0)
        return try_again(attempt, entry->spooled ? STAGE_REPLIED : STAGE_KNOWN, 0, 0, &error);
    if (entry->reply[0] == '\0' || entry->task_id[0] == '\0')
        return go_on(STAGE_WRITTEN);
    enum convex_outcome outcome = service_create_message(
        &attempt->service, entry->agent_id, entry->task_id, entry->reply, entry->item.id, &error);
    if (outcome != CONVEX_SUCCESS)
        return write_failed(attempt, STAGE_REPLIED, outcome, &error);
    STOP_POINT("after_create_message");
    entry->failures = 0;
    deliver->ask_for_poll(deliver->poll_context);
    return go_on(STAGE_WRITTEN);
}

/* The note takes the reply's key, so a thread never gets both, nor the note twice. */
static struct finish run_giving_up(struct attempt *attempt)
{
    struct entry *entry = attempt->entry;
    struct error error;
    entry->verdict = VERDICT_DEAD;
    attempt->note = entry->failure[0] != '\0' ? entry->failure : "asked before a restart";
    if (entry->task_id[0] == '\0')
        return go_on(STAGE_WRITTEN);
    struct text note = {0};
    text_printf(&note, dead_note, entry->runs, attempt->note);
    if (note.failed) {
        error_set(&error, ERROR_NO_MEMORY, "no memory for a note");
        return try_again(attempt, STAGE_GIVING_UP, 0, 0, &error);
    }
    enum convex_outcome outcome = service_create_message(
        &attempt->service, entry->agent_id, entry->task_id, note.data, entry->item.id, &error);
    text_fini(&note);
    if (outcome != CONVEX_SUCCESS)
        return write_failed(attempt, STAGE_GIVING_UP, outcome, &error);
    return go_on(STAGE_WRITTEN);
}

static struct finish run_written(struct attempt *attempt)
{
    struct error error;
    enum convex_outcome outcome =
        service_mark_delivered(&attempt->service, attempt->entry->item.id, &error);
    if (outcome != CONVEX_SUCCESS)
        return write_failed(attempt, STAGE_WRITTEN, outcome, &error);
    STOP_POINT("after_mark");
    return go_on(STAGE_SETTLED);
}

static struct finish run_stage(struct attempt *attempt, enum entry_stage stage)
{
    switch (stage) {
    case STAGE_KNOWN:
    case STAGE_SENDING:
        return run_known(attempt);
    case STAGE_REPLIED:
        return run_replied(attempt);
    case STAGE_WRITTEN:
        return run_written(attempt);
    case STAGE_GIVING_UP:
        return run_giving_up(attempt);
    case STAGE_SETTLED:
        break;
    }
    return go_on(STAGE_SETTLED);
}

static void report_end(const struct attempt *attempt)
{
    static const char *const words[] = {
        [VERDICT_DELIVERED] = "Delivered",
        [VERDICT_SKIPPED] = "Skipped",
        [VERDICT_DEAD] = "Given up on",
    };
    const struct entry *entry = attempt->entry;
    struct stats *stats = attempt->deliver->stats;
    atomic_llong *const counters[] = {
        [VERDICT_DELIVERED] = &stats->delivered,
        [VERDICT_SKIPPED] = &stats->skipped,
        [VERDICT_DEAD] = &stats->dead,
    };
    atomic_fetch_add(counters[entry->verdict], 1);
    log_event(entry->verdict == VERDICT_DEAD ? LOG_LEVEL_ERROR : LOG_LEVEL_INFO, component,
        LOG_FIELDS(LOG_TEXT("agent", entry->agent_slug), LOG_NUMBER("attempt", entry->attempts),
            LOG_NUMBER("run_ms", attempt->run_ms),
            LOG_NUMBER("total_ms", (clock_monotonic_us() - entry->started_us) / 1000),
            LOG_TEXT("reason", attempt->note != NULL ? attempt->note : "replied")),
        "%s %s", words[entry->verdict], entry->item.id);
}

void deliver_run(void *context, struct http_client *client, struct entry *entry)
{
    const struct deliver *deliver = context;
    struct attempt attempt = {
        .deliver = deliver,
        .client = client,
        .service = {.convex = deliver->convex, .client = client},
        .entry = entry,
        .run_ms = -1,
    };
    entry->started_us = clock_monotonic_us();
    struct finish finish = run_stage(&attempt, entry->stage);
    while (finish.stage != STAGE_SETTLED && finish.delay_ms == 0) {
        send_queue_advance(deliver->queue, entry, finish.stage);
        finish = run_stage(&attempt, finish.stage);
    }
    if (finish.stage == STAGE_SETTLED) {
        spooling_end(&deliver->spooling, entry);
        STOP_POINT("after_spool_remove");
        report_end(&attempt);
    } else {
        spooling_release_reply(entry);
    }
    if (send_queue_finish(deliver->queue, entry, &finish))
        deliver->ask_for_poll(deliver->poll_context);
}
