/*
 * What a running runtime makes of the backend's version, seen from outside: how it finds out, what
 * it says about it, and what it does differently.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "../lib/backend_call.h"
#include "../lib/board.h"
#include "base/sync.h"

/* A new reference to the first agent run that the gateway recorded. */
static json_t *first_run(struct test_env *env)
{
    test_env_wait(env, "requests=1");
    json_t *record = test_env_get(env, "/sandbox/gateway");
    json_t *run = json_incref(json_array_get(json_object_get(record, "requests"), 0));
    json_decref(record);
    return run;
}

static void add_agent(struct test_env *env, const char *slug)
{
    backend_set_up(env, "seed", "{'agents': [{'slug': '%s', 'heartbeatInterval': 0.005}]}", slug);
    test_env_list_agents(env, true);
}

static void must_be_woken_as(struct test_env *env, const char *slug, const char *session)
{
    json_t *run = first_run(env);
    assert_string_equal(board_string(run, "agent"), slug);
    assert_string_equal(board_string(run, "session"), session);
    assert_string_equal(board_string(run, "user"), session);
    assert_string_equal(board_string(run, "x-openclaw-agent-id"), slug);
    assert_string_equal(board_string(run, "x-clawdbot-session-key"), session);
    json_decref(run);
}

/* The backend names the session "system:agent:jarvis:...", which gateways cannot route. */
static void test_wake_up_on_v1_is_for_the_system_session(void **state)
{
    struct test_env *env = *state;
    add_agent(env, "jarvis");
    test_env_start_runtime(env, NULL);
    must_be_woken_as(env, "jarvis", "agent:jarvis:system:" TEST_ACCOUNT ":v1");
    test_env_wait_calls(env, "updateAgentHeartbeat", 1);
    test_env_stop_runtime(env);
}

static void test_wake_up_on_v0_is_for_the_agents_one_session(void **state)
{
    struct test_env *env = *state;
    add_agent(env, "jarvis");
    test_env_start_runtime(env, NULL);
    must_be_woken_as(env, "jarvis", "agent:jarvis:" TEST_ACCOUNT);
    test_env_stop_runtime(env);
}

static void add_alike_agents(struct test_env *env)
{
    backend_set_up(env, "seed",
        "{'agents': [{'slug': 'jarvis', 'heartbeatInterval': 0.005}, "
        "{'slug': 'JARVIS', 'heartbeatInterval': 0.005}, "
        "{'slug': 'task', 'heartbeatInterval': 0.005}, "
        "{'slug': 'friday', 'heartbeatInterval': 0.005}]}");
    test_env_list_agents(env, true);
}

static size_t count_runs_of(struct test_env *env, const char *slug)
{
    char path[64];
    snprintf(path, sizeof path, "/sandbox/gateway?agent=%s", slug);
    json_t *record = test_env_get(env, path);
    size_t count = json_array_size(json_object_get(record, "requests"));
    json_decref(record);
    return count;
}

/* Their sessions would be one, or those of a task; the others go on. */
static void test_alike_agents_are_not_woken_on_v1(void **state)
{
    struct test_env *env = *state;
    add_alike_agents(env);
    test_env_start_runtime(env, NULL);
    test_env_wait_log(env, "3 of 4 agents are not asked, because their slugs could lead into "
                           "sessions of other agents: \"jarvis\" (shared), \"JARVIS\" (shared), "
                           "\"task\" (reserved)");
    test_env_wait(env, "requests=3");
    assert_true(count_runs_of(env, "friday") >= 3);
    assert_int_equal(count_runs_of(env, "jarvis"), 0);
    assert_int_equal(count_runs_of(env, "JARVIS"), 0);
    assert_int_equal(count_runs_of(env, "task"), 0);
    test_env_stop_runtime(env);
}

