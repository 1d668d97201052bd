/* One turn of a simulated agent: which tools it calls, or what it says. */
#ifndef SANDBOX_AGENT_TURN_H
#define SANDBOX_AGENT_TURN_H

#include <jansson.h>
#include <stdbool.h>

#include "agent_memory.h"

/* What an agent sees in a turn. Borrowed. */
struct agent_view {
    const char *agent;        /* its slug */
    const char *input;        /* as the gateway shows it: a prompt, or results */
    const char *instructions; /* NULL: none */
    const json_t *tools;      /* that the request offers, in the flat form; NULL: none */
    bool searches;            /* it sees no tools, and knows of those only that it reads about */
    bool chatty;
    bool numbers; /* the texts in its calls end with the number of its first run */
};

/*
 * Returns the calls that the agent makes now, a new array of {"name", "arguments"} that the gateway
 * accepts, or NULL when it has none to make. What is not accepted is noted in memory.
 */
json_t *agent_turn_calls(struct agent_memory *memory, const struct agent_view *view);

/* Returns the agent's final text, of what memory has of its work; the caller frees it. */
char *agent_turn_text(const struct agent_memory *memory, const struct agent_view *view);

#endif
