/*
 * The circuit breaker: what opens and closes it, its probe schedule, and the limit on sends. The
 * breaker takes the time as an argument, so the tests pass times instead of waiting. A result
 * counts only with a ticket of the present state; record_probe_now and send_ends take theirs at
 * once, tests of late results keep an earlier one.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../lib/ticket.h"
#include <string.h>

#include "base/sync.h"
#include "gateway/breaker.h"

enum { BASE_MS = 1000, CHECK_MS = 30000, MAX_MS = 8000, NOW = 100000, AN_HOUR_MS = 3600000 };

static const struct breaker_settings settings = {
    .enabled = true, .url = "http://gateway:18789", .idle_probe_ms = CHECK_MS};

static int setup(void **state)
{
    struct breaker *breaker;
    assert_int_equal(breaker_create(&breaker, &settings, NOW, NULL), 0);
    *state = breaker;
    return 0;
}

static int teardown(void **state)
{
    breaker_destroy(*state);
    return 0;
}

static struct gateway_result result_of(enum gateway_outcome outcome, int status)
{
    struct gateway_result result = {.outcome = outcome, .status = status};
    error_set(&result.error, ERROR_REMOTE, "outcome %d", (int)outcome);
    return result;
}

/* The latest that was due. */
static struct breaker_probe last_probe;

static bool begin_probe(struct breaker *breaker, int64_t now_ms)
{
    struct breaker_probe probe;
    bool due = breaker_begin_probe(breaker, now_ms, &probe);
    if (due)
        last_probe = probe;
    return due;
}

/* Begins and ends a probe at once. */
static bool record_probe_now(
    struct breaker *breaker, const struct gateway_result *result, int64_t now_ms)
{
    struct breaker_probe probe;
    /* Even if no probe is due, the ticket is set to the present state's. */
    breaker_begin_probe(breaker, INT64_MIN, &probe);
    return breaker_record_probe(breaker, probe.ticket, result, now_ms);
}

static bool probe_ends(struct breaker *breaker, enum gateway_outcome outcome, int64_t now_ms)
{
    struct gateway_result result = result_of(outcome, 0);
    return record_probe_now(breaker, &result, now_ms);
}

/* Begins and ends a send in the present state. */
static bool send_ends(
    struct breaker *breaker, const char *agent_id, enum gateway_outcome outcome, int64_t now_ms)
{
    struct gateway_result result = result_of(outcome, 0);
    uint64_t ticket = ticket_of(breaker);
    return breaker_record_send(breaker, ticket, agent_id, &result, now_ms);
}

static enum breaker_state state_of(struct breaker *breaker)
{
    struct breaker_view view;
    breaker_snapshot(breaker, &view);
    return view.state;
}

static void close_breaker(struct breaker *breaker)
{
    probe_ends(breaker, GATEWAY_REPLIED, NOW);
    assert_int_equal(state_of(breaker), BREAKER_CLOSED);
}

static void test_starts_half_open_with_a_probe_due(void **state)
{
    struct breaker *breaker = *state;
    assert_int_equal(state_of(breaker), BREAKER_HALF_OPEN);
    assert_int_equal(breaker_probe_due(breaker), NOW);
    assert_true(begin_probe(breaker, NOW));
    assert_false(begin_probe(breaker, NOW));
    close_breaker(breaker);
    assert_false(begin_probe(breaker, NOW + CHECK_MS - 1));
}

/* Without any sends, probes detect an outage. */
static void test_idle_closed_breaker_is_probed(void **state)
{
    struct breaker *breaker = *state;
    struct gateway_result replied = result_of(GATEWAY_REPLIED, 200);
    close_breaker(breaker);
    assert_int_equal(breaker_probe_due(breaker), NOW + CHECK_MS);
    breaker_record_send(breaker, ticket_of(breaker), "a", &replied, NOW + 10);
    assert_int_equal(breaker_probe_due(breaker), NOW + 10 + CHECK_MS);
    assert_true(begin_probe(breaker, NOW + 10 + CHECK_MS));
    assert_false(begin_probe(breaker, NOW + 10 + CHECK_MS));
    assert_false(probe_ends(breaker, GATEWAY_REPLIED, NOW + 20 + CHECK_MS));
    assert_int_equal(breaker_probe_due(breaker), NOW + 20 + 2 * CHECK_MS);
    assert_true(probe_ends(breaker, GATEWAY_UNREACHABLE, NOW + 20 + 2 * CHECK_MS));
    assert_int_equal(state_of(breaker), BREAKER_HALF_OPEN);
}

