/* Secrets leave every text, by value and by the form they are written in. */
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

static int forget(void **state)
{
    (void)state;
    redact_forget_all();
    return 0;
}

static void must_become(const char *text, const char *expected)
{
    char buffer[TEXT_BYTES];
    snprintf(buffer, sizeof buffer, "%s", text);
    redact(buffer);
    if (strcmp(buffer, expected) != 0)
        fail_msg("\"%s\" became \"%s\" instead of \"%s\"", text, buffer, expected);
    assert_true(strlen(buffer) <= strlen(text));
}

static void must_stay(const char *text)
{
    must_become(text, text);
}

static void test_known_values_go_wherever_they_are(void **state)
{
    (void)state;
    redact_add_secret("s3cr3t-value");
    must_become("s3cr3t-value", "***");
    must_become("as3cr3t-valueb", "a***b");
    must_become("s3cr3t-values3cr3t-value s3cr3t-value", "****** ***");
    must_become("{\"x\":\"s3cr3t-value\"}", "{\"x\":\"***\"}");
    must_become("http://h/?k=s3cr3t-value&b=1", "http://h/?k=***&b=1");
    must_become("multi\ns3cr3t-value\nline", "multi\n***\nline");
    must_stay("S3CR3T-VALUE s3cr3t-valu.");
    must_stay("");
}

static void test_max_known_value_wins(void **state)
{
    (void)state;
    redact_add_secret("common-begin");
    redact_add_secret("common-beginning-and-rest");
    must_become("x common-beginning-and-rest y", "x *** y");
    must_become("x common-begin y", "x *** y");
}

static void test_short_values_are_not_remembered(void **state)
{
    (void)state;
    redact_add_secret("");
    redact_add_secret("local");
    must_stay("a local gateway");
    redact_add_secret("local6");
    must_become("a local6 gateway", "a *** gateway");
}

static void test_value_that_contains_another(void **state)
{
    (void)state;
    redact_add_secret("abcdefghij");
    redact_add_secret("abcdef");
    must_become("x abcdefghij y abcdef", "x *** y ***");
}

/* Six bytes of the beginning are enough to go; fewer tell nothing. */
static void test_value_cut_by_the_end_of_the_text(void **state)
{
    (void)state;
    redact_add_secret("abcdefghij");
    must_become("end abcdefghi", "end ***");
    must_become("end abcdef", "end ***");
    must_stay("end abcde");
    must_become("abcdefghi", "***");
    must_stay("abcdefghi, not at the end");
}

static void test_max_recent_values_are_known(void **state)
{
    (void)state;
    char value[32];
    for (int i = 0; i < 97; i++) {
        snprintf(value, sizeof value, "<secret-%02d>", i);
        redact_add_secret(value);
    }
    must_stay("<secret-00>");
    must_become("<secret-01> <secret-96>", "*** ***");
}

/* A token that is in use is read again and again, and must outlive those that come and go. */
static void test_adding_again_keeps_a_secret(void **state)
{
    (void)state;
    char value[32];
    redact_add_secret("<kept-secret>");
    for (int i = 0; i < 100; i++) {
        snprintf(value, sizeof value, "<secret-%02d>", i);
        redact_add_secret(value);
        redact_add_secret("<kept-secret>");
    }
    must_become("<kept-secret> <secret-99> <secret-05>", "*** *** ***");
    must_stay("<secret-04>");
}

/* As an answer of a server quotes it. */
static void test_known_values_go_from_json_as_well(void **state)
{
    (void)state;
    redact_add_secret("gw/T0k\"en\\x+9&z");
    must_become("raw gw/T0k\"en\\x+9&z", "raw ***");
    must_become("{\"token_seen\": \"gw/T0k\\\"en\\\\x+9&z\"}", "{\"token_seen\": \"***\"}");
    must_become("[\"gw\\/T0k\\\"en\\\\x+9&z\"]", "[\"***\"]");
}

static void test_nothing_is_known_after_forgetting(void **state)
{
    (void)state;
    redact_add_secret("abcdefghij");
    redact_forget_all();
    redact_forget_all();
    must_stay("abcdefghij");
}

static void test_service_tokens_go_by_their_prefix(void **state)
{
    (void)state;
    must_become("mc_service_acc_0123", "***");
    must_become("got mc_service_acc_0123, no", "got ***, no");
    must_become("\"mc_service_a_b\" mc_service_c_d", "\"***\" ***");
    must_become("MC_SERVICE_ACC_X", "***");
    must_become("mc_service_", "***");
    must_become("path/mc_service_a_b?x", "path/***");
    must_stay("mc_serv");
}

static void test_bearer_values_go(void **state)
{
    (void)state;
    must_become("Authorization: Bearer abc.def-1", "Authorization: Bearer ***");
    must_become("authorization: bearer abc, x", "authorization: bearer ***, x");
    must_become("{\"a\":\"Bearer abc\"}", "{\"a\":\"Bearer ***\"}");
    must_become("Bearer a", "Bearer *");
    must_become("Bearer  abc", "Bearer  ***");
    must_stay("Bearer ");
    must_stay("Bearers of news");
}

static void test_named_values_go(void **state)
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
        must_become(cases[i][0], cases[i][1]);
}

static void test_words_that_only_look_like_names_stay(void **state)
{
    (void)state;
    must_stay("the token is wrong");
    must_stay("tokens=5");
    must_stay("max_output_tokens: 5");
    must_stay("mytoken=abc");
    must_stay("token=");
    must_stay("token: ");
    must_stay("token");
    must_stay("Invalid service token");
}

static void test_redacted_text_stays_as_it_is(void **state)
{
    (void)state;
    redact_add_secret("abcdefghij");
    char text[] = "token=abcdefghij Bearer xyz mc_service_a_b {\"token\":\"q\"} abcdefgh";
    redact(text);
    must_stay(text);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, forget, forget)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_known_values_go_wherever_they_are),
        TEST(test_max_known_value_wins),
        TEST(test_short_values_are_not_remembered),
        TEST(test_value_that_contains_another),
        TEST(test_value_cut_by_the_end_of_the_text),
        TEST(test_max_recent_values_are_known),
        TEST(test_adding_again_keeps_a_secret),
        TEST(test_known_values_go_from_json_as_well),
        TEST(test_nothing_is_known_after_forgetting),
        TEST(test_service_tokens_go_by_their_prefix),
        TEST(test_bearer_values_go),
        TEST(test_named_values_go),
        TEST(test_words_that_only_look_like_names_stay),
        TEST(test_redacted_text_stays_as_it_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
