/* Which tasks a wake-up shows, whether and where its answer is posted, what is followed up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../lib/alloc_fault.h"
#include "base/json.h"
#include "delivery/reply.h"
#include "delivery/wake_board.h"

/* JSON with ' in place of "; a new reference. */
static json_t *read_json(const char *words)
{
    char copy[2048];
    snprintf(copy, sizeof copy, "%s", words);
    for (char *at = copy; *at != '\0'; at++)
        if (*at == '\'')
            *at = '"';
    json_t *value = json_loads(copy, JSON_DECODE_ANY, NULL);
    if (value == NULL)
        fail_msg("not JSON: %s", copy);
    return value;
}

#define TASK(id, status, updated) \
    "{'_id':'" id "','status':'" status "','updatedAt':" updated ",'title':'" id "'}"

/* The ids in the order in which they are shown, with blanks between them. */
static void order_must_be(
    const char *assigned, const char *tracked, bool is_orchestrator, const char *expected)
{
    char ids[256] = "";
    json_t *own = assigned != NULL ? read_json(assigned) : NULL;
    json_t *all = tracked != NULL ? read_json(tracked) : NULL;
    json_t *sorted = wake_board_sort(own, all, is_orchestrator);
    size_t index;
    const json_t *task;
    json_array_foreach (sorted, index, task) {
        size_t used = strlen(ids);
        snprintf(ids + used, sizeof ids - used, "%s%s", index > 0 ? " " : "",
            json_guard_string(task, "_id"));
    }
    assert_string_equal(ids, expected);
    json_decref(sorted);
    json_decref(own);
    json_decref(all);
}

static void test_tasks_of_an_agent_come_by_status_and_newest_first(void **state)
{
    (void)state;
    order_must_be("[" TASK("a", "assigned", "9") "," TASK("b", "in_progress", "1") "," TASK(
                      "c", "in_progress", "5") "," TASK("d", "assigned", "3") "]",
        NULL, false, "c b a d");
    order_must_be("[" TASK("r", "review", "1") "," TASK("x", "archived", "1") "," TASK("y",
                      "blocked", "1") "," TASK("z", "inbox", "1") "," TASK("o", "done", "1") "]",
        NULL, false, "");
}

static void test_tasks_of_the_orchestrator_come_oldest_first(void **state)
{
    (void)state;
    order_must_be("[" TASK("a", "in_progress", "4") "]",
        "[" TASK("b", "assigned", "1") "," TASK("c", "review", "2") "," TASK("d", "in_progress",
            "3") "," TASK("a", "in_progress", "4") "," TASK("e", "review", "1") "]",
        true, "d a e c b");
}

static void test_equal_tasks_keep_their_order(void **state)
{
    (void)state;
    order_must_be("[" TASK("c", "assigned", "1") "," TASK("a", "assigned", "1") "," TASK(
                      "b", "assigned", "1") "," TASK("a", "assigned", "1") "]",
        NULL, false, "c a b");
}

/* Lists that failed, and rows that are no tasks. */
static void test_what_is_no_task_is_left_out(void **state)
{
    (void)state;
    order_must_be(NULL, NULL, true, "");
    order_must_be("{'no':'list'}", "7", true, "");
    order_must_be("[null,7,{},{'_id':'../x','status':'assigned'},{'_id':'n','status':7},"
                  "{'_id':'a','status':'assigned','updatedAt':'soon'}]",
        NULL, false, "a");
}

static void test_sorting_without_memory(void **state)
{
    (void)state;
    json_t *tasks = read_json("[" TASK("a", "assigned", "1") "," TASK("b", "assigned", "2") "]");
    for (unsigned i = 1; i < 20; i++) {
        alloc_fault_arm(i);
        json_t *sorted = wake_board_sort(tasks, NULL, false);
        bool struck = alloc_fault_fired();
        alloc_fault_disarm();
        assert_true(sorted != NULL ? json_array_size(sorted) == 2 : struck);
        json_decref(sorted);
    }
    json_decref(tasks);
}

