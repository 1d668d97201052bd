/* The words of deliveries are the label values of their metrics, one for one, and documented. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../lib/test_file.h"
#include "delivery/attempt.h"
#include "telemetry/metrics.h"

/* The value at place of the label is word, so that word does not count as the last, "other". */
static void must_be_value(enum metric metric, size_t label, size_t place, const char *word)
{
    const struct metric_label *known = &metric_families[metric].labels[label];
    assert_true(place < known->count);
    assert_string_equal(known->values[place], word);
}

static size_t value_count(enum metric metric, size_t label)
{
    return metric_families[metric].labels[label].count;
}

static void test_reasons_to_skip_are_those_of_the_metric(void **state)
{
    (void)state;
    size_t place = 0;
    for (int reason = REASON_NOTIFICATION_GONE; reason < REASON_REFUSED_TOO_LONG; reason++)
        must_be_value(
            METRIC_NOTIFICATIONS_SKIPPED, 0, place++, end_reason_words[(enum end_reason)reason]);
    must_be_value(METRIC_NOTIFICATIONS_SKIPPED, 0, place++, "other");
    assert_int_equal(place, value_count(METRIC_NOTIFICATIONS_SKIPPED, 0));
}

static void test_rules_of_the_loop_guard_are_documented(void **state)
{
    (void)state;
    for (int reason = REASON_OWN_MESSAGE; reason <= REASON_TOO_MANY_AGENT_RUNS; reason++)
        test_file_expect_row("docs/architecture.md", end_reason_words[(enum end_reason)reason]);
}

static void test_failure_classes_are_those_of_the_metric(void **state)
{
    (void)state;
    size_t place = 0;
    assert_null(failure_class_words[FAILURE_NONE]);
    for (int class = FAILURE_NONE + 1; class <= FAILURE_OTHER; class ++)
        must_be_value(METRIC_NOTIFICATIONS_FAILED, 0, place++,
            failure_class_words[(enum failure_class) class]);
    assert_int_equal(place, value_count(METRIC_NOTIFICATIONS_FAILED, 0));
}

static void test_outcomes_are_those_of_the_metric(void **state)
{
    (void)state;
    for (int outcome = OUTCOME_DELIVERED; outcome <= OUTCOME_DEAD; outcome++)
        must_be_value(METRIC_AGENT_NOTIFICATIONS, 1, (size_t)outcome,
            entry_outcome_words[(enum entry_outcome)outcome]);
    assert_int_equal(value_count(METRIC_AGENT_NOTIFICATIONS, 1), OUTCOME_DEAD + 1);
}

static void test_kinds_of_runs_are_those_of_the_metric(void **state)
{
    (void)state;
    for (int kind = RUN_FIRST; kind <= RUN_REPEAT; kind++)
        must_be_value(METRIC_RUNS, 0, (size_t)kind, run_kind_words[(enum run_kind)kind]);
    assert_int_equal(value_count(METRIC_RUNS, 0), RUN_REPEAT + 1);
}

/* Only what is neither the gateway's nor the backend's failure is "other". */
static void test_each_failed_outcome_has_a_class(void **state)
{
    (void)state;
    for (int outcome = GATEWAY_REPLIED; outcome <= GATEWAY_ABORTED; outcome++) {
        bool other = outcome == GATEWAY_DISABLED || outcome == GATEWAY_ABORTED;
        enum failure_class class = attempt_gateway_failure((enum gateway_outcome)outcome);
        assert_int_equal(class == FAILURE_OTHER, other);
        assert_int_not_equal(class, FAILURE_NONE);
    }
    for (int outcome = CONVEX_SUCCESS; outcome <= CONVEX_ABORTED; outcome++) {
        bool other = outcome == CONVEX_SUCCESS || outcome == CONVEX_ABORTED;
        enum failure_class class = attempt_backend_failure((enum convex_outcome)outcome);
        assert_int_equal(class == FAILURE_OTHER, other);
        assert_int_not_equal(class, FAILURE_NONE);
    }
}

static void test_every_stage_and_reason_has_a_word(void **state)
{
    (void)state;
    for (int reason = REASON_REPLIED; reason <= REASON_LAST_FAILURE; reason++)
        assert_non_null(end_reason_words[(enum end_reason)reason]);
    for (int stage = STAGE_KNOWN; stage <= STAGE_SETTLED; stage++)
        assert_non_null(entry_stage_words[(enum entry_stage)stage]);
    assert_string_equal(entry_stage_words[STAGE_NOTIFY_FAILURE], "giving_up");
    assert_string_equal(end_reason_words[REASON_REFUSED_TOO_LONG], "refused_for_too_long");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reasons_to_skip_are_those_of_the_metric),
        cmocka_unit_test(test_rules_of_the_loop_guard_are_documented),
        cmocka_unit_test(test_failure_classes_are_those_of_the_metric),
        cmocka_unit_test(test_outcomes_are_those_of_the_metric),
        cmocka_unit_test(test_kinds_of_runs_are_those_of_the_metric),
        cmocka_unit_test(test_each_failed_outcome_has_a_class),
        cmocka_unit_test(test_every_stage_and_reason_has_a_word),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
