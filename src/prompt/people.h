/* The agents and the user that a context names, as prompts speak of them. */
#ifndef PROMPT_PEOPLE_H
#define PROMPT_PEOPLE_H

#include <jansson.h>
#include <stdbool.h>

#include "backend/delivery_context.h"
#include "base/text.h"

/* The object with that id among agents, or NULL. agents may be NULL. Pure. */
const json_t *people_find(const json_t *agents, const char *id);

/* Whether the agent and at least one other are assigned to the task of context. Pure. */
bool people_share_task(const struct delivery_context *context, const char *agent_id);

/* Appends what mentions an agent in a message: @slug, or @"name" for one without a slug. */
void people_append_mention(struct text *text, const json_t *agent);

/* Appends the mentions of all agents but one, separated by commas; returns how many. */
size_t people_append_others(struct text *text, const json_t *agents, const char *but_id);

#endif
