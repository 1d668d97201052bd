/* The spool's directory: permissions, owner check, listing, and read-only access. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../lib/spool_fixture.h"

/* The directories that were synced, in order, each followed by the names in it at that moment. */
static char synced[4096];

/* In place of the C library's: notes what is synced. */
int fsync(int fd)
{
    static const char *const names[] = {"a", "b", "spool", "dead"};
    char link[64];
    char path[256] = "";
    struct stat status;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    assert_true(readlink(link, path, sizeof path - 1) > 0);
    size_t length = strlen(synced);
    snprintf(synced + length, sizeof synced - length, "%s:", path);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        length = strlen(synced);
        if (fstatat(fd, names[i], &status, 0) == 0)
            snprintf(synced + length, sizeof synced - length, " %s", names[i]);
    }
    length = strlen(synced);
    snprintf(synced + length, sizeof synced - length, "\n");
    return (int)syscall(SYS_fsync, fd);
}

static void expect_synced(const char *dir, const char *path, const char *names)
{
    char line[256];
    snprintf(line, sizeof line, "%s%s:%s\n", dir, path, names);
    if (strstr(synced, line) == NULL)
        fail_msg("not synced: %s in:\n%s", line, synced);
}

/* A power failure must not take the directories away again in which replies have been synced. */
static void test_new_directories_are_on_disk(void **state)
{
    struct spool_fixture *fixture = *state;
    char path[SPOOL_FIXTURE_PATH_BYTES];
    struct state_dir dir;
    struct spool *spool;
    spool_fixture_path(fixture, "a/b", path);
    synced[0] = '\0';
    assert_int_equal(state_dir_open(&dir, path, NULL), 0);
    expect_synced(fixture->dir, "", " a spool dead");
    expect_synced(fixture->dir, "/a", " b");
    assert_int_equal(spool_open(&spool, path, "account1", NULL), 0);
    expect_synced(path, "", " spool dead");
    spool_close(spool);
    state_dir_close(&dir);
}

static void test_files_are_private(void **state)
{
    struct spool_fixture *fixture = *state;
    struct spool_record record = spool_fixture_record("n1", NULL);
    struct stat status;
    char path[SPOOL_FIXTURE_PATH_BYTES];
    assert_int_equal(spool_save(fixture->spool, &record, true, NULL), 0);
    spool_fixture_path(fixture, "spool/n1.json", path);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
    spool_fixture_path(fixture, "spool", path);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0700);
}

static void test_dir_of_another_account_is_refused(void **state)
{
    struct spool_fixture *fixture = *state;
    struct spool *other;
    struct error error;
    assert_int_equal(spool_open(&other, fixture->dir, "account2", &error), ERROR_INVALID);
    assert_non_null(strstr(error.text, "account1"));
    assert_int_equal(spool_open(&other, fixture->dir, "account1", &error), 0);
    spool_close(other);
}

/* If the owner cannot be read, the directory must not be treated as unowned. */
static void test_dir_with_unreadable_owner_is_refused(void **state)
{
    struct spool_fixture *fixture = *state;
    struct spool *other;
    struct error error;
    char path[SPOOL_FIXTURE_PATH_BYTES];
    spool_fixture_path(fixture, "account", path);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(symlink("elsewhere", path), 0);
    assert_int_equal(spool_open(&other, fixture->dir, "account2", &error), ERROR_INVALID);
    assert_non_null(strstr(error.text, fixture->dir));
    assert_int_equal(
        state_dir_check_account(fixture->dir, "account2", NULL, &error), ERROR_INVALID);
}

