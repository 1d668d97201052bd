/*
 * Finds threads that hang: each one gives a sign whenever it begins or ends a wait, and one that
 * gives none for too long while it has work in hand ends the process.
 */
#ifndef BASE_WATCH_H
#define BASE_WATCH_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "base/error.h"

enum {
    WATCH_NAME_BYTES = 16, /* of a thread's name, with its NUL */
    WATCH_LIMIT_MS = 120 * 1000,
    WATCH_LOOKS = 12, /* within the limit */
};

/* What is known of one thread, on that thread's own stack. */
struct watched_thread {
    TAILQ_ENTRY(watched_thread) link;
    char name[WATCH_NAME_BYTES];
    atomic_uint pauses; /* waits that it is in, one within the other */
    atomic_uint signs;

    /* Of the thread that looks. */
    unsigned seen_signs;
    int64_t silent_ms; /* of running time */
};

/*
 * The calling thread is watched under that name until watch_leave, or as long as it runs if
 * thread_start (base/sync.h) started it, which calls both. *thread is borrowed until then.
 */
void watch_enter(struct watched_thread *thread, const char *name);
void watch_leave(void);

/*
 * Around a wait that may take as long as it likes: for work, for a deadline, for a peer. Waits on
 * conditions and descriptors (base/sync.h, base/io.h) and requests (http/client.h) are such
 * already. They may be nested. The thread itself; do nothing in one that is not watched.
 */
void watch_pause(void);
void watch_resume(void);

/* A sign amid work that may take longer than the limit as a whole. As above. */
void watch_sign(void);

/*
 * Stores the name of a thread that has been silent for half the limit. False if there is none. Any
 * thread; briefly takes a lock.
 */
bool watch_find_silent(char name[static WATCH_NAME_BYTES]);

/* How long a thread may be silent, and when the next look at all of them is due (monotonic). */
struct watch {
    int64_t limit_ms;
    int64_t look_ms; /* between two looks */
    int64_t due_ms;
};

enum { WATCH_NAMES_BYTES = 256 };

/* The first look is due one interval after now_ms. */
void watch_init(struct watch *watch, int64_t limit_ms, int64_t now_ms);

/*
 * A look at all threads. Time counts only as far as the process ran: a look that comes late by more
 * than an interval counts nothing. Returns whether a thread hangs, and stores the names of those
 * that do, as far as they fit. One thread; briefly takes a lock.
 */
bool watch_look(struct watch *watch, int64_t now_ms, char names[static WATCH_NAMES_BYTES]);

/*
 * Starts the thread mc-watch, which ends the process with EX_SOFTWARE when one hangs: with a line
 * on standard error, without a core, and without waiting for anything. ERROR_SYSTEM,
 * ERROR_NO_MEMORY. At most one at a time; ended by watch_stop, which joins it. The main thread.
 */
int watch_start(struct error *error);
void watch_stop(void);

#endif