static void test_idle_probe_that_times_out_is_followed_by_patient_ones(void **state)
{
    struct breaker *breaker = *state;
    struct gateway_result silent = result_of(GATEWAY_UNREACHABLE, 0);
    int64_t now_ms = NOW + CHECK_MS;
    silent.timed_out = true;
    close_breaker(breaker);
    const int64_t patience_ms[] = {1500, 6000, 15000};
    for (size_t i = 0; i < sizeof patience_ms / sizeof patience_ms[0]; i++) {
        assert_int_equal(state_of(breaker), BREAKER_CLOSED);
        assert_true(begin_probe(breaker, now_ms));
        assert_int_equal(last_probe.timeout_ms, patience_ms[i]);
        assert_false(begin_probe(breaker, now_ms));
        now_ms += patience_ms[i];
        breaker_record_probe(breaker, last_probe.ticket, &silent, now_ms);
    }
    assert_int_equal(state_of(breaker), BREAKER_HALF_OPEN);
}

static void test_disabled_stays_open(void **state)
{
    (void)state;
    const struct breaker_settings disabled = {.idle_probe_ms = CHECK_MS};
    struct breaker *breaker;
    struct breaker_view view;
    assert_int_equal(breaker_create(&breaker, &disabled, NOW, NULL), 0);
    breaker_snapshot(breaker, &view);
    assert_int_equal(view.state, BREAKER_OPEN);
    assert_non_null(strstr(view.reason, "OPENCLAW_GATEWAY_URL"));
    assert_true(breaker_probe_due(breaker) == SYNC_NO_DEADLINE);
    breaker_destroy(breaker);
}

static void test_three_consecutive_unreachable_open_it(void **state)
{
    struct breaker *breaker = *state;
    close_breaker(breaker);
    assert_false(send_ends(breaker, "a", GATEWAY_UNREACHABLE, NOW));
    assert_false(send_ends(breaker, "a", GATEWAY_UNREACHABLE, NOW));
    assert_false(send_ends(breaker, "b", GATEWAY_REPLIED, NOW));
    assert_false(send_ends(breaker, "a", GATEWAY_UNREACHABLE, NOW));
    assert_false(send_ends(breaker, "b", GATEWAY_UNREACHABLE, NOW));
    assert_true(send_ends(breaker, "c", GATEWAY_UNREACHABLE, NOW));
    assert_int_equal(state_of(breaker), BREAKER_OPEN);
    struct breaker_view view;
    breaker_snapshot(breaker, &view);
    assert_non_null(strstr(view.reason, settings.url));
    assert_non_null(strstr(view.reason, "OPENCLAW_GATEWAY_URL"));
}

static void test_misconfiguration_opens_it_with_a_reason(void **state)
{
    static const struct {
        int status;
        const char *words;
    } cases[] = {{401, "OPENCLAW_GATEWAY_TOKEN"}, {429, "OPENCLAW_GATEWAY_TOKEN"},
        {404, "responses.enabled"}, {405, "responses.enabled"},
        {302, "does not lead to an OpenClaw gateway"}};
    struct breaker *breaker = *state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct gateway_result result = result_of(GATEWAY_MISCONFIGURED, cases[i].status);
        struct breaker_view view;
        close_breaker(breaker);
        breaker_record_send(breaker, ticket_of(breaker), "a", &result, NOW);
        breaker_snapshot(breaker, &view);
        assert_int_equal(view.state, BREAKER_OPEN);
        assert_non_null(strstr(view.reason, cases[i].words));
    }
}

/* Only a draining gateway is everybody's; probes find out when it is back. */
static void test_only_a_draining_gateway_opens_it(void **state)
{
    struct breaker *breaker = *state;
    struct gateway_result busy = result_of(GATEWAY_BUSY, 429);
    busy.retry_after_ms = 60000;
    close_breaker(breaker);
    assert_false(breaker_record_send(breaker, ticket_of(breaker), "a", &busy, NOW + 1000));
    busy.draining = true;
    assert_true(breaker_record_send(breaker, ticket_of(breaker), "a", &busy, NOW + 1000));
    assert_int_equal(state_of(breaker), BREAKER_OPEN);
    assert_int_equal(breaker_probe_due(breaker), NOW + 1250);
}

