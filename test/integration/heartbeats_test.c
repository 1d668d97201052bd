/* Heartbeats of many agents, and heartbeats that compete with deliveries. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../lib/board.h"
#include "base/sync.h"

enum { AGENTS = 40, WAKERS = 6, WORKERS = 4 };

/* Adds agents PREFIX0, PREFIX1, ... with interval in minutes, and lists them from now on. */
static void seed_agents(struct test_env *env, const char *prefix, int count, double interval)
{
    json_t *agents = json_array();
    for (int i = 0; i < count; i++) {
        char slug[32];
        snprintf(slug, sizeof slug, "%s%d", prefix, i);
        json_array_append_new(
            agents, json_pack("{s:s, s:f}", "slug", slug, "heartbeatInterval", interval));
    }
    test_env_list_agents(env, true);
    json_decref(test_env_post(env, "/sandbox/seed", json_pack("{s:o}", "agents", agents)));
}

static double run_begun_us(const json_t *run)
{
    return json_number_value(json_object_get(run, "begun_us"));
}

/*
 * The first heartbeats of forty agents are spread over two fifths of the interval: agent n is not
 * woken before n fortieths of that have passed. A lower bound holds on a slow machine as well.
 */
static void test_first_heartbeats_are_spread_over_the_interval(void **state)
{
    struct test_env *env = *state;
    static const double interval = 0.2;
    enum { SPREAD_US = 12 * 1000000 * 2 / 5 };
    seed_agents(env, "agent", AGENTS, interval);
    double started_us = (double)clock_monotonic_us();
    test_env_start_runtime(env, STRINGS("DELIVERY_MAX_CONCURRENT_SESSIONS=100"));
    test_env_wait(env, "requests=40");
    json_t *record = test_env_get(env, "/sandbox/gateway");
    const json_t *run;
    size_t index;
    bool woken[AGENTS] = {false};
    json_array_foreach (json_object_get(record, "requests"), index, run) {
        long place = strtol(board_string(run, "agent") + strlen("agent"), NULL, 10);
        assert_in_range(place, 0, AGENTS - 1);
        if (index < AGENTS)
            assert_false(woken[place]);
        woken[place] = true;
        assert_true(run_begun_us(run) - started_us >= SPREAD_US * (double)place / AGENTS);
    }
    json_decref(record);
    test_env_stop_runtime(env);
}

/* At most half of the workers run heartbeats; the others deliver. */
static void test_heartbeats_leave_half_of_the_workers_to_deliveries(void **state)
{
    struct test_env *env = *state;
    /* These are the board's first agents, so the second load is for them as well. */
    json_decref(board_load(env, WORKERS, WORKERS));
    seed_agents(env, "waker", WAKERS, 0.005);
    for (int i = 0; i < WAKERS; i++) {
        char slug[32];
        snprintf(slug, sizeof slug, "waker%d", i);
        board_gateway_fault(env, json_pack("{s:{s:s}, s:s, s:s}", "match", "agent", slug, "action",
                                     "hold", "name", "wake"));
    }
    test_env_start_runtime(env, STRINGS("DELIVERY_MAX_CONCURRENT_SESSIONS=4"));
    test_env_wait(env, "held=2");
    json_decref(board_load(env, 3 * WORKERS, WORKERS));
    test_env_wait(env, "undelivered=0&delivered=16");
    assert_int_equal(test_env_stat(env, NULL, "held"), WORKERS / 2);
    /* The queued heartbeats follow once the held ones return. */
    board_clear_faults(env);
    test_env_wait(env, "action=updateAgentHeartbeat&calls=6");
    test_env_stop_runtime(env);
}

static bool metrics_have(struct test_env *env, const char *line)
{
    return test_env_health_has(env, "/metrics", line);
}

/*
 * Two of six heartbeats are in flight and four are queued when the breaker opens. The queued ones
 * are rescheduled over the interval, so they do not all start when it closes.
 */
static void test_queued_heartbeats_are_rescheduled_when_the_breaker_opens(void **state)
{
    static const char none_postponed[] =
        "\nmission_control_heartbeats_total{outcome=\"put_off\"} 0\n";
    struct test_env *env = *state;
    seed_agents(env, "waker", WAKERS, 0.05);
    board_hold_agents(env, "wake");
    test_env_start_runtime(
        env, STRINGS("DELIVERY_MAX_CONCURRENT_SESSIONS=4", "HEALTH_CHECK_INTERVAL=50"));
    test_env_wait(env, "held=2");
    test_env_wait_words(env, "/metrics", "\nmission_control_lanes 6\n", true);
    assert_true(metrics_have(env, none_postponed));
    board_gateway_fault(
        env, json_pack("{s:s, s:b, s:i}", "action", "status", "before_checks", 1, "status", 401));
    test_env_wait_words(env, "/metrics", "\nmission_control_lanes 2\n", true);
    assert_false(metrics_have(env, none_postponed));
    assert_int_equal(test_env_stat(env, NULL, "held"), 2);
    board_clear_faults(env);
    test_env_wait(env, "action=updateAgentHeartbeat&calls=6");
    test_env_stop_runtime(env);
}

/*
 * Deliveries take precedence over its heartbeats until these are overdue, but meanwhile one
 * delivery per interval reports the agent online. Each heartbeat does so as well.
 */
