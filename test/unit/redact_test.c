/*
 * Redaction of secrets, by known value and by the syntax around them. Text is edited in place, so
 * it must never grow; expect_redacted checks that in every case.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/secret.h"

enum { TEXT_BYTES = 512 };

static int reset_secrets(void **state)
{
    (void)state;
    redact_forget_all();
    return 0;
}

static void expect_redacted(const char *text, const char *expected)
{
    char buffer[TEXT_BYTES];
    snprintf(buffer, sizeof buffer, "%s", text);
    redact(buffer);
    if (strcmp(buffer, expected) != 0)
        fail_msg("\"%s\" became \"%s\" instead of \"%s\"", text, buffer, expected);
    assert_true(strlen(buffer) <= strlen(text));
}

static void expect_unchanged(const char *text)
{
    expect_redacted(text, text);
}

static void test_known_values_are_removed_everywhere(void **state)
{
    (void)state;
    redact_add_secret("s3cr3t-value");
    expect_redacted("s3cr3t-value", "***");
    expect_redacted("as3cr3t-valueb", "a***b");
    expect_redacted("s3cr3t-values3cr3t-value s3cr3t-value", "****** ***");
    expect_redacted("{\"x\":\"s3cr3t-value\"}", "{\"x\":\"***\"}");
    expect_redacted("http://h/?k=s3cr3t-value&b=1", "http://h/?k=***&b=1");
    expect_redacted("multi\ns3cr3t-value\nline", "multi\n***\nline");
    expect_unchanged("S3CR3T-VALUE s3cr3t-valu.");
    expect_unchanged("");
}

static void test_longest_known_value_wins(void **state)
{
    (void)state;
    redact_add_secret("common-begin");
    redact_add_secret("common-beginning-and-rest");
    expect_redacted("x common-beginning-and-rest y", "x *** y");
    expect_redacted("x common-begin y", "x *** y");
}

static void test_short_values_are_not_remembered(void **state)
{
    (void)state;
    redact_add_secret("");
    redact_add_secret("local");
    expect_unchanged("a local gateway");
    redact_add_secret("local6");
    expect_redacted("a local6 gateway", "a *** gateway");
}

static void test_value_containing_another_is_removed_whole(void **state)
{
    (void)state;
    redact_add_secret("abcdefghij");
    redact_add_secret("abcdef");
    expect_redacted("x abcdefghij y abcdef", "x *** y ***");
}

/* At least six bytes of a value are removed; a shorter prefix reveals nothing. */
static void test_value_truncated_at_the_end_is_removed(void **state)
{
    (void)state;
    redact_add_secret("abcdefghij");
    expect_redacted("end abcdefghi", "end ***");
    expect_redacted("end abcdef", "end ***");
    expect_unchanged("end abcde");
    expect_redacted("abcdefghi", "***");
    expect_unchanged("abcdefghi, not at the end");
}

static void test_most_recent_values_are_remembered(void **state)
{
    (void)state;
    char value[32];
    for (int i = 0; i < 97; i++) {
        snprintf(value, sizeof value, "<secret-%02d>", i);
        redact_add_secret(value);
    }
    expect_unchanged("<secret-00>");
    expect_redacted("<secret-01> <secret-96>", "*** ***");
}

/* A token in use is registered again at every reload and must not be evicted by rotated ones. */
static void test_adding_again_refreshes_a_secret(void **state)
{
    (void)state;
    char value[32];
    redact_add_secret("<kept-secret>");
    for (int i = 0; i < 100; i++) {
        snprintf(value, sizeof value, "<secret-%02d>", i);
        redact_add_secret(value);
        redact_add_secret("<kept-secret>");
    }
    expect_redacted("<kept-secret> <secret-99> <secret-05>", "*** *** ***");
    expect_unchanged("<secret-04>");
}

/* With the escapes of a server that quotes the value in JSON. */
static void test_known_values_are_removed_from_json(void **state)
{
    (void)state;
    redact_add_secret("gw/T0k\"en\\x+9&z");
    expect_redacted("raw gw/T0k\"en\\x+9&z", "raw ***");
    expect_redacted("{\"token_seen\": \"gw/T0k\\\"en\\\\x+9&z\"}", "{\"token_seen\": \"***\"}");
    expect_redacted("[\"gw\\/T0k\\\"en\\\\x+9&z\"]", "[\"***\"]");
}

static void test_forgotten_values_are_not_redacted(void **state)
{
    (void)state;
    redact_add_secret("abcdefghij");
    redact_forget_all();
    redact_forget_all();
    expect_unchanged("abcdefghij");
}

