/* The doctor's rules: clock skew and local hosts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cli/cli.h"

static void test_skew_limits(void **state)
{
    (void)state;
    assert_int_equal(doctor_judge_clock(0), DOCTOR_OK);
    assert_int_equal(doctor_judge_clock(30000), DOCTOR_OK);
    assert_int_equal(doctor_judge_clock(-30001), DOCTOR_WARN);
    assert_int_equal(doctor_judge_clock(300000), DOCTOR_WARN);
    assert_int_equal(doctor_judge_clock(300001), DOCTOR_FAIL);
    assert_int_equal(doctor_judge_clock(-300001), DOCTOR_FAIL);
}

static void expect_is_near(const char *string, bool near)
{
    struct url url;
    assert_null(url_parse(string, &url));
    if (doctor_is_local(&url) != near)
        fail_msg("%s", string);
}

static void test_local_hosts_are_near(void **state)
{
    (void)state;
    static const char *const near[] = {"http://localhost", "http://LOCALHOST:1", "http://127.0.0.1",
        "http://127.1.2.3", "http://[::1]", "http://openclaw-gateway:18789",
        "http://host.docker.internal", "http://a.localhost"};
    static const char *const far[] = {"http://example.com", "http://10.0.0.1", "http://[fe80::1]",
        "http://127.example.com", "http://localhost.example.com", "http://[::ffff:9.9.9.9]"};
    for (size_t i = 0; i < sizeof near / sizeof near[0]; i++)
        expect_is_near(near[i], true);
    for (size_t i = 0; i < sizeof far / sizeof far[0]; i++)
        expect_is_near(far[i], false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_skew_limits),
        cmocka_unit_test(test_local_hosts_are_near),
    };
    return cmocka_run_group_tests_name("doctor_rules", tests, NULL, NULL);
}
