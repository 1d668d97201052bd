/* The status page and /status: headers, fields, bounds, and that no secret or reply is in them. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "../lib/board.h"
#include "../lib/plain_http.h"
#include "base/sync.h"
#include "base/text.h"

#define PAGE_POLICY                                                                      \
    "Content-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self'; " \
    "connect-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; "          \
    "frame-ancestors 'none'\r\n"
#define HOSTILE_SLUG "\"}<script>\\u0000</script>"
#define REPLY "a reply that is for the thread alone"

enum { FAILING = 130, MAX_LISTED = 100 };

/* The value at path, its keys and indices separated by dots; borrowed. */
static json_t *value_at(json_t *value, const char *path)
{
    char keys[128];
    char *rest = keys;
    assert_true(text_copy(keys, sizeof keys, path));
    for (const char *key; value != NULL && (key = strsep(&rest, ".")) != NULL;)
        value = json_is_array(value) ? json_array_get(value, strtoul(key, NULL, 10))
                                     : json_object_get(value, key);
    if (value == NULL)
        fail_msg("no %s in /status", path);
    return value;
}

static json_int_t number_at(json_t *status, const char *path)
{
    assert_true(json_is_integer(value_at(status, path)));
    return json_integer_value(value_at(status, path));
}

static const char *string_at(json_t *status, const char *path)
{
    assert_true(json_is_string(value_at(status, path)));
    return json_string_value(value_at(status, path));
}

/* Waits until path is at least min or equals string; a new reference to the whole status. */
static json_t *wait_status_value(
    struct test_env *env, const char *path, json_int_t min, const char *string)
{
    int64_t deadline_ms = clock_monotonic_ms() + (int64_t)TEST_WAIT_MS * process_timeout_scale();
    for (;;) {
        json_t *status = test_env_health_json(env, "/status");
        const json_t *value = value_at(status, path);
        if (string != NULL ? strcmp(json_string_value(value), string) == 0
                           : json_integer_value(value) >= min)
            return status;
        if (clock_monotonic_ms() > deadline_ms) {
            char *text = json_dumps(value, JSON_ENCODE_ANY);
            process_dump_output(&env->runtime, "runtime");
            fail_msg("%s is still %s", path, text);
        }
        json_decref(status);
    }
}

static void expect_file(struct test_env *env, const char *path, const char *type,
    const char *policy, const char *prefix)
{
    struct plain_response answer;
    plain_http_request(env->health_port, "GET", path, "", &answer);
    assert_int_equal(answer.status, 200);
    assert_non_null(strstr(answer.header, type));
    assert_non_null(strstr(answer.header, policy));
    assert_non_null(strstr(answer.header, "Cache-Control: no-store\r\n"));
    assert_non_null(strstr(answer.header, "X-Content-Type-Options: nosniff\r\n"));
    assert_memory_equal(answer.body, prefix, strlen(prefix));
    plain_response_fini(&answer);
    plain_http_request(env->health_port, "HEAD", path, "", &answer);
    assert_int_equal(answer.status, 200);
    assert_non_null(strstr(answer.header, type));
    assert_non_null(strstr(answer.header, policy));
    assert_string_equal(answer.body, "");
    plain_response_fini(&answer);
    plain_http_request(env->health_port, "POST", path, "Content-Length: 0\r\n", &answer);
    assert_int_equal(answer.status, 405);
    assert_string_equal(answer.body, "{\"error\":\"only GET and HEAD\"}");
    plain_response_fini(&answer);
}

static void test_each_file_has_its_headers(void **state)
{
    struct test_env *env = *state;
    test_env_start_runtime(env, NULL);
    expect_file(env, "/", "Content-Type: text/html; charset=utf-8\r\n", PAGE_POLICY,
        "<!doctype html>\n<html lang=\"en\">");
    expect_file(env, "/charts.js", "Content-Type: text/javascript; charset=utf-8\r\n", PAGE_POLICY,
        "\"use strict\";");
    expect_file(env, "/page.js", "Content-Type: text/javascript; charset=utf-8\r\n", PAGE_POLICY,
        "\"use strict\";");
    expect_file(
        env, "/page.css", "Content-Type: text/css; charset=utf-8\r\n", PAGE_POLICY, ":root {");
    expect_file(env, "/icon.svg", "Content-Type: image/svg+xml\r\n", PAGE_POLICY, "<svg ");
    expect_file(env, "/status", "Content-Type: application/json\r\n",
        "Content-Security-Policy: default-src 'none'\r\n", "{\"state\":\"");
    test_env_stop_runtime(env);
}

