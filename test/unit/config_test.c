/*
 * Settings: defaults, fields, bounds, and the error texts for invalid values. must_fail_with
 * demands exactly one problem, so that one mistake is not reported twice.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <inttypes.h>
#include <stdio.h>

#include "../lib/config_fixture.h"

static void test_defaults_need_only_the_required_settings(void **state)
{
    struct config_fixture *fixture = *state;
    must_load(fixture, LOAD(fixture, REQUIRED));
    const struct config *config = &fixture->config;
    assert_string_equal(config->account_id, "k57abc");
    assert_string_equal(config->convex_url, "https://happy-otter-42.convex.cloud");
    assert_string_equal(config->service_token, TOKEN_VALUE);
    assert_string_equal(config->gateway_url, "http://127.0.0.1:18789");
    assert_string_equal(config->gateway_token, "local");
    assert_null(config->openclaw_version);
    assert_string_equal(config->runtime_version, MISSION_CONTROL_VERSION);
    assert_string_equal(config->health_host, "127.0.0.1");
    assert_int_equal(config->health_port, 3001);
    assert_int_equal(config->delivery_interval_ms, 5000);
    assert_int_equal(config->delivery_interval_active_ms, 1000);
    assert_int_equal(config->delivery_interval_idle_ms, 5000);
    assert_int_equal(config->health_check_interval_ms, 60000);
    assert_int_equal(config->agent_sync_interval_ms, 60000);
    assert_int_equal(config->delivery_backoff_base_ms, 5000);
    assert_int_equal(config->delivery_backoff_max_ms, 300000);
    assert_int_equal(config->gateway_timeout_ms, 60000);
    assert_int_equal(config->delivery_workers, 10);
    assert_int_equal(config->delivery_list_limit, 50);
    assert_int_equal(config->delivery_queue_capacity, 1024);
    assert_int_equal(config->shutdown_grace_ms, 65000);
    assert_string_equal(config->state_dir, "/home/jo/.local/state/mission-control-runtime/k57abc");
    assert_null(config->ca_file);
    assert_int_equal(config->log_level, LOG_LEVEL_INFO);
    assert_int_equal(config->log_as_json, 0);
    assert_string_equal(config->droplet_id, "unknown");
    assert_string_equal(config->droplet_ip, "unknown");
    assert_string_equal(config->droplet_region, "unknown");
    assert_string_equal(config->upgrade_mode, "exit");
    assert_int_equal(config->backend_pin, BACKEND_PIN_AUTO);
    assert_int_equal(config->delivery_lanes, LANES_AUTO);
    assert_int_equal(config->delivery_stream_timeout_ms, 120000);
    assert_int_equal(config->delivery_context_fetch_batch_size, 15);
    assert_int_equal(config->delivery_max_tool_rounds, 12);
    assert_true(config->client_tools_enabled);
    assert_false(config->profile_sync);
    assert_string_equal(config->workspace_root, "/root/clawd/agents");
    assert_null(config->task_status_base_url);
}

/* Distinct values, so that two options with the same field would be noticed. */
static void test_numbers_reach_their_fields(void **state)
{
    struct config_fixture *fixture = *state;
    must_load(fixture,
        LOAD(fixture, REQUIRED, "HEALTH_PORT=0", "DELIVERY_INTERVAL=11", "HEALTH_CHECK_INTERVAL=12",
            "AGENT_SYNC_INTERVAL=13", "DELIVERY_BACKOFF_BASE_MS=14", "DELIVERY_BACKOFF_MAX_MS=15",
            "OPENCLAW_REQUEST_TIMEOUT_MS=116", "DELIVERY_MAX_CONCURRENT_SESSIONS=17",
            "DELIVERY_LIST_LIMIT=18", "DELIVERY_QUEUE_CAPACITY=19", "SHUTDOWN_GRACE_MS=120",
            "DELIVERY_CONTEXT_FETCH_BATCH_SIZE=21", "DELIVERY_STREAM_TIMEOUT_MS=5022",
            "DELIVERY_MAX_TOOL_ROUNDS=23", "DELIVERY_INTERVAL_ACTIVE=10",
            "DELIVERY_INTERVAL_IDLE=24"));
    const struct config *config = &fixture->config;
    assert_int_equal(config->health_port, 0);
    assert_int_equal(config->delivery_interval_ms, 11);
    assert_int_equal(config->delivery_interval_active_ms, 10);
    assert_int_equal(config->delivery_interval_idle_ms, 24);
    assert_int_equal(config->health_check_interval_ms, 12);
    assert_int_equal(config->agent_sync_interval_ms, 13);
    assert_int_equal(config->delivery_backoff_base_ms, 14);
    assert_int_equal(config->delivery_backoff_max_ms, 15);
    assert_int_equal(config->gateway_timeout_ms, 116);
    assert_int_equal(config->delivery_workers, 17);
    assert_int_equal(config->delivery_list_limit, 18);
    assert_int_equal(config->delivery_queue_capacity, 19);
    assert_int_equal(config->shutdown_grace_ms, 120);
    assert_int_equal(config->delivery_context_fetch_batch_size, 21);
    assert_int_equal(config->delivery_stream_timeout_ms, 5022);
    assert_int_equal(config->delivery_max_tool_rounds, 23);
}

