/* The sandbox's timestamps of a notification's path, which the benchmarks rely on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../lib/board.h"

static void deliver_one(struct test_env *env)
{
    json_decref(board_load(env, 1, 1));
    test_env_start_runtime(env, NULL);
    test_env_wait(env, "delivered=1");
    test_env_stop_runtime(env);
}

static void test_timestamps_are_in_order(void **state)
{
    static const char *const points[] = {"listed_us", "context_us", "context_answered_us",
        "asked_us", "answered_us", "reply_us", "reply_answered_us", "mark_us", "mark_answered_us"};
    struct test_env *env = *state;
    board_set_flag(env, "timings", true);
    deliver_one(env);
    json_t *answer = test_env_get(env, "/sandbox/timings");
    json_t *timings = json_object_get(answer, "timings");
    assert_int_equal(json_array_size(timings), 1);
    json_int_t before_us = 1;
    for (size_t i = 0; i < sizeof points / sizeof *points; i++) {
        json_int_t at_us =
            json_integer_value(json_object_get(json_array_get(timings, 0), points[i]));
        assert_true(at_us >= before_us);
        before_us = at_us;
    }
    json_decref(answer);
    assert_true(test_env_stat(env, NULL, "listed") >= 1);
}

static void test_no_timestamps_unless_enabled(void **state)
{
    struct test_env *env = *state;
    deliver_one(env);
    json_t *answer = test_env_get(env, "/sandbox/timings");
    assert_int_equal(json_array_size(json_object_get(answer, "timings")), 0);
    json_decref(answer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_ON_BOTH(test_timestamps_are_in_order),
        TEST_ON_BOTH(test_no_timestamps_unless_enabled),
    };
    return cmocka_run_group_tests_name("timings", tests, NULL, NULL);
}
