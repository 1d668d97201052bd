/*
 * What the control threads share: waiting until a time, a poke or the stop, whichever is first, and
 * a client of their own for the requests of a round.
 */
#ifndef LOOPS_LOOP_H
#define LOOPS_LOOP_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/sync.h"
#include "remote/http_client.h"

/* More than the calls of one round may take together: the reporter's are five of a minute. */
enum { LOOP_LONGEST_ROUND_MS = 10 * 60 * 1000, LOOP_SLACK_MS = 10 * 1000 };

struct loop {
    /* Guards the flags below. */
    struct mutex lock;
    struct cond changed;
    bool poked;
    bool stopping;
    int64_t expected_ms; /* when its thread has to have shown up again, monotonic */

    /* Of the thread that starts and ends the loop. */
    pthread_t thread;
    bool started;

    struct http_client *client; /* its own thread's; NULL for one that asks nobody */
};

/* For a loop that asks nobody. Cannot fail. */
void loop_init(struct loop *loop);
void loop_fini(struct loop *loop);

/*
 * As loop_init, with a client that trusts store and whose requests abort ends; both are borrowed
 * until loop_close. ERROR_NO_MEMORY, and then there is nothing to close.
 */
int loop_open(
    struct loop *loop, struct ca_store *store, const atomic_bool *abort, struct error *error);

/* After loop_open and loop_end. */
void loop_close(struct loop *loop);

/*
 * Runs body(argument) in a thread of that name (15 bytes at most), which is to go round by
 * loop_wait. Returns 0, or what thread_start returns.
 */
int loop_start(struct loop *loop, const char *name, void *(*body)(void *argument), void *argument,
    struct error *error);

/* Stops the loop and waits for its thread; nothing when there is none. */
void loop_end(struct loop *loop);

/* Asks the thread to go round before its time. Any thread; does not block. */
void loop_poke(struct loop *loop);

/*
 * Whether the loop's thread goes round: it woke when it was to wake, and is not busy for longer
 * than LOOP_LONGEST_ROUND_MS. Any thread; a short lock.
 */
bool loop_is_alive(struct loop *loop, int64_t now_ms);

/* Ends every wait, now and later. Any thread. */
void loop_stop(struct loop *loop);

/*
 * Waits until until_ms (monotonic), or a poke, but for a poke not before poke_from_ms. The poke is
 * used up. Returns false when the loop has to stop. Only the loop's own thread.
 */
bool loop_wait(struct loop *loop, int64_t until_ms, int64_t poke_from_ms);

#endif
