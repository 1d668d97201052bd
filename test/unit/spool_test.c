/*
 * Spool records: write, replace, read and remove; crash and corruption cases. Crashes are
 * simulated by editing the files as a machine that stopped would have left them, full disks by
 * RLIMIT_FSIZE.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../lib/spool_fixture.h"

static void test_record_round_trips(void **state)
{
    struct spool_fixture *fixture = *state;
    char reply[] = "**Summary**\n\"quoted\" \xC3\xA9\xE2\x82\xAC";
    struct spool_record saved = spool_fixture_record("n1", reply);
    struct spool_record loaded;
    saved.reply_abandoned = true;
    assert_int_equal(spool_save(fixture->spool, &saved, true, NULL), 0);
    assert_int_equal(spool_load(fixture->spool, "n1", &loaded, NULL), 0);
    assert_true(loaded.reply_abandoned);
    assert_string_equal(loaded.id, "n1");
    assert_string_equal(loaded.agent_id, "agent7");
    assert_string_equal(loaded.agent_slug, "jarvis");
    assert_string_equal(loaded.task_id, "task9");
    assert_int_equal(loaded.created_at_ms, 1700000000123);
    assert_int_equal(loaded.runs, 2);
    assert_string_equal(loaded.reply, reply);
    free(loaded.reply);
}

static void test_missing_and_empty_replies_are_distinct(void **state)
{
    struct spool_fixture *fixture = *state;
    char empty[] = "";
    struct spool_record sending = spool_fixture_record("n1", NULL);
    struct spool_record silent = spool_fixture_record("n2", empty);
    struct spool_record loaded;
    assert_int_equal(spool_save(fixture->spool, &sending, false, NULL), 0);
    assert_int_equal(spool_save(fixture->spool, &silent, true, NULL), 0);
    assert_int_equal(spool_load(fixture->spool, "n1", &loaded, NULL), 0);
    assert_null(loaded.reply);
    assert_int_equal(spool_load(fixture->spool, "n2", &loaded, NULL), 0);
    assert_string_equal(loaded.reply, "");
    free(loaded.reply);
}

static void test_later_save_replaces_earlier(void **state)
{
    struct spool_fixture *fixture = *state;
    char reply[] = "done";
    struct spool_record record = spool_fixture_record("n1", NULL);
    struct spool_record loaded;
    assert_int_equal(spool_save(fixture->spool, &record, false, NULL), 0);
    record.reply = reply;
    assert_int_equal(spool_save(fixture->spool, &record, true, NULL), 0);
    assert_int_equal(spool_load(fixture->spool, "n1", &loaded, NULL), 0);
    assert_string_equal(loaded.reply, "done");
    free(loaded.reply);
    assert_false(spool_fixture_exists(fixture, "spool/n1.json.new"));
}

static ino_t inode_of(const struct spool_fixture *fixture, const char *name)
{
    struct stat status;
    char path[SPOOL_FIXTURE_PATH_BYTES];
    spool_fixture_path(fixture, name, path);
    assert_int_equal(stat(path, &status), 0);
    return status.st_ino;
}

static void test_reply_is_written_into_its_record(void **state)
{
    struct spool_fixture *fixture = *state;
    char reply[] = "done, \"reply\":";
    struct spool_record record = spool_fixture_record("n1", NULL);
    struct spool_record loaded;
    assert_int_equal(spool_save(fixture->spool, &record, false, NULL), 0);
    ino_t before = inode_of(fixture, "spool/n1.json");
    record.reply = reply;
    assert_int_equal(spool_save(fixture->spool, &record, true, NULL), 0);
    assert_int_equal(inode_of(fixture, "spool/n1.json"), before);
    assert_int_equal(spool_load(fixture->spool, "n1", &loaded, NULL), 0);
    assert_string_equal(loaded.reply, reply);
    assert_int_equal(loaded.runs, 2);
    free(loaded.reply);
}

/* The record on disk is of a different run, with a different length, or already has a reply. */
static void test_reply_replaces_a_different_record(void **state)
{
    struct spool_fixture *fixture = *state;
    char first[] = "a long first reply";
    char reply[] = "done";
    struct spool_record record = spool_fixture_record("n1", NULL);
    struct spool_record loaded;
    assert_int_equal(spool_save(fixture->spool, &record, false, NULL), 0);
    record.runs = 10;
    record.reply = first;
    assert_int_equal(spool_save(fixture->spool, &record, true, NULL), 0);
    record.reply = reply;
    assert_int_equal(spool_save(fixture->spool, &record, true, NULL), 0);
    assert_int_equal(spool_load(fixture->spool, "n1", &loaded, NULL), 0);
    assert_string_equal(loaded.reply, reply);
    assert_int_equal(loaded.runs, 10);
    free(loaded.reply);
}

