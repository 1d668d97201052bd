/* What the integration tests do with the sandbox's board and its two roles. */
#ifndef TEST_LIB_BOARD_H
#define TEST_LIB_BOARD_H

#include "test_env.h"

/*
 * Creates count undelivered notifications spread over agents new agents; a new reference to the
 * array of their rows {id, agent, slug, task}, oldest first.
 */
json_t *board_load(struct test_env *env, int count, int agents);

/* Adds a rule for the gateway's agents, or for a backend function; the reference is taken. */
void board_gateway_fault(struct test_env *env, json_t *rule);
void board_backend_fault(struct test_env *env, json_t *rule);

/* Drops all rules and lets go what they hold. */
void board_end_faults(struct test_env *env);

/* Lets the requests go that the rule of that name holds. */
void board_release(struct test_env *env, const char *name);

/* The documents of one table of /sandbox/state; a new reference. */
json_t *board_documents(struct test_env *env, const char *table);

/* The message written for a notification, borrowed from messages, or NULL; *count says how many. */
const json_t *board_message_for(const json_t *messages, const char *notification_id, int *count);

/* Gateway requests so far for one notification. */
int board_requests_for(struct test_env *env, const char *notification_id);

/* A string of an object; fails the test when it is not there. */
const char *board_string(const json_t *object, const char *key);

#endif