static void test_strings_reach_their_fields(void **state)
{
    struct config_fixture *fixture = *state;
    char ca_file[CONFIG_FIXTURE_PATH_BYTES + 16];
    config_fixture_env_file(fixture, "-----BEGIN CERTIFICATE-----\n", 0600);
    fixture->has_env_file = false;
    snprintf(ca_file, sizeof ca_file, "CA_FILE=%s", fixture->env_file);
    must_load(fixture,
        LOAD(fixture, REQUIRED, "OPENCLAW_VERSION= 2026.2.19 ", "RUNTIME_VERSION= 9 ",
            "HEALTH_HOST=::", "LOG_LEVEL=WARN", "LOG_FORMAT=json", "DROPLET_ID= 1", "DROPLET_IP=2",
            "DROPLET_REGION=3\"", "UPGRADE_MODE=off", "STATE_DIR=/srv/state/", ca_file,
            "OPENCLAW_GATEWAY_COMMAND= openclaw gateway '--port' 1 ",
            "OPENCLAW_WORKSPACE_ROOT='/srv/agents/'",
            "TASK_STATUS_BASE_URL=\"http://runtime:3/\""));
    const struct config *config = &fixture->config;
    assert_string_equal(config->openclaw_version, "2026.2.19");
    assert_string_equal(config->runtime_version, " 9 ");
    assert_string_equal(config->health_host, "::");
    assert_int_equal(config->log_level, LOG_LEVEL_WARN);
    assert_int_equal(config->log_as_json, 1);
    assert_string_equal(config->droplet_id, " 1");
    assert_string_equal(config->droplet_ip, "2");
    assert_string_equal(config->droplet_region, "3\"");
    assert_string_equal(config->upgrade_mode, "off");
    assert_string_equal(config->state_dir, "/srv/state");
    assert_string_equal(config->ca_file, fixture->env_file);
    assert_string_equal(config->gateway_command, "openclaw gateway '--port' 1");
    assert_string_equal(config->workspace_root, "/srv/agents");
    assert_string_equal(config->task_status_base_url, "http://runtime:3");
}

