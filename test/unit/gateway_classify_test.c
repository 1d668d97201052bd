/*
 * Classification of the gateway's responses, row by row of docs/protocol.md, "Gateway answers".
 * The tests decide which results may be retried: a row in the wrong class would run an agent twice
 * or lose a reply.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "../lib/utf8.h"
#include "base/secret.h"
#include "base/text.h"
#include "gateway/gateway.h"

#define UNAUTHORIZED "{\"error\":{\"message\":\"Unauthorized\",\"type\":\"unauthorized\"}}"
#define RATE_LIMITED                                                                 \
    "{\"error\":{\"message\":\"Too many failed authentication attempts.\",\"type\":" \
    "\"rate_limited\"}}"
#define BAD_REQUEST                                       \
    "{\"error\":{\"message\":\"Unknown agent 'ghost'.\"," \
    "\"type\":\"invalid_request_error\"}}"
#define DRAINING                                                               \
    "{\"error\":{\"message\":\"Gateway is temporarily unavailable\",\"type\":" \
    "\"service_unavailable\",\"code\":\"gateway_unavailable\"}}"
#define FAILED                                                                        \
    "{\"id\":\"resp_1\",\"object\":\"response\",\"status\":\"failed\",\"output\":[]," \
    "\"error\":{\"code\":\"api_error\",\"message\":\"internal error\"}}"

enum { NO_RETRY_AFTER = -1, MAX_PAUSE_MS = 15 * 60 * 1000, DAY_MS = 24 * 3600 * 1000 };

static void classify_response(
    int status, int64_t retry_after_ms, const char *body, struct gateway_result *result)
{
    const struct http_response answer = {
        .failure = HTTP_ANSWERED,
        .status = status,
        .body = {body, strlen(body)},
        .sent = true,
        .has_retry_after = retry_after_ms != NO_RETRY_AFTER,
        .retry_after_ms = retry_after_ms != NO_RETRY_AFTER ? retry_after_ms : 0,
    };
    *result = (struct gateway_result){.outcome = GATEWAY_DISABLED};
    gateway_classify(&answer, result);
}

struct row {
    int status;
    int64_t retry_after_ms;
    const char *body;
    enum gateway_outcome outcome;
    int64_t wait_ms; /* expected retry_after_ms of the result */
};

static void check_rows(const struct row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct row *row = &rows[i];
        struct gateway_result result;
        classify_response(row->status, row->retry_after_ms, row->body, &result);
        if (result.outcome != row->outcome)
            fail_msg("row %zu, %d %s: outcome %d", i, row->status, row->body, (int)result.outcome);
        assert_int_equal(result.retry_after_ms, row->wait_ms);
        assert_true((result.body != NULL) == (row->outcome == GATEWAY_REPLIED));
        assert_true((result.error.text[0] == '\0') == (row->outcome == GATEWAY_REPLIED));
        assert_true(result.sent);
        assert_false(result.timed_out);
        json_decref(result.body);
    }
}

#define CHECK_ROWS(...)                           \
    check_rows((const struct row[]){__VA_ARGS__}, \
        sizeof((const struct row[]){__VA_ARGS__}) / sizeof(struct row))

static void test_wrong_token_path_or_redirect_is_misconfigured(void **state)
{
    (void)state;
    CHECK_ROWS({401, NO_RETRY_AFTER, UNAUTHORIZED, GATEWAY_MISCONFIGURED, 0},
        {401, 5000, UNAUTHORIZED, GATEWAY_MISCONFIGURED, 5000},
        {429, 300000, RATE_LIMITED, GATEWAY_MISCONFIGURED, 300000},
        {404, NO_RETRY_AFTER, "Not Found", GATEWAY_MISCONFIGURED, 0},
        {404, NO_RETRY_AFTER, "Not Found\n", GATEWAY_MISCONFIGURED, 0},
        {405, NO_RETRY_AFTER, "Method Not Allowed", GATEWAY_MISCONFIGURED, 0},
        {301, NO_RETRY_AFTER, "", GATEWAY_MISCONFIGURED, 0},
        {302, NO_RETRY_AFTER, "<html>login</html>", GATEWAY_MISCONFIGURED, 0},
        {308, NO_RETRY_AFTER, "{\"object\":\"list\"}", GATEWAY_MISCONFIGURED, 0});
}

