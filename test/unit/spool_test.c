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
#include <jansson.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../lib/spool_fixture.h"
#include "../lib/test_file.h"
#include "base/text.h"

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

/* Whatever was there before, the last save counts. */
static void test_reply_replaces_a_different_record(void **state)
{
    struct spool_fixture *fixture = *state;
    char first[] = "a long first reply";
    char reply[] = "done, \"reply\":";
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

/* Saves the record and dies of SIGXFSZ once the file has this length. */
_Noreturn static void save_until_killed(
    struct spool *spool, struct spool_record *record, rlim_t bytes)
{
    struct rlimit limit = {.rlim_cur = bytes, .rlim_max = bytes};
    signal(SIGXFSZ, SIG_DFL);
    setrlimit(RLIMIT_FSIZE, &limit);
    spool_save(spool, record, true, NULL);
    _exit(0);
}

static void expect_killed(pid_t process)
{
    int status;
    assert_int_equal(waitpid(process, &status, 0), process);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGXFSZ);
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

/*
 * Stops after every byte of the write of a reply, as a machine may that loses power: until the
 * whole reply is on disk under its name, the record of the run is.
 */
static void test_reply_stopped_at_any_byte_keeps_the_runs(void **state)
{
    struct spool_fixture *fixture = *state;
    char reply[] = "a reply that the machine did not write whole";
    struct spool_record record = spool_fixture_record("n1", NULL);
    struct error error;
    record.reply = reply;
    char *text = spool_record_write(&record, "account1");
    for (rlim_t bytes = 0; bytes < strlen(text); bytes++) {
        struct spool_record loaded;
        record.reply = NULL;
        assert_int_equal(spool_save(fixture->spool, &record, false, NULL), 0);
        record.reply = reply;
        pid_t writer = fork();
        if (writer == 0)
            save_until_killed(fixture->spool, &record, bytes);
        expect_killed(writer);
        assert_int_equal(spool_load(fixture->spool, "n1", &loaded, &error), 0);
        assert_null(loaded.reply);
        assert_int_equal(loaded.runs, 2);
    }
    free(text);
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

/* Byte for byte what the last release without a format version wrote. */
static void test_record_of_the_previous_release_is_read(void **state)
{
    struct spool_fixture *fixture = *state;
    struct spool_record record;
    spool_fixture_write(fixture, "spool/n1.json",
        "{\"account\":\"account1\",\"id\":\"n1\",\"agent\":\"agent7\",\"slug\":\"jarvis\",\"task\":"
        "\"task9\",\"createdAt\":1700000000123,\"failingMs\":11,\"errorMs\":12,\"timeouts\":1,"
        "\"runs\":3,\"givenUp\":true,\"failure\":\"status 500\"}");
    assert_int_equal(spool_load(fixture->spool, "n1", &record, NULL), 0);
    assert_null(record.reply);
    assert_string_equal(record.agent_id, "agent7");
    assert_string_equal(record.agent_slug, "jarvis");
    assert_string_equal(record.task_id, "task9");
    assert_string_equal(record.failure, "status 500");
    assert_int_equal(record.created_at_ms, 1700000000123);
    assert_int_equal(record.failing_ms, 11);
    assert_int_equal(record.error_ms, 12);
    assert_int_equal(record.timeouts, 1);
    assert_int_equal(record.runs, 3);
    assert_true(record.reply_abandoned);
    spool_fixture_write(fixture, "spool/n2.json",
        "{\"account\":\"account1\",\"id\":\"n2\",\"agent\":\"agent7\",\"slug\":\"jarvis\",\"task\":"
        "\"\",\"createdAt\":1,\"failingMs\":0,\"errorMs\":0,\"timeouts\":0,\"runs\":1,\"givenUp\":"
        "false,\"failure\":\"\",\"reply\":\"line\\n\\\"quoted\\\" \xC3\xA9\"}");
    assert_int_equal(spool_load(fixture->spool, "n2", &record, NULL), 0);
    assert_string_equal(record.reply, "line\n\"quoted\" \xC3\xA9");
    free(record.reply);
}

static void test_record_is_written_with_its_format_version(void **state)
{
    (void)state;
    struct spool_record record = spool_fixture_record("n1", NULL);
    char *text = spool_record_write(&record, "account1");
    assert_int_equal(strncmp(text, "{\"version\":1,\"account\":", 23), 0);
    free(text);
}

/* What a v1 backend calls for makes it a record that earlier releases leave alone. */
static void test_members_of_a_v1_backend_survive(void **state)
{
    struct spool_fixture *fixture = *state;
    struct spool_record read;
    struct spool_record record = spool_fixture_record("n1", NULL);
    text_copy(record.message_id, sizeof record.message_id, "m5");
    record.thread_until_ms = 1700000000123;
    record.may_be_changed = true;
    record.answers_again = true;
    record.begins_task = true;
    record.empty_answers = 2;
    char *text = spool_record_write(&record, "account1");
    assert_int_equal(strncmp(text, "{\"version\":2,\"account\":", 23), 0);
    free(text);
    record.document.wanted = true;
    record.document.begun = true;
    text_copy(record.document.id, sizeof record.document.id, "kd1");
    text = spool_record_write(&record, "account1");
    assert_int_equal(strncmp(text, "{\"version\":3,\"account\":", 23), 0);
    free(text);
    assert_int_equal(spool_save(fixture->spool, &record, false, NULL), 0);
    assert_int_equal(spool_load(fixture->spool, "n1", &read, NULL), 0);
    assert_string_equal(read.message_id, "m5");
    assert_int_equal(read.thread_until_ms, 1700000000123);
    assert_true(read.may_be_changed);
    assert_true(read.answers_again);
    assert_true(read.begins_task);
    assert_int_equal(read.empty_answers, 2);
    assert_true(read.document.wanted && read.document.begun);
    assert_string_equal(read.document.id, "kd1");
}

/* Earlier releases would ask the agent again, which would change things twice. */
static void test_calls_of_tools_survive(void **state)
{
    struct spool_fixture *fixture = *state;
    struct spool_record read;
    struct spool_record record = spool_fixture_record("n1", NULL);
    record.rounds = json_pack("{s:i, s:[{s:s}]}", "round", 1, "calls", "id", "c1");
    char *text = spool_record_write(&record, "account1");
    assert_int_equal(strncmp(text, "{\"version\":3,\"account\":", 23), 0);
    free(text);
    assert_int_equal(spool_save(fixture->spool, &record, true, NULL), 0);
    assert_int_equal(spool_load(fixture->spool, "n1", &read, NULL), 0);
    assert_non_null(read.rounds);
    assert_string_equal(json_string_value(json_object_get(
                            json_array_get(json_object_get(read.rounds, "calls"), 0), "id")),
        "c1");
    spool_record_fini(&read);
    spool_record_fini(&record);
}

/* Earlier releases would take it for a notification of that id. */
static void test_wake_up_survives(void **state)
{
    struct spool_fixture *fixture = *state;
    struct spool_record read;
    struct spool_record record = spool_fixture_record("n1", NULL);
    record.is_wake_up = true;
    char *text = spool_record_write(&record, "account1");
    assert_int_equal(strncmp(text, "{\"version\":4,\"account\":", 23), 0);
    free(text);
    assert_int_equal(spool_save(fixture->spool, &record, true, NULL), 0);
    assert_int_equal(spool_load(fixture->spool, "n1", &read, NULL), 0);
    assert_true(read.is_wake_up);
    spool_record_fini(&read);
}

/* Whether the record is damaged without that member. */
static bool is_required(const json_t *document, const char *member)
{
    struct spool_record record;
    json_t *shorter = json_deep_copy(document);
    json_object_del(shorter, member);
    char *text = json_dumps(shorter, 0);
    int result = spool_record_parse(text, strlen(text), "account1", "n1", &record, NULL);
    spool_record_fini(&record);
    free(text);
    json_decref(shorter);
    return result == ERROR_INVALID;
}

/* Fails unless the row of a table begins with the member, its version and what its lack means. */
static void expect_member_row(const char *row, const json_t *document, const char *member)
{
    char beginning[64];
    char *rest;
    snprintf(beginning, sizeof beginning, "| `%s` | ", member);
    if (strncmp(row, beginning, strlen(beginning)) != 0)
        fail_msg("docs/architecture.md, The spool: expected the row of %s", member);
    long since = strtol(row + strlen(beginning), &rest, 10);
    assert_in_range(since, 1, json_integer_value(json_object_get(document, "version")));
    bool says_damaged = strncmp(rest, " | damaged | ", strlen(" | damaged | ")) == 0;
    if (says_damaged != is_required(document, member))
        fail_msg("docs/architecture.md, The spool: wrong about a record without %s", member);
}

static void test_every_member_is_documented(void **state)
{
    (void)state;
    static const char head[] =
        "| member | since version | if missing | meaning |\n|---|---|---|---|\n";
    char reply[] = "done";
    struct spool_record record = spool_fixture_record("n1", reply);
    record.document.wanted = true;
    text_copy(record.document.id, sizeof record.document.id, "kd1");
    record.is_wake_up = true;
    record.rounds = json_object();
    char *docs = test_file_read("docs/architecture.md");
    char *text = spool_record_write(&record, "account1");
    json_t *document = json_loads(text, 0, NULL);
    const char *row = strstr(docs, head);
    const char *member;
    const json_t *unused;
    assert_non_null(row);
    row += strlen(head);
    json_object_foreach (document, member, unused) {
        expect_member_row(row, document, member);
        row = strchr(row, '\n') + 1;
    }
    /* No further row. */
    assert_int_equal(*row, '\n');
    json_decref(record.rounds);
    json_decref(document);
    free(text);
    free(docs);
}

/* Of a newer format nothing is known, neither whose it is nor whether there is a reply. */
static void test_record_of_a_newer_release_is_not_damaged(void **state)
{
    struct spool_fixture *fixture = *state;
#define KNOWN_MEMBERS                                                                      \
    "\"account\":\"account1\",\"id\":\"n1\",\"agent\":\"a\",\"slug\":\"s\",\"task\":\"\"," \
    "\"createdAt\":1,"                                                                     \
    "\"runs\":1"
    static const struct {
        const char *text;
        int result;
    } cases[] = {
        {"{\"version\":5}", ERROR_NEWER},
        {"{\"version\":5," KNOWN_MEMBERS "}", ERROR_NEWER},
        {"{\"version\":4.5," KNOWN_MEMBERS "}", ERROR_NEWER},
        {"{\"version\":\"2026.2\"," KNOWN_MEMBERS "}", ERROR_NEWER},
        {"{\"version\":1e400," KNOWN_MEMBERS "}", ERROR_NEWER},
        {"{\"version\":1," KNOWN_MEMBERS ",\"stage\":\"streaming\"}", ERROR_NEWER},
        {"{\"version\":1," KNOWN_MEMBERS ",\"hint\":\"may be ignored\"}", 0},
        {"{\"version\":1}", ERROR_INVALID},
        {"{\"version\":3", ERROR_INVALID},
        {"[2]", ERROR_INVALID},
    };
#undef KNOWN_MEMBERS
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct spool_record record;
        struct error error;
        spool_fixture_write(fixture, "spool/n1.json", cases[i].text);
        assert_int_equal(spool_load(fixture->spool, "n1", &record, &error), cases[i].result);
        assert_null(record.reply);
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
        WITH_SPOOL(test_reply_replaces_a_different_record),
        WITH_SPOOL(test_reply_on_a_full_disk_keeps_the_record),
        WITH_SPOOL(test_reply_stopped_at_any_byte_keeps_the_runs),
        WITH_SPOOL(test_failed_write_keeps_the_old_record),
        WITH_SPOOL(test_removing_an_absent_record_succeeds),
        WITH_SPOOL(test_corrupt_records_are_refused),
        WITH_SPOOL(test_record_of_the_previous_release_is_read),
        WITH_SPOOL(test_record_is_written_with_its_format_version),
        WITH_SPOOL(test_members_of_a_v1_backend_survive),
        WITH_SPOOL(test_calls_of_tools_survive),
        WITH_SPOOL(test_wake_up_survives),
        WITH_SPOOL(test_every_member_is_documented),
        WITH_SPOOL(test_record_of_a_newer_release_is_not_damaged),
        WITH_SPOOL(test_huge_and_special_files_are_refused),
    };
    return cmocka_run_group_tests_name("spool", tests, NULL, NULL);
}
