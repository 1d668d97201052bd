/*
 * Extraction of the reply from a gateway response: response shapes, trimming and truncation.
 * Releases of the gateway nest the text differently; each shape has a row.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/text.h"
#include "delivery/reply.h"

#define NBSP "\xC2\xA0"
#define ZWNBSP "\xEF\xBB\xBF" /* U+FEFF */

static struct reply read_with(const char *json, const struct reply_context *context)
{
    json_t *body;
    struct reply reply;
    struct error error;
    if (json_guard_load(json, strlen(json), &body, NULL) != 0)
        fail_msg("not JSON: %s", json);
    assert_int_equal(reply_read(body, context, &reply, &error), 0);
    assert_non_null(reply.text);
    assert_true((reply.text[0] != '\0') == (reply.kind == REPLY_TEXT));
    json_decref(body);
    return reply;
}

/* The text of a delivery's reply in a body of json; the caller frees. */
static char *read_reply(const char *json)
{
    const struct reply_context context = {.generation = GATEWAY_CURRENT};
    return read_with(json, &context).text;
}

struct shape {
    const char *json;
    const char *reply;
};

static void check_shapes(const struct shape *shapes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char *reply = read_reply(shapes[i].json);
        if (strcmp(reply, shapes[i].reply) != 0)
            fail_msg("%s gave \"%s\" instead of \"%s\"", shapes[i].json, reply, shapes[i].reply);
        free(reply);
    }
}

#define CHECK_SHAPES(...)                             \
    check_shapes((const struct shape[]){__VA_ARGS__}, \
        sizeof((const struct shape[]){__VA_ARGS__}) / sizeof(struct shape))

static void test_real_gateway_response(void **state)
{
    (void)state;
    CHECK_SHAPES(
        {"{\"id\":\"resp_1\",\"object\":\"response\",\"created_at\":1795229482,"
         "\"status\":\"completed\",\"model\":\"openclaw\",\"output\":[{\"type\":\"message\","
         "\"id\":\"msg_1\",\"role\":\"assistant\",\"content\":[{\"type\":\"output_text\","
         "\"text\":\"**Summary** done\"}],\"status\":\"completed\"}],"
         "\"usage\":{\"input_tokens\":11}}",
            "**Summary** done"});
}

static void test_output_text_takes_precedence(void **state)
{
    (void)state;
    CHECK_SHAPES({"{\"output_text\":\" a \",\"output\":[{\"text\":\"b\"}],\"text\":\"c\"}", "a"},
        {"{\"output_text\":\" \\n\",\"output\":[{\"text\":\"b\"}],\"text\":\"c\"}", "b"},
        {"{\"output_text\":[\"a\"],\"text\":\"c\"}", "c"},
        {"{\"output_text\":null,\"text\":\"c\"}", "c"});
}

static void test_output_items_are_joined(void **state)
{
    (void)state;
    CHECK_SHAPES({"{\"output\":[{\"content\":\" a \"},{\"text\":\"b\"}]}", "a\nb"},
        {"{\"output\":[{\"text\":\"after\",\"content\":\"before\"}]}", "before\nafter"},
        {"{\"output\":[{\"content\":[\"a\",{\"text\":\"b\"},[\"c\",[\"d\"]]]}]}", "a\nb\nc\nd"},
        {"{\"output\":[{\"content\":{\"text\":\"a\",\"content\":{\"text\":\"b\"}}}]}", "a\nb"},
        {"{\"output\":[{\"content\":{\"text\":\" \",\"content\":[\"b\"]}}]}", "b"},
        {"{\"output\":[{\"type\":\"reasoning\",\"text\":\"think\"},{\"type\":\"message\",\"text\":"
         "\"say\"}]}",
            "say"},
        {"{\"output\":[\"a\",1,null,[{\"text\":\"b\"}],{\"text\":\"c\"}]}", "c"},
        {"{\"output\":[{\"text\":1,\"content\":true}],\"text\":\"t\"}", "t"},
        {"{\"output\":[],\"text\":\"t\"}", "t"}, {"{\"output\":\"a\",\"text\":\"t\"}", "t"},
        {"{\"output\":{\"text\":\"a\"},\"text\":\"t\"}", "t"},
        {"{\"output\":[{\"content\":{\"output_text\":\"a\"}}]}", ""});
}

