/* What a wake-up on v1 reads of the board, and what it asks the assignees of tasks there. */
#ifndef DELIVERY_WAKE_BOARD_H
#define DELIVERY_WAKE_BOARD_H

#include <jansson.h>

#include "delivery/attempt.h"
#include "delivery/wake_v1.h"

/* The agent's tasks. All zero: none are known. */
struct wake_board {
    bool is_orchestrator;
    json_t *tasks;       /* owned array: those that it is shown, most urgent first; or NULL */
    const json_t *focus; /* borrowed from tasks; NULL: none */
    json_t *details;     /* owned: of the focus, with its thread; NULL: not read */
};

/* A function that only reads. */
struct wake_read {
    const char *name; /* a value of the label of METRIC_HEARTBEAT_READS_FAILED */
    const char *action;
};

/*
 * Calls it for the agent that is woken, when it is its turn at the gate. On CONVEX_SUCCESS *value
 * is a new reference, otherwise NULL, and the failure is logged and counted. Takes the reference to
 * arguments.
 */
enum convex_outcome wake_board_call(const struct attempt *attempt, struct wake_gate *gate,
    const struct wake_read *read, json_t *arguments, json_t **value);

/*
 * Reads the board for the agent. The focus is the first task, or the one of focus_id ("": none is
 * given) if it is among the tasks. What cannot be read is left out. Blocks for four calls at most.
 * The caller ends *board.
 */
void wake_board_read(struct wake_board *board, const struct attempt *attempt,
    struct wake_gate *gate, const char *focus_id);
void wake_board_fini(struct wake_board *board);

/*
 * The tasks of two lists of the backend, either of which may be NULL, that a wake-up shows, most
 * urgent first: for an agent those in progress, then those assigned to it, each with the newest
 * change first; for the orchestrator those in progress, in review, then assigned, each with the
 * oldest change first. A new array; NULL without memory. Pure, apart from allocating.
 */
json_t *wake_board_sort(const json_t *assigned, const json_t *tracked, bool is_orchestrator);

/*
 * The task that the agent's words name in a line "Task ID: <id>", the first one that is among
 * tasks; NULL: none. Pure.
 */
const json_t *wake_board_named_task(const json_t *tasks, const char *words);

/*
 * When an assignee of the task last wrote something in its thread, an array as the backend lists
 * it, that is more than a silence word; else when the task was last changed, or made. Milliseconds
 * since 1970; 0: not known. Pure, apart from allocating.
 */
int64_t wake_board_heard_ms(const json_t *task, const json_t *thread);

/*
 * The orchestrator has been woken: asks the assignees of tasks that have stood still for 15 minutes
 * how far they are, of at most max tasks. Best effort. Blocks for the backend.
 */
void wake_board_follow_up(const struct wake_board *board, const struct attempt *attempt,
    const struct wake_v1 *wake, unsigned max);

#endif