/* The page loads nothing from other hosts, and holds no inline script or style. */
static void test_page_is_self_contained(void **state)
{
    static const char *const forbidden[] = {
        "://", "<script>", "<style", " style=", " onclick=", " onload=", "javascript:"};
    struct test_env *env = *state;
    char *page;
    test_env_start_runtime(env, NULL);
    assert_int_equal(test_env_health_get(env, "/", &page), 200);
    for (size_t i = 0; i < sizeof forbidden / sizeof forbidden[0]; i++)
        if (strstr(page, forbidden[i]) != NULL)
            fail_msg("the page contains %s", forbidden[i]);
    assert_non_null(strstr(page, "<noscript>"));
    free(page);
    assert_int_equal(test_env_health_get(env, "/page.js", &page), 200);
    assert_null(strstr(page, "innerHTML"));
    assert_null(strstr(page, "insertAdjacentHTML"));
    assert_null(strstr(page, "eval("));
    free(page);
    test_env_stop_runtime(env);
}

static void test_status_shows_completed_work(void **state)
{
    struct test_env *env = *state;
    json_decref(board_load(env, 6, 3));
    test_env_start_runtime(env, NULL);
    json_t *status = wait_status_value(env, "totals.delivered", 6, NULL);
    json_decref(status);
    status = wait_status_value(env, "state", 0, "healthy");
    assert_int_equal(json_array_size(value_at(status, "reasons")), 0);
    assert_int_equal(number_at(status, "totals.agentRuns"), 6);
    assert_int_equal(number_at(status, "totals.failedAttempts"), 0);
    assert_int_equal(json_array_size(value_at(status, "workers")), 10);
    assert_string_equal(string_at(status, "gateway.state"), "open");
    assert_true(json_is_null(value_at(status, "gateway.reason")));
    assert_true(json_is_null(value_at(status, "gateway.process")));
    assert_true(json_is_false(value_at(status, "spool.broken")));
    assert_true(json_is_false(value_at(status, "heldByHand")));
    assert_int_equal(number_at(status, "backend.pollFailures"), 0);
    assert_in_range(number_at(status, "backend.lastPollMs"), 0, 60000);
    assert_in_range(number_at(status, "uptimeMs"), 1, 600000);
    assert_int_equal(json_array_size(value_at(status, "errors")), 0);
    assert_int_equal(json_array_size(value_at(status, "agents.unknownToGateway")), 0);
    assert_string_equal(string_at(status, "versions.runtimeService"), MISSION_CONTROL_VERSION);
    assert_string_equal(string_at(status, "account"), TEST_ACCOUNT);
    json_int_t delivered = 0;
    size_t columns = json_array_size(value_at(status, "history.columns"));
    assert_string_equal(string_at(status, "history.columns.1"), "delivered");
    for (size_t i = 0; i < json_array_size(value_at(status, "history.samples")); i++) {
        const json_t *sample = json_array_get(value_at(status, "history.samples"), i);
        assert_int_equal(json_array_size(sample), columns);
        delivered += json_integer_value(json_array_get(sample, 1));
    }
    assert_int_equal(delivered, 6);
    json_decref(status);
    test_env_stop_runtime(env);
}

/* The error of that part whose text has the words, or NULL; borrowed from status. */
static json_t *find_error(json_t *status, const char *part, const char *words)
{
    size_t i;
    json_t *error;
    json_array_foreach (value_at(status, "errors"), i, error)
        if (strcmp(string_at(error, "part"), part) == 0 &&
            strstr(string_at(error, "text"), words) != NULL)
            return error;
    return NULL;
}

/* Each part that the backend refuses says so once, however often it is refused. */
static void test_refusals_of_the_backend_are_among_the_errors(void **state)
{
    struct test_env *env = *state;
    json_decref(test_env_post(
        env, "/sandbox/token", json_pack("{s:s}", "secret", "fedcba9876543210fedcba9876543210")));
    test_env_start_runtime(env, STRINGS("AGENT_SYNC_INTERVAL=50", "HEALTH_CHECK_INTERVAL=50",
                                    "DELIVERY_BACKOFF_BASE_MS=10", "DELIVERY_BACKOFF_MAX_MS=20"));
    test_env_wait_calls(env, "listUndeliveredNotifications", 5);
    test_env_wait_calls(env, "updateRuntimeStatus", 5);
    test_env_wait_calls(env, "listAgents", 5);
    json_t *status = wait_status_value(env, "state", 0, "degraded");
    static const char *const parts[] = {"delivery", "agents", "report"};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        const json_t *error = find_error(status, parts[i], "Invalid service token");
        assert_non_null(error);
        assert_true(json_integer_value(json_object_get(error, "times")) > 2);
    }
    assert_true(json_array_size(value_at(status, "errors")) <= 6);
    json_decref(status);
    test_env_stop_runtime(env);
}

