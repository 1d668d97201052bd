/* The command healthcheck beside a runtime that is up, degraded, down, or somebody else. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "../lib/board.h"
#include "../lib/stub_server.h"

/* Runs the command against a port, and expects its status and words. */
static void expect_health(struct test_env *env, unsigned port, int status, const char *words)
{
    char setting[64];
    snprintf(setting, sizeof setting, "HEALTH_PORT=%u", port);
    test_env_launch(env, &env->second,
        (const char *[]){setting, "http_proxy=http://127.0.0.1:1", NULL},
        (const char *[]){"healthcheck", NULL});
    int ended_with = process_wait_exit(&env->second, TEST_WAIT_MS);
    if (ended_with != status || !process_wait_output(&env->second, words, TEST_WAIT_MS, NULL, 0)) {
        process_dump_output(&env->second, "healthcheck");
        fail_msg("expected status %d and \"%s\", got status %d", status, words, ended_with);
    }
}

static void test_healthy(void **state)
{
    struct test_env *env = *state;
    test_env_start_runtime(env, NULL);
    test_env_wait(env, "calls=1&action=listUndeliveredNotifications");
    expect_health(env, env->health_port, 0, "healthy\n");
    test_env_stop_runtime(env);
}

static void test_degraded_is_up(void **state)
{
    struct test_env *env = *state;
    test_env_start_runtime(env, (const char *[]){"OPENCLAW_GATEWAY_URL=", NULL});
    expect_health(env, env->health_port, 0, "degraded\n");
    test_env_stop_runtime(env);
}

static void test_down(void **state)
{
    struct test_env *env = *state;
    struct stub_server *server = stub_server_start(NULL);
    unsigned port = stub_server_port(server);
    stub_server_stop(server);
    char words[128];
    snprintf(words, sizeof words, "healthcheck: http://127.0.0.1:%u/health: ", port);
    expect_health(env, port, 1, words);
    assert_true(process_has_output(&env->second, "connect"));
}

static void test_another_status_is_a_failure(void **state)
{
    struct test_env *env = *state;
    struct stub_server *server =
        stub_server_start("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n");
    expect_health(env, stub_server_port(server), 1, "answered with status 503, not 200\n");
    stub_server_stop(server);
}

static void test_silence_ends_by_itself(void **state)
{
    struct test_env *env = *state;
    struct stub_server *server = stub_server_start(NULL);
    expect_health(env, stub_server_port(server), 1, "timed out after 5");
    stub_server_stop(server);
}

static void test_port_0_cannot_be_known(void **state)
{
    expect_health(*state, 0, 1, "healthcheck: HEALTH_PORT is 0: ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_IN_ENV(test_healthy),
        TEST_IN_ENV(test_degraded_is_up),
        TEST_IN_ENV(test_down),
        TEST_IN_ENV(test_another_status_is_a_failure),
        TEST_IN_ENV(test_silence_ends_by_itself),
        TEST_IN_ENV(test_port_0_cannot_be_known),
    };
    return cmocka_run_group_tests_name("healthcheck", tests, NULL, NULL);
}
