/* What the program says of itself and then ends: --help, --version and --check-config. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <string.h>
#include <sysexits.h>

#include "../lib/test_env.h"
#include "config/options.h"

static void run_with(struct test_env *env, const char *argument)
{
    test_env_launch(env, &env->runtime, NULL, (const char *[]){argument, NULL});
    assert_int_equal(process_wait_exit(&env->runtime, TEST_WAIT_MS), 0);
    /* Comes last, so that all is there. */
    assert_false(process_wait_output(&env->runtime, "no such words", TEST_WAIT_MS, NULL, 0));
}

static void test_help_names_every_setting(void **state)
{
    struct test_env *env = *state;
    run_with(env, "--help");
    assert_true(process_has_output(&env->runtime, "Usage: mission-control-runtime"));
    for (size_t i = 0; i < CONFIG_OPTIONS; i++)
        if (!process_has_output(&env->runtime, config_options[i].name))
            fail_msg("--help does not name %s", config_options[i].name);
    assert_false(process_has_output(&env->runtime, TEST_SECRET));
}

/* With the commit in parentheses if the tree that was built is a checkout. */
static void test_version_is_one_line(void **state)
{
    static const char line[] = "mission-control-runtime " MISSION_CONTROL_VERSION;
    struct test_env *env = *state;
    run_with(env, "--version");
    assert_true(process_has_output(&env->runtime, line));
    char rest[64];
    assert_true(process_wait_output(&env->runtime, line, TEST_WAIT_MS, rest, sizeof rest));
    assert_true(rest[0] == '\0' || (strncmp(rest, " (", 2) == 0 && rest[strlen(rest) - 1] == ')'));
}

/* As `--check-config >file` on a full disk, for a script that goes by the status. */
static void test_output_that_cannot_be_written_is_said(void **state)
{
    static const char *const printing[] = {"--help", "--version", "--check-config"};
    struct test_env *env = *state;
    env->redirection = ">/dev/full";
    for (size_t i = 0; i < sizeof printing / sizeof printing[0]; i++) {
        test_env_launch(env, &env->runtime, NULL, (const char *[]){printing[i], NULL});
        assert_int_equal(process_wait_exit(&env->runtime, TEST_WAIT_MS), EX_OSERR);
        test_env_wait_log(env, "standard output cannot be written: No space left on device");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_IN_ENV(test_help_names_every_setting),
        TEST_IN_ENV(test_version_is_one_line),
        TEST_IN_ENV(test_output_that_cannot_be_written_is_said),
    };
    return cmocka_run_group_tests_name("help", tests, NULL, NULL);
}
