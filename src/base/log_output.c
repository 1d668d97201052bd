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
static struct mutex stream_lock = MUTEX_INITIALIZER;
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
    int64_t min_ms = clock_monotonic_ms() + TURN_MS;
    bool waiting = true;
    pthread_once(&cond_is_made, make_cond);
    mutex_lock(&stream_lock);
    while (turn_is_taken && waiting)
        waiting = cond_wait_until(
            &turn_is_over, &stream_lock, deadline_ms > min_ms ? deadline_ms : min_ms);
    bool taken = !turn_is_taken;
    turn_is_taken = true;
    mutex_unlock(&stream_lock);
    return taken;
}

static void give_turn(void)
{
    mutex_lock(&stream_lock);
    turn_is_taken = false;
    cond_signal(&turn_is_over);
    mutex_unlock(&stream_lock);
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
    mutex_lock(&stream_lock);
    struct log_gap gap = gaps[stream];
    mutex_unlock(&stream_lock);
    return gap;
}

static void lose_line(enum log_stream stream)
{
    int64_t now_ms = clock_monotonic_ms();
    mutex_lock(&stream_lock);
    if (gaps[stream].lines++ == 0)
        gaps[stream].since_ms = now_ms;
    mutex_unlock(&stream_lock);
}

/* Others may have lost lines meanwhile. */
static void forget_lines(enum log_stream stream, uint64_t lines)
{
    mutex_lock(&stream_lock);
    gaps[stream].lines -= lines;
    mutex_unlock(&stream_lock);
}

/* With the turn. */
static bool mend(enum log_stream stream, int64_t deadline_ms, log_gap_format *words)
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
    enum log_stream stream, const char *line, size_t length_bytes, log_gap_format *words)
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

bool log_stream_flush_gaps(log_gap_format *words)
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

/* Initialised without a call, as the first line may come before anything else. */
static struct mutex fold_lock = MUTEX_INITIALIZER;
/* Both guarded by lock. The first count items are in use, oldest first. */
static struct log_fold_item folded[LOG_FOLD_TEXTS];
static size_t folded_count;

static bool is_over(const struct log_fold_item *item, int64_t now_ms)
{
    return now_ms - LOG_FOLD_WINDOW_MS >= item->since_ms;
}

/*
 * Convex gives each failed call of a function a number, in brackets: messages that differ in that
 * alone say the same.
 */
static bool says_the_same(const char *one, const char *other)
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

/* The position of the message's item, or count. */
static size_t find_work_locked(enum log_level level, const char *component, const char *message)
{
    mutex_assert_held(&fold_lock);
    size_t i = 0;
    while (i < folded_count &&
           (folded[i].level != level || !says_the_same(folded[i].message, message) ||
               strcmp(folded[i].component, component) != 0))
        i++;
    return i;
}

static void remove_locked(size_t position, struct log_fold_item *removed)
{
    mutex_assert_held(&fold_lock);
    *removed = folded[position];
    folded_count--;
    memmove(&folded[position], &folded[position + 1], (folded_count - position) * sizeof folded[0]);
}

static void add_locked(
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
    size_t position = find_work_locked(level, component, message);
    bool repeats = position < folded_count && !is_over(&folded[position], now_ms);
    if (repeats) {
        folded[position].repeats++;
    } else {
        if (position < folded_count)
            remove_locked(position, ended);
        else if (folded_count == LOG_FOLD_TEXTS)
            remove_locked(0, ended);
        add_locked(level, component, message, now_ms);
    }
    mutex_unlock(&fold_lock);
    return !repeats;
}

bool log_fold_take(int64_t now_ms, struct log_fold_item *ended)
{
    ended->repeats = 0;
    mutex_lock(&fold_lock);
    while (folded_count > 0 && ended->repeats == 0 &&
           (now_ms == INT64_MAX || is_over(&folded[0], now_ms)))
        remove_locked(0, ended);
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
