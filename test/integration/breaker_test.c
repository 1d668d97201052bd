/*
 * The circuit breaker: gateway outages and refusals cost no run, and queued work starts as soon as
 * they end.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "../lib/board.h"
#include "../lib/fault_proxy.h"
#include "../lib/loopback.h"
#include "../lib/stub_server.h"
#include "../lib/test_file.h"
#include "base/containers.h"
#include "base/sync.h"

/* Between two probes are 1.5 s at most (unit/breaker_test.c), with a refused token 30 s. */
#define RETURN_MS ((int64_t)5000 * process_timeout_scale())

static bool health_has(struct test_env *env, const char *words)
{
    return test_env_health_has(env, "/health", words);
}

/* Work queued during an outage starts within RETURN_MS of its end and is charged no run. */
static void expect_recovery(struct test_env *env, const char *flag, bool value)
{
    int64_t began_ms = clock_monotonic_ms();
    board_set_flag(env, flag, value);
    test_env_wait(env, "requests=1");
    assert_in_range(clock_monotonic_ms() - began_ms, 0, RETURN_MS);
    test_env_wait(env, "undelivered=0");
    assert_int_equal(test_env_stat(env, NULL, "replies"), 1);
    assert_true(health_has(env, "\"state\": \"open\""));
}

static void test_disabled_endpoint_recovers_when_enabled(void **state)
{
    struct test_env *env = *state;
    char id[ID_BYTES];
    board_set_flag(env, "gateway_disabled", true);
    board_load_one(env, id);
    test_env_start_runtime(env, STRINGS("DELIVERY_MAX_RUNS=1"));
    test_env_wait(env, "action=listUndeliveredNotifications&calls=4");
    test_env_wait_words(env, "/health", "responses.enabled", true);
    assert_true(health_has(env, "\"degraded\""));
    assert_int_equal(test_env_stat(env, "gateway", "deliveries"), 0);
    expect_recovery(env, "gateway_disabled", false);
    test_env_stop_runtime(env);
}

static void test_draining_gateway_recovers_when_back(void **state)
{
    struct test_env *env = *state;
    char id[ID_BYTES];
    board_set_flag(env, "gateway_draining", true);
    board_load_one(env, id);
    test_env_start_runtime(env, STRINGS("DELIVERY_MAX_RUNS=1"));
    test_env_wait(env, "posts=2");
    assert_true(health_has(env, "temporarily unavailable"));
    expect_recovery(env, "gateway_draining", false);
    test_env_stop_runtime(env);
}

/* Probes succeed while runs are refused: refusals count as no run and delay no other agent. */
static void expect_refusals_cost_no_run(struct test_env *env, int status, const char *header)
{
    enum { TIMES = 5 };
    char id[ID_BYTES];
    board_load_one(env, id);
    board_gateway_fault(
        env, json_pack("{s:s, s:i, s:i, s:{s:s}, s:{s:{s:s, s:s}}}", "action", "status", "status",
                 status, "times", TIMES, "headers", header, "0", "body_json", "error", "message",
                 "not now", "type", "unauthorized"));
    test_env_start_runtime(env, STRINGS("DELIVERY_MAX_RUNS=1"));
    test_env_wait(env, "undelivered=0");
    assert_int_equal(board_requests_for(env, id), TIMES + 1);
    assert_int_equal(test_env_stat(env, NULL, "replies"), 1);
    json_t *messages = board_documents(env, "messages");
    int count;
    const json_t *message = board_message_for(messages, id, &count);
    assert_null(strstr(board_string(message, "content"), "No reply"));
    json_decref(messages);
    test_env_stop_runtime(env);
}

static void test_busy_answers_cost_no_run(void **state)
{
    expect_refusals_cost_no_run(*state, 429, "Retry-After");
}

static void test_misconfigured_answers_cost_no_run(void **state)
{
    expect_refusals_cost_no_run(*state, 405, "X-Nothing");
}

/*
 * The gateway locks out an address that tries wrong tokens, even for the right one. Prober, agent
 * sync and sends together stay far below its limit, and a corrected token works at once.
 */
