/* Waiting for descriptors: readiness and deadlines end a wait, signals do not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/io.h"
#include "base/sync.h"

enum { TIMEOUT_MS = 20000, SHORT_MS = 30, SIGNALS = 5 };

/* An eventfd that the handler makes readable at the last of SIGNALS. */
static int alarm_fd;
static volatile sig_atomic_t alarms;

static void on_alarm(int signal)
{
    (void)signal;
    if (++alarms == SIGNALS)
        eventfd_write(alarm_fd, 1);
}

/* Delivers SIGALRM every interval_ms; 0 stops it. */
static void signal_every(int interval_ms)
{
    struct timeval interval = {.tv_usec = (suseconds_t)interval_ms * 1000};
    struct itimerval timer = {.it_interval = interval, .it_value = interval};
    struct sigaction action = {.sa_handler = on_alarm};
    alarms = 0;
    assert_int_equal(sigaction(SIGALRM, &action, NULL), 0);
    assert_int_equal(setitimer(ITIMER_REAL, &timer, NULL), 0);
}

static int open_event(unsigned value)
{
    int fd = eventfd(value, EFD_CLOEXEC | EFD_NONBLOCK);
    assert_true(fd >= 0);
    return fd;
}

static void test_ready_descriptor_ends_the_wait(void **state)
{
    (void)state;
    int silent_fd = open_event(0);
    int ready_fd = open_event(1);
    const int64_t deadlines_ms[] = {
        0, clock_monotonic_ms() + TIMEOUT_MS, SYNC_NO_DEADLINE - 1, SYNC_NO_DEADLINE};
    for (size_t i = 0; i < sizeof deadlines_ms / sizeof deadlines_ms[0]; i++) {
        struct pollfd fds[] = {
            {.fd = silent_fd, .events = POLLIN},
            {.fd = -1, .events = POLLIN, .revents = POLLIN},
            {.fd = ready_fd, .events = POLLIN},
        };
        assert_int_equal(fd_wait(fds, 3, deadlines_ms[i]), 1);
        assert_int_equal(fds[0].revents, 0);
        assert_int_equal(fds[1].revents, 0);
        assert_int_equal(fds[2].revents, POLLIN);
    }
    close(ready_fd);
    close(silent_fd);
}

static void test_deadline_ends_the_wait(void **state)
{
    (void)state;
    int silent_fd = open_event(0);
    struct pollfd fd = {.fd = silent_fd, .events = POLLIN, .revents = POLLIN};
    int64_t deadline_ms = clock_monotonic_ms() + SHORT_MS;
    assert_int_equal(fd_wait(&fd, 1, deadline_ms), 0);
    assert_true(clock_monotonic_ms() >= deadline_ms);
    assert_int_equal(fd.revents, 0);
    /* The deadline is in the past now. */
    assert_int_equal(fd_wait(&fd, 1, deadline_ms), 0);
    assert_int_equal(fd_wait(NULL, 0, deadline_ms), 0);
    close(silent_fd);
}

static void test_signals_do_not_end_the_wait(void **state)
{
    (void)state;
    alarm_fd = open_event(0);
    struct pollfd fd = {.fd = alarm_fd, .events = POLLIN};
    signal_every(1);
    assert_int_equal(fd_wait(&fd, 1, SYNC_NO_DEADLINE), 1);
    assert_true(alarms >= SIGNALS);
    signal_every(1);
    int64_t deadline_ms = clock_monotonic_ms() + SHORT_MS;
    assert_int_equal(fd_wait(NULL, 0, deadline_ms), 0);
    assert_true(clock_monotonic_ms() >= deadline_ms);
    signal_every(0);
    close(alarm_fd);
}

static void test_wait_readable(void **state)
{
    (void)state;
    int fd = open_event(0);
    assert_false(fd_wait_readable(fd, 0));
    assert_false(fd_wait_readable(fd, 1));
    eventfd_write(fd, 1);
    assert_true(fd_wait_readable(fd, 0));
    assert_true(fd_wait_readable(fd, TIMEOUT_MS));
    close(fd);
    int64_t began_ms = clock_monotonic_ms();
    assert_false(fd_wait_readable(-1, SHORT_MS));
    assert_true(clock_monotonic_ms() >= began_ms + SHORT_MS);
}

static void test_end_of_file_is_readable(void **state)
{
    (void)state;
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    assert_false(fd_wait_readable(ends[0], 0));
    close(ends[1]);
    assert_true(fd_wait_readable(ends[0], TIMEOUT_MS));
    close(ends[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ready_descriptor_ends_the_wait),
        cmocka_unit_test(test_deadline_ends_the_wait),
        cmocka_unit_test(test_signals_do_not_end_the_wait),
        cmocka_unit_test(test_wait_readable),
        cmocka_unit_test(test_end_of_file_is_readable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
