/* What becomes of an answer without words to post, on a v1 backend. */
#ifndef DELIVERY_NO_RESPONSE_H
#define DELIVERY_NO_RESPONSE_H

#include <stdbool.h>

#include "backend/delivery_context.h"
#include "delivery/reply.h"

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
