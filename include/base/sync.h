/* Mutexes that know their owner, monotonic conditions, and joinable named threads. */
#ifndef BASE_SYNC_H
#define BASE_SYNC_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/* Never waits for ever in cond_wait_until. */
#define SYNC_NO_DEADLINE INT64_MAX

struct mutex {
    pthread_mutex_t native;
    _Atomic uintptr_t owner; /* the holder's thread identity, 0 while free */
};

struct cond {
    pthread_cond_t native;
};

/* For one that is neither embedded nor ever ends. */
#define MUTEX_INITIALIZER                   \
    {                                       \
        .native = PTHREAD_MUTEX_INITIALIZER \
    }

/* Embedded; must be destroyed by _fini once no thread uses them. Failures here are bugs. */
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

/* Waits with mutex held; may wake for no reason, so it stands in a loop over its predicate. */
void cond_wait(struct cond *cond, struct mutex *mutex);

/*
 * As cond_wait, until deadline_ms on the monotonic clock (SYNC_NO_DEADLINE: none). Returns false
 * when the deadline passed.
 */
bool cond_wait_until(struct cond *cond, struct mutex *mutex, int64_t deadline_ms);

/*
 * Starts run(argument) in a joinable thread with a small stack and at most 15 bytes of name.
 * Returns 0 or ERROR_SYSTEM. The caller joins it with thread_join.
 */
int thread_start(
    pthread_t *thread, const char *name, void *(*run)(void *), void *argument, struct error *error);
void thread_join(pthread_t thread);

/* Time: a monotonic clock for every deadline and a wall clock for what people and servers read. */

enum { CLOCK_ISO_BYTES = sizeof "2026-01-31T12:00:00.123Z" };

/* Milliseconds since some fixed point, never going back. Any thread; does not block. */
int64_t clock_monotonic_ms(void);

/* Microseconds on the same scale, for durations shorter than a millisecond. */
int64_t clock_monotonic_us(void);

/* Milliseconds since 1970 (UTC). May jump; never used for a deadline. */
int64_t clock_wall_ms(void);

/* Writes wall_ms as ISO 8601 in UTC with milliseconds, at least CLOCK_ISO_BYTES bytes long. */
void clock_iso(int64_t wall_ms, char text[static CLOCK_ISO_BYTES]);

/* Waits that double up to a limit, with full jitter or without any. */

/*
 * min(max_ms, first_ms * 2^doublings), in milliseconds, also where the product is no int64_t; so
 * max_ms for a first_ms above it. Both are at least 1. Pure.
 */
int64_t backoff_doubled_ms(int64_t first_ms, unsigned doublings, int64_t max_ms);

/*
 * The wait before try number failures + 1, in milliseconds: base_ms when failures is 0, else
 * floor(min(max_ms, base_ms * 2^failures) * unit) + 1, for unit in [0, 1).
 * (Contract runtime-behaviour-v0, section 3.11.) Pure; base_ms and max_ms are at least 1.
 */
int64_t backoff_ms(unsigned failures, int64_t base_ms, int64_t max_ms, double unit);

/* A random number in [0, 1), good enough for jitter. Any thread; does not block. */
double backoff_random_unit(void);

#endif
