/*
 * Which threads are taken for hanging. Looks come with times of their own, so nothing is waited
 * for: the test's thread is itself watched, and silent between two looks.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <unistd.h>

#include "base/io.h"
#include "base/sync.h"
#include "base/watch.h"

enum { LIMIT_MS = 120 * 1000, LOOK_MS = LIMIT_MS / WATCH_LOOKS };

struct watch_fixture {
    struct watched_thread self;
    struct watch watch;
    char names[WATCH_NAMES_BYTES];
};

static int watch_fixture_setup(void **state)
{
    static struct watch_fixture fixture;
    watch_enter(&fixture.self, "test");
    watch_init(&fixture.watch, LIMIT_MS, 0);
    /* Sees what happened before. */
    watch_look(&fixture.watch, LOOK_MS, fixture.names);
    *state = &fixture;
    return 0;
}

static int watch_fixture_teardown(void **state)
{
    (void)state;
    watch_leave();
    return 0;
}

/* Looks that many times, each of them on time; returns whether the last one found a thread. */
static bool look_times(struct watch_fixture *fixture, int times)
{
    bool found = false;
    for (int i = 0; i < times; i++)
        found = watch_look(&fixture->watch, fixture->watch.due_ms, fixture->names);
    return found;
}

static void test_limits_are_those_of_the_documents(void **state)
{
    (void)state;
    assert_int_equal(WATCH_LIMIT_MS, 120000);
    assert_int_equal(WATCH_LIMIT_MS / WATCH_LOOKS, 10000);
}

static void test_silent_thread_is_found_after_the_limit(void **state)
{
    struct watch_fixture *fixture = *state;
    char name[WATCH_NAME_BYTES];
    assert_false(look_times(fixture, WATCH_LOOKS / 2 - 1));
    assert_false(watch_find_silent(name));
    assert_false(look_times(fixture, 1));
    assert_true(watch_find_silent(name));
    assert_string_equal(name, "test");
    assert_false(look_times(fixture, WATCH_LOOKS / 2 - 1));
    assert_string_equal(fixture->names, "");
    assert_true(look_times(fixture, 1));
    assert_string_equal(fixture->names, "test");
}

static void test_a_sign_begins_the_time_again(void **state)
{
    struct watch_fixture *fixture = *state;
    char name[WATCH_NAME_BYTES];
    assert_false(look_times(fixture, WATCH_LOOKS - 1));
    watch_sign();
    assert_false(look_times(fixture, 1));
    assert_false(watch_find_silent(name));
    assert_false(look_times(fixture, WATCH_LOOKS - 1));
    assert_true(look_times(fixture, 1));
}

static void test_waits_do_not_count(void **state)
{
    struct watch_fixture *fixture = *state;
    watch_pause();
    assert_false(look_times(fixture, 2 * WATCH_LOOKS));
    watch_pause();
    watch_resume();
    assert_false(look_times(fixture, 2 * WATCH_LOOKS));
    watch_resume();
    assert_false(look_times(fixture, WATCH_LOOKS));
    assert_true(look_times(fixture, 1));
}

/* As after SIGSTOP, "docker pause" or a machine that was suspended. */
static void test_time_without_running_does_not_count(void **state)
{
    struct watch_fixture *fixture = *state;
    for (int i = 0; i < 3 * WATCH_LOOKS; i++)
        assert_false(
            watch_look(&fixture->watch, fixture->watch.due_ms + LOOK_MS + 1, fixture->names));
    assert_false(look_times(fixture, WATCH_LOOKS - 1));
    assert_false(watch_look(&fixture->watch, fixture->watch.due_ms + LIMIT_MS, fixture->names));
    assert_true(look_times(fixture, 1));
}

struct waiting {
    int fds[2]; /* of a pipe by which the thread tells that it runs */
    int stop_fds[2];
    struct mutex lock;
    struct cond changed;
    bool stopping;
};

/* A call that base/watch.h knows nothing of, such as one that a hung disk does not end. */
static void *block_in_a_system_call(void *argument)
{
    struct waiting *waiting = argument;
    char byte = 0;
    assert_int_equal(write(waiting->fds[1], &byte, 1), 1);
    assert_int_equal(read(waiting->stop_fds[0], &byte, 1), 1);
    return NULL;
}

