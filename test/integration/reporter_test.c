/* What the backend is told, and what it may ask for. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "../lib/board.h"
#include "base/sync.h"

/* A report at every 50 ms, and versions that are not those of the default. */
static const char *const fast[] = {
    "HEALTH_CHECK_INTERVAL=50", "OPENCLAW_VERSION=2026.9.6", "RUNTIME_VERSION=0.2.0", NULL};

static json_t *first_document(struct world *world, const char *table)
{
    json_t *documents = board_documents(world, table);
    json_t *first = json_incref(json_array_get(documents, 0));
    json_decref(documents);
    assert_non_null(first);
    return first;
}

static bool status_is(struct world *world, const char *status)
{
    json_t *account = first_document(world, "accounts");
    bool same = strcmp(board_string(account, "runtimeStatus"), status) == 0;
    json_decref(account);
    return same;
}

/* Waits for the board to change until the backend has that status; fails the test after a while. */
static void wait_for_status(struct world *world, const char *status)
{
    int64_t limit_ms = clock_monotonic_ms() + WORLD_WAIT_MS;
    while (!status_is(world, status)) {
        char condition[64];
        if (clock_monotonic_ms() > limit_ms)
            fail_msg("the backend was never told \"%s\"", status);
        snprintf(condition, sizeof condition, "change=%ld&timeout_ms=200",
            world_stat(world, NULL, "change") + 1);
        world_look(world, condition);
    }
}

static void wait_for_calls(struct world *world, const char *action, long more)
{
    char condition[128];
    snprintf(condition, sizeof condition, "action=%s&calls=%ld", action,
        world_stat(world, "backend", action) + more);
    world_wait(world, condition);
}

static void set(struct world *world, const char *key, bool value)
{
    json_decref(world_post(world, "/sandbox/settings", json_pack("{s:b}", key, value)));
}

static void ask_for_upgrade(struct world *world, const char *strategy)
{
    json_decref(world_post(world, "/sandbox/upgrade",
        json_pack(
            "{s:s, s:s, s:s}", "openclaw", "2026.10.1", "runtime", "0.3.0", "strategy", strategy)));
}

static void expect_exit(struct world *world)
{
    assert_true(process_wait_for(&world->runtime, "Shutdown complete", WORLD_WAIT_MS, NULL, 0));
    assert_int_equal(process_wait_exit(&world->runtime, WORLD_WAIT_MS), 0);
}

static void test_report_goes_out_at_the_start(void **state)
{
    struct world *world = *state;
    world_start_runtime(world, (const char *[]){"DROPLET_ID=d-7", "DROPLET_REGION=fra1", NULL});
    wait_for_status(world, "online");
    json_t *runtime = first_document(world, "runtimes");
    assert_string_equal(board_string(runtime, "providerId"), "d-7");
    assert_string_equal(board_string(runtime, "region"), "fra1");
    assert_true(json_is_number(json_object_get(runtime, "lastHealthCheck")));
    json_decref(runtime);
    world_stop_runtime(world);
    assert_true(status_is(world, "offline"));
}

/* With the interval of a minute only a change can be the reason to report. */
static void test_changes_are_reported_at_once(void **state)
{
    struct world *world = *state;
    world_start_runtime(world, NULL);
    wait_for_status(world, "online");
    board_backend_fault(
        world, json_pack("{s:s, s:s, s:s}", "action", "listUndeliveredNotifications", "behaviour",
                   "status", "name", "poll"));
    wait_for_status(world, "degraded");
    board_end_faults(world);
    wait_for_status(world, "online");
    set(world, "gateway_disabled", true);
    json_decref(board_load(world, 1, 1));
    wait_for_status(world, "degraded");
    set(world, "gateway_disabled", false);
    wait_for_status(world, "online");
    world_stop_runtime(world);
}

/* Also when there is nothing to send that would notice. */
static void test_idle_runtime_notices_that_the_gateway_is_away(void **state)
{
    struct world *world = *state;
    world_start_runtime(world, fast);
    wait_for_status(world, "online");
    set(world, "gateway_draining", true);
    wait_for_status(world, "degraded");
    set(world, "gateway_draining", false);
    wait_for_status(world, "online");
    world_stop_runtime(world);
}

static void test_start_with_the_gateway_away_is_degraded(void **state)
{
    struct world *world = *state;
    set(world, "gateway_draining", true);
    world_start_runtime(world, NULL);
    wait_for_status(world, "degraded");
    set(world, "gateway_draining", false);
    wait_for_status(world, "online");
    world_stop_runtime(world);
}