static void test_ambiguous_result_makes_it_half_open_until_a_probe(void **state)
{
    struct breaker *breaker = *state;
    close_breaker(breaker);
    assert_true(send_ends(breaker, "a", GATEWAY_AMBIGUOUS, NOW));
    assert_int_equal(state_of(breaker), BREAKER_HALF_OPEN);
    assert_int_equal(breaker_probe_due(breaker), NOW);
    assert_true(probe_ends(breaker, GATEWAY_REPLIED, NOW));
    assert_int_equal(state_of(breaker), BREAKER_CLOSED);
}

static void test_refusals_do_not_change_it_and_unclear_answers_do(void **state)
{
    struct breaker *breaker = *state;
    struct gateway_result refused = result_of(GATEWAY_REFUSED, 400);
    struct gateway_result unclear = result_of(GATEWAY_AMBIGUOUS, 504);
    close_breaker(breaker);
    assert_false(breaker_record_send(breaker, ticket_of(breaker), "a", &refused, NOW));
    assert_true(breaker_record_send(breaker, ticket_of(breaker), "a", &unclear, NOW));
    assert_int_equal(state_of(breaker), BREAKER_HALF_OPEN);
}

static void test_results_of_an_earlier_state_are_ignored(void **state)
{
    struct breaker *breaker = *state;
    struct gateway_result lost = result_of(GATEWAY_AMBIGUOUS, 0);
    struct gateway_result misconfigured = result_of(GATEWAY_MISCONFIGURED, 401);
    close_breaker(breaker);
    uint64_t early = ticket_of(breaker);
    assert_true(breaker_record_send(breaker, early, "a", &lost, NOW));
    assert_false(breaker_record_send(breaker, early, "b", &lost, NOW));
    assert_true(probe_ends(breaker, GATEWAY_REPLIED, NOW));
    assert_false(breaker_record_send(breaker, early, "c", &misconfigured, NOW));
    assert_int_equal(state_of(breaker), BREAKER_CLOSED);
}

static void test_probes_are_spaced_from_250_ms_to_under_2_s(void **state)
{
    struct breaker *breaker = *state;
    int64_t now_ms = NOW;
    int64_t last_gap_ms = 0;
    for (int i = 0; i < 20; i++) {
        assert_true(begin_probe(breaker, now_ms));
        probe_ends(breaker, GATEWAY_UNREACHABLE, now_ms + 1);
        int64_t gap_ms = breaker_probe_due(breaker) - now_ms;
        assert_in_range(gap_ms, 250, 1900);
        assert_true(gap_ms >= last_gap_ms);
        last_gap_ms = gap_ms;
        now_ms += gap_ms;
    }
    assert_true(last_gap_ms > 1000);
}

/* Even when each probe closes the breaker and the next send fails at once. */
static void test_successful_probes_are_spaced_as_well(void **state)
{
    struct breaker *breaker = *state;
    assert_true(begin_probe(breaker, NOW));
    probe_ends(breaker, GATEWAY_REPLIED, NOW + 1);
    assert_true(send_ends(breaker, "a", GATEWAY_AMBIGUOUS, NOW + 2));
    assert_int_equal(breaker_probe_due(breaker), NOW + 250);
    assert_false(begin_probe(breaker, NOW + 249));
    assert_true(begin_probe(breaker, NOW + 250));
    probe_ends(breaker, GATEWAY_REPLIED, NOW + 251);
    assert_true(send_ends(breaker, "a", GATEWAY_AMBIGUOUS, NOW + 60000));
    assert_int_equal(breaker_probe_due(breaker), NOW + 60000);
}

