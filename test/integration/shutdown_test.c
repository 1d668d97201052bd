/* Shutdown: runs in flight complete and are written back, no new ones begin, "offline" is sent. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "../lib/board.h"
#include "base/sync.h"

static void expect_reported_status(struct test_env *env, const char *status)
{
    json_t *accounts = board_documents(env, "accounts");
    assert_string_equal(board_string(json_array_get(accounts, 0), "runtimeStatus"), status);
    json_decref(accounts);
}

static void expect_clean_exit(struct test_env *env)
{
    int status = process_wait_exit(&env->runtime, TEST_WAIT_MS);
    if (status != 0)
        process_dump_output(&env->runtime, "runtime");
    assert_int_equal(status, 0);
    /* The output may be collected after the exit. */
    test_env_wait_log(env, "Shutdown complete");
}

static void test_run_in_flight_is_written_back(void **state)
{
    struct test_env *env = *state;
    json_decref(board_load(env, 3, 3));
    board_hold_agents(env, "agent");
    test_env_start_runtime(env, STRINGS("DELIVERY_MAX_CONCURRENT_SESSIONS=1"));
    test_env_wait(env, "in_flight=1");
    process_signal(&env->runtime, SIGTERM);
    test_env_wait_log(env, "wake-ups in flight");
    board_release(env, "agent");
    expect_clean_exit(env);
    assert_int_equal(test_env_stat(env, "gateway", "requests"), 1);
    assert_int_equal(test_env_stat(env, "gateway", "answered"), 1);
    assert_int_equal(test_env_stat(env, NULL, "replies"), 1);
    assert_int_equal(test_env_stat(env, NULL, "delivered"), 1);
    assert_int_equal(test_env_stat(env, NULL, "undelivered"), 2);
    expect_reported_status(env, "offline");
    /* The next start delivers the rest, and nothing twice. */
    board_clear_faults(env);
    test_env_start_runtime(env, NULL);
    test_env_wait(env, "undelivered=0");
    assert_int_equal(test_env_stat(env, "gateway", "requests"), 3);
    test_env_stop_runtime(env);
}

/* The reply arrived before the signal, so shutdown waits for the slow write. */
static void test_write_in_flight_completes(void **state)
{
    struct test_env *env = *state;
    json_decref(board_load(env, 1, 1));
    board_backend_fault(env, json_pack("{s:s, s:s, s:s}", "action", "createMessageFromAgent",
                                 "behaviour", "hold", "name", "write"));
    test_env_start_runtime(env, NULL);
    test_env_wait(env, "held=1");
    process_signal(&env->runtime, SIGTERM);
    test_env_wait_log(env, "wake-ups in flight");
    board_release(env, "write");
    expect_clean_exit(env);
    assert_int_equal(test_env_stat(env, NULL, "delivered"), 1);
    assert_int_equal(test_env_stat(env, NULL, "replies"), 1);
    assert_int_equal(test_env_stat(env, "gateway", "requests"), 1);
}

/* No agent will be run, so reads that precede a send are aborted, even those queued for a slot. */
static void test_reads_before_a_send_are_aborted(void **state)
{
    struct test_env *env = *state;
    enum { MAX_MS = 5000, WORKERS = 40, CALLS_AT_ONCE = 28 };
    char condition[32];
    json_decref(board_load(env, WORKERS, WORKERS));
    board_backend_fault(env, json_pack("{s:s, s:s, s:s}", "action", "getNotificationForDelivery",
                                 "behaviour", "hold", "name", "read"));
    test_env_start_runtime(
        env, STRINGS("DELIVERY_MAX_CONCURRENT_SESSIONS=40", "SHUTDOWN_GRACE_MS=60000"));
    snprintf(condition, sizeof condition, "held=%d", CALLS_AT_ONCE);
    test_env_wait(env, condition);
    int64_t began_ms = clock_monotonic_ms();
    process_signal(&env->runtime, SIGTERM);
    expect_clean_exit(env);
    assert_in_range(clock_monotonic_ms() - began_ms, 0, MAX_MS * process_timeout_scale());
    assert_int_equal(test_env_stat(env, "gateway", "requests"), 0);
    board_clear_faults(env);
    test_env_start_runtime(env, NULL);
    test_env_wait(env, "undelivered=0");
    assert_int_equal(test_env_stat(env, "gateway", "requests"), WORKERS);
    test_env_stop_runtime(env);
}

