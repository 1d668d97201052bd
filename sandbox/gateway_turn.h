/* The agent's turn in a run of the gateway: what it calls, and what it says. */
#ifndef SANDBOX_GATEWAY_TURN_H
#define SANDBOX_GATEWAY_TURN_H

#include <jansson.h>

#include "agent_errand.h"
#include "sandbox.h"

/* What a turn is made of. Borrowed. */
struct gateway_turn {
    struct sandbox *sandbox;
    const struct fault_rule *rule; /* NULL: none */
    struct record *record;         /* of the run, which is under way */
    const char *message;           /* the input as the agent sees it */
    const json_t *tools;           /* that reach the model; NULL: none */
};

/* Brings the session up to date with what a request's body says, and the record with the round. */
void gateway_turn_begin(const struct gateway_turn *turn, const json_t *body);

/*
 * Returns the requests that the agent makes itself before it answers, {name, arguments}, a new
 * array, and where they go; NULL: none.
 */
json_t *gateway_turn_requests(const struct gateway_turn *turn, struct errand_access *access);

/* Notes the answers to these requests, texts in the same order, in the session and in the log. */
void gateway_turn_end_requests(
    const struct gateway_turn *turn, json_t *requests, const json_t *answers);

/*
 * Decides and records what the agent does: stores the calls that its answer makes, {call_id, name,
 * arguments}, or NULL, and what it says, or NULL. The caller frees both.
 */
void gateway_turn_take(const struct gateway_turn *turn, json_t **calls, char **text);

#endif
