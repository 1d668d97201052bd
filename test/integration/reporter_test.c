/* Status reports to the backend, and the restarts and upgrades that it requests. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "../lib/board.h"
#include "base/sync.h"

/* A report every 50 ms, and versions other than the defaults. */
static const char *const fast_reports[] = {
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
    bool matches = strcmp(board_string(account, "runtimeStatus"), status) == 0;
    json_decref(account);
    return matches;
}

/* Waits until the backend has that status, for TEST_WAIT_MS at most. */
static void wait_reported_status(struct test_env *env, const char *status)
{
    int64_t deadline_ms = clock_monotonic_ms() + (int64_t)TEST_WAIT_MS * process_timeout_scale();
    while (!status_is(env, status)) {
        char condition[64];
        if (clock_monotonic_ms() > deadline_ms)
            fail_msg("the backend was never sent status \"%s\"", status);
        snprintf(condition, sizeof condition, "change=%ld&timeout_ms=200",
            test_env_stat(env, NULL, "change") + 1);
        test_env_check(env, condition);
    }
}

static void request_upgrade(struct test_env *env, const char *strategy)
{
    json_decref(test_env_post(env, "/sandbox/upgrade",
        json_pack(
            "{s:s, s:s, s:s}", "openclaw", "2026.10.1", "runtime", "0.3.0", "strategy", strategy)));
}

static void expect_shutdown(struct test_env *env)
{
    test_env_wait_log(env, "Shutdown complete");
    assert_int_equal(process_wait_exit(&env->runtime, TEST_WAIT_MS), 0);
}

static void test_status_is_reported_at_startup_and_shutdown(void **state)
{
    struct test_env *env = *state;
    test_env_start_runtime(env, STRINGS("DROPLET_ID=d-7", "DROPLET_REGION=fra1"));
    wait_reported_status(env, "online");
    json_t *runtime = first_document(env, "runtimes");
    assert_string_equal(board_string(runtime, "providerId"), "d-7");
    assert_string_equal(board_string(runtime, "region"), "fra1");
    assert_true(json_is_number(json_object_get(runtime, "lastHealthCheck")));
    json_decref(runtime);
    test_env_stop_runtime(env);
    wait_reported_status(env, "offline");
}

/* The first reports may be sent before the gateway has been asked. */
static void wait_reported_version(struct test_env *env, const char *version)
{
    enum { MAX_REPORTS = 400 };
    for (int reports = 1; reports <= MAX_REPORTS; reports++) {
        test_env_wait_calls(env, "updateRuntimeStatus", reports);
        json_t *runtime = first_document(env, "runtimes");
        const char *reported = json_string_value(json_object_get(runtime, "openclawVersion"));
        bool found = reported != NULL && strcmp(reported, version) == 0;
        json_decref(runtime);
        if (found)
            return;
    }
    fail_msg("version %s was not reported", version);
}

/* No openclaw is installed here; the gateway tells its release (GET /startupz). */
static void test_release_of_the_gateway_is_reported_as_the_version(void **state)
{
    struct test_env *env = *state;
    char path[TMP_DIR_BYTES + sizeof "PATH=/bin"];
    snprintf(path, sizeof path, "PATH=%s/bin", env->dir);
    test_env_start_runtime(env, STRINGS("HEALTH_CHECK_INTERVAL=50", "OPENCLAW_VERSION", path));
    wait_reported_version(env, "2026.9.6");
    test_env_wait_words(env, "/health", "\"openclaw\": \"2026.9.6\"", true);
    test_env_stop_runtime(env);
}

/* The interval is a minute, so only the change itself can have triggered the report. */
static void test_status_changes_are_reported_at_once(void **state)
{
    struct test_env *env = *state;
    test_env_start_runtime(env, NULL);
    wait_reported_status(env, "online");
    board_backend_fault(env, json_pack("{s:s, s:s, s:s}", "action", "listUndeliveredNotifications",
                                 "behaviour", "status", "name", "poll"));
    wait_reported_status(env, "degraded");
    board_clear_faults(env);
    wait_reported_status(env, "online");
    board_set_flag(env, "gateway_disabled", true);
    json_decref(board_load(env, 1, 1));
    wait_reported_status(env, "degraded");
    board_set_flag(env, "gateway_disabled", false);
    wait_reported_status(env, "online");
    test_env_stop_runtime(env);
}

/* Nothing is sent that could meet the outage, so the probes of an idle gateway must find it. */
static void test_idle_runtime_notices_a_gateway_outage(void **state)
{
    struct test_env *env = *state;
    test_env_start_runtime(env, fast_reports);
    wait_reported_status(env, "online");
    board_set_flag(env, "gateway_draining", true);
    wait_reported_status(env, "degraded");
    board_set_flag(env, "gateway_draining", false);
    wait_reported_status(env, "online");
    test_env_stop_runtime(env);
}

