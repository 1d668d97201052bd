#include "base/log_stream.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd_wait.h"
#include "base/sync.h"

/*
 * A pipe that is ready takes so much without blocking, if nobody is faster. Hence the turn: of our
 * threads only one at a time looks and writes. Both streams have it in common, as they may be the
 * same pipe.
 */
_Static_assert((int)LOG_STREAM_LINE_BYTES <= PIPE_BUF, "one write(2) call a line");

/* Nobody keeps the turn for longer, unless a stream takes half a line, or another process fills it.
 */
enum { TURN_MS = 100 };

static const int descriptors[LOG_STREAMS] = {
    [LOG_STREAM_OUT] = STDOUT_FILENO, [LOG_STREAM_ERR] = STDERR_FILENO};

/* Guards gaps and turn_is_taken. Initialised without a call, as the log is. */
static struct mutex lock = MUTEX_INITIALIZER;
static struct log_gap gaps[LOG_STREAMS];
static bool turn_is_taken;
static struct cond turn_is_over;
static pthread_once_t cond_is_made = PTHREAD_ONCE_INIT;

/* Of whoever has the turn: the last line was written in part. */
static bool is_cut[LOG_STREAMS];

static void make_cond(void)
{
    cond_init(&turn_is_over);
}

static bool take_turn(int64_t deadline_ms)
{
    int64_t least_ms = clock_monotonic_ms() + TURN_MS;
    bool waiting = true;
    pthread_once(&cond_is_made, make_cond);
    mutex_lock(&lock);
    while (turn_is_taken && waiting)
        waiting =
            cond_wait_until(&turn_is_over, &lock, deadline_ms > least_ms ? deadline_ms : least_ms);
    bool taken = !turn_is_taken;
    turn_is_taken = true;
    mutex_unlock(&lock);
    return taken;
}

static void give_turn(void)
{
    mutex_lock(&lock);
    turn_is_taken = false;
    cond_signal(&turn_is_over);
    mutex_unlock(&lock);
}

static bool takes_bytes(int fd, int64_t deadline_ms)
{
    struct pollfd writable = {.fd = fd, .events = POLLOUT};
    return fd_wait(&writable, 1, deadline_ms) > 0;
}

/* Waits for a stream that takes bytes without having the turn, so that the other one can go on. */
static bool take_turn_when_ready(enum log_stream stream, int64_t deadline_ms)
{
    int fd = descriptors[stream];
    while (takes_bytes(fd, deadline_ms) && take_turn(deadline_ms)) {
        if (takes_bytes(fd, 0))
            return true;
        give_turn();
    }
    return false;
}

/* Whether what was not written may be tried again. */
static bool may_pass(int64_t deadline_ms)
{
    enum { PAUSE_MS = 10 };
    if (errno != EAGAIN)
        return errno == EINTR;
    /* Ready, but not for the two bytes that a terminal makes of a line end: that would go on. */
    poll(NULL, 0, PAUSE_MS);
    return clock_monotonic_ms() < deadline_ms;
}

/* Returns how much was written. */
static size_t put_bytes(int fd, const char *bytes, size_t length, int64_t deadline_ms)
{
    size_t written = 0;
    while (written < length && takes_bytes(fd, deadline_ms)) {
        ssize_t taken = write(fd, bytes + written, length - written);
        if (taken > 0)
            written += (size_t)taken;
        else if (taken == 0 || !may_pass(deadline_ms))
            break;
    }
    return written;
}

/*
 * A terminal is ready for a part of a line, too, and blocks for the rest. Not to block is a thing
 * of the open file, which others may have in common with us; so this is one of our own. -1: fd is
 * no terminal, or cannot be opened.
 */
static int open_terminal(int fd)
{
    char path[32];
    if (!isatty(fd))
        return -1;
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    return open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
}

/* With the turn. */
static bool put(enum log_stream stream, const char *bytes, size_t length, int64_t deadline_ms)
{
    int terminal = open_terminal(descriptors[stream]);
    size_t written =
        put_bytes(terminal >= 0 ? terminal : descriptors[stream], bytes, length, deadline_ms);
    if (terminal >= 0)
        close(terminal);
    if (written > 0)
        is_cut[stream] = written < length;
    return written == length;
}

static struct log_gap gap_of(enum log_stream stream)
{
    mutex_lock(&lock);
    struct log_gap gap = gaps[stream];
    mutex_unlock(&lock);
    return gap;
}

static void lose_line(enum log_stream stream)
{
    int64_t now_ms = clock_monotonic_ms();
    mutex_lock(&lock);
    if (gaps[stream].lines++ == 0)
        gaps[stream].since_ms = now_ms;
    mutex_unlock(&lock);
}

/* Others may have lost lines meanwhile. */
static void forget_lines(enum log_stream stream, uint64_t lines)
{
    mutex_lock(&lock);
    gaps[stream].lines -= lines;
    mutex_unlock(&lock);
}

/* With the turn. */
static bool mend(enum log_stream stream, int64_t deadline_ms, log_gap_words *words)
{
    static char line[LOG_STREAM_LINE_BYTES]; /* of whoever has the turn, and on nobody's stack */
    struct log_gap gap = gap_of(stream);
    if (is_cut[stream] && !put(stream, "\n", 1, deadline_ms))
        return false;
    if (gap.lines == 0)
        return true;
    if (!put(stream, line, words(&gap, line), deadline_ms))
        return false;
    forget_lines(stream, gap.lines);
    return true;
}

void log_stream_write(
    enum log_stream stream, const char *line, size_t length_bytes, log_gap_words *words)
{
    bool stalled = gap_of(stream).lines > 0;
    int64_t deadline_ms = clock_monotonic_ms() + (stalled ? 0 : LOG_STREAM_WAIT_MS);
    bool written = false;
    if (take_turn_when_ready(stream, deadline_ms)) {
        written = mend(stream, deadline_ms, words) && put(stream, line, length_bytes, deadline_ms);
        give_turn();
    }
    if (!written)
        lose_line(stream);
}

bool log_stream_mend(log_gap_words *words)
{
    bool mended = true;
    for (enum log_stream stream = 0; stream < LOG_STREAMS; stream++) {
        int64_t now_ms = clock_monotonic_ms();
        if (gap_of(stream).lines == 0)
            continue;
        if (take_turn_when_ready(stream, now_ms)) {
            mend(stream, now_ms, words);
            give_turn();
        }
        mended = mended && gap_of(stream).lines == 0;
    }
    return mended;
}
