/* Threads, their names, and waits with deadlines. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/sync.h"

static void *return_argument(void *argument)
{
    return argument;
}

/* Naming races with the thread's end, so it is tried many times. */
static void test_threads_may_end_before_they_are_named(void **state)
{
    enum { THREADS = 3000 };
    (void)state;
    struct error error;
    for (int i = 0; i < THREADS; i++) {
        pthread_t thread;
        assert_int_equal(thread_start(&thread, "short", return_argument, NULL, &error), 0);
        thread_join(thread);
    }
}

/* A thread that runs until it is released. */
struct waiter {
    struct mutex lock;
    struct cond changed;
    bool released;
};

static void *wait_until_released(void *argument)
{
    struct waiter *waiter = argument;
    mutex_lock(&waiter->lock);
    while (!waiter->released)
        cond_wait(&waiter->changed, &waiter->lock);
    mutex_assert_held(&waiter->lock);
    mutex_unlock(&waiter->lock);
    return NULL;
}

static void test_thread_is_named(void **state)
{
    (void)state;
    struct waiter waiter = {.released = false};
    struct error error;
    pthread_t thread;
    char name[16];
    mutex_init(&waiter.lock);
    cond_init(&waiter.changed);
    assert_int_equal(
        thread_start(&thread, "fifteen-bytes-x", wait_until_released, &waiter, &error), 0);
    assert_int_equal(pthread_getname_np(thread, name, sizeof name), 0);
    assert_string_equal(name, "fifteen-bytes-x");
    mutex_lock(&waiter.lock);
    waiter.released = true;
    cond_broadcast(&waiter.changed);
    mutex_unlock(&waiter.lock);
    thread_join(thread);
    cond_fini(&waiter.changed);
    mutex_fini(&waiter.lock);
}

static void test_wait_ends_at_its_deadline(void **state)
{
    (void)state;
    struct mutex lock;
    struct cond never;
    mutex_init(&lock);
    cond_init(&never);
    mutex_lock(&lock);
    int64_t now_ms = clock_monotonic_ms();
    assert_false(cond_wait_until(&never, &lock, now_ms - 1000));
    assert_false(cond_wait_until(&never, &lock, 0));
    while (cond_wait_until(&never, &lock, now_ms + 20))
        continue;
    assert_true(clock_monotonic_ms() >= now_ms + 20);
    mutex_assert_held(&lock);
    mutex_unlock(&lock);
    cond_fini(&never);
    mutex_fini(&lock);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_threads_may_end_before_they_are_named),
        cmocka_unit_test(test_thread_is_named),
        cmocka_unit_test(test_wait_ends_at_its_deadline),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
