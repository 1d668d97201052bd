/* The HTTP server over plain sockets: responses, headers and limits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "../lib/http_fixture.h"

enum { HEADER_LIMIT_BYTES = 8192 };

static void test_response_has_body_and_headers(void **state)
{
    char answer[HTTP_FIXTURE_RESPONSE_BYTES];
    http_fixture_exchange(
        *state, REQUEST("GET /echo", "Accept: text/plain;q=0.5, */*\r\n"), answer);
    response_must_start_with(answer, "HTTP/1.1 200 ");
    response_must_contain(answer, "\r\nContent-Type: application/json\r\n");
    response_must_contain(answer, "\r\nContent-Security-Policy: default-src 'none'\r\n");
    response_must_contain(answer, "\r\nX-Content-Type-Options: nosniff\r\n");
    response_must_contain(answer, "\r\nCache-Control: no-store\r\n");
    response_must_contain(answer, "\r\nConnection: close\r\n");
    response_body_must_be(answer, "context|/echo|text/plain;q=0.5, */*");
}

static void test_query_is_ignored(void **state)
{
    char answer[HTTP_FIXTURE_RESPONSE_BYTES];
    http_fixture_exchange(*state, REQUEST("GET /echo?x", ""), answer);
    response_body_must_be(answer, "context|/echo|");
    http_fixture_exchange(*state, REQUEST("GET /echo?a=%00&b=/nope", ""), answer);
    response_body_must_be(answer, "context|/echo|");
    http_fixture_exchange(*state, "GET /echo? HTTP/1.0\r\n\r\n", answer);
    response_body_must_be(answer, "context|/echo|");
}

/* RFC 9112, section 3.2.2: as sent by a client that is configured to use us as a proxy. */
static void test_absolute_targets_are_answered(void **state)
{
    static const char *const requests[] = {
        REQUEST("GET http://127.0.0.1:3001/echo", ""),
        REQUEST("GET HTTP://example.com/echo?a=/nope", ""),
        REQUEST("GET https://[::1]:8443/echo", ""),
        REQUEST("GET http:///echo", ""),
    };
    char answer[HTTP_FIXTURE_RESPONSE_BYTES];
    for (size_t i = 0; i < sizeof requests / sizeof requests[0]; i++) {
        http_fixture_exchange(*state, requests[i], answer);
        response_must_start_with(answer, "HTTP/1.1 200 ");
        response_body_must_be(answer, "context|/echo|");
    }
    static const char *const unknown[] = {
        REQUEST("GET http://127.0.0.1:3001", ""),
        REQUEST("GET http://127.0.0.1:3001?x", ""),
        REQUEST("GET ftp://127.0.0.1/echo", ""),
        REQUEST("GET http:/echo", ""),
        REQUEST("GET /http://127.0.0.1/echo", ""),
    };
    for (size_t i = 0; i < sizeof unknown / sizeof unknown[0]; i++) {
        http_fixture_exchange(*state, unknown[i], answer);
        response_must_start_with(answer, "HTTP/1.1 404 ");
    }
    http_fixture_exchange(*state, REQUEST("POST http://127.0.0.1:3001/echo", ""), answer);
    response_must_start_with(answer, "HTTP/1.1 405 ");
}

/* Obsolete since RFC 7230. libmicrohttpd 0.9.75 makes a continuation of plain words part of the
 * name.
 */
static void test_folded_headers_do_no_harm(void **state)
{
    static const char *const requests[] = {
        REQUEST("GET /echo", "X-Note: one\r\n two\r\n\tthree\r\nAccept: a/b\r\n"),
        REQUEST("GET /echo", "Accept: a/b\r\nX-Note:\r\n two\r\n"),
    };
    for (size_t i = 0; i < sizeof requests / sizeof requests[0]; i++) {
        char answer[HTTP_FIXTURE_RESPONSE_BYTES];
        http_fixture_exchange(*state, requests[i], answer);
        response_must_start_with(answer, "HTTP/1.1 200 ");
        response_body_must_be(answer, "context|/echo|a/b");
    }
}