static void test_empty_counts_as_unset(void **state)
{
    struct config_fixture *fixture = *state;
    must_load(fixture, LOAD(fixture, REQUIRED, "HEALTH_PORT=", "LOG_LEVEL=", "DROPLET_ID=",
                           "STATE_DIR=", "OPENCLAW_VERSION=  ", "SERVICE_TOKEN_FILE=", "CA_FILE=",
                           "SHUTDOWN_GRACE_MS= ", "RUNTIME_VERSION="));
    assert_int_equal(fixture->config.health_port, 3001);
    assert_int_equal(fixture->config.log_level, LOG_LEVEL_INFO);
    assert_string_equal(fixture->config.droplet_id, "unknown");
    assert_null(fixture->config.openclaw_version);
    assert_null(fixture->config.ca_file);
    assert_int_equal(fixture->config.shutdown_grace_ms, 65000);
    assert_string_equal(fixture->config.runtime_version, MISSION_CONTROL_VERSION);
}

static void test_blanks_and_quotes_are_stripped(void **state)
{
    struct config_fixture *fixture = *state;
    must_load(fixture,
        LOAD(fixture, "ACCOUNT_ID= \"k57abc\" ", "CONVEX_URL=' http://localhost:3210/// '",
            "SERVICE_TOKEN='mc_service_k57abc_9f8e7d6c5b4a3f2e'\r\n", HOME, "HEALTH_PORT= 80 ",
            "HEALTH_HOST= '127.0.0.1' ", "OPENCLAW_GATEWAY_URL=\"http://openclaw-gateway:18789/\"",
            "OPENCLAW_GATEWAY_TOKEN=\xC2\xA0\"s3cr3t'"));
    assert_string_equal(fixture->config.account_id, "k57abc");
    assert_string_equal(fixture->config.convex_url, "http://localhost:3210");
    assert_string_equal(fixture->config.service_token, TOKEN_VALUE);
    assert_string_equal(fixture->config.gateway_url, "http://openclaw-gateway:18789");
    assert_string_equal(fixture->config.gateway_token, "\"s3cr3t'");
    assert_int_equal(fixture->config.health_port, 80);
    assert_string_equal(fixture->config.health_host, "127.0.0.1");
}

static void test_each_missing_setting_is_reported(void **state)
{
    struct config_fixture *fixture = *state;
    assert_int_equal(LOAD(fixture, HOME), ERROR_INVALID);
    assert_int_equal(fixture->problems.count, 3);
    must_report(fixture, "error: ACCOUNT_ID is missing");
    must_report(fixture, "error: CONVEX_URL is missing");
    must_report(fixture, "error: SERVICE_TOKEN is missing");
    /* Blanks, an empty pair of quotes and a lone quote count as missing. */
    assert_int_equal(
        LOAD(fixture, HOME, "ACCOUNT_ID=  ", "CONVEX_URL=\"\"", "SERVICE_TOKEN='"), ERROR_INVALID);
    assert_int_equal(fixture->problems.count, 3);
}

static void test_all_problems_are_reported_at_once(void **state)
{
    struct config_fixture *fixture = *state;
    assert_int_equal(
        LOAD(fixture, "CONVEX_URL=happy-otter-42.convex.cloud", "SERVICE_TOKEN=nonsense", HOME,
            "HEALTH_PORT=99999", "DELIVERY_INTERVAL=5s", "LOG_LEVEL=loud",
            "OPENCLAW_GATEWAY_URL=https://far.example", "CA_FILE=/nowhere/ca.pem",
            "OPENCLAW_GATEWAY_TOKEN_FILE=/nowhere/token"),
        ERROR_INVALID);
    must_report(fixture, "error: ACCOUNT_ID is missing");
    must_report(fixture,
        "error: CONVEX_URL \"happy-otter-42.convex.cloud\" does not begin with http:// or "
        "https://. Invalid CONVEX_URL. Expected a valid URL like "
        "https://happy-animal-123.convex.cloud.");
    must_report(fixture, "error: Invalid SERVICE_TOKEN format.");
    must_report(fixture, "error: HEALTH_PORT \"99999\" is out of range; expected a whole number, "
                         "0..65535");
    must_report(fixture, "error: DELIVERY_INTERVAL \"5s\" is not a whole number; expected a whole "
                         "number without a unit, 10..86400000 ms");
    must_report(fixture, "error: LOG_LEVEL \"loud\" is not one of the choices; expected one of: "
                         "debug, info, warn, error");
    must_report(fixture, "error: CA_FILE \"/nowhere/ca.pem\" cannot be read: No such file or "
                         "directory; expected");
    must_report(fixture, "error: OPENCLAW_GATEWAY_TOKEN_FILE: cannot read /nowhere/token: No such");
    assert_int_equal(fixture->problems.count, 8);
}

