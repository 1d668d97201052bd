/*
 * A v1 backend has sessions for tasks, shows who is typing, and changes notifications after it has
 * listed them. What follows from that for a delivery is here; the stages are in delivery.c.
 *
 * Typing. The board shows an agent as typing from markNotificationRead until the notification is
 * delivered, or until markNotificationDeliveryEnded. Both are courtesies: they may delay a delivery
 * by five seconds each, but never fail it. The second follows the first on the same thread, so a
 * late "read" cannot undo an "ended" that came after it.
 *
 * Newer messages. A thread update that has not been delivered is changed to a newer message of its
 * thread instead of being followed by a second one, also while its agent is at work; to mark it as
 * delivered then would swallow that message. So after the mark, when it can change no more, the
 * context is read once more (stage_written). If it names another message than the one that was
 * answered, the entry begins again with that one, although the notification counts as delivered:
 *
 *   ... written --mark, look--> settled
 *                    '--newer message--> known (answers_again) --> ... --> written --look--> ...
 *
 * The record stays in the spool until the look has found nothing new; what is skipped gets one for
 * that reason. So a crash at any point leads back to the look, at the latest when the known stage
 * finds the notification marked (v1_settle_marked). The notification's key is spent on the first
 * reply, so the next is posted without one, each time only after the thread was read and does not
 * hold it yet.
 */
#include "delivery/delivery_v1.h"

#include <string.h>

#include "base/json.h"
#include "base/log.h"
#include "delivery/session_key.h"
#include "delivery/tool_rounds.h"
#include "prompt/input.h"

static const char component[] = "Delivery";

enum {
    COURTESY_TIMEOUT_MS = 5000, /* of calls that the delivery does not need */
    THREAD_CONTENT_UNITS = 2000 /* of a message in the thread; what is longer ends in "…" */
};

static bool backend_is_v1(const struct attempt *attempt)
{
    return convex_version(attempt->delivery->convex) == BACKEND_V1;
}

/* The message that the notification is about; NULL when it is about none. */
static const char *message_id_of(const struct delivery_context *context)
{
    return json_guard_id(context->notification, "messageId");
}

bool v1_slug_is_unusable(const struct attempt *attempt, struct error *error)
{
    const char *slug = attempt->entry->work.agent_slug;
    const struct delivery *delivery = attempt->delivery;
    enum slug_problem problem = slug_check(slug, delivery->config->fallback_agent);
    if (problem == SLUG_USABLE && gateway_roster_is_unusable(delivery->roster, slug))
        problem = SLUG_SHARED;
    if (problem == SLUG_USABLE)
        return false;
    error_set(error, ERROR_INVALID,
        "the agent cannot be asked under its slug \"%s\", which is %s; give it another", slug,
        slug_problem_words[problem]);
    return true;
}

void v1_append_message(const struct attempt *attempt, const struct board_access *access,
    struct text *instructions, struct text *input)
{
    const struct prompt_run run = {
        .agent_id = attempt->entry->agent_id,
        .access = *access,
        .changed_before = tool_rounds_before(attempt->entry->work.rounds),
        .last_answer_empty = attempt->entry->work.empty_answers > 0,
    };
    instructions_append(instructions, &attempt->context, &run);
    input_append(input, &attempt->context, &run);
}

enum answer_fate v1_judge_reply(struct attempt *attempt, enum reply_kind kind, bool incomplete)
{
    struct entry *entry = attempt->entry;
    unsigned max_runs = attempt->delivery->config->delivery_max_runs;
    const struct answer answer = {
        .kind = kind,
        .incomplete = incomplete,
        .used_tools = tool_rounds_count(entry->work.rounds) > 0,
        .empty_before = entry->work.empty_answers,
        .runs_left = entry->work.runs < max_runs ? max_runs - entry->work.runs : 0,
    };
    enum answer_fate fate = no_response_judge(&attempt->context, &answer);
    entry->work.empty_answers = fate == ANSWER_ASK_AGAIN ? entry->work.empty_answers + 1 : 0;
    entry->work.unanswered = fate == ANSWER_UNANSWERED;
    return fate;
}

/* For a call that may fail: a slow backend delays the delivery by no more than its timeout. */
static struct service courtesy(const struct attempt *attempt)
{
    struct service service = attempt->service;
    service.timeout_ms = COURTESY_TIMEOUT_MS;
    return service;
}

static void log_courtesy(
    const struct attempt *attempt, enum convex_outcome outcome, const struct error *error)
{
    if (outcome != CONVEX_SUCCESS && outcome != CONVEX_ABORTED)
        log_event(LOG_LEVEL_WARN, component,
            ATTEMPT_FIELDS(attempt, LOG_TEXT("error", error->text)),
            "The board was not told about %s; it is delivered all the same",
            attempt->entry->item.id);
}

