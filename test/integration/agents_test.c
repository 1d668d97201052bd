/* Heartbeats and the agent list: agents appear, change, vanish, or are unknown to the gateway. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "../lib/board.h"
#include "base/containers.h"

/* 300 ms, in minutes as the backend stores it. */
static const double SHORT_INTERVAL = 0.005;

static const char *const fast_sync[] = {"AGENT_SYNC_INTERVAL=100", NULL};

/* Adds an agent that the backend lists; copies its id. */
static void seed_agent(
    struct test_env *env, const char *slug, double interval, char id[static ID_BYTES])
{
    test_env_list_agents(env, true);
    json_t *answer = test_env_post(env, "/sandbox/seed",
        json_pack("{s:[{s:s, s:f}]}", "agents", "slug", slug, "heartbeatInterval", interval));
    snprintf(id, ID_BYTES, "%s",
        board_string(json_array_get(json_object_get(answer, "agents"), 0), "id"));
    json_decref(answer);
}

static void set_fields(struct test_env *env, const char *id, json_t *fields)
{
    json_decref(
        test_env_post(env, "/sandbox/set", json_pack("{s:s, s:o}", "id", id, "fields", fields)));
}

/* The gateway's recorded runs of one agent so far; a new reference. */
static json_t *runs_of(struct test_env *env, const char *agent)
{
    char path[128];
    snprintf(path, sizeof path, "/sandbox/gateway?agent=%s", agent);
    json_t *answer = test_env_get(env, path);
    json_t *requests = json_incref(json_object_get(answer, "requests"));
    json_decref(answer);
    return requests;
}

static size_t count_runs(struct test_env *env, const char *agent)
{
    json_t *runs = runs_of(env, agent);
    size_t count = json_array_size(runs);
    json_decref(runs);
    return count;
}

/* Waits until more runs have begun, of any agents. */
static void wait_for_runs(struct test_env *env, long more)
{
    char condition[64];
    snprintf(condition, sizeof condition, "requests=%ld",
        test_env_stat(env, "gateway", "requests") + more);
    test_env_wait(env, condition);
}

static json_t *health_part(struct test_env *env, const char *key)
{
    json_t *health = test_env_health_json(env, "/health");
    json_t *part = json_incref(json_object_get(health, key));
    json_decref(health);
    assert_non_null(part);
    return part;
}

static void test_heartbeat_wakes_agent_and_reports_it_online(void **state)
{
    struct test_env *env = *state;
    char id[ID_BYTES];
    seed_agent(env, "jarvis", SHORT_INTERVAL, id);
    set_fields(env, id, json_pack("{s:s}", "status", "offline"));
    test_env_start_runtime(env, fast_sync);
    test_env_wait(env, "action=updateAgentHeartbeat&calls=3");
    json_t *runs = runs_of(env, "jarvis");
    const json_t *run = json_array_get(runs, 0);
    assert_int_equal(strncmp(board_string(run, "input"), "## Heartbeat Check\n", 19), 0);
    assert_non_null(strstr(board_string(run, "input"), "\nCurrent time: 20"));
    assert_string_equal(board_string(run, "session"), "agent:jarvis:" TEST_ACCOUNT);
    json_decref(runs);
    json_t *agents = board_documents(env, "agents");
    assert_string_equal(board_string(json_array_get(agents, 0), "status"), "online");
    json_decref(agents);
    json_t *heartbeat = health_part(env, "heartbeat");
    assert_true(json_is_true(json_object_get(heartbeat, "running")));
    assert_int_equal(json_integer_value(json_object_get(heartbeat, "scheduledAgents")), 1);
    json_decref(heartbeat);
    test_env_stop_runtime(env);
}

/* A delivery and a heartbeat of one agent are never in flight at the same time. */
static void test_heartbeats_share_the_lane_with_deliveries(void **state)
{
    struct test_env *env = *state;
    test_env_list_agents(env, true);
    json_decref(test_env_post(env, "/sandbox/load",
        json_pack("{s:i, s:i, s:f}", "notifications", 60, "agents", 3, "heartbeatInterval",
            SHORT_INTERVAL / 5)));
    board_set(env, json_pack("{s:i}", "gateway_latency_ms", 5));
    test_env_start_runtime(env, fast_sync);
    test_env_wait(env, "undelivered=0");
    test_env_wait(env, "action=updateAgentHeartbeat&calls=6");
    assert_int_equal(test_env_stat(env, "gateway", "max_in_flight_per_session"), 1);
    assert_int_equal(test_env_stat(env, "gateway", "deliveries"), 60);
    test_env_stop_runtime(env);
}

