/* How a line of the log leaves the process, without waiting for ever for whoever reads it. */
#ifndef BASE_LOG_STREAM_H
#define BASE_LOG_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

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
typedef size_t log_gap_words(const struct log_gap *gap, char line[static LOG_STREAM_LINE_BYTES]);

/*
 * Writes a line of at most LOG_STREAM_LINE_BYTES, with its end; before it, words about those that
 * were dropped. What the stream does not take within LOG_STREAM_WAIT_MS is dropped and counted, and
 * those that follow do not wait until it takes bytes again. Lines never mix; one that could be
 * written only in part is ended before the next. Any thread; no lock may be held; blocks for little
 * longer than LOG_STREAM_WAIT_MS.
 */
void log_stream_write(
    enum log_stream stream, const char *line, size_t length_bytes, log_gap_words *words);

/*
 * Writes the words that are still owed, to streams that take them now. False: some are owed still.
 * Any thread; does not wait for a stream.
 */
bool log_stream_mend(log_gap_words *words);

#endif
