/* The doctor's judgements: clocks, hosts, and the backend's words. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cli/cli.h"

static void test_a_date_is_cut_to_seconds(void **state)
{
    (void)state;
    assert_int_equal(doctor_clock_ahead_ms(5000, 5000, 5010), 0);
    assert_int_equal(doctor_clock_ahead_ms(5000, 5999, 6100), 0);
    assert_int_equal(doctor_clock_ahead_ms(5000, 6000, 6100), 1);
    assert_int_equal(doctor_clock_ahead_ms(5000, 4000, 4999), -1);
}

static void test_a_slow_answer_is_no_skew(void **state)
{
    (void)state;
    assert_int_equal(doctor_clock_ahead_ms(5000, 1000, 11000), 0);
}

static void test_limits_of_the_clock(void **state)
{
    (void)state;
    assert_int_equal(doctor_rule_clock(0), REPORT_OK);
    assert_int_equal(doctor_rule_clock(30000), REPORT_OK);
    assert_int_equal(doctor_rule_clock(-30001), REPORT_WARN);
    assert_int_equal(doctor_rule_clock(300000), REPORT_WARN);
    assert_int_equal(doctor_rule_clock(300001), REPORT_FAIL);
    assert_int_equal(doctor_rule_clock(-300001), REPORT_FAIL);
}

static void expect_near(const char *string, bool near)
{
    struct url url;
    assert_null(url_parse(string, &url));
    if (doctor_is_near(&url) != near)
        fail_msg("%s", string);
}

static void test_hosts_that_are_near(void **state)
{
    (void)state;
    static const char *const near[] = {"http://localhost", "http://LOCALHOST:1", "http://127.0.0.1",
        "http://127.1.2.3", "http://[::1]", "http://openclaw-gateway:18789",
        "http://host.docker.internal", "http://a.localhost"};
    static const char *const far[] = {"http://example.com", "http://10.0.0.1", "http://[fe80::1]",
        "http://127.example.com", "http://localhost.example.com", "http://[::ffff:9.9.9.9]"};
    for (size_t i = 0; i < sizeof near / sizeof near[0]; i++)
        expect_near(near[i], true);
    for (size_t i = 0; i < sizeof far / sizeof far[0]; i++)
        expect_near(far[i], false);
}

static void test_refusals(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum token_refusal refusal;
    } cases[] = {
        {"Uncaught Error: Invalid service token", REFUSAL_TOKEN_WRONG},
        {"Uncaught Error: Invalid service token format", REFUSAL_TOKEN_WRONG},
        {"Forbidden: Account has no service token configured", REFUSAL_TOKEN_NOT_SET_UP},
        {"Forbidden: Service token does not match account at handler", REFUSAL_OTHER_ACCOUNT},
        {"Not found: Account does not exist", REFUSAL_NO_ACCOUNT},
        {"ArgumentValidationError: Value does not match validator.", REFUSAL_NO_ACCOUNT},
        {"Could not find public function for 'service/actions:listAgents'.", REFUSAL_NO_BACKEND},
        {"listAgents: [Request ID: 6f1c2a9b03de44aa] Server Error", REFUSAL_HIDDEN},
        {"[Request ID: 6f] Server Error Uncaught Error: Invalid service token",
            REFUSAL_TOKEN_WRONG},
        {"[Request ID: 6f] Server Error Uncaught TypeError: x", REFUSAL_OTHERWISE},
        {"Cannot run functions while this deployment is paused", REFUSAL_OTHERWISE},
        {"", REFUSAL_OTHERWISE},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        if (token_refusal(cases[i].text) != cases[i].refusal)
            fail_msg("%s", cases[i].text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_date_is_cut_to_seconds),
        cmocka_unit_test(test_a_slow_answer_is_no_skew),
        cmocka_unit_test(test_limits_of_the_clock),
        cmocka_unit_test(test_hosts_that_are_near),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests_name("doctor_rules", tests, NULL, NULL);
}
