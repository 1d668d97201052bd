/* The arguments of a call, checked against the tool's parameters before anything is asked. */
#ifndef AGENT_TOOLS_ARGUMENTS_H
#define AGENT_TOOLS_ARGUMENTS_H

#include <jansson.h>
#include <stdbool.h>

#include "agent_tools/catalog.h"
#include "agent_tools/run.h"
#include "base/text.h"

/* What is wrong with arguments. */
struct argument_problem {
    int status;       /* over HTTP */
    struct text text; /* for the agent; freed by the caller */
};

/*
 * Makes *checked, a new object with the values of the parameters only: ids trimmed, texts without
 * NULs, counts of rows clamped, priorities as numbers, blank texts left out unless they are a
 * value, and the run's task where none was named. Returns false when a value is not possible: then
 * *problem says which, why, and what would be right; or when memory is short: then its text is
 * empty or failed. Pure, apart from allocating.
 */
bool arguments_check(const struct tool *tool, const struct tool_call *call, const json_t *given,
    json_t **checked, struct argument_problem *problem);

/* The names in given that are no parameters, as a new array, 20 at most; NULL if there are none.
 * Pure. */
json_t *arguments_ignored(const struct tool *tool, const json_t *given);

#endif
