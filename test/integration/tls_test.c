/* TLS: a valid chain works; any other certificate or version is refused with a clear message. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "../lib/board.h"
#include "../lib/fault_proxy.h"
#include "../lib/tls_proxy.h"
#include "base/sync.h"

/* A certificate authority in a CA_FILE, and a TLS proxy in front of the sandbox. */
struct tls_setup {
    struct certificate authority;
    struct certificate leaf;
    struct tls_proxy *proxy;
    char convex_url[128];
    char ca_file[320];
};

static void tls_setup_start(struct test_env *env, struct tls_setup *tls_setup, const char *name,
    bool expired, bool self_signed, int max_version)
{
    certificate_create(&tls_setup->authority, NULL, true, NULL, false);
    certificate_create(
        &tls_setup->leaf, self_signed ? NULL : &tls_setup->authority, false, name, expired);
    tls_setup->proxy = tls_proxy_start(&tls_setup->leaf, max_version, test_env_sandbox_port(env));
    snprintf(tls_setup->convex_url, sizeof tls_setup->convex_url, "CONVEX_URL=https://127.0.0.1:%u",
        tls_proxy_port(tls_setup->proxy));
    char path[300];
    snprintf(path, sizeof path, "%s/authority.pem", env->dir);
    certificate_save(&tls_setup->authority, path);
    snprintf(tls_setup->ca_file, sizeof tls_setup->ca_file, "CA_FILE=%s", path);
}

static void tls_setup_stop(struct tls_setup *tls_setup)
{
    tls_proxy_stop(tls_setup->proxy);
    certificate_fini(&tls_setup->leaf);
    certificate_fini(&tls_setup->authority);
}

static void test_valid_chain_delivers(void **state)
{
    struct test_env *env = *state;
    struct tls_setup tls_setup;
    tls_setup_start(env, &tls_setup, "IP:127.0.0.1", false, false, 0);
    json_decref(board_load(env, 5, 2));
    test_env_start_runtime(env, STRINGS(tls_setup.convex_url, tls_setup.ca_file));
    test_env_wait(env, "delivered=5");
    assert_true(tls_proxy_handshakes(tls_setup.proxy) > 0);
    test_env_stop_runtime(env);
    tls_setup_stop(&tls_setup);
}

/* A handshake of 2 s is slow, not an outage: a probe that waits longer gets through. */
static void test_slow_handshake_delivers(void **state)
{
    struct test_env *env = *state;
    struct tls_setup tls_setup;
    char gateway_url[128];
    char id[ID_BYTES];
    tls_setup_start(env, &tls_setup, "IP:127.0.0.1", false, false, 0);
    struct fault_proxy *slow = fault_proxy_start(tls_proxy_port(tls_setup.proxy));
    FAULT(slow, .kind = FAULT_DELAY_ANSWER, .delay_ms = 2000);
    snprintf(gateway_url, sizeof gateway_url, "OPENCLAW_GATEWAY_URL=https://127.0.0.1:%u",
        fault_proxy_port(slow));
    board_load_one(env, id);
    test_env_start_runtime(env, STRINGS(gateway_url, tls_setup.ca_file));
    test_env_wait(env, "requests=1");
    test_env_wait(env, "undelivered=0");
    assert_true(fault_proxy_hits(slow, FAULT_DELAY_ANSWER) >= 3);
    assert_int_equal(board_requests_for(env, id), 1);
    test_env_stop_runtime(env);
    fault_proxy_stop(slow);
    tls_setup_stop(&tls_setup);
}

/* Each agent run opens its own connection, but resumes the TLS session. */
static void test_gateway_session_is_resumed(void **state)
{
    enum { RUNS = 6 };
    struct test_env *env = *state;
    struct tls_setup tls_setup;
    char gateway_url[128];
    tls_setup_start(env, &tls_setup, "IP:127.0.0.1", false, false, 0);
    snprintf(gateway_url, sizeof gateway_url, "OPENCLAW_GATEWAY_URL=https://127.0.0.1:%u",
        tls_proxy_port(tls_setup.proxy));
    json_decref(board_load(env, RUNS, 1));
    test_env_start_runtime(
        env, STRINGS(gateway_url, tls_setup.ca_file, "DELIVERY_MAX_CONCURRENT_SESSIONS=1"));
    test_env_wait(env, "delivered=6");
    assert_true(tls_proxy_handshakes(tls_setup.proxy) >= RUNS);
    assert_true(tls_proxy_resumptions(tls_setup.proxy) >= RUNS - 1);
    test_env_stop_runtime(env);
    tls_setup_stop(&tls_setup);
}

static void expect_tls_refusal(
    struct test_env *env, const char *name, bool expired, bool self_signed, const char *words)
{
    struct tls_setup tls_setup;
    tls_setup_start(env, &tls_setup, name, expired, self_signed, 0);
    test_env_start_runtime(env, STRINGS(tls_setup.convex_url, tls_setup.ca_file));
    char rest[512];
    assert_true(
        process_wait_output(&env->runtime, "Poll error: ", TEST_WAIT_MS, rest, sizeof rest));
    if (strstr(rest, words) == NULL)
        fail_msg("expected \"%s\" in: %s", words, rest);
    assert_int_equal(test_env_stat(env, "backend", "listUndeliveredNotifications"), 0);
    test_env_stop_runtime(env);
    tls_setup_stop(&tls_setup);
}

static void test_self_signed_certificate_is_refused(void **state)
{
    expect_tls_refusal(*state, "IP:127.0.0.1", false, true, "self-signed certificate");
}

