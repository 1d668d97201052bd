/* `healthcheck` against a runtime that is healthy, degraded or down, and against another server. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

#include "../lib/board.h"
#include "../lib/loopback.h"
#include "../lib/stub_server.h"

/* Fails the test unless the command, asked about port, exits with status and prints words. */
static void expect_healthcheck(struct test_env *env, unsigned port, int status, const char *words)
{
    char setting[64];
    snprintf(setting, sizeof setting, "HEALTH_PORT=%u", port);
    test_env_launch(env, &env->second, STRINGS(setting, "http_proxy=http://127.0.0.1:1"),
        STRINGS("healthcheck"));
    int exit_status = process_wait_exit(&env->second, TEST_WAIT_MS);
    if (exit_status != status || !process_wait_output(&env->second, words, TEST_WAIT_MS, NULL, 0)) {
        process_dump_output(&env->second, "healthcheck");
        fail_msg("expected status %d and \"%s\", got status %d", status, words, exit_status);
    }
}

static void test_healthy_runtime_exits_0(void **state)
{
    struct test_env *env = *state;
    test_env_start_runtime(env, NULL);
    test_env_wait_words(env, "/health", "\"status\": \"healthy\"", true);
    expect_healthcheck(env, env->health_port, 0, "healthy\n");
    test_env_stop_runtime(env);
}

static void test_degraded_runtime_exits_0(void **state)
{
    struct test_env *env = *state;
    test_env_start_runtime(env, STRINGS("OPENCLAW_GATEWAY_URL="));
    expect_healthcheck(env, env->health_port, 0, "degraded\n");
    test_env_stop_runtime(env);
}

static void test_refused_connection_exits_1(void **state)
{
    struct test_env *env = *state;
    unsigned port;
    int fd = loopback_reserve(&port);
    char words[128];
    snprintf(words, sizeof words, "healthcheck: http://127.0.0.1:%u/health: ", port);
    expect_healthcheck(env, port, 1, words);
    assert_true(process_has_output(&env->second, "connect"));
    close(fd);
}

static void test_other_http_status_exits_1(void **state)
{
    struct test_env *env = *state;
    struct stub_server *server =
        stub_server_start("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n");
    expect_healthcheck(env, stub_server_port(server), 1, "answered with status 503, not 200\n");
    stub_server_stop(server);
}

static void test_silent_server_times_out(void **state)
{
    struct test_env *env = *state;
    struct stub_server *server = stub_server_start(NULL);
    expect_healthcheck(env, stub_server_port(server), 1, "timed out after 5");
    stub_server_stop(server);
}

static void test_port_0_exits_1(void **state)
{
    expect_healthcheck(*state, 0, 1, "healthcheck: HEALTH_PORT is 0: ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_IN_ENV(test_healthy_runtime_exits_0),
        TEST_IN_ENV(test_degraded_runtime_exits_0),
        TEST_IN_ENV(test_refused_connection_exits_1),
        TEST_IN_ENV(test_other_http_status_exits_1),
        TEST_IN_ENV(test_silent_server_times_out),
        TEST_IN_ENV(test_port_0_exits_1),
    };
    return cmocka_run_group_tests_name("healthcheck", tests, NULL, NULL);
}