static void test_numbers_are_strict(void **state)
{
    struct config_fixture *fixture = *state;
    static const char *const wrong[] = {"30x1", "-5", "+5", "1e3", "0x50", "80.0", "8 0", "65536",
        "99999", "99999999999999999999999999999999999999", "-0", "\xEF\xBC\x98"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        char variable[CONFIG_FIXTURE_VARIABLE_BYTES];
        snprintf(variable, sizeof variable, "HEALTH_PORT=%s", wrong[i]);
        must_fail_with(fixture, LOAD(fixture, REQUIRED, variable), "HEALTH_PORT \"");
        must_report(fixture, "0..65535");
    }
    must_load(fixture, LOAD(fixture, REQUIRED, "HEALTH_PORT=0065535"));
    assert_int_equal(fixture->config.health_port, 65535);
}

static void test_bounds_are_inclusive(void **state)
{
    struct config_fixture *fixture = *state;
    static const struct {
        const char *name;
        int64_t min, max;
    } bounds[] = {{"DELIVERY_MAX_CONCURRENT_SESSIONS", 1, 256}, {"DELIVERY_LIST_LIMIT", 1, 500},
        {"DELIVERY_QUEUE_CAPACITY", 16, 65536}, {"DELIVERY_INTERVAL", 10, 86400000},
        {"AGENT_SYNC_INTERVAL", 10, 86400000}, {"OPENCLAW_REQUEST_TIMEOUT_MS", 100, 3600000},
        {"SHUTDOWN_GRACE_MS", 100, 7200000}, {"DELIVERY_STREAM_TIMEOUT_MS", 5000, 3600000},
        {"DELIVERY_CONTEXT_FETCH_BATCH_SIZE", 1, 50}, {"DELIVERY_MAX_TOOL_ROUNDS", 1, 100}};
    for (size_t i = 0; i < sizeof bounds / sizeof bounds[0]; i++)
        for (int64_t off = 0; off <= 1; off++) {
            char low[80];
            char high[80];
            snprintf(low, sizeof low, "%s=%" PRId64, bounds[i].name, bounds[i].min - off);
            snprintf(high, sizeof high, "%s=%" PRId64, bounds[i].name, bounds[i].max + off);
            assert_int_equal(LOAD(fixture, REQUIRED, low), off == 0 ? 0 : ERROR_INVALID);
            assert_int_equal(LOAD(fixture, REQUIRED, high), off == 0 ? 0 : ERROR_INVALID);
        }
}

static void test_choices_ignore_case(void **state)
{
    struct config_fixture *fixture = *state;
    static const char *const levels[] = {"debug", "Info", "WARN", "error"};
    for (size_t i = 0; i < 4; i++) {
        char variable[32];
        snprintf(variable, sizeof variable, "LOG_LEVEL=%s", levels[i]);
        must_load(fixture, LOAD(fixture, REQUIRED, variable));
        assert_int_equal(fixture->config.log_level, i);
    }
    must_fail_with(fixture, LOAD(fixture, REQUIRED, "LOG_LEVEL=warning"), "LOG_LEVEL \"warning\"");
    must_fail_with(fixture, LOAD(fixture, REQUIRED, "LOG_LEVEL=inf"), "LOG_LEVEL \"inf\"");
    must_fail_with(fixture, LOAD(fixture, REQUIRED, "LOG_FORMAT=xml"),
        "LOG_FORMAT \"xml\" is not one of the choices; expected one of: text, json");
}

