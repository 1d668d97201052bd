/* Finding documents by what people call them, and making new ones with usual values. */
#ifndef SANDBOX_BOARD_FIND_H
#define SANDBOX_BOARD_FIND_H

#include <jansson.h>

#include "sandbox.h"

/* The document of table that name names by id, slug, name or title; NULL when there is none. */
struct document *board_find(const struct store *store, enum table table, const char *name);

/*
 * Makes an agent, a task, a user or an account out of what json holds of its fields; absent ones
 * get usual values. "account" names another account than the first.
 */
struct document *board_make_agent(struct sandbox *sandbox, const json_t *json);
struct document *board_make_task(struct sandbox *sandbox, const json_t *json);
struct document *board_make_user(struct sandbox *sandbox, const json_t *json);

/* Whether value may replace what a field holds (NULL: nothing): its type must stay. */
bool board_accepts(const json_t *is, const json_t *value);

/* id and secret (NULL: no token) of a new account. */
struct document *board_make_account(
    struct sandbox *sandbox, const char *id, const char *name, const char *secret);

/* The board after a start: the account and a user, and with --demo agents and tasks. */
void board_make_default(struct sandbox *sandbox);

#endif
