/*
 * Whether the gateway takes tools, as the runtime finds it out: before sends resume, without
 * running an agent, and although the answer is late, unreadable or a refusal.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "../lib/board.h"
#include "../lib/fault_proxy.h"
#include "../lib/stub_server.h"
#include "../lib/test_env.h"

#define ANSWER(status, body) \
    "HTTP/1.1 " status "\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n" body
#define COMPLAINT(message) \
    "{\"error\":{\"message\":\"" message "\",\"type\":\"invalid_request_error\"}}"

/* A gateway without a list of agents, which answers the question about tools as told. */
struct asked_gateway {
    const char *_Atomic answer; /* for the server's thread */
    atomic_uint questions;
    struct stub_server *server;
};

static const char *answer_as_told(void *context, const char *request)
{
    struct asked_gateway *gateway = context;
    if (strncmp(request, "POST ", 5) != 0)
        return ANSWER("404 Not Found", "");
    if (strstr(request, "\"probe\"") == NULL)
        return ANSWER("400 Bad Request", COMPLAINT("model: Invalid input"));
    atomic_fetch_add(&gateway->questions, 1);
    return gateway->answer;
}

/* Starts the runtime at the gateway, whose port url gets, and waits until sends are allowed. */
static void start_at(struct test_env *env, unsigned port)
{
    char url[96];
    snprintf(url, sizeof url, "OPENCLAW_GATEWAY_URL=http://127.0.0.1:%u", port);
    test_env_start_runtime(env, STRINGS(url, "AGENT_SYNC_INTERVAL=20"));
    test_env_wait_words(env, "/health", "\"state\": \"open\"", true);
}

static void start_at_stub(struct test_env *env, struct asked_gateway *gateway)
{
    gateway->server = stub_server_start_with(answer_as_told, gateway);
    start_at(env, stub_server_port(gateway->server));
}

/* Once the syncer has come by often enough to have asked again whatever it would ask. */
static void expect_questions(
    struct test_env *env, struct asked_gateway *gateway, const char *dialect, unsigned questions)
{
    char words[64];
    snprintf(words, sizeof words, "\"toolDialect\": \"%s\"", dialect);
    test_env_wait_words(env, "/health", words, true);
    test_env_wait_calls(env, "listAgents", 12);
    test_env_wait_words(env, "/health", words, true);
    assert_int_equal(atomic_load(&gateway->questions), questions);
    test_env_stop_runtime(env);
    stub_server_stop(gateway->server);
}

static void test_tools_are_found_without_a_run(void **state)
{
    struct test_env *env = *state;
    test_env_start_runtime(env, STRINGS("AGENT_SYNC_INTERVAL=20"));
    test_env_wait_words(env, "/health", "\"toolDialect\": \"flat\"", true);
    json_t *status = test_env_health_json(env, "/status");
    const json_t *gateway = json_object_get(status, "gateway");
    assert_string_equal(board_string(gateway, "toolDialect"), "flat");
    assert_true(json_is_false(json_object_get(gateway, "toolsCollide")));
    json_decref(status);
    assert_int_equal(test_env_stat(env, "gateway", "requests"), 0);
    test_env_stop_runtime(env);
}

/* Its agents have no use for tools, so the gateway gets no additional request. */
static void test_nothing_is_asked_on_v0(void **state)
{
    struct asked_gateway gateway = {.answer = ANSWER("400 Bad Request", COMPLAINT("tools.0"))};
    start_at_stub(*state, &gateway);
    expect_questions(*state, &gateway, "unknown", 0);
}

static void test_older_release_takes_none(void **state)
{
    struct asked_gateway gateway = {
        .answer = ANSWER("400 Bad Request",
            COMPLAINT("tools.0.function: Invalid input: expected object, received undefined"))};
    start_at_stub(*state, &gateway);
    expect_questions(*state, &gateway, "none", 1);
}