static void test_retry_after_is_busy(void **state)
{
    (void)state;
    CHECK_ROWS({503, 1000, DRAINING, GATEWAY_BUSY, 1000},
        {503, NO_RETRY_AFTER, DRAINING, GATEWAY_BUSY, 0}, {503, 0, "", GATEWAY_BUSY, 0},
        {503, 7000, "proxy says no", GATEWAY_BUSY, 7000},
        {429, 30000, "{\"error\":{\"message\":\"slow\"}}", GATEWAY_BUSY, 30000},
        {503, MAX_PAUSE_MS, DRAINING, GATEWAY_BUSY, MAX_PAUSE_MS},
        {503, MAX_PAUSE_MS + 1, DRAINING, GATEWAY_BUSY, MAX_PAUSE_MS},
        {429, DAY_MS, "", GATEWAY_BUSY, MAX_PAUSE_MS},
        {429, NO_RETRY_AFTER, BAD_REQUEST, GATEWAY_BUSY, 0});
}

/* Sent before a request is taken, by whatever stands in front as well. */
static void test_errors_from_before_a_run_are_refused(void **state)
{
    (void)state;
    CHECK_ROWS({400, NO_RETRY_AFTER, BAD_REQUEST, GATEWAY_REFUSED, 0},
        {400, NO_RETRY_AFTER, "<html>Bad Request</html>", GATEWAY_REFUSED, 0},
        {411, NO_RETRY_AFTER, "", GATEWAY_REFUSED, 0},
        {413, NO_RETRY_AFTER, BAD_REQUEST, GATEWAY_REFUSED, 0},
        {414, NO_RETRY_AFTER, "", GATEWAY_REFUSED, 0},
        {415, NO_RETRY_AFTER, "", GATEWAY_REFUSED, 0},
        {431, NO_RETRY_AFTER, "", GATEWAY_REFUSED, 0});
}

/* The shape of a gateway's error proves nothing: proxies and model gateways use it as well. */
static void test_any_other_answer_is_ambiguous(void **state)
{
    (void)state;
    static const int statuses[] = {401, 402, 403, 404, 406, 408, 409, 422, 425, 451, 499, 500, 502,
        503, 504, 520, 524, 530, 599};
    static const char *const bodies[] = {"", "oops", "<html>504 Gateway Time-out</html>",
        "{\"error\":{\"message\":\"timeout\",\"type\":\"api_error\"}}", "{\"object\":5}",
        "[\"response\"]", "{\"error\":{\"type\":\"invalid_request_error\"}}"};
    for (size_t i = 0; i < sizeof statuses / sizeof statuses[0]; i++)
        for (size_t j = 0; j < sizeof bodies / sizeof bodies[0]; j++)
            CHECK_ROWS({statuses[i], NO_RETRY_AFTER, bodies[j], GATEWAY_AMBIGUOUS, 0});
    CHECK_ROWS({500, 9000, "oops", GATEWAY_AMBIGUOUS, 0},
        {500, NO_RETRY_AFTER, DRAINING, GATEWAY_AMBIGUOUS, 0},
        {503, NO_RETRY_AFTER, UNAUTHORIZED, GATEWAY_AMBIGUOUS, 0},
        {404, NO_RETRY_AFTER, "<h1>Not Found</h1>", GATEWAY_AMBIGUOUS, 0},
        {200, NO_RETRY_AFTER, "<html>", GATEWAY_AMBIGUOUS, 0},
        {200, NO_RETRY_AFTER, " \n<!doctype html>", GATEWAY_AMBIGUOUS, 0});
}