static void test_named_task_is_one_that_was_shown(void **state)
{
    static const struct {
        const char *words;
        const char *id; /* NULL: none */
    } cases[] = {
        {"Done. Task ID: t1", "t1"},
        {"task id:t2\nTask ID: t1", "t2"},
        {"**Task ID:** `t2`.", "t2"},
        {"TASK ID:\n  <t1>", "t1"},
        {"Task ID: t9\nTask ID: t2", "t2"},
        {"Task ID: t11", NULL},
        {"Task ID: t", NULL},
        {"Task ID:", NULL},
        {"Task: t1", NULL},
        {"", NULL},
        {"Task ID: Task ID: t1", "t1"},
    };
    (void)state;
    json_t *tasks = read_json("[" TASK("t1", "assigned", "1") "," TASK("t2", "assigned", "1") "]");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const json_t *task = wake_board_named_task(tasks, cases[i].words);
        const char *id = task != NULL ? json_guard_string(task, "_id") : NULL;
        if ((id == NULL) != (cases[i].id == NULL) || (id != NULL && strcmp(id, cases[i].id) != 0))
            fail_msg("\"%s\" names %s", cases[i].words, id != NULL ? id : "none");
    }
    assert_null(wake_board_named_task(NULL, "Task ID: t1"));
    json_decref(tasks);
}

/* Only words are posted. */
static void test_which_answers_are_posted(void **state)
{
    static const struct {
        const char *words;
        enum reply_kind kind;
    } cases[] = {
        {"HEARTBEAT_OK", REPLY_SILENT},
        {"**HEARTBEAT_OK**", REPLY_SILENT},
        {"All is well: HEARTBEAT_OK. I looked at both tasks.", REPLY_SILENT},
        {"Loading context for heartbeat...\nHEARTBEAT_OK", REPLY_SILENT},
        {"NO_REPLY", REPLY_SILENT},
        {"NO_", REPLY_SILENT},
        {"", REPLY_BLANK},
        {" \n\t", REPLY_BLANK},
        {"No response from OpenClaw.", REPLY_PLACEHOLDER},
        {"@friday No reply from agent.", REPLY_PLACEHOLDER},
        {"No response from Clawdbot.", REPLY_PLACEHOLDER},
        {"NO", REPLY_TEXT},
        {"MY_HEARTBEAT_OK_FLAG is set.", REPLY_TEXT},
        {"I moved the task to review.", REPLY_TEXT},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct reply_context context = {.is_wake_up = true};
        struct reply reply;
        json_t *body = json_pack("{s:s}", "output_text", cases[i].words);
        assert_int_equal(reply_read(body, &context, &reply, NULL), 0);
        if (reply.kind != cases[i].kind)
            fail_msg("\"%s\" is of kind %d", cases[i].words, (int)reply.kind);
        free(reply.text);
        json_decref(body);
    }
}

static void heard_must_be(const char *thread, int64_t expected_ms)
{
    json_t *task = read_json("{'_id':'t','assignedAgentIds':['a1','a2'],'updatedAt':50,"
                             "'createdAt':10}");
    json_t *messages = read_json(thread);
    assert_int_equal(wake_board_heard_ms(task, messages), expected_ms);
    json_object_del(task, "updatedAt");
    if (expected_ms == 50)
        assert_int_equal(wake_board_heard_ms(task, messages), 10);
    json_decref(task);
    json_decref(messages);
}

#define SAID(author, at, words) \
    "{'authorType':'agent','authorId':'" author "','createdAt':" at ",'content':'" words "'}"

static void test_standstill_counts_from_the_last_words_of_an_assignee(void **state)
{
    (void)state;
    heard_must_be("[]", 50);
    heard_must_be("[" SAID("a1", "20", "Begun.") "," SAID("a2", "30", "Helping.") "]", 30);
    heard_must_be("[" SAID("a1", "20", "Begun.") "," SAID("a9", "40", "How far?") "]", 20);
    heard_must_be("[" SAID("a1", "20", "Begun.") "," SAID("a2", "30", "HEARTBEAT_OK") "," SAID(
                      "a1", "35", "No response from OpenClaw.") "]",
        20);
    heard_must_be("[{'authorType':'user','authorId':'a1','createdAt':40,'content':'x'},7]", 50);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tasks_of_an_agent_come_by_status_and_newest_first),
        cmocka_unit_test(test_tasks_of_the_orchestrator_come_oldest_first),
        cmocka_unit_test(test_equal_tasks_keep_their_order),
        cmocka_unit_test(test_what_is_no_task_is_left_out),
        cmocka_unit_test(test_sorting_without_memory),
        cmocka_unit_test(test_named_task_is_one_that_was_shown),
        cmocka_unit_test(test_which_answers_are_posted),
        cmocka_unit_test(test_standstill_counts_from_the_last_words_of_an_assignee),
    };
    return cmocka_run_group_tests_name("wake_board", tests, NULL, NULL);
}
