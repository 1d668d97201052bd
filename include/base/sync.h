/* Mutexes that know their owner, monotonic conditions, named threads, clocks, and backoff. */
#ifndef BASE_SYNC_H
#define BASE_SYNC_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/* A deadline that never comes. */
#define SYNC_NO_DEADLINE INT64_MAX

/* Mutexes and conditions. */

struct mutex {
    pthread_mutex_t native;
    _Atomic uintptr_t owner; /* the thread that holds it, 0 while it is free */
};

struct cond {
    pthread_cond_t native;
};

/* For a static mutex, which is never destroyed. */
#define MUTEX_INITIALIZER                   \
    {                                       \
        .native = PTHREAD_MUTEX_INITIALIZER \
    }

/* Embedded; destroyed by _fini once no thread uses them. Cannot fail: misuse is asserted. */
void mutex_init(struct mutex *mutex);
void mutex_fini(struct mutex *mutex);
void mutex_lock(struct mutex *mutex);
void mutex_unlock(struct mutex *mutex);

/* Asserts that the calling thread holds mutex; every _locked function starts with it. */
void mutex_assert_held(const struct mutex *mutex);

void cond_init(struct cond *cond);
void cond_fini(struct cond *cond);
void cond_signal(struct cond *cond);
void cond_broadcast(struct cond *cond);

/* Waits with mutex held. Wakes spuriously, so it belongs in a loop over its predicate. */
void cond_wait(struct cond *cond, struct mutex *mutex);

/*
 * As cond_wait, until deadline_ms on the monotonic clock (SYNC_NO_DEADLINE: none). Returns false
 * once the deadline has passed.
 */
bool cond_wait_until(struct cond *cond, struct mutex *mutex, int64_t deadline_ms);

/* Threads. */

/*
 * Starts run(argument) in a joinable thread with a 1 MiB stack and a name of at most 15 bytes.
 * Returns 0, ERROR_SYSTEM or ERROR_NO_MEMORY. The caller joins it with thread_join.
 */
int thread_start(
    pthread_t *thread, const char *name, void *(*run)(void *), void *argument, struct error *error);
void thread_join(pthread_t thread);

/* Clocks: monotonic for every deadline and duration, wall time for people and servers. */

enum { CLOCK_ISO_BYTES = sizeof "2026-01-31T12:00:00.123Z" };

/* Milliseconds since an arbitrary point; never goes back. Any thread; does not block. */
int64_t clock_monotonic_ms(void);

/* Microseconds on the same scale, for durations shorter than a millisecond. */
int64_t clock_monotonic_us(void);

/* Milliseconds since 1970 (UTC). May jump; never used for a deadline. */
int64_t clock_wall_ms(void);

/* Writes wall_ms as ISO 8601 in UTC with milliseconds. */
void clock_iso(int64_t wall_ms, char text[static CLOCK_ISO_BYTES]);

/* Backoff: waits that double up to a limit, with full jitter or without jitter. */

/*
 * min(max_ms, first_ms * 2^doublings), in milliseconds, without overflow; so max_ms if first_ms is
 * larger. Both are at least 1. Pure.
 */
int64_t backoff_doubled_ms(int64_t first_ms, unsigned doublings, int64_t max_ms);

/*
 * The wait before attempt number failures + 1, in milliseconds: base_ms when failures is 0, else
 * floor(min(max_ms, base_ms * 2^failures) * unit) + 1, for unit in [0, 1): full jitter, but never
 * zero. Pure; base_ms and max_ms are at least 1.
 */
int64_t backoff_ms(unsigned failures, int64_t base_ms, int64_t max_ms, double unit);

/* A random number in [0, 1), good enough for jitter. Any thread; does not block. */
double backoff_random_unit(void);

#endif
