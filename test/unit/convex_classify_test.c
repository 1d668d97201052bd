/* Classification of the backend's responses, and the error texts taken from them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
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

/* What went wrong is told in full, but not where in the backend's sources. */
static void test_errors_end_before_the_stack_trace(void **state)
{
    (void)state;
    assert_int_equal(
        classify_response(560,
            "{\"status\":\"error\",\"errorMessage\":\"[Request ID: 6f1c2a9b03de44aa] Server "
            "Error\\n"
            "Uncaught Error: Invalid service token\\n    at handler (../convex/a.ts:41:11)\\n"
            "    at async invoke (../x.ts:1:1)\\n\"}"),
        CONVEX_FUNCTION_ERROR);
    assert_string_equal(error.text,
        "[Request ID: 6f1c2a9b03de44aa] Server Error Uncaught Error: Invalid service token");
    assert_int_equal(
        classify_response(560,
            "{\"status\":\"error\",\"errorMessage\":\"Uncaught Error: first\\nsecond, at 3\\n\"}"),
        CONVEX_FUNCTION_ERROR);
    assert_string_equal(error.text, "Uncaught Error: first second, at 3");
}

/* No word of it may be taken for a secret, as redact() takes what follows "token:". */
static void expect_shown_in_full(enum convex_problem problem)
{
    char sentence[512];
    char shown[512];
    snprintf(sentence, sizeof sentence, "The backend cannot be polled: %s; %s",
        convex_problem_cause(problem), convex_problem_fix(problem));
    text_quote(shown, sizeof shown, sentence, strlen(sentence));
    assert_string_equal(shown, sentence);
}

/* Each failure has the advice that an operator needs for it. */
static void test_problems_are_told_apart(void **state)
{
    (void)state;
    static const struct {
        enum convex_outcome outcome;
        enum convex_problem problem;
        struct http_response answer;
        const char *text;
    } cases[] = {
        {CONVEX_SUCCESS, PROBLEM_NONE, {.status = 200}, ""},
        {CONVEX_ABORTED, PROBLEM_NONE, {.failure = HTTP_ABORTED}, ""},
        {CONVEX_UNAVAILABLE, PROBLEM_NONE, {.failure = HTTP_NO_MEMORY}, ""},
        {CONVEX_UNAVAILABLE, PROBLEM_NONE, {.failure = HTTP_TOO_LARGE}, ""},
        {CONVEX_UNAVAILABLE, PROBLEM_NAME, {.failure = HTTP_NOT_SENT, .step = HTTP_STEP_LOOKUP},
            ""},
        {CONVEX_UNAVAILABLE, PROBLEM_CONNECTION,
            {.failure = HTTP_NOT_SENT, .step = HTTP_STEP_CONNECT}, ""},
        {CONVEX_UNAVAILABLE, PROBLEM_DESCRIPTORS,
            {.failure = HTTP_NOT_SENT, .step = HTTP_STEP_LOOKUP, .short_of_descriptors = true}, ""},
        {CONVEX_UNAVAILABLE, PROBLEM_TLS, {.failure = HTTP_NOT_SENT, .step = HTTP_STEP_TLS}, ""},
        {CONVEX_UNAVAILABLE, PROBLEM_CERTIFICATE,
            {.failure = HTTP_NOT_SENT, .step = HTTP_STEP_TLS, .certificate_refused = true}, ""},
        {CONVEX_UNAVAILABLE, PROBLEM_SILENCE,
            {.failure = HTTP_TIMED_OUT, .step = HTTP_STEP_EXCHANGE}, ""},
        {CONVEX_UNAVAILABLE, PROBLEM_SERVER, {.failure = HTTP_LOST, .step = HTTP_STEP_EXCHANGE},
            ""},
        {CONVEX_UNAVAILABLE, PROBLEM_SERVER, {.status = 503}, "HTTP 503"},
        {CONVEX_UNAVAILABLE, PROBLEM_URL, {.status = 200}, "not a Convex response"},
        {CONVEX_REJECTED, PROBLEM_URL, {.status = 404}, "HTTP 404"},
        {CONVEX_REJECTED, PROBLEM_LOGIN, {.status = 401}, "HTTP 401"},
        {CONVEX_REJECTED, PROBLEM_LOGIN, {.status = 403}, "HTTP 403"},
        {CONVEX_FUNCTION_ERROR, PROBLEM_TOKEN, {.status = 560}, "Invalid service token"},
        {CONVEX_FUNCTION_ERROR, PROBLEM_NO_TOKEN, {.status = 560},
            "Account has no service token configured"},
        {CONVEX_FUNCTION_ERROR, PROBLEM_OTHER_ACCOUNT, {.status = 560},
            "Service token does not match account"},
        {CONVEX_FUNCTION_ERROR, PROBLEM_NO_ACCOUNT, {.status = 560}, "Account does not exist"},
        {CONVEX_FUNCTION_ERROR, PROBLEM_OTHER_BACKEND, {.status = 560},
            "Could not find public function"},
        {CONVEX_FUNCTION_ERROR, PROBLEM_HIDDEN, {.status = 560}, "[Request ID: 01] Server Error"},
        {CONVEX_FUNCTION_ERROR, PROBLEM_FUNCTION, {.status = 560}, "Uncaught TypeError: x"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        enum convex_problem found =
            convex_problem_find(cases[i].outcome, &cases[i].answer, cases[i].text);
        if (found != cases[i].problem)
            fail_msg("case %zu: %d instead of %d", i, (int)found, (int)cases[i].problem);
        assert_int_equal(convex_problem_cause(found)[0] == '\0', found == PROBLEM_NONE);
        assert_int_equal(convex_problem_fix(found)[0] == '\0', found == PROBLEM_NONE);
        expect_shown_in_full(found);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_status_200_and_560_carry_the_envelope),
        cmocka_unit_test(test_other_statuses_are_transient_or_rejections),
        cmocka_unit_test(test_errors_do_not_quote_the_request),
        cmocka_unit_test(test_errors_end_before_the_stack_trace),
        cmocka_unit_test(test_problems_are_told_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
