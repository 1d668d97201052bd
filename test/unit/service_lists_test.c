/* Agent lists, upgrades, restart requests and refusals of the backend, valid and malformed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../lib/alloc_fault.h"
#include "../lib/stub_server.h"
#include "backend/service.h"
#include "base/json.h"
#include "http/ca_store.h"

enum { FIVE_MINUTES_MS = 5 * 60 * 1000 };

static struct agent_list read_list(const char *json)
{
    struct agent_list list;
    json_t *value = json_loads(json, JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL, NULL);
    if (value == NULL)
        fail_msg("no JSON: %s", json);
    assert_int_equal(agent_list_read(value, &list, NULL), CONVEX_SUCCESS);
    json_decref(value);
    return list;
}

static void test_agent_is_read(void **state)
{
    (void)state;
    struct agent_list list = read_list(
        "[{\"_id\":\"a1\",\"slug\":\"jarvis\",\"name\":\"Jarvis\",\"sessionKey\":\"agent:x\","
        "\"heartbeatInterval\":0.5,\"more\":{}}]");
    assert_int_equal(list.count, 1);
    assert_int_equal(list.refused, 0);
    assert_string_equal(list.agents[0].id, "a1");
    assert_string_equal(list.agents[0].slug, "jarvis");
    assert_string_equal(list.agents[0].name, "Jarvis");
    assert_string_equal(list.agents[0].session_key, "agent:x");
    assert_int_equal(list.agents[0].heartbeat_interval_ms, 30000);
    agent_list_fini(&list);
}

static void test_flags_are_those_of_v1(void **state)
{
    (void)state;
    struct agent_list list = read_list(
        "[{\"_id\":\"a1\",\"systemSessionKey\":\"system:agent:x:acc:v1\","
        "\"effectiveBehaviorFlags\":{\"canMarkDone\":true,\"canCreateTasks\":true,"
        "\"canModifyTaskStatus\":false}},"
        "{\"_id\":\"a2\",\"systemSessionKey\":\"k\",\"effectiveBehaviorFlags\":7},"
        "{\"_id\":\"a3\",\"sessionKey\":\"k\",\"effectiveBehaviorFlags\":{\"canMarkDone\":true}}]");
    assert_int_equal(list.count, 3);
    assert_true(list.agents[0].flags.can_mark_done && list.agents[0].flags.can_create_tasks);
    assert_false(list.agents[0].flags.can_modify_task_status);
    assert_false(list.agents[1].flags.can_mark_done);
    assert_true(list.agents[1].flags.can_modify_task_status);
    assert_false(list.agents[2].flags.can_mark_done);
    agent_list_fini(&list);
}

static void test_missing_fields_get_defaults(void **state)
{
    (void)state;
    struct agent_list list =
        read_list("[{\"_id\":\"a1\"},{\"_id\":\"a2\",\"slug\":7,\"name\":[],\"sessionKey\":null}]");
    assert_int_equal(list.count, 2);
    for (size_t i = 0; i < 2; i++) {
        assert_string_equal(list.agents[i].slug, "");
        assert_string_equal(list.agents[i].name, "");
        assert_string_equal(list.agents[i].session_key, "");
        assert_int_equal(list.agents[i].heartbeat_interval_ms, FIVE_MINUTES_MS);
    }
    agent_list_fini(&list);
}

/* No interval may wake an agent continuously or overflow a time. */
static void test_invalid_intervals_get_the_default(void **state)
{
    (void)state;
    static const char *const intervals[] = {
        "0", "-1", "-0.5", "1e-9", "\"15\"", "null", "true", "[15]", "{}"};
    for (size_t i = 0; i < sizeof intervals / sizeof intervals[0]; i++) {
        char json[128];
        snprintf(json, sizeof json, "[{\"_id\":\"a\",\"heartbeatInterval\":%s}]", intervals[i]);
        struct agent_list list = read_list(json);
        assert_int_equal(list.agents[0].heartbeat_interval_ms, FIVE_MINUTES_MS);
        agent_list_fini(&list);
    }
}

static void test_intervals_are_capped_at_a_year(void **state)
{
    (void)state;
    struct agent_list list = read_list("[{\"_id\":\"a\",\"heartbeatInterval\":0.001},"
                                       "{\"_id\":\"b\",\"heartbeatInterval\":527040},"
                                       "{\"_id\":\"c\",\"heartbeatInterval\":527041},"
                                       "{\"_id\":\"d\",\"heartbeatInterval\":1e300}]");
    assert_int_equal(list.agents[0].heartbeat_interval_ms, 60);
    /* A huge interval is capped, not replaced by the default of five minutes. */
    for (size_t i = 1; i < 4; i++)
        assert_int_equal(list.agents[i].heartbeat_interval_ms, INT64_C(366) * 24 * 3600 * 1000);
    agent_list_fini(&list);
}

