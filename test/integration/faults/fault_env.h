/* A test environment whose runtime reaches backend and gateway through a fault proxy each. */
#ifndef TEST_INTEGRATION_FAULTS_FAULT_ENV_H
#define TEST_INTEGRATION_FAULTS_FAULT_ENV_H

#include "../../lib/board.h"
#include "../../lib/fault_proxy.h"
#include "../../lib/test_env.h"
#include "history.h"

enum { FAULT_ENV_MAX_RUNS = 4 /* the default of DELIVERY_MAX_RUNS */ };

struct fault_env {
    struct test_env *env;
    struct fault_proxy *backend;
    struct fault_proxy *gateway;
    struct history history; /* fault_env_kill_runtime adds to it */
    char state_dir[300];
};

/*
 * cmocka fixtures: *state becomes a fault environment with a running sandbox, proxies without a
 * fault and no runtime. Replies end with the number of their run, and the list of agents is empty,
 * so no heartbeat delays a delivery.
 */
int fault_env_setup(void **state);
int fault_env_teardown(void **state);

/* Empties the board and the history, while no runtime runs. */
void fault_env_reset(struct fault_env *faults);

/* Loads count notifications for that many agents. */
void fault_env_load(struct fault_env *faults, int count, int agents);

/* As test_env_start_runtime and test_env_launch (as env->runtime), through the proxies. */
void fault_env_start(struct fault_env *faults, const char *const settings[]);
void fault_env_launch(struct fault_env *faults, const char *const settings[]);

/* Kills the runtime and adds its spool to the history; returns the number of records in it. */
size_t fault_env_kill_runtime(struct fault_env *faults);

/* Fails the test unless the history holds for what the sandbox has recorded so far. */
void fault_env_check(struct fault_env *faults, const struct history_rules *rules);

/*
 * Waits until every notification has ended and nobody is shown as typing, stops the runtime, and
 * fails the test unless the history holds and the spool is empty.
 */
void fault_env_settle(struct fault_env *faults, const struct history_rules *rules);

/* No answer may be lost: one run each. */
extern const struct history_rules fault_env_strict;
/* Answers may have been lost; repeated runs stay within the budget. */
extern const struct history_rules fault_env_lossy;

/* A test in such an environment, on both versions of the backend. */
#define TEST_IN_FAULT_ENV(test) \
    TEST_ON_BOTH_WITH((test), #test, fault_env_setup, fault_env_teardown)

#endif
