/* What a running runtime makes of the backend's version, seen from outside. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "../lib/backend_call.h"
#include "../lib/board.h"

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
    assert_true(test_env_health_has(env, "/health", sentence));
    assert_true(test_env_health_has(env, "/health", "\"status\": \"degraded\""));
    assert_true(test_env_health_has(
        env, "/metrics", "mission_control_degraded{reason=\"backend_version\"} 1\n"));
    test_env_stop_runtime(env);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_IN_ENV_WITH(test_wake_up_on_v1_is_for_the_system_session, .backend = "v1"),
        TEST_IN_ENV(test_wake_up_on_v0_is_for_the_agents_one_session),
        TEST_IN_ENV_WITH(test_alike_agents_are_not_woken_on_v1, .backend = "v1"),
        TEST_IN_ENV(test_alike_agents_are_woken_on_v0),
        TEST_IN_ENV_WITH(test_pin_against_the_backends_version_degrades, .backend = "v1"),
    };
    return cmocka_run_group_tests_name("backend_version", tests, NULL, NULL);
}
