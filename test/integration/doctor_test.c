/* The command doctor: each trouble gets its line and its fix, and looking changes nothing. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "../lib/board.h"
#include "../lib/stub_server.h"
#include "../lib/tls_proxy.h"

#define WRONG_SECRET "ffffffffffffffffffffffffffffffff"
#define WRONG_TOKEN "SERVICE_TOKEN=mc_service_" WORLD_ACCOUNT "_" WRONG_SECRET
#define WRONG_GATEWAY_TOKEN "not-the-gateways-token"

/* Two requests that hang take twenty seconds. */
enum { DOCTOR_WAIT_MS = 40000 };

/* Runs it, and expects the exit status, all of words (ended by NULL), and no secret. */
static void examine(struct world *world, const char *const settings[],
    const char *const arguments[], int status, const char *const words[])
{
    static const char *const secrets[] = {
        WORLD_SECRET, WORLD_GATEWAY_TOKEN, WRONG_SECRET, WRONG_GATEWAY_TOKEN};
    world_launch(world, &world->second, settings, arguments);
    int ended_with = process_wait_exit(&world->second, DOCTOR_WAIT_MS);
    if (ended_with != status) {
        process_show(&world->second, "doctor");
        fail_msg("expected status %d, got %d", status, ended_with);
    }
    for (; *words != NULL; words++)
        if (!process_wait_for(&world->second, *words, WORLD_WAIT_MS, NULL, 0)) {
            process_show(&world->second, "doctor");
            fail_msg("expected \"%s\"", *words);
        }
    for (size_t i = 0; i < sizeof secrets / sizeof secrets[0]; i++)
        assert_false(process_said(&world->second, secrets[i]));
}

/* As examine, in lines, beside no runtime: also expects that nothing but listAgents was called. */
static void expect(
    struct world *world, const char *const settings[], int status, const char *const words[])
{
    static const char *const never_called[] = {
        "checkAndClearRestartRequested", "updateRuntimeStatus", "listUndeliveredNotifications"};
    examine(world, settings, (const char *[]){"doctor", NULL}, status, words);
    assert_int_equal(world_stat(world, "gateway", "requests"), 0);
    for (size_t i = 0; i < sizeof never_called / sizeof never_called[0]; i++)
        assert_int_equal(world_stat(world, "backend", never_called[i]), 0);
}

#define SETTINGS(...) ((const char *[]){__VA_ARGS__, NULL})
#define WORDS(...) ((const char *[]){__VA_ARGS__, NULL})

static void set_sandbox(struct world *world, json_t *settings)
{
    json_decref(world_post(world, "/sandbox/settings", settings));
}

static void seed_agent(struct world *world)
{
    json_decref(
        world_post(world, "/sandbox/seed", json_pack("{s:[{s:s}]}", "agents", "slug", "jarvis")));
}

static void test_all_is_well(void **state)
{
    struct world *world = *state;
    char path[300];
    seed_agent(world);
    expect(world, NULL, 0,
        WORDS("can be made\n", "ok    backend connection  connected to 127.0.0.1 port ",
            "ok    Convex deployment   answers at http://127.0.0.1:",
            "ok    service token       accepted\n", "ok    account             ",
            WORLD_ACCOUNT " has 1 agent\n", "ok    gateway endpoint    enabled\n",
            "ok    gateway token       accepted by http://127.0.0.1:",
            "ok    gateway agents      the gateway knows every",
            "warn  gateway timeout     60000 ms", "ok    clock               agrees with",
            "All is well: 19 checks, none failed; warnings: 1.\n"));
    snprintf(path, sizeof path, "%s/state", world->folder);
    assert_int_equal(access(path, F_OK), -1);
    expect(world, SETTINGS("OPENCLAW_REQUEST_TIMEOUT_MS=150000"), 0,
        WORDS("ok    gateway timeout     150000 ms\n", "warnings: 0.\n"));
}

static void test_a_restart_request_stays(void **state)
{
    struct world *world = *state;
    json_decref(world_post(world, "/sandbox/restart", json_object()));
    expect(world, NULL, 0, WORDS("All is well"));
    json_t *accounts = board_documents(world, "accounts");
    assert_true(json_is_number(json_object_get(json_array_get(accounts, 0), "restartRequestedAt")));
    json_decref(accounts);
}

static void test_wrong_settings_are_said_as_ever(void **state)
{
    struct world *world = *state;
    expect(world, SETTINGS("HEALTH_PORT=99999"), 78, WORDS("error: HEALTH_PORT "));
    assert_false(process_said(&world->second, "gateway"));
}

