/*
 * An answer without words has one of three causes, which the reader of replies tells apart
 * (delivery/reply.h): the agent chose silence, the gateway put a placeholder where a text should
 * be, or there was nothing at all.
 *
 * Silence that was chosen is final, because the prompt offers it. The other two are accidents. They
 * are final as well unless somebody is owed words: then the agent is asked again, a few times
 * within the budget of runs, with a line that says what happened. An agent that has called tools
 * has acted, so it is not asked again: it would act twice.
 *
 * Pure; workers call it, each on its own answer.
 */
#include "delivery/no_response.h"

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
