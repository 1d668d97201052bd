/* The calls of tools that an agent makes while it is asked about one notification. */
#ifndef DELIVERY_TOOL_ROUNDS_H
#define DELIVERY_TOOL_ROUNDS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/text.h"

/* Calls of one answer that are carried out; the others are told so. */
enum { TOOL_CALLS_MAX = 32 };

/*
 * An entry's rounds are a JSON object, which the spool keeps as it is; NULL when no tool has been
 * called. Members are only for tool_rounds.c. All functions: pure, apart from allocating; those
 * that return bool are false without memory, and then nothing has changed unless stated otherwise.
 */

/* Whether value, from a record, has the form of an entry's rounds. */
bool tool_rounds_are_valid(const json_t *value);

/* Whether the gateway's answer asks for calls. */
bool tool_rounds_asked_for(const json_t *body);

/*
 * The answer to the last request asks for calls: begins the next round of them in *rounds, which
 * remembers what the rounds before it have changed. words is what the agent said beside the calls.
 */
bool tool_rounds_begin(json_t **rounds, const json_t *body, const char *words);

/*
 * The present try is over without a reply: what it changed is remembered for the next, which
 * begins without calls. rounds may be NULL.
 */
bool tool_rounds_end_try(json_t *rounds);

/* How many rounds the present try has had; 0: no tool has been called in it. */
unsigned tool_rounds_count(const json_t *rounds);

/* How many calls of the tool of that name have succeeded, as far as they changed something. */
unsigned tool_rounds_count_successes(const json_t *rounds, const char *name);

/* Whether there are calls whose results the agent has not been sent. */
bool tool_rounds_are_under_way(const json_t *rounds);

/* Whether their results were sent, and nothing is known of what followed. */
bool tool_rounds_were_sent(const json_t *rounds);

/* What the agent said beside its calls, "" for nothing. Borrowed. */
const char *tool_rounds_words(const json_t *rounds);

/* One call, borrowed from the rounds. */
struct tool_request {
    json_t *call;
    const char *name;
    const char *arguments;
};

/* Finds the first call that has no result; false when there is none. */
bool tool_rounds_next(const json_t *rounds, struct tool_request *request);

/* Notes that a call that changes something is about to be carried out. */
bool tool_request_start(const struct tool_request *request);

/* Takes that back: it was certainly not carried out. */
void tool_request_put_back(const struct tool_request *request);

/* Whether that was noted, so that it must not be carried out again. */
bool tool_request_was_started(const struct tool_request *request);

/* Notes its result, an object; takes the reference. */
bool tool_request_end(const struct tool_request *request, json_t *result);

/*
 * Finds the same call among those that earlier tries have made with success, or with an outcome
 * that nobody knows; NULL: there is none. Each is found until tool_request_end_as has used it, so
 * two equal calls need two earlier ones. Borrowed from rounds.
 */
json_t *tool_rounds_find_earlier(const json_t *rounds, const struct tool_request *request);

/* Gives the call the result of that one. */
bool tool_request_end_as(const struct tool_request *request, json_t *earlier);

/*
 * The results of the round as a new array of items for a request, followed by a message if
 * last_words is not NULL. NULL without memory.
 */
json_t *tool_rounds_items(const json_t *rounds, const char *last_words);

/* Notes that the results are about to be sent, or, with sent false, that they certainly were not.
 */
bool tool_rounds_note_sent(json_t *rounds, bool sent);

/*
 * What earlier tries have changed, as an array of {name, arguments, output}, in which long texts
 * are cut; NULL for nothing. Borrowed.
 */
const json_t *tool_rounds_before(const json_t *rounds);

#endif
