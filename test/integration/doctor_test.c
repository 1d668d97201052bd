/* `doctor` as a whole: its text and JSON, the state directory, and that it changes nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "../lib/backend_call.h"
#include "../lib/board.h"
#include "../lib/doctor.h"
#include "../lib/test_file.h"

static void test_healthy_setup_passes_every_check(void **state)
{
    struct test_env *env = *state;
    char path[300];
    doctor_seed_agent(env);
    doctor_expect_read_only(env, NULL, 0,
        STRINGS("can be created\n", "ok    backend connection  connected to 127.0.0.1 port ",
            "ok    Convex deployment   answers at http://127.0.0.1:",
            "ok    service token       accepted\n", "ok    account             ", " has 1 agent\n",
            "ok    backend version     v0\n", "ok    gateway endpoint    enabled\n",
            "ok    gateway token       accepted by http://127.0.0.1:",
            "ok    gateway agents      the gateway knows every",
            "ok    gateway timeout     60000 ms, the default; ",
            "ok    health address      127.0.0.1 port 0 can be listened on\n",
            "ok    clock               agrees with",
            "No check failed; checks: 22, warnings: 0.\n"));
    snprintf(path, sizeof path, "%s/state", env->dir);
    assert_int_equal(access(path, F_OK), -1);
    doctor_expect_read_only(env, STRINGS("OPENCLAW_REQUEST_TIMEOUT_MS=150000"), 0,
        STRINGS("ok    gateway timeout     150000 ms\n", "warnings: 0.\n"));
    doctor_expect_read_only(env, STRINGS("OPENCLAW_REQUEST_TIMEOUT_MS=100000"), 0,
        STRINGS("warn  gateway timeout     100000 ms: ", "warnings: 1.\n"));
}

static void test_doctor_leaves_a_restart_request_pending(void **state)
{
    struct test_env *env = *state;
    json_decref(test_env_post(env, "/sandbox/restart", json_object()));
    doctor_expect_read_only(env, NULL, 0, STRINGS("No check failed"));
    json_t *accounts = board_documents(env, "accounts");
    assert_true(json_is_number(json_object_get(json_array_get(accounts, 0), "restartRequestedAt")));
    json_decref(accounts);
}

static void test_wrong_settings_are_reported_before_any_check(void **state)
{
    struct test_env *env = *state;
    doctor_expect_read_only(env, STRINGS("HEALTH_PORT=99999"), 78, STRINGS("error: HEALTH_PORT "));
    assert_false(process_has_output(&env->second, "gateway"));
}

/* Root can write anywhere, but even for root a file is not a directory. */
static void test_unusable_state_dir_is_found(void **state)
{
    struct test_env *env = *state;
    char setting[320];
    snprintf(setting, sizeof setting, "STATE_DIR=%s/state", env->dir);
    char *path = setting + strlen("STATE_DIR=");
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(chmod(path, 0755), 0);
    doctor_expect_read_only(env, STRINGS(setting), 0,
        STRINGS("warn  state directory     ", " has mode 0755: ", "; fix: chmod 700 "));
    assert_int_equal(chmod(path, 0770), 0);
    doctor_expect_read_only(env, STRINGS(setting), 0,
        STRINGS("warn  state directory     ", " can be written to by other users", "chmod 700 "));
    assert_int_equal(chmod(path, 0700), 0);
    snprintf(setting, sizeof setting, "STATE_DIR=%s/state/account", env->dir);
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    fputs("k57another", file);
    fclose(file);
    doctor_expect_read_only(env, STRINGS(setting), 1,
        STRINGS("FAIL  state directory     ", "/account is not a directory; fix: set STATE_DIR ",
            "skip  disk space          because state directory failed\n", "ok    service token "));
    doctor_expect_read_only(env, NULL, 1,
        STRINGS("FAIL  state directory     ", " belongs to account k57another, not to "));
}

static void test_exposed_token_file_is_found(void **state)
{
    struct test_env *env = *state;
    char setting[320];
    snprintf(setting, sizeof setting, "SERVICE_TOKEN_FILE=%s/token", env->dir);
    const char *path = setting + strlen("SERVICE_TOKEN_FILE=");
    test_file_write_bytes(path, TEST_TOKEN, sizeof TEST_TOKEN - 1, 0600);
    doctor_expect_read_only(env, STRINGS("SERVICE_TOKEN", setting), 0,
        STRINGS("ok    token files         none can be read by every user\n"));
    assert_int_equal(chmod(path, 0644), 0);
    doctor_expect_read_only(env, STRINGS("SERVICE_TOKEN", setting), 0,
        STRINGS("warn  token files         ", "/token holds a token and can be read by every user",
            "; fix: give the file to the runtime's user and chmod 600 it"));
}