static void test_rows_without_a_valid_id_are_refused(void **state)
{
    (void)state;
    struct agent_list list = read_list(
        "[null,7,\"a\",[],{},{\"_id\":7},{\"_id\":\"\"},{\"_id\":\"../etc\"},{\"_id\":\"a b\"},"
        "{\"_id\":\"01234567890123456789012345678901234567890123456789012345678901234\"},"
        "{\"_id\":\"good\"}]");
    assert_int_equal(list.count, 1);
    assert_int_equal(list.refused, 10);
    assert_string_equal(list.agents[0].id, "good");
    agent_list_fini(&list);
}

static void test_long_strings_are_truncated(void **state)
{
    (void)state;
    char text[1000];
    char json[4096];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    snprintf(json, sizeof json,
        "[{\"_id\":\"a\",\"slug\":\"%s\",\"name\":\"%s\",\"sessionKey\":\"%s\"}]", text, text,
        text);
    struct agent_list list = read_list(json);
    assert_int_equal(strlen(list.agents[0].slug), ID_BYTES - 1);
    assert_int_equal(strlen(list.agents[0].name), AGENT_NAME_BYTES - 1);
    assert_int_equal(strlen(list.agents[0].session_key), AGENT_KEY_BYTES - 1);
    agent_list_fini(&list);
}

static void test_other_values_are_not_a_list(void **state)
{
    (void)state;
    static const char *const values[] = {"null", "{}", "7", "\"[]\"", "true"};
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        struct agent_list list;
        struct error error;
        json_t *value = json_loads(values[i], JSON_DECODE_ANY, NULL);
        assert_int_equal(agent_list_read(value, &list, &error), CONVEX_UNAVAILABLE);
        assert_string_equal(error.text, "listAgents: the result is not an array");
        json_decref(value);
    }
}

static void test_list_without_memory_is_unavailable(void **state)
{
    (void)state;
    struct agent_list list;
    struct error error;
    json_t *value = json_pack("[{s:s}]", "_id", "a");
    alloc_fault_arm(1);
    assert_int_equal(agent_list_read(value, &list, &error), CONVEX_UNAVAILABLE);
    alloc_fault_disarm();
    assert_int_equal(error.code, ERROR_NO_MEMORY);
    json_decref(value);
}

/* A backend whose functions all return the same value. */
struct backend {
    struct stub_server *server;
    struct ca_store *store;
    struct http_client *client;
    struct convex *convex;
    struct service service;
    char answer[2048];
};

static void start_backend(struct backend *backend, const char *value)
{
    static const atomic_bool never = false;
    char url[64];
    snprintf(backend->answer, sizeof backend->answer,
        "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{\"status\":\"success\",\"value\":%s}", value);
    backend->server = stub_server_start(backend->answer);
    snprintf(url, sizeof url, "http://127.0.0.1:%u", stub_server_port(backend->server));
    assert_int_equal(ca_store_create(&backend->store, NULL, NULL), 0);
    assert_int_equal(http_client_create(&backend->client, backend->store, &never, NULL), 0);
    assert_int_equal(convex_create(&backend->convex, url, "account", "token", NULL), 0);
    backend->service = (struct service){.convex = backend->convex, .client = backend->client};
}

static void stop_backend(struct backend *backend)
{
    stub_server_stop(backend->server);
    convex_destroy(backend->convex);
    http_client_destroy(backend->client);
    ca_store_destroy(backend->store);
}

static struct upgrade read_upgrade(const char *value)
{
    struct backend backend;
    struct upgrade upgrade;
    struct error error;
    start_backend(&backend, value);
    assert_int_equal(service_pending_upgrade(&backend.service, &upgrade, &error), CONVEX_SUCCESS);
    stop_backend(&backend);
    return upgrade;
}

#define UPGRADE(openclaw, runtime, at, strategy)                                \
    "{\"targetOpenclawVersion\":" openclaw ",\"targetRuntimeVersion\":" runtime \
    ",\"initiatedAt\":" at ",\"strategy\":" strategy "}"

static void test_upgrade_is_read(void **state)
{
    (void)state;
    struct upgrade upgrade =
        read_upgrade(UPGRADE("\"2026.10.1\"", "\"0.3.0\"", "1795240507221", "\"immediate\""));
    assert_string_equal(upgrade.openclaw, "2026.10.1");
    assert_string_equal(upgrade.runtime, "0.3.0");
    assert_string_equal(upgrade.strategy, "immediate");
    assert_int_equal(upgrade.initiated_at_ms, 1795240507221);
}

