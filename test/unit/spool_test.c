#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../src/queue/spool_folders.h"
#include "../lib/folder.h"
#include "base/text.h"
#include "queue/spool.h"

struct fixture {
    char folder[FOLDER_BYTES];
    struct spool *spool;
};

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    assert_non_null(fixture);
    folder_make(fixture->folder);
    assert_int_equal(spool_open(&fixture->spool, fixture->folder, "account1", NULL), 0);
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    spool_close(fixture->spool);
    folder_remove(fixture->folder);
    free(fixture);
    return 0;
}

static struct spool_record record_of(const char *id, char *reply)
{
    struct spool_record record = {.created_at_ms = 1700000000123, .runs = 2, .reply = reply};
    snprintf(record.id, sizeof record.id, "%s", id);
    snprintf(record.agent_id, sizeof record.agent_id, "agent7");
    snprintf(record.agent_slug, sizeof record.agent_slug, "jarvis");
    snprintf(record.task_id, sizeof record.task_id, "task9");
    return record;
}

static void path_of(const struct fixture *fixture, const char *name, char path[static 512])
{
    snprintf(path, 512, "%s/%s", fixture->folder, name);
}

static void write_file(const struct fixture *fixture, const char *name, const char *content)
{
    char path[512];
    path_of(fixture, name, path);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, content, strlen(content)), (ssize_t)strlen(content));
    close(fd);
}

static bool exists(const struct fixture *fixture, const char *name)
{
    char path[512];
    path_of(fixture, name, path);
    return access(path, F_OK) == 0;
}

static void test_record_comes_back_as_it_was(void **state)
{
    struct fixture *fixture = *state;
    char reply[] = "**Summary**\n\"quoted\" \xC3\xA9\xE2\x82\xAC";
    struct spool_record saved = record_of("n1", reply);
    struct spool_record loaded;
    assert_int_equal(spool_save(fixture->spool, &saved, true, NULL), 0);
    assert_int_equal(spool_load(fixture->spool, "n1", &loaded, NULL), 0);
    assert_string_equal(loaded.id, "n1");
    assert_string_equal(loaded.agent_id, "agent7");
    assert_string_equal(loaded.agent_slug, "jarvis");
    assert_string_equal(loaded.task_id, "task9");
    assert_int_equal(loaded.created_at_ms, 1700000000123);
    assert_int_equal(loaded.runs, 2);
    assert_string_equal(loaded.reply, reply);
    free(loaded.reply);
}

static void test_record_without_reply_is_not_one_with_an_empty_reply(void **state)
{
    struct fixture *fixture = *state;
    char empty[] = "";
    struct spool_record sending = record_of("n1", NULL);
    struct spool_record silent = record_of("n2", empty);
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
    struct fixture *fixture = *state;
    char reply[] = "done";
    struct spool_record record = record_of("n1", NULL);
    struct spool_record loaded;
    assert_int_equal(spool_save(fixture->spool, &record, false, NULL), 0);
    record.reply = reply;
    assert_int_equal(spool_save(fixture->spool, &record, true, NULL), 0);
    assert_int_equal(spool_load(fixture->spool, "n1", &loaded, NULL), 0);
    assert_string_equal(loaded.reply, "done");
    free(loaded.reply);
    assert_false(exists(fixture, "spool/n1.json.new"));
}

static ino_t inode_of(const struct fixture *fixture, const char *name)
{
    struct stat status;
    char path[512];
    path_of(fixture, name, path);
    assert_int_equal(stat(path, &status), 0);
    return status.st_ino;
}

