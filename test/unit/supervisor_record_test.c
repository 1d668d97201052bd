/*
 * The record of the gateway child: saving, loading, and ending only the process that it names.
 * Real process groups stand in for a leftover gateway: sleeping shells in groups of their own.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../lib/test_file.h"
#include "../lib/tmp_dir.h"
#include "base/process.h"
#include "base/sync.h"
#include "gateway/supervisor_record.h"

enum { TIMEOUT_MS = 20000, NO_STOP = -1 };

struct fixture {
    char dir[TMP_DIR_BYTES];
    char path[TMP_DIR_BYTES + 16];
    struct child_record record;
    struct child child;
};

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    assert_non_null(fixture);
    tmp_dir_create(fixture->dir);
    snprintf(fixture->path, sizeof fixture->path, "%s/gateway.pid", fixture->dir);
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    if (fixture->child.pid != 0)
        child_fini(&fixture->child, NULL);
    child_record_remove(fixture->dir);
    int result = rmdir(fixture->dir); /* fails unless it is empty */
    tmp_dir_remove(fixture->dir);
    free(fixture);
    return result;
}

/* Starts script as the fixture's child, makes its record and waits for its first output. */
static void start_child(struct fixture *fixture, const char *script)
{
    const char *const argv[] = {"sh", "-c", script, NULL};
    char word[16];
    assert_int_equal(child_start(&fixture->child, argv, CHILD_STDERR_DROPPED, NULL), 0);
    assert_int_equal(child_record_make(&fixture->record, fixture->child.pid, NULL), 0);
    /* The script prints a word once its traps are set. */
    int64_t deadline_ms = clock_monotonic_ms() + TIMEOUT_MS;
    while (read(fixture->child.output_fd, word, sizeof word) <= 0)
        assert_true(clock_monotonic_ms() < deadline_ms);
}

static bool has_ended(struct fixture *fixture)
{
    return child_wait(&fixture->child, 0, -1) == 0;
}

