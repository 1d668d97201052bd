/* Agents' slugs, as agents write them, and the ids that they stand for. */
#ifndef AGENT_TOOLS_SLUGS_H
#define AGENT_TOOLS_SLUGS_H

#include <jansson.h>

#include "agent_tools/run.h"

/*
 * The slugs of a list, each without white space around it and one leading "@"; empty ones are left
 * out. A new reference; NULL without memory. Pure.
 */
json_t *slugs_clean(const json_t *slugs);

/*
 * The ids of the agents with these slugs, each once, in their order, whatever their case; without
 * that of the agent except (NULL: none). A new reference. NULL when one is unknown or the backend
 * did not answer: then the result is filled in, an unknown slug as 422 and "Unknown assignee
 * slugs: ". Blocks for the backend.
 */
json_t *slugs_resolve(const struct tool_call *call, const json_t *slugs, const char *except,
    struct tool_result *result);

/* The same for one slug, which is named after label if it is unknown; the id is a string. */
json_t *slug_resolve(
    const struct tool_call *call, const char *slug, const char *label, struct tool_result *result);

#endif
