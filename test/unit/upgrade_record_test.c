/* The files of an upgrade, which survive a restart, and atomic replacement of files. */
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
#include "../lib/test_file.h"
#include "../lib/tmp_dir.h"
#include "base/io.h"
#include "base/json.h"
#include "base/text.h"
#include "report/upgrade_files.h"

enum { PATH_BYTES = TMP_DIR_BYTES + 32 };

static char dir[TMP_DIR_BYTES];

static int setup(void **state)
{
    (void)state;
    tmp_dir_create(dir);
    return 0;
}

static void path_in_dir(char path[static PATH_BYTES], const char *name)
{
    snprintf(path, PATH_BYTES, "%s/%s", dir, name);
}

static int teardown(void **state)
{
    (void)state;
    tmp_dir_remove(dir);
    return 0;
}

static void write_in_dir(const char *name, const char *content)
{
    char path[PATH_BYTES];
    path_in_dir(path, name);
    test_file_write(path, content);
}

static bool exists_in_dir(const char *name)
{
    char path[PATH_BYTES];
    path_in_dir(path, name);
    return access(path, F_OK) == 0;
}

static const struct upgrade_record sample_record = {.initiated_at_ms = 1795240507221,
    .from_openclaw = "2026.9.6",
    .from_runtime = "0.2.0",
    .to_openclaw = "",
    .to_runtime = "0.3.0"};

static void expect_empty_record(void)
{
    struct upgrade_record record = sample_record;
    upgrade_record_load(dir, &record);
    assert_int_equal(record.initiated_at_ms, 0);
    assert_string_equal(record.from_openclaw, "");
    assert_string_equal(record.from_runtime, "");
}

static void test_saved_record_is_loaded(void **state)
{
    (void)state;
    struct upgrade_record record;
    struct stat status;
    char path[PATH_BYTES];
    assert_int_equal(upgrade_record_save(dir, &sample_record, NULL), 0);
    upgrade_record_load(dir, &record);
    assert_memory_equal(&record, &sample_record, sizeof record);
    assert_false(exists_in_dir("upgrade.json.new"));
    path_in_dir(path, "upgrade.json");
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
}

static void test_missing_file_is_an_empty_record(void **state)
{
    (void)state;
    struct upgrade_record record = sample_record;
    expect_empty_record();
    upgrade_record_load("/nonexistent", &record);
    assert_int_equal(record.initiated_at_ms, 0);
}

