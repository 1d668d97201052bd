/*
 * Runs of mission-control-runtime doctor. Every output is also searched for the secrets of the
 * environment.
 */
#include "doctor.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* Two requests that time out take 20 s. */
enum { DOCTOR_WAIT_MS = 40000 };

void doctor_expect_output(struct test_env *env, const char *const settings[],
    const char *const arguments[], int status, const char *const words[])
{
    static const char *const secrets[] = {
        TEST_SECRET, TEST_GATEWAY_TOKEN, DOCTOR_WRONG_SECRET, DOCTOR_WRONG_GATEWAY_TOKEN};
    test_env_launch(env, &env->second, settings, arguments);
    int ended_with = process_wait_exit(&env->second, DOCTOR_WAIT_MS);
    if (ended_with != status) {
        process_dump_output(&env->second, "doctor");
        fail_msg("expected status %d, got %d", status, ended_with);
    }
    for (; *words != NULL; words++)
        if (!process_wait_output(&env->second, *words, TEST_WAIT_MS, NULL, 0)) {
            process_dump_output(&env->second, "doctor");
            fail_msg("expected \"%s\"", *words);
        }
    for (size_t i = 0; i < sizeof secrets / sizeof secrets[0]; i++)
        assert_false(process_has_output(&env->second, secrets[i]));
}

void doctor_expect_read_only(
    struct test_env *env, const char *const settings[], int status, const char *const words[])
{
    static const char *const never_called[] = {
        "checkAndClearRestartRequested", "updateRuntimeStatus", "listUndeliveredNotifications"};
    doctor_expect_output(env, settings, (const char *[]){"doctor", NULL}, status, words);
    assert_int_equal(test_env_stat(env, "gateway", "requests"), 0);
    for (size_t i = 0; i < sizeof never_called / sizeof never_called[0]; i++)
        assert_int_equal(test_env_stat(env, "backend", never_called[i]), 0);
}

void doctor_seed_agent(struct test_env *env)
{
    test_env_list_agents(env, true);
    json_decref(
        test_env_post(env, "/sandbox/seed", json_pack("{s:[{s:s}]}", "agents", "slug", "jarvis")));
}