static void test_doctor_works_beside_a_runtime(void **state)
{
    struct test_env *env = *state;
    char words[128];
    test_env_start_runtime(env, NULL);
    snprintf(words, sizeof words,
        "ok    running runtime     process %ld holds the state directory\n",
        (long)env->runtime.pid);
    doctor_expect_output(
        env, NULL, STRINGS("doctor"), 0, STRINGS(words, "/state can be used\n", "No check failed"));
    test_env_stop_runtime(env);
    doctor_expect_output(
        env, NULL, STRINGS("doctor"), 0, STRINGS("none: the state directory is free\n"));
}

static void test_health_address_that_cannot_be_used_is_found(void **state)
{
    struct test_env *env = *state;
    char port[32];
    snprintf(port, sizeof port, "HEALTH_PORT=%u", test_env_sandbox_port(env));
    doctor_expect_read_only(env, STRINGS(port), 1,
        STRINGS("FAIL  health address      cannot listen on HEALTH_HOST 127.0.0.1, HEALTH_PORT ",
            "Address already in use; fix: set HEALTH_HOST "));
    doctor_expect_read_only(env, STRINGS("HEALTH_HOST=no.invalid"), 1,
        STRINGS("FAIL  health address      cannot listen on HEALTH_HOST no.invalid, "));
    doctor_expect_read_only(env, STRINGS("HEALTH_HOST=192.0.2.1"), 1,
        STRINGS("FAIL  health address      ", "Cannot assign requested address; fix: "));
}

/* The port is the running runtime's own, unless that has another state directory. */
static void test_port_of_the_running_runtime_is_fine(void **state)
{
    struct test_env *env = *state;
    char port[32];
    char other[320];
    test_env_start_runtime(env, NULL);
    snprintf(port, sizeof port, "HEALTH_PORT=%u", env->health_port);
    snprintf(other, sizeof other, "STATE_DIR=%s/other", env->dir);
    doctor_expect_output(env, STRINGS(port), STRINGS("doctor"), 0,
        STRINGS("ok    health address      the running runtime answers at 127.0.0.1 port "));
    doctor_expect_output(env, STRINGS(port, other), STRINGS("doctor"), 1,
        STRINGS("FAIL  health address      ", "Address already in use"));
    /* Any other server at that port is not the runtime. */
    snprintf(port, sizeof port, "HEALTH_PORT=%u", test_env_sandbox_port(env));
    doctor_expect_output(env, STRINGS(port), STRINGS("doctor"), 1,
        STRINGS("FAIL  health address      ", "Address already in use"));
    test_env_stop_runtime(env);
}

static void test_gateway_command_that_cannot_be_run_is_found(void **state)
{
    struct test_env *env = *state;
    doctor_expect_read_only(env, STRINGS("OPENCLAW_GATEWAY_COMMAND=no-such-program run"), 1,
        STRINGS(
            "FAIL  gateway command     no-such-program cannot be run (No such file or directory); "
            "fix: set OPENCLAW_GATEWAY_COMMAND "));
    doctor_expect_read_only(env, STRINGS("OPENCLAW_GATEWAY_COMMAND=/etc/passwd"), 1,
        STRINGS("FAIL  gateway command     /etc/passwd cannot be run (Permission denied)"));
    doctor_expect_read_only(env, STRINGS("OPENCLAW_GATEWAY_COMMAND=/etc"), 1,
        STRINGS("FAIL  gateway command     /etc cannot be run ("));
    doctor_expect_read_only(env, STRINGS("OPENCLAW_GATEWAY_COMMAND=sh -c 'exit 3'"), 0,
        STRINGS("ok    gateway command     sh can be run\n"));
    doctor_expect_read_only(env, STRINGS("OPENCLAW_GATEWAY_COMMAND=sh -c x", "PATH=/nowhere:"), 1,
        STRINGS("FAIL  gateway command     sh cannot be run (No such file or directory)"));
}

/* Fails unless lines has the check's line; its detail is skipped for the free space, which varies.
 */
