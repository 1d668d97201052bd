/* The state of an agent's tool calls, from its answer to the results that it is sent. */
#include "delivery/tool_rounds.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../lib/json_fixture.h"
#include "base/json.h"

static void must_be_json(const json_t *value, const char *text)
{
    json_t *expected = json_fixture_must_load(text);
    if (!json_equal(value, expected))
        fail_msg("expected %s, got %s", text, json_dumps(value, 0));
    json_decref(expected);
}

/* Begins the next round with an answer. */
static void answer_with(json_t **rounds, const char *body_text, const char *words)
{
    json_t *body = json_fixture_must_load(body_text);
    assert_true(tool_rounds_begin(rounds, body, words));
    json_decref(body);
}

static const char two_calls[] =
    "{\"output\":["
    "{\"type\":\"function_call\",\"id\":\"x\",\"call_id\":\"c1\",\"name\":\"task_status\","
    "\"arguments\":\"{\\\"status\\\":\\\"review\\\"}\"},"
    "{\"type\":\"message\",\"role\":\"assistant\",\"content\":[]},"
    "{\"type\":\"function_call\",\"call_id\":\"c2\",\"name\":\"task_load\",\"arguments\":{\"a\":1}"
    "}]}";

static const char one_call[] = "{\"output\":[{\"type\":\"function_call\",\"call_id\":\"c3\","
                               "\"name\":\"task_load\",\"arguments\":\"{}\"}]}";

static void test_answers_without_calls_ask_for_none(void **state)
{
    (void)state;
    static const char *const bodies[] = {"{}", "[]", "null", "{\"output\":\"function_call\"}",
        "{\"output\":[{\"type\":\"message\"},7,null]}"};
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
        json_t *body = json_fixture_must_load(bodies[i]);
        assert_false(tool_rounds_asked_for(body));
        json_decref(body);
    }
    json_t *body = json_fixture_must_load(two_calls);
    assert_true(tool_rounds_asked_for(body));
    json_decref(body);
}

static void test_without_rounds_everything_is_empty(void **state)
{
    (void)state;
    struct tool_request request;
    assert_int_equal(tool_rounds_count(NULL), 0);
    assert_false(tool_rounds_are_under_way(NULL));
    assert_false(tool_rounds_were_sent(NULL));
    assert_string_equal(tool_rounds_words(NULL), "");
    assert_null(tool_rounds_before(NULL));
    assert_true(tool_rounds_end_try(NULL));
    assert_false(tool_rounds_next(NULL, &request));
    assert_false(tool_rounds_are_valid(NULL));
}

static void test_calls_are_answered_in_order(void **state)
{
    (void)state;
    json_t *rounds = NULL;
    struct tool_request request;
    answer_with(&rounds, two_calls, "I look.");
    assert_true(tool_rounds_are_valid(rounds));
    assert_true(tool_rounds_are_under_way(rounds));
    assert_int_equal(tool_rounds_count(rounds), 1);
    assert_string_equal(tool_rounds_words(rounds), "I look.");
    assert_true(tool_rounds_next(rounds, &request));
    assert_string_equal(request.name, "task_status");
    assert_string_equal(request.arguments, "{\"status\":\"review\"}");
    assert_true(tool_request_end(&request, json_pack("{s:b}", "success", 1)));
    assert_true(tool_rounds_next(rounds, &request));
    assert_string_equal(request.name, "task_load");
    assert_true(tool_request_end(&request, json_pack("{s:b}", "success", 0)));
    assert_false(tool_rounds_next(rounds, &request));
    json_t *items = tool_rounds_items(rounds, NULL);
    must_be_json(items,
        "[{\"type\":\"function_call_output\",\"call_id\":\"c1\",\"output\":\"task_status "
        "{\\\"status\\\":\\\"review\\\"}: {\\\"success\\\":true}\"},"
        "{\"type\":\"function_call_output\",\"call_id\":\"c2\",\"output\":\"task_load "
        "{\\\"a\\\":1.0}: {\\\"success\\\":false}\"}]");
    json_decref(items);
    json_decref(rounds);
}

