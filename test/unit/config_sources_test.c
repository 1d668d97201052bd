/* Sources of settings: environment, .env file and value files; and the secrets in them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "../lib/config_fixture.h"
#include "base/secret.h"

static void test_environment_overrides_env_file(void **state)
{
    struct config_fixture *fixture = *state;
    config_fixture_env_file(fixture,
        ACCOUNT "\n" CONVEX "\nexport " TOKEN " # ours\nHEALTH_PORT=1\nDELIVERY_INTERVAL=100\n"
                "LOG_LEVEL=debug\nHOME=/elsewhere\n",
        0600);
    assert_int_equal(LOAD(fixture, HOME, "HEALTH_PORT=2", "LOG_LEVEL="), 0);
    assert_int_equal(fixture->problems.count, 1);
    must_report(fixture, "warning: LOG_LEVEL is set to nothing in the environment, which hides its "
                         "value in ");
    must_report(fixture, "/env line 6; unset it");
    const struct config *config = &fixture->config;
    assert_string_equal(config->service_token, TOKEN_VALUE);
    assert_int_equal(config->health_port, 2);
    assert_int_equal(config->delivery_interval_ms, 100);
    /* An empty variable in the environment restores the default. */
    assert_int_equal(config->log_level, LOG_LEVEL_INFO);
    assert_string_equal(config->state_dir, "/home/jo/.local/state/mission-control-runtime/k57abc");
}

/* Settings that the unreadable file may contain are not reported missing; others are checked. */
static void test_unreadable_env_file_is_the_only_problem(void **state)
{
    struct config_fixture *fixture = *state;
    fixture->has_env_file = true;
    must_fail_with(fixture, LOAD(fixture, HOME), "/env: No such file or directory; --env-file");
    assert_int_equal(LOAD(fixture, HOME, "HEALTH_PORT=x"), ERROR_INVALID);
    assert_int_equal(fixture->problems.count, 2);
}

/* Kubernetes puts such variables into each container; they are no attempt to set the port. */
static void test_service_links_of_kubernetes_are_ignored(void **state)
{
    struct config_fixture *fixture = *state;
    static const char *const links[] = {"HEALTH_PORT=tcp://10.96.0.9:3001",
        "HEALTH_PORT=udp://10.96.0.9:3001", "HEALTH_PORT=sctp://[fd00::9]:1"};
    for (size_t i = 0; i < sizeof links / sizeof links[0]; i++) {
        assert_int_equal(
            LOAD(fixture, REQUIRED, links[i], "HEALTH_SERVICE_HOST=10.96.0.9",
                "HEALTH_SERVICE_PORT=3001", "HEALTH_PORT_3001_TCP=tcp://10.96.0.9:3001",
                "OPENCLAW_GATEWAY_PORT=tcp://10.96.0.7:18789"),
            0);
        assert_int_equal(fixture->config.health_port, 3001);
        assert_int_equal(fixture->problems.count, 1);
        must_report(fixture, "warning: HEALTH_PORT \"");
        must_report(fixture, "is ignored: Kubernetes sets it to the address of a Service");
    }
    must_fail_with(fixture, LOAD(fixture, REQUIRED, "HEALTH_PORT=http://10.96.0.9:3001"),
        "HEALTH_PORT \"http://10.96.0.9:3001\" is not a whole number");
    config_fixture_env_file(fixture, "HEALTH_PORT=3005\n", 0600);
    assert_int_equal(LOAD(fixture, REQUIRED, links[0]), 0);
    assert_int_equal(fixture->config.health_port, 3005);
}

static void test_broken_env_file_line_is_reported_once(void **state)
{
    struct config_fixture *fixture = *state;
    config_fixture_env_file(fixture, "SERVICE_TOKEN='" TOKEN_VALUE "\n", 0600);
    must_fail_with(
        fixture, LOAD(fixture, ACCOUNT, CONVEX, HOME), "/env line 1: unterminated quote");
}

static void test_world_readable_env_file_with_secret_is_warned_of(void **state)
{
    struct config_fixture *fixture = *state;
    config_fixture_env_file(fixture, TOKEN "\n", 0644);
    assert_int_equal(LOAD(fixture, ACCOUNT, CONVEX, HOME), 0);
    assert_int_equal(fixture->problems.count, 1);
    must_report(fixture, "warning: ");
    must_report(fixture, "/env contains a secret but is readable by all users");
    config_fixture_env_file(fixture, "SERVICE_TOKEN=\n" ACCOUNT "\n", 0644);
    must_load(fixture, LOAD(fixture, REQUIRED));
}

