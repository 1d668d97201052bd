/* The stop: what runs comes to its end and is written back, nothing new begins, and it is told. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "../lib/board.h"
#include "base/sync.h"

static void must_be_told(struct world *world, const char *status)
{
    json_t *accounts = board_documents(world, "accounts");
    assert_string_equal(board_string(json_array_get(accounts, 0), "runtimeStatus"), status);
    json_decref(accounts);
}

static void must_end_well(struct world *world)
{
    int status = process_wait_exit(&world->runtime, WORLD_WAIT_MS);
    if (status != 0)
        process_show(&world->runtime, "runtime");
    assert_int_equal(status, 0);
    /* Its last words may come in after its end. */
    assert_true(process_wait_for(&world->runtime, "Shutdown complete", WORLD_WAIT_MS, NULL, 0));
}

static void test_send_of_two_seconds_is_written_back(void **state)
{
    struct world *world = *state;
    json_decref(board_load(world, 3, 3));
    json_decref(
        world_post(world, "/sandbox/settings", json_pack("{s:i}", "gateway_latency_ms", 2000)));
    world_start_runtime(world, (const char *[]){"DELIVERY_MAX_CONCURRENT_SESSIONS=1", NULL});
    world_wait(world, "in_flight=1");
    process_signal(&world->runtime, SIGTERM);
    must_end_well(world);
    assert_int_equal(world_stat(world, "gateway", "requests"), 1);
    assert_int_equal(world_stat(world, "gateway", "answered"), 1);
    assert_int_equal(world_stat(world, NULL, "replies"), 1);
    assert_int_equal(world_stat(world, NULL, "delivered"), 1);
    assert_int_equal(world_stat(world, NULL, "undelivered"), 2);
    must_be_told(world, "offline");
    /* The next start does the rest, and nothing twice. */
    json_decref(
        world_post(world, "/sandbox/settings", json_pack("{s:i}", "gateway_latency_ms", 0)));
    world_start_runtime(world, NULL);
    world_wait(world, "undelivered=0");
    assert_int_equal(world_stat(world, "gateway", "requests"), 3);
    world_stop_runtime(world);
}

/* The reply is here when the signal comes; that the backend is slow then costs it nothing. */
static void test_write_back_under_way_is_ended(void **state)
{
    struct world *world = *state;
    json_decref(board_load(world, 1, 1));
    board_backend_fault(world, json_pack("{s:s, s:s, s:s}", "action", "createMessageFromAgent",
                                   "behaviour", "hold", "name", "write"));
    world_start_runtime(world, NULL);
    world_wait(world, "held=1");
    process_signal(&world->runtime, SIGTERM);
    assert_true(process_wait_for(&world->runtime, "that are under way", WORLD_WAIT_MS, NULL, 0));
    board_release(world, "write");
    must_end_well(world);
    assert_int_equal(world_stat(world, NULL, "delivered"), 1);
    assert_int_equal(world_stat(world, NULL, "replies"), 1);
    assert_int_equal(world_stat(world, "gateway", "requests"), 1);
}

/* No agent will be asked, so nobody waits for what is read before that, nor for its turn to be. */
static void test_reads_before_a_send_are_cut_off(void **state)
{
    struct world *world = *state;
    enum { MOST_MS = 5000, WORKERS = 40, CALLS_AT_ONCE = 28 };
    char condition[32];
    json_decref(board_load(world, WORKERS, WORKERS));
    board_backend_fault(world, json_pack("{s:s, s:s, s:s}", "action", "getNotificationForDelivery",
                                   "behaviour", "hold", "name", "read"));
    world_start_runtime(world,
        (const char *[]){"DELIVERY_MAX_CONCURRENT_SESSIONS=40", "SHUTDOWN_GRACE_MS=60000", NULL});
    snprintf(condition, sizeof condition, "held=%d", CALLS_AT_ONCE);
    world_wait(world, condition);
    int64_t began_ms = clock_monotonic_ms();
    process_signal(&world->runtime, SIGTERM);
    must_end_well(world);
    assert_in_range(clock_monotonic_ms() - began_ms, 0, MOST_MS * process_patience());
    assert_int_equal(world_stat(world, "gateway", "requests"), 0);
    board_end_faults(world);
    world_start_runtime(world, NULL);
    world_wait(world, "undelivered=0");
    assert_int_equal(world_stat(world, "gateway", "requests"), WORKERS);
    world_stop_runtime(world);
}

/* Neither side answers any more: the process is gone soon after the grace all the same. */
static void test_everything_hung_ends_soon_after_the_grace(void **state)
{
    struct world *world = *state;
    enum { GRACE_MS = 1500, MORE_MS = 2000 };
    json_decref(board_load(world, 12, 12));
    board_gateway_fault(world, json_pack("{s:s}", "action", "hang"));
    world_start_runtime(world, (const char *[]){"SHUTDOWN_GRACE_MS=1500", "AGENT_SYNC_INTERVAL=100",
                                   "HEALTH_CHECK_INTERVAL=100", NULL});
    world_wait(world, "in_flight=10");
    board_backend_fault(world, json_pack("{s:s}", "behaviour", "hang"));
    world_wait(world, "held=13");
    int64_t began_ms = clock_monotonic_ms();
    process_signal(&world->runtime, SIGTERM);
    must_end_well(world);
    int64_t took_ms = clock_monotonic_ms() - began_ms;
    assert_in_range(took_ms, GRACE_MS - 1000, (GRACE_MS + MORE_MS) * process_patience());
    assert_true(process_said(&world->runtime, "The grace is over"));
    assert_true(process_said(&world->runtime, "Failed to update offline status"));
    assert_int_equal(world_stat(world, "gateway", "requests"), 10);
}

static void test_restart_request_lets_running_sends_end(void **state)
{
    struct world *world = *state;
    json_decref(board_load(world, 8, 4));
    board_gateway_fault(world, json_pack("{s:s, s:s}", "action", "hold", "name", "agent"));
    world_start_runtime(world, (const char *[]){"HEALTH_CHECK_INTERVAL=50", NULL});
    world_wait(world, "in_flight=4");
    json_decref(world_post(world, "/sandbox/restart", json_object()));
    assert_true(process_wait_for(&world->runtime, "that are under way", WORLD_WAIT_MS, NULL, 0));
    board_release(world, "agent");
    must_end_well(world);
    assert_true(process_said(&world->runtime, "A restart is asked for"));
    assert_int_equal(world_stat(world, "gateway", "requests"), 4);
    assert_int_equal(world_stat(world, NULL, "replies"), 4);
    assert_int_equal(world_stat(world, NULL, "delivered"), 4);
    must_be_told(world, "offline");
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
#define IN_WORLD(test) cmocka_unit_test_setup_teardown(test, world_setup, world_teardown)
    const struct CMUnitTest tests[] = {
        IN_WORLD(test_send_of_two_seconds_is_written_back),
        IN_WORLD(test_write_back_under_way_is_ended),
        IN_WORLD(test_reads_before_a_send_are_cut_off),
        IN_WORLD(test_everything_hung_ends_soon_after_the_grace),
        IN_WORLD(test_restart_request_lets_running_sends_end),
    };
    return cmocka_run_group_tests_name("stop", tests, NULL, NULL);
}
