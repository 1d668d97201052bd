/*
 * Log readers that stall: no thread blocks indefinitely, and dropped lines are counted. Standard
 * output or error is redirected to a pipe, a terminal or a file that takes no more bytes;
 * assertions come after it is restored, since cmocka prints to the same streams.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/log.h"
#include "base/log_output.h"
#include "base/sync.h"
#include "base/text.h"

/* A test that blocks is killed by SIGALRM after MAX_S. */
enum {
    MAX_S = 20,
    LINES = 400,
    PIECE_BYTES = 65536,
    MAX_LINES = 100000,
    THREADS = 4,
    LINES_OF_THREAD = 300
};

/* Redirects a standard stream to fd; returns a copy of the original for restore. */
static int redirect(int stream, int fd)
{
    fflush(NULL);
    int saved = fcntl(stream, F_DUPFD_CLOEXEC, 10);
    assert_true(saved >= 0);
    assert_int_equal(dup2(fd, stream), stream);
    return saved;
}

static void restore(int stream, int saved)
{
    assert_int_equal(dup2(saved, stream), stream);
    close(saved);
}

/*
 * Fails unless text begins with a line that, after its time, begins with words; returns the rest.
 */
static const char *expect_line(const char *text, const char *words)
{
    const char *end = strchr(text, '\n');
    assert_non_null(end);
    assert_true(end - text > (ptrdiff_t)sizeof "2026-01-31T12:00:00.123Z");
    assert_memory_equal(text + sizeof "2026-01-31T12:00:00.123Z", words, strlen(words));
    return end + 1;
}

static bool takes_bytes(int fd)
{
    struct pollfd writable = {.fd = fd, .events = POLLOUT};
    return poll(&writable, 1, 0) == 1;
}

/* Opens a pipe and fills it. */
static void open_full_pipe(int ends[2])
{
    static const char filling[PIPE_BUF] = "";
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    while (takes_bytes(ends[1]))
        assert_true(write(ends[1], filling, sizeof filling) > 0);
}

/* Appends all bytes that can be read without blocking to text; NULs become blanks. */
static void read_available(int fd, struct text *text)
{
    static char bytes[PIECE_BYTES];
    struct pollfd readable = {.fd = fd, .events = POLLIN};
    text_append(text, "");
    while (poll(&readable, 1, 0) == 1) {
        ssize_t got = read(fd, bytes, sizeof bytes);
        if (got <= 0)
            break;
        text_append_bytes(text, bytes, (size_t)got);
    }
    for (size_t i = 0; i < text->length_bytes; i++)
        if (text->data[i] == '\0')
            text->data[i] = ' ';
}

/* The first line waits for the pipe, the others are dropped at once; then the count is logged. */
static void test_full_pipe_does_not_block(void **state)
{
    (void)state;
    int ends[2];
    struct text output = {0};
    open_full_pipe(ends);
    alarm(MAX_S);
    int saved = redirect(STDOUT_FILENO, ends[1]);
    int64_t began_ms = clock_monotonic_ms();
    for (int i = 0; i < LINES; i++)
        log_info("A", "nobody reads %d", i);
    int64_t took_ms = clock_monotonic_ms() - began_ms;
    int64_t again_ms = log_write_repeats();
    read_available(ends[0], &output);
    bool quiet = strstr(output.data, "nobody reads") == NULL;
    text_clear(&output);
    log_info("A", "somebody reads");
    log_info("A", "and goes on");
    read_available(ends[0], &output);
    restore(STDOUT_FILENO, saved);
    alarm(0);
    close(ends[0]);
    close(ends[1]);
    assert_in_range(took_ms, LOG_STREAM_WAIT_MS - 100, 5 * LOG_STREAM_WAIT_MS);
    assert_in_range(again_ms, 0, LOG_STREAM_WAIT_MS);
    assert_true(quiet);
    const char *next = expect_line(output.data, "warn [Log] dropped 400 lines in ");
    next = expect_line(next, "info [A] somebody reads\n");
    next = expect_line(next, "info [A] and goes on\n");
    assert_string_equal(next, "");
    text_fini(&output);
}

/* The count is logged even if no further line follows, here by the flush at exit. */
static void test_dropped_lines_are_reported_at_exit(void **state)
{
    (void)state;
    int ends[2];
    struct text output = {0};
    open_full_pipe(ends);
    alarm(MAX_S);
    int saved = redirect(STDERR_FILENO, ends[1]);
    log_error("A", "nobody reads");
    read_available(ends[0], &output);
    log_flush();
    read_available(ends[0], &output);
    int64_t again_ms = log_write_repeats();
    restore(STDERR_FILENO, saved);
    alarm(0);
    close(ends[0]);
    close(ends[1]);
    assert_non_null(strstr(output.data, " warn [Log] dropped 1 line in "));
    assert_true(again_ms > LOG_STREAM_WAIT_MS);
    text_fini(&output);
}

