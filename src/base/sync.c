/*
 * The thin layer over pthreads and the clocks that everything else uses, so that three rules hold
 * in one place:
 *
 * - A mutex knows its owner. Functions named _locked assert with mutex_assert_held that the calling
 *   thread holds the lock, which turns a forgotten lock into a crash in the first test that gets
 *   there. Waiting on a condition clears the owner, as the mutex is free meanwhile.
 * - Deadlines are absolute times of the monotonic clock. Conditions are created on that clock, so a
 *   change of the wall clock neither shortens nor lengthens a wait.
 * - Threads are named, joinable and have a bounded stack, and are watched (base/watch.h).
 *
 * A failing pthread call means a bug (a destroyed mutex, a double unlock), so it is asserted and
 * not returned; only starting a thread can fail for lack of resources.
 *
 * Backoff is here because it is arithmetic on the same times. It is pure: the caller counts the
 * failures and supplies the random number.
 */
#include "base/sync.h"

#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>

#include "base/watch.h"

/*
 * Deep enough for libcurl, the resolver and TLS with JSON nested to the limit of json_guard, and
 * for the larger frames of the sanitizers. Only touched pages cost memory.
 */
enum { STACK_BYTES = 1024 * 1024 };

static void assert_zero(int result)
{
    assert(result == 0);
    (void)result;
}

void mutex_init(struct mutex *mutex)
{
    assert_zero(pthread_mutex_init(&mutex->native, NULL));
    atomic_init(&mutex->owner, 0);
}

void mutex_fini(struct mutex *mutex)
{
    assert_zero(pthread_mutex_destroy(&mutex->native));
}

/* Relaxed is enough: a thread can only ever find its own identity here if it stored it itself. */
static void mutex_set_owner(struct mutex *mutex)
{
    atomic_store_explicit(&mutex->owner, (uintptr_t)pthread_self(), memory_order_relaxed);
}

static void mutex_clear_owner(struct mutex *mutex)
{
    mutex_assert_held(mutex);
    atomic_store_explicit(&mutex->owner, 0, memory_order_relaxed);
}

void mutex_lock(struct mutex *mutex)
{
    assert_zero(pthread_mutex_lock(&mutex->native));
    mutex_set_owner(mutex);
}

void mutex_unlock(struct mutex *mutex)
{
    mutex_clear_owner(mutex);
    assert_zero(pthread_mutex_unlock(&mutex->native));
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
    assert_zero(pthread_condattr_init(&attributes));
    assert_zero(pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC));
    assert_zero(pthread_cond_init(&cond->native, &attributes));
    assert_zero(pthread_condattr_destroy(&attributes));
}

void cond_fini(struct cond *cond)
{
    assert_zero(pthread_cond_destroy(&cond->native));
}

void cond_signal(struct cond *cond)
{
    assert_zero(pthread_cond_signal(&cond->native));
}

void cond_broadcast(struct cond *cond)
{
    assert_zero(pthread_cond_broadcast(&cond->native));
}

void cond_wait(struct cond *cond, struct mutex *mutex)
{
    mutex_clear_owner(mutex);
    watch_pause();
    assert_zero(pthread_cond_wait(&cond->native, &mutex->native));
    mutex_set_owner(mutex);
    watch_resume();
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
    mutex_clear_owner(mutex);
    watch_pause();
    int result = pthread_cond_timedwait(&cond->native, &mutex->native, &deadline);
    mutex_set_owner(mutex);
    watch_resume();
    assert(result == 0 || result == ETIMEDOUT);
    return result == 0;
}

/* What a thread begins with; it frees this. */
struct thread_begin {
    char name[WATCH_NAME_BYTES];
    void *(*run)(void *argument);
    void *argument;
};

static void *thread_run(void *allocated)
{
    struct thread_begin begin = *(struct thread_begin *)allocated;
    struct watched_thread watched;
    free(allocated);
    watch_enter(&watched, begin.name);
    void *result = begin.run(begin.argument);
    watch_leave();
    return result;
}

int thread_start(
    pthread_t *thread, const char *name, void *(*run)(void *), void *argument, struct error *error)
{
    pthread_attr_t attributes;
    struct thread_begin *begin = malloc(sizeof *begin);
    if (begin == NULL)
        return error_set(error, ERROR_NO_MEMORY, "out of memory starting thread %s", name);
    *begin = (struct thread_begin){.run = run, .argument = argument};
    snprintf(begin->name, sizeof begin->name, "%s", name);
    assert_zero(pthread_attr_init(&attributes));
    assert_zero(pthread_attr_setstacksize(&attributes, STACK_BYTES));
    int result = pthread_create(thread, &attributes, thread_run, begin);
    assert_zero(pthread_attr_destroy(&attributes));
    if (result != 0) {
        free(begin);
        return error_set_errno(error, ERROR_SYSTEM, result, "cannot start thread %s", name);
    }
    /* A thread that has already exited cannot be named (ESRCH). ERANGE: the name is too long. */
    int named = pthread_setname_np(*thread, name);
    assert(named != ERANGE);
    (void)named;
    return 0;
}

void thread_join(pthread_t thread)
{
    watch_pause();
    assert_zero(pthread_join(thread, NULL));
    watch_resume();
}

static int64_t clock_read_us(clockid_t id)
{
    struct timespec now;
    clock_gettime(id, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

int64_t clock_monotonic_us(void)
{
    return clock_read_us(CLOCK_MONOTONIC);
}

int64_t clock_monotonic_ms(void)
{
    return clock_read_us(CLOCK_MONOTONIC) / 1000;
}

int64_t clock_wall_ms(void)
{
    return clock_read_us(CLOCK_REALTIME) / 1000;
}

void clock_iso(int64_t wall_ms, char text[static CLOCK_ISO_BYTES])
{
    /* C rounds towards zero, so times before 1970 would have a negative fraction. */
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
    /* Shifts the limit right instead of the time left, which cannot overflow. */
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
        /* Early in boot there may be no entropy yet; an address is random enough for jitter. */
        if (getrandom(state, sizeof state, GRND_NONBLOCK) != sizeof state)
            state[0] = (unsigned short)(uintptr_t)&seeded;
        seeded = 1;
    }
    return erand48(state);
}
