/*
 * A control thread: it waits for a time, a poke or shutdown, whichever comes first, does one round
 * of work, and waits again. The watchdog finds loops that do not return to their wait.
 */
#ifndef BASE_LOOP_H
#define BASE_LOOP_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/sync.h"

/* Upper bound on one round: the reporter's five calls of a minute each, doubled. */
enum { LOOP_MAX_ROUND_MS = 10 * 60 * 1000, LOOP_SLACK_MS = 10 * 1000 };

struct loop {
    /* Set by loop_init and never changed. */
    const char *name;
    void *(*body)(void *owner);
    void *owner;

    /* Guards the fields below. */
    struct mutex lock;
    struct cond changed;
    bool poked;
    bool stopping;
    int64_t expected_ms; /* when the thread must be back at its wait, monotonic */

    /* Used only by the thread that starts and stops the loop. */
    pthread_t thread;
    bool started;
};

/*
 * Prepares a loop whose thread will run body(owner) under that name (static storage, at most 15
 * bytes). body alternates rounds of work and loop_wait. Cannot fail; loop_fini releases it.
 */
void loop_init(struct loop *loop, const char *name, void *(*body)(void *owner), void *owner);
void loop_fini(struct loop *loop);

/* Starts the thread. ERROR_SYSTEM, ERROR_NO_MEMORY. Called by the thread that later calls
 * loop_stop. */
int loop_start(struct loop *loop, struct error *error);

/* Makes every current and later loop_wait return false; does not wait for the thread. Any thread.
 */
void loop_request_stop(struct loop *loop);

/* Requests the stop and joins the thread, if it was started. Blocks until its round has ended. */
void loop_stop(struct loop *loop);

/* Requests an early round. A poke is never lost. Any thread; briefly takes the lock. */
void loop_poke(struct loop *loop);

/*
 * Waits until until_ms (monotonic) or, once poked, until poke_from_ms if that is earlier, and
 * consumes the poke. Returns false when the loop must stop. Only the loop's own thread.
 */
bool loop_wait(struct loop *loop, int64_t until_ms, int64_t poke_from_ms);

/*
 * False if the thread did not wake when it was due, or its round takes longer than
 * LOOP_MAX_ROUND_MS. Any thread; briefly takes the lock.
 */
bool loop_is_alive(struct loop *loop, int64_t now_ms);

/* The loops to watch; borrowed. Unchanged after startup. */
struct watchdog {
    struct loop *loops[8];
    size_t count;
};

/* The name of the first stalled loop, or NULL. Any thread; briefly takes each loop's lock. */
const char *watchdog_find_stalled(const struct watchdog *watchdog);

#endif
