/* Writing log lines without blocking on a stalled reader, and folding repeated ones. */
#ifndef BASE_LOG_OUTPUT_H
#define BASE_LOG_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/log.h"

enum log_stream { LOG_STREAM_OUT, LOG_STREAM_ERR, LOG_STREAMS }; /* standard output and error */

enum {
    LOG_STREAM_LINE_BYTES = 4096, /* line end included */
    LOG_STREAM_WAIT_MS = 1000     /* how long a line waits for its stream */
};

/*
 * Formats the line that reports a gap, with its end: consecutive lines that were dropped, the first
 * at since_ms (monotonic), because a stream accepted no bytes. Returns its length. Must not log.
 */
typedef size_t log_gap_format(
    uint64_t lines, int64_t since_ms, char line[static LOG_STREAM_LINE_BYTES]);

/*
 * Writes a line of at most LOG_STREAM_LINE_BYTES, including its end, and before it the report of a
 * gap. A line that the stream does not accept within LOG_STREAM_WAIT_MS is dropped and counted;
 * later ones do not wait until the stream accepts bytes again. Lines never mix; one that was
 * written only in part is ended before the next. Any thread, without any lock held; blocks for
 * little longer than LOG_STREAM_WAIT_MS.
 */
void log_stream_write(
    enum log_stream stream, const char *line, size_t length_bytes, log_gap_format *format);

/*
 * Writes a line without regard to others, which may be in the middle of theirs, and takes no lock:
 * only for one after which the process ends. Waits LOG_STREAM_WAIT_MS at most.
 */
void log_stream_write_last(enum log_stream stream, const char *line, size_t length_bytes);

/*
 * Reports outstanding gaps on streams that are writable now. False if some are still outstanding.
 * Any thread; does not wait for a stream.
 */
bool log_stream_flush_gaps(log_gap_format *format);

/* The number of lines dropped so far, of both streams. Any thread; briefly takes a lock. */
uint64_t log_stream_dropped(void);

/* Folding of repeated messages. Any thread; briefly takes a lock; times are monotonic. */

enum {
    LOG_FOLD_WINDOW_MS = 60 * 1000,
    LOG_FOLD_TEXTS = 64, /* remembered at a time; another one evicts the oldest */
    LOG_FOLD_TEXT_BYTES = 1024,
    LOG_FOLD_COMPONENT_BYTES = 32
};

/* A message that was written, and how often it recurred since. */
struct log_fold_item {
    int64_t since_ms; /* when it was written */
    unsigned repeats;
    enum log_level level;
    char component[LOG_FOLD_COMPONENT_BYTES];
    char message[LOG_FOLD_TEXT_BYTES];
};

/*
 * Whether to write the message. False if the same level, component and message (apart from a
 * request id of the backend) was written within the last LOG_FOLD_WINDOW_MS; it is then counted. A
 * message too long for an item is always written. If this evicts an item, *ended receives it, for
 * the caller to report first; otherwise its repeats are 0.
 */
bool log_fold_admit(enum log_level level, const char *component, const char *message,
    int64_t now_ms, struct log_fold_item *ended);

/* Removes one item with repeats that has expired at now_ms (INT64_MAX: any). False if none has. */
bool log_fold_take(int64_t now_ms, struct log_fold_item *ended);

/* When the next item with repeats expires; INT64_MAX if there is none. */
int64_t log_fold_due_ms(void);

#endif
