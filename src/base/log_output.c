/*
 * Two things stand between a finished line and its stream.
 *
 * The streams. A log that is not being read must not stop deliveries, so a line waits for its
 * stream for LOG_STREAM_WAIT_MS at most; then it is dropped and counted (gaps), and the
 * lines after it do not wait at all until the stream accepts bytes again. Before the next line goes
 * out, a line reports the gap. We never set O_NONBLOCK on descriptors 0 to 2, because that is a
 * flag of the open file, which a parent shell or another process shares; so a write must not be
 * started unless poll says it will not block. That only holds if no other thread writes in between:
 * writers take turns (turn_taken), for both streams together since they may be one pipe. The lock
 * is held only to change the turn and the counters, never during a write.
 *
 * Folding. A warning that recurs within LOG_FOLD_WINDOW_MS is counted and not written. A small
 * table, oldest first, remembers the last LOG_FOLD_TEXTS messages; an item leaves it when its
 * window has passed or its place is needed, and its count is then returned to base/log.c to be
 * logged.
 *
 * All state is static and needs no initialization, as the first line may precede everything else.
 */
#include "base/log_output.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "base/sync.h"

/* A pipe that is writable accepts PIPE_BUF bytes at once. */
_Static_assert((int)LOG_STREAM_LINE_BYTES <= PIPE_BUF, "one write(2) call per line");

/*
 * Wait at least this long for the turn, even if lines should not wait for the stream: holders
 * release it sooner, unless the stream takes half a line or another process fills the pipe.
 */
enum { MIN_TURN_WAIT_MS = 100 };

static const int descriptors[LOG_STREAMS] = {
    [LOG_STREAM_OUT] = STDOUT_FILENO, [LOG_STREAM_ERR] = STDERR_FILENO};

/* Guards gaps, dropped_total and turn_taken. */
static struct mutex stream_lock = MUTEX_INITIALIZER;
static struct {
    uint64_t lines;   /* dropped one after the other */
    int64_t since_ms; /* when the first was dropped, monotonic */
} gaps[LOG_STREAMS];
static uint64_t dropped_total; /* since the start, of both streams */
static bool turn_taken;
static struct cond turn_released;
static pthread_once_t turn_cond_once = PTHREAD_ONCE_INIT;

/* Used only with the turn: the stream ends in an incomplete line. */
static bool line_incomplete[LOG_STREAMS];

static void turn_init_cond(void)
{
    cond_init(&turn_released);
}

/* False if the deadline passed first. */
static bool turn_acquire(int64_t deadline_ms)
{
    int64_t min_ms = clock_monotonic_ms() + MIN_TURN_WAIT_MS;
    bool waiting = true;
    pthread_once(&turn_cond_once, turn_init_cond);
    mutex_lock(&stream_lock);
    while (turn_taken && waiting)
        waiting = cond_wait_until(
            &turn_released, &stream_lock, deadline_ms > min_ms ? deadline_ms : min_ms);
    bool taken = !turn_taken;
    turn_taken = true;
    mutex_unlock(&stream_lock);
    return taken;
}

static void turn_release(void)
{
    mutex_lock(&stream_lock);
    turn_taken = false;
    cond_signal(&turn_released);
    mutex_unlock(&stream_lock);
}

static bool stream_is_writable(int fd, int64_t deadline_ms)
{
    struct pollfd writable = {.fd = fd, .events = POLLOUT};
    return fd_wait(&writable, 1, deadline_ms) > 0;
}

/*
 * Acquires the turn with the stream writable. Waits for the stream without the turn, so that a
 * stalled stream does not stop the other one, and therefore has to poll again once it has it.
 */
static bool turn_acquire_writable(enum log_stream stream, int64_t deadline_ms)
{
    int fd = descriptors[stream];
    while (stream_is_writable(fd, deadline_ms) && turn_acquire(deadline_ms)) {
        if (stream_is_writable(fd, 0))
            return true;
        turn_release();
    }
    return false;
}

/* Whether to try again after a failed write; errno is that of the write. */
static bool stream_may_retry_write(int64_t deadline_ms)
{
    enum { PAUSE_MS = 10 };
    if (errno != EAGAIN)
        return errno == EINTR;
    /*
     * A terminal may be writable and still not have room for the two bytes that it makes of a line
     * end, so polling alone would spin.
     */
    poll(NULL, 0, PAUSE_MS);
    return clock_monotonic_ms() < deadline_ms;
}