/* A FIFO under one of our names would hang whoever opens it for reading or writing. */
static void test_fifos_are_refused_at_once(void **state)
{
    struct spool_fixture *fixture = *state;
    struct spool *other;
    struct state_dir dir;
    struct error error;
    char path[SPOOL_FIXTURE_PATH_BYTES];
    spool_fixture_path(fixture, "account", path);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(spool_open(&other, fixture->dir, "account1", &error), ERROR_INVALID);
    spool_fixture_path(fixture, "lock", path);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(state_dir_open(&dir, fixture->dir, &error), ERROR_INVALID);
    assert_non_null(strstr(error.text, "lock is not a regular file"));
    struct spool_record record = spool_fixture_record("n1", NULL);
    spool_fixture_path(fixture, "spool/n1.json.new", path);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(spool_save(fixture->spool, &record, true, &error), ERROR_SYSTEM);
}

static void remove_spool_dir(const struct spool_fixture *fixture, const char *name)
{
    char path[SPOOL_FIXTURE_PATH_BYTES];
    spool_fixture_path(fixture, name, path);
    assert_int_equal(rmdir(path), 0);
}

static void test_removed_directories_are_made_again(void **state)
{
    struct spool_fixture *fixture = *state;
    struct spool_record record = spool_fixture_record("n1", NULL);
    struct error error;
    struct stat status;
    char path[SPOOL_FIXTURE_PATH_BYTES];
    remove_spool_dir(fixture, "spool");
    remove_spool_dir(fixture, "dead");
    assert_int_equal(spool_save(fixture->spool, &record, true, &error), 0);
    assert_true(spool_fixture_exists(fixture, "spool/n1.json"));
    assert_int_equal(spool_bury(fixture->spool, "n1", &error), 0);
    assert_true(spool_fixture_exists(fixture, "dead/n1.json"));
    assert_false(spool_fixture_exists(fixture, "spool/n1.json"));
    spool_fixture_path(fixture, "spool", path);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0700);
}

/* As after "mv spool elsewhere; mkdir spool". */
static void test_exchanged_directory_is_noticed(void **state)
{
    struct spool_fixture *fixture = *state;
    struct error error;
    char path[SPOOL_FIXTURE_PATH_BYTES];
    remove_spool_dir(fixture, "spool");
    assert_true(spool_is_usable(fixture->spool, &error));
    remove_spool_dir(fixture, "spool");
    spool_fixture_path(fixture, "spool", path);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_true(spool_is_usable(fixture->spool, &error));
    assert_int_equal(rmdir(path), 0);
    spool_fixture_write(fixture, "spool", "in the way");
    assert_false(spool_is_usable(fixture->spool, &error));
    assert_non_null(strstr(error.text, "No such file"));
}

static void test_owner_check_creates_nothing(void **state)
{
    struct spool_fixture *fixture = *state;
    struct error error;
    char path[SPOOL_FIXTURE_PATH_BYTES];
    assert_int_equal(state_dir_check_account(fixture->dir, "account1", NULL, &error), 0);
    assert_int_equal(
        state_dir_check_account(fixture->dir, "account2", NULL, &error), ERROR_INVALID);
    assert_non_null(strstr(error.text, "account1"));
    spool_fixture_path(fixture, "spool", path);
    assert_int_equal(state_dir_check_account(path, "account2", NULL, &error), 0);
    assert_false(spool_fixture_exists(fixture, "spool/account"));
    spool_fixture_path(fixture, "nowhere", path);
    assert_int_equal(state_dir_check_account(path, "account2", NULL, &error), ERROR_CLOSED);
    assert_false(spool_fixture_exists(fixture, "nowhere"));
}

static void test_listing_finds_all_and_removes_temporaries(void **state)
{
    struct spool_fixture *fixture = *state;
    char reply[] = "x";
    struct spool_record one = spool_fixture_record("n1", reply);
    struct spool_record two = spool_fixture_record("n2", NULL);
    struct spool_fixture_counts counts = {0};
    assert_int_equal(spool_save(fixture->spool, &one, true, NULL), 0);
    assert_int_equal(spool_save(fixture->spool, &two, false, NULL), 0);
    spool_fixture_write(fixture, "spool/n3.json", "{\"acc");
    spool_fixture_write(fixture, "spool/n4.json.new", "half");
    assert_int_equal(spool_each(fixture->spool, spool_fixture_count, &counts, NULL), 0);
    assert_int_equal(counts.intact, 2);
    assert_int_equal(counts.corrupt, 1);
    assert_false(spool_fixture_exists(fixture, "spool/n4.json.new"));
}

