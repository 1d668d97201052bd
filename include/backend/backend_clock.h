/* How far this machine's clock is from the backend's, learned from the Date of its answers. */
#ifndef BACKEND_BACKEND_CLOCK_H
#define BACKEND_BACKEND_CLOCK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum {
    CLOCK_CORRECT_MS = 5 * 1000, /* from here on, times for the backend are corrected */
    CLOCK_WARN_MS = 30 * 1000,   /* from here on, it is said */
};

/*
 * How many milliseconds our clock is ahead of a server's (negative: behind), as far as that is
 * certain. The server sent date_ms, truncated to seconds, some time between our before_ms and
 * after_ms; all are wall clocks. Pure.
 */
int64_t clock_ahead_ms(int64_t date_ms, int64_t before_ms, int64_t after_ms);

/* One for the process. Any thread; without a lock. All zero is a clock of which nothing is known.
 */
struct backend_clock {
    atomic_llong ahead_ms;
    atomic_bool is_known;
    atomic_bool is_off; /* by over CLOCK_WARN_MS, and not right again since */
};

/*
 * Takes in the Date of an answer, which was asked for at before_ms and there at after_ms. Answers
 * that took long, or have a Date that no clock can have, tell nothing. Returns whether the clock
 * has become wrong, or right again: then, and in one thread only, is_off is to be reported.
 */
bool backend_clock_see(
    struct backend_clock *clock, int64_t date_ms, int64_t before_ms, int64_t after_ms);

/* Our wall clock, corrected if it differs from the backend's by over CLOCK_CORRECT_MS. */
int64_t backend_clock_now_ms(const struct backend_clock *clock);

/* The backend's clock, as far as it is known: for what is compared with its times. */
int64_t backend_clock_exact_ms(const struct backend_clock *clock);

#endif
