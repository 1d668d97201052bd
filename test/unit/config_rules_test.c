/* Rules for single settings, and rules between settings. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../lib/config_fixture.h"
#include "config/options.h"

static void test_service_token_must_match_the_account(void **state)
{
    struct config_fixture *fixture = *state;
    static const char *const cases[][2] = {
        {"SERVICE_TOKEN=k57abc_9f8e7d6c5b4a3f2e",
            "Invalid SERVICE_TOKEN format. Expected a token starting with mc_service_."},
        {"SERVICE_TOKEN=MC_SERVICE_k57abc_9f8e7d6c5b4a3f2e", "Invalid SERVICE_TOKEN format."},
        {"SERVICE_TOKEN=mc_service_9f8e7d6c5b4a3f2e",
            "Invalid SERVICE_TOKEN structure. Expected mc_service_{accountId}_{secret}."},
        {"SERVICE_TOKEN=mc_service_k57_9f8e7d6c5b4a3f2e",
            "SERVICE_TOKEN account mismatch. Token is for k57, but ACCOUNT_ID is k57abc."},
        {"SERVICE_TOKEN=mc_service_k57abcd_9f8e7d6c5b4a3f2e", "Token is for k57abcd, but"},
        {"SERVICE_TOKEN=mc_service_k57abc_9f8e7d6c5b4a3f2e\x01", "contains a control character"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        must_fail_with(fixture, LOAD(fixture, ACCOUNT, CONVEX, HOME, cases[i][0]), cases[i][1]);
        char *messages = config_fixture_messages(fixture);
        assert_null(strstr(messages, "9f8e7d6c5b4a3f2e"));
        free(messages);
    }
    /* The secret may contain further '_' or be empty (docs/protocol.md, "Backend functions"). */
    must_load(fixture, LOAD(fixture, ACCOUNT, CONVEX, HOME, "SERVICE_TOKEN=mc_service_k57abc_"));
    must_load(
        fixture, LOAD(fixture, ACCOUNT, CONVEX, HOME, "SERVICE_TOKEN=mc_service_k57abc_a_b_c"));
}

static void test_account_id_must_be_a_safe_name(void **state)
{
    struct config_fixture *fixture = *state;
    static const char *const wrong[] = {"../etc", "a/b", "a b", ".", "..", "\xC3\xA4"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        char account[64];
        char token[64];
        snprintf(account, sizeof account, "ACCOUNT_ID=%s", wrong[i]);
        snprintf(token, sizeof token, "SERVICE_TOKEN=mc_service_%s_s3cr3t", wrong[i]);
        must_fail_with(fixture, LOAD(fixture, account, token, CONVEX, HOME), "ACCOUNT_ID \"");
    }
}

