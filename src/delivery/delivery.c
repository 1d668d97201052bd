/*
 * The life of a notification, on the worker that has taken it from the send queue:
 *
 *   known --> sending --> replied --> written --> settled
 *     | \       ^  \ \                 ^ ^         ^
 *     |  \     acting \                | |         |
 *     |   '------------'> notify failure |         |
 *     |------------- skipped ------------'         |
 *     '------------- ended elsewhere --------------'
 *
 * On a v1 backend an agent that is asked may call tools, which are carried out while it is acting
 * (converse.c), and written leads back to known if there is a newer message (delivery_v1.c).
 *
 * Each stage is one function, in that order below; it does one step that may block and returns
 * which stage follows. A stage that fails returns itself with a delay (or known, when the agent has
 * to be asked again): the entry goes back to the queue and a worker resumes it there later. How
 * failures are weighed is in attempt.c. Nothing here holds a lock; the entry's work part belongs to
 * this worker until send_queue_finish.
 *
 * The order of effects is what makes a reply safe against a crash at any point: the run is counted
 * in the spool before the request goes out, the reply is on disk before it is posted, it is posted
 * (idempotent by the notification's id) before the notification is acknowledged, and only then is
 * the record removed. A restart resumes from the record (journal_restore) and at worst repeats a
 * step that the backend ignores. STOP_POINT marks where the tests kill the process to prove it.
 */
#include "delivery/delivery.h"

#include <stdlib.h>

#include "base/json.h"
#include "base/log.h"
#include "base/stop_point.h"
#include "base/sync.h"
#include "delivery/attempt.h"
#include "delivery/converse.h"
#include "delivery/delivery_v1.h"
#include "delivery/entry.h"
#include "delivery/long_reply.h"
#include "delivery/policy.h"
#include "delivery/prompt.h"
#include "delivery/tool_rounds.h"

static const char component[] = "Delivery";

static enum entry_stage stage_known(struct attempt *attempt);
static enum entry_stage stage_replied(struct attempt *attempt);
static enum entry_stage stage_notify_failure(struct attempt *attempt);
static enum entry_stage stage_written(struct attempt *attempt);
static enum entry_stage stage_settled(struct attempt *attempt);

static enum entry_stage run_stage(struct attempt *attempt, enum entry_stage stage)
{
    /* Shutdown aborts reads that precede a send; write-backs have until the end of the grace. */
    attempt->service.abort = stage == STAGE_KNOWN ? attempt->delivery->stopping : NULL;
    switch (stage) {
    case STAGE_KNOWN:
        return stage_known(attempt);
    case STAGE_SENDING:
        return stage_sending(attempt);
    case STAGE_ACTING:
        return stage_acting(attempt);
    case STAGE_REPLIED:
        return stage_replied(attempt);
    case STAGE_NOTIFY_FAILURE:
        return stage_notify_failure(attempt);
    case STAGE_WRITTEN:
        return stage_written(attempt);
    case STAGE_SETTLED:
        break;
    }
    return stage_settled(attempt);
}

/* Only a send is ever refused: by the breaker, the operator's hold or the shutdown. */
static enum entry_stage send_not_allowed(struct attempt *attempt)
{
    attempt->put_back = true;
    return converse_withdraw(attempt);
}

/* Runs stages until one has to wait, is put back, or the notification is settled. */
static enum entry_stage run_stages(struct attempt *attempt)
{
    struct entry *entry = attempt->entry;
    if (entry->work.closing == CLOSING_DEAD_LETTER)
        return run_stage(attempt, STAGE_SETTLED);
    enum entry_stage stage = run_stage(attempt, entry->queue.stage);
    while (stage != STAGE_SETTLED && !attempt->put_back && attempt->delay_ms == 0) {
        /* A stage is over, and its failures with it; before a send they are of earlier sends. */
        if (stage != STAGE_SENDING && stage != STAGE_ACTING) {
            entry->work.failures = 0;
            entry->work.failure_class = FAILURE_NONE;
            entry->work.errors = (struct failing_time){0};
        }
        if (!send_queue_advance(attempt->delivery->queue, entry, stage))
            return send_not_allowed(attempt);
        stage = run_stage(attempt, stage);
    }
    /* The queue settles the entry in send_queue_finish, together with its lane. */
    return stage == STAGE_SETTLED ? run_stage(attempt, STAGE_SETTLED) : stage;
}

