/* The HTTP client's reading of response headers: Retry-After, folds, and responses before 200. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "../lib/stub_server.h"
#include "http/client.h"

enum { TIMEOUT_MS = 20000, LIMIT_BYTES = 4096, DAY_MS = 24 * 3600 * 1000, ANSWER_BYTES = 512 };

static void fetch(const char *bytes, struct http_response *answer)
{
    static const atomic_bool never = false;
    struct stub_server *server = stub_server_start(bytes);
    struct http_client *client;
    char url[64];
    const struct http_request request = {.url = url,
        .headers = (const char *[]){NULL},
        .timeout_ms = TIMEOUT_MS,
        .response_limit_bytes = LIMIT_BYTES,
        .ignore_proxy = true};
    snprintf(url, sizeof url, "http://127.0.0.1:%u/", stub_server_port(server));
    assert_int_equal(http_client_create(&client, NULL, &never, NULL), 0);
    http_client_perform(client, &request, answer);
    assert_int_equal(answer->failure, HTTP_ANSWERED);
    http_client_destroy(client);
    stub_server_stop(server);
}

/* Returns the pause for a Retry-After header with that value. */
static int64_t pause_ms(const char *value)
{
    struct http_response answer;
    char bytes[ANSWER_BYTES];
    snprintf(bytes, sizeof bytes, "HTTP/1.1 503 Busy\r\nRetry-After: %s\r\n\r\n", value);
    fetch(bytes, &answer);
    assert_true(answer.has_retry_after);
    return answer.retry_after_ms;
}

static int64_t pause_until_ms(time_t seconds_from_now)
{
    char date[64];
    struct tm parts;
    time_t at = time(NULL) + seconds_from_now;
    strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S GMT", gmtime_r(&at, &parts));
    return pause_ms(date);
}

static void test_retry_after_in_seconds_is_capped_at_a_day(void **state)
{
    (void)state;
    assert_int_equal(pause_ms("0"), 0);
    assert_int_equal(pause_ms("7"), 7000);
    assert_int_equal(pause_ms("  7  "), 7000);
    assert_int_equal(pause_ms("1.5"), 1000);
    assert_int_equal(pause_ms("86401"), DAY_MS);
    assert_int_equal(pause_ms("99999999999999999999999999"), DAY_MS);
}

static void test_retry_after_as_a_date_is_relative_to_now(void **state)
{
    (void)state;
    assert_in_range(pause_until_ms(600), 540000, 600000);
    assert_int_equal(pause_until_ms(-100), 0);
    assert_int_equal(pause_ms("Sun, 06 Nov 1994 08:49:37 GMT"), 0);
    assert_int_equal(pause_ms("Fri, 31 Dec 9999 23:59:59 GMT"), DAY_MS);
}

static void test_invalid_retry_after_is_zero(void **state)
{
    (void)state;
    static const char *const values[] = {"", "soon", "-5", "-99999999999999999999", "\xFF", "0x10"};
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++)
        assert_int_equal(pause_ms(values[i]), 0);
}

static void test_other_headers_are_not_retry_after(void **state)
{
    (void)state;
    struct http_response answer;
    fetch("HTTP/1.1 503 Busy\r\nX-Retry-After: 7\r\n\r\n", &answer);
    assert_false(answer.has_retry_after);
    assert_int_equal(answer.retry_after_ms, 0);
}

/* RFC 8297: a final response follows. */
static void test_early_hints_come_before_the_response(void **state)
{
    (void)state;
    struct http_response answer;
    fetch("HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nRetry-After: 9\r\n\r\n"
          "HTTP/1.1 103 Early Hints\r\n\r\n"
          "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
        &answer);
    assert_int_equal(answer.status, 200);
    assert_false(answer.has_retry_after);
}

/* RFC 9112, section 5.2: a client reads a fold as blanks. */
static void test_folded_headers_are_one_line(void **state)
{
    (void)state;
    struct http_response answer;
    fetch("HTTP/1.1 503 Busy\r\nX-Note: one\r\n two\r\nRetry-After:\r\n\t7\r\n"
          "Content-Length: 0\r\n\r\n",
        &answer);
    assert_int_equal(answer.status, 503);
    assert_true(answer.has_retry_after);
    assert_int_equal(answer.retry_after_ms, 7000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_retry_after_in_seconds_is_capped_at_a_day),
        cmocka_unit_test(test_retry_after_as_a_date_is_relative_to_now),
        cmocka_unit_test(test_invalid_retry_after_is_zero),
        cmocka_unit_test(test_other_headers_are_not_retry_after),
        cmocka_unit_test(test_early_hints_come_before_the_response),
        cmocka_unit_test(test_folded_headers_are_one_line),
    };
    assert_int_equal(http_client_library_start(NULL), 0);
    int failures = cmocka_run_group_tests_name("http_client", tests, NULL, NULL);
    http_client_library_stop();
    return failures;
}
