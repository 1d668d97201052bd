/* What `doctor` reports when the backend, the gateway or the network between is broken. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "../lib/board.h"
#include "../lib/doctor.h"
#include "../lib/loopback.h"
#include "../lib/stub_server.h"
#include "../lib/tls_proxy.h"

static void test_wrong_or_missing_gateway_token_is_found(void **state)
{
    struct test_env *env = *state;
    doctor_expect_read_only(env, STRINGS("OPENCLAW_GATEWAY_TOKEN=" DOCTOR_WRONG_GATEWAY_TOKEN), 1,
        STRINGS("ok    gateway endpoint    enabled\n",
            "FAIL  gateway token       refused: it is not the gateway's; fix: set "
            "OPENCLAW_GATEWAY_TOKEN ",
            "skip  gateway agents      because gateway token failed\n"));
    doctor_expect_read_only(env, STRINGS("OPENCLAW_GATEWAY_TOKEN="), 1,
        STRINGS(
            "FAIL  gateway token       refused: the gateway requires one, and none is set; fix: "));
}

/* As the gateway answers an address with too many wrong tokens, whatever token it sends. */
static void lock_out(struct test_env *env, const char *header)
{
    board_gateway_fault(
        env, json_pack("{s:b, s:s, s:i, s:{s:s}, s:{s:{s:s, s:s}}}", "before_checks", true,
                 "action", "status", "status", 429, "headers", header, "290", "body_json", "error",
                 "message", "Too many failed authentication attempts. Please try again later.",
                 "type", "rate_limited"));
}

/* The token of these settings is the right one. */
static void test_lockout_after_wrong_tokens_is_explained(void **state)
{
    struct test_env *env = *state;
    static const char detail[] =
        "FAIL  gateway token       not checked: the gateway has locked out this address after too "
        "many wrong tokens and refuses even the right one for now (OpenClaw gateway returned 429";
    lock_out(env, "Retry-After");
    doctor_expect_read_only(env, NULL, 1,
        STRINGS("ok    gateway endpoint    enabled\n", detail,
            "; fix: stop what uses a wrong token from here, wait 290 s, and run the doctor again",
            "skip  gateway agents      because gateway token failed\n"));
    board_clear_faults(env);
    lock_out(env, "X-Nothing");
    doctor_expect_read_only(env, NULL, 1, STRINGS(detail, ", wait up to 5 minutes, and run"));
}

/* Fails the test unless the doctor repeats the reason that the running runtime gives. */
static void expect_reason_of_runtime(struct test_env *env, const char *words)
{
    char port[32];
    char line[1024];
    json_t *health = test_env_health_json(env, "/health");
    const char *reason = board_string(json_object_get(health, "gateway"), "reason");
    assert_non_null(strstr(reason, words));
    snprintf(line, sizeof line,
        "FAIL  gateway token       the running runtime reports: %s; fix: ", reason);
    snprintf(port, sizeof port, "HEALTH_PORT=%u", env->health_port);
    doctor_expect_output(env, STRINGS(port, "OPENCLAW_GATEWAY_TOKEN=" DOCTOR_WRONG_GATEWAY_TOKEN),
        STRINGS("doctor"), 1,
        STRINGS(line, "set OPENCLAW_GATEWAY_TOKEN to the gateway's gateway.auth.token",
            "takes it again in 290 s", "skip  gateway agents "));
    json_decref(health);
}

static void test_lockout_is_explained_as_by_the_running_runtime(void **state)
{
    struct test_env *env = *state;
    test_env_start_runtime(env, STRINGS("OPENCLAW_GATEWAY_TOKEN=" DOCTOR_WRONG_GATEWAY_TOKEN));
    test_env_wait_log(env, "check OPENCLAW_GATEWAY_TOKEN");
    lock_out(env, "Retry-After");
    expect_reason_of_runtime(env, "the gateway rejects it (OpenClaw gateway returned 401");
    test_env_stop_runtime(env);
    /* The next runtime never sees the refusal that the lockout follows from. */
    test_env_start_runtime(env, STRINGS("OPENCLAW_GATEWAY_TOKEN=" DOCTOR_WRONG_GATEWAY_TOKEN));
    test_env_wait_log(env, "check OPENCLAW_GATEWAY_TOKEN");
    expect_reason_of_runtime(env, "has locked out this address after too many wrong tokens");
    test_env_stop_runtime(env);
}

