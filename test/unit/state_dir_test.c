/*
 * The state directory and its lock, which excludes a second runtime. flock(2) belongs to the open
 * file description, so one process can hold the lock and contend for it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../lib/tmp_dir.h"
#include "spool/spool.h"

enum { PATH_BYTES = TMP_DIR_BYTES + 16 };

struct fixture {
    char base[TMP_DIR_BYTES];
    char path[PATH_BYTES]; /* base/a/b, which does not exist yet */
    struct error error;
};

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    assert_non_null(fixture);
    tmp_dir_create(fixture->base);
    snprintf(fixture->path, sizeof fixture->path, "%s/a/b", fixture->base);
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    tmp_dir_remove(fixture->base);
    free(fixture);
    return 0;
}

static mode_t mode_of(const char *path)
{
    struct stat status;
    assert_int_equal(stat(path, &status), 0);
    return status.st_mode & 0777;
}

static void test_dir_is_created_private(void **state)
{
    struct fixture *fixture = *state;
    struct state_dir dir;
    mode_t mask = umask(0);
    assert_int_equal(state_dir_open(&dir, fixture->path, &fixture->error), 0);
    umask(mask);
    assert_int_equal(mode_of(fixture->path), 0700);
    char other[2 * PATH_BYTES];
    snprintf(other, sizeof other, "%s/a", fixture->base);
    assert_int_equal(mode_of(other), 0700);
    snprintf(other, sizeof other, "%s/lock", fixture->path);
    assert_int_equal(mode_of(other), 0600);
    assert_true((fcntl(dir.lock_fd, F_GETFD) & FD_CLOEXEC) != 0);
    state_dir_close(&dir);
    assert_int_equal(dir.lock_fd, -1);
    state_dir_close(&dir);
}

static void test_second_runtime_gets_the_holders_pid(void **state)
{
    struct fixture *fixture = *state;
    struct state_dir first;
    struct state_dir second;
    char process[64];
    snprintf(process, sizeof process, "process %ld)", (long)getpid());
    assert_int_equal(state_dir_open(&first, fixture->path, &fixture->error), 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(state_dir_open(&second, fixture->path, &fixture->error), ERROR_LOCKED);
        assert_int_equal(second.lock_fd, -1);
        assert_non_null(strstr(fixture->error.text, process));
        assert_non_null(strstr(fixture->error.text, fixture->path));
        state_dir_close(&second);
    }
    state_dir_close(&first);
    assert_int_equal(state_dir_open(&second, fixture->path, &fixture->error), 0);
    state_dir_close(&second);
}

static void test_holder_is_reported(void **state)
{
    struct fixture *fixture = *state;
    struct state_dir dir;
    char holder[32];
    char process[32];
    assert_false(state_dir_is_held(fixture->path, holder, sizeof holder));
    assert_int_equal(access(fixture->path, F_OK), -1);
    assert_int_equal(state_dir_open(&dir, fixture->path, &fixture->error), 0);
    assert_true(state_dir_is_held(fixture->path, holder, sizeof holder));
    snprintf(process, sizeof process, "%ld", (long)getpid());
    assert_string_equal(holder, process);
    state_dir_close(&dir);
    assert_false(state_dir_is_held(fixture->path, holder, sizeof holder));
    assert_string_equal(holder, "");
    assert_int_equal(state_dir_open(&dir, fixture->path, &fixture->error), 0);
    state_dir_close(&dir);
}

/* A killed runtime leaves no lock. */
static void test_lock_ends_with_its_process(void **state)
{
    struct fixture *fixture = *state;
    struct state_dir dir;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0)
        _exit(state_dir_open(&dir, fixture->path, &fixture->error) == 0 ? 0 : 1);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(state_dir_open(&dir, fixture->path, &fixture->error), 0);
    state_dir_close(&dir);
}

