/* Folding of repeated log messages: each repeat is counted exactly once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/log_output.h"
#include "base/sync.h"

enum { WINDOW = LOG_FOLD_WINDOW_MS };

static struct log_fold_item ended;

static bool admit_warning(const char *message, int64_t now_ms)
{
    return log_fold_admit(LOG_LEVEL_WARN, "Part", message, now_ms, &ended);
}

static int reset_folds(void **state)
{
    (void)state;
    while (log_fold_take(INT64_MAX, &ended))
        continue;
    return 0;
}

static void test_repeats_are_counted_for_a_minute(void **state)
{
    (void)state;
    assert_true(admit_warning("broken", 1000));
    assert_true(log_fold_due_ms() == INT64_MAX);
    for (int i = 0; i < 37; i++)
        assert_false(admit_warning("broken", 1000 + i));
    assert_true(log_fold_due_ms() == 1000 + WINDOW);
    assert_false(log_fold_take(999 + WINDOW, &ended));
    assert_true(log_fold_take(1000 + WINDOW, &ended));
    assert_int_equal(ended.repeats, 37);
    assert_int_equal(ended.level, LOG_LEVEL_WARN);
    assert_string_equal(ended.component, "Part");
    assert_string_equal(ended.message, "broken");
    assert_true(ended.since_ms == 1000);
    assert_false(log_fold_take(INT64_MAX, &ended));
    assert_true(admit_warning("broken", 1001 + WINDOW));
}

static void test_repeat_after_the_window_is_written(void **state)
{
    (void)state;
    assert_true(admit_warning("broken", 0));
    assert_false(admit_warning("broken", WINDOW - 1));
    assert_true(admit_warning("broken", WINDOW));
    assert_int_equal(ended.repeats, 1);
    assert_false(log_fold_take(INT64_MAX, &ended));
}

static void test_different_messages_are_not_folded(void **state)
{
    (void)state;
    assert_true(log_fold_admit(LOG_LEVEL_WARN, "Part", "broken", 0, &ended));
    assert_true(log_fold_admit(LOG_LEVEL_ERROR, "Part", "broken", 0, &ended));
    assert_true(log_fold_admit(LOG_LEVEL_WARN, "Other", "broken", 0, &ended));
    assert_true(log_fold_admit(LOG_LEVEL_WARN, "Part", "broken!", 0, &ended));
    assert_false(log_fold_admit(LOG_LEVEL_ERROR, "Part", "broken", 0, &ended));
}

/*
 * The backend puts a new request id into each error; messages that differ only in it are repeats.
 */
static void test_request_ids_are_ignored(void **state)
{
    (void)state;
    assert_true(admit_warning("Poll error: [Request ID: 6f1c2a9b03de44aa] Server Error", 0));
    assert_false(admit_warning("Poll error: [Request ID: 0000aaaa1111bbbb] Server Error", 1));
    assert_true(admit_warning("Poll error: [Request ID: 0000aaaa1111bbbb] Another", 2));
    assert_true(admit_warning("Sync error: [Request ID: 0000aaaa1111bbbb] Server Error", 3));
    assert_true(admit_warning("Poll error: [Request ID: 6f1c", 4));
    assert_false(admit_warning("Poll error: [Request ID: 77", 5));
    assert_true(admit_warning("Poll error: ", 6));
    assert_true(admit_warning("[Request ID: 1][Request ID: 2]", 7));
    assert_false(admit_warning("[Request ID: 3][Request ID: 4]", 8));
}

/* A message that is stored truncated could be mistaken for another. */
static void test_long_messages_are_not_folded(void **state)
{
    (void)state;
    char message[LOG_FOLD_TEXT_BYTES + 1];
    memset(message, 'x', sizeof message);
    message[LOG_FOLD_TEXT_BYTES] = '\0';
    assert_true(admit_warning(message, 0));
    assert_true(admit_warning(message, 0));
    message[LOG_FOLD_TEXT_BYTES - 1] = '\0';
    assert_true(admit_warning(message, 0));
    assert_false(admit_warning(message, 0));
    char component[LOG_FOLD_COMPONENT_BYTES + 1];
    memset(component, 'c', sizeof component);
    component[LOG_FOLD_COMPONENT_BYTES] = '\0';
    assert_true(log_fold_admit(LOG_LEVEL_WARN, component, "broken", 0, &ended));
    assert_true(log_fold_admit(LOG_LEVEL_WARN, component, "broken", 0, &ended));
}

static void test_oldest_is_evicted_when_full(void **state)
{
    (void)state;
    char message[32];
    assert_true(admit_warning("first", 0));
    assert_false(admit_warning("first", 0));
    for (int i = 1; i < LOG_FOLD_TEXTS; i++) {
        snprintf(message, sizeof message, "other %d", i);
        assert_true(admit_warning(message, i));
        assert_int_equal(ended.repeats, 0);
    }
    assert_true(admit_warning("one more", 100));
    assert_int_equal(ended.repeats, 1);
    assert_string_equal(ended.message, "first");
    assert_true(admit_warning("first", 101));
    assert_false(admit_warning("one more", 102));
}

enum { THREADS = 4, ROUNDS = 20000 };

static atomic_uint written;
static atomic_uint counted;

/* More distinct messages than slots, so that every path of eviction is taken. */
static void *log_repeatedly(void *argument)
{
    struct log_fold_item own;
    char message[32];
    for (unsigned i = 0; i < ROUNDS; i++) {
        snprintf(message, sizeof message, "message %u", i * 7 % 71 / (1 + i % 2));
        if (log_fold_admit(LOG_LEVEL_ERROR, "Part", message, i, &own))
            atomic_fetch_add(&written, 1);
        atomic_fetch_add(&counted, own.repeats);
        if (i % 64 == 0 && log_fold_take(i + (int64_t)WINDOW / 2 * (i % 3), &own))
            atomic_fetch_add(&counted, own.repeats);
    }
    return argument;
}

static void test_threads_lose_no_message(void **state)
{
    (void)state;
    pthread_t threads[THREADS];
    atomic_store(&written, 0);
    atomic_store(&counted, 0);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(thread_start(&threads[i], "say", log_repeatedly, NULL, NULL), 0);
    for (int i = 0; i < THREADS; i++)
        thread_join(threads[i]);
    while (log_fold_take(INT64_MAX, &ended))
        atomic_fetch_add(&counted, ended.repeats);
    assert_int_equal(atomic_load(&written) + atomic_load(&counted), THREADS * ROUNDS);
    assert_true(atomic_load(&counted) > 0);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, reset_folds, reset_folds)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_repeats_are_counted_for_a_minute),
        TEST(test_repeat_after_the_window_is_written),
        TEST(test_different_messages_are_not_folded),
        TEST(test_request_ids_are_ignored),
        TEST(test_long_messages_are_not_folded),
        TEST(test_oldest_is_evicted_when_full),
        TEST(test_threads_lose_no_message),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