static void test_unreadable_answer_is_asked_again_a_few_times(void **state)
{
    struct asked_gateway gateway = {.answer = ANSWER("400 Bad Request", "<html>\x01\xFF{{{")};
    start_at_stub(*state, &gateway);
    expect_questions(*state, &gateway, "unknown", 6);
}

static void test_broken_connection_is_asked_again_a_few_times(void **state)
{
    struct asked_gateway gateway = {.answer = NULL};
    start_at_stub(*state, &gateway);
    expect_questions(*state, &gateway, "unknown", 6);
}

/* Each further try with a refused token brings a lockout closer. */
static void test_refusal_is_not_asked_again(void **state)
{
    struct asked_gateway gateway = {
        .answer = ANSWER("401 Unauthorized", "{\"error\":{\"message\":\"Unauthorized\",\"type\":"
                                             "\"unauthorized\"}}")};
    start_at_stub(*state, &gateway);
    expect_questions(*state, &gateway, "unknown", 1);
}

static void test_gateway_that_runs_an_agent_is_not_asked_again(void **state)
{
    struct asked_gateway gateway = {
        .answer = ANSWER("200 OK", "{\"object\":\"response\",\"status\":\"completed\"}")};
    start_at_stub(*state, &gateway);
    expect_questions(*state, &gateway, "none", 1);
}

static void test_late_answer_counts(void **state)
{
    struct test_env *env = *state;
    struct fault_proxy *proxy = fault_proxy_start(test_env_sandbox_port(env));
    FAULT(proxy, .kind = FAULT_DELAY_ANSWER, .delay_ms = 700, .match = "\"probe\"");
    start_at(env, fault_proxy_port(proxy));
    test_env_wait_words(env, "/health", "\"toolDialect\": \"flat\"", true);
    assert_int_equal(fault_proxy_hits(proxy, FAULT_DELAY_ANSWER), 1);
    test_env_stop_runtime(env);
    fault_proxy_stop(proxy);
}

/* What a gateway takes is asked again whenever it has been away. */
static void test_replaced_gateway_is_asked(void **state)
{
    struct test_env *env = *state;
    struct asked_gateway gateway = {
        .answer = ANSWER("400 Bad Request", COMPLAINT("Missing user message in `input`."))};
    char id[ID_BYTES];
    gateway.server = stub_server_start_with(answer_as_told, &gateway);
    struct fault_proxy *proxy = fault_proxy_start(stub_server_port(gateway.server));
    start_at(env, fault_proxy_port(proxy));
    test_env_wait_words(env, "/health", "\"toolDialect\": \"flat\"", true);
    FAULT(proxy, .kind = FAULT_REFUSE);
    board_load_one(env, id);
    test_env_wait_words(env, "/health", "\"state\": \"shut\"", true);
    gateway.answer = ANSWER("400 Bad Request", COMPLAINT("tools.0.function: Invalid input"));
    FAULT(proxy, .kind = FAULT_NONE);
    test_env_wait_words(env, "/health", "\"toolDialect\": \"none\"", true);
    test_env_stop_runtime(env);
    fault_proxy_stop(proxy);
    stub_server_stop(gateway.server);
}

int main(void)
{
#define TEST_ON_V1(test) TEST_IN_ENV_WITH(test, .backend = "v1")
    const struct CMUnitTest tests[] = {
        TEST_ON_V1(test_tools_are_found_without_a_run),
        TEST_IN_ENV(test_nothing_is_asked_on_v0),
        TEST_ON_V1(test_older_release_takes_none),
        TEST_ON_V1(test_unreadable_answer_is_asked_again_a_few_times),
        TEST_ON_V1(test_broken_connection_is_asked_again_a_few_times),
        TEST_ON_V1(test_refusal_is_not_asked_again),
        TEST_ON_V1(test_gateway_that_runs_an_agent_is_not_asked_again),
        TEST_ON_V1(test_late_answer_counts),
        TEST_ON_V1(test_replaced_gateway_is_asked),
    };
    return cmocka_run_group_tests_name("tool_dialect", tests, NULL, NULL);
}
