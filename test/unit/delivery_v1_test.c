/* What is particular to deliveries on version 1 of the backend, as far as it needs no backend. */
#include "delivery/delivery_v1.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../lib/alloc_fault.h"
#include "../lib/attempt_fixture.h"
#include "../lib/context_fixture.h"
#include "../lib/queue_fixture.h"
#include "base/sync.h"

enum { BACKOFF_MS = 77, SINCE_MS = 1000 };

/* n1 has been answered for the message m1 and marked. */
static int setup(void **state)
{
    struct attempt_fixture *fixture = attempt_fixture_create("t1");
    fixture->config.delivery_backoff_max_ms = BACKOFF_MS;
    fixture->config.delivery_max_runs = 4;
    text_copy(fixture->entry->work.message_id, ID_BYTES, "m1");
    fixture->entry->work.may_be_changed = true;
    fixture->entry->work.closing = CLOSING_ACKNOWLEDGED;
    fixture->entry->work.runs = 3;
    *state = fixture;
    return 0;
}

static bool exists(const struct attempt_fixture *fixture, const char *name)
{
    char path[TMP_DIR_BYTES + 64];
    snprintf(path, sizeof path, "%s/%s", fixture->dir, name);
    return access(path, F_OK) == 0;
}

static void keep_reply(struct attempt_fixture *fixture)
{
    fixture->entry->work.reply = strdup("the reply");
    assert_non_null(fixture->entry->work.reply);
    journal_save_reply(&fixture->delivery.journal, fixture->entry);
}

static enum entry_stage settle(struct attempt_fixture *fixture, const char *changes)
{
    struct delivery_context context = context_fixture_read(changes);
    enum entry_stage stage = v1_settle_marked(&fixture->attempt, &context);
    delivery_context_fini(&context);
    return stage;
}

static void test_same_message_settles(void **state)
{
    assert_int_equal(settle(*state, "{\"notification\":{\"messageId\":\"m1\"}}"), STAGE_SETTLED);
}

static void test_notification_that_is_gone_settles(void **state)
{
    struct attempt_fixture *fixture = *state;
    struct delivery_context context;
    assert_int_equal(delivery_context_read(json_null(), &context, NULL), CONVEX_SUCCESS);
    assert_int_equal(v1_settle_marked(&fixture->attempt, &context), STAGE_SETTLED);
    delivery_context_fini(&context);
}

/* Only thread updates are changed; another one is about another message from the beginning. */
static void test_what_cannot_be_changed_settles(void **state)
{
    struct attempt_fixture *fixture = *state;
    fixture->entry->work.may_be_changed = false;
    assert_int_equal(settle(fixture, ""), STAGE_SETTLED);
}

static void test_newer_message_begins_again(void **state)
{
    struct attempt_fixture *fixture = *state;
    struct entry *entry = fixture->entry;
    struct spool_record record;
    entry->work.reopened = 1;
    entry->work.typing = true;
    entry->work.timeouts = 2;
    entry->work.empty_answers = 1;
    entry->work.refusals.total_ms = 5;
    text_copy(entry->work.failure, sizeof entry->work.failure, "the run failed");
    keep_reply(fixture);
    assert_int_equal(settle(fixture, ""), STAGE_KNOWN);
    assert_true(entry->work.answers_again);
    assert_null(entry->work.reply);
    assert_int_equal(entry->work.closing, CLOSING_OPEN);
    assert_int_equal(entry->work.reopened, 0);
    assert_false(entry->work.typing);
    assert_int_equal(entry->work.record, RECORD_RUN);
    assert_int_equal(spool_load(fixture->spool, "n1", &record, NULL), 0);
    assert_true(record.answers_again);
    assert_null(record.reply);
    assert_int_equal(record.runs, 0);
    assert_int_equal(record.timeouts, 0);
    assert_int_equal(record.empty_answers, 0);
    assert_int_equal(record.failing_ms, 0);
    assert_string_equal(record.failure, "");
}

/* As when its agent certainly did not run: no page lists it, so the record has to stay. */
static void test_record_stays_without_a_run(void **state)
{
    struct attempt_fixture *fixture = *state;
    assert_int_equal(settle(fixture, ""), STAGE_KNOWN);
    journal_begin_run(&fixture->delivery.journal, fixture->entry);
    journal_undo_run(&fixture->delivery.journal, fixture->entry);
    assert_int_equal(fixture->entry->work.runs, 0);
    assert_int_equal(fixture->entry->work.record, RECORD_RUN);
    assert_true(exists(fixture, "spool/n1.json"));
}