static void test_status_401_of_the_backend_is_among_the_errors(void **state)
{
    struct test_env *env = *state;
    board_backend_fault(env, json_pack("{s:s, s:s, s:i}", "action", "listUndeliveredNotifications",
                                 "behaviour", "status", "status", 401));
    test_env_start_runtime(env, NULL);
    /* At the second failure the first is certainly recorded. */
    json_t *status = wait_status_value(env, "backend.pollFailures", 2, NULL);
    assert_non_null(find_error(status, "delivery", "401"));
    json_decref(status);
    test_env_stop_runtime(env);
}

static void test_status_lists_agents_and_what_needs_a_look(void **state)
{
    struct test_env *env = *state;
    char host[256] = "";
    gethostname(host, sizeof host - 1);
    json_decref(board_load(env, 3, 2));
    test_env_list_agents(env, true);
    test_env_start_runtime(env, STRINGS("AGENT_SYNC_INTERVAL=50", "BOARD_URL=http://board.lan/x/"));
    test_env_wait(env, "delivered=3");
    json_t *status = wait_status_value(env, "agents.scheduled", 2, NULL);
    json_decref(status);
    json_decref(wait_status_value(env, "agents.list.0.lastReplyMs", 1, NULL));
    status = wait_status_value(env, "agents.list.0.lastWakeMs", 1, NULL);
    assert_string_equal(string_at(status, "host"), host);
    assert_string_equal(string_at(status, "board"), "http://board.lan/x");
    assert_int_equal(json_array_size(value_at(status, "agents.list")), 2);
    assert_string_equal(string_at(status, "agents.list.0.agent"), "worker1");
    assert_in_range(number_at(status, "agents.list.0.lastReplyMs"), 0, 600000);
    assert_in_range(number_at(status, "agents.list.0.inFlight"), 0, 1);
    assert_int_equal(number_at(status, "agents.list.0.waiting"), 0);
    assert_true(json_is_null(value_at(status, "agents.list.0.failingMs")));
    assert_true(json_is_true(value_at(status, "agents.list.0.knownToGateway")));
    assert_int_equal(json_array_size(value_at(status, "warnings")), 0);
    json_decref(status);
    test_env_stop_runtime(env);
}

/* Another worker may look ahead, whether the next one can be skipped. */
static json_t *find_sending_worker(json_t *status)
{
    size_t i;
    json_t *worker;
    json_array_foreach (value_at(status, "workers"), i, worker)
        if (json_is_true(json_object_get(worker, "busy")) &&
            strcmp(string_at(worker, "stage"), "sending") == 0)
            return worker;
    fail_msg("no worker is sending");
    return NULL;
}

static void test_status_shows_busy_workers_and_waiting_work(void **state)
{
    struct test_env *env = *state;
    json_decref(board_load(env, 2, 1));
    board_hold_agents(env, "agent");
    test_env_start_runtime(env, NULL);
    test_env_wait(env, "in_flight=1");
    json_t *status = wait_status_value(env, "waiting.total", 1, NULL);
    json_t *worker = find_sending_worker(status);
    assert_string_equal(string_at(worker, "agent"), "worker1");
    assert_string_equal(string_at(worker, "does"), "delivery");
    assert_in_range(number_at(worker, "forMs"), 0, 600000);
    assert_int_equal(number_at(status, "spool.entries"), 1);
    assert_string_equal(string_at(status, "waiting.oldest.0.stage"), "known");
    assert_true(json_is_null(value_at(status, "waiting.oldest.0.lastFailure")));
    assert_true(json_is_null(value_at(status, "waiting.oldest.0.nextTryMs")));
    assert_in_range(number_at(status, "waiting.oldest.0.ageMs"), 0, 600000);
    json_decref(status);
    process_signal(&env->runtime, SIGUSR2);
    status = wait_status_value(env, "state", 0, "held");
    assert_true(json_is_true(value_at(status, "heldByHand")));
    assert_int_equal(json_array_size(value_at(status, "reasons")), 1);
    json_decref(status);
    process_signal(&env->runtime, SIGUSR2);
    board_clear_faults(env);
    json_decref(wait_status_value(env, "totals.delivered", 2, NULL));
    test_env_stop_runtime(env);
}

static void test_status_bounds_the_lists_of_failures(void **state)
{
    struct test_env *env = *state;
    board_gateway_fault(
        env, json_pack("{s:s, s:i, s:s}", "action", "status", "status", 400, "body", "no model"));
    json_decref(board_load(env, FAILING, FAILING));
    test_env_start_runtime(
        env, STRINGS("DELIVERY_BACKOFF_BASE_MS=600000", "DELIVERY_BACKOFF_MAX_MS=600000"));
    json_t *status = wait_status_value(env, "queue.waiting", FAILING, NULL);
    assert_int_equal(number_at(status, "waiting.total"), FAILING);
    assert_int_equal(json_array_size(value_at(status, "waiting.oldest")), MAX_LISTED);
    assert_string_equal(string_at(status, "waiting.oldest.0.lastFailure"), "gateway_refused");
    assert_string_equal(string_at(status, "waiting.oldest.0.agent"), "worker1");
    assert_in_range(number_at(status, "waiting.oldest.0.nextTryMs"), 1, 600000);
    assert_in_range(json_array_size(value_at(status, "errors")), 1, 20);
    assert_non_null(strstr(string_at(status, "errors.0.text"), "no model"));
    assert_string_equal(string_at(status, "errors.0.part"), "delivery");
    json_decref(status);
    test_env_stop_runtime(env);
}