/* A response resource proves that a run took place, whatever the HTTP status. */
static void test_response_resource_in_an_error_is_a_failed_run(void **state)
{
    (void)state;
    static const int statuses[] = {301, 400, 401, 403, 404, 408, 422, 429, 500, 502, 503, 529};
    for (size_t i = 0; i < sizeof statuses / sizeof statuses[0]; i++)
        CHECK_ROWS({statuses[i], NO_RETRY_AFTER, FAILED, GATEWAY_FAILED_RUN, 0},
            {statuses[i], 1000, FAILED, GATEWAY_FAILED_RUN, 0});
}

#define COLLIDES(code, message)                                                       \
    "{\"id\":\"resp_1\",\"object\":\"response\",\"status\":\"failed\",\"output\":[]," \
    "\"error\":{\"code\":\"" code "\",\"message\":\"" message "\"}}"

static void expect_collision(int status, const char *body, enum gateway_outcome outcome)
{
    struct gateway_result result;
    classify_response(status, NO_RETRY_AFTER, body, &result);
    assert_int_equal(result.outcome, outcome);
    assert_int_equal(result.tools_collide, outcome == GATEWAY_REFUSED);
}

/* The one resource that does not prove a run: the model is not asked. */
static void test_collision_of_tools_is_refused(void **state)
{
    (void)state;
    expect_collision(
        400, COLLIDES("invalid_request_error", "invalid tool configuration"), GATEWAY_REFUSED);
    expect_collision(
        500, COLLIDES("invalid_request_error", "invalid tool configuration"), GATEWAY_FAILED_RUN);
    expect_collision(400, COLLIDES("api_error", "invalid tool configuration"), GATEWAY_FAILED_RUN);
    expect_collision(400, COLLIDES("invalid_request_error", "400 invalid tool configuration"),
        GATEWAY_FAILED_RUN);
}

static void test_success_without_a_reply_is_a_failed_run(void **state)
{
    (void)state;
    CHECK_ROWS({200, NO_RETRY_AFTER, FAILED, GATEWAY_FAILED_RUN, 0},
        {200, NO_RETRY_AFTER, "{\"status\":\"Completed\"}", GATEWAY_FAILED_RUN, 0},
        {200, NO_RETRY_AFTER, "{\"status\":null}", GATEWAY_FAILED_RUN, 0},
        {200, NO_RETRY_AFTER, "{\"status\":1}", GATEWAY_FAILED_RUN, 0},
        {200, NO_RETRY_AFTER, "", GATEWAY_FAILED_RUN, 0},
        {204, NO_RETRY_AFTER, "", GATEWAY_FAILED_RUN, 0},
        {200, NO_RETRY_AFTER, "[]", GATEWAY_FAILED_RUN, 0},
        {200, NO_RETRY_AFTER, "null", GATEWAY_FAILED_RUN, 0},
        {200, NO_RETRY_AFTER, "\"text\"", GATEWAY_FAILED_RUN, 0},
        {200, NO_RETRY_AFTER, BAD_REQUEST, GATEWAY_FAILED_RUN, 0},
        {200, NO_RETRY_AFTER, "{\"error\":\"boom\"}", GATEWAY_FAILED_RUN, 0},
        {200, NO_RETRY_AFTER, "{\"status\":\"completed\"", GATEWAY_FAILED_RUN, 0});
}

static void test_completed_resource_is_a_reply(void **state)
{
    (void)state;
    CHECK_ROWS(
        {200, NO_RETRY_AFTER, "{\"status\":\"completed\",\"output\":[]}", GATEWAY_REPLIED, 0},
        {200, NO_RETRY_AFTER, "{\"output_text\":\"hi\"}", GATEWAY_REPLIED, 0},
        {200, NO_RETRY_AFTER, "{}", GATEWAY_REPLIED, 0},
        {200, NO_RETRY_AFTER, "{\"error\":null}", GATEWAY_REPLIED, 0},
        {201, NO_RETRY_AFTER, "{\"status\":\"completed\",\"x\":\"\\ud800\"}", GATEWAY_REPLIED, 0},
        {299, 1000, "{\"status\":\"completed\"}", GATEWAY_REPLIED, 0});
}