static void *wait_for_a_condition(void *argument)
{
    struct waiting *waiting = argument;
    char byte = 0;
    mutex_lock(&waiting->lock);
    assert_int_equal(write(waiting->fds[1], &byte, 1), 1);
    while (!waiting->stopping)
        cond_wait(&waiting->changed, &waiting->lock);
    mutex_unlock(&waiting->lock);
    return NULL;
}

static void start_waiting(struct waiting *waiting, pthread_t *thread, void *(*run)(void *argument))
{
    struct error error;
    char byte;
    assert_int_equal(pipe(waiting->fds), 0);
    assert_int_equal(pipe(waiting->stop_fds), 0);
    mutex_init(&waiting->lock);
    cond_init(&waiting->changed);
    waiting->stopping = false;
    assert_int_equal(thread_start(thread, "mc-waiting", run, waiting, &error), 0);
    assert_int_equal(read(waiting->fds[0], &byte, 1), 1);
}

static void stop_waiting(struct waiting *waiting, pthread_t thread)
{
    char byte = 0;
    mutex_lock(&waiting->lock);
    waiting->stopping = true;
    cond_signal(&waiting->changed);
    mutex_unlock(&waiting->lock);
    assert_int_equal(write(waiting->stop_fds[1], &byte, 1), 1);
    thread_join(thread);
    for (int i = 0; i < 2; i++) {
        close(waiting->fds[i]);
        close(waiting->stop_fds[i]);
    }
    cond_fini(&waiting->changed);
    mutex_fini(&waiting->lock);
}

static void test_started_threads_are_watched_until_they_end(void **state)
{
    struct watch_fixture *fixture = *state;
    struct waiting waiting;
    pthread_t thread;
    start_waiting(&waiting, &thread, block_in_a_system_call);
    assert_true(look_times(fixture, WATCH_LOOKS + 1));
    assert_string_equal(fixture->names, "test mc-waiting");
    watch_pause();
    assert_true(look_times(fixture, 1));
    assert_string_equal(fixture->names, "mc-waiting");
    stop_waiting(&waiting, thread);
    assert_false(look_times(fixture, WATCH_LOOKS + 1));
    watch_resume();
}

static void test_waiting_for_a_condition_is_a_wait(void **state)
{
    struct watch_fixture *fixture = *state;
    struct waiting waiting;
    pthread_t thread;
    start_waiting(&waiting, &thread, wait_for_a_condition);
    /* The thread has released the lock, so it waits. */
    mutex_lock(&waiting.lock);
    mutex_unlock(&waiting.lock);
    watch_pause();
    assert_false(look_times(fixture, 2 * WATCH_LOOKS));
    watch_resume();
    stop_waiting(&waiting, thread);
}

/* Polling, a deadline that has passed, a join: each begins and ends a wait. */
static void test_each_wait_gives_a_sign(void **state)
{
    struct watch_fixture *fixture = *state;
    struct mutex lock;
    struct cond changed;
    mutex_init(&lock);
    cond_init(&changed);
    look_times(fixture, WATCH_LOOKS - 1);
    fd_wait_readable(-1, 0);
    assert_false(look_times(fixture, WATCH_LOOKS));
    mutex_lock(&lock);
    cond_wait_until(&changed, &lock, 0);
    mutex_unlock(&lock);
    assert_false(look_times(fixture, WATCH_LOOKS));
    cond_fini(&changed);
    mutex_fini(&lock);
}

static void test_threads_that_are_not_watched_are_left_alone(void **state)
{
    (void)state;
    struct watch watch;
    char names[WATCH_NAMES_BYTES];
    watch_init(&watch, LIMIT_MS, 0);
    watch_pause();
    watch_resume();
    watch_sign();
    for (int i = 0; i < 2 * WATCH_LOOKS; i++)
        assert_false(watch_look(&watch, watch.due_ms, names));
}

int main(void)
{
#define WATCHED(test) \
    cmocka_unit_test_setup_teardown(test, watch_fixture_setup, watch_fixture_teardown)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_limits_are_those_of_the_documents),
        WATCHED(test_silent_thread_is_found_after_the_limit),
        WATCHED(test_a_sign_begins_the_time_again),
        WATCHED(test_waits_do_not_count),
        WATCHED(test_time_without_running_does_not_count),
        WATCHED(test_started_threads_are_watched_until_they_end),
        WATCHED(test_waiting_for_a_condition_is_a_wait),
        WATCHED(test_each_wait_gives_a_sign),
        cmocka_unit_test(test_threads_that_are_not_watched_are_left_alone),
    };
    return cmocka_run_group_tests_name("watch", tests, NULL, NULL);
}
