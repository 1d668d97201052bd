/* Agents that use the runtime's HTTP API, with keys as their prompt tells them. */
#ifndef TEST_LIB_AGENT_CALLER_H
#define TEST_LIB_AGENT_CALLER_H

#include <jansson.h>

#include "base/containers.h"
#include "plain_http.h"
#include "test_env.h"

enum { AGENT_CREDENTIAL_BYTES = 512 };

/*
 * Makes the agents jarvis, friday and vision, the last of them the orchestrator, and the task
 * "work" in progress, assigned to jarvis; starts the runtime with settings, and waits until it
 * knows the agents.
 */
void agent_caller_start(struct test_env *env, const char *const settings[]);

/* Starts the runtime and waits until it knows the agents. */
void agent_caller_start_runtime(struct test_env *env, const char *const settings[]);

/* The key of the agent's session for the task "work", without a tag. */
void agent_caller_key(
    struct test_env *env, const char *slug, char key[static AGENT_CREDENTIAL_BYTES]);

/* The same with its tag, made with the key file of the runtime's state directory. */
void agent_caller_credential(
    struct test_env *env, const char *slug, char credential[static AGENT_CREDENTIAL_BYTES]);

/*
 * A POST with that session key (NULL: none). body: a text of JSON with ' for ". Fails the test
 * unless the answer has that status and contains words.
 */
void agent_caller_must_get(struct test_env *env, const char *path, const char *credential,
    const char *body, int status, const char *words);

/* How many requests the API has refused for their session key. */
long agent_caller_refused_keys(struct test_env *env);

#endif