static void test_values_can_come_from_files(void **state)
{
    struct config_fixture *fixture = *state;
    char variable[CONFIG_FIXTURE_VARIABLE_BYTES];
    config_fixture_value_file(
        fixture, "SERVICE_TOKEN", " " TOKEN_VALUE "\r\n", sizeof TOKEN_VALUE + 2, variable);
    must_load(fixture, LOAD(fixture, ACCOUNT, CONVEX, HOME, variable, "SERVICE_TOKEN="));
    assert_string_equal(fixture->config.service_token, TOKEN_VALUE);
    config_fixture_value_file(fixture, "ACCOUNT_ID", "'k57abc'\n", 9, variable);
    must_load(fixture, LOAD(fixture, TOKEN, CONVEX, HOME, variable));
    assert_string_equal(fixture->config.account_id, "k57abc");
    config_fixture_value_file(fixture, "OPENCLAW_GATEWAY_TOKEN", "t0k3n", 5, variable);
    must_load(fixture, LOAD(fixture, REQUIRED, variable, "OPENCLAW_GATEWAY_TOKEN= "));
    assert_string_equal(fixture->config.gateway_token, "t0k3n");
    config_fixture_env_file(fixture, variable, 0600);
    must_load(fixture, LOAD(fixture, REQUIRED));
    assert_string_equal(fixture->config.gateway_token, "t0k3n");
}

static void test_value_file_problems_are_reported(void **state)
{
    struct config_fixture *fixture = *state;
    char variable[CONFIG_FIXTURE_VARIABLE_BYTES];
    static const char zeros[17 * 1024];
    config_fixture_value_file(fixture, "SERVICE_TOKEN", TOKEN_VALUE, strlen(TOKEN_VALUE), variable);
    must_fail_with(fixture, LOAD(fixture, REQUIRED, variable),
        "SERVICE_TOKEN and SERVICE_TOKEN_FILE are both set; set only one of them");
    config_fixture_value_file(fixture, "SERVICE_TOKEN", " \n", 2, variable);
    must_fail_with(fixture, LOAD(fixture, ACCOUNT, CONVEX, HOME, variable), "/value is empty");
    config_fixture_value_file(fixture, "OPENCLAW_GATEWAY_TOKEN", "", 0, variable);
    must_fail_with(fixture, LOAD(fixture, REQUIRED, variable), "/value is empty");
    config_fixture_value_file(fixture, "SERVICE_TOKEN", "mc\0x", 4, variable);
    must_fail_with(
        fixture, LOAD(fixture, ACCOUNT, CONVEX, HOME, variable), "/value contains NUL bytes");
    config_fixture_value_file(fixture, "SERVICE_TOKEN", zeros, sizeof zeros, variable);
    must_fail_with(fixture, LOAD(fixture, ACCOUNT, CONVEX, HOME, variable),
        "/value is larger than 16384 bytes");
    must_fail_with(fixture, LOAD(fixture, ACCOUNT, CONVEX, HOME, "SERVICE_TOKEN_FILE=/nowhere/t"),
        "SERVICE_TOKEN_FILE: cannot read /nowhere/t: No such file or directory");
}

/* Each is a mistake that people make; the answer names the origin and what would be right. */
static void test_mistakes_in_value_files_are_named(void **state)
{
    struct config_fixture *fixture = *state;
    char variable[CONFIG_FIXTURE_VARIABLE_BYTES];
    static const char two_lines[] = TOKEN_VALUE "\n# of the second account\n";
    static const char with_name[] = "SERVICE_TOKEN=" TOKEN_VALUE "\n";
    static const char exported[] = "export SERVICE_TOKEN=" TOKEN_VALUE "\n";
    config_fixture_value_file(fixture, "SERVICE_TOKEN", two_lines, strlen(two_lines), variable);
    must_fail_with(fixture, LOAD(fixture, ACCOUNT, CONVEX, HOME, variable),
        "SERVICE_TOKEN (secret, not shown) has 2 lines; expected the value alone, on one line "
        "(from the file that SERVICE_TOKEN_FILE names)");
    config_fixture_value_file(fixture, "SERVICE_TOKEN", with_name, strlen(with_name), variable);
    must_fail_with(fixture, LOAD(fixture, ACCOUNT, CONVEX, HOME, variable),
        "begins with SERVICE_TOKEN= itself; expected the value alone, without the name (from the "
        "file that SERVICE_TOKEN_FILE names)");
    config_fixture_value_file(fixture, "SERVICE_TOKEN", exported, strlen(exported), variable);
    must_fail_with(fixture, LOAD(fixture, ACCOUNT, CONVEX, HOME, variable), "without the name");
}