static void test_text_precedes_content_at_the_top(void **state)
{
    (void)state;
    CHECK_SHAPES({"{\"text\":\" t \",\"content\":\"c\"}", "t"},
        {"{\"text\":\"  \",\"content\":\"c\"}", "c"}, {"{\"text\":[\"t\"],\"content\":\"c\"}", "c"},
        {"{\"content\":[{\"text\":\"a\"},\"b\",{\"content\":\"c\"}]}", "a\nb\nc"},
        {"{\"content\":[1,true,null,{}]}", ""});
}

static void test_responses_without_text_are_empty(void **state)
{
    (void)state;
    CHECK_SHAPES({"null", ""}, {"\"words\"", ""}, {"[]", ""}, {"[{\"text\":\"a\"}]", ""}, {"1", ""},
        {"{}", ""},
        {"{\"id\":\"x\",\"output\":[{\"type\":\"function_call\",\"arguments\":\"{}\"}]}", ""});
}

static void test_placeholders_are_empty(void **state)
{
    (void)state;
    CHECK_SHAPES({"{\"text\":\"No response from OpenClaw.\"}", ""},
        {"{\"output\":[{\"content\":[{\"text\":\" No response from Clawdbot.\\n\"}]}]}", ""},
        {"{\"output_text\":\"NO_REPLY\"}", ""}, {"{\"output_text\":\"NO_REPLY\\u0000\"}", ""},
        {"{\"text\":\"No response from OpenClaw. Yet.\"}", "No response from OpenClaw. Yet."},
        {"{\"text\":\"NO_REPLY needed\"}", "NO_REPLY needed"});
}

/* A message of the assistant with that text, in the form of the current release. */
static struct reply read_text(
    const char *text, const char *usage, bool is_wake_up, enum gateway_generation generation)
{
    const struct reply_context context = {.is_wake_up = is_wake_up, .generation = generation};
    json_t *body =
        json_pack("{s:s, s:[{s:s, s:s, s:[{s:s, s:s}]}]}", "status", "completed", "output", "type",
            "message", "role", "assistant", "content", "type", "output_text", "text", text);
    if (usage != NULL)
        json_object_set_new(body, "usage", json_loads(usage, 0, NULL));
    struct reply reply;
    assert_int_equal(reply_read(body, &context, &reply, NULL), 0);
    json_decref(body);
    return reply;
}

static void must_be(const char *text, enum reply_kind kind, const char *posted)
{
    struct reply reply = read_text(text, NULL, false, GATEWAY_CURRENT);
    if (reply.kind != kind || strcmp(reply.text, posted) != 0)
        fail_msg("\"%s\" is %d, \"%s\"", text, (int)reply.kind, reply.text);
    free(reply.text);
}

static void test_silence_is_known_in_any_dress(void **state)
{
    (void)state;
    static const char *const silent[] = {"NO_REPLY", "no_reply", "No_Reply.", "**NO_REPLY**",
        "`NO_REPLY`", "_NO_REPLY_", "__NO_REPLY__", "NO\\_REPLY", "**heartbeat\\_ok**",
        "> NO_REPLY", "# NO_REPLY", "\"NO_REPLY\"", "NO_REPLY NO_REPLY", "NO_REPLY\nNO_REPLY\n",
        "NO_REPLY!", "(NO_REPLY)", "```\nNO_REPLY\n```", "HEARTBEAT_OK", "heartbeat_ok",
        "HEARTBEAT_OK\n\nNO_REPLY", "NO_", "@ada NO_REPLY", "@ada @bob-2 no_reply",
        "@ada: NO_REPLY", "<think>should I answer? no</think>\nNO_REPLY",
        "<THINKING>hm</THINKING> HEARTBEAT_OK", "\xF0\x9F\xA4\xAB NO_REPLY",
        "\xE2\x9C\x85 HEARTBEAT_OK \xE2\x80\x94", "{\"action\":\"NO_REPLY\"}",
        "Loading context for heartbeat...\nHEARTBEAT_OK", "NO_REPLY\xE2\x80\x8B",
        "NO_REPLY No response from OpenClaw.",
        "NO_REPLY NO_REPLY NO_REPLY NO_REPLY NO_REPLY NO_REPLY NO_REPLY NO_REPLY NO_REPLY",
        "No response from agent.\nHEARTBEAT_OK"};
    for (size_t i = 0; i < sizeof silent / sizeof silent[0]; i++)
        must_be(silent[i], REPLY_SILENT, "");
}

