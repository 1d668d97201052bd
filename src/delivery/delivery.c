#include "delivery/delivery.h"

#include "base/json.h"
#include "base/log.h"
#include "base/stop_point.h"
#include "base/sync.h"
#include "delivery/attempt.h"
#include "delivery/entry.h"
#include "delivery/prompt.h"

static const char component[] = "Delivery";

/* What the context says about the entry and later stages need. */
static void remember_context(struct entry *entry, const struct delivery_context *context)
{
    const char *slug = json_guard_string(context->agent, "slug");
    const char *task_id = json_guard_string(context->notification, "taskId");
    text_copy(entry->agent_slug, sizeof entry->agent_slug, slug != NULL ? slug : "");
    activity_name_agent(entry->activity, entry->agent_slug);
    text_copy(entry->task_id, sizeof entry->task_id, task_id != NULL ? task_id : "");
}

/* Fills *finish and returns true when the context says that there is nothing to send. */
static bool decide_without_send(
    struct attempt *attempt, const struct delivery_context *context, struct finish *finish)
{
    if (json_is_null(context->value))
        *finish = attempt_settle(attempt, OUTCOME_SKIPPED, "notification_gone");
    else if (delivery_context_is_over(context))
        *finish = attempt_settle(attempt, OUTCOME_SKIPPED, "already_delivered");
    else if (context->agent == NULL)
        *finish = attempt_mark_as(attempt, OUTCOME_SKIPPED, "agent_gone");
    else if (delivery_context_task_is_gone(context))
        *finish = attempt_mark_as(attempt, OUTCOME_SKIPPED, "task_gone");
    else
        return false;
    return true;
}

static struct finish guard_and_ask(struct attempt *attempt, const struct delivery_context *context)
{
    const char *reason;
    struct error error;
    enum convex_outcome outcome = loop_guard_judge(attempt->delivery->guard, &attempt->service,
        attempt->entry->agent_id, context, &reason, &error);
    if (outcome != CONVEX_SUCCESS)
        return attempt_call_failed(attempt, STAGE_KNOWN, outcome, &error);
    if (reason != NULL)
        return attempt_mark_as(attempt, OUTCOME_SKIPPED, reason);
    if (ask_budget_is_spent(attempt))
        return attempt_go_on(STAGE_NOTIFY_FAILURE);
    return ask_agent(attempt, context);
}

static struct finish run_known(struct attempt *attempt)
{
    struct delivery_context context;
    struct error error;
    attempt->service.abort = attempt->delivery->stopping;
    enum convex_outcome outcome =
        service_get_delivery(&attempt->service, attempt->entry->item.id, &context, &error);
    if (outcome != CONVEX_SUCCESS)
        return attempt_call_failed(attempt, STAGE_KNOWN, outcome, &error);
    attempt->entry->errors = (struct failing){0};
    remember_context(attempt->entry, &context);
    struct finish finish;
    if (!decide_without_send(attempt, &context, &finish))
        finish = guard_and_ask(attempt, &context);
    delivery_context_fini(&context);
    return finish;
}

static struct finish run_stage(struct attempt *attempt, enum entry_stage stage)
{
    attempt->service.abort = NULL; /* write-backs have until the end of the grace */
    switch (stage) {
    case STAGE_KNOWN:
    case STAGE_SENDING:
        return run_known(attempt);
    case STAGE_REPLIED:
        return write_back_reply(attempt);
    case STAGE_WRITTEN:
        return write_back_mark(attempt);
    case STAGE_NOTIFY_FAILURE:
        return write_back_note(attempt);
    case STAGE_SETTLED:
        break;
    }
    return attempt_go_on(STAGE_SETTLED);
}

static void count_delivered(struct metrics *metrics, const struct entry *entry)
{
    int64_t now_us = clock_monotonic_us();
    int64_t replied_us = entry->replied_us != 0 ? entry->replied_us : entry->known_us;
    metrics_add(metrics, METRIC_NOTIFICATIONS_DELIVERED, NULL, NULL, 1);
    metrics_observe(metrics, METRIC_WRITE_BACK, NULL, now_us - replied_us);
    metrics_observe(metrics, METRIC_DELIVERY, NULL, now_us - entry->known_us);
    if (entry->created_at_ms > 0)
        metrics_observe(
            metrics, METRIC_DELIVERY_LAG, NULL, (clock_wall_ms() - entry->created_at_ms) * 1000);
}

static void count_end(const struct attempt *attempt)
{
    static const char *const outcomes[] = {
        [OUTCOME_DELIVERED] = "delivered",
        [OUTCOME_SKIPPED] = "skipped",
        [OUTCOME_DEAD] = "dead",
    };
    const struct entry *entry = attempt->entry;
    struct metrics *metrics = &attempt->delivery->stats->metrics;
    metrics_add(
        metrics, METRIC_AGENT_NOTIFICATIONS, entry->agent_slug, outcomes[entry->verdict], 1);
    if (entry->verdict == OUTCOME_DELIVERED)
        count_delivered(metrics, entry);
    else if (entry->verdict == OUTCOME_DEAD)
        metrics_add(metrics, METRIC_NOTIFICATIONS_DEAD, NULL, NULL, 1);
    else
        metrics_add(metrics, METRIC_NOTIFICATIONS_SKIPPED,
            entry->note != NULL ? entry->note : "other", NULL, 1);
}