static void test_disabled_or_draining_gateway_is_found(void **state)
{
    struct test_env *env = *state;
    board_set(env, json_pack("{s:b}", "gateway_disabled", 1));
    doctor_expect_read_only(env, NULL, 1,
        STRINGS("FAIL  gateway endpoint    there is no /v1/responses (404); fix: set "
                "gateway.http.endpoints.responses.enabled ",
            "skip  gateway token       because gateway endpoint failed\n"));
    board_set(env, json_pack("{s:b, s:b}", "gateway_disabled", 0, "gateway_draining", 1));
    doctor_expect_read_only(env, NULL, 1,
        STRINGS("FAIL  gateway endpoint    OpenClaw gateway returned 503: ", "; fix: wait until "));
    doctor_expect_read_only(env, STRINGS("OPENCLAW_GATEWAY_URL="), 0,
        STRINGS("warn  gateway endpoint    disabled on purpose: ", "No check failed"));
}

static void test_control_ui_in_place_of_the_endpoint_is_found(void **state)
{
    struct test_env *env = *state;
    char url[96];
    struct stub_server *gateway = stub_server_start_control_ui();
    snprintf(
        url, sizeof url, "OPENCLAW_GATEWAY_URL=http://127.0.0.1:%u", stub_server_port(gateway));
    doctor_seed_agent(env);
    doctor_expect_read_only(env, STRINGS(url), 1,
        STRINGS("FAIL  gateway endpoint    there is no POST /v1/responses (405); fix: set "
                "gateway.http.endpoints.responses.enabled ",
            "skip  gateway agents      because gateway endpoint failed\n"));
    stub_server_stop(gateway);
}

static void test_agent_unknown_to_the_gateway_is_found(void **state)
{
    struct test_env *env = *state;
    doctor_seed_agent(env);
    board_set(env, json_pack("{s:[s]}", "gateway_agents", "main"));
    doctor_expect_read_only(env, NULL, 1,
        STRINGS("FAIL  gateway agents      the gateway does not know 1 of the account's agents: "
                "jarvis; fix: set OPENCLAW_FALLBACK_AGENT or add the agent to the gateway\n"));
    doctor_expect_read_only(env, STRINGS("OPENCLAW_FALLBACK_AGENT=main"), 0,
        STRINGS("ok    gateway agents      1 of the account's agents run as main"));
    doctor_expect_read_only(env, STRINGS("OPENCLAW_FALLBACK_AGENT=nobody"), 1,
        STRINGS("FAIL  gateway agents      the gateway knows neither 1 of the account's agents nor "
                "nobody"));
}

static void test_refused_connections_are_found(void **state)
{
    struct test_env *env = *state;
    char convex_url[64];
    char gateway_url[64];
    unsigned port;
    int fd = loopback_reserve(&port);
    snprintf(convex_url, sizeof convex_url, "CONVEX_URL=http://127.0.0.1:%u", port);
    snprintf(gateway_url, sizeof gateway_url, "OPENCLAW_GATEWAY_URL=http://127.0.0.1:%u", port);
    doctor_expect_read_only(env, STRINGS(gateway_url), 1,
        STRINGS("ok    gateway name ", "FAIL  gateway connection  http://127.0.0.1:",
            "; fix: start the gateway, or set OPENCLAW_GATEWAY_URL ",
            "skip  gateway TLS         because gateway connection failed\n",
            "skip  gateway agents      because gateway connection failed\n",
            "ok    service token "));
    doctor_expect_read_only(env, STRINGS(convex_url), 1,
        STRINGS("FAIL  backend connection  http://127.0.0.1:", "; fix: check CONVEX_URL",
            "skip  service token       because backend connection failed\n", "ok    gateway token ",
            "skip  gateway agents      because reading "));
    close(fd);
}

