/* Lookup of documents by their names, and creation of new ones with defaults. */
#ifndef SANDBOX_BOARD_FIND_H
#define SANDBOX_BOARD_FIND_H

#include <jansson.h>

#include "sandbox.h"

/*
 * Returns the document of table with name as its id, slug, name or title; NULL when there is none.
 */
struct document *board_find(const struct store *store, enum table table, const char *name);

/*
 * Creates an agent, a task, a user, or in version 1 a document or a skill, from the fields in json;
 * absent ones get defaults. "account" selects an account other than the first.
 */
struct document *board_make_agent(struct sandbox *sandbox, const json_t *json);
struct document *board_make_task(struct sandbox *sandbox, const json_t *json);
struct document *board_make_user(struct sandbox *sandbox, const json_t *json);
struct document *board_make_document(struct sandbox *sandbox, const json_t *json);
struct document *board_make_skill(struct sandbox *sandbox, const json_t *json);

/* The user, else the agent, with that name as in board_find; the first user if it is NULL. */
struct document *board_author(struct sandbox *sandbox, const char *name);

/* Whether value may replace a field's current value (NULL: none): a type never changes. */
bool board_accepts(const json_t *is, const json_t *value);

/* Creates an account with that id and token secret (NULL: it has no token). */
struct document *board_make_account(
    struct sandbox *sandbox, const char *id, const char *name, const char *secret);

/* Creates the initial board: the account and a user, and with --demo agents and tasks. */
void board_make_default(struct sandbox *sandbox);

#endif
