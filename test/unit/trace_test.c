/* The traceparent header of W3C Trace Context. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/log.h"

/* In form, 'x' matches a lower-case hexadecimal digit. */
static void expect_form(const char *text, const char *form)
{
    assert_int_equal(strlen(text), strlen(form));
    for (size_t i = 0; form[i] != '\0'; i++)
        if (form[i] == 'x' ? strchr("0123456789abcdef", text[i]) == NULL : text[i] != form[i])
            fail_msg("not of the form %s: %s", form, text);
}

static void test_header_has_the_w3c_form(void **state)
{
    (void)state;
    struct trace trace = {.id = ""};
    char header[TRACE_HEADER_BYTES];
    trace_begin(&trace);
    expect_form(trace.id, "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx");
    assert_true(trace_header(&trace, header));
    expect_form(header, "traceparent: 00-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx-xxxxxxxxxxxxxxxx-01");
    assert_memory_equal(header + strlen("traceparent: 00-"), trace.id, strlen(trace.id));
}

static void test_requests_share_the_trace_id_only(void **state)
{
    (void)state;
    struct trace trace;
    struct trace other;
    char first[TRACE_HEADER_BYTES];
    char second[TRACE_HEADER_BYTES];
    trace_begin(&trace);
    trace_begin(&other);
    assert_string_not_equal(trace.id, other.id);
    assert_true(trace_header(&trace, first));
    assert_true(trace_header(&trace, second));
    size_t shared_bytes = strlen("traceparent: 00-") + strlen(trace.id) + 1;
    assert_memory_equal(first, second, shared_bytes);
    assert_memory_not_equal(first + shared_bytes, second + shared_bytes, 16);
}

static void test_without_trace_there_is_no_header(void **state)
{
    (void)state;
    static const struct trace none = {.id = ""};
    char header[TRACE_HEADER_BYTES] = "x";
    assert_false(trace_header(NULL, header));
    assert_string_equal(header, "");
    assert_false(trace_header(&none, header));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_header_has_the_w3c_form),
        cmocka_unit_test(test_requests_share_the_trace_id_only),
        cmocka_unit_test(test_without_trace_there_is_no_header),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
