/* The doctor's rules: clock skew. */
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_skew_limits),
    };
    return cmocka_run_group_tests_name("doctor_rules", tests, NULL, NULL);
}
