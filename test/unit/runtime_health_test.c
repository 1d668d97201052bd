/* The judgement on the runtime's health: when deliveries count as failing, and what is said then.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "../lib/test_file.h"
#include "delivery/runtime_health.h"

enum { MINUTE_MS = 60 * 1000, NOW_MS = 100 * MINUTE_MS };

static struct stats stats;

static int setup(void **state)
{
    (void)state;
    stats_init(&stats);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    stats_fini(&stats);
    return 0;
}

static struct runtime_health healthy(void)
{
    return (struct runtime_health){
        .gateway_running = true,
        .delivery_running = true,
        .last_poll_ms = 1,
        .breaker = {.state = BREAKER_CLOSED},
        .now_ms = NOW_MS,
    };
}

static void expect_reason(const struct runtime_health *health, const char *reason)
{
    struct text text = {0};
    runtime_health_append_reason(&text, health);
    assert_string_equal(text.data != NULL ? text.data : "", reason);
    assert_int_equal(runtime_health_is_good(health), reason[0] == '\0');
    text_fini(&text);
}

static void test_each_trouble_has_a_reason(void **state)
{
    (void)state;
    struct runtime_health health = healthy();
    expect_reason(&health, "");
    health.breaker.state = BREAKER_OPEN;
    snprintf(health.breaker.reason, sizeof health.breaker.reason, "refused");
    expect_reason(&health, "No agent can be asked: refused");
    health.poll_failures = 1;
    health.spool_broken = true;
    expect_reason(&health, "No agent can be asked: refused; The backend cannot be polled; "
                           "The state directory cannot be written");
    health = healthy();
    health.poll_failures = 1;
    health.poll_problem = PROBLEM_TOKEN;
    expect_reason(&health,
        "The backend cannot be polled: it refuses the service token, which is wrong or was "
        "replaced; create a new service token for the account on the board and set SERVICE_TOKEN "
        "to it");
    health.poll_failures = 0; /* of an earlier failure */
    expect_reason(&health, "");
    health = healthy();
    health.breaker.limited = true;
    snprintf(health.breaker.reason, sizeof health.breaker.reason, "runs fail");
    expect_reason(&health, "Sends are limited to three at a time: runs fail");
    health = healthy();
    health.last_poll_ms = 0;
    expect_reason(&health, "The backend has not answered a poll yet");
    health = healthy();
    health.has_child = true;
    expect_reason(&health, "The gateway process does not accept connections yet");
    health = healthy();
    health.gateway_running = false;
    expect_reason(&health, "Deliveries are not running");
    health = healthy();
    health.profiles_broken = true;
    expect_reason(&health, "Agents' profiles cannot be written; the log says why");
    health = healthy();
    health.pinned_version = BACKEND_V1;
    expect_reason(&health, "");
    health.seen_version = BACKEND_V1;
    expect_reason(&health, "");
    health.seen_version = BACKEND_V0;
    expect_reason(&health, "The backend is version v0, but BACKEND_VERSION=v1 is set");
    health.pinned_version = BACKEND_UNKNOWN;
    expect_reason(&health, "");
    health.list_full = true;
    expect_reason(&health, "500 notifications are undelivered, and the backend lists no more: "
                           "newer ones are not seen until some of these have ended");
    health = healthy();
    health.attempts.none_succeeds = true;
    expect_reason(&health, "No delivery has succeeded lately: every attempt has failed");
}

static void test_unknown_agents_count_when_all_are(void **state)
{
    (void)state;
    struct runtime_health health = healthy();
    health.agents_with_work = 2;
    health.unknown_agents = 1;
    expect_reason(&health, "");
    health.unknown_agents = 2;
    expect_reason(&health, "The gateway knows none of the agents that have work; add them to the "
                           "gateway or set OPENCLAW_FALLBACK_AGENT");
    health.agents_with_work = health.unknown_agents = 0;
    expect_reason(&health, "");
}

static void test_old_notification_counts_only_while_it_fails(void **state)
{
    (void)state;
    struct runtime_health health = healthy();
    health.oldest_failing_ms = NOW_MS - 5 * MINUTE_MS;
    expect_reason(&health, "");
    health.oldest_failing_ms--;
    expect_reason(
        &health, "A notification has been undelivered for over 5 minutes, and its attempts fail");
    health.oldest_failing_ms = 0;
    expect_reason(&health, "");
}

static void fail_times(const char *agent, int times, int64_t now_ms)
{
    for (int i = 0; i < times; i++)
        stats_attempt_failed(&stats, agent, now_ms);
}

static bool none_succeeds(size_t agents_with_work, int64_t now_ms)
{
    struct stats_attempts_view view;
    stats_attempts_judge(&stats, agents_with_work, now_ms, &view);
    return view.none_succeeds;
}

static void test_five_failed_attempts_without_a_success(void **state)
{
    (void)state;
    assert_false(none_succeeds(0, NOW_MS));
    assert_false(none_succeeds(5, NOW_MS));
    fail_times("a", 4, NOW_MS);
    assert_false(none_succeeds(1, NOW_MS));
    fail_times("a", 1, NOW_MS);
    assert_true(none_succeeds(1, NOW_MS));
    stats_attempt_succeeded(&stats, "b", NOW_MS + 1);
    assert_false(none_succeeds(1, NOW_MS + 1));
}