/* Nor may the queue drop it, should the disk have taken no record. */
static void test_entry_without_a_record_stays_in_the_queue(void **state)
{
    struct attempt_fixture *fixture = *state;
    struct send_queue *queue = fixture->delivery.queue;
    assert_int_equal(settle(fixture, ""), STAGE_KNOWN);
    fixture->entry->work.record = RECORD_NONE;
    queue_fixture_finish(queue, fixture->entry, STAGE_KNOWN, 0);
    EMPTY_PAGE(queue);
    assert_int_equal(queue_fixture_counts(queue).held, 1);
    fixture->entry = queue_fixture_take(queue, "n1");
}

static void abandon_reply_of(struct attempt_fixture *fixture)
{
    keep_reply(fixture);
    fixture->entry->work.outcome = OUTCOME_DEAD;
    fixture->entry->work.closing = CLOSING_UNREPORTED;
    fixture->entry->work.reply_abandoned = true;
}

static void test_dead_letter_is_kept_when_it_begins_again(void **state)
{
    struct attempt_fixture *fixture = *state;
    struct spool_record record;
    abandon_reply_of(fixture);
    assert_int_equal(settle(fixture, ""), STAGE_KNOWN);
    assert_true(exists(fixture, "dead/n1.json"));
    assert_int_equal(spool_load(fixture->spool, "n1", &record, NULL), 0);
    assert_null(record.reply);
    assert_false(record.reply_abandoned);
}

/* It is looked at again when the disk may work. */
static void test_dead_letter_that_cannot_be_kept_is_not_lost(void **state)
{
    struct attempt_fixture *fixture = *state;
    char path[TMP_DIR_BYTES + 64];
    abandon_reply_of(fixture);
    snprintf(path, sizeof path, "%s/dead/n1.json", fixture->dir);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(settle(fixture, ""), STAGE_WRITTEN);
    assert_int_equal(fixture->attempt.delay_ms, BACKOFF_MS);
    assert_non_null(fixture->entry->work.reply);
    assert_false(fixture->entry->work.answers_again);
    assert_int_equal(rmdir(path), 0);
    assert_int_equal(settle(fixture, ""), STAGE_KNOWN);
    assert_true(exists(fixture, "dead/n1.json"));
}

/* Without memory for the record it goes on from memory, like every entry. */
static void test_newer_message_without_memory_for_the_record_begins_again(void **state)
{
    struct attempt_fixture *fixture = *state;
    struct delivery_context context = context_fixture_read("");
    for (unsigned number = 1; number <= 3; number++) {
        fixture->entry->work.answers_again = false;
        alloc_fault_arm(number);
        enum entry_stage stage = v1_settle_marked(&fixture->attempt, &context);
        alloc_fault_disarm();
        assert_int_equal(stage, STAGE_KNOWN);
        assert_true(fixture->entry->work.answers_again);
    }
    delivery_context_fini(&context);
}

/* Whether the thread has content, if it shows that message. */
static bool is_found(const char *content, const char *shown, const char *author, int64_t at_ms)
{
    json_t *thread = json_pack("[{s:s, s:s}, {s:s, s:s, s:I}]", "authorId", "a1", "content",
        "another one", "authorId", author, "content", shown, "createdAt", (json_int_t)at_ms);
    assert_non_null(thread);
    bool found = v1_thread_has(thread, "a1", content, SINCE_MS);
    json_decref(thread);
    return found;
}

static void test_only_the_agents_own_later_message_counts(void **state)
{
    (void)state;
    assert_true(is_found("Done.", "Done.", "a1", SINCE_MS + 1));
    assert_false(is_found("Done.", "Done.", "a1", SINCE_MS));
    assert_false(is_found("Done.", "Done.", "a2", SINCE_MS + 1));
    assert_false(is_found("Done.", "Done", "a1", SINCE_MS + 1));
    assert_false(is_found("Done", "Done.", "a1", SINCE_MS + 1));
    assert_false(is_found("Done.", "Done.…", "a1", SINCE_MS + 1));
    assert_false(v1_thread_has(NULL, "a1", "Done.", SINCE_MS));
}

