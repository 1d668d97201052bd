/* A world whose runtime reaches the backend and the gateway through one fault proxy each. */
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
    struct history history; /* grows by fault_env_kill_runtime */
    char state_dir[300];
};

/*
 * cmocka fixtures: *state becomes a fault world with a running sandbox, proxies without a fault and
 * no runtime, prepared by fault_env_prepare.
 */
int fault_env_setup(void **state);
int fault_env_teardown(void **state);

/*
 * What a sandbox needs after its start and after a reset: replies end with the number of their run,
 * and the list of agents is empty, so that no wake-up takes the place of a delivery.
 */
void fault_env_prepare(struct fault_env *faults);

/* As test_env_start_runtime and test_env_launch (into world->runtime), behind the proxies. */
void fault_env_start(struct fault_env *faults, const char *const settings[]);
void fault_env_launch(struct fault_env *faults, const char *const settings[]);

/* Kills the runtime and adds what it left in its spool; returns how many records lie there. */
size_t fault_env_kill_runtime(struct fault_env *faults);

/* Fails the test unless the history of the board holds, by the sandbox's record of this moment. */
void fault_env_check(struct fault_env *faults, const struct history_rules *rules);

/*
 * Waits until every notification has ended, stops the runtime, and fails the test unless the
 * history holds and the spool is empty.
 */
void fault_env_settle(struct fault_env *faults, const struct history_rules *rules);

/* Nothing got lost on the way: one run each. */
extern const struct history_rules fault_env_strict;
/* Answers may have got lost, with runs within the budget. */
extern const struct history_rules fault_env_lossy;

#define TEST_IN_FAULT_ENV(test) \
    cmocka_unit_test_setup_teardown((test), fault_env_setup, fault_env_teardown)

#endif