/* Others have work, too, and may be in the middle of a long run. */
static void test_one_agent_does_not_speak_for_all(void **state)
{
    (void)state;
    fail_times("a", 20, NOW_MS);
    assert_false(none_succeeds(2, NOW_MS));
    fail_times("b", 1, NOW_MS);
    assert_true(none_succeeds(2, NOW_MS));
    assert_true(none_succeeds(300, NOW_MS)); /* it was found, and lasts until a success */
}

static void test_five_agents_speak_for_many(void **state)
{
    (void)state;
    static const char *const agents[] = {"a", "b", "c", "d"};
    for (int i = 0; i < 4; i++)
        fail_times(agents[i], 3, NOW_MS);
    assert_false(none_succeeds(300, NOW_MS));
    fail_times("e", 1, NOW_MS);
    assert_true(none_succeeds(300, NOW_MS));
}

/* Agents that were delivered to lately vouch for the runtime, while there are as many. */
static void test_broken_agent_among_working_ones(void **state)
{
    (void)state;
    stats_attempt_succeeded(&stats, "good", NOW_MS);
    fail_times("broken", 20, NOW_MS + 1);
    assert_false(none_succeeds(1, NOW_MS + 1));
    assert_false(none_succeeds(1, NOW_MS + 5 * MINUTE_MS - 1));
    assert_true(none_succeeds(1, NOW_MS + 5 * MINUTE_MS));
}

static void test_failing_agents_outnumber_the_working(void **state)
{
    (void)state;
    stats_attempt_succeeded(&stats, "a", NOW_MS);
    stats_attempt_succeeded(&stats, "b", NOW_MS);
    fail_times("a", 9, NOW_MS + 1);
    assert_false(none_succeeds(1, NOW_MS + 1));
    fail_times("b", 1, NOW_MS + 1);
    assert_true(none_succeeds(2, NOW_MS + 1));
}

/* Failures from before the last success say nothing about the time since. */
static void test_success_restarts_the_count(void **state)
{
    (void)state;
    fail_times("a", 20, NOW_MS);
    stats_attempt_succeeded(&stats, "b", NOW_MS + 1);
    fail_times("b", 5, NOW_MS + 2);
    assert_false(none_succeeds(2, NOW_MS + 2));
    assert_true(none_succeeds(1, NOW_MS + 2));
}

static void test_trouble_ends_when_work_is_long_gone(void **state)
{
    (void)state;
    fail_times("a", 5, NOW_MS);
    assert_true(none_succeeds(1, NOW_MS));
    assert_true(none_succeeds(0, NOW_MS + 15 * MINUTE_MS - 1));
    assert_true(none_succeeds(1, NOW_MS + 60 * MINUTE_MS));
    assert_false(none_succeeds(0, NOW_MS + 60 * MINUTE_MS));
}

/* More agents than are remembered replace those of longest ago. */
static void test_many_agents(void **state)
{
    (void)state;
    char agent[16];
    for (int i = 0; i < 3 * STATS_AGENTS; i++) {
        snprintf(agent, sizeof agent, "a%d", i);
        stats_attempt_succeeded(&stats, agent, NOW_MS + i);
    }
    for (int i = 0; i < 3 * STATS_AGENTS; i++) {
        snprintf(agent, sizeof agent, "a%d", i);
        stats_attempt_failed(&stats, agent, NOW_MS + 1000 + i);
    }
    assert_true(none_succeeds((size_t)3 * STATS_AGENTS, NOW_MS + 2000));
}

static void test_labels_are_those_of_the_metric_and_documented(void **state)
{
    (void)state;
    const struct metric_label *reasons = &metric_families[METRIC_DEGRADED].labels[0];
    assert_int_equal(reasons->count, TROUBLE_COUNT);
    for (size_t i = 0; i < TROUBLE_COUNT; i++) {
        const char *label = runtime_health_label((enum health_trouble)i);
        assert_string_equal(label, reasons->values[i]);
        test_file_expect_row("docs/architecture.md", label);
    }
}

#define STATS_TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_trouble_has_a_reason),
        cmocka_unit_test(test_unknown_agents_count_when_all_are),
        cmocka_unit_test(test_old_notification_counts_only_while_it_fails),
        cmocka_unit_test(test_labels_are_those_of_the_metric_and_documented),
        STATS_TEST(test_five_failed_attempts_without_a_success),
        STATS_TEST(test_one_agent_does_not_speak_for_all),
        STATS_TEST(test_five_agents_speak_for_many),
        STATS_TEST(test_broken_agent_among_working_ones),
        STATS_TEST(test_failing_agents_outnumber_the_working),
        STATS_TEST(test_success_restarts_the_count),
        STATS_TEST(test_trouble_ends_when_work_is_long_gone),
        STATS_TEST(test_many_agents),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
