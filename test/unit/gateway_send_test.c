/* What is sent for a message; and that an unsafe slug or session key is refused before. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "../lib/stub_server.h"
#include "gateway/gateway.h"

enum { MAX_BYTES = 4096 };

/* Whether a message passes the checks; its send is aborted before it connects. */
static bool passes_checks(const char *session_key, const char *agent_slug)
{
    static const atomic_bool stopped = true;
    struct http_client *client;
    struct gateway *gateway;
    struct gateway_result result;
    struct text input = {0};
    const struct gateway_message message = {
        .session_key = session_key, .agent_slug = agent_slug, .input = &input, .timeout_ms = 1000};
    assert_int_equal(http_client_create(&client, NULL, &stopped, NULL), 0);
    assert_int_equal(gateway_create(&gateway, "http://127.0.0.1:9", "token", NULL), 0);
    text_append(&input, "input");
    gateway_send(gateway, client, &message, &result);
    text_fini(&input);
    assert_true(result.outcome == GATEWAY_ABORTED || result.outcome == GATEWAY_REFUSED);
    if (result.outcome == GATEWAY_REFUSED)
        assert_non_null(strstr(result.error.text, "slug or session key"));
    json_decref(result.body);
    gateway_destroy(gateway);
    http_client_destroy(client);
    return result.outcome == GATEWAY_ABORTED;
}

static void test_line_breaks_cannot_inject_headers(void **state)
{
    (void)state;
    assert_true(passes_checks("agent:jarvis:k57a", "jarvis"));
    assert_true(passes_checks("agent:J\xC3\xA9r\xC3\xB4me:k57a", ""));
    assert_false(passes_checks("agent:jarvis\r\nX-Other: 1", "jarvis"));
    assert_false(passes_checks("agent:jarvis", "jar\nvis"));
    assert_false(passes_checks("agent:jarvis", "jar\x7Fvis"));
}

/* A key that no gateway accepts must not be taken for an outage. */
static void test_oversized_session_key_is_refused(void **state)
{
    (void)state;
    static char key[MAX_BYTES + 2];
    memset(key, 'k', MAX_BYTES);
    assert_true(passes_checks(key, "jarvis"));
    key[MAX_BYTES] = 'k';
    assert_false(passes_checks(key, "jarvis"));
}

/* Keeps the body of the request. */
static const char *keep_body(void *context, const char *request)
{
    const char *body = strstr(request, "\r\n\r\n");
    snprintf(context, MAX_BYTES, "%s", body != NULL ? body + 4 : "");
    return "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
}

static void expect_body(const struct gateway_message *message, const char *expected)
{
    static const atomic_bool stopped = false;
    char body[MAX_BYTES] = "";
    char url[64];
    struct http_client *client;
    struct gateway *gateway;
    struct gateway_result result;
    struct stub_server *server = stub_server_start_with(keep_body, body);
    snprintf(url, sizeof url, "http://127.0.0.1:%u", stub_server_port(server));
    assert_int_equal(http_client_create(&client, NULL, &stopped, NULL), 0);
    assert_int_equal(gateway_create(&gateway, url, "token", NULL), 0);
    gateway_send(gateway, client, message, &result);
    json_decref(result.body);
    gateway_destroy(gateway);
    http_client_destroy(client);
    stub_server_stop(server);
    assert_string_equal(body, expected);
}

static void test_body_has_what_the_message_has(void **state)
{
    (void)state;
    struct text input = {0};
    struct gateway_message message = {
        .session_key = "k", .agent_slug = "jarvis", .input = &input, .timeout_ms = 5000};
    text_append(&input, "a\"b");
    expect_body(&message, "{\"model\":\"openclaw:jarvis\",\"input\":\"a\\\"b\",\"stream\":false,"
                          "\"user\":\"k\"}");
    assert_null(input.data);
    json_t *items = json_pack("[{s:s}]", "type", "function_call_output");
    message.agent_slug = "";
    message.instructions = "";
    message.tools = (const char *const[]){
        "{\"type\":\"function\",\"name\":\"one\"}", "{\"name\":\"two\"}", NULL};
    message.items = items;
    expect_body(&message,
        "{\"model\":\"openclaw\",\"input\":[{\"type\":\"function_call_output\"}],"
        "\"stream\":false,\"user\":\"k\",\"instructions\":\"\",\"tools\":[{\"type\":"
        "\"function\",\"name\":\"one\"},{\"name\":\"two\"}]}");
    json_decref(items);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_line_breaks_cannot_inject_headers),
        cmocka_unit_test(test_oversized_session_key_is_refused),
        cmocka_unit_test(test_body_has_what_the_message_has),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