static void test_wrong_gateway_token_is_tried_rarely(void **state)
{
    struct test_env *env = *state;
    char path[TMP_DIR_BYTES + 16];
    char setting[TMP_DIR_BYTES + 64];
    char id[ID_BYTES];
    snprintf(path, sizeof path, "%s/token", env->dir);
    snprintf(setting, sizeof setting, "OPENCLAW_GATEWAY_TOKEN_FILE=%s", path);
    test_file_write(path, "not-the-secret");
    board_load_one(env, id);
    test_env_start_runtime(
        env, STRINGS("OPENCLAW_GATEWAY_TOKEN", setting, "AGENT_SYNC_INTERVAL=1000"));
    test_env_wait_log(env, "check OPENCLAW_GATEWAY_TOKEN; the gateway rejects it");
    test_env_wait(env, "action=listAgents&calls=4");
    assert_in_range(test_env_stat(env, "gateway", "refused"), 1, 3);
    assert_true(health_has(env, "check OPENCLAW_GATEWAY_TOKEN"));
    assert_false(health_has(env, "not-the-secret"));
    assert_false(process_has_output(&env->runtime, "not-the-secret"));
    test_file_write(path, TEST_GATEWAY_TOKEN);
    int64_t began_ms = clock_monotonic_ms();
    process_signal(&env->runtime, SIGHUP);
    test_env_wait(env, "undelivered=0");
    assert_in_range(clock_monotonic_ms() - began_ms, 0, RETURN_MS);
    test_env_stop_runtime(env);
}

/* Slow is not away: it is found by a probe that waits longer. */
static void test_slow_gateway_is_used(void **state)
{
    struct test_env *env = *state;
    char setting[64];
    char id[ID_BYTES];
    struct fault_proxy *proxy = fault_proxy_start(test_env_sandbox_port(env));
    FAULT(proxy, .kind = FAULT_DELAY_ANSWER, .delay_ms = 2000);
    snprintf(setting, sizeof setting, "OPENCLAW_GATEWAY_URL=http://127.0.0.1:%u",
        fault_proxy_port(proxy));
    board_load_one(env, id);
    test_env_start_runtime(env, STRINGS(setting));
    test_env_wait(env, "undelivered=0");
    assert_true(fault_proxy_hits(proxy, FAULT_DELAY_ANSWER) >= 3);
    assert_int_equal(board_requests_for(env, id), 1);
    test_env_stop_runtime(env);
    fault_proxy_stop(proxy);
}

/* Something answers at the gateway's address but is not a gateway: no agent is run through it. */
static void expect_no_run_through_web_server(struct test_env *env, int status, const char *advice)
{
    char id[ID_BYTES];
    board_load_one(env, id);
    board_gateway_fault(env, json_pack("{s:s, s:b, s:i, s:s}", "action", "status", "before_checks",
                                 1, "status", status, "body", "<html>Welcome!</html>"));
    test_env_start_runtime(env, STRINGS("DELIVERY_MAX_RUNS=1"));
    test_env_wait(env, "posts=4");
    assert_true(health_has(env, advice));
    assert_true(health_has(env, "\"degraded\""));
    assert_int_equal(board_requests_for(env, id), 0);
    board_clear_faults(env);
    test_env_wait(env, "undelivered=0");
    assert_int_equal(test_env_stat(env, NULL, "replies"), 1);
    test_env_stop_runtime(env);
}

/* What refuses an empty request in JSON reads requests, in whatever words it does so. */
static void expect_gateway_behind_refusal(struct test_env *env, int status, const char *body)
{
    char id[ID_BYTES];
    board_load_one(env, id);
    board_gateway_fault(
        env, json_pack("{s:s, s:s, s:b, s:i, s:s, s:i}", "action", "status", "name", "refusal",
                 "before_checks", 1, "status", status, "body", body, "times", 1));
    test_env_start_runtime(env, NULL);
    test_env_wait(env, "undelivered=0");
    assert_int_equal(board_fault_hits(env, "refusal"), 1);
    long runs = test_env_stat(env, "gateway", "posts") - test_env_stat(env, "gateway", "probes");
    assert_int_equal(runs, 1);
    test_env_stop_runtime(env);
}

static void test_refusal_in_few_words_is_a_gateway(void **state)
{
    expect_gateway_behind_refusal(*state, 400, "{\"error\":\"model is required\"}");
}

static void test_refusal_with_422_is_a_gateway(void **state)
{
    expect_gateway_behind_refusal(*state, 422, "{\"detail\":[{\"msg\":\"Field required\"}]}");
}