/*
 * Once the queue has the entry back: the attempt counts for the runtime's health, and the reporter
 * compares that with what it reported. A run that failed for the last time is settled and failed.
 */
static void count_for_health(struct stats *stats, const char *agent_id, bool failed, bool delivered)
{
    if (failed)
        stats_attempt_failed(stats, agent_id, clock_monotonic_ms());
    else if (delivered)
        stats_attempt_succeeded(stats, agent_id, clock_monotonic_ms());
    if (failed || !atomic_load(&stats->reported_good))
        stats_changed(stats);
}

void delivery_run(void *context, struct http_client *client, struct entry *entry)
{
    const struct delivery *delivery = context;
    struct attempt attempt = {
        .delivery = delivery,
        .client = client,
        .service = {.convex = delivery->convex, .client = client, .trace = &entry->work.trace},
        .entry = entry,
        .run_ms = -1,
    };
    entry->work.started_us = clock_monotonic_us();
    if (entry->work.trace.id[0] == '\0')
        trace_begin(&entry->work.trace);
    enum entry_stage stage = run_stages(&attempt);
    /* What is given back ahead of its turn still waits. */
    if (!entry->queue.ahead || !attempt.put_back)
        metrics_observe(&delivery->stats->metrics, METRIC_QUEUE_WAIT, NULL, entry->queue.waited_us);
    delivery_context_fini(&attempt.context);
    converse_fini(&attempt);
    if (attempt.verdict.counted)
        loop_guard_take_back(delivery->guard, &attempt.verdict);
    if (stage != STAGE_SETTLED || entry->work.closing != CLOSING_ACKNOWLEDGED)
        v1_end_typing(&attempt);
    bool delivered = stage == STAGE_SETTLED && entry->work.outcome == OUTCOME_DELIVERED &&
                     entry->work.reopened == 0;
    const struct trace trace = entry->work.trace;
    char agent_id[ID_BYTES];
    text_copy(agent_id, sizeof agent_id, entry->agent_id);
    if (stage != STAGE_SETTLED)
        journal_release_reply(entry);
    bool has_wake = send_queue_finish(delivery->queue, entry, stage, attempt.delay_ms);
    count_for_health(delivery->stats, agent_id, attempt.failed, delivered);
    /* Only now, as it may block: the agent's next notification need not wait for it. */
    if (delivered && has_wake && delivery->on_delivered != NULL)
        delivery->on_delivered(delivery->delivered_context, client, agent_id, &trace);
}

/* Keeps what later stages need of the context, also after a restart. */
static void remember_context(struct attempt *attempt)
{
    struct entry *entry = attempt->entry;
    const struct delivery_context *context = &attempt->context;
    const char *slug = json_guard_string(context->agent, "slug");
    const char *task_id = json_guard_string(context->notification, "taskId");
    text_copy(entry->work.agent_slug, sizeof entry->work.agent_slug, slug != NULL ? slug : "");
    text_copy(entry->work.task_id, sizeof entry->work.task_id, task_id != NULL ? task_id : "");
    /* On v0 the rest is nothing. */
    text_copy(entry->work.message_id, sizeof entry->work.message_id,
        context->message_id != NULL ? context->message_id : "");
    entry->work.thread_until_ms = context->newest_in_thread_ms;
    entry->work.may_be_changed = context->may_be_changed;
    entry->work.begins_task = context->begins_task;
    if (context->version == BACKEND_V1 || context->author == AUTHOR_AGENT)
        other_runtime_read_context(attempt->delivery->other_runtime, entry, context);
}

/* Posts content in the entry's thread. Its key is the notification, so repeating it is safe. */
static enum convex_outcome post_message(
    struct attempt *attempt, const char *content, struct error *error)
{
    struct entry *entry = attempt->entry;
    if (entry->work.answers_again)
        return v1_post_without_key(attempt, content, error);
    char message_id[ID_BYTES] = "";
    const struct new_message message = {
        .agent_id = entry->agent_id,
        .task_id = entry->work.task_id,
        .content = content,
        .notification_id = entry->item.id,
        .message_id = message_id,
    };
    enum convex_outcome outcome = service_create_message(&attempt->service, &message, error);
    entry->work.evidence.posted_message = id_hash(message_id);
    return outcome;
}

