/* The charts' last half hour: contents of samples, eviction, and quantiles. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../lib/queue_fixture.h"
#include "serve/serve.h"
#include "telemetry/metrics.h"

enum { MAX_BYTES = 32 * 1024 };

static const int64_t bounds_us[] = {1000, 2000, 10000};

static int64_t quantile(int64_t a, int64_t b, int64_t c, int64_t d, double share)
{
    return histogram_quantile_us(bounds_us, 3, (const int64_t[]){a, b, c, d}, share);
}

static void test_quantiles_are_interpolated(void **state)
{
    (void)state;
    assert_int_equal(quantile(0, 0, 0, 0, 0.5), -1);
    assert_int_equal(quantile(10, 0, 0, 0, 0.5), 500);
    assert_int_equal(quantile(10, 0, 0, 0, 1), 1000);
    assert_int_equal(quantile(0, 10, 0, 0, 0.5), 1500);
    assert_int_equal(quantile(0, 0, 4, 0, 0.25), 4000);
    assert_int_equal(quantile(5, 5, 0, 0, 0.5), 1000);
    assert_int_equal(quantile(5, 0, 5, 0, 0.75), 6000);
    assert_int_equal(quantile(1, 0, 0, 0, 0), 0);
    assert_int_equal(quantile(0, 3, 0, 0, 0), 1000);
}

static void test_quantile_above_all_bounds_is_the_last_bound(void **state)
{
    (void)state;
    assert_int_equal(quantile(0, 0, 0, 7, 0.5), 10000);
    assert_int_equal(quantile(9, 0, 0, 1, 0.95), 10000);
    assert_int_equal(quantile(9, 0, 0, 1, 0.9), 1000);
}

struct fixture {
    struct metrics metrics;
    struct send_queue *queue;
    struct trend trend;
    int64_t now_ms;
};

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    assert_non_null(fixture);
    metrics_init(&fixture->metrics);
    fixture->queue = queue_fixture_create(QUEUE_FIXTURE_CAPACITY);
    fixture->now_ms = 1000000;
    trend_init(&fixture->trend, &fixture->metrics, fixture->queue, fixture->now_ms);
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    send_queue_destroy(fixture->queue);
    metrics_fini(&fixture->metrics);
    free(fixture);
    return 0;
}

static void record_deliveries(struct fixture *fixture, int count, int64_t took_us)
{
    metrics_add(&fixture->metrics, METRIC_NOTIFICATIONS_DELIVERED, NULL, NULL, count);
    for (int i = 0; i < count; i++)
        metrics_observe(&fixture->metrics, METRIC_DELIVERY, NULL, took_us);
}

static void take_sample(struct fixture *fixture)
{
    fixture->now_ms += TREND_INTERVAL_MS;
    trend_take(&fixture->trend, fixture->now_ms);
}

static void test_sample_covers_its_interval_only(void **state)
{
    struct fixture *fixture = *state;
    record_deliveries(fixture, 4, 200000);
    take_sample(fixture);
    record_deliveries(fixture, 10, 20000000);
    metrics_add(&fixture->metrics, METRIC_NOTIFICATIONS_FAILED, "run_failed", NULL, 3);
    metrics_add(&fixture->metrics, METRIC_NOTIFICATIONS_FAILED, "gateway_busy", NULL, 2);
    PAGE(fixture->queue, {"n1", "a", "", 1}, {"n2", "a", "", 2}, {"n3", "b", "", 3});
    struct entry *entry = queue_fixture_take(fixture->queue, "n1");
    queue_fixture_finish(fixture->queue, entry, STAGE_KNOWN, AN_HOUR_MS);
    struct entry *busy = queue_fixture_take(fixture->queue, "n3");
    take_sample(fixture);
    queue_fixture_finish(fixture->queue, busy, STAGE_SETTLED, 0);
    take_sample(fixture);
    assert_int_equal(fixture->trend.count, 3);
    const struct trend_sample *first = trend_at(&fixture->trend, 0);
    assert_int_equal(first->lasted_ms, TREND_INTERVAL_MS);
    assert_int_equal(first->delivered, 4);
    assert_int_equal(first->failed, 0);
    assert_int_equal(first->p50_ms, 175); /* the middle of 100 to 250 */
    assert_int_equal(first->ready, 0);
    const struct trend_sample *second = trend_at(&fixture->trend, 1);
    assert_int_equal(second->delivered, 10);
    assert_int_equal(second->failed, 5);
    assert_int_equal(second->p50_ms, 16000); /* of 4 and 10 */
    assert_int_equal(second->p95_ms, 28599);
    assert_int_equal(second->timed, 14);
    assert_int_equal(second->ready, 1);
    assert_int_equal(second->waiting, 1);
    assert_int_equal(second->busy, 1);
    const struct trend_sample *third = trend_at(&fixture->trend, 2);
    assert_int_equal(third->delivered, 0);
    assert_int_equal(third->failed, 0);
    assert_int_equal(third->p50_ms, 16000);
    assert_int_equal(third->timed, 14);
}

