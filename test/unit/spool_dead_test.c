/* What is given up is kept in dead/, within bounds, and can be brought back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../lib/spool_fixture.h"
#include "base/sync.h"
#include "base/text.h"

enum { THREADS = 4, LARGE_FILES = 60, LARGE_FILE_BYTES = 64 * 1024 * 1024 };
enum { LARGE_FILES_LEFT = SPOOL_DEAD_BYTES / LARGE_FILE_BYTES };

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
    struct spool_fixture_counts census = {0};
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

/* A file of no content but size: number is its age, the larger the younger. */
static void add_large_file(const struct spool_fixture *fixture, int number)
{
    const struct timespec times[2] = {{.tv_sec = 1000}, {.tv_sec = 1000 + number}};
    char name[32];
    char path[SPOOL_FIXTURE_PATH_BYTES];
    snprintf(name, sizeof name, "dead/n%d.json", number);
    spool_fixture_write(fixture, name, "");
    spool_fixture_path(fixture, name, path);
    assert_int_equal(truncate(path, LARGE_FILE_BYTES), 0);
    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

/* One thread's call and what came of it. */
struct trimming {
    struct spool *spool;
    pthread_t thread;
    int result;
    int removed;
};

static void count_removed(void *context, const char *id)
{
    (void)id;
    ++*(int *)context;
}

static void *trim(void *argument)
{
    struct trimming *trimming = argument;
    struct spool_usage usage;
    trimming->result =
        spool_trim_dead(trimming->spool, &usage, count_removed, &trimming->removed, NULL);
    return NULL;
}

/* Each file goes once, and one that somebody else removed is no failure. */
static void test_several_threads_trim_at_once(void **state)
{
    struct spool_fixture *fixture = *state;
    struct trimming trimmings[THREADS] = {0};
    struct spool_usage usage;
    int removed = 0;
    for (int i = 0; i < LARGE_FILES; i++)
        add_large_file(fixture, i);
    for (int i = 0; i < THREADS; i++) {
        trimmings[i].spool = fixture->spool;
        assert_int_equal(thread_start(&trimmings[i].thread, "trim", trim, &trimmings[i], NULL), 0);
    }
    for (int i = 0; i < THREADS; i++)
        thread_join(trimmings[i].thread);
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(trimmings[i].result, 0);
        removed += trimmings[i].removed;
    }
    assert_int_equal(removed, LARGE_FILES - LARGE_FILES_LEFT);
    assert_int_equal(spool_trim_dead(fixture->spool, &usage, count_removed, &removed, NULL), 0);
    assert_int_equal(usage.files, LARGE_FILES_LEFT);
    assert_int_equal(usage.bytes, SPOOL_DEAD_BYTES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_SPOOL(test_buried_record_is_kept_in_dead),
        WITH_SPOOL(test_dead_record_can_be_read_and_brought_back),
        WITH_SPOOL(test_exhumed_record_replaces_no_other),
        WITH_SPOOL(test_dead_is_trimmed_to_its_bounds),
        WITH_SPOOL(test_several_threads_trim_at_once),
    };
    return cmocka_run_group_tests_name("spool_dead", tests, NULL, NULL);
}