static void test_startup_without_the_gateway_is_degraded(void **state)
{
    struct test_env *env = *state;
    board_set_flag(env, "gateway_draining", true);
    test_env_start_runtime(env, NULL);
    wait_reported_status(env, "degraded");
    board_set_flag(env, "gateway_draining", false);
    wait_reported_status(env, "online");
    test_env_stop_runtime(env);
}

static void test_startup_without_the_backend_recovers(void **state)
{
    struct test_env *env = *state;
    json_decref(board_load(env, 2, 1));
    board_backend_fault(env, json_pack("{s:s, s:i}", "behaviour", "status", "status", 503));
    test_env_start_runtime(env, NULL);
    test_env_wait_log(env, "Poll error: ");
    test_env_wait_words(env, "/health", "\"degraded\"", true);
    board_clear_faults(env);
    test_env_wait(env, "undelivered=0");
    wait_reported_status(env, "online");
    test_env_stop_runtime(env);
}

static void test_restart_request_shuts_down_once(void **state)
{
    struct test_env *env = *state;
    test_env_start_runtime(env, fast_reports);
    wait_reported_status(env, "online");
    json_decref(test_env_post(env, "/sandbox/restart", json_object()));
    expect_shutdown(env);
    test_env_wait_log(env, "restart requested by the backend");
    wait_reported_status(env, "offline");
    /* The request was cleared, so the next process keeps running. */
    test_env_start_runtime(env, fast_reports);
    test_env_wait_calls(env, "checkAndClearRestartRequested", 3);
    test_env_stop_runtime(env);
}

enum { STATE_PATH_BYTES = TMP_DIR_BYTES + 64 };

/* A file of the runtime's state directory. */
static void path_in_state(
    const struct test_env *env, const char *name, char path[static STATE_PATH_BYTES])
{
    snprintf(path, STATE_PATH_BYTES, "%s/state/%s", env->dir, name);
}

static bool state_has(const struct test_env *env, const char *name)
{
    char path[STATE_PATH_BYTES];
    path_in_state(env, name, path);
    return access(path, F_OK) == 0;
}

static json_t *read_request_file(const struct test_env *env)
{
    char path[STATE_PATH_BYTES];
    path_in_state(env, "upgrade-request.json", path);
    json_t *request = json_load_file(path, 0, NULL);
    assert_non_null(request);
    return request;
}

/* The only entry of the history; a new reference. */
static json_t *only_history_entry(struct test_env *env)
{
    json_t *runtime = first_document(env, "runtimes");
    json_t *history = json_object_get(runtime, "upgradeHistory");
    assert_int_equal(json_array_size(history), 1);
    json_t *entry = json_incref(json_array_get(history, 0));
    json_decref(runtime);
    return entry;
}

/* A restart does not change this image: the runtime waits, and restarts no second time. */
static void test_upgrade_waits_for_its_installation(void **state)
{
    struct test_env *env = *state;
    test_env_start_runtime(env, fast_reports);
    wait_reported_status(env, "online");
    test_env_wait_words(env, "/health", "\"upgrade\": null", true);
    request_upgrade(env, "immediate");
    expect_shutdown(env);
    json_t *request = read_request_file(env);
    assert_string_equal(board_string(request, "targetRuntimeVersion"), "0.3.0");
    json_decref(request);
    test_env_start_runtime(env, fast_reports);
    test_env_wait_calls(env, "getPendingUpgrade", 4);
    assert_int_equal(test_env_stat(env, "backend", "recordUpgradeResult"), 0);
    test_env_wait_log(env, "waiting for OpenClaw 2026.10.1 (now 2026.9.6) and runtime 0.3.0");
    test_env_wait_words(env, "/health", "\"state\": \"waiting\"", true);
    test_env_wait_words(env, "/status", "\"upgrade\":\"The board has requested an upgrade", true);
    test_env_wait_words(env, "/health", "\"status\": \"healthy\"", true);
    test_env_stop_runtime(env);
}

/* As mission-control-upgrade leaves it. */
static void leave_rollback(struct test_env *env)
{
    char path[STATE_PATH_BYTES];
    json_t *request = read_request_file(env);
    json_t *result =
        json_pack("{s:O, s:s, s:s}", "initiatedAt", json_object_get(request, "initiatedAt"),
            "status", "rolled_back", "error", "runtime 0.3.0 did not answer within 120 s");
    path_in_state(env, "upgrade-result.json", path);
    assert_int_equal(json_dump_file(result, path, JSON_COMPACT), 0);
    json_decref(result);
    json_decref(request);
}

