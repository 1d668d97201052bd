/*
 * A v1 backend notifies generously and leaves it to the runtime whom to ask. The rules, in this
 * order; the first that applies decides (docs/protocol.md, "Whom to ask"):
 *
 *   1. The chat with the orchestrator is for the orchestrator alone.
 *   2. A task that is done or blocked rests: nobody is asked about its thread.
 *   3. A change of status to done or blocked needs no answer, one to review only a reviewer's.
 *   4. An agent's message in a thread is for the orchestrator and for assignees, and for reviewers
 *      while the task is in review. If it answered such a message itself, only the orchestrator's
 *      words reach assignees, so that they do not answer each other.
 *   5. Everything else is delivered, types of a newer backend included.
 *
 * Around them: without its agent or its task nothing can be delivered; a person's message that the
 * person has followed up is answered together with the later one; and without a session there is
 * nowhere to send it.
 *
 * An answer without words has one of three causes, which the reader of replies tells apart
 * (delivery/reply.h): the agent chose silence, the gateway put a placeholder where a text should
 * be, or there was nothing at all. Silence that was chosen is final, because the prompt offers it.
 * The other two are accidents. They are final as well unless somebody is owed words: then the agent
 * is asked again, a few times within the budget of runs, with a line that says what happened. An
 * agent that has called tools has acted, so it is not asked again: it would act twice.
 *
 * Pure: each rule is a function of the context, or of context and answer.
 */
#include "delivery/policy.h"

#include <assert.h>
#include <string.h>

#include "base/json.h"

static bool is_at_rest(enum task_status status)
{
    return status == TASK_DONE || status == TASK_BLOCKED;
}

static enum end_reason judge_status_change(
    const struct delivery_context *context, const char *agent_id)
{
    if (is_at_rest(context->task_status))
        return REASON_STATUS_AT_REST;
    if (context->task_status == TASK_REVIEW && !context->flags.can_review_tasks &&
        !delivery_context_is_orchestrator(context, agent_id))
        return REASON_NOT_REVIEWER;
    return REASON_REPLIED;
}

/* A message that an agent wrote, seen by another that follows the thread. */
static enum end_reason judge_agents_update(
    const struct delivery_context *context, const char *agent_id)
{
    const char *author_id = json_guard_string(context->message, "authorId");
    bool by_orchestrator =
        author_id != NULL && delivery_context_is_orchestrator(context, author_id);
    bool assigned = delivery_context_is_assigned(context, agent_id);
    bool reviews = context->task_status == TASK_REVIEW && context->flags.can_review_tasks;
    if (delivery_context_is_orchestrator(context, agent_id) && !by_orchestrator)
        return REASON_REPLIED;
    if (context->source_type == NOTIFICATION_THREAD_UPDATE)
        return (by_orchestrator && assigned) || reviews ? REASON_REPLIED : REASON_ANSWERS_UPDATE;
    return reviews || assigned ? REASON_REPLIED : REASON_NOT_ASSIGNED;
}

static enum end_reason judge_by_type(const struct delivery_context *context, const char *agent_id)
{
    if (delivery_context_is_orchestrator_chat(context) &&
        !delivery_context_is_orchestrator(context, agent_id))
        return REASON_NOT_ORCHESTRATOR;
    if (context->type == NOTIFICATION_STATUS_CHANGE)
        return judge_status_change(context, agent_id);
    if (context->type != NOTIFICATION_THREAD_UPDATE)
        return REASON_REPLIED;
    if (is_at_rest(context->task_status))
        return REASON_TASK_AT_REST;
    if (context->author == AUTHOR_AGENT)
        return judge_agents_update(context, agent_id);
    return REASON_REPLIED;
}

static bool is_by_user(const json_t *message)
{
    const char *type = json_guard_string(message, "authorType");
    return type != NULL && strcmp(type, "user") == 0;
}

/*
 * Whether a person wrote in the thread after the message that caused this update. A message that is
 * too old for the part of the thread that we have is not known to be.
 */
static bool is_stale(const struct delivery_context *context)
{
    const char *message_id = json_guard_string(context->notification, "messageId");
    if (context->type != NOTIFICATION_THREAD_UPDATE || context->author != AUTHOR_USER ||
        message_id == NULL)
        return false;
    bool found = false;
    size_t index;
    const json_t *item;
    json_array_foreach (context->thread, index, item) {
        if (found && is_by_user(item))
            return true;
        const char *id = json_guard_string(item, "messageId");
        found = found || (id != NULL && strcmp(id, message_id) == 0);
    }
    return false;
}

enum end_reason policy_judge(const struct delivery_context *context, const char *agent_id)
{
    /* Everything of v0 would be skipped, for want of a session key. */
    assert(context->version == BACKEND_V1);
    if (context->agent == NULL)
        return REASON_AGENT_GONE;
    if (context->task_is_gone)
        return REASON_TASK_GONE;
    enum end_reason reason = judge_by_type(context, agent_id);
    if (reason != REASON_REPLIED)
        return reason;
    if (is_stale(context))
        return REASON_STALE_UPDATE;
    return context->session_key != NULL ? REASON_REPLIED : REASON_NO_SESSION_KEY;
}

/* Answers without words. */

bool no_response_is_owed(const struct delivery_context *context)
{
    switch (context->type) {
    case NOTIFICATION_ASSIGNMENT:
    case NOTIFICATION_MENTION:
    case NOTIFICATION_RESPONSE_REQUEST:
        return true;
    case NOTIFICATION_THREAD_UPDATE:
        return context->author != AUTHOR_AGENT;
    case NOTIFICATION_NONE:
    case NOTIFICATION_OTHER:
    case NOTIFICATION_STATUS_CHANGE:
        break;
    }
    return false;
}

static enum answer_fate judge_empty(
    const struct delivery_context *context, const struct answer *answer)
{
    if (answer->used_tools || !no_response_is_owed(context))
        return ANSWER_SILENCE;
    if (answer->empty_before < NO_RESPONSE_FURTHER_RUNS && answer->runs_left > 0)
        return ANSWER_ASK_AGAIN;
    return ANSWER_UNANSWERED;
}

enum answer_fate no_response_judge(
    const struct delivery_context *context, const struct answer *answer)
{
    switch (answer->kind) {
    case REPLY_TEXT:
        return ANSWER_POST;
    case REPLY_SILENT:
        return ANSWER_SILENCE;
    case REPLY_BLANK:
        return answer->incomplete ? ANSWER_FAILED_RUN : judge_empty(context, answer);
    case REPLY_PLACEHOLDER:
        return judge_empty(context, answer);
    case REPLY_PROVIDER_ERROR:
        break;
    }
    return ANSWER_FAILED_RUN;
}
