/* /livez and /readyz of a running process, and the methods that its HTTP server accepts. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "../lib/board.h"
#include "../lib/plain_http.h"
#include "base/sync.h"

static const char *const short_backoff[] = {
    "DELIVERY_BACKOFF_BASE_MS=20", "DELIVERY_BACKOFF_MAX_MS=50", NULL};

/* Whether GET path is answered with status and a body that contains words. */
static bool probe_answers(struct test_env *env, const char *path, int status, const char *words)
{
    struct plain_response answer;
    plain_http_request(env->health_port, "GET", path, "", &answer);
    bool matches = answer.status == status && strstr(answer.body, words) != NULL;
    plain_response_fini(&answer);
    return matches;
}

static void wait_probe(struct test_env *env, const char *path, int status, const char *words)
{
    int64_t deadline_ms = clock_monotonic_ms() + (int64_t)TEST_WAIT_MS * process_timeout_scale();
    while (!probe_answers(env, path, status, words)) {
        if (clock_monotonic_ms() > deadline_ms) {
            process_dump_output(&env->runtime, "runtime");
            fail_msg("%s never answered %d with %s", path, status, words);
        }
    }
}

static void test_ready_once_backend_and_gateway_answer(void **state)
{
    struct test_env *env = *state;
    board_backend_fault(env, json_pack("{s:s, s:s, s:s}", "action", "listUndeliveredNotifications",
                                 "behaviour", "hold", "name", "list"));
    test_env_start_runtime(env, NULL);
    test_env_wait(env, "held=1");
    wait_probe(env, "/readyz", 503, "\"failing\":[\"backend\"]");
    assert_true(probe_answers(env, "/readyz", 503, "\"backend\":\"not polled yet\""));
    assert_true(probe_answers(env, "/livez", 200, "{\"status\":\"alive\"}"));
    board_clear_faults(env);
    wait_probe(env, "/readyz", 200, "{\"status\":\"ready\"}");
    assert_true(probe_answers(env, "/readyz?verbose", 200, "\"gateway\":\"ok\""));
    assert_true(probe_answers(env, "/livez?verbose", 200, "\"threads\":\"ok\""));
    test_env_stop_runtime(env);
}

static void test_not_ready_while_the_backend_fails(void **state)
{
    struct test_env *env = *state;
    test_env_start_runtime(env, short_backoff);
    wait_probe(env, "/readyz", 200, "ready");
    board_backend_fault(env, json_pack("{s:s}", "behaviour", "drop_before"));
    wait_probe(env, "/readyz", 503, "\"failing\":[\"backend\"]");
    assert_true(probe_answers(env, "/livez", 200, "alive"));
    board_clear_faults(env);
    wait_probe(env, "/readyz", 200, "ready");
    test_env_stop_runtime(env);
}

static void test_not_ready_while_the_breaker_is_open(void **state)
{
    struct test_env *env = *state;
    board_set_flag(env, "gateway_disabled", true);
    test_env_start_runtime(env, NULL);
    wait_probe(
        env, "/readyz", 503, "\"failing\":[\"gateway\"],\"checks\":{\"gateway\":\"unavailable");
    assert_true(probe_answers(env, "/readyz?verbose", 503, "\"backend\":\"ok\""));
    board_set_flag(env, "gateway_disabled", false);
    wait_probe(env, "/readyz", 200, "ready");
    test_env_stop_runtime(env);
}

static void test_not_ready_from_the_start_of_shutdown(void **state)
{
    struct test_env *env = *state;
    json_decref(board_load(env, 1, 1));
    board_hold_agents(env, "agent");
    test_env_start_runtime(env, NULL);
    test_env_wait(env, "in_flight=1");
    wait_probe(env, "/readyz", 200, "ready");
    process_signal(&env->runtime, SIGTERM);
    wait_probe(
        env, "/readyz", 503, "\"failing\":[\"process\"],\"checks\":{\"process\":\"stopping\"}");
    test_env_wait_log(env, "wake-ups in flight");
    for (int i = 0; i < 20; i++)
        assert_true(probe_answers(env, "/livez", 200, "alive"));
    assert_true(probe_answers(env, "/metrics", 200, "\nmission_control_workers_busy 1\n"));
    board_release(env, "agent");
    assert_int_equal(process_wait_exit(&env->runtime, TEST_WAIT_MS), 0);
}

static void expect_error(struct test_env *env, const char *method, const char *path, int status)
{
    struct plain_response answer;
    plain_http_request(env->health_port, method, path, "", &answer);
    assert_int_equal(answer.status, status);
    assert_non_null(strstr(answer.header, "Content-Type: application/json\r\n"));
    assert_non_null(strstr(answer.header, "Cache-Control: no-store\r\n"));
    assert_memory_equal(answer.body, "{\"error\":\"", strlen("{\"error\":\""));
    plain_response_fini(&answer);
}

static void test_other_methods_and_paths_are_refused(void **state)
{
    static const char *const paths[] = {"/health", "/metrics", "/livez", "/readyz", "/version"};
    struct test_env *env = *state;
    struct plain_response answer;
    test_env_start_runtime(env, NULL);
    wait_probe(env, "/readyz", 200, "ready");
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        plain_http_request(env->health_port, "HEAD", paths[i], "", &answer);
        assert_int_equal(answer.status, 200);
        assert_string_equal(answer.body, "");
        assert_null(strstr(answer.header, "Content-Length: 0\r\n"));
        plain_response_fini(&answer);
        expect_error(env, "POST", paths[i], 405);
        expect_error(env, "DELETE", paths[i], 405);
    }
    expect_error(env, "GET", "/readyz/", 404);
    expect_error(env, "GET", "/metric", 404);
    test_env_stop_runtime(env);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_IN_ENV(test_ready_once_backend_and_gateway_answer),
        TEST_IN_ENV(test_not_ready_while_the_backend_fails),
        TEST_IN_ENV(test_not_ready_while_the_breaker_is_open),
        TEST_IN_ENV(test_not_ready_from_the_start_of_shutdown),
        TEST_IN_ENV(test_other_methods_and_paths_are_refused),
    };
    return cmocka_run_group_tests_name("probes", tests, NULL, NULL);
}