static void test_unusable_paths_are_refused(void **state)
{
    struct fixture *fixture = *state;
    struct state_dir dir;
    char path[2 * PATH_BYTES];
    snprintf(path, sizeof path, "%s/file", fixture->base);
    int file = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    assert_true(file >= 0);
    close(file);
    assert_int_equal(state_dir_open(&dir, path, &fixture->error), ERROR_INVALID);
    assert_non_null(strstr(fixture->error.text, "not a directory"));
    snprintf(path, sizeof path, "%s/file/below", fixture->base);
    assert_int_equal(state_dir_open(&dir, path, &fixture->error), ERROR_INVALID);
    assert_non_null(strstr(fixture->error.text, path));
    assert_int_equal(dir.lock_fd, -1);
    static char max[PATH_MAX + 2];
    memset(max, 'x', sizeof max - 1);
    max[0] = '/';
    assert_int_equal(state_dir_open(&dir, max, &fixture->error), ERROR_INVALID);
}

/* Following a symlink could truncate a file elsewhere. */
static void test_lock_that_is_a_link_is_refused(void **state)
{
    struct fixture *fixture = *state;
    struct state_dir dir;
    char target[2 * PATH_BYTES];
    char link[2 * PATH_BYTES];
    snprintf(target, sizeof target, "%s/precious", fixture->base);
    int file = open(target, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    assert_int_equal(write(file, "x", 1), 1);
    close(file);
    snprintf(link, sizeof link, "%s/lock", fixture->base);
    assert_int_equal(symlink(target, link), 0);
    assert_int_equal(state_dir_open(&dir, fixture->base, &fixture->error), ERROR_INVALID);
    struct stat status;
    assert_int_equal(stat(target, &status), 0);
    assert_int_equal(status.st_size, 1);
}

static void test_exposed_dir_is_told(void **state)
{
    struct fixture *fixture = *state;
    assert_null(state_dir_find_fault(fixture->path));
    assert_int_equal(chmod(fixture->base, 0750), 0);
    assert_null(state_dir_find_fault(fixture->base));
    assert_int_equal(chmod(fixture->base, 0770), 0);
    assert_non_null(strstr(state_dir_find_fault(fixture->base), "can be written to by other"));
    assert_int_equal(chmod(fixture->base, 0700), 0);
    if (geteuid() != 0)
        skip();
    assert_int_equal(chown(fixture->base, 65534, 65534), 0);
    assert_non_null(strstr(state_dir_find_fault(fixture->base), "belongs to another user"));
}

struct lock_poller {
    const char *path;
    atomic_int polls;
    atomic_bool done;
};

static void *poll_lock(void *context)
{
    struct lock_poller *lock_poller = context;
    char holder[32];
    while (!atomic_load(&lock_poller->done)) {
        state_dir_is_held(lock_poller->path, holder, sizeof holder);
        atomic_fetch_add(&lock_poller->polls, 1);
    }
    return NULL;
}

static void test_lock_queries_do_not_block_a_start(void **state)
{
    struct fixture *fixture = *state;
    struct lock_poller lock_poller = {.path = fixture->path};
    struct state_dir dir;
    pthread_t thread;
    int refused = 0;
    assert_int_equal(state_dir_open(&dir, fixture->path, &fixture->error), 0);
    state_dir_close(&dir);
    assert_int_equal(pthread_create(&thread, NULL, poll_lock, &lock_poller), 0);
    while (atomic_load(&lock_poller.polls) < 50000 && refused == 0) {
        refused += state_dir_open(&dir, fixture->path, &fixture->error) != 0;
        state_dir_close(&dir);
    }
    atomic_store(&lock_poller.done, true);
    pthread_join(thread, NULL);
    assert_int_equal(refused, 0);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_dir_is_created_private),
        TEST(test_second_runtime_gets_the_holders_pid),
        TEST(test_holder_is_reported),
        TEST(test_lock_queries_do_not_block_a_start),
        TEST(test_lock_ends_with_its_process),
        TEST(test_unusable_paths_are_refused),
        TEST(test_lock_that_is_a_link_is_refused),
        TEST(test_exposed_dir_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
