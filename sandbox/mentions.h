/* The mentions in a message. */
#ifndef SANDBOX_MENTIONS_H
#define SANDBOX_MENTIONS_H

#include <jansson.h>

#include "store.h"

/*
 * Returns the mentions in content as a new array of {type, id, name}, each user or agent once, in
 * order: `@word` and `@"some words"` match the account's users (display name, or e-mail before the
 * @), else its agents (slug or name); @all matches all of them except the author.
 */
json_t *mentions_parse(
    struct store *store, const char *account_id, const char *author_id, const char *content);

/*
 * The same by the rules of version 1: mentions have the agent's slug as well; names need no quotes;
 * code and quoted lines are ignored; nobody is mentioned twice; `@qa` finds the agent for quality
 * assurance.
 */
json_t *mentions_parse_v1(
    struct store *store, const char *account_id, const char *author_id, const char *content);

/* Whether content has `@all`, which both versions understand. */
bool mentions_all(const char *content);

#endif
