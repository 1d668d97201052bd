/* What the program says of itself and then ends: --help, --version and --check-config. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <sysexits.h>

#include "../lib/world.h"
#include "config/options.h"

static void run_with(struct world *world, const char *argument)
{
    world_launch(world, &world->runtime, NULL, (const char *[]){argument, NULL});
    assert_int_equal(process_wait_exit(&world->runtime, WORLD_WAIT_MS), 0);
    /* Comes last, so that all is there. */
    assert_false(process_wait_for(&world->runtime, "no such words", WORLD_WAIT_MS, NULL, 0));
}

static void test_help_names_every_setting(void **state)
{
    struct world *world = *state;
    run_with(world, "--help");
    assert_true(process_said(&world->runtime, "Usage: mission-control-runtime"));
    for (size_t i = 0; i < CONFIG_OPTIONS; i++)
        if (!process_said(&world->runtime, config_options[i].name))
            fail_msg("--help does not name %s", config_options[i].name);
    assert_false(process_said(&world->runtime, WORLD_SECRET));
}

static void test_version_is_one_line(void **state)
{
    struct world *world = *state;
    run_with(world, "--version");
    assert_true(
        process_said(&world->runtime, "mission-control-runtime " MISSION_CONTROL_VERSION "\n"));
}

/* As `--check-config >file` on a full disk, for a script that goes by the status. */
static void test_output_that_cannot_be_written_is_said(void **state)
{
    static const char *const printing[] = {"--help", "--version", "--check-config"};
    struct world *world = *state;
    world->redirection = ">/dev/full";
    for (size_t i = 0; i < sizeof printing / sizeof printing[0]; i++) {
        world_launch(world, &world->runtime, NULL, (const char *[]){printing[i], NULL});
        assert_int_equal(process_wait_exit(&world->runtime, WORLD_WAIT_MS), EX_OSERR);
        assert_true(process_wait_for(&world->runtime,
            "standard output cannot be written: No space left on device", WORLD_WAIT_MS, NULL, 0));
    }
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_help_names_every_setting, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_version_is_one_line, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(
            test_output_that_cannot_be_written_is_said, world_setup, world_teardown),
    };
    return cmocka_run_group_tests_name("help", tests, NULL, NULL);
}