/* Returns the number of bytes written. */
static size_t stream_write_bytes(int fd, const char *bytes, size_t length, int64_t deadline_ms)
{
    size_t written = 0;
    while (written < length && stream_is_writable(fd, deadline_ms)) {
        ssize_t taken = write(fd, bytes + written, length - written);
        if (taken > 0)
            written += (size_t)taken;
        else if (taken == 0 || !stream_may_retry_write(deadline_ms))
            break;
    }
    return written;
}

/*
 * A terminal is writable as soon as it has room for one byte, and blocks for the rest of the line.
 * Opening it again gives an open file of our own, on which O_NONBLOCK affects no other process.
 * Returns -1 if fd is not a terminal or cannot be opened.
 */
static int stream_open_terminal(int fd)
{
    char path[32];
    if (!isatty(fd))
        return -1;
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    return open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
}

/* With the turn. Returns whether everything was written. */
static bool stream_put(
    enum log_stream stream, const char *bytes, size_t length, int64_t deadline_ms)
{
    int terminal = stream_open_terminal(descriptors[stream]);
    size_t written = stream_write_bytes(
        terminal >= 0 ? terminal : descriptors[stream], bytes, length, deadline_ms);
    if (terminal >= 0)
        close(terminal);
    if (written > 0)
        line_incomplete[stream] = written < length;
    return written == length;
}

/* Returns the number of lines. */
static uint64_t gap_snapshot(enum log_stream stream, int64_t *since_ms)
{
    mutex_lock(&stream_lock);
    uint64_t lines = gaps[stream].lines;
    *since_ms = gaps[stream].since_ms;
    mutex_unlock(&stream_lock);
    return lines;
}

static void gap_add_line(enum log_stream stream)
{
    int64_t now_ms = clock_monotonic_ms();
    mutex_lock(&stream_lock);
    if (gaps[stream].lines++ == 0)
        gaps[stream].since_ms = now_ms;
    dropped_total++;
    mutex_unlock(&stream_lock);
}

/* Subtracts what was reported: other threads may have dropped more lines meanwhile. */
static void gap_subtract(enum log_stream stream, uint64_t lines)
{
    mutex_lock(&stream_lock);
    gaps[stream].lines -= lines;
    mutex_unlock(&stream_lock);
}

/* With the turn: ends an incomplete line, then reports the gap. False if the stream stalls again.
 */
static bool stream_report_gap(enum log_stream stream, int64_t deadline_ms, log_gap_format *format)
{
    static char line[LOG_STREAM_LINE_BYTES]; /* guarded by the turn; too large for every stack */
    int64_t since_ms;
    uint64_t lines = gap_snapshot(stream, &since_ms);
    if (line_incomplete[stream] && !stream_put(stream, "\n", 1, deadline_ms))
        return false;
    if (lines == 0)
        return true;
    if (!stream_put(stream, line, format(lines, since_ms, line), deadline_ms))
        return false;
    gap_subtract(stream, lines);
    return true;
}

void log_stream_write(
    enum log_stream stream, const char *line, size_t length_bytes, log_gap_format *format)
{
    int64_t since_ms;
    bool stalled = gap_snapshot(stream, &since_ms) > 0;
    int64_t deadline_ms = clock_monotonic_ms() + (stalled ? 0 : LOG_STREAM_WAIT_MS);
    bool written = false;
    if (turn_acquire_writable(stream, deadline_ms)) {
        written = stream_report_gap(stream, deadline_ms, format) &&
                  stream_put(stream, line, length_bytes, deadline_ms);
        turn_release();
    }
    if (!written)
        gap_add_line(stream);
}

void log_stream_write_last(enum log_stream stream, const char *line, size_t length_bytes)
{
    int64_t deadline_ms = clock_monotonic_ms() + LOG_STREAM_WAIT_MS;
    int terminal = stream_open_terminal(descriptors[stream]);
    stream_write_bytes(
        terminal >= 0 ? terminal : descriptors[stream], line, length_bytes, deadline_ms);
}

bool log_stream_flush_gaps(log_gap_format *format)
{
    bool all_reported = true;
    int64_t since_ms;
    for (enum log_stream stream = 0; stream < LOG_STREAMS; stream++) {
        int64_t now_ms = clock_monotonic_ms();
        if (gap_snapshot(stream, &since_ms) == 0)
            continue;
        if (turn_acquire_writable(stream, now_ms)) {
            stream_report_gap(stream, now_ms, format);
            turn_release();
        }
        all_reported = all_reported && gap_snapshot(stream, &since_ms) == 0;
    }
    return all_reported;
}