/* Longer than an interval, as few deliveries say little, and not longer than five minutes. */
static void test_quantiles_are_over_five_minutes(void **state)
{
    struct fixture *fixture = *state;
    struct trend_sample sample;
    trend_peek(&fixture->trend, fixture->now_ms, &sample);
    assert_int_equal(sample.timed, 0);
    assert_int_equal(sample.p50_ms, -1);
    assert_int_equal(sample.p95_ms, -1);
    for (int i = 1; i <= 2 * TREND_TIMED; i++) {
        record_deliveries(fixture, 1, 200000);
        trend_peek(&fixture->trend, fixture->now_ms + 1, &sample);
        assert_int_equal(sample.timed, i < TREND_TIMED ? i : TREND_TIMED);
        take_sample(fixture);
        assert_int_equal(fixture->trend.samples[i - 1].timed, sample.timed);
    }
    for (int left = TREND_TIMED - 1; left >= 0; left--) {
        assert_true(sample.timed > 0);
        take_sample(fixture);
        sample = *trend_at(&fixture->trend, fixture->trend.count - 1);
        assert_int_equal(sample.timed, left);
        assert_int_equal(sample.p95_ms, left > 0 ? 242 : -1);
    }
}

static void test_peeking_changes_nothing(void **state)
{
    struct fixture *fixture = *state;
    struct trend_sample sample;
    record_deliveries(fixture, 2, 1000);
    trend_peek(&fixture->trend, fixture->now_ms + 400, &sample);
    assert_int_equal(sample.lasted_ms, 400);
    assert_int_equal(sample.delivered, 2);
    assert_int_equal(fixture->trend.count, 0);
    take_sample(fixture);
    assert_int_equal(trend_at(&fixture->trend, 0)->delivered, 2);
    trend_peek(&fixture->trend, fixture->now_ms, &sample);
    assert_int_equal(sample.delivered, 0);
}

/* The nth interval has n deliveries, which identifies its sample. */
static void test_oldest_samples_are_overwritten(void **state)
{
    struct fixture *fixture = *state;
    for (int i = 1; i <= TREND_SAMPLES; i++) {
        record_deliveries(fixture, i, 1000);
        take_sample(fixture);
        assert_int_equal(fixture->trend.count, i);
        assert_int_equal(trend_at(&fixture->trend, 0)->delivered, 1);
        assert_int_equal(trend_at(&fixture->trend, (size_t)i - 1)->delivered, i);
    }
    for (int i = TREND_SAMPLES + 1; i <= 2 * TREND_SAMPLES + 3; i++) {
        record_deliveries(fixture, i, 1000);
        take_sample(fixture);
        assert_int_equal(fixture->trend.count, TREND_SAMPLES);
        for (int at = 0; at < TREND_SAMPLES; at++)
            assert_int_equal(
                trend_at(&fixture->trend, (size_t)at)->delivered, i - TREND_SAMPLES + 1 + at);
    }
}

static void test_trend_covers_half_an_hour_in_32_kib(void **state)
{
    (void)state;
    assert_int_equal(TREND_SAMPLES * TREND_INTERVAL_MS, 30 * 60 * 1000);
    assert_true(sizeof(struct trend) <= MAX_BYTES);
}

#define WITH_TREND(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_quantiles_are_interpolated),
        cmocka_unit_test(test_quantile_above_all_bounds_is_the_last_bound),
        WITH_TREND(test_sample_covers_its_interval_only),
        WITH_TREND(test_quantiles_are_over_five_minutes),
        WITH_TREND(test_peeking_changes_nothing),
        WITH_TREND(test_oldest_samples_are_overwritten),
        cmocka_unit_test(test_trend_covers_half_an_hour_in_32_kib),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