static void test_version_and_lanes_are_choices(void **state)
{
    struct config_fixture *fixture = *state;
    must_load(fixture, LOAD(fixture, REQUIRED, "BACKEND_VERSION=V1", "DELIVERY_LANES=session"));
    assert_int_equal(fixture->config.backend_pin, BACKEND_PIN_V1);
    assert_int_equal(fixture->config.delivery_lanes, LANES_SESSION);
    must_load(fixture, LOAD(fixture, REQUIRED, "BACKEND_VERSION=v0", "DELIVERY_LANES=agent"));
    assert_int_equal(fixture->config.backend_pin, BACKEND_PIN_V0);
    assert_int_equal(fixture->config.delivery_lanes, LANES_AGENT);
    must_fail_with(fixture, LOAD(fixture, REQUIRED, "BACKEND_VERSION=1"),
        "BACKEND_VERSION \"1\" is not one of the choices; expected one of: auto, v0, v1");
    must_fail_with(fixture, LOAD(fixture, REQUIRED, "DELIVERY_LANES=task"),
        "expected one of: auto, agent, session");
}

static void test_booleans_are_strict(void **state)
{
    struct config_fixture *fixture = *state;
    static const char *const words[] = {"false", "true", "NO", "Yes", "off", "ON", "0", "\"1\""};
    static const char *const wrong[] = {"2", "enabled", "y", "truefalse", "-1"};
    char variable[CONFIG_FIXTURE_VARIABLE_BYTES];
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        snprintf(variable, sizeof variable, "OPENCLAW_PROFILE_SYNC= %s ", words[i]);
        must_load(fixture, LOAD(fixture, REQUIRED, variable));
        assert_int_equal(fixture->config.profile_sync, i % 2);
    }
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        snprintf(variable, sizeof variable, "OPENCLAW_CLIENT_TOOLS_ENABLED=%s", wrong[i]);
        must_fail_with(fixture, LOAD(fixture, REQUIRED, variable),
            "is neither true nor false; expected one of: true, false, yes, no, on, off, 1, 0");
    }
    must_load(fixture, LOAD(fixture, REQUIRED, "OPENCLAW_CLIENT_TOOLS_ENABLED="));
    assert_true(fixture->config.client_tools_enabled);
}

static void test_control_characters_and_broken_utf8_are_refused(void **state)
{
    struct config_fixture *fixture = *state;
    must_fail_with(fixture, LOAD(fixture, REQUIRED, "DROPLET_ID=\xFF"),
        "DROPLET_ID \"?\" contains bytes that are not UTF-8");
    must_fail_with(fixture, LOAD(fixture, REQUIRED, "DROPLET_REGION=fra1\r"),
        "DROPLET_REGION \"fra1 \" contains a control character");
    must_fail_with(fixture, LOAD(fixture, REQUIRED, "OPENCLAW_GATEWAY_TOKEN=s3cr3t\rX: y"),
        "OPENCLAW_GATEWAY_TOKEN (secret, not shown) contains a control character");
}

int main(void)
{
#define TEST(function) \
    cmocka_unit_test_setup_teardown(function, config_fixture_setup, config_fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_defaults_need_only_the_required_settings),
        TEST(test_numbers_reach_their_fields),
        TEST(test_strings_reach_their_fields),
        TEST(test_empty_counts_as_unset),
        TEST(test_blanks_and_quotes_are_stripped),
        TEST(test_each_missing_setting_is_reported),
        TEST(test_all_problems_are_reported_at_once),
        TEST(test_numbers_are_strict),
        TEST(test_bounds_are_inclusive),
        TEST(test_choices_ignore_case),
        TEST(test_version_and_lanes_are_choices),
        TEST(test_booleans_are_strict),
        TEST(test_control_characters_and_broken_utf8_are_refused),
    };
#undef TEST
    return cmocka_run_group_tests_name("config", tests, NULL, NULL);
}
