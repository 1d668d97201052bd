/* What is a trace of another runtime, what is none, and how many are believed. */
#include "delivery/other_runtime.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../lib/context_fixture.h"
#include "../lib/queue_fixture.h"
#include "base/sync.h"
#include "base/text.h"

enum { MINUTE_MS = 60 * 1000, START_MS = 1000 };

struct fixture {
    struct metrics metrics;
    struct other_runtime *other;
    struct send_queue *queue;
};

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    assert_non_null(fixture);
    metrics_init(&fixture->metrics);
    assert_int_equal(other_runtime_create(&fixture->other, &fixture->metrics, NULL), 0);
    const struct send_queue_settings settings = {.capacity = QUEUE_FIXTURE_CAPACITY,
        .max_wakes = QUEUE_FIXTURE_MAX_WAKES,
        .other_runtime = fixture->other};
    assert_int_equal(send_queue_create(&fixture->queue, &settings, NULL), 0);
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    send_queue_destroy(fixture->queue);
    other_runtime_destroy(fixture->other);
    metrics_fini(&fixture->metrics);
    free(fixture);
    return 0;
}

static int64_t traces(const struct fixture *fixture, const char *trace)
{
    return metrics_value(&fixture->metrics, METRIC_OTHER_RUNTIME_TRACES, trace);
}

/* An entry that has settled; the rest is for the test to set. */
static struct entry ended_entry(const char *id)
{
    struct entry entry = {0};
    text_copy(entry.item.id, sizeof entry.item.id, id);
    entry.queue.stage = STAGE_SETTLED;
    entry.work.attempts = 1;
    entry.work.closing = CLOSING_ACKNOWLEDGED;
    entry.queue.may_be_marked = true;
    return entry;
}

static void judge(struct fixture *fixture, const struct entry *entry)
{
    other_runtime_judge(fixture->other, &entry->item, START_MS);
}

/* How many. */

static void add_trace_at(struct fixture *fixture, int64_t now_ms)
{
    struct entry entry = ended_entry("n");
    entry.queue.unlisted = true;
    other_runtime_judge(fixture->other, &entry.item, now_ms);
}

static void test_three_traces_within_ten_minutes_are_believed(void **state)
{
    struct fixture *fixture = *state;
    add_trace_at(fixture, START_MS);
    add_trace_at(fixture, START_MS + 5 * MINUTE_MS);
    assert_false(other_runtime_is_seen(fixture->other, START_MS + 5 * MINUTE_MS));
    add_trace_at(fixture, START_MS + 10 * MINUTE_MS - 1);
    assert_true(other_runtime_is_seen(fixture->other, START_MS + 10 * MINUTE_MS - 1));
    assert_int_equal(traces(fixture, "delivered"), 3);
}

static void test_traces_further_apart_are_not_believed(void **state)
{
    struct fixture *fixture = *state;
    for (int i = 0; i < 9; i++) {
        add_trace_at(fixture, START_MS + INT64_C(5) * i * MINUTE_MS);
        assert_false(other_runtime_is_seen(fixture->other, START_MS + INT64_C(5) * i * MINUTE_MS));
    }
}

static void test_it_is_forgotten_ten_minutes_after_the_last_trace(void **state)
{
    struct fixture *fixture = *state;
    for (int i = 0; i < 4; i++)
        add_trace_at(fixture, START_MS + i);
    assert_true(other_runtime_is_seen(fixture->other, START_MS + 3 + 10 * MINUTE_MS - 1));
    assert_false(other_runtime_is_seen(fixture->other, START_MS + 3 + 10 * MINUTE_MS));
    other_runtime_judge(fixture->other, NULL, START_MS + 11 * MINUTE_MS);
    add_trace_at(fixture, START_MS + 11 * MINUTE_MS);
    assert_false(other_runtime_is_seen(fixture->other, START_MS + 11 * MINUTE_MS));
}

/* Ends. */

static void test_what_was_found_marked_before_our_mark_is_a_trace(void **state)
{
    struct fixture *fixture = *state;
    struct entry entry = ended_entry("n1");
    entry.work.closing = CLOSING_OPEN;
    entry.work.reason = REASON_ALREADY_DELIVERED;
    entry.queue.may_be_marked = false;
    judge(fixture, &entry);
    entry.work.reason = REASON_ENDED_ELSEWHERE;
    judge(fixture, &entry);
    assert_int_equal(traces(fixture, "delivered"), 2);
}