/* Whether there is a text decides what it becomes: delivery/reply.h. */
static void test_incomplete_resource_is_told(void **state)
{
    (void)state;
    struct gateway_result result;
    classify_response(
        200, NO_RETRY_AFTER, "{\"status\":\"incomplete\",\"output_text\":\"a\"}", &result);
    assert_int_equal(result.outcome, GATEWAY_REPLIED);
    assert_true(result.incomplete);
    json_decref(result.body);
    classify_response(200, NO_RETRY_AFTER, "{\"status\":\"completed\"}", &result);
    assert_false(result.incomplete);
    json_decref(result.body);
}

static void test_transport_failures(void **state)
{
    (void)state;
    static const struct {
        enum http_failure failure;
        enum gateway_outcome outcome;
        bool sent;
        bool timed_out;
    } rows[] = {
        {HTTP_NOT_SENT, GATEWAY_UNREACHABLE, false, false},
        {HTTP_NO_MEMORY, GATEWAY_UNREACHABLE, false, false},
        {HTTP_TIMED_OUT, GATEWAY_AMBIGUOUS, true, true},
        {HTTP_LOST, GATEWAY_AMBIGUOUS, true, false},
        {HTTP_TOO_LARGE, GATEWAY_FAILED_RUN, true, false},
        {HTTP_ABORTED, GATEWAY_ABORTED, true, false},
        {HTTP_ABORTED, GATEWAY_ABORTED, false, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct http_response answer = {
            .failure = rows[i].failure, .sent = rows[i].sent, .reason = "the words"};
        struct gateway_result result = {.outcome = GATEWAY_DISABLED};
        gateway_classify(&answer, &result);
        assert_int_equal(result.outcome, rows[i].outcome);
        assert_int_equal(result.sent, rows[i].sent);
        assert_int_equal(result.timed_out, rows[i].timed_out);
        assert_string_equal(result.error.text, "OpenClaw gateway request failed: the words");
    }
}

static void test_errors_quote_status_and_message(void **state)
{
    (void)state;
    struct gateway_result result;
    classify_response(400, NO_RETRY_AFTER, BAD_REQUEST, &result);
    assert_string_equal(result.error.text, "OpenClaw gateway returned 400: " BAD_REQUEST);
    classify_response(500, NO_RETRY_AFTER, "", &result);
    assert_string_equal(result.error.text, "OpenClaw gateway returned 500: (no body)");
    classify_response(502, NO_RETRY_AFTER, "a\nb\x01\xFF", &result);
    assert_string_equal(result.error.text, "OpenClaw gateway returned 502: a b ?");
    /* The agent's partial output is not quoted as the gateway's error. */
    classify_response(500, NO_RETRY_AFTER,
        "{\"object\":\"response\",\"output\":[\"hunter2\"],\"error\":{\"message\":\"overloaded\"}}",
        &result);
    assert_string_equal(result.error.text, "OpenClaw gateway returned 500: overloaded");
    classify_response(
        500, NO_RETRY_AFTER, "{\"object\":\"response\",\"output\":[\"hunter2\"]}", &result);
    assert_null(strstr(result.error.text, "hunter2"));
    classify_response(200, NO_RETRY_AFTER, FAILED, &result);
    assert_string_equal(result.error.text, "the agent's run ended as \"failed\": internal error");
    classify_response(200, NO_RETRY_AFTER, "hunter2", &result);
    assert_non_null(strstr(result.error.text, "unreadable body"));
    assert_null(strstr(result.error.text, "hunter2"));
}

#define SECRET "tok-0123456789abcdef0123456789abcdef0123456789abcdef"

/* Wherever a server echoes a secret, even where the end of the quotation splits it. */
static void test_errors_contain_no_secret(void **state)
{
    (void)state;
    redact_add_secret(SECRET);
    struct text max = {0};
    for (int i = 0; i < 370; i++)
        text_append(&max, "x");
    text_append(&max, SECRET);
    static const char in_message[] =
        "{\"status\":\"failed\",\"error\":{\"message\":\"key " SECRET "\"}}";
    static const char in_status[] = "{\"status\":\"" SECRET "\"}";
    const struct {
        int status;
        const char *body;
    } cases[] = {{500, "no " SECRET " here"}, {401, "Bearer " SECRET}, {500, max.data},
        {200, in_message}, {200, in_status}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct gateway_result result;
        classify_response(cases[i].status, NO_RETRY_AFTER, cases[i].body, &result);
        if (strstr(result.error.text, "tok-012345") != NULL)
            fail_msg("case %zu: %s", i, result.error.text);
    }
    text_fini(&max);
    redact_forget_all();
}

/* The server's text is truncated between characters and has no control characters. */
static void test_errors_are_one_line_of_utf8(void **state)
{
    (void)state;
    struct text wide = {0};
    text_append(&wide, "{\"status\":\"x");
    for (int i = 0; i < 300; i++)
        text_append(&wide, "\xC3\xA4");
    text_append(&wide, "\"}");
    const char *const bodies[] = {
        wide.data,
        "{\"status\":\"fai\\nled\\u001b[31m\"}",
        "{\"status\":\"failed\",\"error\":{\"message\":\"a\\r\\nb\"}}",
    };
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
        struct gateway_result result;
        classify_response(200, NO_RETRY_AFTER, bodies[i], &result);
        const char *text = result.error.text;
        if (!utf8_is_one_line(text, strlen(text)))
            fail_msg("case %zu: %s", i, text);
    }
    text_fini(&wide);
}