/*
 * The agents of the thread have used up their runs, and this notification is the first that is
 * skipped for it: asks a person to go on, in our words. It has the reply's idempotency key, so it
 * is posted once, however often the call is repeated.
 */
static enum entry_stage post_limit_note(struct attempt *attempt)
{
    const struct delivery *delivery = attempt->delivery;
    struct error error;
    struct text note = {0};
    limit_note_append(&note, delivery->config->delivery_max_agent_runs);
    if (note.failed) {
        error_set(&error, ERROR_NO_MEMORY, "no memory for a note about the limit of agent runs");
        return attempt_retry(attempt, FAILURE_OTHER, STAGE_KNOWN, &error);
    }
    enum convex_outcome outcome = post_message(attempt, note.data, &error);
    text_fini(&note);
    if (outcome == CONVEX_SUCCESS || outcome == CONVEX_FUNCTION_ERROR)
        loop_guard_end_note(delivery->guard, &attempt->verdict, outcome == CONVEX_SUCCESS);
    if (outcome == CONVEX_FUNCTION_ERROR) {
        log_warn(component, "could not post that agents have reached their limit of runs: %s",
            error.text);
    } else if (outcome != CONVEX_SUCCESS) {
        return attempt_call_failed(attempt, STAGE_KNOWN, outcome, &error);
    }
    return attempt_end(attempt, STAGE_WRITTEN, OUTCOME_SKIPPED, attempt->verdict.reason);
}

/* Why the agent is not asked, as far as the context tells; REASON_REPLIED: it is to be asked. */
static enum end_reason find_obstacle(const struct attempt *attempt)
{
    const struct delivery_context *context = &attempt->context;
    if (context->version == BACKEND_V1)
        return policy_judge(context, attempt->entry->agent_id);
    if (context->agent == NULL)
        return REASON_AGENT_GONE;
    return context->task_is_gone ? REASON_TASK_GONE : REASON_REPLIED;
}

/*
 * The notification is to be sent as far as can be told ahead of its turn, in which its run is to be
 * counted. If the turn has come meanwhile it is judged in it; else it is given back.
 */
static enum entry_stage wait_for_turn(struct attempt *attempt)
{
    attempt->put_back = !send_queue_take_turn(attempt->delivery->queue, attempt->entry);
    return STAGE_KNOWN;
}

/*
 * Decides from the context whether the agent is asked. A notification that has ended elsewhere is
 * settled; one that is skipped is acknowledged, so that it leaves the backend's list.
 */
static enum entry_stage judge_context(struct attempt *attempt)
{
    const struct delivery_context *context = &attempt->context;
    if (json_is_null(context->value))
        return attempt_end(attempt, STAGE_SETTLED, OUTCOME_SKIPPED, REASON_NOTIFICATION_GONE);
    if (context->has_ended && !attempt->entry->work.answers_again)
        return attempt_end(attempt, STAGE_SETTLED, OUTCOME_SKIPPED, REASON_ALREADY_DELIVERED);
    enum end_reason reason = find_obstacle(attempt);
    if (reason != REASON_REPLIED)
        return attempt_end(attempt, STAGE_WRITTEN, OUTCOME_SKIPPED, reason);
    struct error error;
    if (context->version == BACKEND_V1 && v1_slug_is_unusable(attempt, &error))
        return attempt_retry(attempt, FAILURE_OTHER, STAGE_KNOWN, &error);
    bool is_turn = !attempt->entry->queue.ahead;
    enum convex_outcome outcome = loop_guard_judge(attempt->delivery->guard, &attempt->service,
        attempt->entry->agent_id, context, is_turn, &attempt->verdict, &error);
    if (outcome != CONVEX_SUCCESS)
        return attempt_call_failed(attempt, STAGE_KNOWN, outcome, &error);
    if (attempt->verdict.note_due)
        return post_limit_note(attempt);
    if (attempt->verdict.reason != REASON_REPLIED)
        return attempt_end(attempt, STAGE_WRITTEN, OUTCOME_SKIPPED, attempt->verdict.reason);
    if (!is_turn)
        return wait_for_turn(attempt);
    /* Spent by an earlier process. */
    const struct config *config = attempt->delivery->config;
    bool spent = attempt->entry->work.runs >= config->delivery_max_runs ||
                 attempt->entry->work.refusals.total_ms >= config->delivery_give_up_after_ms;
    return spent ? STAGE_NOTIFY_FAILURE : STAGE_SENDING;
}