/* The runs before that one failed, and none of them was reported. */
static void expect_first_report_after_run(struct test_env *env, size_t number)
{
    json_t *runs = runs_of(env, "jarvis");
    json_t *stats = test_env_get(env, "/sandbox/stats");
    const json_t *reports =
        json_object_get(json_object_get(stats, "backend"), "updateAgentHeartbeat");
    const json_t *run = NULL;
    for (size_t i = 0; i < number; i++) {
        run = json_array_get(runs, i);
        assert_int_equal(
            json_integer_value(json_object_get(run, "status")), i + 1 < number ? 500 : 200);
    }
    assert_true(json_number_value(json_object_get(reports, "firstUs")) >=
                json_number_value(json_object_get(run, "ended_us")));
    json_decref(stats);
    json_decref(runs);
}

static void test_failed_heartbeats_do_not_stop_the_next(void **state)
{
    struct test_env *env = *state;
    char id[ID_BYTES];
    seed_agent(env, "jarvis", SHORT_INTERVAL, id);
    board_gateway_fault(
        env, json_pack("{s:s, s:i, s:i}", "action", "status", "status", 500, "times", 3));
    test_env_start_runtime(env, fast_sync);
    test_env_wait(env, "action=updateAgentHeartbeat&calls=1");
    expect_first_report_after_run(env, 4);
    test_env_wait_log(env, "[Heartbeat] jarvis could not be woken: ");
    test_env_stop_runtime(env);
}

static void test_added_and_removed_agents_need_no_restart(void **state)
{
    struct test_env *env = *state;
    char jarvis[ID_BYTES];
    char friday[ID_BYTES];
    seed_agent(env, "jarvis", SHORT_INTERVAL, jarvis);
    test_env_start_runtime(env, fast_sync);
    wait_for_runs(env, 1);
    seed_agent(env, "friday", SHORT_INTERVAL, friday);
    test_env_wait_log(env, "agent list changed: 1 added, 0 removed, 2 in total");
    for (int i = 0; i < 20 && count_runs(env, "friday") == 0; i++)
        wait_for_runs(env, 1);
    assert_true(count_runs(env, "friday") >= 1);
    json_decref(
        test_env_post(env, "/sandbox/delete", json_pack("{s:s, s:b}", "id", jarvis, "cascade", 1)));
    test_env_wait_log(env, "agent list changed: 0 added, 1 removed, 1 in total");
    size_t before = count_runs(env, "jarvis");
    wait_for_runs(env, 3);
    /* A run that was in flight at the removal may have begun. */
    assert_in_range(count_runs(env, "jarvis"), before, before + 1);
    test_env_stop_runtime(env);
}

static void test_changed_agent_is_woken_with_its_new_fields(void **state)
{
    struct test_env *env = *state;
    char id[ID_BYTES];
    seed_agent(env, "jarvis", 60, id);
    test_env_start_runtime(env, fast_sync);
    /* The first heartbeat may have been sent already; the next one is an hour away. */
    test_env_wait(env, "requests=1");
    set_fields(env, id,
        json_pack("{s:s, s:s, s:f}", "name", "Renamed", "sessionKey", "agent:jarvis:other-key",
            "heartbeatInterval", SHORT_INTERVAL));
    wait_for_runs(env, 2);
    json_t *runs = runs_of(env, "jarvis");
    const json_t *last = json_array_get(runs, json_array_size(runs) - 1);
    assert_string_equal(board_string(last, "session"), "agent:jarvis:other-key");
    json_decref(runs);
    test_env_stop_runtime(env);
}

static void test_failed_sync_keeps_agents_and_reports_the_error(void **state)
{
    struct test_env *env = *state;
    char id[ID_BYTES];
    seed_agent(env, "jarvis", SHORT_INTERVAL, id);
    test_env_start_runtime(env, fast_sync);
    wait_for_runs(env, 1);
    board_backend_fault(env, json_pack("{s:s, s:s, s:s}", "action", "listAgents", "behaviour",
                                 "function_error", "message", "agents are out"));
    test_env_wait_log(env, "[AgentSync] agent sync failed: ");
    json_t *sync = health_part(env, "agentSync");
    assert_non_null(strstr(board_string(sync, "lastError"), "agents are out"));
    json_decref(sync);
    wait_for_runs(env, 2);
    board_clear_faults(env);
    test_env_wait_log(env, "agents can be read again");
    sync = health_part(env, "agentSync");
    assert_true(json_is_null(json_object_get(sync, "lastError")));
    json_decref(sync);
    test_env_stop_runtime(env);
}

