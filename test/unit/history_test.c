/*
 * The history checker of the fault tests detects violations: each rule against a history that
 * breaks it, next to a valid notification. Without this, a checker that accepts everything would
 * pass every fault test.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "../integration/faults/history.h"
#include "../lib/test_file.h"
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

/* Adds a valid notification, so that the checker has to find the invalid one. */
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

static void must_violate(
    const struct history *history, const struct history_rules *rules, const char *words)
{
    char reason[256] = "";
    assert_false(history_holds(history, rules, reason, sizeof reason));
    if (strstr(reason, "notification bad:") == NULL || strstr(reason, words) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", reason, words);
}

static void test_one_run_with_one_message_is_valid(void **state)
{
    struct history *history = *state;
    must_hold(history, &strict);
    add_good(history);
    must_hold(history, &strict);
}

static void test_notifications_to_users_are_ignored(void **state)
{
    struct history *history = *state;
    json_array_append_new(
        history->notifications, json_pack("{s:s, s:s}", "_id", "u", "recipientType", "user"));
    must_hold(history, &strict);
}

static void test_undelivered_notification_is_found(void **state)
{
    struct history *history = *state;
    add_good(history);
    add_notification(history, "bad", false);
    add_run(history, "bad", 1, "answered");
    add_message(history, "bad", "Done.\n\nRun 1");
    must_violate(history, &strict, "not marked");
}

static void test_run_in_progress_is_found(void **state)
{
    struct history *history = *state;
    add_good(history);
    add_notification(history, "bad", true);
    add_run(history, "bad", 1, "under_way");
    must_violate(history, &strict, "run 1 is still in flight");
}

static void test_lost_reply_is_found(void **state)
{
    struct history *history = *state;
    add_good(history);
    add_notification(history, "bad", true);
    add_run(history, "bad", 1, "answered");
    must_violate(history, &lossy, "no message");
}

static void test_second_message_is_found(void **state)
{
    struct history *history = *state;
    add_good(history);
    add_notification(history, "bad", true);
    add_run(history, "bad", 1, "answered");
    add_message(history, "bad", "Done.\n\nRun 1");
    add_message(history, "bad", "Done.\n\nRun 1");
    must_violate(history, &lossy, "2 messages");
}

static void test_runs_beyond_the_budget_are_found(void **state)
{
    struct history *history = *state;
    add_good(history);
    add_notification(history, "bad", true);
    add_run(history, "bad", 1, "aborted");
    add_run(history, "bad", 2, "dropped");
    must_violate(history, &lossy, "no message");
    add_run(history, "bad", 3, "answered");
    add_message(history, "bad", "Done.\n\nRun 3");
    must_violate(history, &lossy, "run 3 times; the budget is 2");
}

static void test_run_after_an_accepted_reply_is_found(void **state)
{
    struct history *history = *state;
    add_good(history);
    add_notification(history, "bad", true);
    add_run(history, "bad", 1, "answered");
    add_run(history, "bad", 2, "answered");
    add_message(history, "bad", "Done.\n\nRun 1");
    must_violate(history, &lossy, "run again (2) after the reply of run 1");
}

static void test_second_answer_needs_lost_answers(void **state)
{
    struct history *history = *state;
    add_good(history);
    add_notification(history, "bad", true);
    add_run(history, "bad", 1, "answered");
    add_run(history, "bad", 2, "answered");
    add_message(history, "bad", "Done.\n\nRun 2");
    must_violate(history, &strict, "2 runs of its agent were answered");
    must_hold(history, &lossy);
}

static void test_reply_of_another_notification_is_found(void **state)
{
    struct history *history = *state;
    add_good(history);
    add_notification(history, "bad", true);
    add_run(history, "bad", 1, "answered");
    add_message(history, "bad", "Done.\n\nRun 100");
    must_violate(history, &strict, "not its own");
}

static void test_reply_of_an_unanswered_run_is_found(void **state)
{
    struct history *history = *state;
    add_good(history);
    add_notification(history, "bad", true);
    add_run(history, "bad", 1, "dropped");
    add_message(history, "bad", "Done.\n\nRun 1");
    must_violate(history, &strict, "which was not answered");
}

static void test_failure_notice_needs_permission_and_no_answer(void **state)
{
    struct history *history = *state;
    add_good(history);
    add_notification(history, "bad", true);
    add_run(history, "bad", 1, "dropped");
    add_message(history, "bad", "**No reply.**");
    must_violate(history, &strict, "is not a reply");
    must_hold(history, &with_notes);
    add_run(history, "bad", 2, "answered");
    must_violate(history, &with_notes, "a note was written");
}

static void test_spooled_reply_must_match_the_message(void **state)
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
    must_violate(history, &lossy, "the reply in the spool (run 1) is not the message (run 2)");
}

static void write_record(const char *dir, const char *name, const char *text)
{
    char path[TMP_DIR_BYTES + 32];
    snprintf(path, sizeof path, "%s/spool/%s", dir, name);
    test_file_write(path, text);
}

static void test_first_spooled_reply_is_kept(void **state)
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
        WITH_HISTORY(test_one_run_with_one_message_is_valid),
        WITH_HISTORY(test_notifications_to_users_are_ignored),
        WITH_HISTORY(test_undelivered_notification_is_found),
        WITH_HISTORY(test_run_in_progress_is_found),
        WITH_HISTORY(test_lost_reply_is_found),
        WITH_HISTORY(test_second_message_is_found),
        WITH_HISTORY(test_runs_beyond_the_budget_are_found),
        WITH_HISTORY(test_run_after_an_accepted_reply_is_found),
        WITH_HISTORY(test_second_answer_needs_lost_answers),
        WITH_HISTORY(test_reply_of_another_notification_is_found),
        WITH_HISTORY(test_reply_of_an_unanswered_run_is_found),
        WITH_HISTORY(test_failure_notice_needs_permission_and_no_answer),
        WITH_HISTORY(test_spooled_reply_must_match_the_message),
        WITH_HISTORY(test_first_spooled_reply_is_kept),
    };
    return cmocka_run_group_tests_name("history", tests, NULL, NULL);
}