/* Reads the notification's context and decides whether its agent is asked. */
static enum entry_stage stage_known(struct attempt *attempt)
{
    struct error error;
    const struct delivery *delivery = attempt->delivery;
    delivery_context_fini(&attempt->context);
    enum convex_outcome outcome =
        service_get_delivery(&attempt->service, attempt->entry->item.id, &attempt->context, &error);
    if (outcome != CONVEX_SUCCESS)
        return attempt_call_failed(attempt, STAGE_KNOWN, outcome, &error);
    /* On v0 an agent has one session for all of its tasks. */
    if (!json_is_null(attempt->context.value))
        send_queue_use_session_lanes(
            delivery->queue, attempt->context.version == BACKEND_V1 &&
                                 delivery->config->delivery_lanes != LANES_AGENT);
    attempt->entry->work.errors = (struct failing_time){0};
    /* An earlier process may have ended between its mark and the look that follows it. */
    if (attempt->context.has_ended && !attempt->entry->work.answers_again &&
        v1_settle_marked(attempt, &attempt->context) != STAGE_SETTLED)
        return STAGE_KNOWN;
    remember_context(attempt);
    enum entry_stage stage = judge_context(attempt);
    /* All of it first, so that nothing lies between the queue's permission and the request. */
    if (stage == STAGE_SENDING) {
        /* What an earlier try has changed is told to the agent in this one. */
        json_t *rounds = attempt->entry->work.rounds;
        if (rounds != NULL && !tool_rounds_end_try(rounds)) {
            error_set(&error, ERROR_NO_MEMORY, "no memory for what the agent has done before");
            return attempt_retry(attempt, FAILURE_OTHER, STAGE_KNOWN, &error);
        }
        bool is_v1 = attempt->context.version == BACKEND_V1;
        if (is_v1)
            converse_ask_for_tools(attempt);
        if (is_v1 && !converse_prepare(attempt)) {
            error_set(&error, ERROR_NO_MEMORY, "no memory for the message to the agent");
            return attempt_retry(attempt, FAILURE_OTHER, STAGE_KNOWN, &error);
        }
        journal_begin_run(&delivery->journal, attempt->entry);
        if (is_v1)
            v1_begin_typing(attempt);
    }
    return stage;
}

/* The reply cannot be read from the spool: at the moment, or for good, which costs another run. */
static enum entry_stage reply_is_missing(struct attempt *attempt, const struct error *error)
{
    struct entry *entry = attempt->entry;
    if (entry->work.record == RECORD_REPLY)
        return attempt_retry(attempt, FAILURE_OTHER, STAGE_REPLIED, error);
    text_copy(entry->work.failure, sizeof entry->work.failure, "its reply was lost on the disk");
    entry->work.evidence.inherited = true; /* the lost one may have been posted */
    entry->work.document = (struct document_state){0};
    return attempt_retry(attempt, FAILURE_OTHER, STAGE_KNOWN, error);
}

static enum convex_outcome post_long_reply(struct attempt *attempt, struct error *error)
{
    struct text content = {0};
    enum convex_outcome outcome = long_reply_publish(attempt, &content, error);
    if (outcome == CONVEX_SUCCESS)
        outcome = post_message(attempt, content.data, error);
    text_fini(&content);
    return outcome;
}

