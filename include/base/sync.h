/* Mutexes that know their owner, monotonic conditions, and joinable named threads. */
#ifndef BASE_SYNC_H
#define BASE_SYNC_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
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

#endif