/* However slow each step is, it is found by a probe that waits longer than the one before. */
static void test_probes_without_an_answer_get_patient(void **state)
{
    struct breaker *breaker = *state;
    struct gateway_result silent = result_of(GATEWAY_UNREACHABLE, 0);
    struct gateway_result found = result_of(GATEWAY_REPLIED, 400);
    int64_t now_ms = NOW;
    silent.timed_out = true;
    const int64_t patience_ms[] = {1500, 6000, 15000, 15000};
    for (size_t i = 0; i < sizeof patience_ms / sizeof patience_ms[0]; i++) {
        assert_true(begin_probe(breaker, now_ms));
        assert_int_equal(last_probe.timeout_ms, patience_ms[i]);
        now_ms += patience_ms[i];
        breaker_record_probe(breaker, last_probe.ticket, &silent, now_ms);
        /* At once: its gap passed while it waited. */
        assert_true(breaker_probe_due(breaker) <= now_ms);
    }
    assert_true(begin_probe(breaker, now_ms));
    assert_true(breaker_record_probe(breaker, last_probe.ticket, &found, now_ms + 10000));
    assert_int_equal(state_of(breaker), BREAKER_CLOSED);
    /* It is as slow in the next outage; one that answers quickly needs no patience. */
    send_ends(breaker, "a", GATEWAY_AMBIGUOUS, now_ms + 20000);
    assert_true(begin_probe(breaker, now_ms + 20000));
    assert_int_equal(last_probe.timeout_ms, 15000);
    assert_true(breaker_record_probe(breaker, last_probe.ticket, &found, now_ms + 20001));
    send_ends(breaker, "a", GATEWAY_AMBIGUOUS, now_ms + 30000);
    assert_true(begin_probe(breaker, now_ms + 30000));
    assert_int_equal(last_probe.timeout_ms, 1500);
}

static struct gateway_result token_refused(int status)
{
    return result_of(GATEWAY_MISCONFIGURED, status);
}

/* Ten wrong tokens in a minute lock out the address, also for the right one. */
static void test_a_refused_token_is_probed_every_30_s(void **state)
{
    struct breaker *breaker = *state;
    struct gateway_result refused = token_refused(401);
    struct gateway_result silent = result_of(GATEWAY_UNREACHABLE, 0);
    silent.timed_out = true;
    record_probe_now(breaker, &refused, NOW);
    assert_true(breaker_token_is_refused(breaker));
    assert_int_equal(breaker_probe_due(breaker), NOW + 30000);
    assert_true(begin_probe(breaker, NOW + 30000));
    /* The gateway delays its answers to wrong tokens. */
    assert_int_equal(last_probe.timeout_ms, 1500);
    assert_false(breaker_record_probe(breaker, last_probe.ticket, &silent, NOW + 31500));
    assert_int_equal(breaker_probe_due(breaker), NOW + 60000);
    assert_true(begin_probe(breaker, NOW + 60000));
    assert_int_equal(last_probe.timeout_ms, 1500);
}

static void test_an_exchanged_token_is_probed_at_once(void **state)
{
    struct breaker *breaker = *state;
    struct gateway_result refused = token_refused(401);
    struct gateway_result found = result_of(GATEWAY_REPLIED, 400);
    record_probe_now(breaker, &refused, NOW);
    assert_true(begin_probe(breaker, NOW + 30000));
    breaker_token_changed(breaker, NOW + 30100);
    assert_false(breaker_token_is_refused(breaker));
    /* The answer to the old one says nothing about it. */
    assert_false(breaker_record_probe(breaker, last_probe.ticket, &refused, NOW + 30200));
    assert_int_equal(breaker_probe_due(breaker), NOW + 30100);
    assert_true(begin_probe(breaker, NOW + 30200));
    assert_true(breaker_record_probe(breaker, last_probe.ticket, &found, NOW + 30300));
    assert_int_equal(state_of(breaker), BREAKER_CLOSED);
}

/* With the next probe they must not be more than ten in a minute. */
static void test_suspicion_pauses_a_closed_circuit_until_a_probe(void **state)
{
    struct breaker *breaker = *state;
    struct breaker_view view;
    struct gateway_result unreachable = result_of(GATEWAY_UNREACHABLE, 0);
    close_breaker(breaker);
    uint64_t early = ticket_of(breaker);
    assert_true(breaker_suspect(breaker, "it has exited", false, NOW + 10));
    breaker_snapshot(breaker, &view);
    assert_int_equal(view.state, BREAKER_HALF_OPEN);
    assert_string_equal(view.reason, "it has exited");
    assert_false(breaker_record_send(breaker, early, "a", &unreachable, NOW + 10));
    assert_true(begin_probe(breaker, NOW + 10));
    assert_true(probe_ends(breaker, GATEWAY_REPLIED, NOW + 11));
    assert_int_equal(state_of(breaker), BREAKER_CLOSED);
}

