/* Metrics: labels, the bound on agents, histogram buckets, and the exposition format. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "backend/convex.h"
#include "gateway/breaker.h"
#include "telemetry/exposition.h"
#include "telemetry/metrics.h"

enum { MANY = 100 * 1000, THREADS = 4 };

struct fixture {
    struct metrics metrics;
    struct text text;
};

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    assert_non_null(fixture);
    metrics_init(&fixture->metrics);
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    metrics_fini(&fixture->metrics);
    text_fini(&fixture->text);
    free(fixture);
    return 0;
}

static const char *write_exposition(struct fixture *fixture)
{
    text_clear(&fixture->text);
    exposition_append(&fixture->text, &fixture->metrics);
    assert_false(fixture->text.failed);
    return fixture->text.data;
}

static void must_expose(struct fixture *fixture, const char *lines)
{
    if (strstr(write_exposition(fixture), lines) == NULL)
        fail_msg("no\n%s\nin\n%s", lines, fixture->text.data);
}

static void must_not_expose(struct fixture *fixture, const char *words)
{
    if (strstr(write_exposition(fixture), words) != NULL)
        fail_msg("%s is in\n%s", words, fixture->text.data);
}

static void test_counters_add_up_by_label(void **state)
{
    struct fixture *fixture = *state;
    struct metrics *metrics = &fixture->metrics;
    metrics_add(metrics, METRIC_NOTIFICATIONS_SKIPPED, "agent_gone", NULL, 2);
    metrics_add(metrics, METRIC_NOTIFICATIONS_SKIPPED, "agent_gone", NULL, 1);
    metrics_add(metrics, METRIC_NOTIFICATIONS_SKIPPED, "a reason of tomorrow", NULL, 5);
    metrics_add(metrics, METRIC_CONVEX_REQUESTS, "listAgents", "rejected", 7);
    assert_int_equal(metrics_total(metrics, METRIC_NOTIFICATIONS_SKIPPED), 8);
    must_expose(
        fixture, "\nmission_control_notifications_skipped_total{reason=\"agent_gone\"} 3\n");
    must_expose(fixture, "\nmission_control_notifications_skipped_total{reason=\"task_gone\"} 0\n");
    must_expose(fixture, "\nmission_control_notifications_skipped_total{reason=\"other\"} 5\n");
    must_expose(fixture, "\nmission_control_convex_requests_total{action=\"listAgents\","
                         "outcome=\"rejected\"} 7\n");
    must_expose(fixture, "\nmission_control_convex_requests_total{action=\"other\","
                         "outcome=\"success\"} 0\n");
}

static void test_families_have_help_and_type(void **state)
{
    struct fixture *fixture = *state;
    metrics_add(&fixture->metrics, METRIC_NOTIFICATIONS_DEAD, NULL, NULL, 4);
    must_expose(fixture,
        "\n# HELP mission_control_notifications_dead_total Notifications that were "
        "abandoned as dead letters.\n# TYPE mission_control_notifications_dead_total counter\n"
        "mission_control_notifications_dead_total 4\n");
    must_expose(fixture, "# TYPE mission_control_lanes gauge\n");
    must_expose(fixture, "# TYPE mission_control_agent_run_seconds histogram\n");
}

/* Queries join other metrics with the build, for which it must have one series. */
static void test_build_has_only_its_current_series(void **state)
{
    struct fixture *fixture = *state;
    must_expose(fixture,
        "\nmission_control_build_info{backend=\"unknown\",version=\"" MISSION_CONTROL_VERSION
        "\",compiler=\"");
    metrics_set_account(&fixture->metrics, "acme \"one\"");
    must_expose(fixture, ",account=\"acme \\\"one\\\"\"} 1\n");
    metrics_set(&fixture->metrics, METRIC_BUILD_INFO, "unknown", 0);
    metrics_set(&fixture->metrics, METRIC_BUILD_INFO, "v1", 1);
    must_expose(fixture, " gauge\nmission_control_build_info{backend=\"v1\",");
    must_expose(fixture, "} 1\n# HELP mission_control_upgrade_failed ");
    assert_int_equal(metrics_value(&fixture->metrics, METRIC_BUILD_INFO, "v1"), 1);
    assert_int_equal(metrics_value(&fixture->metrics, METRIC_BUILD_INFO, "v0"), 0);
    assert_int_equal(metrics_value(&fixture->metrics, METRIC_BUILD_INFO, "v2"), 0);
    assert_int_equal(metrics_total(&fixture->metrics, METRIC_BUILD_INFO), 1);
}