static void test_empty_variable_that_hides_the_files_value_is_told(void **state)
{
    struct config_fixture *fixture = *state;
    config_fixture_env_file(fixture, "# ours\n" TOKEN "\nOPENCLAW_GATEWAY_TOKEN_FILE=/t\n", 0600);
    assert_int_equal(LOAD(fixture, ACCOUNT, CONVEX, HOME, "SERVICE_TOKEN= "), ERROR_INVALID);
    must_report(fixture, "warning: SERVICE_TOKEN is set to nothing in the environment, which hides "
                         "its value in ");
    must_report(fixture, "/env line 2; unset it");
    must_report(fixture, "error: SERVICE_TOKEN is missing");
    assert_int_equal(LOAD(fixture, ACCOUNT, CONVEX, HOME, "OPENCLAW_GATEWAY_TOKEN_FILE="), 0);
    must_report(fixture, "warning: OPENCLAW_GATEWAY_TOKEN_FILE is set to nothing");
    config_fixture_env_file(fixture, TOKEN "\nLOG_LEVEL=\n", 0600);
    must_load(fixture, LOAD(fixture, ACCOUNT, CONVEX, HOME, "LOG_LEVEL="));
}

static void test_errors_tell_where_the_value_is_from(void **state)
{
    struct config_fixture *fixture = *state;
    config_fixture_env_file(fixture, "\nHEALTH_PORT=x\n", 0600);
    must_fail_with(fixture, LOAD(fixture, REQUIRED), "/env line 2)");
    fixture->has_env_file = false;
    must_fail_with(fixture, LOAD(fixture, REQUIRED, "HEALTH_PORT=x"),
        "HEALTH_PORT \"x\" is not a whole number; expected a whole number, 0..65535 (from the "
        "environment)");
    must_fail_with(fixture, LOAD(fixture, ACCOUNT, CONVEX, HOME, "SERVICE_TOKEN=k57abc_0123456789"),
        "starting with mc_service_. (from the environment)");
}

static void test_misspelt_names_are_warned_of(void **state)
{
    struct config_fixture *fixture = *state;
    config_fixture_env_file(
        fixture, "DELIVERY_INTERVALL=1\nANTHROPIC_API_KEY=k3y\nOPENCLAW_CONFIG=1\n", 0600);
    assert_int_equal(LOAD(fixture, REQUIRED, "HEALTH_PROT=1", "PATH=/bin"), 0);
    assert_int_equal(fixture->problems.count, 2);
    must_report(fixture, "warning: DELIVERY_INTERVALL is not a setting and has no effect; "
                         "did you mean DELIVERY_INTERVAL?");
    must_report(fixture, "warning: HEALTH_PROT is not a setting");
    assert_false(problems_have_error(&fixture->problems));
}

/* Valid and invalid values, with a secret wherever one can end up. */
static void test_no_secret_is_printed(void **state)
{
    struct config_fixture *fixture = *state;
    static const char *const secrets[] = {"9f8e7d6c5b4a3f2e", "g4t3w4y", "p4ssw0rd"};
    char *messages[4];
    LOAD(fixture, "ACCOUNT_ID=mc_service_k57abc_9f8e7d6c5b4a3f2e", TOKEN,
        "CONVEX_URL=https://jo:p4ssw0rd@h", HOME, "OPENCLAW_GATEWAY_TOKEN=g4t3w4y",
        "OPENCLAW_GATEWAY_URL=http://jo:p4ssw0rd/x@h", "HEALTH_PORT=g4t3w4y",
        "LOG_LEVEL=9f8e7d6c5b4a3f2e", "DROPLET_ID=9f8e7d6c5b4a3f2e\x01",
        "CA_FILE=/9f8e7d6c5b4a3f2e", "STATE_DIR=~9f8e7d6c5b4a3f2e");
    assert_true(fixture->problems.count >= 8);
    messages[0] = config_fixture_messages(fixture);
    LOAD(fixture, REQUIRED, "SERVICE_TOKEN_FILE=mc_service_k57abc_9f8e7d6c5b4a3f2e");
    messages[1] = config_fixture_messages(fixture);
    assert_int_equal(LOAD(fixture, REQUIRED, "OPENCLAW_GATEWAY_TOKEN=g4t3w4y",
                         "DROPLET_ID=x-g4t3w4y", "UPGRADE_MODE=mc_service_k57abc_9f8e7d6c5b4a3f2e"),
        0);
    must_report(fixture, "warning: UPGRADE_MODE");
    messages[3] = config_fixture_messages(fixture);
    struct text description = {0};
    config_describe(&fixture->config, &description);
    messages[2] = text_take(&description);
    for (size_t i = 0; i < 4; i++) {
        for (size_t j = 0; j < 3; j++)
            if (strstr(messages[i], secrets[j]) != NULL)
                fail_msg("%s in:\n%s", secrets[j], messages[i]);
        free(messages[i]);
    }
}