static void test_placeholders_are_no_choice_of_the_agent(void **state)
{
    (void)state;
    static const char *const placeholders[] = {"No response from OpenClaw.",
        "No response from Clawdbot.", "No response from agent.", "No reply from agent.",
        "@ada No response from OpenClaw.", "*No response from OpenClaw*",
        "No response from OpenClaw. No reply from agent."};
    for (size_t i = 0; i < sizeof placeholders / sizeof placeholders[0]; i++)
        must_be(placeholders[i], REPLY_PLACEHOLDER, "");
}

static void test_words_about_silence_are_posted(void **state)
{
    (void)state;
    static const char *const posted[] = {"NO", "no", "No.", "_no_", "NO_REPLY needed",
        "I answered with NO_REPLY",
        "NO_REPLY NO_REPLY NO_REPLY NO_REPLY NO_REPLY NO_REPLY NO_REPLY NO_REPLY and more",
        "HEARTBEAT_OK, and one more thing", "NO_REPLYING", "XNO_REPLY",
        "Loading context for heartbeat", "No response from OpenClaw. Yet.",
        "No response from OpenClaw's agent", "@ada", "\xD0\x94\xD0\xB0 NO_REPLY",
        "{\"action\":\"reply\"}", "!!!", "NO REPLY"};
    for (size_t i = 0; i < sizeof posted / sizeof posted[0]; i++)
        must_be(posted[i], REPLY_TEXT, posted[i]);
}

static void test_silent_last_line_is_dropped(void **state)
{
    (void)state;
    must_be("Checked the inbox, nothing new.\n\nNO_REPLY", REPLY_TEXT,
        "Checked the inbox, nothing new.");
    must_be("Done.\n**HEARTBEAT_OK**\n\nno_reply.\n", REPLY_TEXT, "Done.");
    must_be("NO_REPLY\n\nBut look at this.", REPLY_TEXT, "NO_REPLY\n\nBut look at this.");
    must_be(
        "It said:\nNo response from OpenClaw.", REPLY_TEXT, "It said:\nNo response from OpenClaw.");
    must_be("Lines:\n---", REPLY_TEXT, "Lines:\n---");
}

static void test_reasoning_in_front_is_not_posted(void **state)
{
    (void)state;
    must_be("<think>secret</think>\n\nVisible.", REPLY_TEXT, "Visible.");
    must_be("<think>a</think><thinking>b</thinking>Visible.", REPLY_TEXT, "Visible.");
    must_be("<think>secret</think>", REPLY_BLANK, "");
    must_be("<think>never closed", REPLY_TEXT, "<think>never closed");
    must_be("Use <think>tags</think> so.", REPLY_TEXT, "Use <think>tags</think> so.");
}

static void test_wake_up_is_silent_with_the_token_anywhere(void **state)
{
    (void)state;
    static const char *const texts[] = {"All is well: HEARTBEAT_OK", "HEARTBEAT_OK, nothing to do",
        "Looked around.\n\n**heartbeat_ok**\n\nBye."};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct reply reply = read_text(texts[i], NULL, true, GATEWAY_CURRENT);
        assert_int_equal(reply.kind, REPLY_SILENT);
        free(reply.text);
    }
    struct reply reply = read_text("HEARTBEAT_OKAY", NULL, true, GATEWAY_CURRENT);
    assert_int_equal(reply.kind, REPLY_TEXT);
    free(reply.text);
}

static void test_only_what_is_for_people_is_the_reply(void **state)
{
    (void)state;
    CHECK_SHAPES(
        {"{\"output\":[{\"type\":\"reasoning\",\"summary\":[{\"type\":\"summary_text\",\"text\":"
         "\"S\"}],\"content\":[{\"type\":\"reasoning_text\",\"text\":\"R\"}]},{\"type\":"
         "\"message\","
         "\"role\":\"assistant\",\"content\":[{\"type\":\"output_text\",\"text\":\"Visible.\"}]}]}",
            "Visible."},
        {"{\"output\":[{\"type\":\"message\",\"phase\":\"commentary\",\"content\":\"Wait.\"},"
         "{\"type\":\"message\",\"phase\":\"final_answer\",\"content\":\"Final.\"}]}",
            "Final."},
        {"{\"output\":[{\"type\":\"message\",\"phase\":\"commentary\",\"content\":\"Only.\"}]}",
            "Only."},
        {"{\"output\":[{\"type\":\"message\",\"phase\":\"commentary\",\"content\":\"Wait.\"},"
         "{\"type\":\"function_call\",\"name\":\"x\"}]}",
            ""},
        {"{\"output\":[{\"type\":\"message\",\"role\":\"assistant\",\"content\":[{\"type\":"
         "\"refusal\",\"refusal\":\"I cannot.\"}]}]}",
            "I cannot."},
        {"{\"output\":[{\"type\":\"message\",\"role\":\"user\",\"content\":\"mine\"}]}", ""},
        {"{\"output\":[{\"type\":\"message\",\"content\":[{\"type\":\"reasoning_text\",\"text\":"
         "\"R\"},{\"type\":\"output_text\",\"text\":\"V\"}]}]}",
            "V"});
}