static void test_last_words_follow_the_results(void **state)
{
    (void)state;
    json_t *rounds = NULL;
    answer_with(&rounds, one_call, "");
    json_t *items = tool_rounds_items(rounds, "Now write.");
    assert_int_equal(json_array_size(items), 2);
    must_be_json(json_array_get(items, 1),
        "{\"type\":\"message\",\"role\":\"user\",\"content\":\"Now write.\"}");
    json_decref(items);
    json_decref(rounds);
}

/* It may have been carried out: only looking can tell. */
static void test_started_call_without_a_result_is_interrupted(void **state)
{
    (void)state;
    json_t *rounds = NULL;
    struct tool_request request;
    answer_with(&rounds, two_calls, "");
    assert_true(tool_rounds_next(rounds, &request));
    assert_false(tool_request_was_started(&request));
    assert_true(tool_request_start(&request));
    assert_true(tool_request_was_started(&request));
    assert_true(tool_request_end(&request, NULL));
    json_t *items = tool_rounds_items(rounds, NULL);
    const char *output = json_guard_string(json_array_get(items, 0), "output");
    assert_non_null(strstr(output, "\"error\":\"interrupted"));
    json_decref(items);
    json_decref(rounds);
}

static void test_sent_results_are_not_under_way(void **state)
{
    (void)state;
    json_t *rounds = NULL;
    answer_with(&rounds, one_call, "");
    assert_true(tool_rounds_note_sent(rounds, true));
    assert_true(tool_rounds_were_sent(rounds));
    assert_false(tool_rounds_are_under_way(rounds));
    assert_true(tool_rounds_note_sent(rounds, false));
    assert_true(tool_rounds_are_under_way(rounds));
    json_decref(rounds);
}

/* Only what changed something; the calls of all rounds of all tries. */
static void test_next_try_is_told_what_was_changed(void **state)
{
    (void)state;
    json_t *rounds = NULL;
    struct tool_request request;
    answer_with(&rounds, two_calls, "first words");
    assert_true(tool_rounds_next(rounds, &request));
    assert_true(tool_request_start(&request));
    assert_true(tool_request_end(&request, json_pack("{s:b}", "success", 1)));
    assert_null(tool_rounds_before(rounds));
    answer_with(&rounds, one_call, "");
    assert_int_equal(tool_rounds_count(rounds), 2);
    assert_string_equal(tool_rounds_words(rounds), "first words");
    assert_false(tool_rounds_were_sent(rounds));
    assert_int_equal(json_array_size(tool_rounds_before(rounds)), 1);
    assert_true(tool_rounds_end_try(rounds));
    assert_true(tool_rounds_end_try(rounds));
    assert_true(tool_rounds_are_valid(rounds));
    assert_int_equal(tool_rounds_count(rounds), 0);
    assert_false(tool_rounds_are_under_way(rounds));
    assert_string_equal(tool_rounds_words(rounds), "");
    assert_int_equal(json_array_size(tool_rounds_before(rounds)), 1);
    const json_t *change = json_array_get(tool_rounds_before(rounds), 0);
    assert_string_equal(json_guard_string(change, "name"), "task_status");
    assert_string_equal(json_guard_string(change, "arguments"), "{\"status\":\"review\"}");
    assert_string_equal(json_guard_string(change, "output"), "{\"success\":true}");
    json_decref(rounds);
}

/* An answer that calls task_create twice; the titles differ after their first 2,000 bytes. */
static void answer_with_tasks(json_t **rounds, const char *first_end, const char *second_end)
{
    char title[2000];
    memset(title, 't', sizeof title);
    json_t *body = json_pack("{s:[{s:s, s:s, s:s, s:{s:s%+}}, {s:s, s:s, s:s, s:{s:s%+}}]}",
        "output", "type", "function_call", "call_id", "c1", "name", "task_create", "arguments",
        "title", title, (int)sizeof title, first_end, "type", "function_call", "call_id", "c2",
        "name", "task_create", "arguments", "title", title, (int)sizeof title, second_end);
    assert_non_null(body);
    assert_true(tool_rounds_begin(rounds, body, ""));
    json_decref(body);
}

