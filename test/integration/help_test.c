/* The options that print and exit: --help, --version and --check-config. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>
#include <sysexits.h>

#include "../lib/test_env.h"
#include "config/options.h"

static void run_with_argument(struct test_env *env, const char *argument)
{
    test_env_launch(env, &env->runtime, NULL, STRINGS(argument));
    assert_int_equal(process_wait_exit(&env->runtime, TEST_WAIT_MS), 0);
    /* Returns at the end of the output, so all of it has been collected. */
    assert_false(process_wait_output(&env->runtime, "no such words", TEST_WAIT_MS, NULL, 0));
}

static void test_help_names_every_setting(void **state)
{
    struct test_env *env = *state;
    run_with_argument(env, "--help");
    test_env_wait_log(env, "Usage: mission-control-runtime");
    for (size_t i = 0; i < CONFIG_OPTIONS; i++)
        if (!process_has_output(&env->runtime, config_options[i].name))
            fail_msg("--help does not name %s", config_options[i].name);
    assert_false(process_has_output(&env->runtime, TEST_SECRET));
}

/* With the commit in parentheses if the tree that was built is a checkout. */
static void test_version_prints_one_line(void **state)
{
    static const char line[] = "mission-control-runtime " MISSION_CONTROL_VERSION;
    struct test_env *env = *state;
    run_with_argument(env, "--version");
    assert_true(process_has_output(&env->runtime, line));
    char rest[64];
    assert_true(process_wait_output(&env->runtime, line, TEST_WAIT_MS, rest, sizeof rest));
    assert_true(rest[0] == '\0' || (strncmp(rest, " (", 2) == 0 && rest[strlen(rest) - 1] == ')'));
}

/* `--check-config >file` on a full disk must not exit 0: scripts rely on the status. */
static void test_failed_write_to_stdout_is_reported(void **state)
{
    static const char *const arguments[] = {"--help", "--version", "--check-config"};
    struct test_env *env = *state;
    env->redirection = ">/dev/full";
    for (size_t i = 0; i < sizeof arguments / sizeof arguments[0]; i++) {
        test_env_launch(env, &env->runtime, NULL, STRINGS(arguments[i]));
        assert_int_equal(process_wait_exit(&env->runtime, TEST_WAIT_MS), EX_OSERR);
        test_env_wait_log(env, "cannot write standard output: No space left on device");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_IN_ENV(test_help_names_every_setting),
        TEST_IN_ENV(test_version_prints_one_line),
        TEST_IN_ENV(test_failed_write_to_stdout_is_reported),
    };
    return cmocka_run_group_tests_name("help", tests, NULL, NULL);
}