uint64_t log_stream_dropped(void)
{
    mutex_lock(&stream_lock);
    uint64_t lines = dropped_total;
    mutex_unlock(&stream_lock);
    return lines;
}

static struct mutex fold_lock = MUTEX_INITIALIZER;
/* Both guarded by fold_lock. The first folded_count items are in use, oldest first. */
static struct log_fold_item folded[LOG_FOLD_TEXTS];
static size_t folded_count;

static bool fold_has_expired(const struct log_fold_item *item, int64_t now_ms)
{
    return now_ms - LOG_FOLD_WINDOW_MS >= item->since_ms;
}

/*
 * Convex includes a new request id, in brackets, in the error of each failed function call (see
 * docs/protocol.md, Convex HTTP API). Messages that differ only in it are the same.
 */
static bool fold_is_same_message(const char *one, const char *other)
{
    static const char label[] = "[Request ID: ";
    for (;;) {
        const char *at_one = strstr(one, label);
        const char *at_other = strstr(other, label);
        if (at_one == NULL || at_other == NULL)
            return strcmp(one, other) == 0;
        if (at_one - one != at_other - other || memcmp(one, other, (size_t)(at_one - one)) != 0)
            return false;
        one = at_one + strcspn(at_one, "]");
        other = at_other + strcspn(at_other, "]");
    }
}

/* The index of the message's item, or folded_count. */
static size_t fold_find_locked(enum log_level level, const char *component, const char *message)
{
    mutex_assert_held(&fold_lock);
    size_t i = 0;
    while (i < folded_count &&
           (folded[i].level != level || !fold_is_same_message(folded[i].message, message) ||
               strcmp(folded[i].component, component) != 0))
        i++;
    return i;
}

static void fold_remove_locked(size_t position, struct log_fold_item *removed)
{
    mutex_assert_held(&fold_lock);
    *removed = folded[position];
    folded_count--;
    memmove(&folded[position], &folded[position + 1], (folded_count - position) * sizeof folded[0]);
}

/* The caller has checked that both strings fit and that the table is not full. */
static void fold_add_locked(
    enum log_level level, const char *component, const char *message, int64_t now_ms)
{
    mutex_assert_held(&fold_lock);
    struct log_fold_item *item = &folded[folded_count++];
    item->level = level;
    memcpy(item->component, component, strlen(component) + 1);
    memcpy(item->message, message, strlen(message) + 1);
    item->since_ms = now_ms;
    item->repeats = 0;
}

bool log_fold_admit(enum log_level level, const char *component, const char *message,
    int64_t now_ms, struct log_fold_item *ended)
{
    ended->repeats = 0;
    if (strlen(component) >= LOG_FOLD_COMPONENT_BYTES || strlen(message) >= LOG_FOLD_TEXT_BYTES)
        return true;
    mutex_lock(&fold_lock);
    size_t position = fold_find_locked(level, component, message);
    bool repeats = position < folded_count && !fold_has_expired(&folded[position], now_ms);
    if (repeats) {
        folded[position].repeats++;
    } else {
        if (position < folded_count)
            fold_remove_locked(position, ended);
        else if (folded_count == LOG_FOLD_TEXTS)
            fold_remove_locked(0, ended);
        fold_add_locked(level, component, message, now_ms);
    }
    mutex_unlock(&fold_lock);
    return !repeats;
}

bool log_fold_take(int64_t now_ms, struct log_fold_item *ended)
{
    ended->repeats = 0;
    mutex_lock(&fold_lock);
    while (folded_count > 0 && ended->repeats == 0 &&
           (now_ms == INT64_MAX || fold_has_expired(&folded[0], now_ms)))
        fold_remove_locked(0, ended);
    mutex_unlock(&fold_lock);
    return ended->repeats > 0;
}

int64_t log_fold_due_ms(void)
{
    int64_t due_ms = INT64_MAX;
    mutex_lock(&fold_lock);
    for (size_t i = 0; i < folded_count && due_ms == INT64_MAX; i++)
        if (folded[i].repeats > 0)
            due_ms = folded[i].since_ms + LOG_FOLD_WINDOW_MS;
    mutex_unlock(&fold_lock);
    return due_ms;
}