static void expect_line_of_check(const char *lines, const json_t *check)
{
    char line[1024];
    const char *name = board_string(check, "name");
    const char *result = board_string(check, "result");
    bool failed = strcmp(result, "fail") == 0;
    snprintf(line, sizeof line, "%-4s  %-18s  %s", failed ? "FAIL" : result, name,
        strcmp(name, "disk space") == 0 ? "" : board_string(check, "detail"));
    if (strstr(lines, line) == NULL)
        fail_msg("\"%s\" is not in:\n%s", line, lines);
    assert_true(json_is_string(json_object_get(check, "fix")) || !failed);
}

static void test_json_agrees_with_the_text(void **state)
{
    struct test_env *env = *state;
    for (int wrong = 0; wrong < 2; wrong++) {
        const char *const *settings = wrong ? STRINGS(DOCTOR_WRONG_TOKEN) : NULL;
        doctor_expect_output(env, settings, STRINGS("doctor"), wrong, STRINGS("checks"));
        char *lines = process_output(&env->second);
        doctor_expect_output(env, settings, STRINGS("doctor", "--json"), wrong, STRINGS("checks"));
        char *output = process_output(&env->second);
        json_t *parsed = json_loads(output, 0, NULL);
        const json_t *checks = json_object_get(parsed, "checks");
        assert_int_equal(json_is_true(json_object_get(parsed, "ok")), !wrong);
        /* Without an answer that shows version 0, the gateway's tools are checked as well. */
        assert_int_equal(json_array_size(checks), wrong ? 23 : 22);
        size_t index;
        const json_t *check;
        json_array_foreach (checks, index, check)
            expect_line_of_check(lines, check);
        json_decref(parsed);
        free(output);
        free(lines);
    }
}

static void test_version_is_found_without_agents(void **state)
{
    struct test_env *env = *state;
    const char *version = env->options.backend != NULL ? env->options.backend : "v0";
    char line[64];
    snprintf(line, sizeof line, "ok    backend version     %s\n", version);
    doctor_expect_read_only(env, NULL, 0, STRINGS(line, " has 0 agents\n"));
    doctor_expect_read_only(
        env, STRINGS("BACKEND_VERSION=auto"), 0, STRINGS(line, "No check failed"));
}

static void test_wrong_pin_is_found(void **state)
{
    struct test_env *env = *state;
    doctor_seed_agent(env);
    doctor_expect_read_only(env, STRINGS("BACKEND_VERSION=v0"), 1,
        STRINGS("FAIL  backend version     v1, but BACKEND_VERSION=v0 is set; fix: remove "
                "BACKEND_VERSION"));
    doctor_expect_read_only(
        env, STRINGS("BACKEND_VERSION=v1"), 0, STRINGS("ok    backend version     v1\n"));
}

static void test_agents_that_v1_cannot_tell_apart_are_found(void **state)
{
    struct test_env *env = *state;
    doctor_seed_agent(env);
    doctor_expect_read_only(env, NULL, 0,
        STRINGS("ok    agent slugs         usable\n",
            "ok    agent sessions      the backend has one for each agent\n"));
    backend_set_up(env, "seed", "{'agents': [{'slug': 'JARVIS'}, {'slug': 'main'}]}");
    doctor_expect_read_only(env, NULL, 1,
        STRINGS("FAIL  agent slugs         2 of the account's agents are not asked, because their "
                "slugs could lead into sessions of other agents: jarvis (shared), JARVIS (shared); "
                "fix: give these agents other slugs"));
    doctor_expect_read_only(env, STRINGS("OPENCLAW_FALLBACK_AGENT=main"), 1,
        STRINGS("3 of the account's agents are not asked", ", main (reserved); fix: "));
}

/* Has the gateway answer whatever is posted for a run, once the token is accepted. */
static void answer_runs_with(struct test_env *env, const char *message)
{
    board_clear_faults(env);
    board_gateway_fault(
        env, json_pack("{s:s, s:b, s:i, s:{s:{s:s*}}}", "action", "status", "before_checks", 1,
                 "status", 400, "body_json", "error", "message", message));
}