#define ZERO_USAGE "{\"input_tokens\":0,\"output_tokens\":0,\"total_tokens\":0}"
#define SOME_USAGE "{\"input_tokens\":10,\"output_tokens\":5,\"total_tokens\":15}"

static void must_be_error(
    const char *text, const char *usage, enum gateway_generation generation, bool is_error)
{
    struct reply reply = read_text(text, usage, false, generation);
    if ((reply.kind == REPLY_PROVIDER_ERROR) != is_error)
        fail_msg("\"%s\" is %d", text, (int)reply.kind);
    free(reply.text);
}

static void test_provider_errors_of_old_gateways_are_no_replies(void **state)
{
    (void)state;
    static const char *const errors[] = {"HTTP 400: fake provider error 400",
        "\xE2\x9A\xA0\xEF\xB8\x8F API rate limit reached. Please try again later.",
        "\xE2\x9A\xA0\xEF\xB8\x8F acme (m1) returned a billing error: add credits.",
        "Connection error.", "LLM request timed out.",
        "The AI service is temporarily overloaded. Please try again in a moment.",
        "Context overflow: prompt too large for the model. Try again."};
    for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++) {
        must_be_error(errors[i], ZERO_USAGE, GATEWAY_OLD, true);
        must_be_error(errors[i], SOME_USAGE, GATEWAY_OLD, true);
        must_be_error(errors[i], NULL, GATEWAY_UNKNOWN, true);
        must_be_error(errors[i], ZERO_USAGE, GATEWAY_CURRENT, false);
    }
}

static void test_error_in_front_of_words_takes_a_second_sign(void **state)
{
    (void)state;
    static const char text[] = "HTTP 500: fake provider error 500\n\nI look.";
    must_be_error(text, SOME_USAGE, GATEWAY_OLD, true);
    must_be_error(text, ZERO_USAGE, GATEWAY_UNKNOWN, true);
    must_be_error(text, SOME_USAGE, GATEWAY_UNKNOWN, false);
    must_be_error(text, NULL, GATEWAY_UNKNOWN, false);
    must_be_error(text, ZERO_USAGE, GATEWAY_CURRENT, false);
    must_be_error("The deploy failed with HTTP 500: see log", ZERO_USAGE, GATEWAY_OLD, false);
    must_be_error("HTTP 5000 requests", ZERO_USAGE, GATEWAY_OLD, false);
}

static void test_incomplete_reply_says_so(void **state)
{
    (void)state;
    const struct reply_context context = {.incomplete = true, .generation = GATEWAY_CURRENT};
    struct reply reply = read_with("{\"output_text\":\"Half an\"}", &context);
    assert_string_equal(reply.text,
        "Half an\n\n[This reply was cut: the agent's run ended before it was complete.]");
    free(reply.text);
    reply = read_with("{\"output_text\":\" \"}", &context);
    assert_int_equal(reply.kind, REPLY_BLANK);
    free(reply.text);
}

static void test_white_space_is_trimmed_at_both_ends(void **state)
{
    (void)state;
    CHECK_SHAPES(
        {"{\"text\":\"" NBSP ZWNBSP "\\t a" NBSP "b \\r\\n" ZWNBSP NBSP "\"}", "a" NBSP "b"},
        {"{\"text\":\"" NBSP ZWNBSP "\",\"content\":\"c\"}", "c"},
        {"{\"text\":\"\\u2028\\u3000\\u00a0\\ufeff\"}", ""},
        {"{\"text\":\"a\\n\\n b\"}", "a\n\n b"},
        {"{\"text\":\"\\u200b\"}", "\xE2\x80\x8B"}); /* not white space in ECMAScript */
}

static void test_nuls_are_removed_before_trimming(void **state)
{
    (void)state;
    CHECK_SHAPES({"{\"text\":\"a\\u0000b\"}", "ab"}, {"{\"text\":\"\\u0000 a \\u0000\"}", "a"},
        {"{\"text\":\"\\u0000\"}", ""}, {"{\"text\":\"\\u0000\\u00a0\\u0000\"}", ""});
}