static void test_alike_agents_are_woken_on_v0(void **state)
{
    struct test_env *env = *state;
    add_alike_agents(env);
    test_env_start_runtime(env, NULL);
    test_env_wait_calls(env, "updateAgentHeartbeat", 8);
    int64_t deadline_ms = clock_monotonic_ms() + (int64_t)TEST_WAIT_MS * process_timeout_scale();
    while (count_runs_of(env, "task") == 0 && clock_monotonic_ms() < deadline_ms)
        usleep(10000);
    assert_true(count_runs_of(env, "task") > 0);
    test_env_stop_runtime(env);
}

/* The pin decides what is sent, and health says that it is wrong until it is right. */
static void test_pin_against_the_backends_version_degrades(void **state)
{
    struct test_env *env = *state;
    static const char sentence[] = "The backend is version v1, but BACKEND_VERSION=v0 is set";
    add_agent(env, "jarvis");
    test_env_start_runtime(env, STRINGS("BACKEND_VERSION=v0"));
    test_env_wait_log(env, sentence);
    test_env_wait_words(env, "/health", sentence, true);
    test_env_wait_words(env, "/health", "\"status\": \"degraded\"", true);
    test_env_wait_words(
        env, "/metrics", "mission_control_degraded{reason=\"backend_version\"} 1\n", true);
    test_env_stop_runtime(env);
}

static void expect_version(struct test_env *env, const char *version)
{
    char words[96];
    snprintf(words, sizeof words, "\"version\": \"%s\"", version);
    test_env_wait_words(env, "/health", words, true);
    snprintf(words, sizeof words, "mission_control_build_info{backend=\"%s\",", version);
    test_env_wait_words(env, "/metrics", words, true);
    snprintf(words, sizeof words, "\"version\":\"%s\"", version);
    test_env_wait_words(env, "/status", words, true);
    snprintf(words, sizeof words, "The backend is version %s", version);
    test_env_wait_log(env, words);
}

/* The version that the test's sandbox plays. */
static const char *sandbox_version(const struct test_env *env)
{
    return env->options.backend != NULL ? env->options.backend : "v0";
}

/* How often the runtime has asked for the orchestrator, whether or not the backend has that. */
static size_t count_orchestrator_calls(struct test_env *env)
{
    json_t *record = test_env_get(env, "/sandbox/calls?action=getOrchestratorAgentId");
    size_t count = json_array_size(json_object_get(record, "calls"));
    json_decref(record);
    return count;
}

/* Without a gateway no agent is woken, for which v1 is asked for the orchestrator as well. */
static void test_agents_show_the_version(void **state)
{
    struct test_env *env = *state;
    add_agent(env, "jarvis");
    test_env_start_runtime(env, STRINGS("OPENCLAW_GATEWAY_URL="));
    expect_version(env, sandbox_version(env));
    assert_int_equal(count_orchestrator_calls(env), 0);
    test_env_stop_runtime(env);
}

/* With no agents there is nothing to see, so a function is called that only v1 has. */
static void test_orchestrator_shows_the_version_without_agents(void **state)
{
    struct test_env *env = *state;
    test_env_start_runtime(env, NULL);
    expect_version(env, sandbox_version(env));
    assert_true(count_orchestrator_calls(env) >= 1);
    test_env_stop_runtime(env);
}

static void test_context_shows_the_version(void **state)
{
    struct test_env *env = *state;
    board_fail(env, "listAgents", "status", -1);
    test_env_start_runtime(env, NULL);
    test_env_wait_words(env, "/health", "\"version\": \"unknown\"", true);
    json_decref(board_load(env, 1, 1));
    expect_version(env, sandbox_version(env));
    test_env_wait(env, "delivered=1");
    test_env_stop_runtime(env);
}

static json_int_t last_report_ms(struct test_env *env)
{
    json_t *runtimes = board_documents(env, "runtimes");
    const json_t *at = json_object_get(json_array_get(runtimes, 0), "lastHealthCheck");
    json_int_t at_ms = (json_int_t)json_number_value(at);
    json_decref(runtimes);
    return at_ms;
}