/* Neither state changes, but each has the gateway asked again at once. */
static void test_suspicion_of_a_circuit_that_is_not_closed_has_it_probed(void **state)
{
    struct breaker *breaker = *state;
    assert_true(begin_probe(breaker, NOW));
    assert_false(breaker_suspect(breaker, "it is new", true, NOW + 1));
    assert_int_equal(state_of(breaker), BREAKER_HALF_OPEN);
    assert_true(begin_probe(breaker, NOW + 1));
    assert_true(probe_ends(breaker, GATEWAY_UNREACHABLE, NOW + 2));
    assert_true(breaker_probe_due(breaker) > NOW + 3);
    assert_false(breaker_suspect(breaker, "it has exited", false, NOW + 3));
    assert_int_equal(state_of(breaker), BREAKER_OPEN);
    assert_true(begin_probe(breaker, NOW + 3));
}

static void test_answer_from_before_the_suspicion_is_ignored(void **state)
{
    struct breaker *breaker = *state;
    struct gateway_result replied = result_of(GATEWAY_REPLIED, 400);
    assert_true(begin_probe(breaker, NOW));
    breaker_suspect(breaker, "it is new", true, NOW + 1);
    assert_false(breaker_record_probe(breaker, last_probe.ticket, &replied, NOW + 2));
    assert_int_equal(state_of(breaker), BREAKER_HALF_OPEN);
}

/* Only a new process has forgotten how often it was tried. */
static void test_a_new_process_is_tried_again_with_a_refused_token(void **state)
{
    struct breaker *breaker = *state;
    struct gateway_result refused = result_of(GATEWAY_MISCONFIGURED, 401);
    record_probe_now(breaker, &refused, NOW);
    breaker_suspect(breaker, "it has exited", false, NOW + 1);
    assert_true(breaker_token_is_refused(breaker));
    assert_int_equal(breaker_probe_due(breaker), NOW + 30000);
    breaker_suspect(breaker, "it is new", true, NOW + 2);
    assert_false(breaker_token_is_refused(breaker));
    assert_true(begin_probe(breaker, NOW + 2));
    assert_true(breaker_probe_due(breaker) <= NOW + 2 + 1500); /* while it is starting */
}

static void test_a_disabled_gateway_is_no_suspect(void **state)
{
    (void)state;
    const struct breaker_settings disabled = {.idle_probe_ms = CHECK_MS};
    struct breaker *breaker;
    assert_int_equal(breaker_create(&breaker, &disabled, NOW, NULL), 0);
    assert_false(breaker_suspect(breaker, "it is new", true, NOW));
    assert_int_equal(breaker_probe_due(breaker), SYNC_NO_DEADLINE);
    breaker_destroy(breaker);
}

static void test_many_refusals_at_once_postpone_the_probe(void **state)
{
    struct breaker *breaker = *state;
    struct gateway_result refused = token_refused(401);
    close_breaker(breaker);
    uint64_t ticket = ticket_of(breaker);
    for (int i = 0; i < 9; i++)
        breaker_record_send(breaker, ticket, "a", &refused, NOW + i);
    assert_true(breaker_probe_due(breaker) > NOW + 60000);
}

static void test_reason_of_a_refused_token_stays(void **state)
{
    struct breaker *breaker = *state;
    struct gateway_result refused = token_refused(401);
    struct gateway_result locked_out = token_refused(429);
    struct gateway_result silent = result_of(GATEWAY_UNREACHABLE, 0);
    struct breaker_view before;
    struct breaker_view after;
    silent.timed_out = true;
    record_probe_now(breaker, &refused, NOW);
    breaker_snapshot(breaker, &before);
    for (int i = 1; i <= 5; i++) {
        assert_false(record_probe_now(breaker, &silent, NOW + i * 60000));
        assert_false(record_probe_now(breaker, &locked_out, NOW + i * 60000 + 30000));
    }
    breaker_snapshot(breaker, &after);
    assert_string_equal(after.reason, before.reason);
    assert_non_null(strstr(after.reason, "OPENCLAW_GATEWAY_TOKEN"));
}