static void test_value_sums_over_the_other_labels(void **state)
{
    struct fixture *fixture = *state;
    struct metrics *metrics = &fixture->metrics;
    metrics_add(metrics, METRIC_CONVEX_REQUESTS, "listAgents", "success", 3);
    metrics_add(metrics, METRIC_CONVEX_REQUESTS, "listAgents", "aborted", 4);
    metrics_add(metrics, METRIC_CONVEX_REQUESTS, "updateRuntimeStatus", "success", 5);
    assert_int_equal(metrics_value(metrics, METRIC_CONVEX_REQUESTS, "listAgents"), 7);
    metrics_add(metrics, METRIC_NO_RESPONSE, "retries_exhausted", NULL, 2);
    assert_int_equal(metrics_value(metrics, METRIC_NO_RESPONSE, "skipped"), 0);
    assert_int_equal(metrics_value(metrics, METRIC_NO_RESPONSE, "retries_exhausted"), 2);
}

static void test_times_are_exposed_in_seconds(void **state)
{
    struct fixture *fixture = *state;
    metrics_set(&fixture->metrics, METRIC_LAST_POLL, NULL, 1700000000123000);
    must_expose(fixture, "\nmission_control_last_poll_timestamp_seconds 1700000000.123000\n");
}

static void test_durations_fall_into_their_buckets(void **state)
{
    struct fixture *fixture = *state;
    struct metrics *metrics = &fixture->metrics;
    static const int64_t durations_us[] = {-5, 0, 50000, 50001, 900000000, 900000001};
    for (size_t i = 0; i < sizeof durations_us / sizeof durations_us[0]; i++)
        metrics_observe(metrics, METRIC_DELIVERY, NULL, durations_us[i]);
    must_expose(fixture, "\nmission_control_delivery_seconds_bucket{le=\"0.05\"} 3\n"
                         "mission_control_delivery_seconds_bucket{le=\"0.1\"} 4\n");
    must_expose(fixture, "\nmission_control_delivery_seconds_bucket{le=\"600\"} 4\n"
                         "mission_control_delivery_seconds_bucket{le=\"900\"} 5\n"
                         "mission_control_delivery_seconds_bucket{le=\"+Inf\"} 6\n"
                         "mission_control_delivery_seconds_sum 1800.100002\n"
                         "mission_control_delivery_seconds_count 6\n");
    metrics_observe(metrics, METRIC_CONVEX_REQUEST, "listAgents", 30000);
    must_expose(fixture, "\nmission_control_convex_request_seconds_bucket{action=\"listAgents\","
                         "le=\"0.025\"} 0\nmission_control_convex_request_seconds_bucket"
                         "{action=\"listAgents\",le=\"0.05\"} 1\n");
}

/* Slugs come from the backend, which may have any number of agents. */
static void test_number_of_agents_is_bounded(void **state)
{
    struct fixture *fixture = *state;
    struct metrics *metrics = &fixture->metrics;
    char slug[32];
    for (int i = 0; i < METRICS_AGENTS + 20; i++) {
        snprintf(slug, sizeof slug, "agent-%d", i);
        metrics_add(metrics, METRIC_AGENT_RUNS, slug, NULL, 1);
        metrics_add(metrics, METRIC_AGENT_NOTIFICATIONS, slug, "dead", 1);
    }
    must_expose(fixture, "\nmission_control_agent_runs_total{agent=\"agent-0\"} 1\n");
    must_expose(fixture, "\nmission_control_agent_runs_total{agent=\"agent-99\"} 1\n"
                         "mission_control_agent_runs_total{agent=\"other\"} 20\n");
    must_expose(fixture, "{agent=\"other\",outcome=\"dead\"} 20\n");
    must_not_expose(fixture, "agent-100");
    metrics_add(metrics, METRIC_AGENT_RUNS, "agent-7", NULL, 1);
    must_expose(fixture, "\nmission_control_agent_runs_total{agent=\"agent-7\"} 2\n");
}

