/* Which answers count for the gateway child that runs now, and which changes are announced. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <stdlib.h>

#include "../lib/tmp_dir.h"
#include "base/sync.h"
#include "gateway/supervisor.h"

enum { TIMEOUT_MS = 20000 };

struct fixture {
    char dir[TMP_DIR_BYTES];
    struct gateway_supervisor *supervisor;

    /* Guards the numbers of changes that were announced. */
    struct mutex lock;
    struct cond changed;
    int starts;
    int ends;
    bool answers_at_once; /* the gateway, to a probe that begins with the announcement */
};

static void count_change(void *context, bool started)
{
    struct fixture *fixture = context;
    if (started && fixture->answers_at_once)
        supervisor_record_answer(fixture->supervisor, clock_monotonic_ms());
    mutex_lock(&fixture->lock);
    *(started ? &fixture->starts : &fixture->ends) += 1;
    cond_signal(&fixture->changed);
    mutex_unlock(&fixture->lock);
}

static void create_supervisor(struct fixture *fixture)
{
    const struct supervisor_settings settings = {.command = "sleep 1000",
        .state_dir = fixture->dir,
        .on_change = count_change,
        .context = fixture};
    assert_int_equal(supervisor_create(&fixture->supervisor, &settings, NULL), 0);
}

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    assert_non_null(fixture);
    tmp_dir_create(fixture->dir);
    mutex_init(&fixture->lock);
    cond_init(&fixture->changed);
    create_supervisor(fixture);
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    supervisor_stop(fixture->supervisor);
    supervisor_destroy(fixture->supervisor);
    cond_fini(&fixture->changed);
    mutex_fini(&fixture->lock);
    tmp_dir_remove(fixture->dir);
    free(fixture);
    return 0;
}

static void wait_for_changes(struct fixture *fixture, int starts, int ends)
{
    int64_t deadline_ms = clock_monotonic_ms() + TIMEOUT_MS;
    mutex_lock(&fixture->lock);
    while (fixture->starts < starts || fixture->ends < ends)
        if (!cond_wait_until(&fixture->changed, &fixture->lock, deadline_ms))
            break;
    int started = fixture->starts;
    int ended = fixture->ends;
    mutex_unlock(&fixture->lock);
    assert_int_equal(started, starts);
    assert_int_equal(ended, ends);
}

static struct supervisor_status status_of(struct fixture *fixture)
{
    struct supervisor_status status;
    supervisor_status(fixture->supervisor, &status);
    return status;
}

static bool accepts_after_answer(struct fixture *fixture, int64_t asked_ms)
{
    supervisor_record_answer(fixture->supervisor, asked_ms);
    return status_of(fixture).accepting;
}

static void start_child(struct fixture *fixture)
{
    assert_int_equal(supervisor_start(fixture->supervisor, NULL), 0);
    wait_for_changes(fixture, 1, 0);
}

static void test_only_an_answer_to_a_later_request_counts(void **state)
{
    struct fixture *fixture = *state;
    int64_t before_ms = clock_monotonic_ms() - 1;
    assert_false(accepts_after_answer(fixture, before_ms));
    start_child(fixture);
    assert_false(accepts_after_answer(fixture, before_ms));
    assert_true(accepts_after_answer(fixture, clock_monotonic_ms()));
    assert_true(accepts_after_answer(fixture, before_ms));
}

static void test_the_next_child_has_to_answer_as_well(void **state)
{
    struct fixture *fixture = *state;
    start_child(fixture);
    int64_t first_ms = clock_monotonic_ms();
    assert_true(accepts_after_answer(fixture, first_ms));
    assert_int_equal(kill(status_of(fixture).pid, SIGKILL), 0);
    wait_for_changes(fixture, 2, 1);
    assert_false(status_of(fixture).accepting);
    assert_false(accepts_after_answer(fixture, first_ms));
    assert_true(accepts_after_answer(fixture, clock_monotonic_ms()));
}

static void test_an_answer_in_the_same_millisecond_counts(void **state)
{
    enum { STARTS = 20 };
    struct fixture *fixture = *state;
    fixture->answers_at_once = true;
    start_child(fixture);
    for (int i = 1; i < STARTS; i++) {
        assert_true(status_of(fixture).accepting);
        supervisor_stop(fixture->supervisor);
        supervisor_destroy(fixture->supervisor);
        create_supervisor(fixture);
        fixture->starts = fixture->ends = 0;
        start_child(fixture);
    }
    assert_true(status_of(fixture).accepting);
}

static void test_the_end_is_announced_when_stopping(void **state)
{
    struct fixture *fixture = *state;
    start_child(fixture);
    supervisor_stop(fixture->supervisor);
    wait_for_changes(fixture, 1, 1);
    assert_false(accepts_after_answer(fixture, clock_monotonic_ms() + 1));
}

int main(void)
{
#define WITH_SUPERVISOR(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        WITH_SUPERVISOR(test_only_an_answer_to_a_later_request_counts),
        WITH_SUPERVISOR(test_the_next_child_has_to_answer_as_well),
        WITH_SUPERVISOR(test_an_answer_in_the_same_millisecond_counts),
        WITH_SUPERVISOR(test_the_end_is_announced_when_stopping),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