/* An upgrade with an invalid field is treated as none. */
static void test_malformed_upgrade_is_ignored(void **state)
{
    (void)state;
    static const char *const values[] = {
        "null",
        "[]",
        "\"upgrade\"",
        "{}",
        UPGRADE("7", "\"b\"", "1", "\"immediate\""),
        UPGRADE("\"a\"", "null", "1", "\"immediate\""),
        UPGRADE("\"a\"", "\"b\"", "\"1\"", "\"immediate\""),
        UPGRADE("\"a\"", "\"b\"", "0", "\"immediate\""),
        UPGRADE("\"a\"", "\"b\"", "-1", "\"immediate\""),
        UPGRADE("\"a\"", "\"b\"", "1e300", "\"immediate\""),
        UPGRADE("\"a\"", "\"b\"", "1", "{}"),
    };
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        struct upgrade upgrade = read_upgrade(values[i]);
        assert_int_equal(upgrade.initiated_at_ms, 0);
        assert_string_equal(upgrade.strategy, "");
    }
}

/* Asking clears the request on the backend, so only an explicit true counts. */
static void test_restart_request_must_be_true(void **state)
{
    (void)state;
    static const struct {
        const char *value;
        bool requested;
    } cases[] = {{"{\"restartRequested\":true}", true}, {"{\"restartRequested\":false}", false},
        {"{\"restartRequested\":1}", false}, {"{\"restartRequested\":\"true\"}", false},
        {"{}", false}, {"null", false}, {"true", false}, {"[]", false}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct backend backend;
        struct error error;
        bool requested = !cases[i].requested;
        start_backend(&backend, cases[i].value);
        assert_int_equal(
            service_take_restart_request(&backend.service, &requested, &error), CONVEX_SUCCESS);
        assert_int_equal(requested, cases[i].requested);
        stop_backend(&backend);
    }
}

static int setup_libraries(void **state)
{
    (void)state;
    json_guard_start();
    return http_client_library_start(NULL);
}

static int teardown_libraries(void **state)
{
    (void)state;
    http_client_library_stop();
    return 0;
}

static void test_refusals_are_recognized_by_their_text(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum service_refusal refusal;
    } cases[] = {
        {"Uncaught Error: Invalid service token", REFUSAL_TOKEN_INVALID},
        {"Uncaught Error: Invalid service token format", REFUSAL_TOKEN_INVALID},
        {"Forbidden: Account has no service token configured", REFUSAL_TOKEN_NOT_CONFIGURED},
        {"Forbidden: Service token does not match account at handler", REFUSAL_ACCOUNT_MISMATCH},
        {"Not found: Account does not exist", REFUSAL_ACCOUNT_UNKNOWN},
        {"ArgumentValidationError: Value does not match validator.", REFUSAL_ARGUMENTS_INVALID},
        {"Could not find public function for 'service/actions:listAgents'.",
            REFUSAL_FUNCTION_UNKNOWN},
        {"listAgents: [Request ID: 6f1c2a9b03de44aa] Server Error", REFUSAL_UNEXPLAINED},
        {"[Request ID: 6f] Server Error Uncaught Error: Invalid service token",
            REFUSAL_TOKEN_INVALID},
        {"[Request ID: 6f] Server Error Uncaught TypeError: x", REFUSAL_NONE},
        {"Cannot run functions while this deployment is paused", REFUSAL_NONE},
        {"", REFUSAL_NONE},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        if (service_refusal_parse(cases[i].text) != cases[i].refusal)
            fail_msg("%s", cases[i].text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refusals_are_recognized_by_their_text),
        cmocka_unit_test(test_agent_is_read),
        cmocka_unit_test(test_flags_are_those_of_v1),
        cmocka_unit_test(test_missing_fields_get_defaults),
        cmocka_unit_test(test_invalid_intervals_get_the_default),
        cmocka_unit_test(test_intervals_are_capped_at_a_year),
        cmocka_unit_test(test_rows_without_a_valid_id_are_refused),
        cmocka_unit_test(test_long_strings_are_truncated),
        cmocka_unit_test(test_other_values_are_not_a_list),
        cmocka_unit_test(test_list_without_memory_is_unavailable),
        cmocka_unit_test(test_upgrade_is_read),
        cmocka_unit_test(test_malformed_upgrade_is_ignored),
        cmocka_unit_test(test_restart_request_must_be_true),
    };
    return cmocka_run_group_tests_name("service_lists", tests, setup_libraries, teardown_libraries);
}