static int open_terminal(int *master)
{
    *master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (*master < 0) {
        print_message("skipped: no pty available: %s\n", strerror(errno));
        skip();
    }
    assert_true(grantpt(*master) == 0 && unlockpt(*master) == 0);
    int terminal = open(ptsname(*master), O_RDWR | O_NOCTTY | O_CLOEXEC);
    assert_true(terminal >= 0);
    return terminal;
}

/* The terminal's buffer fills up in the middle of a line; the descriptor is in blocking mode. */
static void test_stopped_terminal_does_not_block(void **state)
{
    (void)state;
    int master;
    int lines = 0;
    struct text output = {0};
    int terminal = open_terminal(&master);
    alarm(MAX_S);
    int saved = redirect(STDOUT_FILENO, terminal);
    while (takes_bytes(STDOUT_FILENO) && lines < MAX_LINES)
        log_info("A", "line %d", lines++);
    log_info("A", "lost");
    while (output.data == NULL || strstr(output.data, "info [A] again\r\n") == NULL) {
        read_available(master, &output);
        log_info("A", "again");
    }
    restore(STDOUT_FILENO, saved);
    alarm(0);
    close(terminal);
    close(master);
    assert_in_range(lines, 10, MAX_LINES - 1);
    assert_non_null(strstr(output.data, " warn [Log] dropped "));
    assert_null(strstr(output.data, "lost"));
    text_fini(&output);
}

/* If only part of a line could be written, the next output starts on a new line. */
static void test_partial_line_is_terminated(void **state)
{
    (void)state;
    enum { MAX_BYTES = 40 };
    char bytes[PIECE_BYTES] = "";
    uint64_t dropped_before = log_stream_dropped();
    struct rlimit before;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    const struct rlimit small = {.rlim_cur = MAX_BYTES, .rlim_max = before.rlim_max};
    FILE *file = tmpfile();
    assert_non_null(file);
    signal(SIGXFSZ, SIG_IGN);
    int saved = redirect(STDOUT_FILENO, fileno(file));
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    log_info("A", "does not find room for all of itself");
    log_info("A", "finds none");
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    log_info("A", "again");
    restore(STDOUT_FILENO, saved);
    assert_true(pread(fileno(file), bytes, sizeof bytes - 1, 0) > 0);
    fclose(file);
    assert_int_equal(strcspn(bytes, "\n"), MAX_BYTES);
    const char *next = expect_line(bytes + MAX_BYTES + 1, "warn [Log] dropped 2 lines in ");
    next = expect_line(next, "info [A] again\n");
    assert_string_equal(next, "");
    assert_int_equal(log_stream_dropped() - dropped_before, 2);
}

static void *log_many(void *argument)
{
    for (int i = 0; i < LINES_OF_THREAD; i++)
        log_info("A", "%s %d", (const char *)argument, i);
    return NULL;
}

/* No thread blocks, and each line is either written or counted as dropped. */
static void test_threads_at_a_full_pipe_do_not_block(void **state)
{
    (void)state;
    int ends[2];
    pthread_t threads[THREADS];
    char words[1501];
    struct text output = {0};
    memset(words, 'x', sizeof words - 1);
    words[sizeof words - 1] = '\0';
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    alarm(MAX_S);
    int saved = redirect(STDOUT_FILENO, ends[1]);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(thread_start(&threads[i], "many", log_many, words, NULL), 0);
    for (int i = 0; i < THREADS; i++)
        thread_join(threads[i]);
    read_available(ends[0], &output);
    log_flush();
    restore(STDOUT_FILENO, saved);
    alarm(0);
    size_t lines = 0;
    for (const char *at = output.data; (at = strchr(at, '\n')) != NULL; at++)
        lines++;
    read_available(ends[0], &output);
    close(ends[0]);
    close(ends[1]);
    const char *said = strstr(output.data, "dropped ");
    assert_non_null(said);
    assert_int_equal(strtoul(said + 8, NULL, 10) + lines, THREADS * LINES_OF_THREAD);
    text_fini(&output);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_full_pipe_does_not_block),
        cmocka_unit_test(test_dropped_lines_are_reported_at_exit),
        cmocka_unit_test(test_stopped_terminal_does_not_block),
        cmocka_unit_test(test_partial_line_is_terminated),
        cmocka_unit_test(test_threads_at_a_full_pipe_do_not_block),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