#define ONE_REPORT_A_DAY "HEALTH_CHECK_INTERVAL=86400000"
#define FAST_SYNC                                                                      \
    "AGENT_SYNC_INTERVAL=100", "DELIVERY_INTERVAL=100", "DELIVERY_BACKOFF_MAX_MS=200", \
        "DELIVERY_BACKOFF_BASE_MS=100"

/*
 * A deployment changes the version. The new sandbox has heard nothing yet, so its first reports are
 * those that the return of the backend and its version have caused.
 */
static void test_version_is_followed_while_running(void **state)
{
    struct test_env *env = *state;
    add_agent(env, "jarvis");
    test_env_start_runtime(env, STRINGS(FAST_SYNC, ONE_REPORT_A_DAY));
    expect_version(env, "v0");
    test_env_replace_sandbox(env, "v1");
    add_agent(env, "friday");
    expect_version(env, "v1");
    test_env_wait(env, "action=updateRuntimeStatus&calls=1");
    must_be_woken_as(env, "friday", "agent:friday:system:" TEST_ACCOUNT ":v1");
    json_decref(board_load(env, 1, 1));
    test_env_wait(env, "delivered=1");
    test_env_replace_sandbox(env, "v0");
    add_agent(env, "vision");
    test_env_wait_words(env, "/health", "\"version\": \"v0\"", true);
    must_be_woken_as(env, "vision", "agent:vision:" TEST_ACCOUNT);
    json_decref(board_load(env, 1, 1));
    test_env_wait(env, "delivered=1");
    test_env_stop_runtime(env);
}

/* Waits for that many reports, longer than test_env_wait does. */
static void wait_reports(struct test_env *env, long calls, int64_t timeout_ms)
{
    int64_t deadline_ms = clock_monotonic_ms() + timeout_ms;
    char condition[96];
    snprintf(
        condition, sizeof condition, "action=updateRuntimeStatus&calls=%ld&timeout_ms=5000", calls);
    while (!test_env_check(env, condition))
        if (clock_monotonic_ms() > deadline_ms)
            fail_msg("there were fewer than %ld reports", calls);
}

/*
 * The interval is a day, and health does not change, so the report is made because v1 would take
 * the runtime offline.
 */
static void test_reports_to_v1_are_half_a_minute_apart(void **state)
{
    struct test_env *env = *state;
    enum { APART_MS = 30000, TOLERANCE_MS = 5000 };
    int64_t tolerance_ms = (int64_t)TOLERANCE_MS * process_timeout_scale();
    test_env_start_runtime(env, STRINGS(ONE_REPORT_A_DAY));
    expect_version(env, "v1");
    test_env_wait(env, "action=updateRuntimeStatus&calls=1");
    /* What is still to come of the start, the version and health, causes reports at once. */
    json_int_t apart_ms = 0;
    for (int changes = 0; changes < 4 && apart_ms < APART_MS - TOLERANCE_MS; changes++) {
        json_int_t before_ms = last_report_ms(env);
        long calls = test_env_stat(env, "backend", "updateRuntimeStatus");
        wait_reports(env, calls + 1, APART_MS + tolerance_ms);
        apart_ms = last_report_ms(env) - before_ms;
    }
    assert_in_range(apart_ms, APART_MS - TOLERANCE_MS, APART_MS + tolerance_ms);
    test_env_stop_runtime(env);
}

/* All answers have a Date that is a minute behind, as if our clock were ahead. */
static void fake_the_backends_time(struct test_env *env)
{
    char date[40];
    time_t then = time(NULL) - 60;
    struct tm parts;
    gmtime_r(&then, &parts);
    strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S GMT", &parts);
    board_backend_fault(
        env, json_pack("{s:s, s:{s:s}}", "behaviour", "delay", "headers", "Date", date));
}

