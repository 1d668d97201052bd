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

static json_t *first_document(struct test_env *env, const char *table)
{
    json_t *documents = board_documents(env, table);
    json_t *first = json_incref(json_array_get(documents, 0));
    json_decref(documents);
    assert_non_null(first);
    return first;
}

static bool status_is(struct test_env *env, const char *status)
{
    json_t *account = first_document(env, "accounts");
    bool same = strcmp(board_string(account, "runtimeStatus"), status) == 0;
    json_decref(account);
    return same;
}

/* Waits for the board to change until the backend has that status; fails the test after a while. */
static void wait_for_status(struct test_env *env, const char *status)
{
    int64_t limit_ms = clock_monotonic_ms() + TEST_WAIT_MS;
    while (!status_is(env, status)) {
        char condition[64];
        if (clock_monotonic_ms() > limit_ms)
            fail_msg("the backend was never told \"%s\"", status);
        snprintf(condition, sizeof condition, "change=%ld&timeout_ms=200",
            test_env_stat(env, NULL, "change") + 1);
        test_env_check(env, condition);
    }
}

static void set(struct test_env *env, const char *key, bool value)
{
    board_set(env, json_pack("{s:b}", key, value));
}

static void ask_for_upgrade(struct test_env *env, const char *strategy)
{
    json_decref(test_env_post(env, "/sandbox/upgrade",
        json_pack(
            "{s:s, s:s, s:s}", "openclaw", "2026.10.1", "runtime", "0.3.0", "strategy", strategy)));
}

static void expect_exit(struct test_env *env)
{
    test_env_wait_log(env, "Shutdown complete");
    assert_int_equal(process_wait_exit(&env->runtime, TEST_WAIT_MS), 0);
}

static void test_report_goes_out_at_the_start(void **state)
{
    struct test_env *env = *state;
    test_env_start_runtime(env, (const char *[]){"DROPLET_ID=d-7", "DROPLET_REGION=fra1", NULL});
    wait_for_status(env, "online");
    json_t *runtime = first_document(env, "runtimes");
    assert_string_equal(board_string(runtime, "providerId"), "d-7");
    assert_string_equal(board_string(runtime, "region"), "fra1");
    assert_true(json_is_number(json_object_get(runtime, "lastHealthCheck")));
    json_decref(runtime);
    test_env_stop_runtime(env);
    assert_true(status_is(env, "offline"));
}

/* With the interval of a minute only a change can be the reason to report. */
static void test_changes_are_reported_at_once(void **state)
{
    struct test_env *env = *state;
    test_env_start_runtime(env, NULL);
    wait_for_status(env, "online");
    board_backend_fault(env, json_pack("{s:s, s:s, s:s}", "action", "listUndeliveredNotifications",
                                 "behaviour", "status", "name", "poll"));
    wait_for_status(env, "degraded");
    board_clear_faults(env);
    wait_for_status(env, "online");
    set(env, "gateway_disabled", true);
    json_decref(board_load(env, 1, 1));
    wait_for_status(env, "degraded");
    set(env, "gateway_disabled", false);
    wait_for_status(env, "online");
    test_env_stop_runtime(env);
}

/* Also when there is nothing to send that would notice. */
static void test_idle_runtime_notices_that_the_gateway_is_away(void **state)
{
    struct test_env *env = *state;
    test_env_start_runtime(env, fast);
    wait_for_status(env, "online");
    set(env, "gateway_draining", true);
    wait_for_status(env, "degraded");
    set(env, "gateway_draining", false);
    wait_for_status(env, "online");
    test_env_stop_runtime(env);
}

static void test_start_with_the_gateway_away_is_degraded(void **state)
{
    struct test_env *env = *state;
    set(env, "gateway_draining", true);
    test_env_start_runtime(env, NULL);
    wait_for_status(env, "degraded");
    set(env, "gateway_draining", false);
    wait_for_status(env, "online");
    test_env_stop_runtime(env);
}

static void test_start_with_the_backend_away_recovers(void **state)
{
    struct test_env *env = *state;
    json_decref(board_load(env, 2, 1));
    board_backend_fault(env, json_pack("{s:s, s:i}", "behaviour", "status", "status", 503));
    test_env_start_runtime(env, NULL);
    test_env_wait_log(env, "Poll error: ");
    char *body;
    assert_int_equal(test_env_health_get(env, "/health", &body), 200);
    assert_non_null(strstr(body, "\"degraded\""));
    free(body);
    board_clear_faults(env);
    test_env_wait(env, "undelivered=0");
    wait_for_status(env, "online");
    test_env_stop_runtime(env);
}

