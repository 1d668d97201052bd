/* Responses of /livez and /readyz in each state. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../lib/ticket.h"
#include <stdlib.h>

#include "base/watch.h"
#include "serve/serve.h"

struct fixture {
    struct stats stats;
    struct breaker *breaker;
    struct loop loop;
    struct watchdog watchdog;
    struct routes_sources sources;
    struct text body;
};

/* Records the result of a gateway probe. */
static void record_probe(struct fixture *fixture, enum gateway_outcome outcome, int status)
{
    const struct gateway_result result = {.outcome = outcome, .status = status};
    struct breaker_probe probe;
    breaker_begin_probe(fixture->breaker, 0, &probe);
    breaker_record_probe(fixture->breaker, probe.ticket, &result, 0);
}

/* A runtime that is ready and alive. */
static int setup(void **state)
{
    const struct breaker_settings settings = {
        .enabled = true, .url = "http://gateway:18789", .idle_probe_ms = 60000};
    struct fixture *fixture = calloc(1, sizeof *fixture);
    assert_non_null(fixture);
    stats_init(&fixture->stats);
    assert_int_equal(breaker_create(&fixture->breaker, &settings, 0, NULL), 0);
    fixture->sources = (struct routes_sources){
        .stats = &fixture->stats, .breaker = fixture->breaker, .watchdog = &fixture->watchdog};
    loop_init(&fixture->loop, "mc-poll", NULL, NULL);
    fixture->watchdog = (struct watchdog){.loops = {&fixture->loop}, .count = 1};
    record_probe(fixture, GATEWAY_REPLIED, 400);
    atomic_store(&fixture->stats.phase, PHASE_RUNNING);
    atomic_store(&fixture->stats.last_poll_ms, 1700000000000);
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    loop_fini(&fixture->loop);
    breaker_destroy(fixture->breaker);
    stats_fini(&fixture->stats);
    text_fini(&fixture->body);
    free(fixture);
    return 0;
}

static void expect_ready(struct fixture *fixture, bool ready, bool verbose, const char *body)
{
    text_clear(&fixture->body);
    assert_int_equal(probes_append_ready(&fixture->body, &fixture->sources, verbose), ready);
    assert_string_equal(fixture->body.data, body);
}

static void test_ready_when_all_checks_pass(void **state)
{
    expect_ready(*state, true, false, "{\"status\":\"ready\"}\n");
    expect_ready(*state, true, true,
        "{\"status\":\"ready\","
        "\"checks\":{\"process\":\"ok\",\"backend\":\"ok\",\"gateway\":\"ok\",\"deliveries\":"
        "\"ok\"}}\n");
}

static void test_not_ready_while_starting_or_stopping(void **state)
{
    struct fixture *fixture = *state;
    atomic_store(&fixture->stats.phase, PHASE_STARTING);
    expect_ready(fixture, false, false,
        "{\"status\":\"not ready\",\"failing\":[\"process\"],"
        "\"checks\":{\"process\":\"starting\"}}\n");
    atomic_store(&fixture->stats.phase, PHASE_STOPPING);
    expect_ready(fixture, false, false,
        "{\"status\":\"not ready\",\"failing\":[\"process\"],"
        "\"checks\":{\"process\":\"stopping\"}}\n");
}

static void test_not_ready_without_the_backend(void **state)
{
    struct fixture *fixture = *state;
    atomic_store(&fixture->stats.consecutive_poll_failures, 1);
    expect_ready(fixture, false, true,
        "{\"status\":\"not ready\",\"failing\":[\"backend\"],"
        "\"checks\":{\"process\":\"ok\",\"backend\":\"the last poll failed\","
        "\"gateway\":\"ok\",\"deliveries\":\"ok\"}}\n");
    atomic_store(&fixture->stats.consecutive_poll_failures, 0);
    atomic_store(&fixture->stats.last_poll_ms, 0);
    expect_ready(fixture, false, false,
        "{\"status\":\"not ready\",\"failing\":[\"backend\"],"
        "\"checks\":{\"backend\":\"not polled yet\"}}\n");
}

static void test_not_ready_without_the_gateway(void **state)
{
    struct fixture *fixture = *state;
    const struct gateway_result lost = {.outcome = GATEWAY_AMBIGUOUS, .sent = true};
    breaker_record_send(fixture->breaker, ticket_of(fixture->breaker), "a", &lost, 0);
    expect_ready(fixture, false, false,
        "{\"status\":\"not ready\",\"failing\":[\"gateway\"],"
        "\"checks\":{\"gateway\":\"being probed\"}}\n");
    record_probe(fixture, GATEWAY_UNREACHABLE, 0);
    atomic_store(&fixture->stats.consecutive_poll_failures, 3);
    expect_ready(fixture, false, false,
        "{\"status\":\"not ready\",\"failing\":[\"backend\",\"gateway\"],"
        "\"checks\":{\"backend\":\"the last poll failed\",\"gateway\":\"unavailable\"}}\n");
}

static void test_alive_until_a_thread_stalls(void **state)
{
    struct fixture *fixture = *state;
    struct text *body = &fixture->body;
    atomic_store(&fixture->stats.phase, PHASE_STOPPING);
    assert_true(probes_append_alive(body, &fixture->sources, false));
    assert_string_equal(body->data, "{\"status\":\"alive\"}\n");
    text_clear(body);
    assert_true(probes_append_alive(body, &fixture->sources, true));
    assert_string_equal(body->data, "{\"status\":\"alive\",\"checks\":{\"threads\":\"ok\"}}\n");
    text_clear(body);
    fixture->loop.expected_ms = clock_monotonic_ms() - 1;
    assert_false(probes_append_alive(body, &fixture->sources, false));
    assert_string_equal(body->data, "{\"status\":\"not alive\",\"failing\":[\"threads\"],"
                                    "\"checks\":{\"threads\":\"mc-poll thread stalled\"}}\n");
}

#define WITH_SOURCES(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

/* Any thread, not only those that have a schedule: here the test's own, after half the limit. */
static void test_not_alive_when_a_thread_is_silent(void **state)
{
    struct fixture *fixture = *state;
    struct watched_thread self;
    struct watch watch;
    char names[WATCH_NAMES_BYTES];
    watch_enter(&self, "main");
    watch_init(&watch, WATCH_LIMIT_MS, 0);
    for (int i = 0; i < WATCH_LOOKS / 2; i++)
        watch_look(&watch, watch.due_ms, names);
    assert_true(probes_append_alive(&fixture->body, &fixture->sources, false));
    watch_look(&watch, watch.due_ms, names);
    text_clear(&fixture->body);
    assert_false(probes_append_alive(&fixture->body, &fixture->sources, false));
    assert_string_equal(fixture->body.data, "{\"status\":\"not alive\",\"failing\":[\"threads\"],"
                                            "\"checks\":{\"threads\":\"main thread stalled\"}}\n");
    watch_leave();
    text_clear(&fixture->body);
    assert_true(probes_append_alive(&fixture->body, &fixture->sources, false));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_SOURCES(test_ready_when_all_checks_pass),
        WITH_SOURCES(test_not_ready_while_starting_or_stopping),
        WITH_SOURCES(test_not_ready_without_the_backend),
        WITH_SOURCES(test_not_ready_without_the_gateway),
        WITH_SOURCES(test_alive_until_a_thread_stalls),
        WITH_SOURCES(test_not_alive_when_a_thread_is_silent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
