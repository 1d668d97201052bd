/* Parsing of /proc/PID/stat, memory figures, and detection of running process groups. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/process.h"
#include "base/sync.h"

enum { TIMEOUT_MS = 20000 };

static void test_stat_line_is_parsed(void **state)
{
    (void)state;
    static const char *const names[] = {"(sh)", "(a b)", "(x) R 1 2 3)", "()", "(\xff \n)"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char line[256];
        struct process_stat stat;
        snprintf(line, sizeof line,
            "77 %s S 1 66 55 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 44 0 123456789012 2199023255552 33 "
            "18446744073709551615\n",
            names[i]);
        assert_true(process_stat_parse(line, &stat));
        assert_int_equal(stat.state, 'S');
        assert_int_equal(stat.group, 66);
        assert_int_equal(stat.session, 55);
        assert_int_equal(stat.threads, 44);
        assert_int_equal(stat.start_ticks, 123456789012);
        assert_int_equal(stat.virtual_bytes, 2199023255552);
        assert_int_equal(stat.resident_bytes, 33 * sysconf(_SC_PAGESIZE));
    }
}

static void test_incomplete_lines_are_refused(void **state)
{
    (void)state;
    static const char *const wrong[] = {"", "77", "77 (sh", "77 (sh)", "77 (sh) ", "77 (sh) S",
        "77 (sh) S 1 2 3", "77 (sh) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18",
        "77 (sh) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20",
        "77 (sh) S 1 x 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21",
        "77 (sh) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 x"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct process_stat stat;
        assert_false(process_stat_parse(wrong[i], &stat));
    }
}

static void test_own_process_and_group_are_running(void **state)
{
    (void)state;
    struct process_stat stat;
    assert_int_equal(process_stat_read(getpid(), &stat), PROCESS_RUNNING);
    assert_int_equal(stat.group, getpgrp());
    assert_int_equal(stat.session, getsid(0));
    assert_true(stat.start_ticks > 0);
    assert_int_equal(process_group_find(getpgrp(), PROCESS_ANY_SESSION), PROCESS_RUNNING);
    assert_int_equal(process_group_find(getpgrp(), getsid(0)), PROCESS_RUNNING);
    assert_int_equal(process_group_find(getpgrp(), getsid(0) + 1), PROCESS_GONE);
    assert_int_equal(process_stat_read(INT32_MAX, &stat), PROCESS_GONE);
    assert_int_equal(process_group_find(INT32_MAX, PROCESS_ANY_SESSION), PROCESS_GONE);
}

/* The kernel batches the counters per CPU, so some pages may be missing. */
static void test_memory_figures_grow_with_allocations(void **state)
{
    (void)state;
    enum { TAKEN_BYTES = 64 * 1024 * 1024, MIN_SEEN_BYTES = TAKEN_BYTES / 2 };
    struct process_stat before, after;
    int64_t before_bytes = process_resident_bytes(getpid());
    assert_true(before_bytes > 0);
    assert_int_equal(process_stat_read(getpid(), &before), PROCESS_RUNNING);
    assert_true(before.threads >= 1);
    void *memory = malloc(TAKEN_BYTES);
    assert_non_null(memory);
    explicit_bzero(memory, TAKEN_BYTES); /* touches every page and is not optimized away */
    int64_t after_bytes = process_resident_bytes(getpid());
    assert_int_equal(process_stat_read(getpid(), &after), PROCESS_RUNNING);
    free(memory);
    assert_true(after_bytes >= before_bytes + MIN_SEEN_BYTES);
    assert_true(after.resident_bytes >= before.resident_bytes + MIN_SEEN_BYTES);
    assert_true(after.virtual_bytes >= before.virtual_bytes + TAKEN_BYTES);
    assert_int_equal(process_resident_bytes(INT32_MAX), 0);
}

/* Polls until no process of the group runs; its leader is not reaped yet. */
static void wait_until_gone(pid_t group)
{
    int64_t deadline_ms = clock_monotonic_ms() + TIMEOUT_MS;
    while (process_group_find(group, PROCESS_ANY_SESSION) != PROCESS_GONE)
        assert_true(clock_monotonic_ms() < deadline_ms);
}

static void test_group_is_running_after_its_leader_exits(void **state)
{
    (void)state;
    static const char *const argv[] = {"sh", "-c", "sleep 60 & exit 3", NULL};
    struct child child;
    struct child_exit ended;
    /* Orphans are reparented to us, as they are to process 1 in a container. */
    assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
    assert_int_equal(child_start(&child, argv, CHILD_STDERR_DROPPED, NULL), 0);
    assert_int_equal(child_wait(&child, clock_monotonic_ms() + TIMEOUT_MS, -1), 0);
    assert_int_equal(process_group_find(child.pid, PROCESS_ANY_SESSION), PROCESS_RUNNING);
    child_signal_group(&child, SIGKILL);
    wait_until_gone(child.pid);
    child_fini(&child, &ended);
    assert_int_equal(ended.code, 3);
    /* The orphan has been reaped as well. */
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
    assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 0), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stat_line_is_parsed),
        cmocka_unit_test(test_incomplete_lines_are_refused),
        cmocka_unit_test(test_own_process_and_group_are_running),
        cmocka_unit_test(test_memory_figures_grow_with_allocations),
        cmocka_unit_test(test_group_is_running_after_its_leader_exits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
