/* The stages of a delivery in which its agent is asked and may call tools. */
#ifndef DELIVERY_CONVERSE_H
#define DELIVERY_CONVERSE_H

#include "delivery/attempt.h"
#include "delivery/reply.h"

/* Both run on the worker, and block for the gateway, the backend and the disk. */

/* Asks the agent, with the context that the known stage has read, or sends the results of calls. */
enum entry_stage stage_sending(struct attempt *attempt);

/* Carries out the calls that the agent has made. */
enum entry_stage stage_acting(struct attempt *attempt);

/*
 * What was about to be sent certainly was not: takes back what was noted of it. Returns the stage
 * at which it is sent later. Blocks for the disk.
 */
enum entry_stage converse_withdraw(struct attempt *attempt);

/*
 * Makes sure that it is known whether the gateway takes tools. It is asked once whenever it may
 * have been exchanged, by each worker that finds that nobody has asked yet, and before the queue
 * allows the send, as it blocks for up to 2 s.
 */
void converse_ask_for_tools(const struct attempt *attempt);

/*
 * Makes from the context what is sent to the agent, and frees most of the context, which is several
 * times as large. False without memory.
 */
bool converse_prepare(struct attempt *attempt);

/* When a run that begins now has had all of its time with its rounds, monotonic. Pure. */
int64_t converse_deadline_ms(const struct attempt *attempt);

/* Frees what was kept for further requests of the run. */
void converse_fini(struct attempt *attempt);

/*
 * The parts of a run, for whoever has other rules for what follows from them (wake_v1.c). All of
 * them need attempt->talk, run on the worker and may block.
 */

/* What an agent that is offered the tools of its audience can do on the board. */
struct board_offer {
    struct board_access access; /* borrows from what follows */
    struct board_action actions[TOOLS_MAX];
    struct text api_key;
};

/*
 * Finds out what the audience of the talk can do, as tools, which it gets, or by HTTP. The caller
 * frees offer->api_key. False without memory.
 */
bool converse_offer_tools(struct attempt *attempt, struct board_offer *offer);

/* The tools that the run offers, as a message has them. Borrowed from the talk. */
const char *const *converse_offered_tools(const struct attempt *attempt);

/*
 * Makes the request with the results of the round; after the last round that is allowed the agent
 * is left with nothing but words. Returns message->items, which are the caller's; NULL without
 * memory.
 */
json_t *converse_write_results(struct attempt *attempt, struct gateway_message *message);

/*
 * Sends a request, once. Blocks for as long as the agent takes, and returns how long that was, in
 * microseconds; the caller releases result->body.
 */
int64_t converse_send(
    struct attempt *attempt, struct gateway_message *message, struct gateway_result *result);

/* Whether the answer, or its absence, proves that the agent did not run. Pure. */
bool converse_had_no_run(const struct gateway_result *result);

/* Takes the calls in the answer as the next round. False without memory. */
bool converse_take_calls(struct attempt *attempt, const struct gateway_result *result);

/*
 * Reads the words of an answer, which are the caller's; after calls, an answer without any leaves
 * what the agent said beside them. 0, or an error code with result->error.
 */
int converse_read_words(
    struct attempt *attempt, struct gateway_result *result, struct reply *reply);

enum calls_end {
    CALLS_ANSWERED,    /* their results are noted as sent, and have to be sent at once */
    CALLS_LEFT,        /* by the shutdown, or for want of memory */
    CALLS_OUT_OF_TIME, /* the run has had all of its time; see converse_took_too_long */
};

/* Whether no agent is to be asked any more. Pure. */
bool converse_is_stopping(const struct attempt *attempt);

/* Carries out the calls of the round that have no result. Blocks for backend and disk. */
enum calls_end converse_answer_calls(struct attempt *attempt);
void converse_took_too_long(struct error *error);

/*
 * What a call of the agent's has caused counts as caused by it, for the loop guard. from_ms is what
 * converse_effects_from_ms returned before the call was made.
 */
int64_t converse_effects_from_ms(const struct attempt *attempt);
void converse_charge_effects(const struct attempt *attempt, const char *arguments_json,
    const struct tool_result *result, int64_t from_ms);

#endif
