/* Which lines of the log say again what was just said, and are therefore counted instead. */
#ifndef BASE_LOG_FOLD_H
#define BASE_LOG_FOLD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/log.h"

enum {
    LOG_FOLD_WINDOW_MS = 60 * 1000,
    LOG_FOLD_TEXTS = 64, /* remembered at a time; a further one ends the oldest */
    LOG_FOLD_TEXT_BYTES = 1024,
    LOG_FOLD_COMPONENT_BYTES = 32
};

/* A message that was written, and how often it would have been again. */
struct log_fold_item {
    int64_t since_ms; /* when it was written, monotonic */
    unsigned repeats; /* since then */
    enum log_level level;
    char component[LOG_FOLD_COMPONENT_BYTES];
    char message[LOG_FOLD_TEXT_BYTES];
};

/* All of these: any thread; a short lock; now_ms is monotonic. */

/*
 * Whether the message is to be written: the same level, component and message, but for a number of
 * a request that the backend puts into it, were not within the last LOG_FOLD_WINDOW_MS; else it is
 * counted. A message that has no room in an item is always
 * written. What ends by this goes into *ended, whose repeats are else 0: the caller writes it
 * first.
 */
bool log_fold_admit(enum log_level level, const char *component, const char *message,
    int64_t now_ms, struct log_fold_item *ended);

/* Takes out one item that is over at now_ms (INT64_MAX: any) and has repeats. False: none is. */
bool log_fold_take(int64_t now_ms, struct log_fold_item *ended);

/* When the next item is over that has repeats; INT64_MAX while none has. */
int64_t log_fold_due_ms(void);

#endif
