/*
 * Sharing of directory syncs: which names a completed sync has made durable. With dir_fd -1 a sync
 * fails, so success proves that none was made.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/io.h"

static void test_one_sync_covers_all_earlier_names(void **state)
{
    (void)state;
    struct dir_sync sync = {.dir_fd = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
    uint64_t first = dir_sync_next(&sync);
    uint64_t second = dir_sync_next(&sync);
    assert_true(dir_sync_ensure(&sync, first));
    uint64_t later = dir_sync_next(&sync);
    close(sync.dir_fd);
    sync.dir_fd = -1;
    assert_true(dir_sync_ensure(&sync, first));
    assert_true(dir_sync_ensure(&sync, second));
    assert_false(dir_sync_ensure(&sync, later));
    assert_int_equal(errno, EBADF);
}

static void test_name_without_number_is_always_synced(void **state)
{
    (void)state;
    struct dir_sync sync = {.dir_fd = -1, .begun = 7, .completed = 7};
    assert_false(dir_sync_ensure(&sync, 0));
}

static void test_sync_in_progress_does_not_cover_the_name(void **state)
{
    (void)state;
    struct dir_sync sync = {.dir_fd = -1, .begun = 1};
    uint64_t number = dir_sync_next(&sync);
    sync.completed = 1; /* the sync in progress completes */
    assert_false(dir_sync_ensure(&sync, number));
}

static void test_failed_sync_covers_no_name(void **state)
{
    (void)state;
    struct dir_sync sync = {.dir_fd = -1};
    uint64_t number = dir_sync_next(&sync);
    assert_false(dir_sync_ensure(&sync, number));
    assert_false(dir_sync_ensure(&sync, number));
    sync.dir_fd = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(dir_sync_ensure(&sync, number));
    close(sync.dir_fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_sync_covers_all_earlier_names),
        cmocka_unit_test(test_name_without_number_is_always_synced),
        cmocka_unit_test(test_sync_in_progress_does_not_cover_the_name),
        cmocka_unit_test(test_failed_sync_covers_no_name),
    };
    return cmocka_run_group_tests_name("dir_sync", tests, NULL, NULL);
}