static void test_start_with_the_backend_away_recovers(void **state)
{
    struct world *world = *state;
    json_decref(board_load(world, 2, 1));
    board_backend_fault(world, json_pack("{s:s, s:i}", "behaviour", "status", "status", 503));
    world_start_runtime(world, NULL);
    assert_true(process_wait_for(&world->runtime, "Poll error: ", WORLD_WAIT_MS, NULL, 0));
    char *body;
    assert_int_equal(world_health_get(world, "/health", &body), 200);
    assert_non_null(strstr(body, "\"degraded\""));
    free(body);
    board_end_faults(world);
    world_wait(world, "undelivered=0");
    wait_for_status(world, "online");
    world_stop_runtime(world);
}

static void test_restart_request_stops_in_order(void **state)
{
    struct world *world = *state;
    world_start_runtime(world, fast);
    wait_for_status(world, "online");
    json_decref(world_post(world, "/sandbox/restart", json_object()));
    expect_exit(world);
    assert_true(process_said(&world->runtime, "A restart is asked for"));
    assert_true(status_is(world, "offline"));
    /* Once: the next one stays. */
    world_start_runtime(world, fast);
    wait_for_calls(world, "checkAndClearRestartRequested", 3);
    world_stop_runtime(world);
}

/* An image that cannot change by a restart must not restart for ever. */
static void test_upgrade_without_effect_stops_once_and_is_told(void **state)
{
    struct world *world = *state;
    world_start_runtime(world, fast);
    wait_for_status(world, "online");
    ask_for_upgrade(world, "immediate");
    expect_exit(world);
    world_start_runtime(world, fast);
    wait_for_calls(world, "getPendingUpgrade", 4);
    assert_int_equal(world_stat(world, "backend", "recordUpgradeResult"), 1);
    json_t *runtime = first_document(world, "runtimes");
    const json_t *history = json_object_get(runtime, "upgradeHistory");
    assert_int_equal(json_array_size(history), 1);
    const json_t *entry = json_array_get(history, 0);
    assert_string_equal(board_string(entry, "status"), "failed");
    assert_string_equal(board_string(entry, "fromRuntimeVersion"), "0.2.0");
    assert_string_equal(board_string(entry, "toOpenclawVersion"), "2026.10.1");
    json_decref(runtime);
    world_stop_runtime(world);
}

static void test_upgrade_that_took_is_told_as_a_success(void **state)
{
    struct world *world = *state;
    world_start_runtime(world, fast);
    wait_for_status(world, "online");
    ask_for_upgrade(world, "immediate");
    expect_exit(world);
    world_start_runtime(world, (const char *[]){"HEALTH_CHECK_INTERVAL=50",
                                   "OPENCLAW_VERSION=2026.10.1", "RUNTIME_VERSION=0.3.0", NULL});
    wait_for_calls(world, "getPendingUpgrade", 3);
    /* By us, before the report with the new versions, which would end the request as well. */
    assert_int_equal(world_stat(world, "backend", "recordUpgradeResult"), 1);
    json_t *runtime = first_document(world, "runtimes");
    const json_t *history = json_object_get(runtime, "upgradeHistory");
    assert_int_equal(json_array_size(history), 1);
    assert_string_equal(board_string(json_array_get(history, 0), "status"), "success");
    assert_string_equal(board_string(json_array_get(history, 0), "fromRuntimeVersion"), "0.2.0");
    json_decref(runtime);
    world_stop_runtime(world);
}

/* A request that stays, since its result cannot be told, is no reason to stop again. */
static void test_request_that_stays_is_acted_on_once(void **state)
{
    struct world *world = *state;
    world_start_runtime(world, fast);
    wait_for_status(world, "online");
    ask_for_upgrade(world, "immediate");
    expect_exit(world);
    board_backend_fault(world,
        json_pack("{s:s, s:s}", "action", "recordUpgradeResult", "behaviour", "function_error"));
    world_start_runtime(world, fast);
    wait_for_status(world, "online");
    wait_for_calls(world, "getPendingUpgrade", 4);
    world_stop_runtime(world);
}

/* A result whose answer is lost is not told twice. */
static void test_result_is_told_once_although_its_answer_is_lost(void **state)
{
    struct world *world = *state;
    world_start_runtime(world, fast);
    wait_for_status(world, "online");
    ask_for_upgrade(world, "immediate");
    expect_exit(world);
    board_backend_fault(world, json_pack("{s:s, s:s, s:i}", "action", "recordUpgradeResult",
                                   "behaviour", "drop_after", "times", 1));
    world_start_runtime(world, fast);
    wait_for_status(world, "online");
    wait_for_calls(world, "getPendingUpgrade", 2);
    assert_int_equal(world_stat(world, "backend", "recordUpgradeResult"), 1);
    world_stop_runtime(world);
}

