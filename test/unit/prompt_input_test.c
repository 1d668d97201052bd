/* The input of runs on v1: limits, what is left out, and what no words of others can become. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../lib/alloc_fault.h"
#include "../lib/context_fixture.h"
#include "base/json.h"
#include "prompt/input.h"
#include "prompt/instructions.h"

#define ELLIPSIS "\xE2\x80\xA6"

static const struct prompt_run ordinary_run = {.agent_id = "a1"};

/* The input for a context, whose reference it takes; the caller frees. */
static char *input_for(json_t *value)
{
    struct delivery_context context;
    struct text text = {0};
    struct error error;
    if (delivery_context_read(value, &context, &error) != CONVEX_SUCCESS)
        fail_msg("%s", error.text);
    input_append(&text, &context, &ordinary_run);
    delivery_context_fini(&context);
    char *input = text_take(&text);
    assert_non_null(input);
    return input;
}

static void must_contain(const char *input, const char *lines)
{
    if (strstr(input, lines) == NULL)
        fail_msg("no\n%.200s\nin\n%s", lines, input);
}

static void must_not_contain(const char *input, const char *words)
{
    if (strstr(input, words) != NULL)
        fail_msg("%s is in\n%s", words, input);
}

/* A new string of count letters. */
static json_t *letters(size_t count)
{
    char *bytes = malloc(count);
    assert_non_null(bytes);
    memset(bytes, 'x', count);
    json_t *string = json_stringn(bytes, count);
    free(bytes);
    return string;
}

/*
 * A text of limit letters at object.key is shown whole between before and after, one of a letter
 * more is cut.
 */
static void check_limit(
    const char *object, const char *key, size_t limit, const char *before, const char *after)
{
    for (size_t more = 0; more < 2; more++) {
        json_t *value =
            context_fixture_json("{\"repositoryDoc\":{\"content\":\"\"},\"globalBriefingDoc\":{}}");
        json_t *parent = json_object_get(value, object);
        if (json_is_array(parent))
            parent = json_array_get(parent, 0);
        json_object_set_new(parent, key, letters(limit + more));
        char *input = input_for(value);
        struct text expected = {0};
        json_t *shown = letters(limit - more);
        text_printf(&expected, "%s%s%s%s", before, json_string_value(shown),
            more > 0 ? ELLIPSIS : "", after);
        must_contain(input, expected.data);
        json_decref(shown);
        text_fini(&expected);
        free(input);
    }
}

static void test_texts_are_cut_at_their_limits(void **state)
{
    (void)state;
    check_limit("notification", "title", 500, "\n**", "**\n");
    check_limit("notification", "body", 15000, "START =====\n", "\n===== MAIN");
    check_limit("task", "description", 4000, "Task description:\n", "\nRepository");
    check_limit("repositoryDoc", "content", 4000, "Repository context:\n", "\n=====");
    check_limit("globalBriefingDoc", "content", 4000, "Global Context:\n", "\n=====");
    check_limit("thread", "content", 1500, "] Jarvis: ", "\n- [");
}

/* The message that asks for an answer is never cut. */
static void test_message_is_shown_whole(void **state)
{
    (void)state;
    enum { LETTERS = 100000 };
    json_t *value = context_fixture_json("");
    json_t *content = letters(LETTERS);
    json_object_set(json_object_get(value, "message"), "content", content);
    char *input = input_for(value);
    struct text expected = {0};
    text_printf(&expected, "Content:\n%s\n===== REQUEST TO RESPOND TO END =====\n\n",
        json_string_value(content));
    must_contain(input, expected.data);
    text_clear(&expected);
    text_printf(&expected, "Message content:\n%s\n===== LATEST THREAD MESSAGE END =====\n",
        json_string_value(content));
    must_contain(input, expected.data);
    text_fini(&expected);
    json_decref(content);
    free(input);
}

