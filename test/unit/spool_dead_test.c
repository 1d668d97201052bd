/* What is given up is kept in dead/, within bounds, and can be brought back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../lib/spool_fixture.h"
#include "base/text.h"

static void test_buried_record_is_kept_in_dead(void **state)
{
    struct spool_fixture *fixture = *state;
    struct spool_record record = spool_fixture_record("n1", NULL);
    assert_int_equal(spool_save(fixture->spool, &record, true, NULL), 0);
    assert_int_equal(spool_bury(fixture->spool, "n1", NULL), 0);
    assert_false(spool_fixture_exists(fixture, "spool/n1.json"));
    assert_true(spool_fixture_exists(fixture, "dead/n1.json"));
}

static void test_dead_record_can_be_read_and_brought_back(void **state)
{
    struct spool_fixture *fixture = *state;
    char reply[] = "late";
    struct spool_record record = spool_fixture_record("n1", reply);
    struct spool_record loaded;
    struct spool_fixture_census census = {0};
    assert_int_equal(spool_save(fixture->spool, &record, true, NULL), 0);
    assert_int_equal(spool_bury(fixture->spool, "n1", NULL), 0);
    spool_fixture_write(fixture, "dead/n2.json", "{");
    assert_int_equal(spool_each_dead(fixture->spool, spool_fixture_count, &census, NULL), 0);
    assert_int_equal(census.whole, 1);
    assert_int_equal(census.damaged, 1);
    assert_int_equal(spool_load_dead(fixture->spool, "n1", &loaded, NULL), 0);
    assert_string_equal(loaded.reply, "late");
    free(loaded.reply);
    assert_int_equal(spool_exhume(fixture->spool, "n1", NULL), 0);
    assert_true(spool_fixture_exists(fixture, "spool/n1.json"));
    assert_int_equal(spool_exhume(fixture->spool, "n1", NULL), ERROR_CLOSED);
    assert_int_equal(spool_remove_dead(fixture->spool, "n2", NULL), 0);
    assert_int_equal(spool_remove_dead(fixture->spool, "n2", NULL), ERROR_CLOSED);
}

/* The reply that is there must not be lost for an older one. */
static void test_exhumed_record_replaces_no_other(void **state)
{
    struct spool_fixture *fixture = *state;
    char older[] = "older";
    char newer[] = "newer";
    struct spool_record record = spool_fixture_record("n1", older);
    struct spool_record loaded;
    assert_int_equal(spool_save(fixture->spool, &record, true, NULL), 0);
    assert_int_equal(spool_bury(fixture->spool, "n1", NULL), 0);
    record.reply = newer;
    assert_int_equal(spool_save(fixture->spool, &record, true, NULL), 0);
    assert_int_equal(spool_exhume(fixture->spool, "n1", NULL), ERROR_INVALID);
    assert_int_equal(spool_load(fixture->spool, "n1", &loaded, NULL), 0);
    assert_string_equal(loaded.reply, "newer");
    free(loaded.reply);
    assert_true(spool_fixture_exists(fixture, "dead/n1.json"));
}

static void note_removed(void *context, const char *id)
{
    text_copy(context, ID_BYTES, id);
}

/* The oldest file goes until the rest fits; a file that is no record is left alone. */
static void test_dead_is_trimmed_to_its_bounds(void **state)
{
    struct spool_fixture *fixture = *state;
    const struct timespec long_ago[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
    struct spool_usage usage;
    char removed[ID_BYTES] = "";
    char path[SPOOL_FIXTURE_PATH_BYTES];
    spool_fixture_write(fixture, "dead/new.json", "{}");
    spool_fixture_write(fixture, "dead/old.json", "{}");
    spool_fixture_write(fixture, "dead/README", "a person's");
    spool_fixture_path(fixture, "dead/old.json", path);
    assert_int_equal(utimensat(AT_FDCWD, path, long_ago, 0), 0);
    assert_int_equal(spool_trim_dead(fixture->spool, &usage, note_removed, removed, NULL), 0);
    assert_int_equal(usage.files, 2);
    assert_int_equal(usage.bytes, 4);
    assert_string_equal(removed, "");
    spool_fixture_path(fixture, "dead/new.json", path);
    assert_int_equal(truncate(path, SPOOL_DEAD_BYTES - 1), 0);
    assert_int_equal(spool_trim_dead(fixture->spool, &usage, note_removed, removed, NULL), 0);
    assert_string_equal(removed, "old");
    assert_int_equal(usage.files, 1);
    assert_true(spool_fixture_exists(fixture, "dead/README"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_SPOOL(test_buried_record_is_kept_in_dead),
        WITH_SPOOL(test_dead_record_can_be_read_and_brought_back),
        WITH_SPOOL(test_exhumed_record_replaces_no_other),
        WITH_SPOOL(test_dead_is_trimmed_to_its_bounds),
    };
    return cmocka_run_group_tests_name("spool_dead", tests, NULL, NULL);
}
