/*
 * Whether the recipient of a notification of a v1 backend is asked about it, and what becomes of an
 * answer without words.
 */
#ifndef DELIVERY_POLICY_H
#define DELIVERY_POLICY_H

#include <stdbool.h>

#include "backend/delivery_context.h"
#include "delivery/entry.h"
#include "delivery/reply.h"

/*
 * Judges a context of v1 that has not ended (has_ended) for the agent agent_id, the notification's
 * recipient. Returns why it is skipped, or REASON_REPLIED when the agent is to be asked. How far
 * agents may go on answering each other is not judged here (delivery/loop_guard.h). Pure.
 */
enum end_reason policy_judge(const struct delivery_context *context, const char *agent_id);

/* How many more times an agent is asked that owes an answer and gave an empty one. */
enum { NO_RESPONSE_FURTHER_RUNS = 2 };

enum answer_fate {
    ANSWER_POST,       /* it has words */
    ANSWER_SILENCE,    /* final: delivered without a message */
    ANSWER_ASK_AGAIN,  /* the agent is asked again and told that its answer was empty */
    ANSWER_UNANSWERED, /* as ANSWER_SILENCE, after having asked again (REASON_UNANSWERED) */
    ANSWER_FAILED_RUN, /* not an answer: as any other failed run */
};

/* How a run ended. */
struct answer {
    enum reply_kind kind;
    bool incomplete;       /* the run was cut before its end */
    bool used_tools;       /* the agent called tools, so it has acted on the notification */
    unsigned empty_before; /* earlier answers to this notification that were ANSWER_ASK_AGAIN */
    unsigned runs_left;    /* how often the agent may still be asked about it */
};

/*
 * Whether somebody is owed words for the notification of context: it is an assignment, a mention, a
 * request for a response, or a person's message. Pure.
 */
bool no_response_is_owed(const struct delivery_context *context);

/* Decides what becomes of the answer to the notification of context. Pure. */
enum answer_fate no_response_judge(
    const struct delivery_context *context, const struct answer *answer);

#endif