/* Deleted by people, marked by us without an answer, or in the hands of an earlier process. */
static void test_what_a_single_runtime_meets_is_no_trace(void **state)
{
    struct fixture *fixture = *state;
    struct entry deleted = ended_entry("n1");
    deleted.queue.unlisted = true;
    deleted.work.evidence.gone = true;
    judge(fixture, &deleted);
    struct entry marked = ended_entry("n2");
    marked.work.reason = REASON_ENDED_ELSEWHERE;
    judge(fixture, &marked);
    struct entry inherited = ended_entry("n3");
    inherited.queue.unlisted = true;
    inherited.work.evidence.inherited = true;
    judge(fixture, &inherited);
    struct entry reopened = ended_entry("n4");
    reopened.queue.unlisted = true;
    reopened.work.reopened = 1;
    judge(fixture, &reopened);
    struct entry unsettled = ended_entry("n5");
    unsettled.queue.unlisted = true;
    unsettled.queue.stage = STAGE_KNOWN;
    judge(fixture, &unsettled);
    assert_int_equal(metrics_total(&fixture->metrics, METRIC_OTHER_RUNTIME_TRACES), 0);
}

/* Pages. */

static void settle(struct fixture *fixture, struct entry *entry)
{
    entry->work.closing = CLOSING_ACKNOWLEDGED;
    send_queue_finish(fixture->queue, entry, STAGE_SETTLED, 0);
    EMPTY_PAGE(fixture->queue);
}

static void test_row_in_hand_that_a_page_lacks_is_a_trace(void **state)
{
    struct fixture *fixture = *state;
    EMPTY_PAGE(fixture->queue);
    PAGE(fixture->queue, {"n1", "a1", "", 1});
    struct entry *entry = queue_fixture_take(fixture->queue, "n1");
    EMPTY_PAGE(fixture->queue);
    assert_true(send_queue_advance(fixture->queue, entry, STAGE_WRITTEN));
    settle(fixture, entry);
    assert_int_equal(traces(fixture, "delivered"), 1);
}

/* Also if the answer to the mark has not come: it may have been carried out. */
static void test_row_that_a_page_lacks_after_our_mark_is_no_trace(void **state)
{
    struct fixture *fixture = *state;
    EMPTY_PAGE(fixture->queue);
    PAGE(fixture->queue, {"n1", "a1", "", 1});
    struct entry *entry = queue_fixture_take(fixture->queue, "n1");
    assert_true(send_queue_advance(fixture->queue, entry, STAGE_WRITTEN));
    EMPTY_PAGE(fixture->queue);
    settle(fixture, entry);
    assert_int_equal(traces(fixture, "delivered"), 0);
}

/* Its earlier owner may be dead, and its last call on the way. */
static void test_row_of_the_first_complete_page_is_inherited(void **state)
{
    struct fixture *fixture = *state;
    FULL_PAGE(fixture->queue, {"n1", "a1", "", 1});
    PAGE(fixture->queue, {"n1", "a1", "", 1}, {"n2", "a2", "", 2});
    PAGE(fixture->queue, {"n1", "a1", "", 1}, {"n2", "a2", "", 2}, {"n3", "a3", "", 3});
    struct entry *taken[3];
    for (int i = 0; i < 3; i++) {
        taken[i] = send_queue_take(fixture->queue, NULL);
        assert_int_equal(taken[i]->work.evidence.inherited, strcmp(taken[i]->item.id, "n3") != 0);
    }
    for (int i = 0; i < 3; i++)
        settle(fixture, taken[i]);
    assert_int_equal(traces(fixture, "delivered"), 1);
}

/* On v1 a row moves to the end of the list when it is changed, and a cut page may lack it. */
static void test_cut_page_proves_nothing(void **state)
{
    struct fixture *fixture = *state;
    EMPTY_PAGE(fixture->queue);
    PAGE(fixture->queue, {"n1", "a1", "", 1});
    struct entry *entry = queue_fixture_take(fixture->queue, "n1");
    FULL_PAGE(fixture->queue, {"n2", "a2", "", 2});
    assert_false(entry->queue.unlisted);
    PAGE(fixture->queue, {"n2", "a2", "", 2});
    assert_true(entry->queue.unlisted);
    PAGE(fixture->queue, {"n1", "a1", "", 3}, {"n2", "a2", "", 2});
    assert_false(entry->queue.unlisted);
    settle(fixture, entry);
}

/* Replies. */

static void post_reply(
    struct fixture *fixture, const char *id, const char *message_id, const char *words)
{
    struct entry entry = ended_entry(id);
    entry.work.evidence.posted = text_digest(words, OTHER_RUNTIME_DIGEST_BYTES);
    entry.work.evidence.posted_message = id_hash(message_id);
    judge(fixture, &entry);
}

/* A notification about a message that answers n1, as the changes to the context say. */
static void hear(struct fixture *fixture, const char *changes)
{
    struct entry entry = ended_entry("n2");
    struct delivery_context context = context_fixture_read(changes);
    other_runtime_read_context(fixture->other, &entry, &context);
    delivery_context_fini(&context);
    judge(fixture, &entry);
}