static void check_parts(const char *changes, const char *there, const char *not_there)
{
    char *input = input_for(context_fixture_json(changes));
    if (there != NULL)
        must_contain(input, there);
    if (not_there != NULL)
        must_not_contain(input, not_there);
    free(input);
}

static void test_request_is_for_types_that_have_one(void **state)
{
    (void)state;
    static const char request[] =
        "\n\n===== REQUEST TO RESPOND TO START =====\nAuthor: user (u1)\n";
    check_parts("", request, NULL);
    check_parts("{\"notification\":{\"type\":\"mention\"}}", request, NULL);
    check_parts("{\"notification\":{\"type\":\"response_request\"}}", request, NULL);
    check_parts("{\"notification\":{\"type\":\"assignment\"}}", NULL, "REQUEST TO RESPOND TO");
    check_parts("{\"notification\":{\"type\":\"status_change\"}}", NULL, "REQUEST TO RESPOND TO");
    check_parts("{\"message\":{\"content\":\" \\n\"}}",
        "Message content:\n(empty)\n=====", "REQUEST TO RESPOND TO");
}

static void test_malformed_parts_leave_readable_lines(void **state)
{
    (void)state;
    check_parts(
        "{\"thread\":[null,{\"authorType\":\"user\",\"authorId\":\"u1\",\"authorName\":\" \","
        "\"content\":7},{\"createdAt\":-1}]}",
        "\n- [unknown time] :: (empty)\n- [unknown time] user:u1: (empty)\n"
        "- [unknown time] :: (empty)\n=====",
        NULL);
    check_parts(
        "{\"mentionableAgents\":[7,{\"id\":\"a1\"},{}, {\"id\":\"a2\",\"slug\":7,\"name\":\"Fri "
        "day\"}]}",
        "Other agents:\n- @\"\" -  ()\n- @\"Fri day\" - Fri day ()\nPrimary", NULL);
    check_parts(
        "{\"taskOverview\":{\"totals\":7,\"topTasks\":[7,{\"status\":\"inbox\",\"tasks\":[7]}]}}",
        "Totals (sampled per status):\n- inbox:\n  - P0  [] (assignees: none); users=0\n=====",
        NULL);
    check_parts(
        "{\"taskOverview\":{\"totals\":[7,{\"status\":\"x\",\"count\":-1}],\"topTasks\":null}}",
        "Totals (sampled per status): =0; x=0\n=====", NULL);
}

static void test_names_that_could_be_lists_are_quoted(void **state)
{
    (void)state;
    check_parts(
        "{\"taskOverview\":{\"topTasks\":[{\"status\":\"inbox\",\"tasks\":[{\"taskId\":\"t2\","
        "\"title\":\"T\",\"priority\":5,\"assignedAgentIds\":[\"a2\",7,\"a),b\",\"a9\"],"
        "\"assignedUserIds\":[\"u1\"]}]}]},\"mentionableAgents\":[{\"id\":\"a2\",\"name\":"
        "\"Fri\\u00a0day\"},{\"id\":\"a9\",\"slug\":\"fury\"}]}",
        "  - P5 T [t2] (assignees: \"Fri day\", \"a),b\", fury); users=1\n", NULL);
}

static void test_agents_are_listed_for_those_who_may_ask(void **state)
{
    (void)state;
    check_parts("",
        "Other agents:\n- @friday - Friday (Designer)\n- @fury - Fury (Squad Lead)\n"
        "Primary user:\n- @\"Ada Byron\" - Ada Byron\n=====",
        "@jarvis");
    check_parts("{\"effectiveBehaviorFlags\":{\"canMentionAgents\":false}}", NULL, "@friday");
    check_parts(
        "{\"mentionableAgents\":[{\"id\":\"a1\",\"slug\":\"jarvis\"}]}", NULL, "Other agents:");
}

