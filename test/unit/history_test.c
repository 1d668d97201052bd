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

#include "../integration/faults/history_tools.h"
#include "../lib/test_file.h"
#include "../lib/tmp_dir.h"
#include "base/containers.h"
#include "base/json.h"

static const struct history_rules strict = {.max_runs = 2};
static const struct history_rules lossy = {.max_runs = 2, .lost_answers = true};
static const struct history_rules talking = {.max_runs = 2, .max_agent_runs = 2};
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

/* Adds a request to run the agent, or a mark, as the proxy has seen it. */
static void add_exchange(json_t *exchanges, const char *id, bool proof)
{
    json_t *exchange = json_pack("{s:s, s:b}", "notification", id, "proof", proof);
    assert_int_equal(json_array_append_new(exchanges, exchange), 0);
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

/* It is not recorded as a run, because a proxy's page came in place of the gateway's answer. */
static void test_requests_without_proof_count_as_runs(void **state)
{
    struct history *history = *state;
    add_good(history);
    add_notification(history, "bad", true);
    add_message(history, "bad", "**No reply.**");
    for (int i = 0; i < 3; i++)
        add_exchange(history->requests, "bad", true);
    add_exchange(history->requests, "bad", false);
    add_exchange(history->requests, "bad", false);
    must_hold(history, &with_notes);
    add_exchange(history->requests, "bad", false);
    must_violate(history, &with_notes, "asked 3 times without proof that it did not run");
}

static void test_mark_without_confirmation_must_be_repeated(void **state)
{
    struct history *history = *state;
    add_good(history);
    add_notification(history, "bad", true);
    add_run(history, "bad", 1, "answered");
    add_message(history, "bad", "Done.\n\nRun 1");
    add_exchange(history->marks, "bad", false);
    must_violate(history, &strict, "last mark (of 1) was not confirmed");
    add_exchange(history->marks, "bad", true);
    must_hold(history, &strict);
}

/* A task "t" of agents "a" and "b"; times are the order of messages. */
static void add_post(struct history *history, const char *id, const char *author_type,
    const char *source, const char *content)
{
    int written_ms = (int)json_array_size(history->messages) + 1;
    json_t *message = json_pack("{s:s, s:s, s:s, s:s, s:i, s:s*}", "_id", id, "taskId", "t",
        "authorType", author_type, "content", content, "createdAt", written_ms,
        "sourceNotificationId", source);
    assert_int_equal(json_array_append_new(history->messages, message), 0);
}

/* A notification of a message, delivered. */
static void add_caused(
    struct history *history, const char *id, const char *agent, const char *message_id)
{
    json_t *notification = json_pack("{s:s, s:s, s:s, s:s, s:s, s:i}", "_id", id, "recipientType",
        "agent", "recipientId", agent, "taskId", "t", "messageId", message_id, "deliveredAt", 1);
    assert_int_equal(json_array_append_new(history->notifications, notification), 0);
}

/* The agent's run for the notification and its reply, a message of that id. */
static void add_reply(struct history *history, const char *id, int number, const char *message_id)
{
    char content[32];
    snprintf(content, sizeof content, "Go on.\n\nRun %d", number);
    add_run(history, id, number, "answered");
    add_exchange(history->requests, id, false);
    add_post(history, message_id, "agent", id, content);
}

static void test_second_run_for_one_message_is_found(void **state)
{
    struct history *history = *state;
    add_post(history, "m", "user", NULL, "@a @A hello");
    add_caused(history, "good", "a", "m");
    add_caused(history, "bad", "a", "m");
    add_reply(history, "good", 1, "m1");
    must_hold(history, &strict);
    add_exchange(history->requests, "bad", true);
    must_hold(history, &strict);
    add_reply(history, "bad", 2, "m2");
    must_violate(history, &strict, "although the same message had run it for another");
}

static void test_message_of_a_person_must_not_be_skipped(void **state)
{
    struct history *history = *state;
    add_post(history, "m", "user", NULL, "@a @b hello");
    add_caused(history, "good", "a", "m");
    add_reply(history, "good", 1, "m1");
    add_caused(history, "bad", "b", "m");
    must_violate(history, &talking, "its agent was not asked");
    add_post(history, "note", "agent", "bad", "**Agents stopped.** They have run 2 times.");
    must_violate(history, &talking, "although a person caused it");
}

static void test_message_of_an_agent_may_be_skipped(void **state)
{
    struct history *history = *state;
    add_post(history, "m", "user", NULL, "@a hello");
    add_caused(history, "first", "a", "m");
    add_reply(history, "first", 1, "m1");
    add_caused(history, "bad", "b", "m1");
    must_violate(history, &strict, "its agent was not asked");
    must_hold(history, &talking);
    add_run(history, "bad", 2, "answered");
    must_violate(history, &talking, "no message was written for it");
    add_post(history, "note", "agent", "bad", "**Agents stopped.** They have run 2 times.");
    must_violate(history, &talking, "a note was written");
}

/* Agents answer each other from the message on; returns the number of the next run. */
static int add_chain(struct history *history, const char *message_id, int number, int length)
{
    char caused_by[ID_BYTES];
    snprintf(caused_by, sizeof caused_by, "%s", message_id);
    for (int i = 0; i < length; i++, number++) {
        char id[16];
        snprintf(id, sizeof id, "n%d", number);
        add_caused(history, id, number % 2 == 0 ? "a" : "b", caused_by);
        snprintf(caused_by, sizeof caused_by, "m%d", number);
        add_reply(history, id, number, caused_by);
    }
    return number;
}

static void must_exceed(const struct history *history, const char *words)
{
    char reason[256] = "";
    assert_false(history_holds(history, &talking, reason, sizeof reason));
    if (strstr(reason, words) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", reason, words);
}

static void test_runs_of_agents_under_one_root_are_limited(void **state)
{
    struct history *history = *state;
    add_post(history, "m", "user", NULL, "@a hello");
    add_chain(history, "m", 1, 3);
    must_hold(history, &talking);
    add_chain(history, "m3", 4, 1);
    must_exceed(history, "root m: agents caused 3 runs of each other; the limit is 2");
}

static void test_runs_of_agents_in_one_task_are_limited(void **state)
{
    struct history *history = *state;
    add_post(history, "m", "user", NULL, "@a hello");
    int number = add_chain(history, "m", 1, 2);
    add_post(history, "alone", "agent", NULL, "@a @b I have news");
    number = add_chain(history, "alone", number, 1);
    must_hold(history, &talking);
    add_post(history, "other", "agent", NULL, "@a @b I have more");
    add_chain(history, "other", number, 1);
    must_exceed(history, "task t: agents caused 3 runs");
}

static void test_person_who_writes_begins_a_new_period(void **state)
{
    struct history *history = *state;
    add_post(history, "p", "user", NULL, "@a hello");
    int number = add_chain(history, "p", 1, 3);
    add_post(history, "q", "user", NULL, "@a go on");
    number = add_chain(history, "q", number, 3);
    must_hold(history, &talking);
    add_post(history, "alone", "agent", NULL, "@a @b I have news");
    add_chain(history, "alone", number, 1);
    must_exceed(history, "task t: agents caused 3 runs");
}

static void test_second_note_about_the_limit_is_found(void **state)
{
    struct history *history = *state;
    for (int period = 0; period < 2; period++) {
        char ids[3][16];
        for (int i = 0; i < 3; i++)
            snprintf(ids[i], sizeof ids[i], "%c%d", "pmn"[i], period);
        add_post(history, ids[0], "user", NULL, "@a hello");
        add_caused(history, ids[1], "a", ids[0]);
        add_reply(history, ids[1], period + 1, ids[1]);
        add_caused(history, ids[2], "b", ids[1]);
        add_post(history, ids[2], "agent", ids[2], "**Agents stopped.** They have run.");
    }
    must_hold(history, &talking);
    add_caused(history, "again", "c", "m1");
    add_post(history, "note", "agent", "again", "**Agents stopped.** They have run.");
    must_exceed(history, "task t: a second note about the limit");
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

/* Tool calls. */

static void add_effect(struct history *history, const char *title)
{
    json_t *effect = json_pack(
        "{s:s, s:{s:s}}", "function", "createDocumentFromAgent", "arguments", "title", title);
    assert_int_equal(json_array_append_new(history->effects, effect), 0);
}

static void add_call(
    struct history *history, const char *title, const char *outcome, const char *output)
{
    char arguments[64];
    snprintf(arguments, sizeof arguments, "{\"title\":\"%s\"}", title);
    json_t *call =
        json_pack("{s:s, s:s, s:s}", "arguments", arguments, "outcome", outcome, "output", output);
    assert_int_equal(json_array_append_new(history->calls, call), 0);
}

static void calls_must_violate(const struct history *history, const char *words)
{
    char reason[256] = "";
    assert_false(history_holds(history, &lossy, reason, sizeof reason));
    assert_non_null(strstr(reason, words));
}

static void test_calls_with_true_outcomes_are_valid(void **state)
{
    struct history *history = *state;
    add_effect(history, "done [call 1.1]");
    add_effect(history, "unknown [call 1.2]");
    add_call(history, "done [call 1.1]", "succeeded", "{}");
    add_call(history, "unknown [call 1.2]", "failed", "interrupted: look before you try again");
    add_call(history, "unmade [call 1.3]", "failed", "interrupted: look before you try again");
    add_call(history, "refused [call 1.4]", "failed", "no such task");
    must_hold(history, &strict);
}

static void test_call_that_was_carried_out_twice_is_found(void **state)
{
    struct history *history = *state;
    add_effect(history, "one [call 1.1]");
    add_effect(history, "other [call 1.1]");
    calls_must_violate(history, "a tool call changed the board twice ([call 1.1])");
}

static void test_change_that_a_later_run_repeated_is_found(void **state)
{
    struct history *history = *state;
    add_effect(history, "one [call 1.1]");
    add_effect(history, "one [call 2.1]");
    calls_must_violate(history, "an agent made the same change again");
}

static void test_success_without_a_change_is_found(void **state)
{
    struct history *history = *state;
    add_call(history, "one [call 1.1]", "succeeded", "{}");
    calls_must_violate(history, "was told to have succeeded, but changed nothing");
}

static void test_failure_with_a_change_is_found(void **state)
{
    struct history *history = *state;
    add_effect(history, "one [call 1.1]");
    add_call(history, "one [call 1.1]", "failed", "no such task");
    calls_must_violate(history, "took effect, but the agent was told: no such task");
}

static void test_rounds_are_folded_into_one_run(void **state)
{
    struct history *history = *state;
    json_t *runs = json_pack("[{s:i, s:i, s:s, s:s, s:[{}]}, {s:i, s:i, s:s, s:[s]}]", "number", 1,
        "first_run", 1, "notification", "good", "outcome", "answered", "calls", "number", 2,
        "first_run", 1, "outcome", "answered", "results", "task_status");
    json_t *folded = history_fold_rounds(runs);
    assert_int_equal(json_array_size(folded), 1);
    assert_int_equal(json_integer_value(json_object_get(json_array_get(folded, 0), "number")), 2);
    json_decref(folded);
    json_array_remove(runs, 1);
    folded = history_fold_rounds(runs);
    assert_true(json_guard_is(json_array_get(folded, 0), "outcome", "acting", ""));
    json_decref(folded);
    json_decref(runs);
    must_hold(history, &strict);
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
        WITH_HISTORY(test_requests_without_proof_count_as_runs),
        WITH_HISTORY(test_mark_without_confirmation_must_be_repeated),
        WITH_HISTORY(test_second_run_for_one_message_is_found),
        WITH_HISTORY(test_message_of_a_person_must_not_be_skipped),
        WITH_HISTORY(test_message_of_an_agent_may_be_skipped),
        WITH_HISTORY(test_runs_of_agents_under_one_root_are_limited),
        WITH_HISTORY(test_runs_of_agents_in_one_task_are_limited),
        WITH_HISTORY(test_person_who_writes_begins_a_new_period),
        WITH_HISTORY(test_second_note_about_the_limit_is_found),
        WITH_HISTORY(test_first_spooled_reply_is_kept),
        WITH_HISTORY(test_calls_with_true_outcomes_are_valid),
        WITH_HISTORY(test_call_that_was_carried_out_twice_is_found),
        WITH_HISTORY(test_change_that_a_later_run_repeated_is_found),
        WITH_HISTORY(test_success_without_a_change_is_found),
        WITH_HISTORY(test_failure_with_a_change_is_found),
        WITH_HISTORY(test_rounds_are_folded_into_one_run),
    };
    return cmocka_run_group_tests_name("history", tests, NULL, NULL);
}