static void test_web_server_that_answers_200_is_not_a_gateway(void **state)
{
    expect_no_run_through_web_server(
        *state, 200, "check OPENCLAW_GATEWAY_URL: it does not lead to an OpenClaw gateway");
}

static void test_web_server_that_answers_405_is_not_a_gateway(void **state)
{
    expect_no_run_through_web_server(*state, 405, "gateway.http.endpoints.responses.enabled");
}

/* Its page in place of the list of models says nothing about which agents there are. */
static void test_control_ui_is_a_disabled_endpoint_of_known_agents(void **state)
{
    struct test_env *env = *state;
    static const char setting[] = "gateway.http.endpoints.responses.enabled";
    char id[ID_BYTES];
    char url[96];
    struct stub_server *gateway = stub_server_start_control_ui();
    snprintf(
        url, sizeof url, "OPENCLAW_GATEWAY_URL=http://127.0.0.1:%u", stub_server_port(gateway));
    board_load_one(env, id);
    test_env_list_agents(env, true);
    test_env_start_runtime(
        env, STRINGS(url, "OPENCLAW_FALLBACK_AGENT=main", "AGENT_SYNC_INTERVAL=50"));
    test_env_wait_log(env, setting);
    test_env_wait_calls(env, "listAgents", 3);
    assert_true(health_has(env, setting));
    test_env_wait_words(env, "/status", setting, true);
    assert_true(health_has(env, "\"unknownToGateway\": []"));
    test_env_stop_runtime(env);
    stub_server_stop(gateway);
}

/* A proxy that loses patience answers although the agent runs: each such answer counts as a run. */
static void expect_unclear_answers_to_count(struct test_env *env, int status)
{
    char id[ID_BYTES];
    board_load_one(env, id);
    board_gateway_fault(env, json_pack("{s:s, s:i, s:s}", "action", "raw_body", "status", status,
                                 "body", "<html>Gateway Time-out</html>"));
    test_env_start_runtime(env, STRINGS("DELIVERY_MAX_RUNS=2"));
    test_env_wait(env, "undelivered=0");
    assert_int_equal(board_requests_for(env, id), 2);
    json_t *messages = board_documents(env, "messages");
    int count;
    const json_t *message = board_message_for(messages, id, &count);
    assert_int_equal(count, 1);
    assert_non_null(strstr(board_string(message, "content"), "was asked 2 times"));
    json_decref(messages);
    test_env_stop_runtime(env);
}

static void test_gateway_timeouts_of_a_proxy_count_as_runs(void **state)
{
    expect_unclear_answers_to_count(*state, 504);
}

/* A reverse proxy before the sandbox's gateway. It drops what it forwarded when the test ends. */
struct impatient_proxy {
    unsigned gateway_port;
    int forwarded[16];
    unsigned forwarded_count;
};

/* Forwards a run, and gives up on it at once: the run goes on. Answers probes itself. */
static const char *answer_as_impatient_proxy(void *context, const char *request)
{
    struct impatient_proxy *proxy = context;
    if (strncmp(request, "POST ", 5) != 0)
        return "HTTP/1.1 404 Not Found\r\nContent-Length: 9\r\n\r\nNot Found";
    if (strstr(request, "\"stream\"") == NULL)
        return "HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\n\r\n"
               "{\"error\":{\"message\":\"model: Required\",\"type\":\"invalid_request_error\"}}";
    int fd = loopback_connect(proxy->gateway_port);
    assert_true(fd >= 0 && proxy->forwarded_count < 16);
    assert_true(write(fd, request, strlen(request)) == (ssize_t)strlen(request));
    proxy->forwarded[proxy->forwarded_count++] = fd;
    return "HTTP/1.1 504 Gateway Time-out\r\nContent-Type: text/html\r\n\r\n"
           "<html><head><title>504 Gateway Time-out</title></head></html>";
}