void v1_begin_typing(struct attempt *attempt)
{
    struct error error;
    /* One that is marked shows nobody. */
    if (attempt->entry->work.answers_again)
        return;
    const struct service service = courtesy(attempt);
    attempt->entry->work.typing = true;
    log_courtesy(attempt, service_mark_read(&service, attempt->entry->item.id, &error), &error);
}

void v1_end_typing(struct attempt *attempt)
{
    struct error error;
    if (!attempt->entry->work.typing || !backend_is_v1(attempt))
        return;
    struct service service = courtesy(attempt);
    /* Also during the shutdown, or the agent would be shown as typing until the next start. */
    service.abort = NULL;
    attempt->entry->work.typing = false;
    log_courtesy(
        attempt, service_mark_delivery_ended(&service, attempt->entry->item.id, &error), &error);
}

/*
 * Whether a thread shows content as this, cut at its limit. The backend cuts between two units, of
 * which a character may have both: what is left of it arrives as U+FFFD.
 */
static bool is_shown_as(const char *content, const char *shown)
{
    static const char half_character[] = "\xEF\xBF\xBD";
    size_t bytes = text_utf16_cut(content, strlen(content), THREAD_CONTENT_UNITS);
    if (strcmp(content, shown) == 0) /* not every function cuts */
        return true;
    if (content[bytes] == '\0' || strncmp(content, shown, bytes) != 0)
        return false;
    const char *end = shown + bytes;
    if (strncmp(end, half_character, strlen(half_character)) == 0)
        end += strlen(half_character);
    return strcmp(end, "…") == 0;
}

bool v1_thread_has(
    const json_t *thread, const char *agent_id, const char *content, int64_t since_ms)
{
    size_t index;
    const json_t *item;
    json_array_foreach (thread, index, item) {
        int64_t created_ms = 0;
        const char *shown = json_guard_string(item, "content");
        json_guard_time_ms(item, "createdAt", 0, &created_ms);
        if (created_ms > since_ms && shown != NULL &&
            json_guard_is(item, "authorId", agent_id, "") && is_shown_as(content, shown))
            return true;
    }
    return false;
}

enum convex_outcome v1_post_without_key(
    struct attempt *attempt, const char *content, struct error *error)
{
    const struct entry *entry = attempt->entry;
    struct delivery_context context;
    const struct new_message message = {
        .agent_id = entry->agent_id, .task_id = entry->work.task_id, .content = content};
    enum convex_outcome outcome =
        service_get_delivery(&attempt->service, entry->item.id, &context, error);
    if (outcome != CONVEX_SUCCESS)
        return outcome;
    /* Since the thread was read for the run. */
    bool posted =
        v1_thread_has(context.thread, entry->agent_id, content, entry->work.thread_until_ms);
    delivery_context_fini(&context);
    return posted ? CONVEX_SUCCESS : service_create_message(&attempt->service, &message, error);
}

void v1_begin_task(struct attempt *attempt)
{
    struct entry *entry = attempt->entry;
    struct error error;
    if (!backend_is_v1(attempt))
        return;
    const struct service service = courtesy(attempt);
    entry->work.begins_task = false;
    log_courtesy(attempt,
        service_begin_task(&service, entry->agent_id, entry->work.task_id, &error), &error);
}

/* Whether the notification is about another message than the one that was dealt with. */
static bool has_newer_message(const struct entry *entry, const struct delivery_context *context)
{
    const char *message_id = message_id_of(context);
    return entry->work.may_be_changed && message_id != NULL &&
           strcmp(message_id, entry->work.message_id) != 0;
}

enum entry_stage v1_settle_marked(struct attempt *attempt, const struct delivery_context *context)
{
    struct entry *entry = attempt->entry;
    if (!has_newer_message(entry, context))
        return STAGE_SETTLED;
    if (!journal_start_over(&attempt->delivery->journal, entry)) {
        attempt->delay_ms = attempt->delivery->config->delivery_backoff_max_ms;
        return STAGE_WRITTEN;
    }
    log_event(LOG_LEVEL_INFO, component,
        ATTEMPT_FIELDS(attempt, LOG_TEXT("message", message_id_of(context))),
        "%s was changed to a newer message while it was delivered; answering that as well",
        entry->item.id);
    entry->work.closing = CLOSING_OPEN;
    entry->work.reopened = 0;
    entry->work.typing = false;
    return STAGE_KNOWN;
}