static void test_gateway_without_tools_is_found(void **state)
{
    struct test_env *env = *state;
    doctor_seed_agent(env);
    doctor_expect_read_only(env, NULL, 0,
        STRINGS("ok    gateway tools       taken; agents see them at once if the gateway's "
                "tools.toolSearch is {\"mode\":\"directory\"}",
            "warnings: 0.\n"));
    doctor_expect_read_only(env, STRINGS("OPENCLAW_CLIENT_TOOLS_ENABLED=false"), 0,
        STRINGS("ok    gateway tools       switched off by OPENCLAW_CLIENT_TOOLS_ENABLED: agents "
                "are told of the HTTP API\n"));
    answer_runs_with(env, "tools.0.function: Invalid input");
    doctor_expect_read_only(env, NULL, 0,
        STRINGS("warn  gateway tools       this release takes none that reach an agent: agents are "
                "told of the HTTP API; fix: install gateway release 2026.9.6, or see that"));
    answer_runs_with(env, NULL);
    doctor_expect_read_only(env, NULL, 0,
        STRINGS(
            "warn  gateway tools       not found out: the gateway gave no clear answer; fix: "));
    board_clear_faults(env);
    doctor_expect_read_only(env, STRINGS("OPENCLAW_GATEWAY_TOKEN=" DOCTOR_WRONG_GATEWAY_TOKEN), 1,
        STRINGS("skip  gateway tools       because gateway token failed\n"));
}

static void test_tools_of_the_running_runtime_are_told(void **state)
{
    struct test_env *env = *state;
    char port[32];
    doctor_seed_agent(env);
    test_env_start_runtime(env, STRINGS("AGENT_SYNC_INTERVAL=20"));
    snprintf(port, sizeof port, "HEALTH_PORT=%u", env->health_port);
    test_env_wait_words(env, "/health", "\"toolDialect\": \"flat\"", true);
    answer_runs_with(env, NULL);
    doctor_expect_output(
        env, STRINGS(port), STRINGS("doctor"), 0, STRINGS("ok    gateway tools       taken"));
    board_clear_faults(env);
    test_env_stop_runtime(env);
}

static void list_agents_as(struct test_env *env, const char *agents)
{
    json_t *list = backend_json(env, agents);
    board_backend_fault(
        env, json_pack("{s:s, s:s, s:{s:s, s:o}}", "behaviour", "raw_body", "action", "listAgents",
                 "body_json", "status", "success", "value", list));
}

static void test_agents_without_a_session_are_found(void **state)
{
    struct test_env *env = *state;
    list_agents_as(env, "[{'_id': 'jx1', 'slug': 'jarvis', 'systemSessionKey': 'system:agent:x'},"
                        " {'_id': 'jx2', 'slug': 'friday'}]");
    doctor_expect_output(env, NULL, STRINGS("doctor"), 1,
        STRINGS("ok    backend version     v1\n",
            "warn  agent sessions      the backend gives 1 of the account's agents no session "
            "(systemSessionKey), so they are woken in one of another form: friday; fix: "));
    board_clear_faults(env);
    list_agents_as(env, "[{'_id': 'jx1', 'slug': 'jarvis'}]");
    doctor_expect_output(
        env, NULL, STRINGS("doctor"), 1, STRINGS("warn  backend version     not found out: "));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_IN_ENV(test_healthy_setup_passes_every_check),
        TEST_IN_ENV(test_doctor_leaves_a_restart_request_pending),
        TEST_IN_ENV(test_wrong_settings_are_reported_before_any_check),
        TEST_IN_ENV(test_unusable_state_dir_is_found),
        TEST_IN_ENV(test_exposed_token_file_is_found),
        TEST_IN_ENV(test_doctor_works_beside_a_runtime),
        TEST_IN_ENV(test_health_address_that_cannot_be_used_is_found),
        TEST_IN_ENV(test_port_of_the_running_runtime_is_fine),
        TEST_IN_ENV(test_gateway_command_that_cannot_be_run_is_found),
        TEST_IN_ENV(test_json_agrees_with_the_text),
        TEST_IN_ENV(test_version_is_found_without_agents),
        TEST_IN_ENV_WITH(test_version_is_found_without_agents, .backend = "v1"),
        TEST_IN_ENV_WITH(test_wrong_pin_is_found, .backend = "v1"),
        TEST_IN_ENV_WITH(test_agents_that_v1_cannot_tell_apart_are_found, .backend = "v1"),
        TEST_IN_ENV_WITH(test_agents_without_a_session_are_found, .backend = "v1"),
        TEST_IN_ENV_WITH(test_gateway_without_tools_is_found, .backend = "v1"),
        TEST_IN_ENV_WITH(test_tools_of_the_running_runtime_are_told, .backend = "v1"),
    };
    return cmocka_run_group_tests_name("doctor", tests, NULL, NULL);
}
