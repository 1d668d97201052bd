/* Loops that wait, are poked, are stopped, and tell whether they are stuck. */
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

enum { LONG_MS = 3600 * 1000, WAIT_MS = 30000 };

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

static void test_time_ends_a_wait(void **state)
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
    assert_true(loop_wait(*state, began_ms + LONG_MS, 0));
    assert_true(clock_monotonic_ms() < began_ms + LONG_MS);
    int64_t until_ms = clock_monotonic_ms() + 20;
    assert_true(loop_wait(*state, until_ms, 0));
    assert_true(clock_monotonic_ms() >= until_ms);
}

static void test_poke_does_not_count_before_its_time(void **state)
{
    int64_t from_ms = clock_monotonic_ms() + 20;
    loop_poke(*state);
    assert_true(loop_wait(*state, from_ms + LONG_MS, from_ms));
    assert_true(clock_monotonic_ms() >= from_ms);
}

static void test_stop_ends_every_wait(void **state)
{
    loop_request_stop(*state);
    for (int i = 0; i < 3; i++)
        assert_false(loop_wait(*state, SYNC_NO_DEADLINE, INT64_MAX));
}

/* Busy for longer than any round takes: whoever watches has to notice, and only then. */
static void test_stuck_round_is_not_alive(void **state)
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

struct waiting {
    struct loop *loop;
    int64_t until_ms;
};

static void *wait_once(void *argument)
{
    const struct waiting *waiting = argument;
    loop_wait(waiting->loop, waiting->until_ms, INT64_MAX);
    return NULL;
}

/* Waits, for a while, until it is seen as alive at_ms or not. */
static bool becomes(struct loop *loop, int64_t at_ms, bool alive)
{
    int64_t limit_ms = clock_monotonic_ms() + WAIT_MS;
    while (loop_is_alive(loop, at_ms) != alive && clock_monotonic_ms() < limit_ms)
        usleep(1000);
    return loop_is_alive(loop, at_ms) == alive;
}

/* One that waits is alive until some time after the wait was to be over. */
static void test_overdue_wait_is_not_alive(void **state)
{
    struct waiting waiting = {.loop = *state, .until_ms = clock_monotonic_ms() + LONG_MS};
    pthread_t thread;
    assert_int_equal(thread_start(&thread, "waits", wait_once, &waiting, NULL), 0);
    assert_true(becomes(*state, waiting.until_ms + LOOP_SLACK_MS, true));
    assert_false(loop_is_alive(*state, waiting.until_ms + LOOP_SLACK_MS + 1));
    loop_request_stop(*state);
    thread_join(thread);
}

static void test_wait_for_ever_is_alive(void **state)
{
    struct waiting waiting = {.loop = *state, .until_ms = SYNC_NO_DEADLINE};
    pthread_t thread;
    assert_int_equal(thread_start(&thread, "waits", wait_once, &waiting, NULL), 0);
    assert_true(becomes(*state, INT64_MAX - 1, true));
    loop_request_stop(*state);
    thread_join(thread);
}

struct probing {
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

/* A gateway that takes connections and says nothing. */
static void start_probing(struct probing *probing)
{
    static const struct breaker_settings settings = {.enabled = true,
        .url = "http://gateway:18789",
        .idle_probe_ms = LONG_MS,
        .backoff_base_ms = 1,
        .backoff_max_ms = 1};
    char url[64];
    probing->server = stub_server_start(NULL);
    snprintf(url, sizeof url, "http://127.0.0.1:%u", stub_server_port(probing->server));
    assert_int_equal(http_client_library_start(NULL), 0);
    stats_init(&probing->stats);
    probing->queue = queue_fixture_create(QUEUE_FIXTURE_CAPACITY);
    assert_int_equal(ca_store_create(&probing->store, NULL, NULL), 0);
    assert_int_equal(gateway_create(&probing->gateway, url, "token", NULL), 0);
    assert_int_equal(breaker_create(&probing->breaker, &settings, clock_monotonic_ms(), NULL), 0);
    assert_int_equal(gateway_roster_create(&probing->roster, NULL), 0);
    const struct gateway_prober_parts parts = {
        .gateway = probing->gateway,
        .control = &probing->control,
        .roster = probing->roster,
        .store = probing->store,
        .abort = &probing->abort,
    };
    assert_int_equal(gateway_prober_create(&probing->prober, &parts, NULL), 0);
    probing->control = (struct breaker_control){
        .breaker = probing->breaker,
        .queue = probing->queue,
        .stats = &probing->stats,
        .prober = gateway_prober_loop(probing->prober),
    };
    probing->watchdog = (struct watchdog){
        .loops = {gateway_prober_loop(probing->prober), gateway_prober_slow_loop(probing->prober)},
        .count = 2};
    for (size_t i = 0; i < probing->watchdog.count; i++)
        assert_int_equal(loop_start(probing->watchdog.loops[i], NULL), 0);
}

static void stop_probing(struct probing *probing)
{
    atomic_store(&probing->abort, true);
    for (size_t i = 0; i < probing->watchdog.count; i++)
        loop_stop(probing->watchdog.loops[i]);
    gateway_prober_destroy(probing->prober);
    gateway_roster_destroy(probing->roster);
    breaker_destroy(probing->breaker);
    gateway_destroy(probing->gateway);
    ca_store_destroy(probing->store);
    send_queue_destroy(probing->queue);
    stats_fini(&probing->stats);
    http_client_library_stop();
    stub_server_stop(probing->server);
}

static bool are_alive(const struct probing *probing, int64_t at_ms)
{
    for (size_t i = 0; i < probing->watchdog.count; i++)
        if (!loop_is_alive(probing->watchdog.loops[i], at_ms))
            return false;
    return true;
}

/*
 * Each probe of a gateway that never answers ends when the next one is due. However long that goes
 * on, the prober goes round: the time by which it has to show up moves on.
 */
static void test_prober_of_a_silent_gateway_is_alive(void **state)
{
    (void)state;
    static struct probing probing;
    enum { ONE_PROBE_MS = 1500, PATIENT_PROBE_MS = 15000 };
    int64_t began_ms = clock_monotonic_ms();
    start_probing(&probing);
    int64_t at_ms = began_ms + LOOP_MAX_ROUND_MS + ONE_PROBE_MS - 300;
    int64_t limit_ms = began_ms + PATIENT_PROBE_MS - 1000;
    while (!are_alive(&probing, at_ms) && clock_monotonic_ms() < limit_ms)
        usleep(10000);
    assert_true(are_alive(&probing, at_ms));
    struct breaker_view view;
    breaker_snapshot(probing.breaker, &view);
    assert_int_equal(view.state, BREAKER_OPEN);
    stop_probing(&probing);
}

int main(void)
{
#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_time_ends_a_wait),
        TEST(test_poke_ends_one_wait),
        TEST(test_poke_does_not_count_before_its_time),
        TEST(test_stop_ends_every_wait),
        TEST(test_stuck_round_is_not_alive),
        TEST(test_overdue_wait_is_not_alive),
        TEST(test_wait_for_ever_is_alive),
        cmocka_unit_test(test_prober_of_a_silent_gateway_is_alive),
    };
    return cmocka_run_group_tests_name("loop", tests, NULL, NULL);
}