static void test_wrong_clock_is_said_and_reports_to_v1_are_corrected(void **state)
{
    struct test_env *env = *state;
    add_agent(env, "jarvis");
    fake_the_backends_time(env);
    test_env_start_runtime(env, STRINGS("HEALTH_CHECK_INTERVAL=200"));
    test_env_wait_log(env, "s ahead of that of the backend; synchronize it");
    json_t *health = test_env_health_json(env, "/health");
    json_int_t ahead_ms = json_integer_value(value_at(health, "backend.clockAheadMs"));
    json_decref(health);
    assert_in_range(ahead_ms, 55000, 90000);
    /* The first report, or one in flight, may be older than what is known of the clock. */
    test_env_wait_calls(env, "updateRuntimeStatus", 2);
    assert_in_range(clock_wall_ms() - last_report_ms(env), 50000, 100000);
    test_env_stop_runtime(env);
}

static bool is_of_v1(const char *function)
{
    static const char *const functions[] = {"markNotificationRead", "markNotificationDeliveryEnded",
        "updateTaskStatusFromAgent", "getOrchestratorAgentId"};
    for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++)
        if (strcmp(functions[i], function) == 0)
            return true;
    return false;
}

/* The backend refuses arguments that a function does not have, so "ok" covers these as well. */
static void test_v0_sees_nothing_of_v1(void **state)
{
    struct test_env *env = *state;
    add_agent(env, "jarvis");
    test_env_start_runtime(env, STRINGS(FAST_SYNC));
    json_decref(board_load(env, 20, 3));
    test_env_wait(env, "delivered=20&action=updateAgentHeartbeat&calls=2");
    test_env_stop_runtime(env);
    json_t *record = test_env_get(env, "/sandbox/calls");
    const json_t *calls = json_object_get(record, "calls");
    size_t index;
    const json_t *call;
    assert_true(json_array_size(calls) > 60);
    json_array_foreach (calls, index, call) {
        const char *function = board_string(call, "function");
        if (is_of_v1(function))
            fail_msg("v0 was sent %s", function);
        assert_string_equal(board_string(call, "outcome"), "ok");
    }
    json_decref(record);
}

static void test_setting_without_effect_is_said_once(void **state)
{
    struct test_env *env = *state;
    test_env_start_runtime(env, STRINGS("DELIVERY_CONTEXT_FETCH_BATCH_SIZE=20"));
    test_env_wait_log(env, "info [Runtime] DELIVERY_CONTEXT_FETCH_BATCH_SIZE has no effect");
    test_env_stop_runtime(env);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_IN_ENV(test_agents_show_the_version),
        TEST_IN_ENV_WITH(test_agents_show_the_version, .backend = "v1"),
        TEST_IN_ENV(test_orchestrator_shows_the_version_without_agents),
        TEST_IN_ENV_WITH(test_orchestrator_shows_the_version_without_agents, .backend = "v1"),
        TEST_IN_ENV(test_context_shows_the_version),
        TEST_IN_ENV_WITH(test_context_shows_the_version, .backend = "v1"),
        TEST_IN_ENV(test_version_is_followed_while_running),
        TEST_IN_ENV_WITH(test_reports_to_v1_are_half_a_minute_apart, .backend = "v1"),
        TEST_IN_ENV_WITH(test_wrong_clock_is_said_and_reports_to_v1_are_corrected, .backend = "v1"),
        TEST_IN_ENV(test_v0_sees_nothing_of_v1),
        TEST_IN_ENV(test_setting_without_effect_is_said_once),
        TEST_IN_ENV_WITH(test_wake_up_on_v1_is_for_the_system_session, .backend = "v1"),
        TEST_IN_ENV(test_wake_up_on_v0_is_for_the_agents_one_session),
        TEST_IN_ENV_WITH(test_alike_agents_are_not_woken_on_v1, .backend = "v1"),
        TEST_IN_ENV(test_alike_agents_are_woken_on_v0),
        TEST_IN_ENV_WITH(test_pin_against_the_backends_version_degrades, .backend = "v1"),
    };
    return cmocka_run_group_tests_name("backend_version", tests, NULL, NULL);
}
