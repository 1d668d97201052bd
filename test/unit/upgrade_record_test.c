/* What is remembered of an upgrade across a restart, and files that are replaced whole. */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "../lib/alloc_fault.h"
#include "../lib/tmp_dir.h"
#include "base/io.h"
#include "base/json.h"
#include "report/upgrade.h"

enum { PATH_BYTES = TMP_DIR_BYTES + 32 };

static char dir[TMP_DIR_BYTES];

static int setup(void **state)
{
    (void)state;
    tmp_dir_create(dir);
    return 0;
}

static void path_of(char path[static PATH_BYTES], const char *name)
{
    snprintf(path, PATH_BYTES, "%s/%s", dir, name);
}

static int teardown(void **state)
{
    (void)state;
    tmp_dir_remove(dir);
    return 0;
}

static void put(const char *name, const char *content)
{
    char path[PATH_BYTES];
    path_of(path, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(content, file);
    assert_int_equal(fclose(file), 0);
}

static bool exists(const char *name)
{
    char path[PATH_BYTES];
    path_of(path, name);
    return access(path, F_OK) == 0;
}

static const struct upgrade_record some = {
    .initiated_at_ms = 1795240507221, .from_openclaw = "2026.9.6", .from_runtime = "0.2.0"};

static void must_be_empty(void)
{
    struct upgrade_record memory = some;
    upgrade_record_load(dir, &memory);
    assert_int_equal(memory.initiated_at_ms, 0);
    assert_string_equal(memory.from_openclaw, "");
    assert_string_equal(memory.from_runtime, "");
}

static void test_what_was_saved_is_loaded(void **state)
{
    (void)state;
    struct upgrade_record memory;
    struct stat status;
    char path[PATH_BYTES];
    assert_int_equal(upgrade_record_save(dir, &some, NULL), 0);
    upgrade_record_load(dir, &memory);
    assert_memory_equal(&memory, &some, sizeof memory);
    assert_false(exists("upgrade.json.new"));
    path_of(path, "upgrade.json");
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
}

static void test_missing_file_is_an_empty_memory(void **state)
{
    (void)state;
    struct upgrade_record memory = some;
    must_be_empty();
    upgrade_record_load("/nonexistent", &memory);
    assert_int_equal(memory.initiated_at_ms, 0);
}

static void test_damaged_file_is_an_empty_memory(void **state)
{
    (void)state;
    static const char *const damaged[] = {
        "",
        "{",
        "[]",
        "null",
        "{\"initiatedAt\":1,\"fromOpenclaw\":\"a\"}",
        "{\"fromOpenclaw\":\"a\",\"fromRuntime\":\"b\"}",
        "{\"initiatedAt\":\"1\",\"fromOpenclaw\":\"a\",\"fromRuntime\":\"b\"}",
        "{\"initiatedAt\":0,\"fromOpenclaw\":\"a\",\"fromRuntime\":\"b\"}",
        "{\"initiatedAt\":-1,\"fromOpenclaw\":\"a\",\"fromRuntime\":\"b\"}",
        "{\"initiatedAt\":1e300,\"fromOpenclaw\":\"a\",\"fromRuntime\":\"b\"}",
        "{\"initiatedAt\":1,\"fromOpenclaw\":7,\"fromRuntime\":\"b\"}",
        "{\"initiatedAt\":1,\"fromOpenclaw\":\"a\",\"fromRuntime\":null}",
    };
    for (size_t i = 0; i < sizeof damaged / sizeof damaged[0]; i++) {
        put("upgrade.json", damaged[i]);
        must_be_empty();
    }
}

static void test_file_that_is_too_large_is_an_empty_memory(void **state)
{
    (void)state;
    char content[8192];
    int length = snprintf(content, sizeof content,
        "{\"initiatedAt\":1,\"fromOpenclaw\":\"a\",\"fromRuntime\":\"b\"}");
    memset(content + length, ' ', sizeof content - (size_t)length - 1);
    content[sizeof content - 1] = '\0';
    put("upgrade.json", content);
    must_be_empty();
}

static void test_long_versions_are_cut(void **state)
{
    (void)state;
    char content[1024];
    char version[301];
    struct upgrade_record memory;
    memset(version, 'v', sizeof version - 1);
    version[sizeof version - 1] = '\0';
    snprintf(content, sizeof content,
        "{\"initiatedAt\":1,\"fromOpenclaw\":\"%s\",\"fromRuntime\":\"b\"}", version);
    put("upgrade.json", content);
    upgrade_record_load(dir, &memory);
    assert_int_equal(memory.initiated_at_ms, 1);
    assert_int_equal(strlen(memory.from_openclaw), VERSION_BYTES - 1);
}

static void test_what_cannot_be_saved_is_said(void **state)
{
    (void)state;
    struct error error;
    char path[PATH_BYTES];
    assert_int_equal(upgrade_record_save("/nonexistent", &some, &error), ERROR_SYSTEM);
    assert_non_null(strstr(error.text, "/nonexistent"));
    /* A directory in the file's place, so that the last step fails, also for root. */
    path_of(path, "upgrade.json");
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(upgrade_record_save(dir, &some, &error), ERROR_SYSTEM);
    assert_non_null(strstr(error.text, "cannot write upgrade.json: "));
    assert_false(exists("upgrade.json.new"));
    must_be_empty();
}

static int save_with_fault(unsigned number)
{
    struct error error;
    alloc_fault_arm(number);
    int result = upgrade_record_save(dir, &some, &error);
    alloc_fault_disarm();
    return result;
}

static void test_save_without_memory(void **state)
{
    (void)state;
    alloc_fault_sweep(save_with_fault);
}

/* A name for the temporary file that leads elsewhere must not be written through. */
static void test_replace_follows_no_link(void **state)
{
    (void)state;
    struct error error;
    char path[PATH_BYTES];
    char other[PATH_BYTES];
    put("other", "kept");
    path_of(other, "other");
    path_of(path, "upgrade.json.new");
    assert_int_equal(symlink(other, path), 0);
    assert_int_equal(upgrade_record_save(dir, &some, &error), ERROR_SYSTEM);
    assert_non_null(strstr(error.text, "cannot create upgrade.json.new: "));
    struct stat status;
    assert_int_equal(stat(other, &status), 0);
    assert_int_equal(status.st_size, strlen("kept"));
}

/* RLIMIT_FSIZE is a full disk: the old content stays, and nothing is left beside it. */
static void test_replace_on_a_full_disk(void **state)
{
    (void)state;
    struct error error;
    struct rlimit before;
    put("other", "old");
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    signal(SIGXFSZ, SIG_IGN);
    const struct rlimit small = {.rlim_cur = 4, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    int result = file_replace(fd, "other", "too long", 8, true, &error);
    setrlimit(RLIMIT_FSIZE, &before);
    assert_int_equal(result, ERROR_SYSTEM);
    assert_string_equal(error.text, "cannot write other: File too large");
    assert_false(exists("other.new"));
    struct stat status;
    assert_int_equal(fstatat(fd, "other", &status, 0), 0);
    assert_int_equal(status.st_size, 3);
    close(fd);
}

int main(void)
{
    json_guard_start();
#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_what_was_saved_is_loaded),
        TEST(test_missing_file_is_an_empty_memory),
        TEST(test_damaged_file_is_an_empty_memory),
        TEST(test_file_that_is_too_large_is_an_empty_memory),
        TEST(test_long_versions_are_cut),
        TEST(test_what_cannot_be_saved_is_said),
        TEST(test_save_without_memory),
        TEST(test_replace_follows_no_link),
        TEST(test_replace_on_a_full_disk),
    };
    return cmocka_run_group_tests_name("upgrade_record", tests, NULL, NULL);
}
