/* How a line of the log leaves the process, without waiting for ever for whoever reads it. */
#ifndef BASE_LOG_OUTPUT_H
#define BASE_LOG_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/log.h"

enum log_stream { LOG_STREAM_OUT, LOG_STREAM_ERR, LOG_STREAMS }; /* standard output and error */

enum {
    LOG_STREAM_LINE_BYTES = 4096, /* its end included */
    LOG_STREAM_WAIT_MS = 1000     /* how long a line waits until its stream takes it */
};

/* Lines that a stream did not take, one after the other. */
struct log_gap {
    uint64_t lines;
    int64_t since_ms; /* when the first of them was dropped, monotonic */
};

/* Says in a line, with its end, what was lost. Returns the length. Must not log. */
typedef size_t log_gap_format(const struct log_gap *gap, char line[static LOG_STREAM_LINE_BYTES]);

/*
 * Writes a line of at most LOG_STREAM_LINE_BYTES, with its end; before it, words about those that
 * were dropped. What the stream does not take within LOG_STREAM_WAIT_MS is dropped and counted, and
 * those that follow do not wait until it takes bytes again. Lines never mix; one that could be
 * written only in part is ended before the next. Any thread; no lock may be held; blocks for little
 * longer than LOG_STREAM_WAIT_MS.
 */
void log_stream_write(
    enum log_stream stream, const char *line, size_t length_bytes, log_gap_format *words);

/*
 * Writes the words that are still owed, to streams that take them now. False: some are owed still.
 * Any thread; does not wait for a stream.
 */
bool log_stream_flush_gaps(log_gap_format *words);

/* Which lines of the log say again what was just said, and are therefore counted instead. */

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