/* RFC 8259, section 7: a control character in a string is escaped, so this is not JSON. */
static void test_raw_nul_in_a_response_is_a_failed_run(void **state)
{
    (void)state;
    static const char body[] =
        "{\"object\":\"response\",\"status\":\"completed\",\"output\":[{\"type\":\"message\","
        "\"role\":\"assistant\",\"content\":[{\"type\":\"output_text\",\"text\":\"a\0b\"}]}]}";
    const struct http_response answer = {
        .failure = HTTP_ANSWERED, .status = 200, .sent = true, .body = {body, sizeof body - 1}};
    struct gateway_result result = {.outcome = GATEWAY_DISABLED};
    gateway_classify(&answer, &result);
    assert_int_equal(result.outcome, GATEWAY_FAILED_RUN);
    assert_null(result.body);
    json_decref(result.body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wrong_token_path_or_redirect_is_misconfigured),
        cmocka_unit_test(test_retry_after_is_busy),
        cmocka_unit_test(test_errors_from_before_a_run_are_refused),
        cmocka_unit_test(test_any_other_answer_is_ambiguous),
        cmocka_unit_test(test_incomplete_resource_is_told),
        cmocka_unit_test(test_response_resource_in_an_error_is_a_failed_run),
        cmocka_unit_test(test_collision_of_tools_is_refused),
        cmocka_unit_test(test_success_without_a_reply_is_a_failed_run),
        cmocka_unit_test(test_completed_resource_is_a_reply),
        cmocka_unit_test(test_transport_failures),
        cmocka_unit_test(test_errors_quote_status_and_message),
        cmocka_unit_test(test_errors_contain_no_secret),
        cmocka_unit_test(test_errors_are_one_line_of_utf8),
        cmocka_unit_test(test_raw_nul_in_a_response_is_a_failed_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