#define ANSWER(content) \
    "{\"message\":{\"authorType\":\"agent\",\"sourceNotificationId\":\"n1\"," content "}}"

static void test_reply_with_other_words_is_a_trace_once(void **state)
{
    struct fixture *fixture = *state;
    post_reply(fixture, "n1", "m7", "ours");
    hear(fixture, ANSWER("\"content\":\"ours\""));
    assert_int_equal(traces(fixture, "reply"), 0);
    hear(fixture, ANSWER("\"content\":\"theirs\""));
    hear(fixture, ANSWER("\"content\":\"theirs\""));
    assert_int_equal(traces(fixture, "reply"), 1);
}

static void test_edited_words_and_our_notices_are_no_traces(void **state)
{
    struct fixture *fixture = *state;
    post_reply(fixture, "n1", "m7", "ours");
    hear(fixture, ANSWER("\"content\":\"changed\",\"editedAt\":1795229483000"));
    hear(fixture, ANSWER("\"content\":\"**No reply.** The agent was asked 4 times\""));
    hear(fixture, "{\"message\":{\"authorType\":\"agent\",\"sourceNotificationId\":\"n9\","
                  "\"content\":\"of a reply that was not ours\"}}");
    assert_int_equal(traces(fixture, "reply"), 0);
}

static void test_thread_shows_replies_with_other_words(void **state)
{
    struct fixture *fixture = *state;
    post_reply(fixture, "n1", "m1", "ours");
    hear(fixture, "{\"thread\":[{\"messageId\":\"m1\",\"authorType\":\"agent\",\"authorId\":\"a1\","
                  "\"content\":\"ours\",\"createdAt\":1795229481000}]}");
    assert_int_equal(traces(fixture, "reply"), 0);
    hear(fixture, "");
    hear(fixture, "");
    assert_int_equal(traces(fixture, "reply"), 1);
}

/* A reply and the notification that it caused may end before the same page. */
static void test_reply_that_ends_with_what_it_caused_is_compared(void **state)
{
    struct fixture *fixture = *state;
    struct entry caused = ended_entry("n2");
    struct entry reply = ended_entry("n1");
    caused.work.evidence.heard_source = id_hash("n1");
    caused.work.evidence.heard = text_digest("theirs", OTHER_RUNTIME_DIGEST_BYTES);
    reply.work.evidence.posted = text_digest("ours", OTHER_RUNTIME_DIGEST_BYTES);
    caused.item.next = &reply.item;
    judge(fixture, &caused);
    assert_int_equal(traces(fixture, "reply"), 1);
}

/* A thread shows 2,000 units of a message, which are at least as many bytes. */
static void test_long_reply_is_known_by_its_beginning(void **state)
{
    (void)state;
    char words[3 * OTHER_RUNTIME_DIGEST_BYTES];
    memset(words, 'x', sizeof words - 1);
    words[sizeof words - 1] = '\0';
    uint64_t whole = text_digest(words, OTHER_RUNTIME_DIGEST_BYTES);
    words[2000] = '\0';
    assert_true(text_digest(words, OTHER_RUNTIME_DIGEST_BYTES) == whole);
    words[OTHER_RUNTIME_DIGEST_BYTES - 1] = '\0';
    assert_false(text_digest(words, OTHER_RUNTIME_DIGEST_BYTES) == whole);
    assert_false(text_digest("", 1) == 0);
}

#define OTHER_TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        OTHER_TEST(test_three_traces_within_ten_minutes_are_believed),
        OTHER_TEST(test_traces_further_apart_are_not_believed),
        OTHER_TEST(test_it_is_forgotten_ten_minutes_after_the_last_trace),
        OTHER_TEST(test_what_was_found_marked_before_our_mark_is_a_trace),
        OTHER_TEST(test_what_a_single_runtime_meets_is_no_trace),
        OTHER_TEST(test_row_in_hand_that_a_page_lacks_is_a_trace),
        OTHER_TEST(test_row_that_a_page_lacks_after_our_mark_is_no_trace),
        OTHER_TEST(test_row_of_the_first_complete_page_is_inherited),
        OTHER_TEST(test_cut_page_proves_nothing),
        OTHER_TEST(test_reply_with_other_words_is_a_trace_once),
        OTHER_TEST(test_edited_words_and_our_notices_are_no_traces),
        OTHER_TEST(test_thread_shows_replies_with_other_words),
        OTHER_TEST(test_reply_that_ends_with_what_it_caused_is_compared),
        OTHER_TEST(test_long_reply_is_known_by_its_beginning),
    };
    return cmocka_run_group_tests_name("other_runtime", tests, NULL, NULL);
}
