/*
 * Loops: waits, pokes and stops, and the watchdog's view of a loop that stalls. Liveness is a
 * question about a time, so tests ask about times in the future instead of waiting for a stall.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

#include "../lib/queue_fixture.h"
#include "../lib/stub_server.h"
#include "base/loop.h"
#include "base/sync.h"
#include "delivery/breaker_control.h"
#include "http/ca_store.h"

enum { HOUR_MS = 3600 * 1000, WAIT_MS = 30000 };

static int setup(void **state)
{
    static struct loop loop;
    loop_init(&loop, "waits", NULL, NULL);
    *state = &loop;
    return 0;
}

static int teardown(void **state)
{
    loop_fini(*state);
    return 0;
}

static void test_deadline_ends_a_wait(void **state)
{
    int64_t until_ms = clock_monotonic_ms() + 20;
    assert_true(loop_wait(*state, until_ms, 0));
    assert_true(clock_monotonic_ms() >= until_ms);
    assert_true(loop_wait(*state, 0, INT64_MAX));
}

static void test_poke_ends_one_wait(void **state)
{
    int64_t began_ms = clock_monotonic_ms();
    loop_poke(*state);
    assert_true(loop_wait(*state, began_ms + HOUR_MS, 0));
    assert_true(clock_monotonic_ms() < began_ms + HOUR_MS);
    int64_t until_ms = clock_monotonic_ms() + 20;
    assert_true(loop_wait(*state, until_ms, 0));
    assert_true(clock_monotonic_ms() >= until_ms);
}

static void test_poke_waits_for_its_earliest_time(void **state)
{
    int64_t from_ms = clock_monotonic_ms() + 20;
    loop_poke(*state);
    assert_true(loop_wait(*state, from_ms + HOUR_MS, from_ms));
    assert_true(clock_monotonic_ms() >= from_ms);
}

static void test_stop_ends_every_wait(void **state)
{
    loop_request_stop(*state);
    for (int i = 0; i < 3; i++)
        assert_false(loop_wait(*state, SYNC_NO_DEADLINE, INT64_MAX));
}

/* A loop that is busy for longer than a round may take has stalled, unless it is stopping. */
static void test_stalled_round_is_not_alive(void **state)
{
    int64_t now_ms = clock_monotonic_ms();
    assert_true(loop_is_alive(*state, now_ms));
    assert_true(loop_wait(*state, now_ms, 0));
    now_ms = clock_monotonic_ms();
    assert_true(loop_is_alive(*state, now_ms + LOOP_MAX_ROUND_MS - 1000));
    assert_false(loop_is_alive(*state, now_ms + LOOP_MAX_ROUND_MS + 1));
    loop_request_stop(*state);
    assert_true(loop_is_alive(*state, now_ms + LOOP_MAX_ROUND_MS + 1));
}

struct loop_waiter {
    struct loop *loop;
    int64_t until_ms;
};

static void *wait_in_loop(void *argument)
{
    const struct loop_waiter *loop_waiter = argument;
    loop_wait(loop_waiter->loop, loop_waiter->until_ms, INT64_MAX);
    return NULL;
}

/* Waits, with a time limit, until the loop's liveness as of at_ms is alive; whether it is. */
static bool wait_until_alive_is(struct loop *loop, int64_t at_ms, bool alive)
{
    int64_t limit_ms = clock_monotonic_ms() + WAIT_MS;
    while (loop_is_alive(loop, at_ms) != alive && clock_monotonic_ms() < limit_ms)
        usleep(1000);
    return loop_is_alive(loop, at_ms) == alive;
}

/* A waiting loop is alive until LOOP_SLACK_MS after the end of its wait. */
static void test_overdue_wait_is_not_alive(void **state)
{
    struct loop_waiter loop_waiter = {.loop = *state, .until_ms = clock_monotonic_ms() + HOUR_MS};
    pthread_t thread;
    assert_int_equal(thread_start(&thread, "waits", wait_in_loop, &loop_waiter, NULL), 0);
    assert_true(wait_until_alive_is(*state, loop_waiter.until_ms + LOOP_SLACK_MS, true));
    assert_false(loop_is_alive(*state, loop_waiter.until_ms + LOOP_SLACK_MS + 1));
    loop_request_stop(*state);
    thread_join(thread);
}

static void test_indefinite_wait_is_alive(void **state)
{
    struct loop_waiter loop_waiter = {.loop = *state, .until_ms = SYNC_NO_DEADLINE};
    pthread_t thread;
    assert_int_equal(thread_start(&thread, "waits", wait_in_loop, &loop_waiter, NULL), 0);
    assert_true(wait_until_alive_is(*state, INT64_MAX - 1, true));
    loop_request_stop(*state);
    thread_join(thread);
}

static void test_watchdog_names_the_first_stalled_loop(void **state)
{
    (void)state;
    struct loop loops[3];
    struct watchdog watchdog = {.count = 3};
    static const char *const names[] = {"first", "second", "third"};
    for (size_t i = 0; i < watchdog.count; i++) {
        loop_init(&loops[i], names[i], NULL, NULL);
        watchdog.loops[i] = &loops[i];
    }
    assert_null(watchdog_find_stalled(&watchdog));
    int64_t past_ms = clock_monotonic_ms() - LOOP_MAX_ROUND_MS;
    loops[2].expected_ms = past_ms;
    assert_string_equal(watchdog_find_stalled(&watchdog), "third");
    loops[1].expected_ms = past_ms;
    assert_string_equal(watchdog_find_stalled(&watchdog), "second");
    /* A loop that is stopping is not expected back at its wait. */
    loop_request_stop(&loops[1]);
    assert_string_equal(watchdog_find_stalled(&watchdog), "third");
    loop_request_stop(&loops[2]);
    assert_null(watchdog_find_stalled(&watchdog));
    for (size_t i = 0; i < watchdog.count; i++)
        loop_fini(&loops[i]);
}