/* Dropping the value silently would serve something else than was asked for. */
static void test_folded_values_are_refused(void **state)
{
    static const char *const requests[] = {
        REQUEST("GET /echo", "Accept: text/plain;\r\n version=0.0.4\r\n"),
        REQUEST("GET /echo", "Accept:\r\n\tapplication/json\r\nX-Note: one\r\n"),
        REQUEST("GET /echo", "X-Note: one\r\n two,\r\n three\r\n"),
        REQUEST("GET /echo", "X Note: one\r\n"),
    };
    char answer[HTTP_FIXTURE_RESPONSE_BYTES];
    for (size_t i = 0; i < sizeof requests / sizeof requests[0]; i++) {
        http_fixture_exchange(*state, requests[i], answer);
        response_must_start_with(answer, "HTTP/1.1 400 ");
    }
    response_must_contain(answer, "folded");
    http_fixture_exchange(*state, REQUEST("GET /echo", "x-A!#$%&'*+-.^_`|~9: a\r\n"), answer);
    response_must_start_with(answer, "HTTP/1.1 200 ");
}

static void test_head_has_no_body(void **state)
{
    char answer[HTTP_FIXTURE_RESPONSE_BYTES];
    http_fixture_exchange(*state, REQUEST("HEAD /echo", ""), answer);
    response_must_start_with(answer, "HTTP/1.1 200 ");
    response_must_contain(answer, "\r\nContent-Length: 14\r\n");
    response_body_must_be(answer, "");
}

static void test_handler_sets_status_type_and_policy(void **state)
{
    char answer[HTTP_FIXTURE_RESPONSE_BYTES];
    http_fixture_exchange(*state, REQUEST("GET /page", ""), answer);
    response_must_start_with(answer, "HTTP/1.1 503 ");
    response_must_contain(answer, "\r\nContent-Type: text/html; charset=utf-8\r\n");
    response_must_contain(answer, "\r\nContent-Security-Policy: default-src 'self'\r\n");
    response_body_must_be(answer, "<p>");
}

static void test_incomplete_body_is_not_sent(void **state)
{
    char answer[HTTP_FIXTURE_RESPONSE_BYTES];
    http_fixture_exchange(*state, REQUEST("GET /memory", ""), answer);
    response_must_start_with(answer, "HTTP/1.1 500 ");
    response_body_must_be(answer, "{\"error\":\"out of memory\"}");
}

static void test_unknown_paths_get_404(void **state)
{
    static const char *const requests[] = {
        REQUEST("GET /", ""),
        REQUEST("GET /echo/", ""),
        REQUEST("GET /ECHO", ""),
        REQUEST("GET /echo%00x", ""),
        REQUEST("GET /../echo", ""),
    };
    for (size_t i = 0; i < sizeof requests / sizeof requests[0]; i++) {
        char answer[HTTP_FIXTURE_RESPONSE_BYTES];
        http_fixture_exchange(*state, requests[i], answer);
        response_must_start_with(answer, "HTTP/1.1 404 ");
        response_must_contain(answer, "\r\nContent-Type: application/json\r\n");
        response_body_must_be(answer, "{\"error\":\"no such path\"}");
    }
}

static void test_other_methods_get_405(void **state)
{
    static const char *const requests[] = {
        REQUEST("POST /echo", "Content-Length: 5\r\n") "hello",
        REQUEST("PUT /nowhere", "Transfer-Encoding: chunked\r\n") "3\r\nabc\r\n0\r\n\r\n",
        REQUEST("DELETE /echo", ""),
        REQUEST("OPTIONS /echo", ""),
        REQUEST("BREW /echo", ""),
    };
    for (size_t i = 0; i < sizeof requests / sizeof requests[0]; i++) {
        char answer[HTTP_FIXTURE_RESPONSE_BYTES];
        http_fixture_exchange(*state, requests[i], answer);
        response_must_start_with(answer, "HTTP/1.1 405 ");
        response_must_contain(answer, "\r\nAllow: GET, HEAD\r\n");
        response_must_contain(answer, "\r\nConnection: close\r\n");
        response_body_must_be(answer, "{\"error\":\"only GET and HEAD\"}");
    }
}