static void test_unknown_hosts_are_found(void **state)
{
    doctor_expect_read_only(*state,
        STRINGS("CONVEX_URL=http://nowhere.invalid", "OPENCLAW_GATEWAY_URL=http://no.invalid",
            "ALLOW_PLAIN_HTTP=on"),
        1,
        STRINGS("FAIL  backend name        http://nowhere.invalid: ",
            "fix: check the host in CONVEX_URL",
            "skip  backend connection  because backend name failed\n",
            "FAIL  gateway name        http://no.invalid: ",
            "skip  clock               because no server sent"));
}

/* A gateway that accepts and never answers, and a backend function that never returns. */
static void test_hanging_servers_are_given_up_on(void **state)
{
    struct test_env *env = *state;
    struct stub_server *server = stub_server_start(NULL);
    char gateway_url[64];
    snprintf(gateway_url, sizeof gateway_url, "OPENCLAW_GATEWAY_URL=http://127.0.0.1:%u",
        stub_server_port(server));
    board_backend_fault(env, json_pack("{s:s, s:s}", "action", "listAgents", "behaviour", "hang"));
    doctor_expect_read_only(env, STRINGS(gateway_url), 1,
        STRINGS("FAIL  Convex deployment   listAgents: timed out after 10",
            "ok    gateway connection ",
            "FAIL  gateway endpoint    http://127.0.0.1:", "timed out after 10"));
    stub_server_stop(server);
}

static void test_wrong_service_token_is_found(void **state)
{
    struct test_env *env = *state;
    doctor_expect_read_only(env, STRINGS(DOCTOR_WRONG_TOKEN), 1,
        STRINGS("ok    Convex deployment ",
            "FAIL  service token       refused: it is wrong or was replaced; fix: create a new "
            "service token",
            "skip  account             because service token failed\n"));
    board_set(env, json_pack("{s:b}", "redact", 1));
    doctor_expect_read_only(env, STRINGS(DOCTOR_WRONG_TOKEN), 1,
        STRINGS("FAIL  service token       refused, and the deployment does not say why: ",
            "; fix: check ACCOUNT_ID"));
}

static void test_account_without_a_token_is_found(void **state)
{
    struct test_env *env = *state;
    json_decref(test_env_post(env, "/sandbox/token", json_pack("{s:n}", "secret")));
    doctor_expect_read_only(
        env, NULL, 1, STRINGS("FAIL  service token       refused: the account has no token yet"));
}

static void test_wrong_account_is_found(void **state)
{
    struct test_env *env = *state;
    doctor_expect_read_only(env,
        STRINGS("ACCOUNT_ID=k5700000000000000000000000000000",
            "SERVICE_TOKEN=mc_service_k5700000000000000000000000000000_" TEST_SECRET),
        1,
        STRINGS("skip  service token       because account failed\n",
            "FAIL  account             this deployment has no account k57000"));
    board_backend_fault(
        env, json_pack("{s:s, s:s, s:s}", "action", "listAgents", "behaviour", "function_error",
                 "message", "Forbidden: Service token does not match account"));
    doctor_expect_read_only(env, NULL, 1,
        STRINGS("ok    service token       known to the backend\n",
            "FAIL  account             the service token does not belong to account " TEST_ACCOUNT,
            "; fix: set ACCOUNT_ID and SERVICE_TOKEN to those of the same account\n"));
}

static void test_failing_backend_is_found(void **state)
{
    struct test_env *env = *state;
    board_backend_fault(
        env, json_pack("{s:s, s:i, s:i}", "behaviour", "status", "status", 503, "times", 1));
    doctor_expect_read_only(env, NULL, 1,
        STRINGS("FAIL  Convex deployment   listAgents: HTTP 503: ", "try again later\n",
            "skip  service token       because Convex deployment failed\n"));
    board_backend_fault(env, json_pack("{s:s, s:s}", "behaviour", "function_error", "message",
                                 "Cannot run functions while this deployment is paused"));
    doctor_expect_read_only(
        env, NULL, 1, STRINGS("this deployment is paused", "; fix: check the deployment's"));
}