static void test_empty_watchdog_finds_nothing(void **state)
{
    (void)state;
    const struct watchdog watchdog = {.count = 0};
    assert_null(watchdog_find_stalled(&watchdog));
}

struct probe_setup {
    struct stub_server *server;
    struct ca_store *store;
    struct gateway *gateway;
    struct breaker *breaker;
    struct gateway_roster *roster;
    struct send_queue *queue;
    struct stats stats;
    struct breaker_control control;
    struct gateway_prober *prober;
    struct watchdog watchdog;
    atomic_bool abort;
};

/* Starts a prober against a gateway that accepts connections and never answers. */
static void probe_setup_start(struct probe_setup *probe_setup)
{
    static const struct breaker_settings settings = {
        .enabled = true, .url = "http://gateway:18789", .idle_probe_ms = HOUR_MS};
    char url[64];
    probe_setup->server = stub_server_start(NULL);
    snprintf(url, sizeof url, "http://127.0.0.1:%u", stub_server_port(probe_setup->server));
    assert_int_equal(http_client_library_start(NULL), 0);
    stats_init(&probe_setup->stats);
    probe_setup->queue = queue_fixture_create(QUEUE_FIXTURE_CAPACITY);
    assert_int_equal(ca_store_create(&probe_setup->store, NULL, NULL), 0);
    assert_int_equal(gateway_create(&probe_setup->gateway, url, "token", NULL), 0);
    assert_int_equal(
        breaker_create(&probe_setup->breaker, &settings, clock_monotonic_ms(), NULL), 0);
    assert_int_equal(gateway_roster_create(&probe_setup->roster, NULL), 0);
    const struct gateway_prober_parts parts = {.gateway = probe_setup->gateway,
        .control = &probe_setup->control,
        .roster = probe_setup->roster,
        .store = probe_setup->store,
        .abort = &probe_setup->abort};
    assert_int_equal(gateway_prober_create(&probe_setup->prober, &parts, NULL), 0);
    probe_setup->control = (struct breaker_control){.breaker = probe_setup->breaker,
        .queue = probe_setup->queue,
        .stats = &probe_setup->stats,
        .prober = gateway_prober_loop(probe_setup->prober)};
    probe_setup->watchdog =
        (struct watchdog){.loops = {gateway_prober_loop(probe_setup->prober)}, .count = 1};
    for (size_t i = 0; i < probe_setup->watchdog.count; i++)
        assert_int_equal(loop_start(probe_setup->watchdog.loops[i], NULL), 0);
}

static void probe_setup_stop(struct probe_setup *probe_setup)
{
    atomic_store(&probe_setup->abort, true);
    for (size_t i = 0; i < probe_setup->watchdog.count; i++)
        loop_stop(probe_setup->watchdog.loops[i]);
    gateway_prober_destroy(probe_setup->prober);
    gateway_roster_destroy(probe_setup->roster);
    breaker_destroy(probe_setup->breaker);
    gateway_destroy(probe_setup->gateway);
    ca_store_destroy(probe_setup->store);
    send_queue_destroy(probe_setup->queue);
    stats_fini(&probe_setup->stats);
    http_client_library_stop();
    stub_server_stop(probe_setup->server);
}

static bool all_alive(const struct probe_setup *probe_setup, int64_t at_ms)
{
    for (size_t i = 0; i < probe_setup->watchdog.count; i++)
        if (!loop_is_alive(probe_setup->watchdog.loops[i], at_ms))
            return false;
    return true;
}

/*
 * Each probe of a gateway that never answers ends when the next one is due. The prober must
 * complete its rounds nevertheless, so that its liveness deadline keeps moving.
 */
static void test_prober_of_a_silent_gateway_stays_alive(void **state)
{
    (void)state;
    static struct probe_setup probe_setup;
    enum { FIRST_PROBE_MS = 1500, LONGEST_PROBE_MS = 15000 };
    int64_t began_ms = clock_monotonic_ms();
    probe_setup_start(&probe_setup);
    int64_t at_ms = began_ms + LOOP_MAX_ROUND_MS + FIRST_PROBE_MS - 300;
    int64_t limit_ms = began_ms + LONGEST_PROBE_MS - 1000;
    while (!all_alive(&probe_setup, at_ms) && clock_monotonic_ms() < limit_ms)
        usleep(10000);
    assert_true(all_alive(&probe_setup, at_ms));
    struct breaker_view view;
    breaker_snapshot(probe_setup.breaker, &view);
    assert_int_equal(view.state, BREAKER_OPEN);
    probe_setup_stop(&probe_setup);
}

int main(void)
{
#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {TEST(test_deadline_ends_a_wait),
        TEST(test_poke_ends_one_wait), TEST(test_poke_waits_for_its_earliest_time),
        TEST(test_stop_ends_every_wait), TEST(test_stalled_round_is_not_alive),
        TEST(test_overdue_wait_is_not_alive), TEST(test_indefinite_wait_is_alive),
        cmocka_unit_test(test_watchdog_names_the_first_stalled_loop),
        cmocka_unit_test(test_empty_watchdog_finds_nothing),
        cmocka_unit_test(test_prober_of_a_silent_gateway_stays_alive)};
    return cmocka_run_group_tests_name("loop", tests, NULL, NULL);
}
