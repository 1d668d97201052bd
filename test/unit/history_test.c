/* The checker of histories can fail: each rule against a made-up history that breaks it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "../integration/faults/history.h"
#include "../lib/tmp_dir.h"

static const struct history_rules strict = {.max_runs = 2};
static const struct history_rules lossy = {.max_runs = 2, .lost_answers = true};
static const struct history_rules with_notes = {.max_runs = 2, .notes = true};

static int setup(void **state)
{
    static struct history history;
    history_init(&history);
    *state = &history;
    return 0;
}

static int teardown(void **state)
{
    history_fini(*state);
    return 0;
}

static void add_notification(struct history *history, const char *id, bool delivered)
{
    json_t *notification = json_pack("{s:s, s:s}", "_id", id, "recipientType", "agent");
    if (delivered)
        json_object_set_new(notification, "deliveredAt", json_integer(1));
    assert_int_equal(json_array_append_new(history->notifications, notification), 0);
}

static void add_message(struct history *history, const char *id, const char *content)
{
    json_t *message = json_pack("{s:s, s:s}", "sourceNotificationId", id, "content", content);
    assert_int_equal(json_array_append_new(history->messages, message), 0);
}

static void add_run(struct history *history, const char *id, int number, const char *outcome)
{
    json_t *run = json_pack("{s:s, s:i, s:s, s:i}", "notification", id, "number", number, "outcome",
        outcome, "status", strcmp(outcome, "answered") == 0 ? 200 : 0);
    assert_int_equal(json_array_append_new(history->runs, run), 0);
}

/* A second notification to which nothing is wrong, so that the one at fault has to be found. */
static void add_good(struct history *history)
{
    add_notification(history, "good", true);
    add_run(history, "good", 100, "answered");
    add_message(history, "good", "Done.\n\nRun 100");
}

static void must_hold(const struct history *history, const struct history_rules *rules)
{
    char reason[256] = "";
    if (!history_holds(history, rules, reason, sizeof reason))
        fail_msg("%s", reason);
}