static void test_unusual_agent_names_are_exposed(void **state)
{
    struct fixture *fixture = *state;
    struct metrics *metrics = &fixture->metrics;
    must_not_expose(fixture, "mission_control_agent_runs_total{agent=\"unknown\"}");
    metrics_add(metrics, METRIC_AGENT_RUNS, "", NULL, 1);
    metrics_add(metrics, METRIC_AGENT_RUNS, "other", NULL, 3);
    metrics_add(metrics, METRIC_AGENT_RUNS, "a\"b\\c\nd", NULL, 2);
    must_expose(fixture, "\nmission_control_agent_runs_total{agent=\"unknown\"} 1\n");
    must_expose(fixture, "\nmission_control_agent_runs_total{agent=\"other\"} 3\n");
    must_expose(fixture, "\nmission_control_agent_runs_total{agent=\"a\\\"b\\\\c\\nd\"} 2\n");
    const char *first = strstr(write_exposition(fixture), "{agent=\"other\"}");
    assert_null(strstr(first + 1, "{agent=\"other\"}"));
}

static void test_reserved_characters_are_escaped(void **state)
{
    struct fixture *fixture = *state;
    exposition_append_help(&fixture->text, "a\\b\nc \"d\"");
    assert_string_equal(fixture->text.data, "a\\\\b\\nc \"d\"");
    text_clear(&fixture->text);
    exposition_append_label_value(&fixture->text, "a\\b\nc \"d\"");
    assert_string_equal(fixture->text.data, "a\\\\b\\nc \\\"d\\\"");
}

/* Fails unless word is a declared value of the label, so that it is not counted as "other". */
static void expect_label_value(enum metric metric, size_t label, const char *word)
{
    const struct metric_label *known = &metric_families[metric].labels[label];
    for (size_t i = 0; i < known->count; i++)
        if (strcmp(known->values[i], word) == 0)
            return;
    fail_msg("%s has no %s \"%s\"", metric_families[metric].name, known->name, word);
}

static void test_all_outcomes_are_label_values(void **state)
{
    (void)state;
    for (int outcome = CONVEX_SUCCESS; outcome <= CONVEX_ABORTED; outcome++)
        expect_label_value(METRIC_CONVEX_REQUESTS, 1, convex_outcome_words[outcome]);
    for (int breaker = BREAKER_CLOSED; breaker <= BREAKER_OPEN; breaker++)
        for (int limited = 0; limited <= 1; limited++)
            expect_label_value(METRIC_GATEWAY_STATE, 0,
                breaker_view_word(&(struct breaker_view){
                    .state = (enum breaker_state)breaker, .limited = limited}));
}

static void *record_many(void *argument)
{
    struct metrics *metrics = argument;
    char slug[32];
    for (int i = 0; i < MANY; i++) {
        snprintf(slug, sizeof slug, "agent-%d", i % (METRICS_AGENTS + 20));
        metrics_add(metrics, METRIC_AGENT_RUNS, slug, NULL, 1);
        metrics_observe(metrics, METRIC_QUEUE_WAIT, NULL, i);
    }
    return NULL;
}

/* Returns the value of a series in text. */
static int64_t series_value(const char *text, const char *series)
{
    const char *found = strstr(text, series);
    if (found == NULL) {
        fail_msg("no %s", series);
        return -1;
    }
    return strtoll(found + strlen(series), NULL, 10);
}

/* Count and +Inf bucket of one scrape must agree, even while threads record. */
static void expect_consistent_histogram(struct fixture *fixture)
{
    const char *text = write_exposition(fixture);
    assert_int_equal(series_value(text, "mission_control_queue_wait_seconds_bucket{le=\"+Inf\"} "),
        series_value(text, "mission_control_queue_wait_seconds_count "));
}

static void test_threads_lose_no_count(void **state)
{
    struct fixture *fixture = *state;
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, record_many, &fixture->metrics), 0);
    for (int i = 0; i < 50; i++)
        expect_consistent_histogram(fixture);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(metrics_total(&fixture->metrics, METRIC_AGENT_RUNS), THREADS * MANY);
    must_expose(fixture, "\nmission_control_queue_wait_seconds_count 400000\n");
    assert_int_equal(atomic_load(&fixture->metrics.agents), METRICS_AGENTS);
}

#define WITH_METRICS(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_METRICS(test_counters_add_up_by_label),
        WITH_METRICS(test_families_have_help_and_type),
        WITH_METRICS(test_build_has_only_its_current_series),
        WITH_METRICS(test_value_sums_over_the_other_labels),
        WITH_METRICS(test_times_are_exposed_in_seconds),
        WITH_METRICS(test_durations_fall_into_their_buckets),
        WITH_METRICS(test_number_of_agents_is_bounded),
        WITH_METRICS(test_unusual_agent_names_are_exposed),
        WITH_METRICS(test_reserved_characters_are_escaped),
        cmocka_unit_test(test_all_outcomes_are_label_values),
        WITH_METRICS(test_threads_lose_no_count),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
