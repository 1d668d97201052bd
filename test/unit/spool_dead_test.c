/* Dead letters: kept in dead/ within bounds, and movable back into the spool. */
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

#include "../lib/alloc_fault.h"
#include "../lib/spool_fixture.h"
#include "base/sync.h"
#include "base/text.h"

enum { THREADS = 4, LARGE_FILES = 60, LARGE_FILE_BYTES = 64 * 1024 * 1024 };
enum { LARGE_FILES_LEFT = SPOOL_DEAD_BYTES / LARGE_FILE_BYTES };

static void test_buried_record_moves_to_dead(void **state)
{
    struct spool_fixture *fixture = *state;
    struct spool_record record = spool_fixture_record("n1", NULL);
    assert_int_equal(spool_save(fixture->spool, &record, true, NULL), 0);
    assert_int_equal(spool_bury(fixture->spool, "n1", NULL), 0);
    assert_false(spool_fixture_exists(fixture, "spool/n1.json"));
    assert_true(spool_fixture_exists(fixture, "dead/n1.json"));
}

static void test_dead_record_can_be_read_and_exhumed(void **state)
{
    struct spool_fixture *fixture = *state;
    char reply[] = "late";
    struct spool_record record = spool_fixture_record("n1", reply);
    struct spool_record loaded;
    struct spool_fixture_counts counts = {0};
    assert_int_equal(spool_save(fixture->spool, &record, true, NULL), 0);
    assert_int_equal(spool_bury(fixture->spool, "n1", NULL), 0);
    spool_fixture_write(fixture, "dead/n2.json", "{");
    assert_int_equal(spool_each_dead(fixture->spool, spool_fixture_count, &counts, NULL), 0);
    assert_int_equal(counts.intact, 1);
    assert_int_equal(counts.corrupt, 1);
    assert_int_equal(spool_load_dead(fixture->spool, "n1", &loaded, NULL), 0);
    assert_string_equal(loaded.reply, "late");
    free(loaded.reply);
    assert_int_equal(spool_exhume(fixture->spool, "n1", NULL), 0);
    assert_true(spool_fixture_exists(fixture, "spool/n1.json"));
    assert_int_equal(spool_exhume(fixture->spool, "n1", NULL), ERROR_CLOSED);
    assert_int_equal(spool_remove_dead(fixture->spool, "n2", NULL), 0);
    assert_int_equal(spool_remove_dead(fixture->spool, "n2", NULL), ERROR_CLOSED);
}

/* A retry that fails has changed nothing, so it can be repeated. */
static void test_exhuming_that_is_not_durable_is_undone(void **state)
{
    struct spool_fixture *fixture = *state;
    struct error error;
    char reply[] = "late";
    struct spool_record record = spool_fixture_record("n1", reply);
    assert_int_equal(spool_save(fixture->spool, &record, true, NULL), 0);
    assert_int_equal(spool_bury(fixture->spool, "n1", NULL), 0);
    sync_fault_set(true);
    assert_int_equal(spool_exhume(fixture->spool, "n1", &error), ERROR_SYSTEM);
    sync_fault_set(false);
    assert_true(spool_fixture_exists(fixture, "dead/n1.json"));
    assert_false(spool_fixture_exists(fixture, "spool/n1.json"));
    assert_int_equal(spool_exhume(fixture->spool, "n1", NULL), 0);
}

/* A reply in the spool must not be overwritten by an older one. */
static void test_exhuming_replaces_no_record(void **state)
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

static void record_removed(void *context, const char *id)
{
    text_copy(context, ID_BYTES, id);
}

/* The oldest files are removed until the rest fits; files that are not records are kept. */
static void test_oldest_dead_letters_are_trimmed(void **state)
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
    assert_int_equal(spool_trim_dead(fixture->spool, &usage, record_removed, removed, NULL), 0);
    assert_int_equal(usage.files, 2);
    assert_int_equal(usage.bytes, 4);
    assert_string_equal(removed, "");
    spool_fixture_path(fixture, "dead/new.json", path);
    assert_int_equal(truncate(path, SPOOL_DEAD_BYTES - 1), 0);
    assert_int_equal(spool_trim_dead(fixture->spool, &usage, record_removed, removed, NULL), 0);
    assert_string_equal(removed, "old");
    assert_int_equal(usage.files, 1);
    assert_true(spool_fixture_exists(fixture, "dead/README"));
}

/* Creates a sparse file; a larger number makes it younger. */
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

/* A call of one thread and its result. */
struct trim_call {
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

static void *trim_in_thread(void *argument)
{
    struct trim_call *trim_call = argument;
    struct spool_usage usage;
    trim_call->result =
        spool_trim_dead(trim_call->spool, &usage, count_removed, &trim_call->removed, NULL);
    return NULL;
}

/* Each file is removed once; a file that another thread removed first is not an error. */
static void test_concurrent_trims_remove_each_file_once(void **state)
{
    struct spool_fixture *fixture = *state;
    struct trim_call trim_calls[THREADS] = {0};
    struct spool_usage usage;
    int removed = 0;
    for (int i = 0; i < LARGE_FILES; i++)
        add_large_file(fixture, i);
    for (int i = 0; i < THREADS; i++) {
        trim_calls[i].spool = fixture->spool;
        assert_int_equal(
            thread_start(&trim_calls[i].thread, "trim", trim_in_thread, &trim_calls[i], NULL), 0);
    }
    for (int i = 0; i < THREADS; i++)
        thread_join(trim_calls[i].thread);
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(trim_calls[i].result, 0);
        removed += trim_calls[i].removed;
    }
    assert_int_equal(removed, LARGE_FILES - LARGE_FILES_LEFT);
    assert_int_equal(spool_trim_dead(fixture->spool, &usage, count_removed, &removed, NULL), 0);
    assert_int_equal(usage.files, LARGE_FILES_LEFT);
    assert_int_equal(usage.bytes, SPOOL_DEAD_BYTES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_SPOOL(test_buried_record_moves_to_dead),
        WITH_SPOOL(test_dead_record_can_be_read_and_exhumed),
        WITH_SPOOL(test_exhuming_that_is_not_durable_is_undone),
        WITH_SPOOL(test_exhuming_replaces_no_record),
        WITH_SPOOL(test_oldest_dead_letters_are_trimmed),
        WITH_SPOOL(test_concurrent_trims_remove_each_file_once),
    };
    return cmocka_run_group_tests_name("spool_dead", tests, NULL, NULL);
}