static void check_redacted(const char *text, const char *expected)
{
    char buffer[128];
    snprintf(buffer, sizeof buffer, "%s", text);
    redact(buffer);
    assert_string_equal(buffer, expected);
}

static void test_secrets_are_registered(void **state)
{
    struct config_fixture *fixture = *state;
    must_load(fixture, LOAD(fixture, REQUIRED, "OPENCLAW_GATEWAY_TOKEN=g4t3w4y"));
    check_redacted("a 9f8e7d6c5b4a3f2e b g4t3w4y c", "a *** b *** c");
    must_load(fixture, LOAD(fixture, REQUIRED));
    check_redacted("the local gateway", "the local gateway");
    /* A load that fails registers its secrets as well. */
    LOAD(fixture, "SERVICE_TOKEN=not-the-f0rm", HOME);
    check_redacted("a not-the-f0rm b", "a *** b");
}

static void test_description_is_an_env_file(void **state)
{
    struct config_fixture *fixture = *state;
    char variable[CONFIG_FIXTURE_VARIABLE_BYTES];
    config_fixture_value_file(fixture, "SERVICE_TOKEN", TOKEN_VALUE, strlen(TOKEN_VALUE), variable);
    config_fixture_env_file(fixture, ACCOUNT "\nHEALTH_PORT=1\nDROPLET_ID=' a #\"$b'\n", 0600);
    must_load(
        fixture, LOAD(fixture, CONVEX, HOME, variable, "LOG_LEVEL=DEBUG", "DELIVERY_INTERVAL=100"));
    struct text text = {0};
    config_describe(&fixture->config, &text);
    static const char *const lines[] = {
        "ACCOUNT_ID=k57abc  # env file\n",
        "\nCONVEX_URL=https://happy-otter-42.convex.cloud  # environment\n",
        "\nSERVICE_TOKEN=***  # SERVICE_TOKEN_FILE\n",
        "\nCA_FILE=  # default\n",
        "\nOPENCLAW_GATEWAY_TOKEN=***  # default\n",
        "\nDELIVERY_INTERVAL=100  # environment\n",
        "\nHEALTH_PORT=1  # env file\n",
        "\nSHUTDOWN_GRACE_MS=65000  # default\n",
        "\nSTATE_DIR=/home/jo/.local/state/mission-control-runtime/k57abc  # default\n",
        "\nLOG_LEVEL=debug  # environment\n",
        "\nLOG_FORMAT=text  # default\n",
        "\nDROPLET_ID=\" a #\\\"\\$b\"  # env file\n",
    };
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++)
        if (strstr(text.data, lines[i]) == NULL)
            fail_msg("missing: %s\nin:\n%s", lines[i], text.data);
    size_t count = 0;
    for (const char *at = text.data; (at = strchr(at, '\n')) != NULL; at++)
        count++;
    assert_int_equal(count, CONFIG_OPTIONS);
    /* Loaded as a .env file it gives the same settings. */
    config_fixture_env_file(fixture, text.data, 0600);
    must_load(fixture, LOAD(fixture, TOKEN));
    assert_string_equal(fixture->config.droplet_id, " a #\"$b");
    assert_int_equal(fixture->config.delivery_interval_ms, 100);
    text_fini(&text);
}

static void test_world_readable_token_file_is_warned_of(void **state)
{
    struct config_fixture *fixture = *state;
    char variable[CONFIG_FIXTURE_VARIABLE_BYTES];
    config_fixture_value_file(
        fixture, "SERVICE_TOKEN", TOKEN_VALUE, sizeof TOKEN_VALUE - 1, variable);
    const char *path = strchr(variable, '=') + 1;
    assert_int_equal(chmod(path, 0600), 0);
    must_load(fixture, LOAD(fixture, ACCOUNT, CONVEX, HOME, variable));
    assert_null(fixture->config.exposed_file);
    assert_int_equal(chmod(path, 0604), 0);
    assert_int_equal(LOAD(fixture, ACCOUNT, CONVEX, HOME, variable), 0);
    must_report(fixture, "contains a secret but is readable by all users");
    assert_string_equal(fixture->config.exposed_file, path);
}