static void test_restart_request_stops_in_order(void **state)
{
    struct test_env *env = *state;
    test_env_start_runtime(env, fast);
    wait_for_status(env, "online");
    json_decref(test_env_post(env, "/sandbox/restart", json_object()));
    expect_exit(env);
    assert_true(process_has_output(&env->runtime, "A restart is asked for"));
    assert_true(status_is(env, "offline"));
    /* Once: the next one stays. */
    test_env_start_runtime(env, fast);
    test_env_wait_calls(env, "checkAndClearRestartRequested", 3);
    test_env_stop_runtime(env);
}

/* An image that cannot change by a restart must not restart for ever. */
static void test_upgrade_without_effect_stops_once_and_is_told(void **state)
{
    struct test_env *env = *state;
    test_env_start_runtime(env, fast);
    wait_for_status(env, "online");
    ask_for_upgrade(env, "immediate");
    expect_exit(env);
    test_env_start_runtime(env, fast);
    test_env_wait_calls(env, "getPendingUpgrade", 4);
    assert_int_equal(test_env_stat(env, "backend", "recordUpgradeResult"), 1);
    json_t *runtime = first_document(env, "runtimes");
    const json_t *history = json_object_get(runtime, "upgradeHistory");
    assert_int_equal(json_array_size(history), 1);
    const json_t *entry = json_array_get(history, 0);
    assert_string_equal(board_string(entry, "status"), "failed");
    assert_string_equal(board_string(entry, "fromRuntimeVersion"), "0.2.0");
    assert_string_equal(board_string(entry, "toOpenclawVersion"), "2026.10.1");
    json_decref(runtime);
    test_env_stop_runtime(env);
}

static void test_upgrade_that_took_is_told_as_a_success(void **state)
{
    struct test_env *env = *state;
    test_env_start_runtime(env, fast);
    wait_for_status(env, "online");
    ask_for_upgrade(env, "immediate");
    expect_exit(env);
    test_env_start_runtime(env, (const char *[]){"HEALTH_CHECK_INTERVAL=50",
                                    "OPENCLAW_VERSION=2026.10.1", "RUNTIME_VERSION=0.3.0", NULL});
    test_env_wait_calls(env, "getPendingUpgrade", 3);
    /* By us, before the report with the new versions, which would end the request as well. */
    assert_int_equal(test_env_stat(env, "backend", "recordUpgradeResult"), 1);
    json_t *runtime = first_document(env, "runtimes");
    const json_t *history = json_object_get(runtime, "upgradeHistory");
    assert_int_equal(json_array_size(history), 1);
    assert_string_equal(board_string(json_array_get(history, 0), "status"), "success");
    assert_string_equal(board_string(json_array_get(history, 0), "fromRuntimeVersion"), "0.2.0");
    json_decref(runtime);
    test_env_stop_runtime(env);
}

/* A request that stays, since its result cannot be told, is no reason to stop again. */
static void test_request_that_stays_is_acted_on_once(void **state)
{
    struct test_env *env = *state;
    test_env_start_runtime(env, fast);
    wait_for_status(env, "online");
    ask_for_upgrade(env, "immediate");
    expect_exit(env);
    board_backend_fault(env,
        json_pack("{s:s, s:s}", "action", "recordUpgradeResult", "behaviour", "function_error"));
    test_env_start_runtime(env, fast);
    wait_for_status(env, "online");
    test_env_wait_calls(env, "getPendingUpgrade", 4);
    test_env_stop_runtime(env);
}

/* A result whose answer is lost is not told twice. */
static void test_result_is_told_once_although_its_answer_is_lost(void **state)
{
    struct test_env *env = *state;
    test_env_start_runtime(env, fast);
    wait_for_status(env, "online");
    ask_for_upgrade(env, "immediate");
    expect_exit(env);
    board_backend_fault(env, json_pack("{s:s, s:s, s:i}", "action", "recordUpgradeResult",
                                 "behaviour", "drop_after", "times", 1));
    test_env_start_runtime(env, fast);
    wait_for_status(env, "online");
    test_env_wait_calls(env, "getPendingUpgrade", 2);
    assert_int_equal(test_env_stat(env, "backend", "recordUpgradeResult"), 1);
    test_env_stop_runtime(env);
}