static void test_corrupt_file_is_an_empty_record(void **state)
{
    (void)state;
    static const char *const corrupt[] = {
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
    for (size_t i = 0; i < sizeof corrupt / sizeof corrupt[0]; i++) {
        write_in_dir("upgrade.json", corrupt[i]);
        expect_empty_record();
    }
}

static void test_oversized_file_is_an_empty_record(void **state)
{
    (void)state;
    char content[8192];
    int length = snprintf(content, sizeof content,
        "{\"initiatedAt\":1,\"fromOpenclaw\":\"a\",\"fromRuntime\":\"b\"}");
    memset(content + length, ' ', sizeof content - (size_t)length - 1);
    content[sizeof content - 1] = '\0';
    write_in_dir("upgrade.json", content);
    expect_empty_record();
}

static void test_long_versions_are_truncated(void **state)
{
    (void)state;
    char content[1024];
    char version[301];
    struct upgrade_record record;
    memset(version, 'v', sizeof version - 1);
    version[sizeof version - 1] = '\0';
    snprintf(content, sizeof content,
        "{\"initiatedAt\":1,\"fromOpenclaw\":\"%s\",\"fromRuntime\":\"b\"}", version);
    write_in_dir("upgrade.json", content);
    upgrade_record_load(dir, &record);
    assert_int_equal(record.initiated_at_ms, 1);
    assert_int_equal(strlen(record.from_openclaw), VERSION_BYTES - 1);
}

static void test_failed_save_is_reported(void **state)
{
    (void)state;
    struct error error;
    char path[PATH_BYTES];
    assert_int_equal(upgrade_record_save("/nonexistent", &sample_record, &error), ERROR_SYSTEM);
    assert_non_null(strstr(error.text, "/nonexistent"));
    /* A directory in place of the file makes the final rename fail even for root. */
    path_in_dir(path, "upgrade.json");
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(upgrade_record_save(dir, &sample_record, &error), ERROR_SYSTEM);
    assert_non_null(strstr(error.text, "cannot write upgrade.json: "));
    assert_false(exists_in_dir("upgrade.json.new"));
    expect_empty_record();
}

static const struct upgrade sample_upgrade = {
    .openclaw = "2026.10.1",
    .runtime = "0.3.0",
    .initiated_at_ms = 1795240507221,
    .strategy = "immediate",
};

/* The form that mission-control-upgrade and scripts/runtime-upgrade-local.sh read with sed. */
static void test_request_has_this_form(void **state)
{
    (void)state;
    char path[PATH_BYTES];
    struct text content;
    struct stat status;
    write_in_dir("upgrade-result.json", "{}");
    assert_int_equal(upgrade_request_save(dir, &sample_upgrade, 1795240510000, NULL), 0);
    path_in_dir(path, "upgrade-request.json");
    assert_int_equal(file_read(path, 4096, &content, NULL, NULL), 0);
    assert_string_equal(content.data,
        "{\"initiatedAt\":1795240507221,\"requestedAt\":1795240510000,"
        "\"targetOpenclawVersion\":\"2026.10.1\",\"targetRuntimeVersion\":\"0.3.0\"}");
    text_fini(&content);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
    assert_false(exists_in_dir("upgrade-request.json.new"));
    assert_false(exists_in_dir("upgrade-result.json"));
    upgrade_files_remove(dir);
    assert_false(exists_in_dir("upgrade-request.json"));
}

static void expect_installation(
    const char *content, enum installation_status status, const char *error)
{
    struct installation installation;
    write_in_dir("upgrade-result.json", content);
    installation_load(dir, 7, &installation);
    assert_int_equal(installation.status, status);
    assert_string_equal(installation.error, error);
}

static void test_result_of_an_installation_is_read(void **state)
{
    (void)state;
    struct installation missing;
    installation_load(dir, 7, &missing);
    assert_int_equal(missing.status, INSTALLATION_NONE);
    expect_installation("{\"initiatedAt\":7,\"status\":\"success\"}", INSTALLATION_NONE, "");
    expect_installation(
        "{\"initiatedAt\":7,\"status\":\"failed\",\"error\":\"no\"}", INSTALLATION_FAILED, "no");
    expect_installation("{\"initiatedAt\":7,\"status\":\"rolled_back\",\"error\":\"a\\nb\"}",
        INSTALLATION_ROLLED_BACK, "a b");
    expect_installation(
        "{\"initiatedAt\":8,\"status\":\"failed\",\"error\":\"no\"}", INSTALLATION_NONE, "");
    expect_installation("{\"initiatedAt\":7,\"status\":3}", INSTALLATION_NONE, "");
    expect_installation("{\"initiatedAt\":7", INSTALLATION_NONE, "");
    expect_installation("[]", INSTALLATION_NONE, "");
}

static int save_request_with_fault(unsigned number)
{
    struct error error;
    alloc_fault_arm(number);
    int result = upgrade_request_save(dir, &sample_upgrade, 1, &error);
    alloc_fault_disarm();
    return result;
}

static void test_request_without_memory_fails(void **state)
{
    (void)state;
    alloc_fault_sweep(save_request_with_fault);
}

static int save_with_fault(unsigned number)
{
    struct error error;
    alloc_fault_arm(number);
    int result = upgrade_record_save(dir, &sample_record, &error);
    alloc_fault_disarm();
    return result;
}

static void test_save_without_memory_fails(void **state)
{
    (void)state;
    alloc_fault_sweep(save_with_fault);
}

/* A symlink in place of the temporary file must not be written through. */
static void test_replace_does_not_follow_symlinks(void **state)
{
    (void)state;
    struct error error;
    char path[PATH_BYTES];
    char other[PATH_BYTES];
    write_in_dir("other", "kept");
    path_in_dir(other, "other");
    path_in_dir(path, "upgrade.json.new");
    assert_int_equal(symlink(other, path), 0);
    assert_int_equal(upgrade_record_save(dir, &sample_record, &error), ERROR_SYSTEM);
    assert_non_null(strstr(error.text, "cannot create upgrade.json.new: "));
    struct stat status;
    assert_int_equal(stat(other, &status), 0);
    assert_int_equal(status.st_size, strlen("kept"));
}

/* RLIMIT_FSIZE simulates a full disk: the old content is kept and the temporary file removed. */
static void test_replace_on_a_full_disk_keeps_the_old_file(void **state)
{
    (void)state;
    struct error error;
    struct rlimit before;
    write_in_dir("other", "old");
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
    assert_false(exists_in_dir("other.new"));
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
        TEST(test_saved_record_is_loaded),
        TEST(test_missing_file_is_an_empty_record),
        TEST(test_corrupt_file_is_an_empty_record),
        TEST(test_oversized_file_is_an_empty_record),
        TEST(test_long_versions_are_truncated),
        TEST(test_failed_save_is_reported),
        TEST(test_save_without_memory_fails),
        TEST(test_request_has_this_form),
        TEST(test_result_of_an_installation_is_read),
        TEST(test_request_without_memory_fails),
        TEST(test_replace_does_not_follow_symlinks),
        TEST(test_replace_on_a_full_disk_keeps_the_old_file),
    };
    return cmocka_run_group_tests_name("upgrade_record", tests, NULL, NULL);
}