/* Neither side answers: the process still exits soon after the grace period. */
static void test_hung_servers_do_not_outlast_the_grace_period(void **state)
{
    struct test_env *env = *state;
    enum { GRACE_MS = 1500, MORE_MS = 5000 };
    json_decref(board_load(env, 12, 12));
    board_gateway_fault(env, json_pack("{s:s}", "action", "hang"));
    test_env_start_runtime(env,
        STRINGS("SHUTDOWN_GRACE_MS=1500", "AGENT_SYNC_INTERVAL=100", "HEALTH_CHECK_INTERVAL=100"));
    test_env_wait(env, "in_flight=10");
    board_backend_fault(env, json_pack("{s:s}", "behaviour", "hang"));
    test_env_wait(env, "held=13");
    int64_t began_ms = clock_monotonic_ms();
    process_signal(&env->runtime, SIGTERM);
    expect_clean_exit(env);
    int64_t took_ms = clock_monotonic_ms() - began_ms;
    assert_in_range(took_ms, GRACE_MS - 1000, (GRACE_MS + MORE_MS) * process_timeout_scale());
    test_env_wait_log(env, "shutdown grace period expired");
    test_env_wait_log(env, "failed to report as offline");
    assert_int_equal(test_env_stat(env, "gateway", "requests"), 10);
}

enum { STOPPED_AGENTS = 8 };

/* Answers are in the sockets when the runtime, stopped meanwhile, finds its grace period expired.
 */
static void shut_down_while_suspended(struct test_env *env, const char *held)
{
    process_signal(&env->runtime, SIGTERM);
    test_env_wait_log(env, "wake-ups in flight");
    process_suspend(&env->runtime);
    board_release(env, held);
    /* Nobody delivers, so this only lets the grace period pass. */
    assert_false(test_env_check(env, "delivered=1000&timeout_ms=2500"));
    process_signal(&env->runtime, SIGCONT);
    expect_clean_exit(env);
}

static void test_replies_that_arrived_within_the_grace_period_are_kept(void **state)
{
    struct test_env *env = *state;
    json_decref(board_load(env, STOPPED_AGENTS, STOPPED_AGENTS));
    board_hold_agents(env, "agent");
    test_env_start_runtime(env, STRINGS("SHUTDOWN_GRACE_MS=3000"));
    test_env_wait(env, "in_flight=8");
    shut_down_while_suspended(env, "agent");
    assert_int_equal(test_env_stat(env, "gateway", "answered"), STOPPED_AGENTS);
    board_clear_faults(env);
    test_env_start_runtime(env, NULL);
    test_env_wait(env, "undelivered=0");
    test_env_stop_runtime(env);
    assert_int_equal(test_env_stat(env, "gateway", "requests"), STOPPED_AGENTS);
    assert_int_equal(test_env_stat(env, NULL, "replies"), STOPPED_AGENTS);
}

/* The last call of a delivery: an answer that is not read has the next start repeat the last two.
 */
static void test_marks_answered_within_the_grace_period_are_not_repeated(void **state)
{
    struct test_env *env = *state;
    json_decref(board_load(env, STOPPED_AGENTS, STOPPED_AGENTS));
    board_backend_fault(env, json_pack("{s:s, s:s, s:s}", "action", "markNotificationDelivered",
                                 "behaviour", "hold_after", "name", "mark"));
    test_env_start_runtime(env, STRINGS("SHUTDOWN_GRACE_MS=3000"));
    test_env_wait(env, "held=8");
    shut_down_while_suspended(env, "mark");
    board_clear_faults(env);
    test_env_start_runtime(env, NULL);
    test_env_stop_runtime(env);
    assert_int_equal(test_env_stat(env, "backend", "markNotificationDelivered"), STOPPED_AGENTS);
    assert_int_equal(test_env_stat(env, "backend", "createMessageFromAgent"), STOPPED_AGENTS);
}

static void test_restart_request_waits_for_runs_in_flight(void **state)
{
    struct test_env *env = *state;
    json_decref(board_load(env, 8, 4));
    board_hold_agents(env, "agent");
    test_env_start_runtime(env, STRINGS("HEALTH_CHECK_INTERVAL=50"));
    test_env_wait(env, "in_flight=4");
    json_decref(test_env_post(env, "/sandbox/restart", json_object()));
    test_env_wait_log(env, "wake-ups in flight");
    board_release(env, "agent");
    expect_clean_exit(env);
    test_env_wait_log(env, "restart requested by the backend");
    assert_int_equal(test_env_stat(env, "gateway", "requests"), 4);
    assert_int_equal(test_env_stat(env, NULL, "replies"), 4);
    assert_int_equal(test_env_stat(env, NULL, "delivered"), 4);
    expect_reported_status(env, "offline");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_ON_BOTH(test_run_in_flight_is_written_back),
        TEST_ON_BOTH(test_write_in_flight_completes),
        TEST_ON_BOTH(test_reads_before_a_send_are_aborted),
        TEST_ON_BOTH(test_hung_servers_do_not_outlast_the_grace_period),
        TEST_ON_BOTH(test_replies_that_arrived_within_the_grace_period_are_kept),
        TEST_ON_BOTH(test_marks_answered_within_the_grace_period_are_not_repeated),
        TEST_ON_BOTH(test_restart_request_waits_for_runs_in_flight),
    };
    return cmocka_run_group_tests_name("shutdown", tests, NULL, NULL);
}