static void must_break(
    const struct history *history, const struct history_rules *rules, const char *words)
{
    char reason[256] = "";
    assert_false(history_holds(history, rules, reason, sizeof reason));
    if (strstr(reason, "notification bad:") == NULL || strstr(reason, words) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", reason, words);
}

static void test_one_run_one_message_holds(void **state)
{
    struct history *history = *state;
    must_hold(history, &strict);
    add_good(history);
    must_hold(history, &strict);
}

static void test_notifications_to_users_do_not_count(void **state)
{
    struct history *history = *state;
    json_array_append_new(
        history->notifications, json_pack("{s:s, s:s}", "_id", "u", "recipientType", "user"));
    must_hold(history, &strict);
}

static void test_notification_without_end_is_found(void **state)
{
    struct history *history = *state;
    add_good(history);
    add_notification(history, "bad", false);
    add_run(history, "bad", 1, "answered");
    add_message(history, "bad", "Done.\n\nRun 1");
    must_break(history, &strict, "not marked");
}

static void test_run_under_way_is_found(void **state)
{
    struct history *history = *state;
    add_good(history);
    add_notification(history, "bad", true);
    add_run(history, "bad", 1, "under_way");
    must_break(history, &strict, "run 1 is still in flight");
}

static void test_lost_reply_is_found(void **state)
{
    struct history *history = *state;
    add_good(history);
    add_notification(history, "bad", true);
    add_run(history, "bad", 1, "answered");
    must_break(history, &lossy, "no message");
}

static void test_second_message_is_found(void **state)
{
    struct history *history = *state;
    add_good(history);
    add_notification(history, "bad", true);
    add_run(history, "bad", 1, "answered");
    add_message(history, "bad", "Done.\n\nRun 1");
    add_message(history, "bad", "Done.\n\nRun 1");
    must_break(history, &lossy, "2 messages");
}

static void test_runs_over_the_budget_are_found(void **state)
{
    struct history *history = *state;
    add_good(history);
    add_notification(history, "bad", true);
    add_run(history, "bad", 1, "aborted");
    add_run(history, "bad", 2, "dropped");
    must_break(history, &lossy, "no message");
    add_run(history, "bad", 3, "answered");
    add_message(history, "bad", "Done.\n\nRun 3");
    must_break(history, &lossy, "run 3 times; the budget is 2");
}

static void test_run_after_an_accepted_reply_is_found(void **state)
{
    struct history *history = *state;
    add_good(history);
    add_notification(history, "bad", true);
    add_run(history, "bad", 1, "answered");
    add_run(history, "bad", 2, "answered");
    add_message(history, "bad", "Done.\n\nRun 1");
    must_break(history, &lossy, "run again (2) after the reply of run 1");
}

static void test_second_answer_needs_a_reason(void **state)
{
    struct history *history = *state;
    add_good(history);
    add_notification(history, "bad", true);
    add_run(history, "bad", 1, "answered");
    add_run(history, "bad", 2, "answered");
    add_message(history, "bad", "Done.\n\nRun 2");
    must_break(history, &strict, "2 runs of its agent were answered");
    must_hold(history, &lossy);
}

static void test_reply_of_another_notification_is_found(void **state)
{
    struct history *history = *state;
    add_good(history);
    add_notification(history, "bad", true);
    add_run(history, "bad", 1, "answered");
    add_message(history, "bad", "Done.\n\nRun 100");
    must_break(history, &strict, "not its own");
}

static void test_reply_of_a_run_that_gave_none_is_found(void **state)
{
    struct history *history = *state;
    add_good(history);
    add_notification(history, "bad", true);
    add_run(history, "bad", 1, "dropped");
    add_message(history, "bad", "Done.\n\nRun 1");
    must_break(history, &strict, "which was not answered");
}

static void test_note_needs_leave_and_no_answer(void **state)
{
    struct history *history = *state;
    add_good(history);
    add_notification(history, "bad", true);
    add_run(history, "bad", 1, "dropped");
    add_message(history, "bad", "**No reply.**");
    must_break(history, &strict, "is not a reply");
    must_hold(history, &with_notes);
    add_run(history, "bad", 2, "answered");
    must_break(history, &with_notes, "a note was written");
}

static void test_spooled_reply_must_be_the_message(void **state)
{
    struct history *history = *state;
    add_good(history);
    add_notification(history, "bad", true);
    add_run(history, "bad", 1, "answered");
    add_run(history, "bad", 2, "answered");
    add_message(history, "bad", "Done.\n\nRun 2");
    json_object_set_new(history->spooled, "bad", json_string("Done.\n\nRun 2"));
    must_hold(history, &lossy);
    json_object_set_new(history->spooled, "bad", json_string("Done.\n\nRun 1"));
    must_break(history, &lossy, "the reply in the spool (run 1) is not the message (run 2)");
}

static void write_record(const char *dir, const char *name, const char *text)
{
    char path[TMP_DIR_BYTES + 32];
    snprintf(path, sizeof path, "%s/spool/%s", dir, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void test_spool_is_read_once_for_each_reply(void **state)
{
    struct history *history = *state;
    char dir[TMP_DIR_BYTES];
    char spool[TMP_DIR_BYTES + 16];
    tmp_dir_create(dir);
    snprintf(spool, sizeof spool, "%s/spool", dir);
    assert_int_equal(history_add_spool(history, dir), 0);
    assert_int_equal(mkdir(spool, 0700), 0);
    write_record(dir, "a.json", "{\"id\": \"a\", \"reply\": \"first\"}");
    write_record(dir, "b.json", "{\"id\": \"b\"}");
    write_record(dir, "c.json.new", "{\"id\": \"c\", \"reply\": \"half\"}");
    assert_int_equal(history_add_spool(history, dir), 2);
    write_record(dir, "a.json", "{\"id\": \"a\", \"reply\": \"second\"}");
    assert_int_equal(history_add_spool(history, dir), 2);
    assert_int_equal(json_object_size(history->spooled), 1);
    assert_string_equal(json_string_value(json_object_get(history->spooled, "a")), "first");
    tmp_dir_remove(dir);
}

int main(void)
{
#define WITH_HISTORY(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        WITH_HISTORY(test_one_run_one_message_holds),
        WITH_HISTORY(test_notifications_to_users_do_not_count),
        WITH_HISTORY(test_notification_without_end_is_found),
        WITH_HISTORY(test_run_under_way_is_found),
        WITH_HISTORY(test_lost_reply_is_found),
        WITH_HISTORY(test_second_message_is_found),
        WITH_HISTORY(test_runs_over_the_budget_are_found),
        WITH_HISTORY(test_run_after_an_accepted_reply_is_found),
        WITH_HISTORY(test_second_answer_needs_a_reason),
        WITH_HISTORY(test_reply_of_another_notification_is_found),
        WITH_HISTORY(test_reply_of_a_run_that_gave_none_is_found),
        WITH_HISTORY(test_note_needs_leave_and_no_answer),
        WITH_HISTORY(test_spooled_reply_must_be_the_message),
        WITH_HISTORY(test_spool_is_read_once_for_each_reply),
    };
    return cmocka_run_group_tests_name("history", tests, NULL, NULL);
}
