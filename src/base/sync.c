#include "base/sync.h"

#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
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

static int64_t read_us(clockid_t id)
{
    struct timespec now;
    clock_gettime(id, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

int64_t clock_monotonic_us(void)
{
    return read_us(CLOCK_MONOTONIC);
}

int64_t clock_monotonic_ms(void)
{
    return read_us(CLOCK_MONOTONIC) / 1000;
}

int64_t clock_wall_ms(void)
{
    return read_us(CLOCK_REALTIME) / 1000;
}

void clock_iso(int64_t wall_ms, char text[static CLOCK_ISO_BYTES])
{
    int64_t milliseconds = wall_ms % 1000;
    time_t seconds = (time_t)(wall_ms / 1000);
    if (milliseconds < 0) {
        milliseconds += 1000;
        seconds--;
    }
    struct tm parts;
    char date[CLOCK_ISO_BYTES];
    if (gmtime_r(&seconds, &parts) == NULL ||
        strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", &parts) == 0) {
        snprintf(text, CLOCK_ISO_BYTES, "1970-01-01T00:00:00.000Z");
        return;
    }
    snprintf(text, CLOCK_ISO_BYTES, "%.19s.%03dZ", date, (int)milliseconds);
}

int64_t backoff_doubled_ms(int64_t first_ms, unsigned doublings, int64_t max_ms)
{
    enum { VALUE_BITS = 63 };
    assert(first_ms >= 1 && max_ms >= 1);
    /* The limit is halved instead of the time doubled, as that cannot overflow. */
    if (doublings >= VALUE_BITS || first_ms > max_ms >> doublings)
        return max_ms;
    return first_ms << doublings;
}

int64_t backoff_ms(unsigned failures, int64_t base_ms, int64_t max_ms, double unit)
{
    assert(unit >= 0 && unit < 1);
    if (failures == 0)
        return base_ms;
    int64_t ceiling_ms = backoff_doubled_ms(base_ms, failures, max_ms);
    return (int64_t)((double)ceiling_ms * unit) + 1;
}

double backoff_random_unit(void)
{
    static _Thread_local unsigned short state[3];
    static _Thread_local int seeded;
    if (!seeded) {
        if (getrandom(state, sizeof state, GRND_NONBLOCK) != sizeof state)
            state[0] = (unsigned short)(uintptr_t)&seeded;
        seeded = 1;
    }
    return erand48(state);
}