/* Simulates a full disk: files may grow up to this size only. */
static void limit_file_size(rlim_t bytes, struct rlimit *before)
{
    assert_int_equal(getrlimit(RLIMIT_FSIZE, before), 0);
    const struct rlimit limit = {.rlim_cur = bytes, .rlim_max = before->rlim_max};
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void test_reply_on_a_full_disk_keeps_the_record(void **state)
{
    struct spool_fixture *fixture = *state;
    char reply[1024];
    struct spool_record record = spool_fixture_record("n1", NULL);
    struct spool_record loaded;
    struct error error;
    struct rlimit before;
    memset(reply, 'x', sizeof reply - 1);
    reply[sizeof reply - 1] = '\0';
    assert_int_equal(spool_save(fixture->spool, &record, false, NULL), 0);
    record.reply = reply;
    limit_file_size(512, &before);
    int result = spool_save(fixture->spool, &record, true, &error);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(result, ERROR_SYSTEM);
    assert_int_equal(spool_load(fixture->spool, "n1", &loaded, NULL), 0);
    assert_null(loaded.reply);
    assert_int_equal(loaded.runs, 2);
}

static void copy_runs(void *context, struct spool_record *record, const struct error *why)
{
    assert_non_null(why);
    assert_null(record->reply);
    *(unsigned *)context = record->runs;
}

/* The machine crashed with the new bytes but not the new length on disk, or the reverse. */
static void test_unwritten_reply_is_absent(void **state)
{
    struct spool_fixture *fixture = *state;
    static const struct {
        const char *bytes;
        size_t length_bytes;
    } ends[] = {{",", 1}, {",\"rep", 5}, {"}\0\0\0", 4}, {",\0\0\0", 4}, {"\0", 1}};
    char path[SPOOL_FIXTURE_PATH_BYTES];
    struct stat status;
    struct spool_record loaded;
    struct spool_record record = spool_fixture_record("n1", NULL);
    spool_fixture_path(fixture, "spool/n1.json", path);
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        assert_int_equal(spool_save(fixture->spool, &record, false, NULL), 0);
        assert_int_equal(stat(path, &status), 0);
        int fd = open(path, O_WRONLY | O_CLOEXEC);
        assert_int_equal(pwrite(fd, ends[i].bytes, ends[i].length_bytes, status.st_size - 1),
            (ssize_t)ends[i].length_bytes);
        close(fd);
        struct error error = {0};
        assert_int_equal(spool_load(fixture->spool, "n1", &loaded, &error), 0);
        assert_int_equal(error.code, 0);
        assert_null(loaded.reply);
        assert_int_equal(loaded.runs, 2);
        assert_string_equal(loaded.agent_id, "agent7");
    }
}

static void test_partial_reply_keeps_the_runs(void **state)
{
    struct spool_fixture *fixture = *state;
    char reply[] = "a reply that the machine did not write whole";
    char path[SPOOL_FIXTURE_PATH_BYTES];
    struct stat status;
    unsigned runs = 0;
    struct spool_record record = spool_fixture_record("n1", reply);
    assert_int_equal(spool_save(fixture->spool, &record, true, NULL), 0);
    spool_fixture_path(fixture, "spool/n1.json", path);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(truncate(path, status.st_size - 20), 0);
    assert_int_equal(spool_each(fixture->spool, copy_runs, &runs, NULL), 0);
    assert_int_equal(runs, 2);
    assert_int_equal(truncate(path, 40), 0);
    assert_int_equal(spool_each(fixture->spool, copy_runs, &runs, NULL), 0);
    assert_int_equal(runs, 0);
}

/* One directory sync makes the names of all records durable that were created before it. */
static void test_names_are_synced_together(void **state)
{
    struct spool_fixture *fixture = *state;
    char reply[] = "a reply";
    static const struct {
        const char *id;
        uint64_t syncs; /* total after its reply is saved */
    } replies[] = {{"n1", 1}, {"n2", 1}, {"n3", 2}, {"n4", 2}};
    struct spool_record records[4];
    for (size_t i = 0; i < 4; i++) {
        records[i] = spool_fixture_record(replies[i].id, NULL);
        /* The last two are written after the reply of the first. */
        if (i < 2)
            assert_int_equal(spool_save(fixture->spool, &records[i], false, NULL), 0);
    }
    for (size_t i = 0; i < 4; i++) {
        records[i].reply = reply;
        assert_int_equal(spool_save(fixture->spool, &records[i], true, NULL), 0);
        assert_int_equal(spool_syncs(fixture->spool), replies[i].syncs);
        records[i].reply = NULL;
        for (size_t later = 2; later < 4 && i == 1; later++)
            assert_int_equal(spool_save(fixture->spool, &records[later], false, NULL), 0);
    }
    struct spool_record restored = spool_fixture_record("n5", NULL);
    assert_int_equal(spool_save(fixture->spool, &restored, false, NULL), 0);
    restored.name_sync = 0;
    restored.reply = reply;
    assert_int_equal(spool_save(fixture->spool, &restored, true, NULL), 0);
    assert_int_equal(spool_syncs(fixture->spool), 3);
}