/* Makes a program openclaw that does not answer; setting becomes a PATH that leads to it. */
static void add_silent_openclaw(
    const struct test_env *env, char setting[static TMP_DIR_BYTES + sizeof "PATH=/bin"])
{
    char path[TMP_DIR_BYTES + sizeof "/bin/openclaw"];
    snprintf(setting, TMP_DIR_BYTES + sizeof "PATH=/bin", "PATH=%s/bin", env->dir);
    snprintf(path, sizeof path, "%s/bin", env->dir);
    assert_int_equal(mkdir(path, 0700), 0);
    snprintf(path, sizeof path, "%s/bin/openclaw", env->dir);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs("#!/bin/sh\nexec /bin/sleep 60\n", file);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(chmod(path, 0700), 0);
}

/* What became of it was told long ago, and is remembered nevertheless. */
static void test_first_report_after_an_old_upgrade_waits_for_no_version(void **state)
{
    struct test_env *env = *state;
    char path[TMP_DIR_BYTES + sizeof "PATH=/bin"];
    test_env_start_runtime(env, fast);
    wait_for_status(env, "online");
    ask_for_upgrade(env, "immediate");
    expect_exit(env);
    test_env_start_runtime(env, fast);
    test_env_wait_calls(env, "getPendingUpgrade", 2);
    test_env_stop_runtime(env);
    add_silent_openclaw(env, path);
    test_env_start_runtime(env, (const char *[]){path, "OPENCLAW_VERSION", NULL});
    wait_for_status(env, "online");
    assert_false(process_has_output(&env->runtime, "OpenClaw version unknown"));
    assert_int_equal(test_env_stat(env, "backend", "recordUpgradeResult"), 1);
    test_env_stop_runtime(env);
}

static void test_other_strategies_and_modes_only_log(void **state)
{
    struct test_env *env = *state;
    test_env_start_runtime(env, fast);
    wait_for_status(env, "online");
    ask_for_upgrade(env, "rolling");
    test_env_wait_calls(env, "getPendingUpgrade", 3);
    test_env_stop_runtime(env);
    ask_for_upgrade(env, "immediate");
    test_env_start_runtime(
        env, (const char *[]){"HEALTH_CHECK_INTERVAL=50", "UPGRADE_MODE=none", NULL});
    test_env_wait_log(env, "UPGRADE_MODE is not");
    json_decref(test_env_post(env, "/sandbox/restart", json_object()));
    test_env_wait_log(env, "A restart is asked for; UPGRADE_MODE");
    test_env_wait_calls(env, "getPendingUpgrade", 3);
    test_env_stop_runtime(env);
}

/* Nothing is decided about versions before ours is known; nor is it reported before. */
static void test_unknown_version_is_left_out(void **state)
{
    struct test_env *env = *state;
    test_env_start_runtime(env, (const char *[]){"HEALTH_CHECK_INTERVAL=50", "PATH=/nonexistent",
                                    "OPENCLAW_VERSION", NULL});
    wait_for_status(env, "online");
    json_t *runtime = first_document(env, "runtimes");
    assert_string_equal(board_string(runtime, "openclawVersion"), "");
    json_decref(runtime);
    test_env_stop_runtime(env);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_IN_ENV(test_report_goes_out_at_the_start),
        TEST_IN_ENV(test_changes_are_reported_at_once),
        TEST_IN_ENV(test_idle_runtime_notices_that_the_gateway_is_away),
        TEST_IN_ENV(test_start_with_the_gateway_away_is_degraded),
        TEST_IN_ENV(test_start_with_the_backend_away_recovers),
        TEST_IN_ENV(test_restart_request_stops_in_order),
        TEST_IN_ENV(test_upgrade_without_effect_stops_once_and_is_told),
        TEST_IN_ENV(test_upgrade_that_took_is_told_as_a_success),
        TEST_IN_ENV(test_request_that_stays_is_acted_on_once),
        TEST_IN_ENV(test_result_is_told_once_although_its_answer_is_lost),
        TEST_IN_ENV(test_first_report_after_an_old_upgrade_waits_for_no_version),
        TEST_IN_ENV(test_other_strategies_and_modes_only_log),
        TEST_IN_ENV(test_unknown_version_is_left_out),
    };
    return cmocka_run_group_tests_name("reporter", tests, NULL, NULL);
}