static void test_fast_probe_without_answer_keeps_the_reason(void **state)
{
    struct breaker *breaker = *state;
    struct gateway_result misconfigured = result_of(GATEWAY_MISCONFIGURED, 401);
    struct gateway_result silent = result_of(GATEWAY_UNREACHABLE, 0);
    struct breaker_view view;
    silent.timed_out = true;
    record_probe_now(breaker, &misconfigured, NOW);
    assert_false(record_probe_now(breaker, &silent, NOW + 1500));
    breaker_snapshot(breaker, &view);
    assert_non_null(strstr(view.reason, "OPENCLAW_GATEWAY_TOKEN"));
}

/* A probe that began before the gateway sent Retry-After must not close the breaker early. */
static void test_probe_of_an_earlier_state_is_ignored(void **state)
{
    struct breaker *breaker = *state;
    struct gateway_result busy = result_of(GATEWAY_BUSY, 503);
    struct gateway_result found = result_of(GATEWAY_REPLIED, 400);
    busy.draining = true;
    close_breaker(breaker);
    assert_true(begin_probe(breaker, NOW + CHECK_MS));
    breaker_record_send(breaker, ticket_of(breaker), "a", &busy, NOW + CHECK_MS);
    assert_false(breaker_record_probe(breaker, last_probe.ticket, &found, NOW + CHECK_MS));
    assert_int_equal(state_of(breaker), BREAKER_OPEN);
}

static void test_same_reason_is_not_a_change(void **state)
{
    struct breaker *breaker = *state;
    assert_true(probe_ends(breaker, GATEWAY_UNREACHABLE, NOW));
    assert_false(probe_ends(breaker, GATEWAY_UNREACHABLE, NOW + 250));
    assert_true(probe_ends(breaker, GATEWAY_MISCONFIGURED, NOW + 500));
}

static void test_closed_time_stops_while_open(void **state)
{
    struct breaker *breaker = *state;
    assert_int_equal(breaker_closed_ms(breaker, NOW + 500), 0);
    probe_ends(breaker, GATEWAY_REPLIED, NOW + 1000);
    assert_int_equal(breaker_closed_ms(breaker, NOW + 1700), 700);
    send_ends(breaker, "a", GATEWAY_MISCONFIGURED, NOW + 2000);
    assert_int_equal(breaker_closed_ms(breaker, NOW + AN_HOUR_MS), 1000);
    probe_ends(breaker, GATEWAY_REPLIED, NOW + AN_HOUR_MS);
    assert_int_equal(breaker_closed_ms(breaker, NOW + AN_HOUR_MS + 5), 1005);
}

static void expect_limited(struct breaker *breaker, bool limited)
{
    struct breaker_view view;
    breaker_snapshot(breaker, &view);
    assert_int_equal(view.limited, limited);
    if (limited)
        assert_non_null(strstr(view.reason, "model provider"));
}

static void test_failed_runs_of_three_agents_begin_limit(void **state)
{
    struct breaker *breaker = *state;
    close_breaker(breaker);
    send_ends(breaker, "a", GATEWAY_FAILED_RUN, NOW);
    send_ends(breaker, "b", GATEWAY_FAILED_RUN, NOW);
    send_ends(breaker, "a", GATEWAY_FAILED_RUN, NOW);
    expect_limited(breaker, false);
    assert_true(send_ends(breaker, "c", GATEWAY_FAILED_RUN, NOW));
    expect_limited(breaker, true);
    assert_int_equal(state_of(breaker), BREAKER_CLOSED);
}

static void test_failed_wake_ups_are_no_provider_trouble(void **state)
{
    struct breaker *breaker = *state;
    close_breaker(breaker);
    for (int i = 0; i < 10; i++)
        assert_false(send_ends(breaker, NULL, GATEWAY_FAILED_RUN, NOW));
    send_ends(breaker, "a", GATEWAY_FAILED_RUN, NOW);
    send_ends(breaker, "b", GATEWAY_FAILED_RUN, NOW);
    expect_limited(breaker, false);
}

