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
    for (int i = 0; i < 65; i++) {
        snprintf(value, sizeof value, "<secret-%02d>", i);
        redact_add_secret(value);
    }
    expect_unchanged("<secret-00>");
    expect_redacted("<secret-01> <secret-64>", "*** ***");
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
    expect_redacted("<kept-secret> <secret-99> <secret-37>", "*** *** ***");
    expect_unchanged("<secret-36>");
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

/* As a server or proxy may quote it: within JSON that is a string of JSON, with slashes or not. */
static void test_known_values_are_removed_from_nested_json(void **state)
{
    (void)state;
    redact_add_secret("gw/T0k\"en\\x+9&z");
    expect_redacted(
        "\"{\\\"t\\\":\\\"gw/T0k\\\\\\\"en\\\\\\\\x+9&z\\\"}\"", "\"{\\\"t\\\":\\\"***\\\"}\"");
    expect_redacted("gw\\\\\\/T0k\\\\\\\"en\\\\\\\\x+9&z.", "***.");
    expect_redacted("gw/T0k\\u0022en\\u005cx+9\\u0026z.", "***.");
}

static void test_known_values_are_removed_url_encoded(void **state)
{
    (void)state;
    redact_add_secret("gw/T0k\"en\\x+9&z ~%41");
    expect_redacted("?t=gw%2FT0k%22en%5Cx%2B9%26z%20~%2541&u=1", "?t=***&u=1");
    expect_redacted("?t=gw%2fT0k%22en%5cx%2b9%26z+%7e%2541&u=1", "?t=***&u=1");
    expect_redacted("x %67%77/T0k%22en%5Cx%2B9%26z%20~%2541", "x ***");
    expect_redacted("plain gw/T0k\"en\\x+9&z ~%41.", "plain ***.");
}

static void test_known_values_are_removed_html_escaped(void **state)
{
    (void)state;
    redact_add_secret("<a>&\"b'c/d\\e");
    expect_redacted("<p>&lt;a&gt;&amp;&quot;b&#39;c/d\\e</p>", "<p>***</p>");
    expect_redacted("<p>&#60;a&#x3E;&amp;&#34;b&apos;c&#x2F;d&#92;e</p>", "<p>***</p>");
}

static void test_known_values_are_removed_in_hexadecimal(void **state)
{
    (void)state;
    redact_add_secret("s3cr3t\\v");
    expect_redacted("body: 7333637233745c76!", "body: ***!");
    expect_redacted("body: 7333637233745C76!", "body: ***!");
    expect_unchanged("7333637233745c77");
}

/* With a user before it, as in Basic authentication, at every offset modulo three. */
static void test_known_values_are_removed_in_base64(void **state)
{
    (void)state;
    redact_add_secret("s3cr3t-value?"
                      "?>");
    expect_redacted("czNjcjN0LXZhbHVlPz8+", "***");
    expect_redacted("dTpzM2NyM3QtdmFsdWU/Pz4=", "dTp***4=");
    expect_redacted("dTpzM2NyM3QtdmFsdWU_Pz4=", "dTp***4=");
    expect_redacted("dTpzM2NyM3QtdmFsdWU%2FPz4=", "dTp***4=");
    expect_redacted("dXM6czNjcjN0LXZhbHVlPz8+", "dXM6***");
    expect_redacted("YTpiczNjcjN0LXZhbHVlPz8+IQ==", "YTpi***IQ==");
    expect_redacted("OnMzY3IzdC12YWx1ZT8/Pg==", "On***g==");
    expect_unchanged("czNjcjN0LXZhbHVmPz8+");
}

static void test_encoded_value_truncated_at_the_end_is_removed(void **state)
{
    (void)state;
    redact_add_secret("abc/efghij");
    expect_redacted("end abc%2Fefghi", "end ***");
    expect_redacted("end abc%2Fef%6", "end ***");
    expect_redacted("end 6162632f6566", "end ***");
    expect_redacted("end YWJjL2Vm", "end ***");
    expect_unchanged("end abc%2Fe");
}

static void test_credentials_in_urls_are_removed(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"http://jo:pw@proxy:3128", "http://***@proxy:3128"},
        {"proxy socks5h://jo:p%40w@proxy.example/x failed",
            "proxy socks5h://***@proxy.example/x failed"},
        {"https://ghp@github.com/a, https://a:b@c", "https://***@github.com/a, https://***@c"},
        {"http://jo:p@ss@proxy", "http://***@proxy"},
        {"http://jo:pa/ss#w?x@proxy:1", "http://***@proxy:1"},
        {"{\"u\":\"http:\\/\\/jo:pw@h\"}", "{\"u\":\"http:\\/\\/***@h\"}"},
        {"cut http://jo:passw", "cut http://***"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        expect_redacted(cases[i][0], cases[i][1]);
    expect_unchanged("http://proxy:3128");
    expect_unchanged("cannot connect to http://proxy:3128.");
    expect_unchanged("(see http://proxy:3128)");
    expect_unchanged("http://proxy:3128: refused");
    expect_unchanged("http://proxy:3128/@scope/name");
    expect_unchanged("https://[::1]:80/a:b@c");
    expect_unchanged("mail jo@example.com: http://h/x");
    expect_unchanged("http://");
}

static void test_keys_of_providers_are_removed(void **state)
{
    (void)state;
    static const char *const keys[] = {"sk-ant-api03-AbCdEf0123456789_-AbCdEf",
        "sk-proj-0123456789abcdefghijABCDEFGHIJ", "sk-0123456789abcdefghij",
        "AIzaSyA0123456789abcdefghijklmnopqrstuvw", "gsk_0123456789abcdefghij",
        "xai-0123456789abcdefghij", "hf_0123456789abcdefghij", "ghp_0123456789abcdefghij",
        "github_pat_0123456789abcdefghij", "vck_0123456789abcdefghij", "xoxb-0123456789-abcdefghij",
        "AKIA0123456789ABCDEF"};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        char text[TEXT_BYTES];
        snprintf(text, sizeof text, "[Gateway] using key '%s' for x", keys[i]);
        expect_redacted(text, "[Gateway] using key '***' for x");
    }
    expect_redacted("ANTHROPIC_API_KEY=abc def", "ANTHROPIC_API_KEY=*** def");
    expect_redacted("{\"apiKey\":\"abc\"}", "{\"apiKey\":\"***\"}");
    expect_redacted("x-api-key: abc", "x-api-key: ***");
    expect_redacted("cut sk-ant-api03-Ab", "cut ***");
    expect_redacted("Proxy-Authorization: Basic am86cHc=", "Proxy-Authorization: Basic ***");
    expect_unchanged("task-0123456789abcdefghij risk-free sk-learn");
    expect_unchanged("sk-a-name-of-words-without-digits");
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
        TEST(test_known_values_are_removed_from_nested_json),
        TEST(test_known_values_are_removed_url_encoded),
        TEST(test_known_values_are_removed_html_escaped),
        TEST(test_known_values_are_removed_in_hexadecimal),
        TEST(test_known_values_are_removed_in_base64),
        TEST(test_encoded_value_truncated_at_the_end_is_removed),
        TEST(test_credentials_in_urls_are_removed),
        TEST(test_keys_of_providers_are_removed),
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