static void test_saved_record_is_loaded(void **state)
{
    struct fixture *fixture = *state;
    struct child_record loaded;
    struct stat status;
    assert_int_equal(child_record_load(fixture->dir, &loaded, NULL), ERROR_CLOSED);
    assert_int_equal(child_record_make(&fixture->record, getpid(), NULL), 0);
    assert_int_equal(child_record_save(fixture->dir, &fixture->record, NULL), 0);
    assert_int_equal(child_record_load(fixture->dir, &loaded, NULL), 0);
    assert_int_equal(loaded.pid, getpid());
    assert_int_equal(loaded.session, getsid(0));
    assert_int_equal(loaded.start_ticks, fixture->record.start_ticks);
    assert_string_equal(loaded.boot_id, fixture->record.boot_id);
    assert_int_equal(strlen(loaded.boot_id), 36);
    assert_int_equal(stat(fixture->path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
    child_record_remove(fixture->dir);
    assert_int_equal(child_record_load(fixture->dir, &loaded, NULL), ERROR_CLOSED);
}

#define RECORD(pid, ticks, session) \
    "{\"pid\":" pid ",\"startTicks\":" ticks ",\"session\":" session ",\"bootId\":\"b\"}"

#define LONG_BOOT_ID                                         \
    "{\"pid\":77,\"startTicks\":5,\"session\":5,\"bootId\":" \
    "\"0123456789012345678901234567890123456789012345678901234567890123456789\"}"

static void test_corrupt_records_are_refused(void **state)
{
    struct fixture *fixture = *state;
    static const char *const corrupt[] = {"", "\n", "123", "{", "[]", "{}", "null",
        RECORD("1", "5", "5"), RECORD("0", "5", "5"), RECORD("-5", "5", "5"),
        RECORD("4294967297", "5", "5"), RECORD("\"77\"", "5", "5"), RECORD("77", "-5", "5"),
        RECORD("77", "1e30", "5"), RECORD("77", "5", "-1"), RECORD("77", "null", "5"),
        "{\"pid\":77,\"startTicks\":5,\"session\":5}", LONG_BOOT_ID};
    struct child_record loaded;
    struct error error;
    for (size_t i = 0; i < sizeof corrupt / sizeof corrupt[0]; i++) {
        test_file_write(fixture->path, corrupt[i]);
        assert_int_equal(child_record_load(fixture->dir, &loaded, &error), ERROR_INVALID);
        assert_non_null(strstr(error.text, fixture->path));
    }
    test_file_write(fixture->path, RECORD("77", "5", "5"));
    assert_int_equal(child_record_load(fixture->dir, &loaded, &error), 0);
    assert_int_equal(loaded.pid, 77);
}

static void test_failed_save_names_the_directory(void **state)
{
    struct fixture *fixture = *state;
    struct error error;
    assert_int_equal(child_record_make(&fixture->record, getpid(), NULL), 0);
    assert_int_equal(child_record_save("/nowhere", &fixture->record, &error), ERROR_SYSTEM);
    assert_non_null(strstr(error.text, "/nowhere"));
}

static void test_leftover_and_its_group_are_ended(void **state)
{
    struct fixture *fixture = *state;
    start_child(fixture, "sleep 60 & echo ready; wait");
    assert_int_equal(child_record_check(&fixture->record), PROCESS_RUNNING);
    assert_true(child_record_end(&fixture->record, TIMEOUT_MS, NO_STOP));
    assert_int_equal(child_record_check(&fixture->record), PROCESS_GONE);
    assert_true(has_ended(fixture));
}

static void test_leftover_that_ignores_sigterm_is_killed(void **state)
{
    struct fixture *fixture = *state;
    struct child_exit ended;
    start_child(fixture, "trap '' TERM; echo ready; while :; do sleep 60; done");
    assert_true(child_record_end(&fixture->record, 50, NO_STOP));
    assert_true(has_ended(fixture));
    child_fini(&fixture->child, &ended);
    fixture->child.pid = 0;
    assert_int_equal(ended.signal, SIGKILL);
}

/* Shutdown neither waits for the leftover process nor kills it. */
static void test_shutdown_ends_the_wait(void **state)
{
    struct fixture *fixture = *state;
    int stop[2];
    start_child(fixture, "trap '' TERM; echo ready; while :; do sleep 60; done");
    assert_int_equal(pipe(stop), 0);
    assert_int_equal(write(stop[1], "", 1), 1);
    int64_t began_ms = clock_monotonic_ms();
    assert_false(child_record_end(&fixture->record, TIMEOUT_MS, stop[0]));
    assert_true(clock_monotonic_ms() - began_ms < TIMEOUT_MS);
    assert_int_equal(child_record_check(&fixture->record), PROCESS_RUNNING);
    close(stop[0]);
    close(stop[1]);
}

/* The leader has been reaped, as it has when a later runtime looks. */
static void test_group_without_leader_is_found(void **state)
{
    struct fixture *fixture = *state;
    start_child(fixture, "(trap '' HUP; exec sleep 60) & echo ready; exec sleep 60");
    struct child_record other = fixture->record;
    other.session++;
    pid_t group = fixture->child.pid;
    kill(group, SIGKILL);
    assert_int_equal(child_wait(&fixture->child, clock_monotonic_ms() + TIMEOUT_MS, -1), 0);
    /* Unlike child_fini, this reaps without killing the group. */
    assert_int_equal(waitpid(group, NULL, 0), group);
    close(fixture->child.pid_fd);
    close(fixture->child.output_fd);
    fixture->child.pid = 0;
    assert_int_equal(child_record_check(&other), PROCESS_GONE);
    assert_int_equal(child_record_check(&fixture->record), PROCESS_RUNNING);
    assert_true(child_record_end(&fixture->record, TIMEOUT_MS, NO_STOP));
    assert_int_equal(process_group_find(group, PROCESS_ANY_SESSION), PROCESS_GONE);
}

static void test_recycled_pid_is_left_alone(void **state)
{
    struct fixture *fixture = *state;
    start_child(fixture, "echo ready; exec sleep 60");
    struct child_record recycled = fixture->record;
    struct child_record before_restart = fixture->record;
    recycled.start_ticks--;
    before_restart.boot_id[0] ^= 1;
    assert_int_equal(child_record_check(&recycled), PROCESS_GONE);
    assert_int_equal(child_record_check(&before_restart), PROCESS_GONE);
    assert_true(child_record_end(&recycled, TIMEOUT_MS, NO_STOP));
    assert_true(child_record_end(&before_restart, TIMEOUT_MS, NO_STOP));
    assert_int_equal(child_record_check(&fixture->record), PROCESS_RUNNING);
    assert_int_equal(child_wait(&fixture->child, clock_monotonic_ms() + 100, -1), ERROR_TIMEOUT);
}

/* The number that the next opened descriptor would get. */
static rlim_t lowest_free_fd(void)
{
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    rlim_t number = (rlim_t)fd;
    close(fd);
    return number;
}

/*
 * Disallowing it simulates a process that has used up its descriptors; the open ones keep working.
 */
static void set_opening_allowed(bool allowed)
{
    static struct rlimit before;
    if (!allowed)
        assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    const struct rlimit limit = {
        .rlim_cur = allowed ? before.rlim_cur : lowest_free_fd(), .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

static void test_unknown_presence_is_not_absence(void **state)
{
    struct fixture *fixture = *state;
    struct child_record loaded;
    struct process_stat stat;
    start_child(fixture, "echo ready; exec sleep 60");
    assert_int_equal(child_record_save(fixture->dir, &fixture->record, NULL), 0);
    set_opening_allowed(false);
    enum process_presence leader = process_stat_read(fixture->record.pid, &stat);
    enum process_presence group = process_group_find(fixture->record.pid, PROCESS_ANY_SESSION);
    enum process_presence whole = child_record_check(&fixture->record);
    bool ended = child_record_end(&fixture->record, 0, NO_STOP);
    int result = child_record_load(fixture->dir, &loaded, NULL);
    set_opening_allowed(true);
    assert_int_equal(leader, PROCESS_UNKNOWN);
    assert_int_equal(group, PROCESS_UNKNOWN);
    assert_int_equal(whole, PROCESS_UNKNOWN);
    assert_false(ended);
    assert_int_equal(result, ERROR_SYSTEM);
    /* The process was not signalled. */
    assert_int_equal(child_record_check(&fixture->record), PROCESS_RUNNING);
}

int main(void)
{
#define WITH_DIR(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        WITH_DIR(test_saved_record_is_loaded),
        WITH_DIR(test_corrupt_records_are_refused),
        WITH_DIR(test_unknown_presence_is_not_absence),
        WITH_DIR(test_failed_save_names_the_directory),
        WITH_DIR(test_leftover_and_its_group_are_ended),
        WITH_DIR(test_leftover_that_ignores_sigterm_is_killed),
        WITH_DIR(test_shutdown_ends_the_wait),
        WITH_DIR(test_group_without_leader_is_found),
        WITH_DIR(test_recycled_pid_is_left_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
