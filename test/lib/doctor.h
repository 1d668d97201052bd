/* Runs the command doctor in a world and looks at what it says, and at what it leaves alone. */
#ifndef TEST_LIB_DOCTOR_H
#define TEST_LIB_DOCTOR_H

#include "test_env.h"

#define DOCTOR_WRONG_SECRET "ffffffffffffffffffffffffffffffff"
#define DOCTOR_WRONG_TOKEN "SERVICE_TOKEN=mc_service_" TEST_ACCOUNT "_" DOCTOR_WRONG_SECRET
#define DOCTOR_WRONG_GATEWAY_TOKEN "not-the-gateways-token"

/*
 * Runs it as the world's second process with settings (as test_env_launch takes them) and
 * arguments, and fails the test unless it ends with status, says each of words (ended by NULL), and
 * says neither a secret of the world's nor one of the above.
 */
void doctor_expect_output(struct test_env *env, const char *const settings[],
    const char *const arguments[], int status, const char *const words[]);

/*
 * As doctor_expect_output in lines, while no runtime runs: fails the test also when an agent ran,
 * or the backend was asked for more than a look.
 */
void doctor_expect_read_only(
    struct test_env *env, const char *const settings[], int status, const char *const words[]);

/* Adds the agent jarvis to the board. */
void doctor_seed_agent(struct test_env *env);

#endif
