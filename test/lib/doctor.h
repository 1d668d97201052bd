/* Runs of the doctor command, with checks of its output and of what it must not do. */
#ifndef TEST_LIB_DOCTOR_H
#define TEST_LIB_DOCTOR_H

#include "test_env.h"

#define DOCTOR_WRONG_SECRET "ffffffffffffffffffffffffffffffff"
#define DOCTOR_WRONG_TOKEN "SERVICE_TOKEN=mc_service_" TEST_ACCOUNT "_" DOCTOR_WRONG_SECRET
#define DOCTOR_WRONG_GATEWAY_TOKEN "not-the-gateways-token"

/*
 * Runs the doctor as the environment's second process with settings (as for test_env_launch) and
 * arguments. Fails the test unless it exits with status, prints each of the NULL-terminated words,
 * and prints none of the secrets, neither the environment's nor those above.
 */
void doctor_expect_output(struct test_env *env, const char *const settings[],
    const char *const arguments[], int status, const char *const words[]);

/*
 * As doctor_expect_output without arguments, while no runtime runs. Also fails the test when an
 * agent ran or a backend function with side effects was called.
 */
void doctor_expect_read_only(
    struct test_env *env, const char *const settings[], int status, const char *const words[]);

/* Adds the agent jarvis to the board. */
void doctor_seed_agent(struct test_env *env);

#endif
