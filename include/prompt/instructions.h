/* The instructions that accompany the input of a run, for notifications of a v1 backend. */
#ifndef PROMPT_INSTRUCTIONS_H
#define PROMPT_INSTRUCTIONS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "backend/delivery_context.h"
#include "base/text.h"

/* Something that an agent can do on the board in a run besides replying. */
struct board_action {
    const char *name;  /* of the tool, such as "task_status" */
    const char *label; /* what it does, for the list of capabilities */
    const char *path;  /* of the HTTP endpoint; NULL when it has none */
};

/* What an agent can do in a run. All zeros: nothing but reply, and it is told so. */
struct board_access {
    const struct board_action *actions; /* borrowed, in the order in which they are listed */
    size_t count;
    const char *base_url;    /* the actions are POST requests below this URL; NULL: tools */
    const char *session_key; /* for the header of these requests */
};

/*
 * The parts of a prompt that follow from what the agent can do, for prompts of any kind: the list
 * of it; how to reach the board, as lines of a list; and before, how the action of that name is
 * called, and after, which is nothing, and false, if the agent cannot do it. text->failed tells
 * that memory ran out. Pure.
 */
void board_access_append(struct text *text, const struct board_access *access);
void board_access_append_routing(struct text *text, const struct board_access *access);
bool board_access_append_rule(struct text *text, const struct board_access *access,
    const char *name, const char *before, const char *after);

/* What a prompt has to know of a run beyond the context of its notification. */
struct prompt_run {
    const char *agent_id; /* the recipient's */
    struct board_access access;
    /* What it changed with tools in earlier tries, {name, arguments, output} each; NULL: nothing.
     */
    const json_t *changed_before;
    bool last_answer_empty; /* it is asked again because it gave an answer without words */
};

/*
 * Appends who the agent is, what it can do, and the rules for its reply to the notification of
 * context (docs/protocol.md, "What an agent is told"). context is of v1 and has an agent.
 * text->failed tells that memory ran out. Pure.
 */
void instructions_append(
    struct text *text, const struct delivery_context *context, const struct prompt_run *run);

#endif
