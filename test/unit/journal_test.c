/* The journal when the disk or a record fails, and what a start restores. */
#include <fcntl.h>
#include <setjmp.h>
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
#include "../lib/queue_fixture.h"
#include "../lib/tmp_dir.h"
#include "base/json.h"
#include "base/sync.h"
#include "base/text.h"
#include "delivery/journal.h"

enum { PATH_BYTES = TMP_DIR_BYTES + 64 };

struct fixture {
    char dir[TMP_DIR_BYTES];
    struct spool *spool;
    struct send_queue *queue;
    struct stats stats;
    struct journal journal;
    struct entry *entry; /* taken from the queue */
};

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    assert_non_null(fixture);
    tmp_dir_create(fixture->dir);
    assert_int_equal(spool_open(&fixture->spool, fixture->dir, "account1", NULL), 0);
    fixture->queue = queue_fixture_create(QUEUE_FIXTURE_CAPACITY);
    stats_init(&fixture->stats);
    fixture->journal = (struct journal){.spool = fixture->spool, .stats = &fixture->stats};
    PAGE(fixture->queue, {"n1", "a1", "", 1});
    fixture->entry = queue_fixture_take(fixture->queue, "n1");
    text_copy(fixture->entry->work.agent_slug, ID_BYTES, "jarvis");
    text_copy(fixture->entry->work.task_id, ID_BYTES, "t1");
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    queue_fixture_finish(fixture->queue, fixture->entry, STAGE_SETTLED, 0);
    tmp_dir_remove(fixture->dir);
    /* After a failed test entries are still taken; destroying the queue would hide its message. */
    if (queue_fixture_counts(fixture->queue).running > 0)
        return -1;
    send_queue_destroy(fixture->queue);
    spool_close(fixture->spool);
    stats_fini(&fixture->stats);
    free(fixture);
    return 0;
}

static bool exists(const struct fixture *fixture, const char *name)
{
    char path[PATH_BYTES];
    snprintf(path, sizeof path, "%s/%s", fixture->dir, name);
    return access(path, F_OK) == 0;
}