/* A record whose name was read ahead may be removed before it is visited. */
struct removing_lister {
    struct spool *spool;
    struct spool_fixture_counts counts;
};

static void remove_all(void *context, struct spool_record *record, const struct error *why)
{
    struct removing_lister *removing_lister = context;
    spool_fixture_count(&removing_lister->counts, record, why);
    for (int i = 0; i < 3; i++) {
        char id[ID_BYTES];
        snprintf(id, sizeof id, "n%d", i);
        assert_int_equal(spool_remove(removing_lister->spool, id, NULL), 0);
    }
}

static void test_record_removed_during_listing_is_skipped(void **state)
{
    struct spool_fixture *fixture = *state;
    struct removing_lister removing_lister = {.spool = fixture->spool};
    static const char *const ids[] = {"n0", "n1", "n2"};
    for (int i = 0; i < 3; i++) {
        struct spool_record record = spool_fixture_record(ids[i], NULL);
        assert_int_equal(spool_save(fixture->spool, &record, true, NULL), 0);
    }
    assert_int_equal(spool_each(fixture->spool, remove_all, &removing_lister, NULL), 0);
    assert_int_equal(removing_lister.counts.intact, 1);
    assert_int_equal(removing_lister.counts.corrupt, 0);
}

static void test_opening_existing_creates_nothing(void **state)
{
    struct spool_fixture *fixture = *state;
    struct spool *existing;
    struct error error;
    char path[SPOOL_FIXTURE_PATH_BYTES];
    spool_fixture_path(fixture, "nowhere", path);
    assert_int_equal(spool_open_existing(&existing, path, "account1", &error), ERROR_CLOSED);
    assert_non_null(strstr(error.text, path));
    assert_false(spool_fixture_exists(fixture, "nowhere"));
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(spool_open_existing(&existing, path, "account1", &error), ERROR_CLOSED);
    assert_int_equal(rmdir(path), 0);
    assert_int_equal(
        spool_open_existing(&existing, fixture->dir, "account2", &error), ERROR_INVALID);
    assert_non_null(strstr(error.text, "account1"));
}

/* A running runtime may be about to rename the temporary file. */
static void test_opening_existing_keeps_temporaries(void **state)
{
    struct spool_fixture *fixture = *state;
    struct spool_record record = spool_fixture_record("n1", NULL);
    struct spool *existing;
    struct spool_fixture_counts counts = {0};
    assert_int_equal(spool_save(fixture->spool, &record, true, NULL), 0);
    spool_fixture_write(fixture, "spool/n4.json.new", "half");
    assert_int_equal(spool_open_existing(&existing, fixture->dir, "account1", NULL), 0);
    assert_int_equal(spool_each(existing, spool_fixture_count, &counts, NULL), 0);
    spool_close(existing);
    assert_int_equal(counts.intact, 1);
    assert_true(spool_fixture_exists(fixture, "spool/n4.json.new"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_SPOOL(test_new_directories_are_on_disk),
        WITH_SPOOL(test_files_are_private),
        WITH_SPOOL(test_dir_of_another_account_is_refused),
        WITH_SPOOL(test_dir_with_unreadable_owner_is_refused),
        WITH_SPOOL(test_fifos_are_refused_at_once),
        WITH_SPOOL(test_removed_directories_are_made_again),
        WITH_SPOOL(test_exchanged_directory_is_noticed),
        WITH_SPOOL(test_owner_check_creates_nothing),
        WITH_SPOOL(test_listing_finds_all_and_removes_temporaries),
        WITH_SPOOL(test_record_removed_during_listing_is_skipped),
        WITH_SPOOL(test_opening_existing_creates_nothing),
        WITH_SPOOL(test_opening_existing_keeps_temporaries),
    };
    return cmocka_run_group_tests_name("spool_dir", tests, NULL, NULL);
}