/* Posts the reply. One without words, or without a task to post it in, needs no message. */
static enum entry_stage stage_replied(struct attempt *attempt)
{
    const struct delivery *delivery = attempt->delivery;
    struct entry *entry = attempt->entry;
    struct error error;
    entry->work.outcome = OUTCOME_DELIVERED;
    entry->work.reason = REASON_REPLIED;
    if (entry->work.reply == NULL && journal_load_reply(&delivery->journal, entry, &error) != 0)
        return reply_is_missing(attempt, &error);
    if (entry->work.reply[0] == '\0')
        entry->work.reason = entry->work.unanswered ? REASON_UNANSWERED : REASON_SILENT;
    /* A mark of ours that came before the reply proves nothing about it. */
    bool is_old = entry->work.replied_us == 0 && !entry->work.reply_abandoned;
    if (is_old && !entry->work.answers_again) {
        enum convex_outcome outcome = attempt_look_for_mark(attempt, &error);
        /* A function that fails must not keep the reply from being posted. */
        if (outcome == CONVEX_UNAVAILABLE || outcome == CONVEX_ABORTED)
            return attempt_call_failed(attempt, STAGE_REPLIED, outcome, &error);
    }
    if (entry->work.reply[0] == '\0' || entry->work.task_id[0] == '\0')
        return STAGE_WRITTEN;
    /* A disk that was full when the reply came may have room now. */
    if (entry->work.record != RECORD_REPLY)
        journal_save_reply(&delivery->journal, entry);
    enum convex_outcome outcome = entry->work.document.wanted
                                      ? post_long_reply(attempt, &error)
                                      : post_message(attempt, entry->work.reply, &error);
    if (outcome != CONVEX_SUCCESS)
        return attempt_call_failed(attempt, STAGE_REPLIED, outcome, &error);
    if (!entry->work.answers_again)
        entry->work.evidence.posted = text_digest(entry->work.reply, OTHER_RUNTIME_DIGEST_BYTES);
    STOP_POINT("after_create_message");
    if (entry->work.begins_task)
        v1_begin_task(attempt);
    return STAGE_WRITTEN;
}

/* How the last run ended, in words for the thread; a run that a restart interrupted has none. */
static const char *last_failure(const struct entry *entry)
{
    return entry->work.failure[0] != '\0' ? entry->work.failure : "asked before a restart";
}

/*
 * Posts, in our words, why there will be no reply. The notice has the reply's idempotency key, so a
 * thread never gets both, nor the notice twice.
 */
static enum entry_stage stage_notify_failure(struct attempt *attempt)
{
    struct entry *entry = attempt->entry;
    struct error error;
    entry->work.outcome = OUTCOME_DEAD;
    entry->work.reason = REASON_LAST_FAILURE;
    if (entry->work.task_id[0] == '\0')
        return STAGE_WRITTEN;
    struct text notice = {0};
    failure_notice_append(&notice, entry->work.runs, last_failure(entry));
    if (notice.failed) {
        error_set(&error, ERROR_NO_MEMORY, "no memory for a failure notice");
        return attempt_retry(attempt, FAILURE_OTHER, STAGE_NOTIFY_FAILURE, &error);
    }
    enum convex_outcome outcome = post_message(attempt, notice.data, &error);
    text_fini(&notice);
    if (outcome != CONVEX_SUCCESS)
        return attempt_call_failed(attempt, STAGE_NOTIFY_FAILURE, outcome, &error);
    return STAGE_WRITTEN;
}

/* A notification that could be changed until now may be about a newer message by now. */
static enum entry_stage look_after_mark(struct attempt *attempt)
{
    struct error error;
    struct delivery_context context;
    enum convex_outcome outcome =
        service_get_delivery(&attempt->service, attempt->entry->item.id, &context, &error);
    if (outcome != CONVEX_SUCCESS)
        return attempt_call_failed(attempt, STAGE_WRITTEN, outcome, &error);
    enum entry_stage next = v1_settle_marked(attempt, &context);
    delivery_context_fini(&context);
    return next;
}