static void test_gateway_token(void **state)
{
    struct world *world = *state;
    expect(world, SETTINGS("OPENCLAW_GATEWAY_TOKEN=" WRONG_GATEWAY_TOKEN), 1,
        WORDS("ok    gateway endpoint    enabled\n",
            "FAIL  gateway token       refused: it is not the gateway's; fix: set "
            "OPENCLAW_GATEWAY_TOKEN ",
            "skip  gateway agents      because gateway token failed\n"));
    expect(world, SETTINGS("OPENCLAW_GATEWAY_TOKEN="), 1,
        WORDS("FAIL  gateway token       refused: the gateway wants one, and none is set; fix: "));
}

static void test_gateway_states(void **state)
{
    struct world *world = *state;
    set_sandbox(world, json_pack("{s:b}", "gateway_disabled", 1));
    expect(world, NULL, 1,
        WORDS("FAIL  gateway endpoint    there is no /v1/responses (404); fix: set "
              "gateway.http.endpoints.responses.enabled ",
            "skip  gateway token       because gateway endpoint failed\n"));
    set_sandbox(world, json_pack("{s:b, s:b}", "gateway_disabled", 0, "gateway_draining", 1));
    expect(world, NULL, 1,
        WORDS("FAIL  gateway endpoint    OpenClaw gateway returned 503: ", "; fix: wait until "));
    expect(world, SETTINGS("OPENCLAW_GATEWAY_URL="), 0,
        WORDS("warn  gateway endpoint    disabled on purpose: ", "All is well"));
}

static void test_unknown_agent(void **state)
{
    struct world *world = *state;
    seed_agent(world);
    set_sandbox(world, json_pack("{s:[s]}", "gateway_agents", "main"));
    expect(world, NULL, 1,
        WORDS("FAIL  gateway agents      the gateway does not know 1 of the account's agents: "
              "jarvis; fix: set OPENCLAW_FALLBACK_AGENT or add the agent to the gateway\n"));
}

static void test_nobody_listens(void **state)
{
    struct world *world = *state;
    struct stub_server *server = stub_server_start(NULL);
    char convex_url[64];
    char gateway_url[64];
    snprintf(
        convex_url, sizeof convex_url, "CONVEX_URL=http://127.0.0.1:%u", stub_server_port(server));
    snprintf(gateway_url, sizeof gateway_url, "OPENCLAW_GATEWAY_URL=http://127.0.0.1:%u",
        stub_server_port(server));
    stub_server_stop(server);
    expect(world, SETTINGS(gateway_url), 1,
        WORDS("ok    gateway name ", "FAIL  gateway connection  http://127.0.0.1:",
            "; fix: start the gateway, or set OPENCLAW_GATEWAY_URL ",
            "skip  gateway TLS         because gateway connection failed\n",
            "skip  gateway agents      because gateway connection failed\n",
            "ok    service token "));
    expect(world, SETTINGS(convex_url), 1,
        WORDS("FAIL  backend connection  http://127.0.0.1:", "; fix: check CONVEX_URL",
            "skip  service token       because backend connection failed\n", "ok    gateway token ",
            "skip  gateway agents      because reading "));
}

static void test_unknown_host(void **state)
{
    expect(*state,
        SETTINGS("CONVEX_URL=http://nowhere.invalid", "OPENCLAW_GATEWAY_URL=http://no.invalid"), 1,
        WORDS("FAIL  backend name        http://nowhere.invalid: ",
            "fix: check the host in CONVEX_URL",
            "skip  backend connection  because backend name failed\n",
            "FAIL  gateway name        http://no.invalid: ",
            "skip  clock               because no server told"));
}

/* One that takes connections and keeps silent, and a backend whose function never ends. */
static void test_silence_is_bounded(void **state)
{
    struct world *world = *state;
    struct stub_server *server = stub_server_start(NULL);
    char gateway_url[64];
    snprintf(gateway_url, sizeof gateway_url, "OPENCLAW_GATEWAY_URL=http://127.0.0.1:%u",
        stub_server_port(server));
    board_backend_fault(
        world, json_pack("{s:s, s:s}", "action", "listAgents", "behaviour", "hang"));
    expect(world, SETTINGS(gateway_url), 1,
        WORDS("FAIL  Convex deployment   listAgents: Operation timed out after 10",
            "ok    gateway connection ",
            "FAIL  gateway endpoint    http://127.0.0.1:", "timed out after 10"));
    stub_server_stop(server);
}