static void send_body(const struct http_server *server, size_t bytes, char *answer)
{
    struct text request = {0};
    text_printf(&request, "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: %zu\r\n\r\n", bytes);
    for (size_t i = 0; i < bytes; i++)
        text_append_bytes(&request, "x", 1);
    assert_false(request.failed);
    http_fixture_exchange(server, request.data, answer);
    text_fini(&request);
}

static void test_large_bodies_are_dropped(void **state)
{
    char answer[HTTP_FIXTURE_RESPONSE_BYTES];
    send_body(*state, 60000, answer);
    response_must_start_with(answer, "HTTP/1.1 405 ");
    send_body(*state, 1000000, answer);
    assert_string_equal(answer, "");
}

static void send_header(const struct http_server *server, size_t bytes, char *answer)
{
    struct text request = {0};
    text_append(&request, "GET /echo HTTP/1.1\r\nHost: h\r\n");
    for (int i = 0; request.length_bytes + 200 < bytes; i++)
        text_printf(&request, "X-%d: %090d\r\n", i, i);
    text_append(&request, "X-Last: ");
    while (request.length_bytes < bytes - strlen("\r\n\r\n"))
        text_append(&request, "x");
    text_append(&request, "\r\n\r\n");
    assert_false(request.failed);
    http_fixture_exchange(server, request.data, answer);
    text_fini(&request);
}

static void test_header_limit_is_8_kib(void **state)
{
    char answer[HTTP_FIXTURE_RESPONSE_BYTES];
    send_header(*state, HEADER_LIMIT_BYTES, answer);
    response_must_start_with(answer, "HTTP/1.1 200 ");
    send_header(*state, HEADER_LIMIT_BYTES + 1, answer);
    response_must_start_with(answer, "HTTP/1.1 431 ");
    response_body_must_be(answer, "{\"error\":\"header over 8 KiB\"}");
}

/* Beyond the connection's memory libmicrohttpd itself refuses and may reset the connection. */
static void test_huge_header_does_not_stop_the_server(void **state)
{
    char answer[HTTP_FIXTURE_RESPONSE_BYTES];
    send_header(*state, (size_t)20 * HEADER_LIMIT_BYTES, answer);
    if (answer[0] != '\0')
        response_must_start_with(answer, "HTTP/1.1 431 ");
    http_fixture_exchange(*state, REQUEST("GET /echo", ""), answer);
    response_must_start_with(answer, "HTTP/1.1 200 ");
}

static void test_other_protocols_are_refused(void **state)
{
    char answer[HTTP_FIXTURE_RESPONSE_BYTES];
    http_fixture_exchange(*state, "\x16\x03\x01 hello\r\n\r\n", answer);
    assert_null(strstr(answer, " 200 "));
    http_fixture_exchange(*state, REQUEST("GET /echo", ""), answer);
    response_must_start_with(answer, "HTTP/1.1 200 ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_SERVER(test_response_has_body_and_headers),
        WITH_SERVER(test_query_is_ignored),
        WITH_SERVER(test_absolute_targets_are_answered),
        WITH_SERVER(test_folded_headers_do_no_harm),
        WITH_SERVER(test_folded_values_are_refused),
        WITH_SERVER(test_head_has_no_body),
        WITH_SERVER(test_handler_sets_status_type_and_policy),
        WITH_SERVER(test_incomplete_body_is_not_sent),
        WITH_SERVER(test_unknown_paths_get_404),
        WITH_SERVER(test_other_methods_get_405),
        WITH_SERVER(test_large_bodies_are_dropped),
        WITH_SERVER(test_header_limit_is_8_kib),
        WITH_SERVER(test_huge_header_does_not_stop_the_server),
        WITH_SERVER(test_other_protocols_are_refused),
    };
    return cmocka_run_group_tests_name("serve_http", tests, NULL, NULL);
}
