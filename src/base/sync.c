#include "base/sync.h"

#include <assert.h>
#include <errno.h>
#include <time.h>

/*
 * Deep enough for libcurl, the resolver and TLS with JSON nested to the limit of json_guard, and
 * for the larger frames of the sanitizers. Only touched pages cost memory.
 */
enum { STACK_BYTES = 1024 * 1024 };

static void must(int result)
{
    assert(result == 0);
    (void)result;
}

void mutex_init(struct mutex *mutex)
{
    must(pthread_mutex_init(&mutex->native, NULL));
    atomic_init(&mutex->owner, 0);
}

void mutex_fini(struct mutex *mutex)
{
    must(pthread_mutex_destroy(&mutex->native));
}

static void take_ownership(struct mutex *mutex)
{
    atomic_store_explicit(&mutex->owner, (uintptr_t)pthread_self(), memory_order_relaxed);
}

static void drop_ownership(struct mutex *mutex)
{
    mutex_assert_held(mutex);
    atomic_store_explicit(&mutex->owner, 0, memory_order_relaxed);
}

void mutex_lock(struct mutex *mutex)
{
    must(pthread_mutex_lock(&mutex->native));
    take_ownership(mutex);
}

void mutex_unlock(struct mutex *mutex)
{
    drop_ownership(mutex);
    must(pthread_mutex_unlock(&mutex->native));
}

void mutex_assert_held(const struct mutex *mutex)
{
    uintptr_t owner = atomic_load_explicit(&mutex->owner, memory_order_relaxed);
    assert(owner == (uintptr_t)pthread_self());
    (void)owner;
}

void cond_init(struct cond *cond)
{
    pthread_condattr_t attributes;
    must(pthread_condattr_init(&attributes));
    must(pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC));
    must(pthread_cond_init(&cond->native, &attributes));
    must(pthread_condattr_destroy(&attributes));
}

void cond_fini(struct cond *cond)
{
    must(pthread_cond_destroy(&cond->native));
}

void cond_signal(struct cond *cond)
{
    must(pthread_cond_signal(&cond->native));
}

void cond_broadcast(struct cond *cond)
{
    must(pthread_cond_broadcast(&cond->native));
}

void cond_wait(struct cond *cond, struct mutex *mutex)
{
    drop_ownership(mutex);
    must(pthread_cond_wait(&cond->native, &mutex->native));
    take_ownership(mutex);
}

bool cond_wait_until(struct cond *cond, struct mutex *mutex, int64_t deadline_ms)
{
    if (deadline_ms == SYNC_NO_DEADLINE) {
        cond_wait(cond, mutex);
        return true;
    }
    struct timespec deadline = {
        .tv_sec = (time_t)(deadline_ms / 1000),
        .tv_nsec = (long)(deadline_ms % 1000) * 1000000,
    };
    drop_ownership(mutex);
    int result = pthread_cond_timedwait(&cond->native, &mutex->native, &deadline);
    take_ownership(mutex);
    assert(result == 0 || result == ETIMEDOUT);
    return result == 0;
}

int thread_start(
    pthread_t *thread, const char *name, void *(*run)(void *), void *argument, struct error *error)
{
    pthread_attr_t attributes;
    must(pthread_attr_init(&attributes));
    must(pthread_attr_setstacksize(&attributes, STACK_BYTES));
    int result = pthread_create(thread, &attributes, run, argument);
    must(pthread_attr_destroy(&attributes));
    if (result != 0)
        return error_set_errno(error, ERROR_SYSTEM, result, "cannot start thread %s", name);
    /* A thread that has ended already takes no name any more, and needs none. */
    int named = pthread_setname_np(*thread, name);
    assert(named != ERANGE);
    (void)named;
    return 0;
}

void thread_join(pthread_t thread)
{
    must(pthread_join(thread, NULL));
}