/* With the default budget of four runs. */
static void test_runs_that_a_proxy_gives_up_on_are_within_the_budget(void **state)
{
    struct test_env *env = *state;
    env->options.may_overlap = true; /* the gateway is not told that the proxy gave up */
    char id[ID_BYTES];
    char url[96];
    struct impatient_proxy proxy = {.gateway_port = test_env_sandbox_port(env)};
    struct stub_server *server = stub_server_start_with(answer_as_impatient_proxy, &proxy);
    snprintf(url, sizeof url, "OPENCLAW_GATEWAY_URL=http://127.0.0.1:%u", stub_server_port(server));
    board_set(env, json_pack("{s:i}", "gateway_latency_ms", 300));
    board_load_one(env, id);
    test_env_start_runtime(env, STRINGS(url, "DELIVERY_MAX_RUNS"));
    test_env_wait(env, "undelivered=0");
    assert_int_equal(proxy.forwarded_count, 4);
    test_env_wait(env, "requests=4");
    assert_int_equal(test_env_stat(env, "gateway", "deliveries"), 4);
    test_env_stop_runtime(env);
    stub_server_stop(server);
    for (unsigned i = 0; i < proxy.forwarded_count; i++)
        close(proxy.forwarded[i]);
}

static void test_pages_with_status_200_count_as_runs(void **state)
{
    expect_unclear_answers_to_count(*state, 200);
}

static void test_errors_without_the_gateways_words_count_as_runs(void **state)
{
    expect_unclear_answers_to_count(*state, 403);
}

static void expect_recovery_from_proxy_error(struct test_env *env, int status)
{
    json_t *rows = board_load(env, 6, 3);
    test_env_start_runtime(env, STRINGS("DELIVERY_MAX_RUNS=1"));
    test_env_wait(env, "delivered=6");
    board_gateway_fault(env, json_pack("{s:s, s:b, s:i, s:s}", "action", "status", "before_checks",
                                 1, "status", status, "body", "<html>bad gateway</html>"));
    json_decref(board_load(env, 6, 3));
    long posts = test_env_stat(env, "gateway", "posts");
    char more[64];
    snprintf(more, sizeof more, "posts=%ld", posts + 5);
    test_env_wait(env, more);
    assert_true(health_has(env, "\"degraded\""));
    int64_t began_ms = clock_monotonic_ms();
    board_clear_faults(env);
    test_env_wait(env, "requests=7");
    assert_in_range(clock_monotonic_ms() - began_ms, 0, RETURN_MS);
    test_env_wait(env, "undelivered=0");
    assert_int_equal(test_env_stat(env, NULL, "replies"), 12);
    test_env_stop_runtime(env);
    json_decref(rows);
}

/* A proxy in front of a gateway that is down: the run that met the 502 is not counted. */
static void test_proxy_502_opens_the_breaker(void **state)
{
    expect_recovery_from_proxy_error(*state, 502);
}

/* The status of a CDN that cannot reach the origin. */
static void test_cdn_523_opens_the_breaker(void **state)
{
    expect_recovery_from_proxy_error(*state, 523);
}

/* What was in flight when the gateway crashed is asked again as soon as it is back. */
static void test_runs_lost_in_a_crash_are_repeated_soon(void **state)
{
    enum { RUNS = 8 };
    struct test_env *env = *state;
    char setting[64];
    struct fault_proxy *proxy = fault_proxy_start(test_env_sandbox_port(env));
    snprintf(setting, sizeof setting, "OPENCLAW_GATEWAY_URL=http://127.0.0.1:%u",
        fault_proxy_port(proxy));
    json_decref(board_load(env, RUNS, RUNS));
    board_hold_agents(env, "agent");
    test_env_start_runtime(
        env, STRINGS(setting, "DELIVERY_WORKERS=8", "DELIVERY_BACKOFF_BASE_MS=250",
                 "DELIVERY_BACKOFF_MAX_MS=600000"));
    test_env_wait(env, "in_flight=8");
    FAULT(proxy, .kind = FAULT_REFUSE);
    fault_proxy_drop_connections(proxy);
    test_env_wait_words(env, "/health", "\"shut\"", true);
    board_clear_faults(env);
    FAULT(proxy, .kind = FAULT_NONE);
    int64_t began_ms = clock_monotonic_ms();
    test_env_wait(env, "undelivered=0");
    assert_in_range(clock_monotonic_ms() - began_ms, 0, RETURN_MS);
    assert_int_equal(test_env_stat(env, "gateway", "deliveries"), 2 * RUNS);
    test_env_stop_runtime(env);
    fault_proxy_stop(proxy);
}

