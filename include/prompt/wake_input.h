/* What an agent of a v1 backend is told when it is woken. */
#ifndef PROMPT_WAKE_INPUT_H
#define PROMPT_WAKE_INPUT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/text.h"
#include "prompt/instructions.h"

/* What the message is made from. All of it is borrowed. */
struct wake_prompt {
    const json_t *tasks;  /* array of the agent's tasks, most urgent first; NULL: none */
    const json_t *focus;  /* the one of them that it should look at first; NULL: none */
    const json_t *thread; /* array of the last messages on that one, oldest first; NULL: none */
    bool is_orchestrator; /* the tasks are those of the board, to be followed up */
    struct board_access access;
    /* What it changed in an earlier run that was cut short, {name, arguments, output} each; NULL:
     * nothing. */
    const json_t *changed_before;
    int64_t wall_ms; /* the time that it is told */
};

/* Both append to *text, which tells by text->failed that memory ran out. Pure. */

/* The message (docs/protocol.md, "Waking agents"). */
void wake_input_append(struct text *text, const struct wake_prompt *wake);

/*
 * What the orchestrator asks the assignees of a task from which nothing was heard for minutes; at
 * most 1,000 UTF-16 units.
 */
void wake_follow_up_append(struct text *text, const json_t *task, int64_t minutes);

#endif
