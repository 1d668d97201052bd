/* What the backend's answers mean, and what of their words is passed on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "backend/convex.h"

static struct error error;

/* The outcome, with its words in error. */
static enum convex_outcome classify(int status, const char *body)
{
    const struct http_response answer = {
        .failure = HTTP_ANSWERED, .status = status, .body = {body, strlen(body)}};
    json_t *value = NULL;
    error = (struct error){0};
    enum convex_outcome outcome = convex_classify(&answer, CONVEX_PLAIN, &value, &error);
    json_decref(value);
    return outcome;
}

static void test_both_statuses_carry_the_envelope(void **state)
{
    (void)state;
    static const int statuses[] = {200, 560};
    for (size_t i = 0; i < sizeof statuses / sizeof statuses[0]; i++) {
        assert_int_equal(
            classify(statuses[i], "{\"status\":\"success\",\"value\":null}"), CONVEX_SUCCESS);
        assert_int_equal(classify(statuses[i], "{\"status\":\"error\",\"errorMessage\":\"no\"}"),
            CONVEX_FUNCTION_ERROR);
        assert_string_equal(error.text, "no");
        assert_int_equal(classify(statuses[i], "{\"status\":\"success\"}"), CONVEX_UNAVAILABLE);
    }
}

static void test_other_statuses_may_pass_or_not(void **state)
{
    (void)state;
    assert_int_equal(classify(503, "busy"), CONVEX_UNAVAILABLE);
    assert_string_equal(error.text, "HTTP 503: busy");
    assert_int_equal(classify(429, ""), CONVEX_UNAVAILABLE);
    assert_string_equal(error.text, "HTTP 429");
    assert_int_equal(classify(400, "{\"code\":\"BadJson\"}"), CONVEX_REJECTED);
    assert_string_equal(error.text, "HTTP 400: {\"code\":\"BadJson\"}");
}

/* What was sent may hold an agent's reply. */
static void test_words_that_repeat_the_request_are_left_out(void **state)
{
    (void)state;
    classify(200,
        "{\"status\":\"error\",\"errorMessage\":\"ArgumentValidationError: Object contains "
        "extra field `x`.\\n\\nObject: {content: \\\"hunter2\\\"}\"}");
    assert_non_null(strstr(error.text, "extra field `x`"));
    assert_null(strstr(error.text, "hunter2"));
    classify(
        400, "cannot read {\"path\":\"service/actions:x\",\"args\":[{\"content\":\"hunter2\"}]}");
    assert_non_null(strstr(error.text, "cannot read"));
    assert_null(strstr(error.text, "hunter2"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_both_statuses_carry_the_envelope),
        cmocka_unit_test(test_other_statuses_may_pass_or_not),
        cmocka_unit_test(test_words_that_repeat_the_request_are_left_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