static void test_degraded_status_has_a_reason(void **state)
{
    struct test_env *env = *state;
    board_set_flag(env, "gateway_disabled", true);
    test_env_start_runtime(env, NULL);
    json_t *status = wait_status_value(env, "gateway.state", 0, "shut");
    assert_string_equal(string_at(status, "state"), "degraded");
    assert_non_null(strstr(string_at(status, "reasons.0"), "No agent can be asked: "));
    assert_in_range(number_at(status, "gateway.nextProbeMs"), 0, 60000);
    json_decref(status);
    board_backend_fault(env, json_pack("{s:s, s:s}", "action", "listUndeliveredNotifications",
                                 "behaviour", "function_error"));
    /* What the page of the failure says of the health may be older. */
    json_decref(wait_status_value(env, "backend.pollFailures", 2, NULL));
    status = test_env_health_json(env, "/status");
    assert_int_equal(json_array_size(value_at(status, "reasons")), 2);
    json_decref(status);
    test_env_stop_runtime(env);
}

/* Agent names and replies are untrusted and may hold markup or secrets. */
static void test_status_escapes_names_and_hides_replies_and_secrets(void **state)
{
    struct test_env *env = *state;
    char *body;
    json_t *seeded = test_env_post(env, "/sandbox/seed",
        json_pack("{s:[{s:s}], s:[{s:s}]}", "agents", "slug", HOSTILE_SLUG, "tasks", "title", "T"));
    board_gateway_fault(env, json_pack("{s:s, s:i, s:i, s:s}", "action", "status", "status", 400,
                                 "times", 1, "body", "refused " TEST_GATEWAY_TOKEN));
    board_gateway_fault(env, json_pack("{s:s, s:s}", "action", "reply", "text",
                                 REPLY " " TEST_SECRET " " TEST_GATEWAY_TOKEN));
    board_backend_fault(env, json_pack("{s:s, s:s, s:s, s:i}", "action", "createMessageFromAgent",
                                 "behaviour", "status", "body", "busy", "status", 503));
    json_decref(test_env_post(env, "/sandbox/notify",
        json_pack("{s:s, s:s, s:s}", "agent", string_at(seeded, "agents.0.id"), "task",
            string_at(seeded, "tasks.0.id"), "type", "assignment")));
    test_env_start_runtime(
        env, STRINGS("DELIVERY_BACKOFF_BASE_MS=50", "DELIVERY_BACKOFF_MAX_MS=200"));
    json_decref(wait_status_value(env, "totals.agentRuns", 1, NULL));
    json_t *status = wait_status_value(env, "waiting.total", 1, NULL);
    assert_string_equal(string_at(status, "waiting.oldest.0.stage"), "replied");
    assert_string_equal(string_at(status, "waiting.oldest.0.agent"), HOSTILE_SLUG);
    json_decref(status);
    assert_int_equal(test_env_health_get(env, "/status", &body), 200);
    assert_non_null(strstr(body, "refused "));
    assert_null(strstr(body, REPLY));
    assert_null(strstr(body, TEST_SECRET));
    assert_null(strstr(body, TEST_GATEWAY_TOKEN));
    assert_null(strstr(body, "agent:"));
    free(body);
    json_decref(seeded);
    board_clear_faults(env);
    json_decref(wait_status_value(env, "totals.delivered", 1, NULL));
    test_env_stop_runtime(env);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_ON_BOTH(test_refusals_of_the_backend_are_among_the_errors),
        TEST_IN_ENV(test_status_401_of_the_backend_is_among_the_errors),
        TEST_IN_ENV(test_status_lists_agents_and_what_needs_a_look),
        TEST_IN_ENV(test_each_file_has_its_headers),
        TEST_IN_ENV(test_page_is_self_contained),
        TEST_IN_ENV(test_status_shows_completed_work),
        TEST_IN_ENV(test_status_shows_busy_workers_and_waiting_work),
        TEST_IN_ENV(test_status_bounds_the_lists_of_failures),
        TEST_IN_ENV(test_degraded_status_has_a_reason),
        TEST_IN_ENV(test_status_escapes_names_and_hides_replies_and_secrets),
    };
    return cmocka_run_group_tests_name("status", tests, NULL, NULL);
}