/* The gateway's model provider fails: few sends at a time find out when it is back. */
static void test_failing_provider_limits_the_sends(void **state)
{
    struct test_env *env = *state;
    json_decref(board_load(env, 8, 8));
    board_gateway_fault(
        env, json_pack("{s:s, s:s, s:i}", "name", "provider", "action", "status", "status", 502));
    test_env_start_runtime(
        env, STRINGS("DELIVERY_MAX_CONCURRENT_SESSIONS=8", "DELIVERY_BACKOFF_BASE_MS=100",
                 "DELIVERY_BACKOFF_MAX_MS=400", "DELIVERY_MAX_RUNS=100"));
    test_env_wait_log(env, "3 sends at a time");
    assert_true(health_has(env, "\"trickle\""));
    assert_true(health_has(env, "\"degraded\""));
    board_clear_faults(env);
    test_env_wait(env, "undelivered=0");
    assert_int_equal(test_env_stat(env, NULL, "replies"), 8);
    assert_true(health_has(env, "\"open\""));
    test_env_stop_runtime(env);
}

/* One of four notifications meets that answer on every attempt; the other three are delivered. */
static void expect_note_after_endless_refusal(struct test_env *env, int status, const char *header)
{
    enum { NOTIFICATIONS = 4, AGENTS = 2 };
    json_t *rows = board_load(env, NOTIFICATIONS, AGENTS);
    const char *bad = board_string(json_array_get(rows, 0), "id");
    int count;
    board_gateway_fault(
        env, json_pack("{s:{s:s}, s:s, s:i, s:{s:s}, s:{s:{s:s}}}", "match", "notification", bad,
                 "action", "status", "status", status, "headers", header, "0", "body_json", "error",
                 "message", "unknown agent @all"));
    test_env_start_runtime(env, STRINGS("DELIVERY_GIVE_UP_AFTER_MS=300", "DELIVERY_MAX_RUNS=1"));
    test_env_wait(env, "undelivered=0");
    json_t *messages = board_documents(env, "messages");
    const json_t *note = board_message_for(messages, bad, &count);
    assert_int_equal(count, 1);
    assert_non_null(strstr(board_string(note, "content"), "refused it for too long"));
    assert_null(strchr(board_string(note, "content"), '@'));
    assert_true(board_requests_for(env, bad) > 1);
    assert_int_equal(test_env_stat(env, NULL, "replies"), NOTIFICATIONS);
    assert_true(health_has(env, "\"state\": \"open\""));
    json_decref(messages);
    test_env_stop_runtime(env);
    json_decref(rows);
}

static void test_notification_refused_too_long_ends_with_a_note(void **state)
{
    expect_note_after_endless_refusal(*state, 400, "X-Nothing");
}

/* Probes keep closing the circuit that it opens, so it is the notification that is at fault. */
static void test_notification_that_keeps_opening_the_circuit_ends_with_a_note(void **state)
{
    expect_note_after_endless_refusal(*state, 405, "X-Nothing");
}

/* A rate limit that only one notification meets holds up its own agent alone. */
static void test_notification_rate_limited_alone_ends_with_a_note(void **state)
{
    expect_note_after_endless_refusal(*state, 429, "Retry-After");
}

/*
 * Each run of three agents fails. The fourth's replies show that not all is lost, so it flows; the
 * other three, of which each has ten notifications, send rarely instead of wasting thirty runs.
 */
static void test_agents_that_fail_together_send_rarely(void **state)
{
    enum { NOTIFICATIONS = 40, AGENTS = 4, OF_EACH = NOTIFICATIONS / AGENTS, MAX_FAILED_RUNS = 9 };
    struct test_env *env = *state;
    json_decref(board_load(env, NOTIFICATIONS, AGENTS));
    board_set(env, json_pack("{s:i}", "gateway_latency_ms", 250));
    for (int i = 1; i < AGENTS; i++) {
        char slug[32];
        snprintf(slug, sizeof slug, "worker%d", i);
        board_gateway_fault(
            env, json_pack("{s:{s:s}, s:s, s:i, s:{s:s, s:s, s:{s:s}}}", "match", "agent", slug,
                     "action", "status", "status", 500, "body_json", "object", "response", "status",
                     "failed", "error", "message", "the model provider is away"));
    }
    test_env_start_runtime(env, STRINGS("DELIVERY_BACKOFF_BASE_MS=3600000",
                                    "DELIVERY_BACKOFF_MAX_MS=3600000", "DELIVERY_WORKERS=4"));
    test_env_wait(env, "delivered=10");
    long failed_runs = test_env_stat(env, "gateway", "deliveries") - OF_EACH;
    if (failed_runs > MAX_FAILED_RUNS)
        fail_msg("%ld runs failed", failed_runs);
    test_env_stop_runtime(env);
}