static void test_service_token(void **state)
{
    struct world *world = *state;
    expect(world, SETTINGS(WRONG_TOKEN), 1,
        WORDS("ok    Convex deployment ",
            "FAIL  service token       refused: it is wrong or was replaced; fix: make a new "
            "service token",
            "skip  account             because service token failed\n"));
    set_sandbox(world, json_pack("{s:b}", "redact", 1));
    expect(world, SETTINGS(WRONG_TOKEN), 1,
        WORDS("FAIL  service token       refused, and the deployment does not say why: ",
            "; fix: check ACCOUNT_ID"));
}

static void test_account_without_token(void **state)
{
    struct world *world = *state;
    json_decref(world_post(world, "/sandbox/token", json_pack("{s:n}", "secret")));
    expect(world, NULL, 1, WORDS("FAIL  service token       refused: the account has none so far"));
}

static void test_account(void **state)
{
    struct world *world = *state;
    expect(world,
        SETTINGS("ACCOUNT_ID=k5700000000000000000000000000000",
            "SERVICE_TOKEN=mc_service_k5700000000000000000000000000000_" WORLD_SECRET),
        1,
        WORDS("skip  service token       because account failed\n",
            "FAIL  account             this deployment has no account k57000"));
    board_backend_fault(
        world, json_pack("{s:s, s:s, s:s}", "action", "listAgents", "behaviour", "function_error",
                   "message", "Forbidden: Service token does not match account"));
    expect(world, NULL, 1,
        WORDS("ok    service token       known to the backend\n",
            "FAIL  account             the service token is not that of account " WORLD_ACCOUNT,
            "; fix: set ACCOUNT_ID and SERVICE_TOKEN to those of one account\n"));
}

static void test_backend_in_trouble(void **state)
{
    struct world *world = *state;
    board_backend_fault(
        world, json_pack("{s:s, s:i, s:i}", "behaviour", "status", "status", 503, "times", 1));
    expect(world, NULL, 1,
        WORDS("FAIL  Convex deployment   listAgents: HTTP 503: ", "try again later\n",
            "skip  service token       because Convex deployment failed\n"));
    board_backend_fault(world, json_pack("{s:s, s:s}", "behaviour", "function_error", "message",
                                   "Cannot run functions while this deployment is paused"));
    expect(world, NULL, 1, WORDS("this deployment is paused", "; fix: look at the deployment's"));
}

static void test_not_convex_and_the_clock(void **state)
{
    static const struct {
        int ago_s;
        const char *line;
    } cases[] = {{-3600, "FAIL  clock               35"}, {60, "warn  clock               "}};
    struct world *world = *state;
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
        expect(world, SETTINGS(convex_url), 1,
            WORDS(
                "FAIL  Convex deployment   listAgents: HTTP 404: No such 1; fix: check CONVEX_URL",
                cases[i].line,
                cases[i].ago_s < 0 ? " s behind that of the backend"
                                   : " s ahead of that of the backend"));
        stub_server_stop(server);
    }
}

static void test_certificate(void **state)
{
    struct world *world = *state;
    struct certificate authority;
    struct certificate leaf;
    char url[64];
    char ca_file[320];
    unsigned port = (unsigned)strtoul(strrchr(world->url, ':') + 1, NULL, 10);
    certificate_make(&authority, NULL, true, NULL, false);
    certificate_make(&leaf, &authority, false, "IP:127.0.0.1", false);
    struct tls_proxy *proxy = tls_proxy_start(&leaf, 0, port);
    snprintf(url, sizeof url, "CONVEX_URL=https://127.0.0.1:%u", tls_proxy_port(proxy));
    snprintf(ca_file, sizeof ca_file, "CA_FILE=%s/authority.pem", world->folder);
    certificate_save(&authority, ca_file + strlen("CA_FILE="));
    expect(world, SETTINGS(url), 1,
        WORDS("ok    backend connection ", "FAIL  backend TLS         https://127.0.0.1:",
            "; fix: name a PEM file with the authority of that certificate in CA_FILE",
            "skip  Convex deployment   because backend TLS failed\n"));
    expect(world, SETTINGS(url, ca_file), 0,
        WORDS("authority.pem\n", "ok    backend TLS         the certificate is trusted\n",
            "All is well"));
    tls_proxy_stop(proxy);
    certificate_fini(&leaf);
    certificate_fini(&authority);
    snprintf(url, sizeof url, "OPENCLAW_GATEWAY_URL=https://127.0.0.1:%u", port);
    expect(world, SETTINGS(url), 1,
        WORDS("FAIL  gateway TLS         https://127.0.0.1:", "names a port that speaks TLS"));
}

