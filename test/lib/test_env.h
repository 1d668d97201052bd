/* A sandbox and a runtime connected to it, in a temporary directory, for one test. */
#ifndef TEST_LIB_TEST_ENV_H
#define TEST_LIB_TEST_ENV_H

#include <jansson.h>

#include "http/client.h"
#include "process.h"
#include "tmp_dir.h"

#define TEST_ACCOUNT "k57sandb0xacc0nt0000000000000000"
#define TEST_SECRET "0123456789abcdef0123456789abcdef"
#define TEST_TOKEN "mc_service_" TEST_ACCOUNT "_" TEST_SECRET
#define TEST_GATEWAY_TOKEN "gateway-secret-for-tests"

enum { TEST_WAIT_MS = 15000 };

/* An array of strings ended by NULL: settings, arguments, words to expect. */
#define STRINGS(...) ((const char *const[]){__VA_ARGS__, NULL})

/* A test of a group, with an environment of its own. */
#define TEST_IN_ENV(test) cmocka_unit_test_setup_teardown((test), test_env_setup, test_env_teardown)

/*
 * The same with options, fields of struct test_env_options:
 * TEST_IN_ENV_WITH(test_x, .backend = "v1").
 */
#define TEST_IN_ENV_WITH(test, ...)           \
    cmocka_unit_test_prestate_setup_teardown( \
        (test), test_env_setup, test_env_teardown, (&(struct test_env_options){__VA_ARGS__}))

/* The same test on both versions of the backend, as "test (v0)" and "test (v1)". */
#define TEST_ON_BOTH(test) TEST_ON_BOTH_WITH((test), #test, test_env_setup, test_env_teardown)
#define TEST_ON_BOTH_WITH(test, name_, setup, teardown)    \
    TEST_ON((test), name_ " (v0)", setup, teardown, "v0"), \
        TEST_ON((test), name_ " (v1)", setup, teardown, "v1")
#define TEST_ON(test, name_, setup, teardown, version)                                            \
    {                                                                                             \
        .name = (name_), .test_func = (test), .setup_func = (setup), .teardown_func = (teardown), \
        .initial_state = &(struct test_env_options){.backend = (version)},                        \
    }

struct test_env_options {
    const char *backend; /* version that the sandbox plays; NULL: its default */
    bool demo;           /* the board is that of --demo */
    bool supervised;     /* the sandbox looks for the runtime's process id in DIR/runtime.pid */
    bool may_overlap;    /* runs of one session may overlap; see test_env_teardown */
};

struct test_env {
    struct test_env_options options;
    char dir[TMP_DIR_BYTES];
    char url[128];               /* of the sandbox, without a trailing slash */
    const char *runtime_program; /* in the build directory; NULL: mission-control-runtime */
    const char *redirection;     /* shell redirection for launched programs, e.g. ">/dev/full" */
    struct process sandbox;
    struct process runtime;
    struct process second; /* another runtime, or a command */
    unsigned health_port;
    struct ca_store *store;
    struct http_client *client;
};

/*
 * cmocka fixtures: a fresh environment with a running sandbox and no runtime, in *state, which
 * points to the options before (NULL: none). The sandbox lists no agents, so no agent is woken and
 * all agent runs are deliveries. Ignores SIGPIPE.
 */
int test_env_setup(void **state);

/*
 * Ends the programs and removes the directory. Fails the test when the sandbox does not exit with
 * status 0, and on version 1, where the sessions are the backend's, when two runs of one session
 * overlapped.
 */
int test_env_teardown(void **state);

/*
 * Replaces the sandbox by one with that version of the backend, at the same address: the board is
 * empty, and agents are listed. Runs in flight are cut.
 */
void test_env_replace_sandbox(struct test_env *env, const char *backend);

/* Whether the sandbox plays version 1 of the backend. */
bool test_env_is_v1(const struct test_env *env);

/* Whether the sandbox lists the agents that it has. */
void test_env_list_agents(struct test_env *env, bool listed);

/*
 * Starts the runtime with settings for the sandbox, overridden by settings (NULL-terminated
 * NAME=value strings, or NULL; NAME alone removes one), and waits until it has started.
 */
void test_env_start_runtime(struct test_env *env, const char *const settings[]);

/*
 * As test_env_start_runtime without waiting, with arguments (NULL-terminated, or NULL), as
 * *process, which is runtime or second of env.
 */
void test_env_launch(struct test_env *env, struct process *process, const char *const settings[],
    const char *const arguments[]);

/* Sends SIGTERM; fails the test unless the runtime exits with status 0 in time. */
void test_env_stop_runtime(struct test_env *env);

/*
 * Call the sandbox's control API; return a new reference; fail the test unless the status is 200.
 */
json_t *test_env_get(struct test_env *env, const char *path);
json_t *test_env_post(struct test_env *env, const char *path, json_t *body);

/*
 * A number from /sandbox/stats: at the top (part NULL), in "gateway", or in "backend", where key is
 * a function and the number that of its calls. 0 if absent.
 */
long test_env_stat(struct test_env *env, const char *part, const char *key);

/*
 * GET on the runtime's HTTP server: returns the status and stores the body, for the caller to free.
 */
int test_env_health_get(struct test_env *env, const char *path, char **body);

/* As test_env_health_get; fail the test on anything but a 200. The JSON is a new reference. */
bool test_env_health_has(struct test_env *env, const char *path, const char *words);
json_t *test_env_health_json(struct test_env *env, const char *path);

/* Waits until the body at path has the words, or lacks them; fails the test if that takes long. */
void test_env_wait_words(struct test_env *env, const char *path, const char *words, bool present);

unsigned test_env_sandbox_port(const struct test_env *env);

/* Whether condition (a query of /sandbox/wait with timeout_ms) is met before its timeout. */
bool test_env_check(struct test_env *env, const char *condition);

/* Fails the test unless condition (a query of /sandbox/wait) is met within TEST_WAIT_MS. */
void test_env_wait(struct test_env *env, const char *condition);

/* Waits until the backend function has been called more times from now on; fails as above. */
void test_env_wait_calls(struct test_env *env, const char *function, long more);

/* Waits until the runtime has logged words; fails as above. */
void test_env_wait_log(struct test_env *env, const char *words);

#endif