/* A list of exactly as many as are shown has nothing to omit. */
static void test_limits_of_lists(void **state)
{
    (void)state;
    for (size_t count = 25; count < 27; count++) {
        json_t *value = context_fixture_json("");
        json_t *agents = json_array();
        json_t *thread = json_array();
        for (size_t i = 0; i < count; i++) {
            json_array_append_new(agents, json_pack("{s:s}", "slug", "x"));
            json_array_append_new(thread, json_pack("{s:s}", "content", "x"));
        }
        json_object_set_new(value, "mentionableAgents", agents);
        json_object_set_new(value, "thread", thread);
        char *input = input_for(value);
        if (count > 25) {
            must_contain(input, "\n- ... and 1 more\n");
            must_contain(input, "\n(... 1 older messages omitted)\n");
        } else {
            must_not_contain(input, "...");
        }
        free(input);
    }
}

static void test_input_is_trimmed_at_its_end(void **state)
{
    (void)state;
    char *input = input_for(context_fixture_json("{\"notification\":{\"_id\":7}}"));
    static const char end[] = "\n---\nNotification ID:";
    assert_string_equal(input + strlen(input) - strlen(end), end);
    free(input);
}

/* An agent that can only reply must not be told of tools or of endpoints that nobody serves. */
static void test_nothing_is_promised_without_access(void **state)
{
    (void)state;
    static const char review[] =
        "{\"task\":{\"status\":\"review\"},\"effectiveBehaviorFlags\":{\"canMarkDone\":true,"
        "\"canReviewTasks\":true,\"canCreateTasks\":true}}";
    static const char *const contexts[] = {
        "",
        "{\"notification\":{\"type\":\"assignment\"}}",
        review,
        "{\"task\":{\"status\":\"blocked\"}}",
        "{\"task\":{\"status\":\"done\"}}",
        "{\"orchestratorAgentId\":\"a1\"}",
        "{\"orchestratorAgentId\":\"a1\",\"task\":{\"labels\":[\"system:orchestrator-chat\"]}}",
    };
    static const char *const promises[] = {"POST", "http", "HTTP", "x-openclaw", "/agent/",
        "tool_call", "task_", "document_upsert", "response_request", "NO_REPLY"};
    for (size_t i = 0; i < sizeof contexts / sizeof contexts[0]; i++) {
        struct delivery_context context = context_fixture_read(contexts[i]);
        struct text text = {0};
        instructions_append(&text, &context, &ordinary_run);
        text_append(&text, "\n");
        input_append(&text, &context, &ordinary_run);
        assert_false(text.failed);
        for (size_t p = 0; p < sizeof promises / sizeof promises[0]; p++)
            must_not_contain(text.data, promises[p]);
        must_contain(text.data, "Capabilities on the board: none");
        text_fini(&text);
        delivery_context_fini(&context);
    }
}

static int attempt_prompt(unsigned number)
{
    struct delivery_context context =
        context_fixture_read("{\"notification\":{\"type\":\"assignment\"}}");
    struct text text = {0};
    alloc_fault_arm(number);
    instructions_append(&text, &context, &ordinary_run);
    input_append(&text, &context, &ordinary_run);
    alloc_fault_disarm();
    bool failed = text.failed;
    text_fini(&text);
    delivery_context_fini(&context);
    return failed ? ERROR_NO_MEMORY : 0;
}

static void test_lack_of_memory_is_reported(void **state)
{
    (void)state;
    alloc_fault_sweep(attempt_prompt);
}

int main(void)
{
    json_guard_start();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_texts_are_cut_at_their_limits),
        cmocka_unit_test(test_message_is_shown_whole),
        cmocka_unit_test(test_request_is_for_types_that_have_one),
        cmocka_unit_test(test_malformed_parts_leave_readable_lines),
        cmocka_unit_test(test_names_that_could_be_lists_are_quoted),
        cmocka_unit_test(test_agents_are_listed_for_those_who_may_ask),
        cmocka_unit_test(test_limits_of_lists),
        cmocka_unit_test(test_input_is_trimmed_at_its_end),
        cmocka_unit_test(test_nothing_is_promised_without_access),
        cmocka_unit_test(test_lack_of_memory_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