static void report_end(const struct attempt *attempt)
{
    static const char *const words[] = {
        [OUTCOME_DELIVERED] = "Delivered",
        [OUTCOME_SKIPPED] = "Skipped",
        [OUTCOME_DEAD] = "Given up on",
    };
    const struct entry *entry = attempt->entry;
    count_end(attempt);
    log_event(entry->verdict == OUTCOME_DEAD ? LOG_LEVEL_ERROR : LOG_LEVEL_INFO, component,
        ATTEMPT_FIELDS(attempt, LOG_TEXT("reason", entry->note != NULL ? entry->note : "replied")),
        "%s %s", words[entry->verdict], entry->item.id);
}

/* Works through the stages that follow at once. */
static struct finish run_stages(struct attempt *attempt)
{
    struct entry *entry = attempt->entry;
    if (entry->dead_letter_pending)
        return attempt_go_on(STAGE_SETTLED);
    struct finish finish = run_stage(attempt, entry->stage);
    while (finish.stage != STAGE_SETTLED && !finish.put_back && finish.delay_ms == 0) {
        send_queue_advance(attempt->delivery->queue, entry, finish.stage);
        finish = run_stage(attempt, finish.stage);
    }
    return finish;
}

void delivery_run(const struct delivery *delivery, struct http_client *client, struct entry *entry)
{
    struct attempt attempt = {
        .delivery = delivery,
        .client = client,
        .service = {.convex = delivery->convex, .client = client, .trace = &entry->trace},
        .entry = entry,
        .run_ms = -1,
    };
    entry->started_us = clock_monotonic_us();
    if (entry->trace.id[0] == '\0')
        trace_begin(&entry->trace);
    metrics_observe(&delivery->stats->metrics, METRIC_QUEUE_WAIT, NULL, entry->waited_us);
    struct finish finish = run_stages(&attempt);
    if (finish.stage == STAGE_SETTLED && !journal_close(&delivery->journal, entry)) {
        entry->dead_letter_pending = true;
        finish = (struct finish){
            .stage = STAGE_WRITTEN, .delay_ms = delivery->config->delivery_backoff_max_ms};
    }
    if (finish.stage == STAGE_SETTLED) {
        STOP_POINT("after_spool_remove");
        report_end(&attempt);
        if (entry->verdict == OUTCOME_DELIVERED && delivery->on_delivered != NULL)
            delivery->on_delivered(
                delivery->delivered_context, client, entry->agent_id, &entry->trace);
    }
    if (finish.stage != STAGE_SETTLED)
        journal_release_reply(entry);
    send_queue_finish(delivery->queue, entry, &finish);
}

/* A reply without words, or without a task to put it in, is delivered without a message. */
struct finish write_back_reply(struct attempt *attempt)
{
    const struct delivery *delivery = attempt->delivery;
    struct entry *entry = attempt->entry;
    struct error error;
    entry->verdict = OUTCOME_DELIVERED;
    entry->note = NULL;
    if (journal_load_reply(&delivery->journal, entry, &error) != 0) {
        if (!entry->spooled)
            text_copy(entry->failure, sizeof entry->failure, "its reply was lost on the disk");
        return attempt_retry(attempt, attempt_other_failure,
            entry->spooled ? STAGE_REPLIED : STAGE_KNOWN, 0, 0, &error);
    }
    if (entry->reply[0] == '\0' || entry->task_id[0] == '\0')
        return attempt_go_on(STAGE_WRITTEN);
    /* The disk may take by now what it did not when the reply came. */
    if (!entry->spooled)
        journal_save_reply(&delivery->journal, entry);
    enum convex_outcome outcome = service_create_message(
        &attempt->service, entry->agent_id, entry->task_id, entry->reply, entry->item.id, &error);
    if (outcome != CONVEX_SUCCESS)
        return attempt_call_failed(attempt, STAGE_REPLIED, outcome, &error);
    STOP_POINT("after_create_message");
    attempt_forget_failures(attempt);
    send_queue_expect_more(delivery->queue);
    return attempt_go_on(STAGE_WRITTEN);
}

/* The note takes the reply's key, so a thread never gets both, nor the note twice. */
struct finish write_back_note(struct attempt *attempt)
{
    struct entry *entry = attempt->entry;
    struct error error;
    entry->verdict = OUTCOME_DEAD;
    entry->note = entry->failure[0] != '\0' ? entry->failure : "asked before a restart";
    if (entry->task_id[0] == '\0')
        return attempt_go_on(STAGE_WRITTEN);
    struct text note = {0};
    failure_notice_append(&note, entry->runs, entry->note);
    if (note.failed) {
        error_set(&error, ERROR_NO_MEMORY, "no memory for a note");
        return attempt_retry(attempt, attempt_other_failure, STAGE_NOTIFY_FAILURE, 0, 0, &error);
    }
    enum convex_outcome outcome = service_create_message(
        &attempt->service, entry->agent_id, entry->task_id, note.data, entry->item.id, &error);
    text_fini(&note);
    if (outcome != CONVEX_SUCCESS)
        return attempt_call_failed(attempt, STAGE_NOTIFY_FAILURE, outcome, &error);
    attempt_forget_failures(attempt);
    return attempt_go_on(STAGE_WRITTEN);
}

struct finish write_back_mark(struct attempt *attempt)
{
    struct error error;
    enum convex_outcome outcome =
        service_mark_delivered(&attempt->service, attempt->entry->item.id, &error);
    if (outcome != CONVEX_SUCCESS)
        return attempt_call_failed(attempt, STAGE_WRITTEN, outcome, &error);
    STOP_POINT("after_mark");
    attempt->entry->acked = true;
    return attempt_go_on(STAGE_SETTLED);
}