/* For root everything is writable, but a file is no folder for anybody. */
static void test_state_folder(void **state)
{
    struct world *world = *state;
    char setting[320];
    snprintf(setting, sizeof setting, "STATE_DIR=%s/state", world->folder);
    char *path = setting + strlen("STATE_DIR=");
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(chmod(path, 0755), 0);
    expect(world, SETTINGS(setting), 0,
        WORDS("warn  state folder        ", " has mode 0755: ", "; fix: chmod 700 "));
    snprintf(setting, sizeof setting, "STATE_DIR=%s/state/account", world->folder);
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    fputs("k57another", file);
    fclose(file);
    expect(world, SETTINGS(setting), 1,
        WORDS("FAIL  state folder        ", "/account is not a folder; fix: set STATE_DIR ",
            "skip  disk space          because state folder failed\n", "ok    service token "));
    expect(world, NULL, 1,
        WORDS("FAIL  state folder        ", " belongs to account k57another, not to "));
}

static void test_beside_a_runtime(void **state)
{
    struct world *world = *state;
    char words[128];
    world_start_runtime(world, NULL);
    snprintf(words, sizeof words, "ok    running runtime     process %ld holds the state folder\n",
        (long)world->runtime.pid);
    examine(world, NULL, (const char *[]){"doctor", NULL}, 0,
        WORDS(words, "/state can be used\n", "All is well"));
    world_stop_runtime(world);
    examine(world, NULL, (const char *[]){"doctor", NULL}, 0,
        WORDS("none: the state folder is free\n"));
}

/* The line that belongs to a check of the JSON; the free space may have changed meanwhile. */
static void expect_in_lines(const char *lines, const json_t *check)
{
    char line[1024];
    const char *name = board_string(check, "name");
    const char *result = board_string(check, "result");
    bool failed = strcmp(result, "fail") == 0;
    snprintf(line, sizeof line, "%-4s  %-18s  %s", failed ? "FAIL" : result, name,
        strcmp(name, "disk space") == 0 ? "" : board_string(check, "detail"));
    if (strstr(lines, line) == NULL)
        fail_msg("\"%s\" is not in:\n%s", line, lines);
    assert_true(json_is_string(json_object_get(check, "fix")) || !failed);
}

static void test_json_agrees(void **state)
{
    struct world *world = *state;
    for (int wrong = 0; wrong < 2; wrong++) {
        const char *const *settings = wrong ? SETTINGS(WRONG_TOKEN) : NULL;
        examine(world, settings, (const char *[]){"doctor", NULL}, wrong, WORDS("checks"));
        char *lines = process_output(&world->second);
        examine(
            world, settings, (const char *[]){"doctor", "--json", NULL}, wrong, WORDS("checks"));
        char *output = process_output(&world->second);
        json_t *parsed = json_loads(output, 0, NULL);
        const json_t *checks = json_object_get(parsed, "checks");
        assert_int_equal(json_is_true(json_object_get(parsed, "ok")), !wrong);
        assert_int_equal(json_array_size(checks), 19);
        size_t index;
        const json_t *check;
        json_array_foreach (checks, index, check)
            expect_in_lines(lines, check);
        json_decref(parsed);
        free(output);
        free(lines);
    }
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
#define IN_WORLD(test) cmocka_unit_test_setup_teardown(test, world_setup, world_teardown)
    const struct CMUnitTest tests[] = {
        IN_WORLD(test_all_is_well),
        IN_WORLD(test_a_restart_request_stays),
        IN_WORLD(test_wrong_settings_are_said_as_ever),
        IN_WORLD(test_gateway_token),
        IN_WORLD(test_gateway_states),
        IN_WORLD(test_unknown_agent),
        IN_WORLD(test_nobody_listens),
        IN_WORLD(test_unknown_host),
        IN_WORLD(test_silence_is_bounded),
        IN_WORLD(test_service_token),
        IN_WORLD(test_account_without_token),
        IN_WORLD(test_account),
        IN_WORLD(test_backend_in_trouble),
        IN_WORLD(test_not_convex_and_the_clock),
        IN_WORLD(test_certificate),
        IN_WORLD(test_state_folder),
        IN_WORLD(test_beside_a_runtime),
        IN_WORLD(test_json_agrees),
    };
    return cmocka_run_group_tests_name("doctor", tests, NULL, NULL);
}
