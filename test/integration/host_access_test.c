/* DNS rebinding: which hosts the runtime's HTTP server and the sandbox may be asked for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "../lib/plain_http.h"
#include "../lib/test_env.h"

#define JSON_ONLY "Accept: application/json\r\n"
#define METRICS_ONLY "Accept: text/plain;version=0.0.4\r\n"

static unsigned sandbox_port; /* in the test of the sandbox */

/* The status for a request with that Host. */
static int status_for_host(
    unsigned port, const char *method, const char *path, const char *host, const char *headers)
{
    char fields[512];
    struct plain_response answer;
    snprintf(fields, sizeof fields, "Host: %s\r\nConnection: close\r\n%s", host, headers);
    plain_http_request(port, method, path, fields, &answer);
    int status = answer.status;
    if (status == 421)
        assert_non_null(
            strstr(answer.body, port == sandbox_port ? "--allow-host" : "ALLOWED_HOSTS"));
    plain_response_fini(&answer);
    return status;
}

static void test_foreign_hosts_are_refused(void **state)
{
    struct test_env *env = *state;
    static const char *const guarded[] = {
        "/", "/status", "/health", "/version", "/page.js", "/charts.js", "/page.css", "/icon.svg"};
    static const char *const open[] = {"/livez", "/readyz", "/metrics"};
    test_env_start_runtime(env, NULL);
    unsigned port = env->health_port;
    for (size_t i = 0; i < sizeof guarded / sizeof guarded[0]; i++) {
        assert_int_equal(status_for_host(port, "GET", guarded[i], "evil.example:3001", ""), 421);
        assert_int_equal(status_for_host(port, "GET", guarded[i], "localhost:3001", ""), 200);
    }
    for (size_t i = 0; i < sizeof open / sizeof open[0]; i++)
        assert_int_not_equal(status_for_host(port, "GET", open[i], "evil.example:3001", ""), 421);
    assert_int_equal(status_for_host(port, "GET", "/health", "evil.example", JSON_ONLY), 421);
    assert_int_equal(status_for_host(port, "GET", "/health", "evil.example", METRICS_ONLY), 200);
    assert_int_equal(status_for_host(port, "HEAD", "/status", "localhost", ""), 200);
    test_env_wait_log(env, "host=evil.example:3001");
    test_env_stop_runtime(env);
}

static void test_addresses_and_plain_names_pass(void **state)
{
    struct test_env *env = *state;
    static const char *const good[] = {"127.0.0.1", "127.0.0.1:3001", "10.1.2.3", "[::1]:3001",
        "runtime", "RUNTIME:3001", "localhost.", ""};
    static const char *const bad[] = {
        "127.0.0.1.evil.example", "evil.example.", "1.2.3", "runtime.local", "[evil.example]"};
    test_env_start_runtime(env, NULL);
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        assert_int_equal(status_for_host(env->health_port, "GET", "/status", good[i], ""), 200);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(status_for_host(env->health_port, "GET", "/status", bad[i], ""), 421);
    test_env_stop_runtime(env);
}

/* A target in absolute form replaces the Host (RFC 9112, section 3.2.2); two of them are an error.
 */
static void test_target_goes_before_the_host(void **state)
{
    struct test_env *env = *state;
    test_env_start_runtime(env, NULL);
    unsigned port = env->health_port;
    assert_int_equal(
        status_for_host(port, "GET", "http://evil.example/status", "localhost", ""), 421);
    assert_int_equal(
        status_for_host(port, "GET", "http://localhost/status", "evil.example", ""), 200);
    assert_int_equal(
        status_for_host(port, "GET", "/status", "localhost", "Host: evil.example\r\n"), 400);
    test_env_stop_runtime(env);
}