static void test_convex_url_must_be_a_deployment(void **state)
{
    struct config_fixture *fixture = *state;
    static const char *const wrong[][2] = {
        {"CONVEX_URL=https://happy.convex.site", "expected the one that ends in "
                                                 ".convex.cloud"},
        {"CONVEX_URL=https://happy.CONVEX.site./", ".convex.cloud"},
        {"CONVEX_URL=wss://happy.convex.cloud", "does not begin with http:// or https://"},
        {"CONVEX_URL=https://", "has no host"},
        {"CONVEX_URL=https://a b.example", "contains white space"},
        {"CONVEX_URL=https://h:0", "port"},
        {"CONVEX_URL=https://jo:s3cr3t@h", "user name or password"},
        {"CONVEX_URL=https://h/?key=s3cr3t", "query or fragment"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        must_fail_with(fixture, LOAD(fixture, ACCOUNT, TOKEN, HOME, wrong[i][0]), wrong[i][1]);
        must_report(fixture, "error: CONVEX_URL ");
        char *messages = config_fixture_messages(fixture);
        assert_null(strstr(messages, "s3cr3t"));
        free(messages);
    }
    must_load(fixture, LOAD(fixture, ACCOUNT, TOKEN, HOME, "CONVEX_URL=http://h:3210/convex/"));
    assert_string_equal(fixture->config.convex_url, "http://h:3210/convex");
    must_load(fixture, LOAD(fixture, ACCOUNT, TOKEN, HOME, "CONVEX_URL=https://xconvex.site"));
}

static void test_gateway_url_must_be_http_or_empty(void **state)
{
    struct config_fixture *fixture = *state;
    static const char *const wrong[] = {"localhost:18789", "ftp://127.0.0.1", "http://", "http:/x",
        "127.0.0.1", "unix:///run/gateway"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        char variable[80];
        snprintf(variable, sizeof variable, "OPENCLAW_GATEWAY_URL=%s", wrong[i]);
        must_fail_with(fixture, LOAD(fixture, REQUIRED, variable),
            "Invalid OPENCLAW_GATEWAY_URL. Expected a valid URL like http://127.0.0.1:18789.");
    }
    must_load(fixture, LOAD(fixture, REQUIRED, "OPENCLAW_GATEWAY_URL= '' "));
    assert_string_equal(fixture->config.gateway_url, "");
    assert_null(fixture->config.gateway_token);
    must_load(
        fixture, LOAD(fixture, REQUIRED, "OPENCLAW_GATEWAY_URL=", "OPENCLAW_GATEWAY_TOKEN=s3cr3t"));
    assert_string_equal(fixture->config.gateway_token, "s3cr3t");
}

static void test_gateway_token_defaults_for_local_gateways_only(void **state)
{
    struct config_fixture *fixture = *state;
    static const struct {
        const char *url;
        bool is_local;
    } cases[] = {{"http://localhost:18789", true}, {"https://LOCALHOST", true},
        {"http://127.0.0.1/gateway", true}, {"http://[::1]:18789", true},
        {"http://0.0.0.0:1", true}, {"http://openclaw-gateway:18789", true},
        {"http://127.0.0.2", false}, {"https://localhost.example", false},
        {"http://openclaw-gateway2", false}, {"https://[::2]", false},
        {"https://far.example/localhost", false}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char variable[80];
        snprintf(variable, sizeof variable, "OPENCLAW_GATEWAY_URL=%s", cases[i].url);
        int result = LOAD(fixture, REQUIRED, variable);
        if (cases[i].is_local) {
            must_load(fixture, result);
            assert_string_equal(fixture->config.gateway_token, "local");
            continue;
        }
        must_fail_with(fixture, result,
            "OPENCLAW_GATEWAY_TOKEN is required for non-local OPENCLAW_GATEWAY_URL.");
        must_load(fixture, LOAD(fixture, REQUIRED, variable, "OPENCLAW_GATEWAY_TOKEN= t0k3n "));
        assert_string_equal(fixture->config.gateway_token, "t0k3n");
        must_load(fixture, LOAD(fixture, REQUIRED, variable, "OPENCLAW_GATEWAY_TOKEN=\" \""));
        assert_string_equal(fixture->config.gateway_token, "");
    }
}

static void test_gateway_command_must_be_well_quoted(void **state)
{
    struct config_fixture *fixture = *state;
    static const char *const wrong[][2] = {
        {"OPENCLAW_GATEWAY_COMMAND=openclaw 'gateway",
            "COMMAND \"openclaw 'gateway\" has an unterminated single"},
        {"OPENCLAW_GATEWAY_COMMAND=openclaw \"gateway", "has an unterminated double quote"},
        {"OPENCLAW_GATEWAY_COMMAND=openclaw \\", "ends with a backslash"},
        {"OPENCLAW_GATEWAY_COMMAND=''", "does not name a program"},
        {"OPENCLAW_GATEWAY_COMMAND=\"\" gateway", "does not name a program"},
        {"OPENCLAW_GATEWAY_COMMAND=openclaw\x01gateway", "contains a control character"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        must_fail_with(fixture, LOAD(fixture, REQUIRED, wrong[i][0]), wrong[i][1]);
    must_load(fixture, LOAD(fixture, REQUIRED, "OPENCLAW_GATEWAY_COMMAND= "));
    assert_null(fixture->config.gateway_command);
}

static void test_gateway_command_needs_a_url(void **state)
{
    struct config_fixture *fixture = *state;
    static const char *const right[] = {"OPENCLAW_GATEWAY_URL=http://localhost:1",
        "OPENCLAW_GATEWAY_URL=https://192.0.2.1:1", "OPENCLAW_GATEWAY_URL=http://[::1]:1",
        "OPENCLAW_GATEWAY_URL=http://openclaw-gateway:1"};
    for (size_t i = 0; i < sizeof right / sizeof right[0]; i++)
        must_load(fixture, LOAD(fixture, REQUIRED, "OPENCLAW_GATEWAY_COMMAND=gw", right[i],
                               "OPENCLAW_GATEWAY_TOKEN=sesame-open"));
    must_fail_with(fixture,
        LOAD(fixture, REQUIRED, "OPENCLAW_GATEWAY_COMMAND=gw", "OPENCLAW_GATEWAY_URL="),
        "OPENCLAW_GATEWAY_URL is empty");
    must_fail_with(fixture,
        LOAD(fixture, REQUIRED, "OPENCLAW_GATEWAY_COMMAND=gw", "OPENCLAW_GATEWAY_URL=18789"),
        "OPENCLAW_GATEWAY_URL \"18789\"");
}

static void test_backoff_and_grace_default_to_related_settings(void **state)
{
    struct config_fixture *fixture = *state;
    must_fail_with(fixture,
        LOAD(fixture, REQUIRED, "DELIVERY_BACKOFF_BASE_MS=200", "DELIVERY_BACKOFF_MAX_MS=100"),
        "DELIVERY_BACKOFF_MAX_MS 100 is less than DELIVERY_BACKOFF_BASE_MS; expected 200 or more");
    must_load(fixture, LOAD(fixture, REQUIRED, "DELIVERY_BACKOFF_BASE_MS=400000"));
    assert_int_equal(fixture->config.delivery_backoff_max_ms, 400000);
    must_fail_with(fixture, LOAD(fixture, REQUIRED, "DELIVERY_BACKOFF_MAX_MS=x"),
        "DELIVERY_BACKOFF_MAX_MS \"x\"");
    must_load(fixture, LOAD(fixture, REQUIRED, "OPENCLAW_REQUEST_TIMEOUT_MS=3600000"));
    assert_int_equal(fixture->config.shutdown_grace_ms, 3605000);
    assert_int_equal(LOAD(fixture, REQUIRED, "HEALTH_CHECK_INTERVAL=90001"), 0);
    must_report(fixture, "warning: HEALTH_CHECK_INTERVAL 90001 is too long");
    must_load(fixture, LOAD(fixture, REQUIRED, "HEALTH_CHECK_INTERVAL=90000"));
}

static void test_stream_timeout_defaults_to_two_runs(void **state)
{
    struct config_fixture *fixture = *state;
    static const struct {
        const char *timeout;
        int64_t expected_ms;
    } cases[] = {{"OPENCLAW_REQUEST_TIMEOUT_MS=300000", 600000},
        {"OPENCLAW_REQUEST_TIMEOUT_MS=100", 5000},
        {"OPENCLAW_REQUEST_TIMEOUT_MS=3600000", 3600000}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        must_load(fixture, LOAD(fixture, REQUIRED, cases[i].timeout));
        assert_int_equal(fixture->config.delivery_stream_timeout_ms, cases[i].expected_ms);
    }
    must_load(fixture, LOAD(fixture, REQUIRED, "DELIVERY_STREAM_TIMEOUT_MS=7000"));
    assert_int_equal(fixture->config.delivery_stream_timeout_ms, 7000);
}

static void test_intervals_of_polls_follow_the_normal_one(void **state)
{
    struct config_fixture *fixture = *state;
    must_load(fixture, LOAD(fixture, REQUIRED, "DELIVERY_INTERVAL=400"));
    assert_int_equal(fixture->config.delivery_interval_active_ms, 400);
    assert_int_equal(fixture->config.delivery_interval_idle_ms, 400);
    must_load(fixture, LOAD(fixture, REQUIRED, "DELIVERY_INTERVAL=15000"));
    assert_int_equal(fixture->config.delivery_interval_active_ms, 1000);
    assert_int_equal(fixture->config.delivery_interval_idle_ms, 15000);
    must_load(fixture,
        LOAD(fixture, REQUIRED, "DELIVERY_INTERVAL_ACTIVE=5000", "DELIVERY_INTERVAL_IDLE=60000"));
    assert_int_equal(fixture->config.delivery_interval_active_ms, 5000);
    assert_int_equal(fixture->config.delivery_interval_idle_ms, 60000);
}

static void test_intervals_of_polls_must_be_in_order(void **state)
{
    struct config_fixture *fixture = *state;
    must_fail_with(fixture, LOAD(fixture, REQUIRED, "DELIVERY_INTERVAL_ACTIVE=5001"),
        "DELIVERY_INTERVAL_ACTIVE 5001 is more than DELIVERY_INTERVAL; expected 5000 or less");
    must_fail_with(fixture, LOAD(fixture, REQUIRED, "DELIVERY_INTERVAL_IDLE=4999"),
        "DELIVERY_INTERVAL_IDLE 4999 is less than DELIVERY_INTERVAL; expected 5000 or more");
    /* A wrong interval is one mistake, not two. */
    must_fail_with(fixture,
        LOAD(fixture, REQUIRED, "DELIVERY_INTERVAL=5s", "DELIVERY_INTERVAL_ACTIVE=1000"),
        "DELIVERY_INTERVAL \"5s\"");
}

static void test_workspace_root_must_be_an_absolute_path(void **state)
{
    struct config_fixture *fixture = *state;
    static const char *const wrong[] = {"OPENCLAW_WORKSPACE_ROOT=agents",
        "OPENCLAW_WORKSPACE_ROOT=./agents", "OPENCLAW_WORKSPACE_ROOT=/",
        "OPENCLAW_WORKSPACE_ROOT=//"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        must_fail_with(fixture, LOAD(fixture, REQUIRED, wrong[i]), "expected an absolute path");
    must_fail_with(
        fixture, LOAD(fixture, REQUIRED, "OPENCLAW_WORKSPACE_ROOT=~/a"), "only a shell expands");
}

static void test_the_agents_file_is_beside_the_root(void **state)
{
    struct config_fixture *fixture = *state;
    must_load(fixture, LOAD(fixture, REQUIRED));
    assert_string_equal(fixture->config.agents_file, "/root/clawd/mission-control-agents.json");
    assert_string_equal(fixture->config.workspace_root_in_gateway, "/root/clawd/agents");
    must_load(fixture, LOAD(fixture, REQUIRED, "OPENCLAW_WORKSPACE_ROOT=/agents"));
    assert_string_equal(fixture->config.agents_file, "/agents/mission-control-agents.json");
    must_load(fixture,
        LOAD(fixture, REQUIRED, "OPENCLAW_WORKSPACE_ROOT=/srv/a/",
            "OPENCLAW_WORKSPACE_ROOT_IN_GATEWAY=/seen/", "OPENCLAW_AGENTS_FILE=/own/agents.json"));
    assert_string_equal(fixture->config.agents_file, "/own/agents.json");
    assert_string_equal(fixture->config.workspace_root_in_gateway, "/seen");
    static const char *const wrong[] = {"OPENCLAW_AGENTS_FILE=agents.json",
        "OPENCLAW_AGENTS_FILE=/", "OPENCLAW_WORKSPACE_ROOT_IN_GATEWAY=seen"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        must_fail_with(fixture, LOAD(fixture, REQUIRED, wrong[i]), "expected an absolute path");
}

/* What the gateway and its agents can read must not hold the runtime's secrets. */
static void test_the_state_is_apart_from_the_workspaces(void **state)
{
    struct config_fixture *fixture = *state;
    static const struct {
        const char *state_dir;
        const char *place;
        bool apart;
    } cases[] = {
        {"STATE_DIR=/srv/a", "OPENCLAW_WORKSPACE_ROOT=/srv/a", false},
        {"STATE_DIR=/srv/a/state", "OPENCLAW_WORKSPACE_ROOT=/srv/a", false},
        {"STATE_DIR=/srv/a", "OPENCLAW_WORKSPACE_ROOT=/srv/a/agents", false},
        {"STATE_DIR=/srv/a", "OPENCLAW_AGENTS_FILE=/srv/a/agents.json", false},
        {"STATE_DIR=/srv//./a//state", "OPENCLAW_WORKSPACE_ROOT=/srv/a", false},
        {"STATE_DIR=/proc/self/root/srv/a", "OPENCLAW_WORKSPACE_ROOT=/srv/a", false},
        {"STATE_DIR=/srv/a", "OPENCLAW_WORKSPACE_ROOT=/srv/ab", true},
        {"STATE_DIR=/srv/ab", "OPENCLAW_WORKSPACE_ROOT=/srv/a", true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        must_load(fixture, LOAD(fixture, REQUIRED, cases[i].state_dir, cases[i].place));
        int result = LOAD(
            fixture, REQUIRED, cases[i].state_dir, cases[i].place, "OPENCLAW_PROFILE_SYNC=true");
        if (cases[i].apart)
            must_load(fixture, result);
        else
            must_fail_with(fixture, result, "the state directory holds secrets");
    }
}

static void test_task_status_base_url_must_be_http(void **state)
{
    struct config_fixture *fixture = *state;
    static const char *const wrong[] = {
        "runtime:3000", "ftp://runtime", "http://", "http://h/?a=b"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        char variable[80];
        snprintf(variable, sizeof variable, "TASK_STATUS_BASE_URL=%s", wrong[i]);
        must_fail_with(fixture, LOAD(fixture, REQUIRED, variable),
            "Invalid TASK_STATUS_BASE_URL. Expected a valid URL like http://runtime:3001.");
    }
}

/* Agents are told an address, so it has to be one that they can reach. */
static void test_address_for_agents_must_fit_the_one_listened_on(void **state)
{
    struct config_fixture *fixture = *state;
    static const char *const suspicious[][3] = {
        {"HEALTH_HOST=0.0.0.0", "TASK_STATUS_BASE_URL=", "set TASK_STATUS_BASE_URL"},
        {"HEALTH_HOST=::", "TASK_STATUS_BASE_URL=", "set TASK_STATUS_BASE_URL"},
        {"HEALTH_HOST=127.0.0.1", "TASK_STATUS_BASE_URL=http://runtime:3001",
            "sends agents to runtime"},
        {"HEALTH_HOST=localhost", "TASK_STATUS_BASE_URL=http://10.0.0.1:3001", "10.0.0.1"},
    };
    static const char *const fitting[][2] = {
        {"HEALTH_HOST=0.0.0.0", "TASK_STATUS_BASE_URL=http://runtime:3001"},
        {"HEALTH_HOST=127.0.0.1", "TASK_STATUS_BASE_URL=http://localhost:3001"},
        {"HEALTH_HOST=::1", "TASK_STATUS_BASE_URL=http://[::1]:3001"},
        {"HEALTH_HOST=10.0.0.1", "TASK_STATUS_BASE_URL="},
    };
    for (size_t i = 0; i < sizeof suspicious / sizeof suspicious[0]; i++) {
        assert_int_equal(LOAD(fixture, REQUIRED, suspicious[i][0], suspicious[i][1]), 0);
        assert_int_equal(fixture->problems.count, 1);
        must_report(fixture, suspicious[i][2]);
    }
    for (size_t i = 0; i < sizeof fitting / sizeof fitting[0]; i++)
        must_load(fixture, LOAD(fixture, REQUIRED, fitting[i][0], fitting[i][1]));
}

static void test_state_dir_follows_the_environment(void **state)
{
    struct config_fixture *fixture = *state;
    static const char *const cases[][3] = {
        {"STATE_DIRECTORY=/var/lib/mc:/var/lib/other", "XDG_STATE_HOME=/xdg", "/var/lib/mc"},
        {"STATE_DIRECTORY=", "XDG_STATE_HOME=/xdg", "/xdg/mission-control-runtime/k57abc"},
        {"STATE_DIRECTORY=/var/lib/mc", "STATE_DIR=/chosen", "/chosen"},
        {"XDG_STATE_HOME=relative",
            "STATE_DIR=", "/home/jo/.local/state/mission-control-runtime/k57abc"},
        {"STATE_DIR=/", "XDG_STATE_HOME=", "/"},
        {"STATE_DIR=state//", "XDG_STATE_HOME=", "state"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        must_load(fixture, LOAD(fixture, REQUIRED, cases[i][0], cases[i][1]));
        assert_string_equal(fixture->config.state_dir, cases[i][2]);
    }
    must_fail_with(fixture, LOAD(fixture, ACCOUNT, CONVEX, TOKEN),
        "STATE_DIR is not set, and there is no HOME");
    must_fail_with(fixture, LOAD(fixture, REQUIRED, "STATE_DIR=~/state"), "only a shell expands");
}

static void test_ca_file_must_be_a_file(void **state)
{
    struct config_fixture *fixture = *state;
    char variable[CONFIG_FIXTURE_PATH_BYTES + 16];
    must_fail_with(fixture, LOAD(fixture, REQUIRED, "CA_FILE=/"), "is a directory");
    snprintf(variable, sizeof variable, "CA_FILE=%s", fixture->env_file);
    config_fixture_env_file(fixture, "0\x82\x03\x01", 0600);
    fixture->has_env_file = false;
    must_fail_with(fixture, LOAD(fixture, REQUIRED, variable),
        "holds no certificate in PEM format (openssl x509 -inform DER converts one); expected a "
        "PEM file of certificates (from the environment)");
    config_fixture_env_file(fixture, "-----BEGIN RSA PRIVATE KEY-----\n", 0600);
    fixture->has_env_file = false;
    must_fail_with(fixture, LOAD(fixture, REQUIRED, variable), "holds a private key and no");
}

/* docker run --env-file keeps quotes; .env files and shells remove them. */
static void test_quotes_that_became_part_of_a_value_are_reported(void **state)
{
    struct config_fixture *fixture = *state;
    static const char *const wrong[] = {"HEALTH_PORT=\"3001\"", "LOG_LEVEL='debug'",
        "STATE_DIR=\"/var/lib/x\"", "CA_FILE='/etc/x.pem'", "OPENCLAW_VERSION=\"1\"",
        "OPENCLAW_GATEWAY_COMMAND=\"openclaw gateway --port 18789\""};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        must_fail_with(fixture, LOAD(fixture, REQUIRED, wrong[i]),
            "is in quotes, which are part of the value here, as docker run --env-file passes them "
            "through; expected it without quotes (from the environment)");
    must_load(fixture, LOAD(fixture, REQUIRED, "OPENCLAW_GATEWAY_COMMAND='/opt/gw' '--x'",
                           "OPENCLAW_GATEWAY_URL=\"http://localhost:1\""));
    assert_int_equal(LOAD(fixture, REQUIRED, "DROPLET_ID=\"3\""), 0);
    must_report(fixture, "warning: DROPLET_ID '\"3\"' is in quotes");
    assert_string_equal(fixture->config.droplet_id, "\"3\"");
}

static void test_misspelt_upgrade_mode_is_warned_of(void **state)
{
    struct config_fixture *fixture = *state;
    static const char *const wrong[] = {"UPGRADE_MODE=exitt", "UPGRADE_MODE= Exit"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_int_equal(LOAD(fixture, REQUIRED, wrong[i]), 0);
        must_report(fixture, "warning: UPGRADE_MODE \"");
        must_report(fixture, "is not exit, so requests of the board to restart or upgrade are "
                             "ignored; expected exit, or off if this is meant (from the "
                             "environment)");
    }
    must_load(fixture, LOAD(fixture, REQUIRED, "UPGRADE_MODE=none"));
}

static void test_placeholders_of_examples_are_refused(void **state)
{
    struct config_fixture *fixture = *state;
    static const char part[] =
        "is a placeholder from an example; expected the value that the board "
        "shows (from the environment)";
    must_fail_with(fixture, LOAD(fixture, TOKEN, CONVEX, HOME, "ACCOUNT_ID=k57..."), part);
    must_fail_with(
        fixture, LOAD(fixture, ACCOUNT, CONVEX, HOME, "SERVICE_TOKEN=mc_service_k57..._..."), part);
    must_fail_with(fixture,
        LOAD(fixture, ACCOUNT, CONVEX, HOME, "SERVICE_TOKEN=mc_service_{accountId}_{secret}"),
        part);
    must_fail_with(fixture,
        LOAD(fixture, ACCOUNT, TOKEN, HOME, "CONVEX_URL=https://your-deployment.convex.cloud"),
        part);
}

/* As they are in .env.example, --help and the documents. */
static void test_examples_are_warned_of(void **state)
{
    struct config_fixture *fixture = *state;
    static const enum option_id ids[] = {OPTION_ACCOUNT_ID, OPTION_CONVEX_URL};
    for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++) {
        const struct option *option = &config_options[ids[i]];
        char setting[128];
        char words[256];
        snprintf(setting, sizeof setting, "%s=%s", option->name, option->example);
        snprintf(words, sizeof words, "warning: %s \"%s\" is an example from the documents",
            option->name, option->example);
        LOAD(fixture, ids[i] == OPTION_ACCOUNT_ID ? CONVEX : ACCOUNT, TOKEN, HOME, setting);
        must_report(fixture, words);
    }
    assert_int_equal(LOAD(fixture, REQUIRED, "BOARD_URL=https://board.example.com"), 0);
    must_report(fixture,
        "warning: BOARD_URL \"https://board.example.com\" is an example from the documents; "
        "expected the value of your own account or host (from the environment)");
    assert_int_equal(
        LOAD(fixture, REQUIRED, "HEALTH_ALLOWED_HOSTS=runtime.example.com,board.lan"), 0);
    must_report(fixture, "warning: HEALTH_ALLOWED_HOSTS \"runtime.example.com,board.lan\" is an");
    must_load(fixture, LOAD(fixture, REQUIRED, "BOARD_URL=https://board.example.net"));
}

static void test_quoted_values_are_shown_in_other_quotes(void **state)
{
    struct config_fixture *fixture = *state;
    must_fail_with(fixture, LOAD(fixture, REQUIRED, "DELIVERY_INTERVAL=\"5000\""),
        "DELIVERY_INTERVAL '\"5000\"' is in quotes");
    must_fail_with(fixture, LOAD(fixture, REQUIRED, "DELIVERY_INTERVAL='5000'"),
        "DELIVERY_INTERVAL \"'5000'\" is in quotes");
}

/* Pages for people, and paths that the runtime appends by itself. */
static void test_addresses_of_pages_and_functions_are_refused(void **state)
{
    struct config_fixture *fixture = *state;
    static const char *const backend[][2] = {
        {"CONVEX_URL=https://dashboard.convex.dev/d/happy-otter-42/data",
            "is a page of Convex's dashboard; expected the deployment's own URL, "
            "https://happy-otter-42.convex.cloud"},
        {"CONVEX_URL=https://dashboard.convex.dev/t/team/project", "ends in .convex.cloud"},
        {"CONVEX_URL=https://happy-otter-42.convex.cloud/api/",
            "ends in /api; expected the URL without it, because the runtime appends the paths by "
            "itself: https://happy-otter-42.convex.cloud"},
        {"CONVEX_URL=https://h.example/convex/api/query",
            "ends in /api/query; expected the URL without it, because the runtime appends the "
            "paths by itself: https://h.example/convex"},
    };
    static const char *const gateway[][2] = {
        {"OPENCLAW_GATEWAY_URL=http://127.0.0.1:18789/v1/responses", "ends in /v1/responses"},
        {"OPENCLAW_GATEWAY_URL=http://127.0.0.1:18789/v1/", "ends in /v1; expected the URL"},
        {"OPENCLAW_GATEWAY_URL=http://127.0.0.1:18789/chat", "itself: http://127.0.0.1:18789 ("},
        {"OPENCLAW_GATEWAY_URL=http://127.0.0.1:18789/#token=s3cr3t",
            "(not shown, as it may contain a secret) has a query or fragment, as the address of "
            "the gateway's dashboard; expected its scheme, host and port only"},
    };
    for (size_t i = 0; i < sizeof backend / sizeof backend[0]; i++)
        must_fail_with(fixture, LOAD(fixture, ACCOUNT, TOKEN, HOME, backend[i][0]), backend[i][1]);
    for (size_t i = 0; i < sizeof gateway / sizeof gateway[0]; i++)
        must_fail_with(fixture, LOAD(fixture, REQUIRED, gateway[i][0]), gateway[i][1]);
    must_load(fixture, LOAD(fixture, REQUIRED, "OPENCLAW_GATEWAY_URL=http://127.0.0.1:1/gateway"));
}

static void test_health_host_must_be_an_address_or_name(void **state)
{
    struct config_fixture *fixture = *state;
    static const char *const good[] = {"HEALTH_HOST=10.0.0.1", "HEALTH_HOST=::1",
        "HEALTH_HOST=fe80::1%eth0", "HEALTH_HOST=localhost", "HEALTH_HOST=my-host_1.example"};
    static const char *const bad[] = {"HEALTH_HOST=not an address", "HEALTH_HOST=999.1.1.1",
        "HEALTH_HOST=[::1]", "HEALTH_HOST=http//x", "HEALTH_HOST=eth%0"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        must_load(fixture, LOAD(fixture, REQUIRED, good[i]));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        must_fail_with(fixture, LOAD(fixture, REQUIRED, bad[i]), "expected an address of this");
}

static void test_allowed_hosts_must_be_names(void **state)
{
    struct config_fixture *fixture = *state;
    static const char *const bad[] = {"HEALTH_ALLOWED_HOSTS=http://a.example",
        "HEALTH_ALLOWED_HOSTS=a.example:3001", "HEALTH_ALLOWED_HOSTS=*.example",
        "HEALTH_ALLOWED_HOSTS=a.example;b.example"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        must_fail_with(fixture, LOAD(fixture, REQUIRED, bad[i]), "expected names without scheme");
    must_load(fixture, LOAD(fixture, REQUIRED, "HEALTH_ALLOWED_HOSTS='a.example, B_1.lan'"));
    assert_string_equal(fixture->config.health_allowed_hosts, "a.example, B_1.lan");
    must_load(fixture, LOAD(fixture, REQUIRED, "HEALTH_ALLOWED_HOSTS="));
    assert_null(fixture->config.health_allowed_hosts);
}

static void test_plain_http_needs_a_local_host(void **state)
{
    struct config_fixture *fixture = *state;
    must_fail_with(fixture,
        LOAD(fixture, ACCOUNT, TOKEN, HOME, "CONVEX_URL=http://convex.example.com"),
        "CONVEX_URL \"http://convex.example.com\" is plain http to a host that is not local");
    must_fail_with(fixture,
        LOAD(fixture, REQUIRED, "OPENCLAW_GATEWAY_URL=http://203.0.113.9:18789",
            "OPENCLAW_GATEWAY_TOKEN=0123456789abcdef"),
        "ALLOW_PLAIN_HTTP=on if this is meant");
    must_load(fixture, LOAD(fixture, ACCOUNT, TOKEN, HOME, "CONVEX_URL=http://10.1.2.3:3210"));
    must_load(fixture, LOAD(fixture, ACCOUNT, TOKEN, HOME, "CONVEX_URL=http://convex.example.com",
                           "OPENCLAW_GATEWAY_URL=http://203.0.113.9:18789",
                           "OPENCLAW_GATEWAY_TOKEN=0123456789abcdef", "ALLOW_PLAIN_HTTP=on"));
}

static void expect_short_token(struct config_fixture *fixture, int result, bool is_short)
{
    assert_int_equal(result, 0);
    assert_int_equal(fixture->problems.count, is_short ? 1 : 0);
    if (is_short)
        must_report(fixture, "TOKEN has a secret of " SHORT_TOKEN);
}

static void test_short_tokens_are_warned_of(void **state)
{
    struct config_fixture *fixture = *state;
    expect_short_token(fixture,
        LOAD(fixture, ACCOUNT, CONVEX, HOME, "SERVICE_TOKEN=mc_service_k57abc_0123456789abcde"),
        true);
    expect_short_token(fixture,
        LOAD(fixture, ACCOUNT, CONVEX, HOME, "SERVICE_TOKEN=mc_service_k57abc_0123456789abcdef"),
        false);
    expect_short_token(
        fixture, LOAD(fixture, REQUIRED, "OPENCLAW_GATEWAY_TOKEN=0123456789abcde"), true);
    expect_short_token(
        fixture, LOAD(fixture, REQUIRED, "OPENCLAW_GATEWAY_TOKEN=0123456789abcdef"), false);
    expect_short_token(fixture, LOAD(fixture, REQUIRED, "OPENCLAW_GATEWAY_TOKEN="), false);
    expect_short_token(fixture, LOAD(fixture, REQUIRED, "OPENCLAW_GATEWAY_TOKEN=local"), false);
    expect_short_token(fixture,
        LOAD(fixture, REQUIRED, "OPENCLAW_GATEWAY_TOKEN=local",
            "OPENCLAW_GATEWAY_URL=https://gateway.example"),
        true);
}

int main(void)
{
#define TEST(function) \
    cmocka_unit_test_setup_teardown(function, config_fixture_setup, config_fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_short_tokens_are_warned_of),
        TEST(test_plain_http_needs_a_local_host),
        TEST(test_service_token_must_match_the_account),
        TEST(test_address_for_agents_must_fit_the_one_listened_on),
        TEST(test_account_id_must_be_a_safe_name),
        TEST(test_convex_url_must_be_a_deployment),
        TEST(test_gateway_url_must_be_http_or_empty),
        TEST(test_gateway_token_defaults_for_local_gateways_only),
        TEST(test_gateway_command_must_be_well_quoted),
        TEST(test_gateway_command_needs_a_url),
        TEST(test_backoff_and_grace_default_to_related_settings),
        TEST(test_stream_timeout_defaults_to_two_runs),
        TEST(test_intervals_of_polls_follow_the_normal_one),
        TEST(test_intervals_of_polls_must_be_in_order),
        TEST(test_workspace_root_must_be_an_absolute_path),
        TEST(test_the_agents_file_is_beside_the_root),
        TEST(test_the_state_is_apart_from_the_workspaces),
        TEST(test_task_status_base_url_must_be_http),
        TEST(test_state_dir_follows_the_environment),
        TEST(test_ca_file_must_be_a_file),
        TEST(test_quotes_that_became_part_of_a_value_are_reported),
        TEST(test_misspelt_upgrade_mode_is_warned_of),
        TEST(test_placeholders_of_examples_are_refused),
        TEST(test_examples_are_warned_of),
        TEST(test_quoted_values_are_shown_in_other_quotes),
        TEST(test_addresses_of_pages_and_functions_are_refused),
        TEST(test_allowed_hosts_must_be_names),
        TEST(test_health_host_must_be_an_address_or_name),
    };
#undef TEST
    return cmocka_run_group_tests_name("config_rules", tests, NULL, NULL);
}