/* Each result once, only for the same arguments, and only what has succeeded in an earlier try. */
static void test_call_of_an_earlier_try_has_its_result(void **state)
{
    (void)state;
    json_t *rounds = NULL;
    struct tool_request request;
    answer_with_tasks(&rounds, "a", "b");
    for (int task = 1; tool_rounds_next(rounds, &request); task++) {
        assert_null(tool_rounds_find_earlier(rounds, &request));
        assert_true(tool_request_start(&request));
        assert_true(tool_request_end(
            &request, json_pack("{s:b, s:i}", "success", task == 1, "taskId", task)));
    }
    answer_with_tasks(&rounds, "a", "a");
    assert_true(tool_rounds_next(rounds, &request));
    assert_null(tool_rounds_find_earlier(rounds, &request)); /* the same try */
    assert_true(tool_rounds_end_try(rounds));

    answer_with_tasks(&rounds, "a", "a");
    assert_true(tool_rounds_next(rounds, &request));
    json_t *done = tool_rounds_find_earlier(rounds, &request);
    assert_non_null(done);
    assert_true(tool_request_end_as(&request, done));
    assert_true(tool_rounds_next(rounds, &request));
    assert_null(tool_rounds_find_earlier(rounds, &request)); /* has been used */
    assert_true(tool_rounds_end_try(rounds));
    assert_true(tool_rounds_are_valid(rounds));
    assert_int_equal(json_array_size(tool_rounds_before(rounds)), 2);

    answer_with_tasks(&rounds, "b", "a");
    assert_true(tool_rounds_next(rounds, &request));
    assert_null(tool_rounds_find_earlier(rounds, &request)); /* did not succeed */
    assert_true(tool_request_end(&request, json_object()));
    assert_true(tool_rounds_next(rounds, &request));
    assert_non_null(tool_rounds_find_earlier(rounds, &request));
    json_t *items = NULL;
    assert_true(tool_request_end_as(&request, tool_rounds_find_earlier(rounds, &request)));
    assert_non_null(items = tool_rounds_items(rounds, NULL));
    const char *output = json_guard_string(json_array_get(items, 1), "output");
    assert_non_null(strstr(output, "{\"success\":true,\"taskId\":1}"));
    json_decref(items);
    json_decref(rounds);
}

/* The agent is to look; when it has, it can make the call. */
static void test_uncertain_call_of_an_earlier_try_is_not_made_at_once(void **state)
{
    (void)state;
    json_t *rounds = NULL;
    struct tool_request request;
    answer_with(&rounds, two_calls, "");
    assert_true(tool_rounds_next(rounds, &request));
    assert_true(tool_request_start(&request));
    assert_true(tool_rounds_end_try(rounds));
    answer_with(&rounds, two_calls, "");
    assert_true(tool_rounds_next(rounds, &request));
    json_t *earlier = tool_rounds_find_earlier(rounds, &request);
    assert_non_null(earlier);
    assert_true(tool_request_end_as(&request, earlier));
    answer_with(&rounds, two_calls, "");
    assert_true(tool_rounds_next(rounds, &request));
    assert_null(tool_rounds_find_earlier(rounds, &request));
    json_decref(rounds);
}

static void test_call_that_was_put_back_is_not_remembered(void **state)
{
    (void)state;
    json_t *rounds = NULL;
    struct tool_request request;
    answer_with(&rounds, two_calls, "");
    assert_true(tool_rounds_next(rounds, &request));
    assert_true(tool_request_start(&request));
    tool_request_put_back(&request);
    assert_true(tool_rounds_end_try(rounds));
    assert_null(tool_rounds_before(rounds));
    json_decref(rounds);
}