static void test_other_server_and_wrong_clock_are_found(void **state)
{
    static const struct {
        int ago_s;
        const char *line;
    } cases[] = {{-3600, "FAIL  clock               35"}, {60, "warn  clock               "}};
    struct test_env *env = *state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char date[64];
        char answer[256];
        char convex_url[64];
        time_t then = time(NULL) - cases[i].ago_s;
        struct tm parts;
        strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S GMT", gmtime_r(&then, &parts));
        snprintf(answer, sizeof answer,
            "HTTP/1.1 404 Not Found\r\nDate: %s\r\nContent-Length: 9\r\n\r\nNo such 1", date);
        struct stub_server *server = stub_server_start(answer);
        snprintf(convex_url, sizeof convex_url, "CONVEX_URL=http://127.0.0.1:%u",
            stub_server_port(server));
        doctor_expect_read_only(env, STRINGS(convex_url), 1,
            STRINGS(
                "FAIL  Convex deployment   listAgents: HTTP 404: No such 1; fix: check CONVEX_URL",
                cases[i].line,
                cases[i].ago_s < 0 ? " s behind that of the backend"
                                   : " s ahead of that of the backend"));
        stub_server_stop(server);
    }
}

static void test_untrusted_certificate_is_found(void **state)
{
    struct test_env *env = *state;
    struct certificate authority;
    struct certificate leaf;
    char url[64];
    char ca_file[320];
    unsigned port = test_env_sandbox_port(env);
    certificate_create(&authority, NULL, true, NULL, false);
    certificate_create(&leaf, &authority, false, "IP:127.0.0.1", false);
    struct tls_proxy *proxy = tls_proxy_start(&leaf, 0, port);
    snprintf(url, sizeof url, "CONVEX_URL=https://127.0.0.1:%u", tls_proxy_port(proxy));
    snprintf(ca_file, sizeof ca_file, "CA_FILE=%s/authority.pem", env->dir);
    certificate_save(&authority, ca_file + strlen("CA_FILE="));
    doctor_expect_read_only(env, STRINGS(url), 1,
        STRINGS("ok    backend connection ", "FAIL  backend TLS         https://127.0.0.1:",
            "; fix: set CA_FILE to a PEM file with the CA of that certificate",
            "skip  Convex deployment   because backend TLS failed\n"));
    doctor_expect_read_only(env, STRINGS(url, ca_file), 0,
        STRINGS("authority.pem\n", "ok    backend TLS         the certificate is trusted\n",
            "No check failed"));
    tls_proxy_stop(proxy);
    certificate_fini(&leaf);
    certificate_fini(&authority);
    snprintf(url, sizeof url, "OPENCLAW_GATEWAY_URL=https://127.0.0.1:%u", port);
    doctor_expect_read_only(env, STRINGS(url), 1,
        STRINGS("FAIL  gateway TLS         https://127.0.0.1:", "names a port that speaks TLS"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_IN_ENV(test_wrong_or_missing_gateway_token_is_found),
        TEST_IN_ENV(test_lockout_after_wrong_tokens_is_explained),
        TEST_IN_ENV(test_lockout_is_explained_as_by_the_running_runtime),
        TEST_IN_ENV(test_disabled_or_draining_gateway_is_found),
        TEST_IN_ENV(test_control_ui_in_place_of_the_endpoint_is_found),
        TEST_IN_ENV(test_agent_unknown_to_the_gateway_is_found),
        TEST_IN_ENV(test_refused_connections_are_found),
        TEST_IN_ENV(test_unknown_hosts_are_found),
        TEST_IN_ENV(test_hanging_servers_are_given_up_on),
        TEST_IN_ENV(test_wrong_service_token_is_found),
        TEST_IN_ENV(test_account_without_a_token_is_found),
        TEST_IN_ENV(test_wrong_account_is_found),
        TEST_IN_ENV(test_failing_backend_is_found),
        TEST_IN_ENV(test_other_server_and_wrong_clock_are_found),
        TEST_IN_ENV(test_untrusted_certificate_is_found),
    };
    return cmocka_run_group_tests_name("doctor_network", tests, NULL, NULL);
}