/* What the alert about failed upgrades looks at. */
static void expect_upgrade_metric(struct test_env *env, const char *line)
{
    char *body;
    assert_int_equal(test_env_health_get(env, "/metrics", &body), 200);
    assert_non_null(strstr(body, line));
    free(body);
}

static void test_rollback_by_the_installer_is_recorded(void **state)
{
    struct test_env *env = *state;
    test_env_start_runtime(env, fast_reports);
    wait_reported_status(env, "online");
    request_upgrade(env, "immediate");
    expect_shutdown(env);
    leave_rollback(env);
    test_env_start_runtime(env, fast_reports);
    test_env_wait_calls(env, "getPendingUpgrade", 3);
    json_t *entry = only_history_entry(env);
    assert_string_equal(board_string(entry, "status"), "rolled_back");
    assert_string_equal(board_string(entry, "error"), "runtime 0.3.0 did not answer within 120 s");
    assert_string_equal(board_string(entry, "fromRuntimeVersion"), "0.2.0");
    expect_upgrade_metric(env, "\nmission_control_upgrade_failed 1\n");
    json_decref(entry);
    assert_false(state_has(env, "upgrade-request.json"));
    assert_false(state_has(env, "upgrade-result.json"));
    test_env_wait_words(env, "/health", "\"upgrade\": null", true);
    test_env_stop_runtime(env);
}

/* The backend would give it up 30 minutes after it was initiated, and know no reason. */
static void test_upgrade_that_nothing_installs_fails(void **state)
{
    struct test_env *env = *state;
    const int64_t age_ms = (int64_t)25 * 60 * 1000 - (int64_t)8000 * process_timeout_scale();
    test_env_start_runtime(env, fast_reports);
    wait_reported_status(env, "online");
    json_decref(test_env_post(env, "/sandbox/upgrade",
        json_pack("{s:s, s:s, s:f}", "openclaw", "2026.9.6", "runtime", "0.3.0", "initiatedAt",
            (double)(clock_wall_ms() - age_ms))));
    expect_shutdown(env);
    test_env_start_runtime(env, fast_reports);
    test_env_wait_words(env, "/health", "\"state\": \"waiting\"", true);
    test_env_wait_words(env, "/health", "\"upgrade\": null", true);
    json_t *entry = only_history_entry(env);
    assert_string_equal(board_string(entry, "status"), "failed");
    assert_string_equal(
        board_string(entry, "error"), "not installed within 25 minutes: runtime 0.3.0 (now 0.2.0)");
    json_decref(entry);
    test_env_stop_runtime(env);
}

/* The requested versions. */
static const char *const upgraded[] = {
    "HEALTH_CHECK_INTERVAL=50", "OPENCLAW_VERSION=2026.10.1", "RUNTIME_VERSION=0.3.0", NULL};

static void test_effective_upgrade_is_reported_as_success(void **state)
{
    struct test_env *env = *state;
    test_env_start_runtime(env, fast_reports);
    wait_reported_status(env, "online");
    request_upgrade(env, "immediate");
    expect_shutdown(env);
    test_env_start_runtime(env, upgraded);
    test_env_wait_calls(env, "getPendingUpgrade", 3);
    /* Sent before the status report with the new versions, which would also end the request. */
    assert_int_equal(test_env_stat(env, "backend", "recordUpgradeResult"), 1);
    json_t *entry = only_history_entry(env);
    assert_string_equal(board_string(entry, "status"), "success");
    assert_string_equal(board_string(entry, "fromRuntimeVersion"), "0.2.0");
    json_decref(entry);
    assert_false(state_has(env, "upgrade-request.json"));
    expect_upgrade_metric(env, "\nmission_control_upgrade_failed 0\n");
    test_env_stop_runtime(env);
}

/* The request stays pending as its result cannot be sent; that must not cause another restart. */
static void test_pending_upgrade_restarts_once(void **state)
{
    struct test_env *env = *state;
    test_env_start_runtime(env, fast_reports);
    wait_reported_status(env, "online");
    /* The backend does not end a request whose targets are not the reported versions. */
    json_decref(test_env_post(
        env, "/sandbox/upgrade", json_pack("{s:s, s:s}", "openclaw", "", "runtime", "0.3.0")));
    expect_shutdown(env);
    board_backend_fault(env,
        json_pack("{s:s, s:s}", "action", "recordUpgradeResult", "behaviour", "function_error"));
    test_env_start_runtime(env, upgraded);
    wait_reported_status(env, "online");
    test_env_wait_calls(env, "getPendingUpgrade", 4);
    assert_int_equal(test_env_stat(env, "backend", "recordUpgradeResult"), 1);
    test_env_stop_runtime(env);
}