static void test_calls_beyond_the_limit_are_refused(void **state)
{
    (void)state;
    json_t *rounds = NULL;
    struct tool_request request;
    json_t *calls = json_array();
    for (int i = 0; i < TOOL_CALLS_MAX + 3; i++)
        json_array_append_new(calls, json_pack("{s:s, s:s, s:s}", "type", "function_call",
                                         "call_id", "c", "name", "task_load"));
    json_t *body = json_pack("{s:o}", "output", calls);
    assert_true(tool_rounds_begin(&rounds, body, ""));
    json_decref(body);
    int open = 0;
    while (tool_rounds_next(rounds, &request)) {
        assert_string_equal(request.arguments, "");
        assert_true(tool_request_end(&request, json_object()));
        open++;
    }
    assert_int_equal(open, TOOL_CALLS_MAX);
    json_t *items = tool_rounds_items(rounds, NULL);
    assert_int_equal(json_array_size(items), TOOL_CALLS_MAX + 3);
    json_decref(items);
    json_decref(rounds);
}

/* A gateway that sends nonsense gets results that say so, and no crash. */
static void test_malformed_calls_are_kept_to_be_answered(void **state)
{
    (void)state;
    json_t *rounds = NULL;
    struct tool_request request;
    answer_with(&rounds,
        "{\"output\":[{\"type\":\"function_call\",\"call_id\":7,\"name\":null,\"arguments\":5},"
        "{\"type\":\"function_call\",\"name\":\"a\\u0000b\",\"arguments\":\"\\u0000{}\"}]}",
        "");
    assert_true(tool_rounds_are_valid(rounds));
    assert_true(tool_rounds_next(rounds, &request));
    assert_string_equal(request.name, "");
    assert_string_equal(request.arguments, "");
    assert_true(tool_request_end(&request, json_object()));
    assert_true(tool_rounds_next(rounds, &request));
    assert_string_equal(request.name, "ab");
    assert_string_equal(request.arguments, "{}");
    json_decref(rounds);
}

static void test_records_of_another_form_are_not_valid(void **state)
{
    (void)state;
    static const char *const texts[] = {"{}", "[]", "7",
        "{\"round\":-1,\"words\":\"\",\"calls\":[],\"before\":[]}",
        "{\"round\":1,\"words\":7,\"calls\":[],\"before\":[]}",
        "{\"round\":1,\"words\":\"\",\"calls\":{},\"before\":[]}",
        "{\"round\":1,\"words\":\"\",\"calls\":[7],\"before\":[]}",
        "{\"round\":1,\"words\":\"\",\"calls\":[{\"name\":\"a\"}],\"before\":[]}",
        "{\"round\":1,\"words\":\"\",\"calls\":[{\"output\":7}],\"before\":[]}",
        "{\"round\":1,\"words\":\"\",\"calls\":[],\"before\":[{\"name\":\"a\"}]}"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        json_t *value = json_fixture_must_load(texts[i]);
        assert_false(tool_rounds_are_valid(value));
        json_decref(value);
    }
}

int main(void)
{
    json_guard_start();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers_without_calls_ask_for_none),
        cmocka_unit_test(test_without_rounds_everything_is_empty),
        cmocka_unit_test(test_calls_are_answered_in_order),
        cmocka_unit_test(test_last_words_follow_the_results),
        cmocka_unit_test(test_started_call_without_a_result_is_interrupted),
        cmocka_unit_test(test_sent_results_are_not_under_way),
        cmocka_unit_test(test_next_try_is_told_what_was_changed),
        cmocka_unit_test(test_call_of_an_earlier_try_has_its_result),
        cmocka_unit_test(test_uncertain_call_of_an_earlier_try_is_not_made_at_once),
        cmocka_unit_test(test_call_that_was_put_back_is_not_remembered),
        cmocka_unit_test(test_calls_beyond_the_limit_are_refused),
        cmocka_unit_test(test_malformed_calls_are_kept_to_be_answered),
        cmocka_unit_test(test_records_of_another_form_are_not_valid),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