static void test_expired_certificate_is_refused(void **state)
{
    expect_tls_refusal(*state, "IP:127.0.0.1", true, false, "certificate has expired");
}

static void test_wrong_host_is_refused(void **state)
{
    expect_tls_refusal(*state, "DNS:elsewhere.example", false, false,
        "no alternative certificate subject name matches");
}

static void test_unknown_authority_is_refused(void **state)
{
    struct test_env *env = *state;
    struct tls_setup tls_setup;
    char rest[512];
    tls_setup_start(env, &tls_setup, "IP:127.0.0.1", false, false, 0);
    test_env_start_runtime(env, STRINGS(tls_setup.convex_url));
    assert_true(
        process_wait_output(&env->runtime, "Poll error: ", TEST_WAIT_MS, rest, sizeof rest));
    assert_non_null(strstr(rest, "unable to get local issuer certificate"));
    test_env_stop_runtime(env);
    tls_setup_stop(&tls_setup);
}

static void test_tls_1_1_is_refused(void **state)
{
    struct test_env *env = *state;
    struct tls_setup tls_setup;
    char rest[512];
    tls_setup_start(env, &tls_setup, "IP:127.0.0.1", false, false, TLS1_1_VERSION);
    test_env_start_runtime(env, STRINGS(tls_setup.convex_url, tls_setup.ca_file));
    assert_true(
        process_wait_output(&env->runtime, "Poll error: ", TEST_WAIT_MS, rest, sizeof rest));
    assert_non_null(strstr(rest, "protocol version"));
    assert_int_equal(tls_proxy_handshakes(tls_setup.proxy), 0);
    test_env_stop_runtime(env);
    tls_setup_stop(&tls_setup);
}

static void test_tls_1_2_works(void **state)
{
    struct test_env *env = *state;
    struct tls_setup tls_setup;
    tls_setup_start(env, &tls_setup, "IP:127.0.0.1", false, false, TLS1_2_VERSION);
    json_decref(board_load(env, 1, 1));
    test_env_start_runtime(env, STRINGS(tls_setup.convex_url, tls_setup.ca_file));
    test_env_wait(env, "delivered=1");
    test_env_stop_runtime(env);
    tls_setup_stop(&tls_setup);
}

/* In one of two ways: the port's answer is read, or it has closed before that. */
static bool is_plain_port_named(const char *text)
{
    return strstr(text, "the URL says https, but this port does not answer with TLS: it is "
                        "probably plain http, or the wrong port") != NULL ||
           strstr(text, "or speaks http, not https") != NULL;
}

/* The polls that have failed so far; each of the distinct reasons has to name the plain port. */
static long long count_named_polls(struct test_env *env)
{
    long long polls = 0;
    size_t index;
    const json_t *item;
    json_t *status = test_env_health_json(env, "/status");
    json_array_foreach (json_object_get(status, "errors"), index, item) {
        const char *text = json_string_value(json_object_get(item, "text"));
        if (strcmp(json_string_value(json_object_get(item, "part")), "delivery") != 0)
            continue;
        if (!is_plain_port_named(text))
            fail_msg("a poll of a plain port failed otherwise: %s", text);
        polls += json_integer_value(json_object_get(item, "times"));
    }
    json_decref(status);
    return polls;
}

static void test_https_to_a_plain_port_is_named_each_time(void **state)
{
    enum { POLLS = 50 };
    struct test_env *env = *state;
    char convex_url[128];
    snprintf(convex_url, sizeof convex_url, "CONVEX_URL=https://127.0.0.1:%u",
        test_env_sandbox_port(env));
    test_env_start_runtime(
        env, STRINGS(convex_url, "DELIVERY_BACKOFF_BASE_MS=10", "DELIVERY_BACKOFF_MAX_MS=10"));
    int64_t until_ms = clock_monotonic_ms() + (int64_t)TEST_WAIT_MS * process_timeout_scale();
    while (count_named_polls(env) < POLLS) {
        assert_true(clock_monotonic_ms() < until_ms);
        usleep(10000);
    }
    test_env_wait_words(env, "/status",
        "\"The backend cannot be polled: no TLS connection can be made; check that CONVEX_URL "
        "names "
        "a port that speaks https (TLS 1.2 or later), not http\"",
        true);
    test_env_stop_runtime(env);
}

static void test_unreadable_ca_file_exits_78(void **state)
{
    struct test_env *env = *state;
    test_env_launch(env, &env->runtime, STRINGS("CA_FILE=/nowhere/authority.pem"), NULL);
    assert_int_equal(process_wait_exit(&env->runtime, TEST_WAIT_MS), 78);
    test_env_wait_log(env, "CA_FILE");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_IN_ENV(test_valid_chain_delivers),
        TEST_IN_ENV(test_slow_handshake_delivers),
        TEST_IN_ENV(test_gateway_session_is_resumed),
        TEST_IN_ENV(test_self_signed_certificate_is_refused),
        TEST_IN_ENV(test_expired_certificate_is_refused),
        TEST_IN_ENV(test_wrong_host_is_refused),
        TEST_IN_ENV(test_unknown_authority_is_refused),
        TEST_IN_ENV(test_tls_1_1_is_refused),
        TEST_IN_ENV(test_tls_1_2_works),
        TEST_IN_ENV(test_https_to_a_plain_port_is_named_each_time),
        TEST_IN_ENV(test_unreadable_ca_file_exits_78),
    };
    return cmocka_run_group_tests_name("tls", tests, NULL, NULL);
}
