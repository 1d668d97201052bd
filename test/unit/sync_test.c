/* Threads, their names, and waits that end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/sync.h"

static void *end_at_once(void *argument)
{
    return argument;
}

/* Whether the thread is still there when it is given its name is up to chance. */
static void test_threads_may_end_at_once(void **state)
{
    enum { THREADS = 3000 };
    (void)state;
    struct error error;
    for (int i = 0; i < THREADS; i++) {
        pthread_t thread;
        assert_int_equal(thread_start(&thread, "short", end_at_once, NULL, &error), 0);
        thread_join(thread);
    }
}

/* A thread that stays until it is let go. */
struct stayer {
    struct mutex lock;
    struct cond changed;
    bool may_go;
};

static void *stay(void *argument)
{
    struct stayer *stayer = argument;
    mutex_lock(&stayer->lock);
    while (!stayer->may_go)
        cond_wait(&stayer->changed, &stayer->lock);
    mutex_assert_held(&stayer->lock);
    mutex_unlock(&stayer->lock);
    return NULL;
}

static void test_thread_has_its_name(void **state)
{
    (void)state;
    struct stayer stayer = {.may_go = false};
    struct error error;
    pthread_t thread;
    char name[16];
    mutex_init(&stayer.lock);
    cond_init(&stayer.changed);
    assert_int_equal(thread_start(&thread, "fifteen-bytes-x", stay, &stayer, &error), 0);
    assert_int_equal(pthread_getname_np(thread, name, sizeof name), 0);
    assert_string_equal(name, "fifteen-bytes-x");
    mutex_lock(&stayer.lock);
    stayer.may_go = true;
    cond_broadcast(&stayer.changed);
    mutex_unlock(&stayer.lock);
    thread_join(thread);
    cond_fini(&stayer.changed);
    mutex_fini(&stayer.lock);
}

static void test_wait_ends_at_its_deadline_and_not_before(void **state)
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
        cmocka_unit_test(test_threads_may_end_at_once),
        cmocka_unit_test(test_thread_has_its_name),
        cmocka_unit_test(test_wait_ends_at_its_deadline_and_not_before),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
