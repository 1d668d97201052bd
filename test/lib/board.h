/* Operations of integration tests on the sandbox: its board, its faults, its records. */
#ifndef TEST_LIB_BOARD_H
#define TEST_LIB_BOARD_H

#include "base/containers.h"
#include "test_env.h"

/*
 * Creates count undelivered notifications spread over agents new agents; a new reference to the
 * array of their rows {id, agent, slug, task}, oldest first.
 */
json_t *board_load(struct test_env *env, int count, int agents);

/* As board_load with one notification; copies its id. */
void board_load_one(struct test_env *env, char id[static ID_BYTES]);

/* Changes settings of the sandbox; the reference is taken. */
void board_set(struct test_env *env, json_t *settings);

/* Changes a setting that is on or off. */
void board_set_flag(struct test_env *env, const char *key, bool value);

/* Adds a fault rule for the gateway, or for a backend function; takes the reference. */
void board_gateway_fault(struct test_env *env, json_t *rule);
void board_backend_fault(struct test_env *env, json_t *rule);

/* Makes a backend function fail in one of the sandbox's ways, the next times calls (-1: all). */
void board_fail(struct test_env *env, const char *function, const char *behaviour, int times);

/* Has the gateway hold all agent runs until board_release of that name. */
void board_hold_agents(struct test_env *env, const char *name);

/* How many requests the fault rules of that name have matched. */
int board_fault_hits(struct test_env *env, const char *name);

/* Removes all fault rules and releases what they hold. */
void board_clear_faults(struct test_env *env);

/* Releases the requests that rules of that name hold. */
void board_release(struct test_env *env, const char *name);

/* The documents of one table of /sandbox/state; a new reference. */
json_t *board_documents(struct test_env *env, const char *table);

/* The last message with that source, borrowed from messages, or NULL; *count: number of them. */
const json_t *board_message_for(const json_t *messages, const char *notification_id, int *count);

/* Number of agent runs so far for one notification. */
int board_requests_for(struct test_env *env, const char *notification_id);

/* A string of an object; fails the test when it is missing. */
const char *board_string(const json_t *object, const char *key);

#endif
