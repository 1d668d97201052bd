/* The directory around the records: whose it is, what a listing finds, and a look without its lock.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../lib/spool_fixture.h"

static void test_files_are_for_the_owner_only(void **state)
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

static void test_another_accounts_dir_is_refused(void **state)
{
    struct spool_fixture *fixture = *state;
    struct spool *other;
    struct error error;
    assert_int_equal(spool_open(&other, fixture->dir, "account2", &error), ERROR_INVALID);
    assert_non_null(strstr(error.text, "account1"));
    assert_int_equal(spool_open(&other, fixture->dir, "account1", &error), 0);
    spool_close(other);
}

/* Whose it is cannot be read: that does not make it nobody's. */
static void test_dir_of_an_unreadable_owner_is_refused(void **state)
{
    struct spool_fixture *fixture = *state;
    struct spool *other;
    struct error error;
    char path[SPOOL_FIXTURE_PATH_BYTES];
    spool_fixture_path(fixture, "account", path);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(symlink("elsewhere", path), 0);
    assert_int_equal(spool_open(&other, fixture->dir, "account2", &error), ERROR_SYSTEM);
    assert_non_null(strstr(error.text, fixture->dir));
    assert_int_equal(state_dir_check_account(fixture->dir, "account2", NULL, &error), ERROR_SYSTEM);
}

static void test_whose_dir_it_is_can_be_asked(void **state)
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

static void test_each_finds_all_and_clears_leftovers(void **state)
{
    struct spool_fixture *fixture = *state;
    char reply[] = "x";
    struct spool_record one = spool_fixture_record("n1", reply);
    struct spool_record two = spool_fixture_record("n2", NULL);
    struct spool_fixture_counts census = {0};
    assert_int_equal(spool_save(fixture->spool, &one, true, NULL), 0);
    assert_int_equal(spool_save(fixture->spool, &two, false, NULL), 0);
    spool_fixture_write(fixture, "spool/n3.json", "{\"acc");
    spool_fixture_write(fixture, "spool/n4.json.new", "half");
    assert_int_equal(spool_each(fixture->spool, spool_fixture_count, &census, NULL), 0);
    assert_int_equal(census.whole, 2);
    assert_int_equal(census.damaged, 1);
    assert_false(spool_fixture_exists(fixture, "spool/n4.json.new"));
}

/* What a listing has read ahead may be gone when its turn comes. */
struct vanishing {
    struct spool *spool;
    struct spool_fixture_counts census;
};

static void remove_all(void *context, struct spool_record *record, const struct error *why)
{
    struct vanishing *vanishing = context;
    spool_fixture_count(&vanishing->census, record, why);
    for (int i = 0; i < 3; i++) {
        char id[ID_BYTES];
        snprintf(id, sizeof id, "n%d", i);
        assert_int_equal(spool_remove(vanishing->spool, id, NULL), 0);
    }
}

static void test_record_that_goes_away_meanwhile_is_not_found(void **state)
{
    struct spool_fixture *fixture = *state;
    struct vanishing vanishing = {.spool = fixture->spool};
    static const char *const ids[] = {"n0", "n1", "n2"};
    for (int i = 0; i < 3; i++) {
        struct spool_record record = spool_fixture_record(ids[i], NULL);
        assert_int_equal(spool_save(fixture->spool, &record, true, NULL), 0);
    }
    assert_int_equal(spool_each(fixture->spool, remove_all, &vanishing, NULL), 0);
    assert_int_equal(vanishing.census.whole, 1);
    assert_int_equal(vanishing.census.damaged, 0);
}

static void test_look_at_what_is_there_makes_nothing(void **state)
{
    struct spool_fixture *fixture = *state;
    struct spool *seen;
    struct error error;
    char path[SPOOL_FIXTURE_PATH_BYTES];
    spool_fixture_path(fixture, "nowhere", path);
    assert_int_equal(spool_open_existing(&seen, path, "account1", &error), ERROR_CLOSED);
    assert_non_null(strstr(error.text, path));
    assert_false(spool_fixture_exists(fixture, "nowhere"));
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(spool_open_existing(&seen, path, "account1", &error), ERROR_CLOSED);
    assert_int_equal(rmdir(path), 0);
    assert_int_equal(spool_open_existing(&seen, fixture->dir, "account2", &error), ERROR_INVALID);
    assert_non_null(strstr(error.text, "account1"));
}

/* A runtime may be about to rename that file. */
static void test_look_at_what_is_there_leaves_unfinished_writes(void **state)
{
    struct spool_fixture *fixture = *state;
    struct spool_record record = spool_fixture_record("n1", NULL);
    struct spool *seen;
    struct spool_fixture_counts census = {0};
    assert_int_equal(spool_save(fixture->spool, &record, true, NULL), 0);
    spool_fixture_write(fixture, "spool/n4.json.new", "half");
    assert_int_equal(spool_open_existing(&seen, fixture->dir, "account1", NULL), 0);
    assert_int_equal(spool_each(seen, spool_fixture_count, &census, NULL), 0);
    spool_close(seen);
    assert_int_equal(census.whole, 1);
    assert_true(spool_fixture_exists(fixture, "spool/n4.json.new"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_SPOOL(test_files_are_for_the_owner_only),
        WITH_SPOOL(test_another_accounts_dir_is_refused),
        WITH_SPOOL(test_dir_of_an_unreadable_owner_is_refused),
        WITH_SPOOL(test_whose_dir_it_is_can_be_asked),
        WITH_SPOOL(test_each_finds_all_and_clears_leftovers),
        WITH_SPOOL(test_record_that_goes_away_meanwhile_is_not_found),
        WITH_SPOOL(test_look_at_what_is_there_makes_nothing),
        WITH_SPOOL(test_look_at_what_is_there_leaves_unfinished_writes),
    };
    return cmocka_run_group_tests_name("spool_dir", tests, NULL, NULL);
}
