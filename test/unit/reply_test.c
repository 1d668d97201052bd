/* Extraction of the reply from a gateway response: response shapes, trimming and truncation. */
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

/* Returns the reply in a response body; the caller frees it. */
static char *read_reply(const char *json)
{
    json_t *body;
    char *reply = NULL;
    struct error error;
    if (json_guard_load(json, strlen(json), &body, NULL) != 0)
        fail_msg("no JSON: %s", json);
    assert_int_equal(reply_read(body, &reply, &error), 0);
    assert_non_null(reply);
    json_decref(body);
    return reply;
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
        {"{\"output\":[{\"type\":\"reasoning\",\"text\":\"think\"},{\"type\":\"x\",\"text\":"
         "\"say\"}]}",
            "think\nsay"},
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
        {"{\"text\":\"NO_REPLY needed\"}", "NO_REPLY needed"},
        {"{\"text\":\"no_reply\"}", "no_reply"}, {"{\"text\":\"HEARTBEAT_OK\"}", "HEARTBEAT_OK"});
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
        cmocka_unit_test(test_deepest_nesting_is_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