/* After our timeout the next attempt gets twice the time. */
static void test_timeout_doubles_after_a_timeout(void **state)
{
    struct test_env *env = *state;
    char id[ID_BYTES];
    board_load_one(env, id);
    board_gateway_fault(env, json_pack("{s:s, s:i}", "action", "hold", "times", 2));
    test_env_start_runtime(env, STRINGS("OPENCLAW_REQUEST_TIMEOUT_MS=1000",
                                    "DELIVERY_BACKOFF_BASE_MS=1", "DELIVERY_BACKOFF_MAX_MS=10"));
    test_env_wait(env, "undelivered=0");
    assert_int_equal(board_requests_for(env, id), 3);
    assert_int_equal(test_env_stat(env, NULL, "replies"), 1);
    test_env_wait_log(env, "timed out after 1000ms");
    test_env_wait_log(env, "timed out after 2000ms");
    test_env_stop_runtime(env);
}

/* A reply that the backend keeps rejecting becomes a dead letter; its agent is not run again. */
static void test_reply_rejected_too_long_becomes_a_dead_letter(void **state)
{
    struct test_env *env = *state;
    const char *const settings[] = {"DELIVERY_GIVE_UP_AFTER_MS=200", NULL};
    char id[ID_BYTES];
    board_load_one(env, id);
    board_fail(env, "createMessageFromAgent", "function_error", -1);
    board_fail(env, "markNotificationDelivered", "function_error", -1);
    test_env_start_runtime(env, settings);
    test_env_wait_log(env, "moved to dead/");
    assert_true(health_has(env, "\"dead\": 1"));
    test_env_stop_runtime(env);
    board_clear_faults(env);
    test_env_start_runtime(env, settings);
    test_env_wait_log(env, "dead/ holds 1");
    json_decref(board_load(env, 1, 1));
    test_env_wait(env, "delivered=1");
    assert_int_equal(board_requests_for(env, id), 1);
    test_env_stop_runtime(env);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_ON_BOTH(test_disabled_endpoint_recovers_when_enabled),
        TEST_ON_BOTH(test_draining_gateway_recovers_when_back),
        TEST_ON_BOTH(test_busy_answers_cost_no_run),
        TEST_ON_BOTH(test_misconfigured_answers_cost_no_run),
        TEST_IN_ENV(test_refusal_in_few_words_is_a_gateway),
        TEST_IN_ENV(test_refusal_with_422_is_a_gateway),
        TEST_IN_ENV(test_web_server_that_answers_200_is_not_a_gateway),
        TEST_IN_ENV(test_web_server_that_answers_405_is_not_a_gateway),
        TEST_IN_ENV(test_control_ui_is_a_disabled_endpoint_of_known_agents),
        TEST_ON_BOTH(test_gateway_timeouts_of_a_proxy_count_as_runs),
        TEST_ON_BOTH(test_runs_that_a_proxy_gives_up_on_are_within_the_budget),
        TEST_ON_BOTH(test_pages_with_status_200_count_as_runs),
        TEST_ON_BOTH(test_errors_without_the_gateways_words_count_as_runs),
        TEST_IN_ENV(test_wrong_gateway_token_is_tried_rarely),
        TEST_IN_ENV(test_slow_gateway_is_used),
        TEST_ON_BOTH(test_proxy_502_opens_the_breaker),
        TEST_ON_BOTH(test_cdn_523_opens_the_breaker),
        TEST_ON_BOTH(test_runs_lost_in_a_crash_are_repeated_soon),
        TEST_ON_BOTH(test_failing_provider_limits_the_sends),
        TEST_ON_BOTH(test_notification_refused_too_long_ends_with_a_note),
        TEST_ON_BOTH(test_notification_that_keeps_opening_the_circuit_ends_with_a_note),
        TEST_ON_BOTH(test_notification_rate_limited_alone_ends_with_a_note),
        TEST_ON_BOTH(test_agents_that_fail_together_send_rarely),
        TEST_ON_BOTH(test_timeout_doubles_after_a_timeout),
        TEST_ON_BOTH(test_reply_rejected_too_long_becomes_a_dead_letter),
    };
    return cmocka_run_group_tests_name("breaker", tests, NULL, NULL);
}
