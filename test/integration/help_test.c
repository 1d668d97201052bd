/* What the program says of itself and then ends: --help and --version. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>

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

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_help_names_every_setting, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_version_is_one_line, world_setup, world_teardown),
    };
    return cmocka_run_group_tests_name("help", tests, NULL, NULL);
}