static void append_units(struct text *text, size_t units)
{
    for (size_t i = 0; i < units; i++)
        text_append(text, "x");
}

/* A reply of units and then more, as the thread shows it: the first units and then end. */
static bool is_found_cut(size_t units, const char *more, const char *end)
{
    struct text content = {0};
    struct text shown = {0};
    append_units(&content, units);
    append_units(&shown, units);
    text_append(&content, more);
    text_append(&shown, end);
    assert_false(content.failed || shown.failed);
    bool found = is_found(content.data, shown.data, "a1", SINCE_MS + 1);
    text_fini(&content);
    text_fini(&shown);
    return found;
}

static void test_long_message_is_found_by_what_the_thread_shows(void **state)
{
    (void)state;
    assert_true(is_found_cut(1999, "", ""));
    assert_true(is_found_cut(2000, "", ""));
    assert_true(is_found_cut(2000, "y", "…"));
    assert_true(is_found_cut(2000, "…", "…"));
    assert_false(is_found_cut(2000, "", "…"));
    assert_false(is_found_cut(2000, "y", ""));
    assert_false(is_found_cut(1999, "yz", "…"));
    assert_false(is_found_cut(1999, "yz", "z…"));
    assert_true(is_found_cut(1999, "yz", "y…"));
    assert_true(is_found_cut(2000, "yz", "yz"));
}

/* U+1F600 takes two units, so one at the end fits, is cut off, or is cut in half. */
static void test_character_of_two_units_at_the_cut(void **state)
{
    static const char smile[] = "\xF0\x9F\x98\x80";
    (void)state;
    assert_true(is_found_cut(1998, smile, smile));
    assert_true(is_found_cut(1998, "\xF0\x9F\x98\x80z", "\xF0\x9F\x98\x80…"));
    assert_true(is_found_cut(1999, smile, "…"));
    assert_true(is_found_cut(1999, smile, "\xEF\xBF\xBD…"));
    assert_true(is_found_cut(1999, smile, smile)); /* not every function cuts */
    assert_false(is_found_cut(1999, smile, "\xEF\xBF\xBD"));
}

static void test_empty_answers_are_asked_for_within_the_budget(void **state)
{
    struct attempt_fixture *fixture = *state;
    struct entry *entry = fixture->entry;
    fixture->attempt.context = context_fixture_read("{\"notification\":{\"type\":\"mention\"}}");
    entry->work.runs = 1;
    assert_int_equal(v1_judge_reply(&fixture->attempt, REPLY_BLANK, false), ANSWER_ASK_AGAIN);
    assert_int_equal(entry->work.empty_answers, 1);
    entry->work.runs = 4;
    assert_int_equal(v1_judge_reply(&fixture->attempt, REPLY_BLANK, false), ANSWER_UNANSWERED);
    assert_true(entry->work.unanswered);
    assert_int_equal(entry->work.empty_answers, 0);
    assert_int_equal(v1_judge_reply(&fixture->attempt, REPLY_TEXT, false), ANSWER_POST);
    assert_false(entry->work.unanswered);
    delivery_context_fini(&fixture->attempt.context);
}

#define ATTEMPT_TEST(test) cmocka_unit_test_setup_teardown(test, setup, attempt_fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ATTEMPT_TEST(test_same_message_settles),
        ATTEMPT_TEST(test_notification_that_is_gone_settles),
        ATTEMPT_TEST(test_what_cannot_be_changed_settles),
        ATTEMPT_TEST(test_newer_message_begins_again),
        ATTEMPT_TEST(test_record_stays_without_a_run),
        ATTEMPT_TEST(test_entry_without_a_record_stays_in_the_queue),
        ATTEMPT_TEST(test_dead_letter_is_kept_when_it_begins_again),
        ATTEMPT_TEST(test_dead_letter_that_cannot_be_kept_is_not_lost),
        ATTEMPT_TEST(test_newer_message_without_memory_for_the_record_begins_again),
        cmocka_unit_test(test_only_the_agents_own_later_message_counts),
        cmocka_unit_test(test_long_message_is_found_by_what_the_thread_shows),
        cmocka_unit_test(test_character_of_two_units_at_the_cut),
        ATTEMPT_TEST(test_empty_answers_are_asked_for_within_the_budget),
    };
    return cmocka_run_group_tests_name("delivery_v1", tests, NULL, NULL);
}
