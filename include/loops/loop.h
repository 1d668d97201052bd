/* What the control threads share: waiting until a time, a poke or the stop, whichever is first. */
#ifndef LOOPS_LOOP_H
#define LOOPS_LOOP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/sync.h"

struct loop {
    /* Guards the flags below. */
    struct mutex lock;
    struct cond changed;
    bool poked;
    bool stopping;
};

void loop_init(struct loop *loop);
void loop_fini(struct loop *loop);

/* Asks the thread to go round before its time. Any thread; does not block. */
void loop_poke(struct loop *loop);

/* Ends every wait, now and later. Any thread. */
void loop_stop(struct loop *loop);

/*
 * Waits until until_ms (monotonic), or a poke, but for a poke not before poke_from_ms. The poke is
 * used up. Returns false when the loop has to stop. Only the loop's own thread.
 */
bool loop_wait(struct loop *loop, int64_t until_ms, int64_t poke_from_ms);

#endif