static void write_file(const struct fixture *fixture, const char *name, const char *content)
{
    char path[PATH_BYTES];
    snprintf(path, sizeof path, "%s/%s", fixture->dir, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(content, file);
    assert_int_equal(fclose(file), 0);
}

/* Puts a reply on disk and frees it in memory. */
static void keep_and_release(struct fixture *fixture)
{
    fixture->entry->work.reply = strdup("the reply");
    journal_save_reply(&fixture->journal, fixture->entry);
    assert_int_equal(fixture->entry->work.record, RECORD_REPLY);
    journal_release_reply(fixture->entry);
    assert_null(fixture->entry->work.reply);
}

static void test_reply_is_loaded_again(void **state)
{
    struct fixture *fixture = *state;
    struct error error;
    keep_and_release(fixture);
    assert_int_equal(journal_load_reply(&fixture->journal, fixture->entry, &error), 0);
    assert_string_equal(fixture->entry->work.reply, "the reply");
    assert_int_equal(fixture->entry->work.record, RECORD_REPLY);
}

static void test_damaged_reply_is_lost(void **state)
{
    struct fixture *fixture = *state;
    struct error error;
    keep_and_release(fixture);
    write_file(fixture, "spool/n1.json", "{\"account\":");
    assert_int_equal(journal_load_reply(&fixture->journal, fixture->entry, &error), ERROR_INVALID);
    assert_int_not_equal(fixture->entry->work.record, RECORD_REPLY);
    assert_true(exists(fixture, "dead/n1.json"));
}

static void test_missing_record_loses_the_reply(void **state)
{
    struct fixture *fixture = *state;
    struct error error;
    keep_and_release(fixture);
    assert_int_equal(spool_remove(fixture->spool, "n1", NULL), 0);
    assert_int_equal(journal_load_reply(&fixture->journal, fixture->entry, &error), ERROR_CLOSED);
    assert_int_not_equal(fixture->entry->work.record, RECORD_REPLY);
}

static void test_record_without_the_reply_is_buried(void **state)
{
    struct fixture *fixture = *state;
    struct error error;
    journal_begin_run(&fixture->journal, fixture->entry);
    fixture->entry->work.record = RECORD_REPLY;
    assert_int_equal(journal_load_reply(&fixture->journal, fixture->entry, &error), ERROR_INVALID);
    assert_non_null(strstr(error.text, "holds no reply"));
    assert_true(exists(fixture, "dead/n1.json"));
}

/* The reply exists, so a failure to read it now must not get the agent asked again. */
static void test_reply_that_cannot_be_read_now_is_kept(void **state)
{
    struct fixture *fixture = *state;
    struct error error;
    struct rlimit before;
    keep_and_release(fixture);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    const struct rlimit none = {.rlim_cur = 3, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    int result = journal_load_reply(&fixture->journal, fixture->entry, &error);
    setrlimit(RLIMIT_NOFILE, &before);
    assert_int_equal(result, ERROR_SYSTEM);
    assert_int_equal(fixture->entry->work.record, RECORD_REPLY);
    assert_true(exists(fixture, "spool/n1.json"));
    assert_int_equal(journal_load_reply(&fixture->journal, fixture->entry, &error), 0);
    assert_string_equal(fixture->entry->work.reply, "the reply");
}

static void test_reply_without_memory_for_it_is_kept(void **state)
{
    struct fixture *fixture = *state;
    struct error error;
    keep_and_release(fixture);
    alloc_fault_arm(1);
    int result = journal_load_reply(&fixture->journal, fixture->entry, &error);
    alloc_fault_disarm();
    assert_int_equal(result, ERROR_NO_MEMORY);
    assert_int_equal(fixture->entry->work.record, RECORD_REPLY);
    assert_true(exists(fixture, "spool/n1.json"));
}

/* Until the next successful write; the entry continues without a record. */
static void test_broken_disk_and_its_recovery_are_noticed(void **state)
{
    struct fixture *fixture = *state;
    char path[PATH_BYTES];
    snprintf(path, sizeof path, "%s/spool/n1.json.new", fixture->dir);
    assert_int_equal(symlink("/nonexistent/elsewhere", path), 0);
    journal_begin_run(&fixture->journal, fixture->entry);
    assert_int_equal(fixture->entry->work.runs, 1);
    assert_int_equal(fixture->entry->work.record, RECORD_NONE);
    assert_true(atomic_load(&fixture->stats.spool_broken));
    fixture->entry->work.reply = strdup("the reply");
    journal_save_reply(&fixture->journal, fixture->entry);
    assert_int_not_equal(fixture->entry->work.record, RECORD_REPLY);
    journal_release_reply(fixture->entry);
    assert_non_null(fixture->entry->work.reply);
    assert_int_equal(unlink(path), 0);
    journal_save_reply(&fixture->journal, fixture->entry);
    assert_int_equal(fixture->entry->work.record, RECORD_REPLY);
    assert_false(atomic_load(&fixture->stats.spool_broken));
}

static void test_undone_run_leaves_no_record(void **state)
{
    struct fixture *fixture = *state;
    journal_begin_run(&fixture->journal, fixture->entry);
    assert_true(exists(fixture, "spool/n1.json"));
    journal_undo_run(&fixture->journal, fixture->entry);
    assert_int_equal(fixture->entry->work.runs, 0);
    assert_int_equal(fixture->entry->work.record, RECORD_NONE);
    assert_false(exists(fixture, "spool/n1.json"));
    fixture->entry->work.refusals.total_ms = 5;
    journal_begin_run(&fixture->journal, fixture->entry);
    journal_undo_run(&fixture->journal, fixture->entry);
    assert_true(exists(fixture, "spool/n1.json"));
}

static void test_close_fails_while_the_record_cannot_be_kept(void **state)
{
    struct fixture *fixture = *state;
    char path[PATH_BYTES];
    snprintf(path, sizeof path, "%s/spool/n1.json.new", fixture->dir);
    assert_int_equal(symlink("/nonexistent/elsewhere", path), 0);
    fixture->entry->work.outcome = OUTCOME_DEAD;
    assert_false(journal_close(&fixture->journal, fixture->entry));
    assert_int_equal(unlink(path), 0);
    assert_true(journal_close(&fixture->journal, fixture->entry));
    assert_true(exists(fixture, "dead/n1.json"));
    assert_int_equal(atomic_load(&fixture->stats.dead_files), 1);
}

/* Saving the failing time does not lose a reply on disk. */
static void test_failing_time_is_kept_with_the_reply(void **state)
{
    struct fixture *fixture = *state;
    struct spool_record record;
    fixture->entry->work.reply = strdup("the reply");
    journal_save_reply(&fixture->journal, fixture->entry);
    fixture->entry->work.errors.total_ms = 1234;
    journal_save_progress(&fixture->journal, fixture->entry);
    assert_int_equal(spool_load(fixture->spool, "n1", &record, NULL), 0);
    assert_string_equal(record.reply, "the reply");
    assert_int_equal(record.error_ms, 1234);
    free(record.reply);
    journal_release_reply(fixture->entry);
    fixture->entry->work.errors.total_ms = 5678;
    journal_save_progress(&fixture->journal, fixture->entry);
    assert_int_equal(spool_load(fixture->spool, "n1", &record, NULL), 0);
    assert_string_equal(record.reply, "the reply");
    free(record.reply);
}

static struct spool_record record_of(const char *id, char *reply)
{
    struct spool_record record = {.created_at_ms = 7, .failing_ms = 9, .runs = 2, .reply = reply};
    text_copy(record.id, sizeof record.id, id);
    text_copy(record.agent_id, sizeof record.agent_id, id);
    text_copy(record.agent_slug, sizeof record.agent_slug, "slug");
    text_copy(record.task_id, sizeof record.task_id, "task");
    text_copy(record.failure, sizeof record.failure, "no answer in time");
    return record;
}

static void save(struct fixture *fixture, const char *id, char *reply)
{
    struct spool_record record = record_of(id, reply);
    assert_int_equal(spool_save(fixture->spool, &record, false, NULL), 0);
}

static void test_runs_and_replies_are_restored(void **state)
{
    struct fixture *fixture = *state;
    save(fixture, "replied", "text");
    save(fixture, "asked", NULL);
    assert_int_equal(journal_restore(&fixture->journal, fixture->queue, AN_HOUR_MS, NULL), 0);
    struct entry *replied = queue_fixture_take(fixture->queue, "replied");
    assert_int_equal(replied->queue.stage, STAGE_REPLIED);
    assert_int_equal(replied->work.record, RECORD_REPLY);
    struct entry *asked = queue_fixture_take(fixture->queue, "asked");
    assert_int_equal(asked->queue.stage, STAGE_KNOWN);
    assert_int_not_equal(asked->work.record, RECORD_REPLY);
    assert_int_equal(asked->work.runs, 2);
    assert_int_equal(asked->work.refusals.total_ms, 9);
    assert_string_equal(asked->work.failure, "no answer in time");
    queue_fixture_finish(fixture->queue, replied, STAGE_SETTLED, 0);
    queue_fixture_finish(fixture->queue, asked, STAGE_SETTLED, 0);
}

static void save_rounds(struct fixture *fixture, const char *id, json_t *rounds)
{
    struct spool_record record = record_of(id, NULL);
    record.rounds = rounds;
    assert_non_null(rounds);
    assert_int_equal(spool_save(fixture->spool, &record, false, NULL), 0);
    spool_record_fini(&record);
}

static json_t *rounds_of(bool sent)
{
    return json_pack("{s:i, s:b, s:s, s:[{s:s, s:s, s:s}], s:[]}", "round", 1, "sent", sent,
        "words", "", "calls", "id", "c", "name", "task_load", "arguments", "{}", "before");
}

/* Results that were not sent are sent now; what may have arrived is not sent again. */
static void test_calls_of_tools_are_restored(void **state)
{
    struct fixture *fixture = *state;
    save_rounds(fixture, "acting", rounds_of(false));
    save_rounds(fixture, "sent", rounds_of(true));
    save_rounds(fixture, "bad", json_pack("{s:s}", "round", "one"));
    assert_int_equal(journal_restore(&fixture->journal, fixture->queue, AN_HOUR_MS, NULL), 0);
    struct entry *acting = queue_fixture_take(fixture->queue, "acting");
    assert_int_equal(acting->queue.stage, STAGE_ACTING);
    assert_non_null(acting->work.rounds);
    struct entry *sent = queue_fixture_take(fixture->queue, "sent");
    assert_int_equal(sent->queue.stage, STAGE_KNOWN);
    assert_non_null(sent->work.rounds);
    assert_true(exists(fixture, "dead/bad.json"));
    queue_fixture_finish(fixture->queue, acting, STAGE_SETTLED, 0);
    queue_fixture_finish(fixture->queue, sent, STAGE_SETTLED, 0);
}

static const char newer_record[] = "{\"version\":5,\"whose\":[\"account1\"],\"said\":\"a reply\"}";

/* Takes the only wake-up, which is of that agent. */
static struct entry *take_wake(struct fixture *fixture, const char *agent_id)
{
    struct entry *wake;
    assert_true(send_queue_wake(fixture->queue, agent_id, AN_HOUR_MS));
    wake = send_queue_take(fixture->queue, NULL);
    assert_int_equal(wake->kind, ENTRY_WAKE);
    assert_string_equal(wake->agent_id, agent_id);
    return wake;
}

/* Saves a round of calls, as a wake-up that began at that time. */
static void save_wake(struct fixture *fixture, const char *agent_id, int64_t began_ms)
{
    struct entry *wake = take_wake(fixture, agent_id);
    wake->work.rounds = rounds_of(false);
    wake->work.runs = 3;
    wake->work.thread_until_ms = began_ms;
    text_copy(wake->work.task_id, sizeof wake->work.task_id, "t7");
    assert_true(journal_save_calls(&fixture->journal, wake, true));
    queue_fixture_finish(fixture->queue, wake, STAGE_SETTLED, 0);
}

/* It is no notification: the next wake-up of the agent takes it up. */
static void test_wake_up_is_left_to_the_next_one(void **state)
{
    struct fixture *fixture = *state;
    struct error error;
    save_wake(fixture, "a9", clock_wall_ms());
    save_wake(fixture, "a8", clock_wall_ms() - INT64_C(25) * AN_HOUR_MS);
    assert_int_equal(journal_restore(&fixture->journal, fixture->queue, AN_HOUR_MS, NULL), 0);
    assert_int_equal(queue_fixture_counts(fixture->queue).held, 1); /* n1 */
    assert_true(exists(fixture, "spool/a9.json"));
    assert_false(exists(fixture, "spool/a8.json")); /* it has been a day */
    struct entry *wake = take_wake(fixture, "a9");
    assert_int_equal(journal_load_wake(&fixture->journal, wake, &error), 0);
    assert_int_equal(wake->work.record, RECORD_RUN);
    assert_non_null(wake->work.rounds);
    assert_int_equal(wake->work.runs, 3);
    assert_string_equal(wake->work.task_id, "t7");
    assert_true(journal_close(&fixture->journal, wake));
    assert_false(exists(fixture, "spool/a9.json"));
    queue_fixture_finish(fixture->queue, wake, STAGE_SETTLED, 0);
}

static void test_missing_and_damaged_records_of_wake_ups(void **state)
{
    struct fixture *fixture = *state;
    struct error error;
    struct entry *wake = take_wake(fixture, "a9");
    assert_int_equal(journal_load_wake(&fixture->journal, wake, &error), 0);
    assert_int_equal(wake->work.record, RECORD_NONE);
    write_file(fixture, "spool/a9.json", "{");
    assert_int_equal(journal_load_wake(&fixture->journal, wake, &error), 0);
    assert_int_equal(wake->work.record, RECORD_NONE);
    assert_true(exists(fixture, "dead/a9.json"));
    write_file(fixture, "spool/a9.json", newer_record);
    assert_int_equal(journal_load_wake(&fixture->journal, wake, &error), ERROR_NEWER);
    assert_true(exists(fixture, "spool/a9.json"));
    queue_fixture_finish(fixture->queue, wake, STAGE_SETTLED, 0);
}

/* A damaged record moves to dead/ and counts as a run, at later starts as well. */
static void test_damaged_record_costs_a_run(void **state)
{
    struct fixture *fixture = *state;
    write_file(fixture, "spool/bad.json", "{}");
    for (int start = 0; start < 2; start++) {
        struct send_queue *queue = queue_fixture_create(QUEUE_FIXTURE_CAPACITY);
        assert_int_equal(journal_restore(&fixture->journal, queue, AN_HOUR_MS, NULL), 0);
        assert_true(exists(fixture, "dead/bad.json"));
        PAGE(queue, {"bad", "a", "", 1}, {"good", "b", "", 2});
        struct entry *bad = queue_fixture_take(queue, "bad");
        struct entry *good = queue_fixture_take(queue, "good");
        assert_int_equal(bad->work.runs, 1);
        assert_int_equal(good->work.runs, 0);
        queue_fixture_finish(queue, bad, STAGE_SETTLED, 0);
        queue_fixture_finish(queue, good, STAGE_SETTLED, 0);
        send_queue_destroy(queue);
    }
}

static void expect_newer_record(const struct fixture *fixture, const char *name)
{
    char path[PATH_BYTES];
    char bytes[sizeof newer_record + 1] = "";
    snprintf(path, sizeof path, "%s/%s", fixture->dir, name);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    assert_int_equal(fread(bytes, 1, sizeof bytes, file), sizeof newer_record - 1);
    assert_int_equal(fclose(file), 0);
    assert_string_equal(bytes, newer_record);
}

/* After a rollback: its reply must survive until the newer release runs again. */
static void test_newer_record_is_left_alone(void **state)
{
    struct fixture *fixture = *state;
    write_file(fixture, "spool/newer.json", newer_record);
    write_file(fixture, "dead/newer_dead.json", newer_record);
    write_file(fixture, "spool/bad.json", "{\"version\":1}");
    for (int start = 0; start < 2; start++) {
        struct send_queue *queue = queue_fixture_create(QUEUE_FIXTURE_CAPACITY);
        assert_int_equal(journal_restore(&fixture->journal, queue, AN_HOUR_MS, NULL), 0);
        assert_int_equal(atomic_load(&fixture->stats.newer_records), 2);
        for (int page = 0; page < 2; page++)
            PAGE(queue, {"newer", "a", "", 1}, {"newer_dead", "b", "", 2});
        assert_int_equal(queue_fixture_counts(queue).ready, 0);
        assert_int_equal(queue_fixture_counts(queue).settled, 2);
        send_queue_destroy(queue);
    }
    expect_newer_record(fixture, "spool/newer.json");
    expect_newer_record(fixture, "dead/newer_dead.json");
    assert_true(exists(fixture, "dead/bad.json"));
}

/* A release that was started beside this one: what it wrote is not damaged. */
static void test_newer_record_of_an_entry_is_not_buried(void **state)
{
    struct fixture *fixture = *state;
    struct error error;
    keep_and_release(fixture);
    write_file(fixture, "spool/n1.json", newer_record);
    assert_int_equal(journal_load_reply(&fixture->journal, fixture->entry, &error), ERROR_NEWER);
    assert_int_equal(fixture->entry->work.record, RECORD_REPLY);
    expect_newer_record(fixture, "spool/n1.json");
}

/* As journal_restore with one descriptor left: for the directory, but no file in it. */
static int restore_unable_to_read(struct fixture *fixture, struct error *error)
{
    struct rlimit before;
    int next = dup(STDIN_FILENO);
    close(next);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    const struct rlimit one = {.rlim_cur = (rlim_t)next + 1, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &one), 0);
    int result = journal_restore(&fixture->journal, fixture->queue, AN_HOUR_MS, error);
    setrlimit(RLIMIT_NOFILE, &before);
    return result;
}

/* It may be intact: treated as damaged, its agent would be asked again. */
static void test_unreadable_record_stops_the_startup(void **state)
{
    struct fixture *fixture = *state;
    struct error error;
    save(fixture, "unread", "a reply");
    assert_int_equal(restore_unable_to_read(fixture, &error), ERROR_SYSTEM);
    assert_non_null(strstr(error.text, "unread.json"));
    assert_true(exists(fixture, "spool/unread.json"));
}

/* Its name is enough to know that it was given up. */
static void test_unreadable_dead_record_is_settled(void **state)
{
    struct fixture *fixture = *state;
    save(fixture, "unread", "a reply");
    assert_int_equal(spool_bury(fixture->spool, "unread", NULL), 0);
    assert_int_equal(restore_unable_to_read(fixture, NULL), 0);
    assert_int_equal(queue_fixture_counts(fixture->queue).settled, 1);
    PAGE(fixture->queue, {"unread", "a", "", 1});
    assert_int_equal(queue_fixture_counts(fixture->queue).ready, 0);
}

/* Dead letters are not asked about again; one that is in both directories resumes. */
static void test_dead_record_is_settled(void **state)
{
    struct fixture *fixture = *state;
    save(fixture, "dead", "text");
    save(fixture, "both", "old");
    assert_int_equal(spool_bury(fixture->spool, "dead", NULL), 0);
    assert_int_equal(spool_bury(fixture->spool, "both", NULL), 0);
    save(fixture, "both", "new");
    assert_int_equal(journal_restore(&fixture->journal, fixture->queue, AN_HOUR_MS, NULL), 0);
    assert_int_equal(queue_fixture_counts(fixture->queue).settled, 1);
    PAGE(fixture->queue, {"dead", "a", "", 1}, {"both", "both", "", 2});
    struct entry *both = queue_fixture_take(fixture->queue, "both");
    assert_int_equal(both->queue.stage, STAGE_REPLIED);
    assert_int_equal(journal_load_reply(&fixture->journal, both, NULL), 0);
    assert_string_equal(both->work.reply, "new");
    assert_int_equal(queue_fixture_counts(fixture->queue).ready, 0);
    queue_fixture_finish(fixture->queue, both, STAGE_SETTLED, 0);
}

/* Restores with the number-th allocation failing; if that succeeds, all must be known. */
static int restore_with_fault(struct fixture *fixture, unsigned number)
{
    struct error error;
    struct send_queue *queue = queue_fixture_create(QUEUE_FIXTURE_CAPACITY);
    alloc_fault_arm(number);
    int result = journal_restore(&fixture->journal, queue, AN_HOUR_MS, &error);
    alloc_fault_disarm();
    if (result == 0) {
        assert_int_equal(queue_fixture_counts(queue).held, 2);
        assert_int_equal(queue_fixture_counts(queue).settled, 1);
        PAGE(queue, {"bad", "a", "", 9});
        queue_fixture_take_and_settle(queue, "replied");
        struct entry *bad = queue_fixture_take(queue, "bad");
        assert_int_equal(bad->work.runs, 1);
        queue_fixture_finish(queue, bad, STAGE_SETTLED, 0);
    }
    send_queue_destroy(queue);
    return result;
}

/* A queue that lacks an entry must not be used; a missing log line does not matter. */
static void test_restore_without_memory_fails(void **state)
{
    struct fixture *fixture = *state;
    save(fixture, "replied", "text");
    save(fixture, "dead", "text");
    assert_int_equal(spool_bury(fixture->spool, "dead", NULL), 0);
    write_file(fixture, "dead/bad.json", "{}");
    unsigned number = 1;
    unsigned failures = 0;
    do {
        int result = restore_with_fault(fixture, number++);
        assert_true(result == 0 || result == ERROR_NO_MEMORY);
        failures += result != 0;
    } while (alloc_fault_fired());
    assert_true(failures > 10);
    assert_true(exists(fixture, "spool/replied.json"));
    assert_true(exists(fixture, "dead/dead.json"));
}

/* The entry has a reply for dead/, which is gone. */
static void make_dead_without_a_directory(struct fixture *fixture)
{
    char path[TMP_DIR_BYTES + sizeof "/dead"];
    fixture->entry->work.reply = strdup("text");
    fixture->entry->work.outcome = OUTCOME_DEAD;
    snprintf(path, sizeof path, "%s/dead", fixture->dir);
    assert_int_equal(rmdir(path), 0);
}

/* Someone may remove dead/ while the runtime runs. */
static void test_removed_dead_directory_is_made_again(void **state)
{
    struct fixture *fixture = *state;
    make_dead_without_a_directory(fixture);
    assert_true(journal_close(&fixture->journal, fixture->entry));
    assert_true(exists(fixture, "dead/n1.json"));
    assert_false(exists(fixture, "spool/n1.json"));
    assert_false(atomic_load(&fixture->stats.spool_broken));
}

/* As soon as a write succeeds health is good again, although nothing is delivered. */
static void test_spool_is_checked_again_while_it_is_broken(void **state)
{
    struct fixture *fixture = *state;
    journal_recheck(&fixture->journal);
    assert_false(exists(fixture, "spool/check"));
    atomic_store(&fixture->stats.spool_broken, true);
    char path[TMP_DIR_BYTES + sizeof "/spool"];
    snprintf(path, sizeof path, "%s/spool", fixture->dir);
    assert_int_equal(rmdir(path), 0);
    write_file(fixture, "spool", "in the way");
    journal_recheck(&fixture->journal);
    assert_true(atomic_load(&fixture->stats.spool_broken));
    assert_int_equal(unlink(path), 0);
    journal_recheck(&fixture->journal);
    assert_false(atomic_load(&fixture->stats.spool_broken));
    assert_true(exists(fixture, "spool"));
    assert_false(exists(fixture, "spool/check"));
}

static void test_reply_stays_without_a_dead_directory(void **state)
{
    struct fixture *fixture = *state;
    make_dead_without_a_directory(fixture);
    write_file(fixture, "dead", "in the way");
    assert_false(journal_close(&fixture->journal, fixture->entry));
    assert_true(exists(fixture, "spool/n1.json"));
    assert_true(atomic_load(&fixture->stats.spool_broken));
    assert_int_equal(spool_bury(fixture->spool, "nothing", NULL), 0);
}

int main(void)
{
    json_guard_start();
#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_reply_is_loaded_again),
        TEST(test_damaged_reply_is_lost),
        TEST(test_missing_record_loses_the_reply),
        TEST(test_record_without_the_reply_is_buried),
        TEST(test_reply_that_cannot_be_read_now_is_kept),
        TEST(test_reply_without_memory_for_it_is_kept),
        TEST(test_broken_disk_and_its_recovery_are_noticed),
        TEST(test_undone_run_leaves_no_record),
        TEST(test_close_fails_while_the_record_cannot_be_kept),
        TEST(test_failing_time_is_kept_with_the_reply),
        TEST(test_runs_and_replies_are_restored),
        TEST(test_calls_of_tools_are_restored),
        TEST(test_wake_up_is_left_to_the_next_one),
        TEST(test_missing_and_damaged_records_of_wake_ups),
        TEST(test_damaged_record_costs_a_run),
        TEST(test_newer_record_is_left_alone),
        TEST(test_newer_record_of_an_entry_is_not_buried),
        TEST(test_unreadable_record_stops_the_startup),
        TEST(test_unreadable_dead_record_is_settled),
        TEST(test_dead_record_is_settled),
        TEST(test_removed_dead_directory_is_made_again),
        TEST(test_spool_is_checked_again_while_it_is_broken),
        TEST(test_reply_stays_without_a_dead_directory),
        TEST(test_restore_without_memory_fails),
    };
    return cmocka_run_group_tests_name("journal", tests, NULL, NULL);
}