static void test_configured_hosts_pass(void **state)
{
    struct test_env *env = *state;
    test_env_start_runtime(
        env, STRINGS("HEALTH_ALLOWED_HOSTS=board.example, other.lan", "HEALTH_HOST=0.0.0.0",
                 "TASK_STATUS_BASE_URL=http://Agents.internal.example:3001"));
    static const char *const good[] = {
        "board.example:443", "OTHER.lan", "agents.internal.example", "agents.internal.example.:1"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        assert_int_equal(status_for_host(env->health_port, "GET", "/status", good[i], ""), 200);
    assert_int_equal(
        status_for_host(env->health_port, "GET", "/status", "x.board.example", ""), 421);
    test_env_stop_runtime(env);
}

static void test_agents_api_refuses_foreign_hosts(void **state)
{
    struct test_env *env = *state;
    test_env_start_runtime(env, NULL);
    unsigned port = env->health_port;
    assert_int_equal(status_for_host(port, "POST", "/agent/task-status", "evil.example",
                         "x-openclaw-session-key: k\r\nContent-Length: 0\r\n"),
        421);
    assert_int_equal(status_for_host(port, "GET", "/agent/none", "evil.example", ""), 421);
    assert_int_equal(
        status_for_host(port, "POST", "/agent/task-status", "runtime", "Content-Length: 0\r\n"),
        401);
    test_env_wait_words(env, "/metrics", "endpoint=\"task-status\",status=\"4xx\"} 2", true);
    test_env_stop_runtime(env);
}

static void test_listening_on_all_addresses_is_said(void **state)
{
    struct test_env *env = *state;
    test_env_start_runtime(env, STRINGS("HEALTH_HOST=0.0.0.0"));
    test_env_wait_log(env, "which is all addresses of this machine");
    test_env_stop_runtime(env);
}

static void test_sandbox_refuses_foreign_hosts(void **state)
{
    struct test_env *env = *state;
    unsigned port = test_env_sandbox_port(env);
    sandbox_port = port;
    static const char *const guarded[] = {"/", "/sandbox/state", "/sandbox/stats", "/app.js"};
    for (size_t i = 0; i < sizeof guarded / sizeof guarded[0]; i++) {
        assert_int_equal(status_for_host(port, "GET", guarded[i], "evil.example", ""), 421);
        assert_int_not_equal(status_for_host(port, "GET", guarded[i], "sandbox:3210", ""), 421);
        assert_int_not_equal(status_for_host(port, "GET", guarded[i], "127.0.0.1", ""), 421);
    }
    /* What asks for a token may have any name, as when a test moves the gateway. */
    assert_int_not_equal(
        status_for_host(port, "POST", "/v1/responses", "gw.test", "Content-Length: 0\r\n"), 421);
    assert_int_not_equal(
        status_for_host(port, "POST", "/api/action", "board.test", "Content-Length: 0\r\n"), 421);
    assert_int_equal(status_for_host(port, "POST", "/sandbox/reset", "evil.example",
                         "Origin: http://evil.example\r\nContent-Length: 0\r\n"),
        421);
}

static void test_sandbox_allows_names_and_says_where_it_listens(void **state)
{
    struct test_env *env = *state;
    static const char *const good[] = {"board.example", "OTHER.lan:80", "127.0.0.1", "sandbox"};
    char port_text[16];
    env->runtime_program = "mission-control-sandbox";
    test_env_launch(env, &env->second, NULL,
        STRINGS("--port", "0", "--host", "0.0.0.0", "--allow-host", "board.example,other.lan"));
    assert_true(process_wait_output(
        &env->second, "on http://0.0.0.0:", TEST_WAIT_MS, port_text, sizeof port_text));
    assert_true(process_wait_output(
        &env->second, "listening on all addresses of this machine", TEST_WAIT_MS, NULL, 0));
    sandbox_port = (unsigned)strtoul(port_text, NULL, 10);
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        assert_int_equal(status_for_host(sandbox_port, "GET", "/sandbox/info", good[i], ""), 200);
    assert_int_equal(
        status_for_host(sandbox_port, "GET", "/sandbox/info", "x.board.example", ""), 421);
    process_signal(&env->second, SIGTERM);
    assert_int_equal(process_wait_exit(&env->second, TEST_WAIT_MS), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_IN_ENV(test_foreign_hosts_are_refused),
        TEST_IN_ENV(test_addresses_and_plain_names_pass),
        TEST_IN_ENV(test_target_goes_before_the_host),
        TEST_IN_ENV(test_configured_hosts_pass),
        TEST_IN_ENV_WITH(test_agents_api_refuses_foreign_hosts, .backend = "v1"),
        TEST_IN_ENV(test_listening_on_all_addresses_is_said),
        TEST_IN_ENV(test_sandbox_refuses_foreign_hosts),
        TEST_IN_ENV(test_sandbox_allows_names_and_says_where_it_listens),
    };
    return cmocka_run_group_tests_name("host access", tests, NULL, NULL);
}