/* Returns the reply for {"text": "..."} with count times unit. */
static char *repeat_reply(const char *unit, size_t count)
{
    struct text json = {0};
    text_append(&json, "{\"text\":\"");
    for (size_t i = 0; i < count; i++)
        text_append(&json, unit);
    text_append(&json, "\"}");
    assert_false(json.failed);
    char *reply = read_reply(json.data);
    text_fini(&json);
    return reply;
}

static void test_reply_at_the_limit_is_kept(void **state)
{
    (void)state;
    char *reply = repeat_reply("x", REPLY_LIMIT_BYTES);
    assert_int_equal(strlen(reply), REPLY_LIMIT_BYTES);
    assert_int_equal(strspn(reply, "x"), REPLY_LIMIT_BYTES);
    free(reply);
}

static void test_longer_reply_is_truncated_with_a_notice(void **state)
{
    (void)state;
    char *reply = repeat_reply("x", REPLY_LIMIT_BYTES + 1);
    size_t kept = strspn(reply, "x");
    assert_true(strlen(reply) <= REPLY_LIMIT_BYTES);
    assert_true(kept > REPLY_LIMIT_BYTES - 1000);
    assert_string_equal(reply + kept,
        "\n\n[This reply was cut: it was 900001 bytes long, the task thread takes 900000.]");
    free(reply);
}

/* With multi-byte characters at every offset, no character is split. */
static void test_truncation_falls_between_characters(void **state)
{
    (void)state;
    static const char *const units[] = {"\xE2\x82\xAC", "\xF0\x9F\x98\x80", "\xC3\xA4"};
    static const char *const leads[] = {"", "a", "ab", "abc"};
    for (size_t unit = 0; unit < 3; unit++) {
        for (size_t lead = 0; lead < 4; lead++) {
            struct text words = {0};
            text_printf(&words, "{\"text\":\"%s", leads[lead]);
            for (size_t i = 0; i < REPLY_LIMIT_BYTES / 2 + 1; i++)
                text_append(&words, units[unit]);
            text_append(&words, "\"}");
            char *reply = read_reply(words.data);
            const char *notice = strstr(reply, "\n\n[This reply was cut");
            assert_non_null(notice);
            assert_int_equal(((size_t)(notice - reply) - lead) % strlen(units[unit]), 0);
            assert_true(strlen(reply) <= REPLY_LIMIT_BYTES);
            text_fini(&words);
            free(reply);
        }
    }
}

static void test_deepest_nesting_is_read(void **state)
{
    (void)state;
    struct text json = {0};
    text_append(&json, "{\"content\":");
    for (int i = 1; i < JSON_GUARD_MAX_DEPTH; i++)
        text_append(&json, "[");
    text_append(&json, "\"deep\"");
    for (int i = 1; i < JSON_GUARD_MAX_DEPTH; i++)
        text_append(&json, "]");
    text_append(&json, "}");
    char *reply = read_reply(json.data);
    assert_string_equal(reply, "deep");
    free(reply);
    text_fini(&json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_real_gateway_response),
        cmocka_unit_test(test_output_text_takes_precedence),
        cmocka_unit_test(test_output_items_are_joined),
        cmocka_unit_test(test_text_precedes_content_at_the_top),
        cmocka_unit_test(test_responses_without_text_are_empty),
        cmocka_unit_test(test_placeholders_are_empty),
        cmocka_unit_test(test_white_space_is_trimmed_at_both_ends),
        cmocka_unit_test(test_nuls_are_removed_before_trimming),
        cmocka_unit_test(test_reply_at_the_limit_is_kept),
        cmocka_unit_test(test_longer_reply_is_truncated_with_a_notice),
        cmocka_unit_test(test_truncation_falls_between_characters),
        cmocka_unit_test(test_silence_is_known_in_any_dress),
        cmocka_unit_test(test_placeholders_are_no_choice_of_the_agent),
        cmocka_unit_test(test_words_about_silence_are_posted),
        cmocka_unit_test(test_silent_last_line_is_dropped),
        cmocka_unit_test(test_reasoning_in_front_is_not_posted),
        cmocka_unit_test(test_wake_up_is_silent_with_the_token_anywhere),
        cmocka_unit_test(test_only_what_is_for_people_is_the_reply),
        cmocka_unit_test(test_provider_errors_of_old_gateways_are_no_replies),
        cmocka_unit_test(test_error_in_front_of_words_takes_a_second_sign),
        cmocka_unit_test(test_incomplete_reply_says_so),
        cmocka_unit_test(test_deepest_nesting_is_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