/* The backend has the result although its answer was lost. */
static void test_upgrade_result_is_sent_once_if_its_answer_is_lost(void **state)
{
    struct test_env *env = *state;
    test_env_start_runtime(env, fast_reports);
    wait_reported_status(env, "online");
    request_upgrade(env, "immediate");
    expect_shutdown(env);
    board_backend_fault(env, json_pack("{s:s, s:s, s:i}", "action", "recordUpgradeResult",
                                 "behaviour", "drop_after", "times", 1));
    test_env_start_runtime(env, upgraded);
    wait_reported_status(env, "online");
    test_env_wait_calls(env, "getPendingUpgrade", 2);
    assert_int_equal(test_env_stat(env, "backend", "recordUpgradeResult"), 1);
    test_env_stop_runtime(env);
}

/* Creates a program openclaw that never prints its version; stores a PATH with it in setting. */
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

/* The result of an old upgrade is remembered, but was sent already and must delay nothing. */
static void test_old_upgrade_does_not_delay_the_first_report(void **state)
{
    struct test_env *env = *state;
    char path[TMP_DIR_BYTES + sizeof "PATH=/bin"];
    test_env_start_runtime(env, fast_reports);
    wait_reported_status(env, "online");
    request_upgrade(env, "immediate");
    expect_shutdown(env);
    test_env_start_runtime(env, upgraded);
    test_env_wait_calls(env, "getPendingUpgrade", 2);
    test_env_stop_runtime(env);
    add_silent_openclaw(env, path);
    test_env_start_runtime(env, STRINGS(path, "OPENCLAW_VERSION"));
    wait_reported_status(env, "online");
    assert_false(process_has_output(&env->runtime, "OpenClaw is not installed"));
    assert_int_equal(test_env_stat(env, "backend", "recordUpgradeResult"), 1);
    test_env_stop_runtime(env);
}

static void test_other_strategies_and_modes_are_only_logged(void **state)
{
    struct test_env *env = *state;
    test_env_start_runtime(env, fast_reports);
    wait_reported_status(env, "online");
    request_upgrade(env, "rolling");
    test_env_wait_calls(env, "getPendingUpgrade", 3);
    test_env_stop_runtime(env);
    request_upgrade(env, "immediate");
    test_env_start_runtime(env, STRINGS("HEALTH_CHECK_INTERVAL=50", "UPGRADE_MODE=none"));
    test_env_wait_log(env, "UPGRADE_MODE is not");
    json_decref(test_env_post(env, "/sandbox/restart", json_object()));
    test_env_wait_log(env, "ignoring restart request: UPGRADE_MODE");
    test_env_wait_calls(env, "getPendingUpgrade", 3);
    test_env_stop_runtime(env);
}

/* Without a gateway, which would tell its release. */
static void test_undetectable_version_is_reported_as_unknown(void **state)
{
    struct test_env *env = *state;
    test_env_start_runtime(env, STRINGS("HEALTH_CHECK_INTERVAL=50", "PATH=/nonexistent",
                                    "OPENCLAW_VERSION", "OPENCLAW_GATEWAY_URL="));
    wait_reported_status(env, "degraded");
    wait_reported_version(env, "unknown");
    test_env_stop_runtime(env);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_IN_ENV(test_status_is_reported_at_startup_and_shutdown),
        TEST_IN_ENV(test_release_of_the_gateway_is_reported_as_the_version),
        TEST_IN_ENV(test_status_changes_are_reported_at_once),
        TEST_IN_ENV(test_idle_runtime_notices_a_gateway_outage),
        TEST_IN_ENV(test_startup_without_the_gateway_is_degraded),
        TEST_IN_ENV(test_startup_without_the_backend_recovers),
        TEST_IN_ENV(test_restart_request_shuts_down_once),
        TEST_IN_ENV(test_upgrade_waits_for_its_installation),
        TEST_IN_ENV(test_rollback_by_the_installer_is_recorded),
        TEST_IN_ENV(test_upgrade_that_nothing_installs_fails),
        TEST_IN_ENV(test_effective_upgrade_is_reported_as_success),
        TEST_IN_ENV(test_pending_upgrade_restarts_once),
        TEST_IN_ENV(test_upgrade_result_is_sent_once_if_its_answer_is_lost),
        TEST_IN_ENV(test_old_upgrade_does_not_delay_the_first_report),
        TEST_IN_ENV(test_other_strategies_and_modes_are_only_logged),
        TEST_IN_ENV(test_undetectable_version_is_reported_as_unknown),
    };
    return cmocka_run_group_tests_name("reporter", tests, NULL, NULL);
}
