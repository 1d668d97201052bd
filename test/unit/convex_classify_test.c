/* Classification of the backend's responses, and the error texts taken from them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "backend/convex.h"

static struct error error;

/* Returns the outcome and sets error to its text. */
static enum convex_outcome classify_response(int status, const char *body)
{
    const struct http_response answer = {
        .failure = HTTP_ANSWERED, .status = status, .body = {body, strlen(body)}};
    json_t *value = NULL;
    error = (struct error){0};
    enum convex_outcome outcome = convex_classify(&answer, CONVEX_PLAIN, &value, &error);
    json_decref(value);
    return outcome;
}

static void test_status_200_and_560_carry_the_envelope(void **state)
{
    (void)state;
    static const int statuses[] = {200, 560};
    for (size_t i = 0; i < sizeof statuses / sizeof statuses[0]; i++) {
        assert_int_equal(classify_response(statuses[i], "{\"status\":\"success\",\"value\":null}"),
            CONVEX_SUCCESS);
        assert_int_equal(
            classify_response(statuses[i], "{\"status\":\"error\",\"errorMessage\":\"no\"}"),
            CONVEX_FUNCTION_ERROR);
        assert_string_equal(error.text, "no");
        assert_int_equal(
            classify_response(statuses[i], "{\"status\":\"success\"}"), CONVEX_UNAVAILABLE);
    }
}

static void test_other_statuses_are_transient_or_rejections(void **state)
{
    (void)state;
    assert_int_equal(classify_response(503, "busy"), CONVEX_UNAVAILABLE);
    assert_string_equal(error.text, "HTTP 503: busy");
    assert_int_equal(classify_response(429, ""), CONVEX_UNAVAILABLE);
    assert_string_equal(error.text, "HTTP 429");
    assert_int_equal(classify_response(400, "{\"code\":\"BadJson\"}"), CONVEX_REJECTED);
    assert_string_equal(error.text, "HTTP 400: {\"code\":\"BadJson\"}");
}

/* The request may contain an agent's reply, which must not be logged. */
static void test_errors_do_not_quote_the_request(void **state)
{
    (void)state;
    classify_response(200,
        "{\"status\":\"error\",\"errorMessage\":\"ArgumentValidationError: Object contains "
        "extra field `x`.\\n\\nObject: {content: \\\"hunter2\\\"}\"}");
    assert_non_null(strstr(error.text, "extra field `x`"));
    assert_null(strstr(error.text, "hunter2"));
    classify_response(
        400, "cannot read {\"path\":\"service/actions:x\",\"args\":[{\"content\":\"hunter2\"}]}");
    assert_non_null(strstr(error.text, "cannot read"));
    assert_null(strstr(error.text, "hunter2"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_status_200_and_560_carry_the_envelope),
        cmocka_unit_test(test_other_statuses_are_transient_or_rejections),
        cmocka_unit_test(test_errors_do_not_quote_the_request),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