static void test_agents_unknown_to_the_gateway_are_reported(void **state)
{
    struct test_env *env = *state;
    char id[ID_BYTES];
    seed_agent(env, "jarvis", 60, id);
    board_set(env, json_pack("{s:[s]}", "gateway_agents", "main"));
    test_env_start_runtime(env, fast_sync);
    test_env_wait_log(env, "the gateway does not know 1 of 1 agents");
    json_t *sync = health_part(env, "agentSync");
    const json_t *unknown = json_object_get(sync, "unknownToGateway");
    assert_string_equal(json_string_value(json_array_get(unknown, 0)), "jarvis");
    json_decref(sync);
    /* It leaves the list once the gateway knows it. */
    board_set(env, json_pack("{s:n}", "gateway_agents"));
    test_env_wait_calls(env, "listAgents", 2);
    sync = health_part(env, "agentSync");
    assert_int_equal(json_array_size(json_object_get(sync, "unknownToGateway")), 0);
    json_decref(sync);
    test_env_stop_runtime(env);
}

static void test_fallback_agent_runs_for_unknown_agents(void **state)
{
    struct test_env *env = *state;
    board_set(env, json_pack("{s:[s]}", "gateway_agents", "main"));
    test_env_start_runtime(env, STRINGS("OPENCLAW_FALLBACK_AGENT=main", "AGENT_SYNC_INTERVAL=100"));
    /* A sync that has ended has asked the gateway for its agents. */
    test_env_wait(env, "action=listAgents&calls=2");
    test_env_list_agents(env, true);
    json_decref(test_env_post(
        env, "/sandbox/load", json_pack("{s:i, s:i}", "notifications", 1, "agents", 1)));
    test_env_wait(env, "undelivered=0&requests=2");
    json_t *runs = runs_of(env, "main");
    assert_int_equal(json_array_size(runs), 2);
    for (size_t i = 0; i < 2; i++) {
        const json_t *run = json_array_get(runs, i);
        assert_string_equal(board_string(run, "session"), "agent:main:worker1:" TEST_ACCOUNT);
        assert_string_equal(board_string(run, "model"), "openclaw:main");
    }
    json_decref(runs);
    assert_int_equal(test_env_stat(env, NULL, "replies"), 1);
    test_env_stop_runtime(env);
}

/* During an outage no heartbeats are queued, so they do not all start at its end. */
static void test_heartbeats_wait_for_the_gateway(void **state)
{
    struct test_env *env = *state;
    char id[ID_BYTES];
    board_set_flag(env, "gateway_draining", true);
    seed_agent(env, "jarvis", SHORT_INTERVAL, id);
    test_env_start_runtime(env, fast_sync);
    test_env_wait_calls(env, "listAgents", 5);
    assert_int_equal(test_env_stat(env, "gateway", "requests"), 0);
    board_set_flag(env, "gateway_draining", false);
    wait_for_runs(env, 1);
    assert_false(process_has_output(&env->runtime, "jarvis could not be woken"));
    test_env_stop_runtime(env);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_IN_ENV(test_heartbeat_wakes_agent_and_reports_it_online),
        TEST_IN_ENV(test_heartbeats_share_the_lane_with_deliveries),
        TEST_IN_ENV(test_failed_heartbeats_do_not_stop_the_next),
        TEST_IN_ENV(test_added_and_removed_agents_need_no_restart),
        TEST_IN_ENV(test_changed_agent_is_woken_with_its_new_fields),
        TEST_IN_ENV(test_failed_sync_keeps_agents_and_reports_the_error),
        TEST_IN_ENV(test_agents_unknown_to_the_gateway_are_reported),
        TEST_IN_ENV(test_fallback_agent_runs_for_unknown_agents),
        TEST_IN_ENV(test_heartbeats_wait_for_the_gateway),
    };
    return cmocka_run_group_tests_name("agents", tests, NULL, NULL);
}