static void test_busy_agent_is_reported_online_once_per_interval(void **state)
{
    struct test_env *env = *state;
    enum { INTERVAL_MS = 600 };
    test_env_list_agents(env, true);
    board_set(env, json_pack("{s:i}", "gateway_latency_ms", 30));
    json_decref(test_env_post(env, "/sandbox/load",
        json_pack("{s:i, s:i, s:f}", "notifications", 200, "agents", 1, "heartbeatInterval",
            INTERVAL_MS / 60000.0)));
    int64_t began_ms = clock_monotonic_ms();
    test_env_start_runtime(env, NULL);
    test_env_wait(env, "action=updateAgentHeartbeat&calls=4");
    json_t *stats = test_env_get(env, "/sandbox/stats");
    int64_t max_per_interval = (clock_monotonic_ms() - began_ms) / INTERVAL_MS + 1;
    const json_t *gateway = json_object_get(stats, "gateway");
    assert_true(json_number_value(json_object_get(stats, "undelivered")) > 0);
    json_int_t heartbeats = (json_int_t)json_number_value(json_object_get(gateway, "requests")) -
                            (json_int_t)json_number_value(json_object_get(gateway, "deliveries"));
    assert_in_range(heartbeats, 0, max_per_interval);
    const json_t *reports =
        json_object_get(json_object_get(stats, "backend"), "updateAgentHeartbeat");
    assert_in_range(
        json_number_value(json_object_get(reports, "calls")), 4, heartbeats + max_per_interval);
    json_decref(stats);
    test_env_stop_runtime(env);
}

static size_t runs_of(struct test_env *env, const char *slug)
{
    char path[128];
    snprintf(path, sizeof path, "/sandbox/gateway?agent=%s", slug);
    json_t *record = test_env_get(env, path);
    size_t count = json_array_size(json_object_get(record, "requests"));
    json_decref(record);
    return count;
}

/* The backlog of the others would last for 40 s; the sleeper's interval is 0.6 s. */
static void test_constant_backlog_does_not_keep_agents_asleep(void **state)
{
    enum { BACKLOG = 1000, BUSY_AGENTS = 3, LATENCY_MS = 40, WAKES = 3 };
    struct test_env *env = *state;
    board_set(env, json_pack("{s:i}", "gateway_latency_ms", LATENCY_MS));
    json_decref(board_load(env, BACKLOG, BUSY_AGENTS));
    seed_agents(env, "sleeper", 1, 0.01);
    test_env_start_runtime(env, STRINGS("DELIVERY_MAX_CONCURRENT_SESSIONS=1"));
    while (runs_of(env, "sleeper0") < WAKES)
        assert_true(test_env_stat(env, NULL, "undelivered") > BACKLOG * 3 / 4);
    test_env_stop_runtime(env);
}

/* Malformed agent rows are logged and ignored; the valid one keeps its schedule. */
static void test_malformed_agents_do_not_disturb_others(void **state)
{
    struct test_env *env = *state;
    board_backend_fault(
        env, json_pack("{s:s, s:s, s:{s:s, s:[{s:s, s:s, s:f}, {s:s}, n, {s:s, s:s, s:f}]}}",
                 "action", "listAgents", "behaviour", "raw_body", "body_json", "status", "success",
                 "value", "_id", "jx000000000000000000000000000001", "slug", "main",
                 "heartbeatInterval", 60.0, "_id", "../..", "_id",
                 "jx000000000000000000000000000001", "slug", "main", "heartbeatInterval", 0.005));
    test_env_start_runtime(env, STRINGS("AGENT_SYNC_INTERVAL=50"));
    test_env_wait_log(env, "ignoring 2 agents with an invalid _id");
    test_env_wait(env, "action=listAgents&calls=40");
    assert_in_range(test_env_stat(env, "gateway", "requests"), 0, 1);
    test_env_stop_runtime(env);
}

/* The limit is on the agent's session, so what waits behind the wake-up would be refused as well.
 */
/* With lanes of sessions it would pause its own session, in which nothing else waits. */
static void test_rate_limited_wake_up_pauses_its_agent(void **state)
{
    struct test_env *env = *state;
    seed_agents(env, "waker", 1, 0.005);
    board_gateway_fault(env, json_pack("{s:s, s:b, s:s, s:i, s:{s:s}, s:{s:{s:s}}}", "name", "wake",
                                 "hold", 1, "action", "status", "status", 429, "headers",
                                 "Retry-After", "60", "body_json", "error", "message", "slow"));
    test_env_start_runtime(env, STRINGS("DELIVERY_LANES=agent"));
    test_env_wait(env, "held=1");
    json_t *rows = board_load(env, 1, 1);
    test_env_wait_words(env, "/metrics", "\nmission_control_notifications_undelivered 1\n", true);
    board_release(env, "wake");
    test_env_wait_log(env, "slow");
    test_env_wait_calls(env, "listUndeliveredNotifications", 3);
    assert_int_equal(board_requests_for(env, board_string(json_array_get(rows, 0), "id")), 0);
    assert_int_equal(test_env_stat(env, NULL, "held"), 0);
    json_decref(rows);
    test_env_stop_runtime(env);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_ON_BOTH(test_first_heartbeats_are_spread_over_the_interval),
        TEST_ON_BOTH(test_heartbeats_leave_half_of_the_workers_to_deliveries),
        TEST_ON_BOTH(test_queued_heartbeats_are_rescheduled_when_the_breaker_opens),
        TEST_ON_BOTH(test_busy_agent_is_reported_online_once_per_interval),
        TEST_ON_BOTH(test_constant_backlog_does_not_keep_agents_asleep),
        TEST_ON_BOTH(test_malformed_agents_do_not_disturb_others),
        TEST_ON_BOTH(test_rate_limited_wake_up_pauses_its_agent),
    };
    return cmocka_run_group_tests_name("heartbeats", tests, NULL, NULL);
}