static void test_reply_resets_the_count_of_failed_runs(void **state)
{
    struct breaker *breaker = *state;
    close_breaker(breaker);
    send_ends(breaker, "a", GATEWAY_FAILED_RUN, NOW);
    send_ends(breaker, "b", GATEWAY_FAILED_RUN, NOW);
    send_ends(breaker, "d", GATEWAY_REPLIED, NOW);
    send_ends(breaker, "c", GATEWAY_FAILED_RUN, NOW);
    expect_limited(breaker, false);
}

static void begin_limit(struct breaker *breaker)
{
    close_breaker(breaker);
    send_ends(breaker, "a", GATEWAY_FAILED_RUN, NOW);
    send_ends(breaker, "b", GATEWAY_FAILED_RUN, NOW);
    send_ends(breaker, "c", GATEWAY_FAILED_RUN, NOW);
}

static void test_any_reply_ends_the_limit(void **state)
{
    struct breaker *breaker = *state;
    struct gateway_result replied = result_of(GATEWAY_REPLIED, 200);
    struct breaker_view view;
    close_breaker(breaker);
    uint64_t early = ticket_of(breaker);
    begin_limit(breaker);
    expect_limited(breaker, true);
    assert_true(breaker_record_send(breaker, early, "z", &replied, NOW));
    breaker_snapshot(breaker, &view);
    assert_false(view.limited);
    assert_string_equal(view.reason, "");
}

static void test_limit_survives_an_outage(void **state)
{
    struct breaker *breaker = *state;
    begin_limit(breaker);
    send_ends(breaker, "d", GATEWAY_AMBIGUOUS, NOW + 2000);
    assert_int_equal(state_of(breaker), BREAKER_HALF_OPEN);
    probe_ends(breaker, GATEWAY_REPLIED, NOW + 3000);
    expect_limited(breaker, true);
}

int main(void)
{
#define WITH_BREAKER(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        WITH_BREAKER(test_starts_half_open_with_a_probe_due),
        WITH_BREAKER(test_idle_closed_breaker_is_probed),
        WITH_BREAKER(test_idle_probe_that_times_out_is_followed_by_patient_ones),
        cmocka_unit_test(test_disabled_stays_open),
        WITH_BREAKER(test_three_consecutive_unreachable_open_it),
        WITH_BREAKER(test_misconfiguration_opens_it_with_a_reason),
        WITH_BREAKER(test_only_a_draining_gateway_opens_it),
        WITH_BREAKER(test_ambiguous_result_makes_it_half_open_until_a_probe),
        WITH_BREAKER(test_refusals_do_not_change_it_and_unclear_answers_do),
        WITH_BREAKER(test_results_of_an_earlier_state_are_ignored),
        WITH_BREAKER(test_probes_are_spaced_from_250_ms_to_under_2_s),
        WITH_BREAKER(test_successful_probes_are_spaced_as_well),
        WITH_BREAKER(test_probes_without_an_answer_get_patient),
        WITH_BREAKER(test_a_refused_token_is_probed_every_30_s),
        WITH_BREAKER(test_an_exchanged_token_is_probed_at_once),
        WITH_BREAKER(test_suspicion_pauses_a_closed_circuit_until_a_probe),
        WITH_BREAKER(test_suspicion_of_a_circuit_that_is_not_closed_has_it_probed),
        WITH_BREAKER(test_answer_from_before_the_suspicion_is_ignored),
        WITH_BREAKER(test_a_new_process_is_tried_again_with_a_refused_token),
        cmocka_unit_test(test_a_disabled_gateway_is_no_suspect),
        WITH_BREAKER(test_many_refusals_at_once_postpone_the_probe),
        WITH_BREAKER(test_reason_of_a_refused_token_stays),
        WITH_BREAKER(test_fast_probe_without_answer_keeps_the_reason),
        WITH_BREAKER(test_probe_of_an_earlier_state_is_ignored),
        WITH_BREAKER(test_same_reason_is_not_a_change),
        WITH_BREAKER(test_closed_time_stops_while_open),
        WITH_BREAKER(test_failed_runs_of_three_agents_begin_limit),
        WITH_BREAKER(test_failed_wake_ups_are_no_provider_trouble),
        WITH_BREAKER(test_reply_resets_the_count_of_failed_runs),
        WITH_BREAKER(test_any_reply_ends_the_limit),
        WITH_BREAKER(test_limit_survives_an_outage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