static void test_reply_is_added_to_the_record_of_its_run(void **state)
{
    struct fixture *fixture = *state;
    char reply[] = "done, \"reply\":";
    struct spool_record record = record_of("n1", NULL);
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

/* What the disk has is of another run, whose record was longer or shorter, or has a reply. */
static void test_reply_is_not_added_to_another_record(void **state)
{
    struct fixture *fixture = *state;
    char first[] = "a long first reply";
    char reply[] = "done";
    struct spool_record record = record_of("n1", NULL);
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

/* Files that may grow to so many bytes stand for a disk that is full then. */
static void limit_files(rlim_t bytes, struct rlimit *before)
{
    assert_int_equal(getrlimit(RLIMIT_FSIZE, before), 0);
    const struct rlimit limit = {.rlim_cur = bytes, .rlim_max = before->rlim_max};
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void test_reply_that_finds_no_room_leaves_the_record(void **state)
{
    struct fixture *fixture = *state;
    char reply[1024];
    struct spool_record record = record_of("n1", NULL);
    struct spool_record loaded;
    struct error error;
    struct rlimit before;
    memset(reply, 'x', sizeof reply - 1);
    reply[sizeof reply - 1] = '\0';
    assert_int_equal(spool_save(fixture->spool, &record, false, NULL), 0);
    record.reply = reply;
    limit_files(512, &before);
    int result = spool_save(fixture->spool, &record, true, &error);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(result, ERROR_SYSTEM);
    assert_int_equal(spool_load(fixture->spool, "n1", &loaded, NULL), 0);
    assert_null(loaded.reply);
    assert_int_equal(loaded.runs, 2);
}

static void take_runs(void *context, struct spool_record *record, const struct error *why)
{
    assert_non_null(why);
    assert_null(record->reply);
    *(unsigned *)context = record->runs;
}

/* The machine stopped when the new bytes, but not the new length, or the reverse, were on disk. */
static void test_reply_of_which_nothing_was_written_is_none(void **state)
{
    struct fixture *fixture = *state;
    static const struct {
        const char *bytes;
        size_t length_bytes;
    } ends[] = {{",", 1}, {",\"rep", 5}, {"}\0\0\0", 4}, {",\0\0\0", 4}, {"\0", 1}};
    char path[512];
    struct stat status;
    struct spool_record loaded;
    struct spool_record record = record_of("n1", NULL);
    path_of(fixture, "spool/n1.json", path);
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

static void test_runs_of_a_half_written_reply_are_known(void **state)
{
    struct fixture *fixture = *state;
    char reply[] = "a reply that the machine did not write whole";
    char path[512];
    struct stat status;
    unsigned runs = 0;
    struct spool_record record = record_of("n1", reply);
    assert_int_equal(spool_save(fixture->spool, &record, true, NULL), 0);
    path_of(fixture, "spool/n1.json", path);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(truncate(path, status.st_size - 20), 0);
    assert_int_equal(spool_each(fixture->spool, take_runs, &runs, NULL), 0);
    assert_int_equal(runs, 2);
    assert_int_equal(truncate(path, 40), 0);
    assert_int_equal(spool_each(fixture->spool, take_runs, &runs, NULL), 0);
    assert_int_equal(runs, 0);
}

/* One sync of the folder has the names of all records on disk that were written before it. */
static void test_names_are_synced_together(void **state)
{
    struct fixture *fixture = *state;
    char reply[] = "a reply";
    static const struct {
        const char *id;
        uint64_t syncs; /* begun once its reply is saved */
    } replies[] = {{"n1", 1}, {"n2", 1}, {"n3", 2}, {"n4", 2}};
    struct spool_record records[4];
    for (size_t i = 0; i < 4; i++) {
        records[i] = record_of(replies[i].id, NULL);
        /* The last two are written after the reply of the first. */
        if (i < 2)
            assert_int_equal(spool_save(fixture->spool, &records[i], false, NULL), 0);
    }
    for (size_t i = 0; i < 4; i++) {
        records[i].reply = reply;
        assert_int_equal(spool_save(fixture->spool, &records[i], true, NULL), 0);
        assert_int_equal(fixture->spool->sync.begun, replies[i].syncs);
        records[i].reply = NULL;
        for (size_t later = 2; later < 4 && i == 1; later++)
            assert_int_equal(spool_save(fixture->spool, &records[later], false, NULL), 0);
    }
    struct spool_record restored = record_of("n5", NULL);
    assert_int_equal(spool_save(fixture->spool, &restored, false, NULL), 0);
    restored.name_sync = 0;
    restored.reply = reply;
    assert_int_equal(spool_save(fixture->spool, &restored, true, NULL), 0);
    assert_int_equal(fixture->spool->sync.begun, 3);
}

static void test_files_are_for_the_owner_only(void **state)
{
    struct fixture *fixture = *state;
    struct spool_record record = record_of("n1", NULL);
    struct stat status;
    char path[512];
    assert_int_equal(spool_save(fixture->spool, &record, true, NULL), 0);
    path_of(fixture, "spool/n1.json", path);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
    path_of(fixture, "spool", path);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0700);
}

static void test_remove_and_absent(void **state)
{
    struct fixture *fixture = *state;
    struct spool_record record = record_of("n1", NULL);
    struct error error;
    assert_int_equal(spool_save(fixture->spool, &record, true, NULL), 0);
    assert_int_equal(spool_remove(fixture->spool, "n1", NULL), 0);
    assert_int_equal(spool_remove(fixture->spool, "n1", NULL), 0);
    assert_int_equal(spool_load(fixture->spool, "n1", &record, &error), ERROR_CLOSED);
}

static void test_buried_record_is_kept_in_dead(void **state)
{
    struct fixture *fixture = *state;
    struct spool_record record = record_of("n1", NULL);
    assert_int_equal(spool_save(fixture->spool, &record, true, NULL), 0);
    assert_int_equal(spool_bury(fixture->spool, "n1", NULL), 0);
    assert_false(exists(fixture, "spool/n1.json"));
    assert_true(exists(fixture, "dead/n1.json"));
}

/* How often each kind was found. */
struct census {
    int whole;
    int damaged;
};

static void count(void *context, struct spool_record *record, const struct error *why)
{
    struct census *census = context;
    census->whole += why == NULL ? 1 : 0;
    census->damaged += why != NULL ? 1 : 0;
    free(record->reply);
}

static void test_dead_record_can_be_read_and_brought_back(void **state)
{
    struct fixture *fixture = *state;
    char reply[] = "late";
    struct spool_record record = record_of("n1", reply);
    struct spool_record loaded;
    struct census census = {0};
    assert_int_equal(spool_save(fixture->spool, &record, true, NULL), 0);
    assert_int_equal(spool_bury(fixture->spool, "n1", NULL), 0);
    write_file(fixture, "dead/n2.json", "{");
    assert_int_equal(spool_each_dead(fixture->spool, count, &census, NULL), 0);
    assert_int_equal(census.whole, 1);
    assert_int_equal(census.damaged, 1);
    assert_int_equal(spool_load_dead(fixture->spool, "n1", &loaded, NULL), 0);
    assert_string_equal(loaded.reply, "late");
    free(loaded.reply);
    assert_int_equal(spool_exhume(fixture->spool, "n1", NULL), 0);
    assert_true(exists(fixture, "spool/n1.json"));
    assert_int_equal(spool_exhume(fixture->spool, "n1", NULL), ERROR_CLOSED);
    assert_int_equal(spool_remove_dead(fixture->spool, "n2", NULL), 0);
    assert_int_equal(spool_remove_dead(fixture->spool, "n2", NULL), ERROR_CLOSED);
}

static void note_removed(void *context, const char *id)
{
    text_copy(context, ID_BYTES, id);
}

/* The oldest file goes until the rest fits; a file that is no record is left alone. */
static void test_dead_is_trimmed_to_its_bounds(void **state)
{
    struct fixture *fixture = *state;
    const struct timespec long_ago[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
    struct spool_usage usage;
    char removed[ID_BYTES] = "";
    char path[512];
    write_file(fixture, "dead/new.json", "{}");
    write_file(fixture, "dead/old.json", "{}");
    write_file(fixture, "dead/README", "a person's");
    path_of(fixture, "dead/old.json", path);
    assert_int_equal(utimensat(AT_FDCWD, path, long_ago, 0), 0);
    assert_int_equal(spool_trim_dead(fixture->spool, &usage, note_removed, removed, NULL), 0);
    assert_int_equal(usage.files, 2);
    assert_int_equal(usage.bytes, 4);
    assert_string_equal(removed, "");
    path_of(fixture, "dead/new.json", path);
    assert_int_equal(truncate(path, SPOOL_DEAD_BYTES - 1), 0);
    assert_int_equal(spool_trim_dead(fixture->spool, &usage, note_removed, removed, NULL), 0);
    assert_string_equal(removed, "old");
    assert_int_equal(usage.files, 1);
    assert_true(exists(fixture, "dead/README"));
}

static void test_damaged_records_are_refused(void **state)
{
    struct fixture *fixture = *state;
    static const char *const damaged[] = {"", "{", "[]", "null", "{\"account\":\"account1\"}",
        "{\"account\":\"account2\",\"id\":\"n1\",\"agent\":\"a\",\"slug\":\"s\",\"task\":\"\","
        "\"createdAt\":1,\"runs\":1}",
        "{\"account\":\"account1\",\"id\":\"other\",\"agent\":\"a\",\"slug\":\"s\",\"task\":\"\","
        "\"createdAt\":1,\"runs\":1}",
        "{\"account\":\"account1\",\"id\":\"n1\",\"agent\":\"a\",\"slug\":\"s\",\"task\":\"\","
        "\"createdAt\":1,\"runs\":-1}"};
    struct spool_record record;
    struct error error;
    for (size_t i = 0; i < sizeof damaged / sizeof damaged[0]; i++) {
        write_file(fixture, "spool/n1.json", damaged[i]);
        assert_int_equal(spool_load(fixture->spool, "n1", &record, &error), ERROR_INVALID);
        assert_non_null(strstr(error.text, "n1.json"));
    }
}

static void test_huge_and_special_files_are_refused(void **state)
{
    struct fixture *fixture = *state;
    struct spool_record record;
    struct error error;
    char path[512];
    write_file(fixture, "spool/n1.json", "{}");
    path_of(fixture, "spool/n1.json", path);
    assert_int_equal(truncate(path, (off_t)1 << 34), 0);
    assert_int_equal(spool_load(fixture->spool, "n1", &record, &error), ERROR_INVALID);
    path_of(fixture, "spool/n2.json", path);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(spool_load(fixture->spool, "n2", &record, &error), ERROR_INVALID);
}

static void test_each_finds_all_and_clears_leftovers(void **state)
{
    struct fixture *fixture = *state;
    char reply[] = "x";
    struct spool_record one = record_of("n1", reply);
    struct spool_record two = record_of("n2", NULL);
    struct census census = {0};
    assert_int_equal(spool_save(fixture->spool, &one, true, NULL), 0);
    assert_int_equal(spool_save(fixture->spool, &two, false, NULL), 0);
    write_file(fixture, "spool/n3.json", "{\"acc");
    write_file(fixture, "spool/n4.json.new", "half");
    assert_int_equal(spool_each(fixture->spool, count, &census, NULL), 0);
    assert_int_equal(census.whole, 2);
    assert_int_equal(census.damaged, 1);
    assert_false(exists(fixture, "spool/n4.json.new"));
}

static void test_another_accounts_folder_is_refused(void **state)
{
    struct fixture *fixture = *state;
    struct spool *other;
    struct error error;
    assert_int_equal(spool_open(&other, fixture->folder, "account2", &error), ERROR_INVALID);
    assert_non_null(strstr(error.text, "account1"));
    assert_int_equal(spool_open(&other, fixture->folder, "account1", &error), 0);
    spool_close(other);
}

/* Whose it is cannot be read: that does not make it nobody's. */
static void test_folder_of_an_unreadable_owner_is_refused(void **state)
{
    struct fixture *fixture = *state;
    struct spool *other;
    struct error error;
    char path[512];
    snprintf(path, sizeof path, "%s/account", fixture->folder);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(symlink("elsewhere", path), 0);
    assert_int_equal(spool_open(&other, fixture->folder, "account2", &error), ERROR_SYSTEM);
    assert_non_null(strstr(error.text, fixture->folder));
    assert_int_equal(spool_check_account(fixture->folder, "account2", &error), ERROR_SYSTEM);
}

/* The reply that is there must not be lost for an older one. */
static void test_exhumed_record_replaces_no_other(void **state)
{
    struct fixture *fixture = *state;
    char older[] = "older";
    char newer[] = "newer";
    struct spool_record record = record_of("n1", older);
    struct spool_record loaded;
    assert_int_equal(spool_save(fixture->spool, &record, true, NULL), 0);
    assert_int_equal(spool_bury(fixture->spool, "n1", NULL), 0);
    record.reply = newer;
    assert_int_equal(spool_save(fixture->spool, &record, true, NULL), 0);
    assert_int_equal(spool_exhume(fixture->spool, "n1", NULL), ERROR_INVALID);
    assert_int_equal(spool_load(fixture->spool, "n1", &loaded, NULL), 0);
    assert_string_equal(loaded.reply, "newer");
    free(loaded.reply);
    assert_true(exists(fixture, "dead/n1.json"));
}

static void test_look_at_what_is_there_makes_nothing(void **state)
{
    struct fixture *fixture = *state;
    struct spool *seen;
    struct error error;
    char path[512];
    path_of(fixture, "nowhere", path);
    assert_int_equal(spool_open_existing(&seen, path, "account1", &error), ERROR_CLOSED);
    assert_non_null(strstr(error.text, path));
    assert_false(exists(fixture, "nowhere"));
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(spool_open_existing(&seen, path, "account1", &error), ERROR_CLOSED);
    assert_int_equal(rmdir(path), 0);
    assert_int_equal(
        spool_open_existing(&seen, fixture->folder, "account2", &error), ERROR_INVALID);
    assert_non_null(strstr(error.text, "account1"));
}

/* A runtime may be about to rename that file. */
static void test_look_at_what_is_there_leaves_unfinished_writes(void **state)
{
    struct fixture *fixture = *state;
    struct spool_record record = record_of("n1", NULL);
    struct spool *seen;
    struct census census = {0};
    assert_int_equal(spool_save(fixture->spool, &record, true, NULL), 0);
    write_file(fixture, "spool/n4.json.new", "half");
    assert_int_equal(spool_open_existing(&seen, fixture->folder, "account1", NULL), 0);
    assert_int_equal(spool_each(seen, count, &census, NULL), 0);
    spool_close(seen);
    assert_int_equal(census.whole, 1);
    assert_true(exists(fixture, "spool/n4.json.new"));
}

/* What a listing has read ahead may be gone when its turn comes. */
struct vanishing {
    struct spool *spool;
    struct census census;
};

static void remove_all(void *context, struct spool_record *record, const struct error *why)
{
    struct vanishing *vanishing = context;
    count(&vanishing->census, record, why);
    for (int i = 0; i < 3; i++) {
        char id[ID_BYTES];
        snprintf(id, sizeof id, "n%d", i);
        assert_int_equal(spool_remove(vanishing->spool, id, NULL), 0);
    }
}

static void test_record_that_goes_away_meanwhile_is_not_found(void **state)
{
    struct fixture *fixture = *state;
    struct vanishing vanishing = {.spool = fixture->spool};
    static const char *const ids[] = {"n0", "n1", "n2"};
    for (int i = 0; i < 3; i++) {
        struct spool_record record = record_of(ids[i], NULL);
        assert_int_equal(spool_save(fixture->spool, &record, true, NULL), 0);
    }
    assert_int_equal(spool_each(fixture->spool, remove_all, &vanishing, NULL), 0);
    assert_int_equal(vanishing.census.whole, 1);
    assert_int_equal(vanishing.census.damaged, 0);
}

static void test_whose_folder_it_is_can_be_asked(void **state)
{
    struct fixture *fixture = *state;
    struct error error;
    char path[300];
    assert_int_equal(spool_check_account(fixture->folder, "account1", &error), 0);
    assert_int_equal(spool_check_account(fixture->folder, "account2", &error), ERROR_INVALID);
    assert_non_null(strstr(error.text, "account1"));
    snprintf(path, sizeof path, "%s/spool", fixture->folder);
    assert_int_equal(spool_check_account(path, "account2", &error), 0);
    assert_false(exists(fixture, "spool/account"));
    snprintf(path, sizeof path, "%s/nowhere", fixture->folder);
    assert_int_equal(spool_check_account(path, "account2", &error), 0);
    assert_false(exists(fixture, "nowhere"));
}

/* A folder in the temporary file's place fails the write for root, too. */
static void test_failed_write_keeps_the_old_record(void **state)
{
    struct fixture *fixture = *state;
    char reply[] = "new";
    struct spool_record record = record_of("n1", NULL);
    struct spool_record loaded;
    struct error error;
    char path[512];
    assert_int_equal(spool_save(fixture->spool, &record, true, NULL), 0);
    path_of(fixture, "spool/n1.json.new", path);
    assert_int_equal(mkdir(path, 0700), 0);
    record.runs = 10;
    record.reply = reply;
    assert_int_equal(spool_save(fixture->spool, &record, true, &error), ERROR_SYSTEM);
    assert_int_equal(spool_load(fixture->spool, "n1", &loaded, NULL), 0);
    assert_null(loaded.reply);
    assert_int_equal(loaded.runs, 2);
}

int main(void)
{
#define WITH_SPOOL(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        WITH_SPOOL(test_record_comes_back_as_it_was),
        WITH_SPOOL(test_record_without_reply_is_not_one_with_an_empty_reply),
        WITH_SPOOL(test_later_save_replaces_earlier),
        WITH_SPOOL(test_reply_is_added_to_the_record_of_its_run),
        WITH_SPOOL(test_reply_is_not_added_to_another_record),
        WITH_SPOOL(test_reply_that_finds_no_room_leaves_the_record),
        WITH_SPOOL(test_reply_of_which_nothing_was_written_is_none),
        WITH_SPOOL(test_runs_of_a_half_written_reply_are_known),
        WITH_SPOOL(test_names_are_synced_together),
        WITH_SPOOL(test_files_are_for_the_owner_only),
        WITH_SPOOL(test_remove_and_absent),
        WITH_SPOOL(test_buried_record_is_kept_in_dead),
        WITH_SPOOL(test_dead_record_can_be_read_and_brought_back),
        WITH_SPOOL(test_dead_is_trimmed_to_its_bounds),
        WITH_SPOOL(test_damaged_records_are_refused),
        WITH_SPOOL(test_huge_and_special_files_are_refused),
        WITH_SPOOL(test_each_finds_all_and_clears_leftovers),
        WITH_SPOOL(test_another_accounts_folder_is_refused),
        WITH_SPOOL(test_folder_of_an_unreadable_owner_is_refused),
        WITH_SPOOL(test_exhumed_record_replaces_no_other),
        WITH_SPOOL(test_look_at_what_is_there_makes_nothing),
        WITH_SPOOL(test_look_at_what_is_there_leaves_unfinished_writes),
        WITH_SPOOL(test_record_that_goes_away_meanwhile_is_not_found),
        WITH_SPOOL(test_whose_folder_it_is_can_be_asked),
        WITH_SPOOL(test_failed_write_keeps_the_old_record),
    };
    return cmocka_run_group_tests_name("spool", tests, NULL, NULL);
}