static void test_fifo_and_device_as_token_file_are_refused_at_once(void **state)
{
    struct config_fixture *fixture = *state;
    char variable[CONFIG_FIXTURE_VARIABLE_BYTES];
    snprintf(variable, sizeof variable, "SERVICE_TOKEN_FILE=%s/fifo", fixture->dir);
    assert_int_equal(mkfifo(strchr(variable, '=') + 1, 0600), 0);
    must_fail_with(fixture, LOAD(fixture, ACCOUNT, CONVEX, HOME, variable),
        "fifo is a FIFO (a pipe, as of a shell's <(...)), not a regular file; it must name a file");
    must_fail_with(fixture, LOAD(fixture, ACCOUNT, CONVEX, HOME, "SERVICE_TOKEN_FILE=/dev/zero"),
        "not a regular file");
    snprintf(variable, sizeof variable, "CA_FILE=%s/fifo", fixture->dir);
    must_fail_with(fixture, LOAD(fixture, REQUIRED, variable),
        "is a FIFO, not a regular file; expected a PEM file of certificates (from the "
        "environment)");
}

static void expect_hidden(const char *text, const char *expected)
{
    char shown[256];
    text_copy(shown, sizeof shown, text);
    redact(shown);
    assert_string_equal(shown, expected);
}

/* A proxy may be written without a scheme, and libcurl sends the decoded credentials in base64. */
static void test_credentials_of_proxies_are_registered(void **state)
{
    struct config_fixture *fixture = *state;
    must_load(fixture, LOAD(fixture, REQUIRED, "https_proxy=jonas:pa%21ssword@proxy:3128",
                           "ALL_PROXY=socks5h://other:an0therpw@proxy:1080"));
    expect_hidden("jonas:pa%21ssword@proxy", "***@proxy");
    expect_hidden("password is pa!ssword.", "password is ***.");
    expect_hidden("Basic am9uYXM6cGEhc3N3b3Jk.", "Basic ***.");
    expect_hidden("an0therpw.", "***.");
    must_load(fixture, LOAD(fixture, REQUIRED, "http_proxy=proxy:3128", "HTTPS_PROXY="));
}

/* As when the machine is short of descriptors: the same settings may do at the next start. */
static void test_refusals_of_the_system_are_no_wrong_settings(void **state)
{
    struct config_fixture *fixture = *state;
    char variable[CONFIG_FIXTURE_VARIABLE_BYTES];
    struct rlimit before;
    config_fixture_value_file(
        fixture, "SERVICE_TOKEN", TOKEN_VALUE, sizeof TOKEN_VALUE - 1, variable);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    const struct rlimit none = {.rlim_cur = 0, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    int refused = LOAD(fixture, ACCOUNT, CONVEX, HOME, variable);
    int wrong = LOAD(fixture, ACCOUNT, CONVEX, HOME, variable, "HEALTH_PORT=x");
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(refused, ERROR_SYSTEM);
    assert_int_equal(wrong, ERROR_INVALID);
    must_report(fixture, "error: SERVICE_TOKEN_FILE: cannot read ");
    must_load(fixture, LOAD(fixture, ACCOUNT, CONVEX, HOME, variable));
}

int main(void)
{
#define TEST(function) \
    cmocka_unit_test_setup_teardown(function, config_fixture_setup, config_fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_credentials_of_proxies_are_registered),
        TEST(test_refusals_of_the_system_are_no_wrong_settings),
        TEST(test_world_readable_token_file_is_warned_of),
        TEST(test_fifo_and_device_as_token_file_are_refused_at_once),
        TEST(test_environment_overrides_env_file),
        TEST(test_unreadable_env_file_is_the_only_problem),
        TEST(test_service_links_of_kubernetes_are_ignored),
        TEST(test_broken_env_file_line_is_reported_once),
        TEST(test_world_readable_env_file_with_secret_is_warned_of),
        TEST(test_values_can_come_from_files),
        TEST(test_value_file_problems_are_reported),
        TEST(test_mistakes_in_value_files_are_named),
        TEST(test_empty_variable_that_hides_the_files_value_is_told),
        TEST(test_errors_tell_where_the_value_is_from),
        TEST(test_misspelt_names_are_warned_of),
        TEST(test_no_secret_is_printed),
        TEST(test_secrets_are_registered),
        TEST(test_description_is_an_env_file),
    };
#undef TEST
    return cmocka_run_group_tests(tests, NULL, NULL);
}