/* A directory in place of the temporary file makes the write fail even for root. */
static void test_failed_write_keeps_the_old_record(void **state)
{
    struct spool_fixture *fixture = *state;
    char reply[] = "new";
    struct spool_record record = spool_fixture_record("n1", NULL);
    struct spool_record loaded;
    struct error error;
    char path[SPOOL_FIXTURE_PATH_BYTES];
    assert_int_equal(spool_save(fixture->spool, &record, true, NULL), 0);
    spool_fixture_path(fixture, "spool/n1.json.new", path);
    assert_int_equal(mkdir(path, 0700), 0);
    record.runs = 10;
    record.reply = reply;
    assert_int_equal(spool_save(fixture->spool, &record, true, &error), ERROR_SYSTEM);
    assert_int_equal(spool_load(fixture->spool, "n1", &loaded, NULL), 0);
    assert_null(loaded.reply);
    assert_int_equal(loaded.runs, 2);
}

static void test_removing_an_absent_record_succeeds(void **state)
{
    struct spool_fixture *fixture = *state;
    struct spool_record record = spool_fixture_record("n1", NULL);
    struct error error;
    assert_int_equal(spool_save(fixture->spool, &record, true, NULL), 0);
    assert_int_equal(spool_remove(fixture->spool, "n1", NULL), 0);
    assert_int_equal(spool_remove(fixture->spool, "n1", NULL), 0);
    assert_int_equal(spool_load(fixture->spool, "n1", &record, &error), ERROR_CLOSED);
}

static void test_corrupt_records_are_refused(void **state)
{
    struct spool_fixture *fixture = *state;
    static const char *const corrupt[] = {"", "{", "[]", "null", "{\"account\":\"account1\"}",
        "{\"account\":\"account2\",\"id\":\"n1\",\"agent\":\"a\",\"slug\":\"s\",\"task\":\"\","
        "\"createdAt\":1,\"runs\":1}",
        "{\"account\":\"account1\",\"id\":\"other\",\"agent\":\"a\",\"slug\":\"s\",\"task\":\"\","
        "\"createdAt\":1,\"runs\":1}",
        "{\"account\":\"account1\",\"id\":\"n1\",\"agent\":\"a\",\"slug\":\"s\",\"task\":\"\","
        "\"createdAt\":1,\"runs\":-1}"};
    struct spool_record record;
    struct error error;
    for (size_t i = 0; i < sizeof corrupt / sizeof corrupt[0]; i++) {
        spool_fixture_write(fixture, "spool/n1.json", corrupt[i]);
        assert_int_equal(spool_load(fixture->spool, "n1", &record, &error), ERROR_INVALID);
        assert_non_null(strstr(error.text, "n1.json"));
    }
}

static void test_huge_and_special_files_are_refused(void **state)
{
    struct spool_fixture *fixture = *state;
    struct spool_record record;
    struct error error;
    char path[SPOOL_FIXTURE_PATH_BYTES];
    spool_fixture_write(fixture, "spool/n1.json", "{}");
    spool_fixture_path(fixture, "spool/n1.json", path);
    assert_int_equal(truncate(path, (off_t)1 << 34), 0);
    assert_int_equal(spool_load(fixture->spool, "n1", &record, &error), ERROR_INVALID);
    spool_fixture_path(fixture, "spool/n2.json", path);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(spool_load(fixture->spool, "n2", &record, &error), ERROR_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_SPOOL(test_record_round_trips),
        WITH_SPOOL(test_missing_and_empty_replies_are_distinct),
        WITH_SPOOL(test_later_save_replaces_earlier),
        WITH_SPOOL(test_reply_is_written_into_its_record),
        WITH_SPOOL(test_reply_replaces_a_different_record),
        WITH_SPOOL(test_reply_on_a_full_disk_keeps_the_record),
        WITH_SPOOL(test_unwritten_reply_is_absent),
        WITH_SPOOL(test_partial_reply_keeps_the_runs),
        WITH_SPOOL(test_names_are_synced_together),
        WITH_SPOOL(test_failed_write_keeps_the_old_record),
        WITH_SPOOL(test_removing_an_absent_record_succeeds),
        WITH_SPOOL(test_corrupt_records_are_refused),
        WITH_SPOOL(test_huge_and_special_files_are_refused),
    };
    return cmocka_run_group_tests_name("spool", tests, NULL, NULL);
}