static void test_service_tokens_are_removed_by_prefix(void **state)
{
    (void)state;
    expect_redacted("mc_service_acc_0123", "***");
    expect_redacted("got mc_service_acc_0123, no", "got ***, no");
    expect_redacted("\"mc_service_a_b\" mc_service_c_d", "\"***\" ***");
    expect_redacted("MC_SERVICE_ACC_X", "***");
    expect_redacted("mc_service_", "***");
    expect_redacted("path/mc_service_a_b?x", "path/***");
    expect_unchanged("mc_serv");
}

static void test_bearer_values_are_removed(void **state)
{
    (void)state;
    expect_redacted("Authorization: Bearer abc.def-1", "Authorization: Bearer ***");
    expect_redacted("authorization: bearer abc, x", "authorization: bearer ***, x");
    expect_redacted("{\"a\":\"Bearer abc\"}", "{\"a\":\"Bearer ***\"}");
    expect_redacted("Bearer a", "Bearer *");
    expect_redacted("Bearer  abc", "Bearer  ***");
    expect_unchanged("Bearer ");
    expect_unchanged("Bearers of news");
}

static void test_named_values_are_removed(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"SERVICE_TOKEN=abc", "SERVICE_TOKEN=***"},
        {"service_token = abc def", "service_token = *** def"},
        {"OPENCLAW_GATEWAY_TOKEN=abc", "OPENCLAW_GATEWAY_TOKEN=***"},
        {"OPENCLAW_GATEWAY_TOKEN: 'abc'", "OPENCLAW_GATEWAY_TOKEN: '***'"},
        {"serviceToken: \"abc\"", "serviceToken: \"***\""},
        {"{\"serviceToken\":\"abc\",\"b\":1}", "{\"serviceToken\":\"***\",\"b\":1}"},
        {"{\"serviceToken\" : \"abc\"}", "{\"serviceToken\" : \"***\"}"},
        {"{\\\"serviceToken\\\":\\\"abc\\\"}", "{\\\"serviceToken\\\":\\\"***\\\"}"},
        {"token=abc&b=1", "token=***&b=1"},
        {"?token=abc", "?token=***"},
        {"X-Token: abc", "X-Token: ***"},
        {"token: abc; token: defg", "token: ***; token: ***"},
        {"token=ab", "token=**"},
        {"token=token=abc", "token=***"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        expect_redacted(cases[i][0], cases[i][1]);
}

static void test_similar_names_are_unchanged(void **state)
{
    (void)state;
    expect_unchanged("the token is wrong");
    expect_unchanged("tokens=5");
    expect_unchanged("max_output_tokens: 5");
    expect_unchanged("mytoken=abc");
    expect_unchanged("token=");
    expect_unchanged("token: ");
    expect_unchanged("token");
    expect_unchanged("Invalid service token");
}

#define TAG_LETTERS "abcdefghijklmnopqrstuvwxyz"

static void test_tags_of_session_keys_are_removed(void **state)
{
    (void)state;
    expect_redacted("agent:jarvis:task:t1:acc:v1~" TAG_LETTERS, "agent:jarvis:task:t1:acc:v1~***");
    expect_redacted("{\"key\":\"a~234567"
                    "abcdefghijklmnopqrst\"}",
        "{\"key\":\"a~***\"}");
    expect_redacted("~" TAG_LETTERS "~" TAG_LETTERS " x", "~***~*** x");
    expect_redacted("~~" TAG_LETTERS "-H", "~~***-H");
    expect_unchanged("~" TAG_LETTERS "a");
    expect_unchanged("~abcdefghijklmnopqrstuvwxy");
    expect_unchanged("~abcdefghijklmnopqrstuvwxy1");
    expect_unchanged("~Abcdefghijklmnopqrstuvwxyz");
    expect_unchanged("~/.local " TAG_LETTERS);
}

static void test_redaction_is_idempotent(void **state)
{
    (void)state;
    redact_add_secret("abcdefghij");
    char text[] =
        "token=abcdefghij Bearer xyz mc_service_a_b {\"token\":\"q\"} a~" TAG_LETTERS " abcdefgh";
    redact(text);
    expect_unchanged(text);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, reset_secrets, reset_secrets)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_known_values_are_removed_everywhere),
        TEST(test_longest_known_value_wins),
        TEST(test_short_values_are_not_remembered),
        TEST(test_value_containing_another_is_removed_whole),
        TEST(test_value_truncated_at_the_end_is_removed),
        TEST(test_most_recent_values_are_remembered),
        TEST(test_adding_again_refreshes_a_secret),
        TEST(test_known_values_are_removed_from_json),
        TEST(test_forgotten_values_are_not_redacted),
        TEST(test_service_tokens_are_removed_by_prefix),
        TEST(test_bearer_values_are_removed),
        TEST(test_named_values_are_removed),
        TEST(test_similar_names_are_unchanged),
        TEST(test_tags_of_session_keys_are_removed),
        TEST(test_redaction_is_idempotent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