/* Acknowledges the notification, so that it leaves the backend's list. */
static enum entry_stage stage_written(struct attempt *attempt)
{
    struct error error;
    struct entry *entry = attempt->entry;
    /* Something has to lead to the look after a restart, although no agent was asked. */
    if (entry->work.may_be_changed && entry->work.record == RECORD_NONE &&
        entry->work.reopened == 0)
        journal_save_progress(&attempt->delivery->journal, entry);
    enum convex_outcome outcome = service_mark_delivered(&attempt->service, entry->item.id, &error);
    if (outcome != CONVEX_SUCCESS)
        return attempt_call_failed(attempt, STAGE_WRITTEN, outcome, &error);
    STOP_POINT("after_mark");
    /* What its thread could not be told stays so. */
    if (entry->work.closing == CLOSING_OPEN)
        entry->work.closing = CLOSING_ACKNOWLEDGED;
    return entry->work.may_be_changed ? look_after_mark(attempt) : STAGE_SETTLED;
}

static void count_delivered(struct metrics *metrics, const struct entry *entry)
{
    int64_t now_us = clock_monotonic_us();
    int64_t replied_us =
        entry->work.replied_us != 0 ? entry->work.replied_us : entry->queue.known_us;
    metrics_add(metrics, METRIC_NOTIFICATIONS_DELIVERED, NULL, NULL, 1);
    if (entry->work.reason == REASON_SILENT) {
        metrics_add(metrics, METRIC_NOTIFICATIONS_SILENT, NULL, NULL, 1);
        metrics_add(metrics, METRIC_NO_RESPONSE, "skipped", NULL, 1);
    }
    if (entry->work.reason == REASON_UNANSWERED)
        metrics_add(metrics, METRIC_NO_RESPONSE, "retries_exhausted", NULL, 1);
    metrics_observe(metrics, METRIC_WRITE_BACK, NULL, now_us - replied_us);
    metrics_observe(metrics, METRIC_DELIVERY, NULL, now_us - entry->queue.known_us);
    if (entry->created_at_ms > 0)
        metrics_observe(
            metrics, METRIC_DELIVERY_LAG, NULL, (clock_wall_ms() - entry->created_at_ms) * 1000);
}

static void count_end(const struct attempt *attempt)
{
    const struct entry *entry = attempt->entry;
    struct metrics *metrics = &attempt->delivery->stats->metrics;
    metrics_add(metrics, METRIC_AGENT_NOTIFICATIONS, entry->work.agent_slug,
        entry_outcome_words[entry->work.outcome], 1);
    if (entry->work.outcome == OUTCOME_DELIVERED)
        count_delivered(metrics, entry);
    else if (entry->work.outcome == OUTCOME_DEAD)
        metrics_add(metrics, METRIC_NOTIFICATIONS_DEAD, NULL, NULL, 1);
    else
        metrics_add(
            metrics, METRIC_NOTIFICATIONS_SKIPPED, end_reason_words[entry->work.reason], NULL, 1);
}

/* Counts and logs how a settled notification ended. */
static void report_end(const struct attempt *attempt)
{
    static const char *const words[] = {
        [OUTCOME_DELIVERED] = "Delivered",
        [OUTCOME_SKIPPED] = "Skipped",
        [OUTCOME_DEAD] = "Given up on",
    };
    const struct entry *entry = attempt->entry;
    const char *word = entry->work.reason == REASON_SILENT ? "Silent" : words[entry->work.outcome];
    const char *reason = entry->work.reason == REASON_LAST_FAILURE
                             ? last_failure(entry)
                             : end_reason_words[entry->work.reason];
    count_end(attempt);
    log_event(entry->work.outcome == OUTCOME_DEAD ? LOG_LEVEL_ERROR : LOG_LEVEL_INFO, component,
        ATTEMPT_FIELDS(attempt, LOG_TEXT("reason", reason)), "%s %s", word, entry->item.id);
}

/*
 * Ends the notification, or only tries to: without its dead letter an operator would miss it. What
 * had ended before, and was only acknowledged again, is not counted twice.
 */
static enum entry_stage stage_settled(struct attempt *attempt)
{
    const struct delivery *delivery = attempt->delivery;
    struct entry *entry = attempt->entry;
    if (entry->work.reopened > 0)
        return STAGE_SETTLED;
    if (!journal_close(&delivery->journal, entry)) {
        entry->work.closing = CLOSING_DEAD_LETTER;
        attempt->delay_ms = delivery->config->delivery_backoff_max_ms;
        return STAGE_WRITTEN;
    }
    STOP_POINT("after_spool_remove");
    report_end(attempt);
    return STAGE_SETTLED;
}