/* Makes a program openclaw that does not answer; setting becomes a PATH that leads to it. */
static void add_silent_openclaw(
    const struct world *world, char setting[static FOLDER_BYTES + sizeof "PATH=/bin"])
{
    char path[FOLDER_BYTES + sizeof "/bin/openclaw"];
    snprintf(setting, FOLDER_BYTES + sizeof "PATH=/bin", "PATH=%s/bin", world->folder);
    snprintf(path, sizeof path, "%s/bin", world->folder);
    assert_int_equal(mkdir(path, 0700), 0);
    snprintf(path, sizeof path, "%s/bin/openclaw", world->folder);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs("#!/bin/sh\nexec /bin/sleep 60\n", file);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(chmod(path, 0700), 0);
}

/* What became of it was told long ago, and is remembered nevertheless. */
static void test_first_report_after_an_old_upgrade_waits_for_no_version(void **state)
{
    struct world *world = *state;
    char path[FOLDER_BYTES + sizeof "PATH=/bin"];
    world_start_runtime(world, fast);
    wait_for_status(world, "online");
    ask_for_upgrade(world, "immediate");
    expect_exit(world);
    world_start_runtime(world, fast);
    wait_for_calls(world, "getPendingUpgrade", 2);
    world_stop_runtime(world);
    add_silent_openclaw(world, path);
    world_start_runtime(world, (const char *[]){path, "OPENCLAW_VERSION", NULL});
    wait_for_status(world, "online");
    assert_false(process_said(&world->runtime, "OpenClaw version unknown"));
    assert_int_equal(world_stat(world, "backend", "recordUpgradeResult"), 1);
    world_stop_runtime(world);
}

static void test_other_strategies_and_modes_only_log(void **state)
{
    struct world *world = *state;
    world_start_runtime(world, fast);
    wait_for_status(world, "online");
    ask_for_upgrade(world, "rolling");
    wait_for_calls(world, "getPendingUpgrade", 3);
    world_stop_runtime(world);
    ask_for_upgrade(world, "immediate");
    world_start_runtime(
        world, (const char *[]){"HEALTH_CHECK_INTERVAL=50", "UPGRADE_MODE=none", NULL});
    assert_true(process_wait_for(&world->runtime, "UPGRADE_MODE is not", WORLD_WAIT_MS, NULL, 0));
    json_decref(world_post(world, "/sandbox/restart", json_object()));
    assert_true(process_wait_for(
        &world->runtime, "A restart is asked for; UPGRADE_MODE", WORLD_WAIT_MS, NULL, 0));
    wait_for_calls(world, "getPendingUpgrade", 3);
    world_stop_runtime(world);
}

/* Nothing is decided about versions before ours is known; nor is it reported before. */
static void test_unknown_version_is_left_out(void **state)
{
    struct world *world = *state;
    world_start_runtime(world, (const char *[]){"HEALTH_CHECK_INTERVAL=50", "PATH=/nonexistent",
                                   "OPENCLAW_VERSION", NULL});
    wait_for_status(world, "online");
    json_t *runtime = first_document(world, "runtimes");
    assert_string_equal(board_string(runtime, "openclawVersion"), "");
    json_decref(runtime);
    world_stop_runtime(world);
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
#define IN_WORLD(test) cmocka_unit_test_setup_teardown(test, world_setup, world_teardown)
    const struct CMUnitTest tests[] = {
        IN_WORLD(test_report_goes_out_at_the_start),
        IN_WORLD(test_changes_are_reported_at_once),
        IN_WORLD(test_idle_runtime_notices_that_the_gateway_is_away),
        IN_WORLD(test_start_with_the_gateway_away_is_degraded),
        IN_WORLD(test_start_with_the_backend_away_recovers),
        IN_WORLD(test_restart_request_stops_in_order),
        IN_WORLD(test_upgrade_without_effect_stops_once_and_is_told),
        IN_WORLD(test_upgrade_that_took_is_told_as_a_success),
        IN_WORLD(test_request_that_stays_is_acted_on_once),
        IN_WORLD(test_result_is_told_once_although_its_answer_is_lost),
        IN_WORLD(test_first_report_after_an_old_upgrade_waits_for_no_version),
        IN_WORLD(test_other_strategies_and_modes_only_log),
        IN_WORLD(test_unknown_version_is_left_out),
    };
    return cmocka_run_group_tests_name("reporter", tests, NULL, NULL);
}
