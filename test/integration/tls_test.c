/* The backend over https: a good chain works, everything else is refused with a clear word. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "../lib/board.h"
#include "../lib/tls_proxy.h"

static unsigned port_of(const char *url)
{
    const char *colon = strrchr(url, ':');
    assert_non_null(colon);
    return (unsigned)strtoul(colon + 1, NULL, 10);
}

/* An authority in a file of its own, and a proxy in front of the sandbox. */
struct tls {
    struct certificate authority;
    struct certificate leaf;
    struct tls_proxy *proxy;
    char convex_url[128];
    char ca_file[320];
};

static void tls_start(struct test_env *env, struct tls *tls, const char *name, bool expired,
    bool self_signed, int max_version)
{
    certificate_create(&tls->authority, NULL, true, NULL, false);
    certificate_create(&tls->leaf, self_signed ? NULL : &tls->authority, false, name, expired);
    tls->proxy = tls_proxy_start(&tls->leaf, max_version, port_of(env->url));
    snprintf(tls->convex_url, sizeof tls->convex_url, "CONVEX_URL=https://127.0.0.1:%u",
        tls_proxy_port(tls->proxy));
    char path[300];
    snprintf(path, sizeof path, "%s/authority.pem", env->dir);
    certificate_save(&tls->authority, path);
    snprintf(tls->ca_file, sizeof tls->ca_file, "CA_FILE=%s", path);
}

static void tls_stop(struct tls *tls)
{
    tls_proxy_stop(tls->proxy);
    certificate_fini(&tls->leaf);
    certificate_fini(&tls->authority);
}

static void test_good_chain_delivers(void **state)
{
    struct test_env *env = *state;
    struct tls tls;
    tls_start(env, &tls, "IP:127.0.0.1", false, false, 0);
    json_decref(board_load(env, 5, 2));
    test_env_start_runtime(env, (const char *[]){tls.convex_url, tls.ca_file, NULL});
    test_env_wait(env, "delivered=5");
    assert_true(tls_proxy_handshakes(tls.proxy) > 0);
    test_env_stop_runtime(env);
    tls_stop(&tls);
}

/* Each run of an agent has a connection of its own, but not a session of its own. */
static void test_session_of_the_gateway_is_resumed(void **state)
{
    enum { RUNS = 6 };
    struct test_env *env = *state;
    struct tls tls;
    char gateway_url[128];
    tls_start(env, &tls, "IP:127.0.0.1", false, false, 0);
    snprintf(gateway_url, sizeof gateway_url, "OPENCLAW_GATEWAY_URL=https://127.0.0.1:%u",
        tls_proxy_port(tls.proxy));
    json_decref(board_load(env, RUNS, 1));
    test_env_start_runtime(env,
        (const char *[]){gateway_url, tls.ca_file, "DELIVERY_MAX_CONCURRENT_SESSIONS=1", NULL});
    test_env_wait(env, "delivered=6");
    assert_true(tls_proxy_handshakes(tls.proxy) >= RUNS);
    assert_true(tls_proxy_resumptions(tls.proxy) >= RUNS - 1);
    test_env_stop_runtime(env);
    tls_stop(&tls);
}

static void expect_refusal(
    struct test_env *env, const char *name, bool expired, bool self_signed, const char *words)
{
    struct tls tls;
    tls_start(env, &tls, name, expired, self_signed, 0);
    test_env_start_runtime(env, (const char *[]){tls.convex_url, tls.ca_file, NULL});
    char rest[512];
    assert_true(
        process_wait_output(&env->runtime, "Poll error: ", TEST_WAIT_MS, rest, sizeof rest));
    if (strstr(rest, words) == NULL)
        fail_msg("expected \"%s\" in: %s", words, rest);
    assert_int_equal(test_env_stat(env, "backend", "listUndeliveredNotifications"), 0);
    test_env_stop_runtime(env);
    tls_stop(&tls);
}

static void test_self_signed_is_refused(void **state)
{
    expect_refusal(*state, "IP:127.0.0.1", false, true, "self-signed certificate");
}

static void test_expired_is_refused(void **state)
{
    expect_refusal(*state, "IP:127.0.0.1", true, false, "certificate has expired");
}

static void test_wrong_host_is_refused(void **state)
{
    expect_refusal(*state, "DNS:elsewhere.example", false, false,
        "no alternative certificate subject name matches");
}

static void test_unknown_authority_is_refused(void **state)
{
    struct test_env *env = *state;
    struct tls tls;
    char rest[512];
    tls_start(env, &tls, "IP:127.0.0.1", false, false, 0);
    test_env_start_runtime(env, (const char *[]){tls.convex_url, NULL});
    assert_true(
        process_wait_output(&env->runtime, "Poll error: ", TEST_WAIT_MS, rest, sizeof rest));
    assert_non_null(strstr(rest, "unable to get local issuer certificate"));
    test_env_stop_runtime(env);
    tls_stop(&tls);
}

static void test_old_tls_is_refused(void **state)
{
    struct test_env *env = *state;
    struct tls tls;
    char rest[512];
    tls_start(env, &tls, "IP:127.0.0.1", false, false, TLS1_1_VERSION);
    test_env_start_runtime(env, (const char *[]){tls.convex_url, tls.ca_file, NULL});
    assert_true(
        process_wait_output(&env->runtime, "Poll error: ", TEST_WAIT_MS, rest, sizeof rest));
    assert_non_null(strstr(rest, "protocol version"));
    assert_int_equal(tls_proxy_handshakes(tls.proxy), 0);
    test_env_stop_runtime(env);
    tls_stop(&tls);
}

static void test_tls_1_2_works(void **state)
{
    struct test_env *env = *state;
    struct tls tls;
    tls_start(env, &tls, "IP:127.0.0.1", false, false, TLS1_2_VERSION);
    json_decref(board_load(env, 1, 1));
    test_env_start_runtime(env, (const char *[]){tls.convex_url, tls.ca_file, NULL});
    test_env_wait(env, "delivered=1");
    test_env_stop_runtime(env);
    tls_stop(&tls);
}

static void test_unreadable_ca_file_is_a_setting_error(void **state)
{
    struct test_env *env = *state;
    test_env_launch(
        env, &env->runtime, (const char *[]){"CA_FILE=/nowhere/authority.pem", NULL}, NULL);
    assert_int_equal(process_wait_exit(&env->runtime, TEST_WAIT_MS), 78);
    test_env_wait_log(env, "CA_FILE");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_IN_ENV(test_good_chain_delivers),
        TEST_IN_ENV(test_session_of_the_gateway_is_resumed),
        TEST_IN_ENV(test_self_signed_is_refused),
        TEST_IN_ENV(test_expired_is_refused),
        TEST_IN_ENV(test_wrong_host_is_refused),
        TEST_IN_ENV(test_unknown_authority_is_refused),
        TEST_IN_ENV(test_old_tls_is_refused),
        TEST_IN_ENV(test_tls_1_2_works),
        TEST_IN_ENV(test_unreadable_ca_file_is_a_setting_error),
    };
    return cmocka_run_group_tests_name("tls", tests, NULL, NULL);
}
