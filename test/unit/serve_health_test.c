/*
 * Responses of /health and /version: keys in order, types, and no secrets. The sources are real
 * objects without threads, whose state the tests set.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>
#include <string.h>
#include <unistd.h>

#include "../lib/ticket.h"
#include "../lib/tmp_dir.h"
#include "backend/backend_clock.h"
#include "base/secret.h"
#include "base/sync.h"
#include "serve/serve.h"

struct fixture {
    struct config config;
    struct stats stats;
    struct version_probe *version;
    struct breaker *breaker;
    struct gateway_roster *roster;
    struct wake_schedule *schedule;
    struct routes_sources sources;
    struct text body;
};

/* Records the result of a gateway probe. */
static void record_probe(struct fixture *fixture, const struct gateway_result *result)
{
    struct breaker_probe probe;
    breaker_begin_probe(fixture->breaker, 0, &probe);
    breaker_record_probe(fixture->breaker, probe.ticket, result, 0);
}

static int setup(void **state)
{
    const struct breaker_settings settings = {
        .enabled = true, .url = "http://gateway:18789", .idle_probe_ms = 60000};
    struct fixture *fixture = calloc(1, sizeof *fixture);
    assert_non_null(fixture);
    fixture->config.account_id = strdup("acme");
    fixture->config.runtime_version = strdup("0.2.0");
    fixture->config.droplet_id = strdup("d-1");
    fixture->config.droplet_ip = strdup("192.0.2.7");
    fixture->config.droplet_region = strdup("f\u00fcr/1");
    fixture->config.delivery_workers = 10;
    fixture->config.delivery_stream_timeout_ms = 120000;
    fixture->config.delivery_context_fetch_batch_size = 15;
    fixture->config.delivery_list_limit = 50;
    fixture->config.delivery_interval_ms = 5000;
    fixture->config.delivery_backoff_base_ms = 5001;
    fixture->config.delivery_backoff_max_ms = 300000;
    stats_init(&fixture->stats);
    assert_int_equal(version_probe_start(&fixture->version, "2026.9.6", NULL), 0);
    assert_int_equal(breaker_create(&fixture->breaker, &settings, 0, NULL), 0);
    record_probe(fixture, &(struct gateway_result){.outcome = GATEWAY_REPLIED, .status = 400});
    assert_int_equal(gateway_roster_create(&fixture->roster, NULL), 0);
    assert_int_equal(wake_schedule_create(&fixture->schedule, NULL), 0);
    fixture->sources = (struct routes_sources){
        .config = &fixture->config,
        .stats = &fixture->stats,
        .version = fixture->version,
        .breaker = fixture->breaker,
        .roster = fixture->roster,
        .schedule = fixture->schedule,
    };
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    version_probe_stop(fixture->version);
    breaker_destroy(fixture->breaker);
    gateway_roster_destroy(fixture->roster);
    wake_schedule_destroy(fixture->schedule);
    stats_fini(&fixture->stats);
    config_fini(&fixture->config);
    text_fini(&fixture->body);
    redact_forget_all();
    free(fixture);
    return 0;
}

/* Returns the body of /health, owned by the fixture. */
static const char *get_health(struct fixture *fixture)
{
    text_clear(&fixture->body);
    health_append(&fixture->body, &fixture->sources);
    assert_false(fixture->body.failed);
    return fixture->body.data;
}

/* Returns the body of /health parsed; a new reference. */
static json_t *get_health_json(struct fixture *fixture)
{
    json_error_t error;
    json_t *json = json_loads(get_health(fixture), 0, &error);
    assert_non_null(json);
    return json;
}

static void expect_status(struct fixture *fixture, const char *status)
{
    json_t *json = get_health_json(fixture);
    assert_string_equal(json_string_value(json_object_get(json, "status")), status);
    json_decref(json);
}

static void run_everything(struct fixture *fixture)
{
    atomic_store(&fixture->stats.gateway_running, true);
    atomic_store(&fixture->stats.delivery_running, true);
    atomic_store(&fixture->stats.last_poll_ms, 1700000000000);
}

static void test_status_is_degraded_while_anything_fails(void **state)
{
    struct fixture *fixture = *state;
    expect_status(fixture, "degraded");
    run_everything(fixture);
    expect_status(fixture, "healthy");
    atomic_store(&fixture->stats.consecutive_poll_failures, 1);
    expect_status(fixture, "degraded");
    atomic_store(&fixture->stats.consecutive_poll_failures, 0);
    atomic_store(&fixture->stats.spool_broken, true);
    expect_status(fixture, "degraded");
    atomic_store(&fixture->stats.spool_broken, false);
    atomic_store(&fixture->stats.gateway_running, false);
    expect_status(fixture, "degraded");
}

/* An open breaker degrades the status and shows its reason, with the server's text on one line. */
static void test_open_breaker_is_shown(void **state)
{
    struct fixture *fixture = *state;
    struct gateway_result result = {
        .outcome = GATEWAY_MISCONFIGURED, .status = 401, .error = {.text = "un\nauthorized"}};
    run_everything(fixture);
    breaker_record_send(fixture->breaker, ticket_of(fixture->breaker), "a1", &result, 1000);
    expect_status(fixture, "degraded");
    json_t *json = get_health_json(fixture);
    const json_t *gateway = json_object_get(json, "gateway");
    assert_string_equal(json_string_value(json_object_get(gateway, "state")), "shut");
    const char *reason = json_string_value(json_object_get(gateway, "reason"));
    assert_non_null(strstr(reason, "check OPENCLAW_GATEWAY_TOKEN"));
    assert_null(strchr(reason, '\n'));
    json_decref(json);
}

/* Replaces the number after key, which varies, with 0. */
static void zero_number(char *text, const char *key)
{
    char *at = strstr(text, key);
    assert_non_null(at);
    at += strlen(key);
    size_t length = strspn(at, "0123456789.");
    assert_true(length > 0);
    *at = '0';
    memmove(at + 1, at + length, strlen(at + length) + 1);
}

/* A runtime that has just started, with varying numbers as 0. */
static const char *const FRESH = "{\n"
                                 "  \"status\": \"healthy\",\n"
                                 "  \"uptime\": 0,\n"
                                 "  \"versions\": {\n"
                                 "    \"runtimeService\": \"0.2.0\",\n"
                                 "    \"openclaw\": \"2026.9.6\"\n"
                                 "  },\n"
                                 "  \"infrastructure\": {\n"
                                 "    \"dropletId\": \"d-1\",\n"
                                 "    \"ipAddress\": \"192.0.2.7\",\n"
                                 "    \"region\": \"f\u00fcr/1\"\n"
                                 "  },\n"
                                 "  \"gateway\": {\n"
                                 "    \"running\": true,\n"
                                 "    \"sessions\": 0,\n"
                                 "    \"lastSendAt\": null,\n"
                                 "    \"lastSendError\": null,\n"
                                 "    \"state\": \"open\",\n"
                                 "    \"reason\": null,\n"
                                 "    \"heldByHand\": false,\n"
                                 "    \"process\": null,\n"
                                 "    \"toolDialect\": \"unknown\",\n"
                                 "    \"toolsCollide\": false\n"
                                 "  },\n"
                                 "  \"delivery\": {\n"
                                 "    \"running\": true,\n"
                                 "    \"lastDelivery\": 1700000000000,\n"
                                 "    \"delivered\": 0,\n"
                                 "    \"failed\": 0,\n"
                                 "    \"consecutiveFailures\": 0,\n"
                                 "    \"lastErrorAt\": null,\n"
                                 "    \"lastErrorMessage\": null,\n"
                                 "    \"noResponseTerminalSkipCount\": 0,\n"
                                 "    \"requiredNotificationRetryExhaustedCount\": 0,\n"
                                 "    \"config\": {\n"
                                 "      \"maxConcurrentSessions\": 10,\n"
                                 "      \"streamTimeoutMs\": 120000,\n"
                                 "      \"contextFetchBatchSize\": 15,\n"
                                 "      \"listLimit\": 50,\n"
                                 "      \"intervalMs\": 5000,\n"
                                 "      \"backoffBaseMs\": 5001,\n"
                                 "      \"backoffMaxMs\": 300000\n"
                                 "    }\n"
                                 "  },\n"
                                 "  \"heartbeat\": {\n"
                                 "    \"running\": false,\n"
                                 "    \"scheduledAgents\": 0\n"
                                 "  },\n"
                                 "  \"agentSync\": {\n"
                                 "    \"running\": false,\n"
                                 "    \"lastSyncAt\": null,\n"
                                 "    \"lastError\": null,\n"
                                 "    \"profilesError\": null,\n"
                                 "    \"addedCount\": 0,\n"
                                 "    \"removedCount\": 0,\n"
                                 "    \"unknownToGateway\": [],\n"
                                 "    \"unusableSlugs\": []\n"
                                 "  },\n"
                                 "  \"memory\": {\n"
                                 "    \"rss\": 0,\n"
                                 "    \"heapTotal\": 0,\n"
                                 "    \"heapUsed\": 0,\n"
                                 "    \"external\": 0,\n"
                                 "    \"arrayBuffers\": 0\n"
                                 "  },\n"
                                 "  \"timestamp\": 0,\n"
                                 "  \"spool\": {\n"
                                 "    \"broken\": false,\n"
                                 "    \"dead\": 0,\n"
                                 "    \"deadBytes\": 0,\n"
                                 "    \"newer\": 0\n"
                                 "  },\n"
                                 "  \"reason\": null,\n"
                                 "  \"backend\": {\n"
                                 "    \"version\": \"unknown\",\n"
                                 "    \"pinned\": null,\n"
                                 "    \"clockAheadMs\": null\n"
                                 "  },\n"
                                 "  \"upgrade\": null,\n"
                                 "  \"otherRuntime\": false,\n"
                                 "  \"account\": \"acme\"\n"
                                 "}";

static void test_fresh_health_is_byte_exact(void **state)
{
    struct fixture *fixture = *state;
    run_everything(fixture);
    char *text = strdup(get_health(fixture));
    const char *const changing[] = {
        "\"uptime\": ", "\"rss\": ", "\"heapTotal\": ", "\"heapUsed\": ", "\"timestamp\": "};
    for (size_t i = 0; i < sizeof changing / sizeof changing[0]; i++)
        zero_number(text, changing[i]);
    assert_string_equal(text, FRESH);
    free(text);
}

static void test_counters_and_times_are_shown(void **state)
{
    struct fixture *fixture = *state;
    int64_t began_ms = clock_wall_ms();
    fixture->stats.started_monotonic_ms = clock_monotonic_ms() - 1500;
    struct metrics *metrics = &fixture->stats.metrics;
    metrics_add(metrics, METRIC_NOTIFICATIONS_DELIVERED, NULL, NULL, 5000000000);
    metrics_add(metrics, METRIC_NOTIFICATIONS_FAILED, "backend_error", NULL, 4);
    metrics_add(metrics, METRIC_NOTIFICATIONS_FAILED, "run_failed", NULL, 3);
    atomic_store(&fixture->stats.consecutive_poll_failures, 3);
    atomic_store(&fixture->stats.last_poll_ms, 1700000000123);
    stats_send_ended(&fixture->stats, NULL);
    json_t *json = get_health_json(fixture);
    double uptime = 0;
    json_int_t delivered = 0, failed = 0, failures = 0, polled = 0, sent = 0, rss = 0, now = 0;
    int result = json_unpack(json, "{s:f, s:{s:I}, s:{s:I, s:I, s:I, s:I}, s:{s:I}, s:I}", "uptime",
        &uptime, "gateway", "lastSendAt", &sent, "delivery", "lastDelivery", &polled, "delivered",
        &delivered, "failed", &failed, "consecutiveFailures", &failures, "memory", "rss", &rss,
        "timestamp", &now);
    assert_int_equal(result, 0);
    assert_true(uptime >= 1.5 && uptime < 100);
    assert_int_equal(delivered, 5000000000);
    assert_int_equal(failed, 7);
    assert_int_equal(failures, 3);
    assert_int_equal(polled, 1700000000123);
    assert_in_range(sent, began_ms, clock_wall_ms());
    assert_in_range(now, began_ms, clock_wall_ms());
    assert_true(rss > 100000);
    json_decref(json);
}

static void expect_in_health(struct fixture *fixture, const char *words)
{
    const char *text = get_health(fixture);
    if (strstr(text, words) == NULL)
        fail_msg("%s is not in %s", words, text);
}

static void test_missing_answers_are_counted_by_their_end(void **state)
{
    struct fixture *fixture = *state;
    struct metrics *metrics = &fixture->stats.metrics;
    metrics_add(metrics, METRIC_NO_RESPONSE, "skipped", NULL, 3);
    metrics_add(metrics, METRIC_NO_RESPONSE, "retries_exhausted", NULL, 2);
    expect_in_health(fixture, "\"noResponseTerminalSkipCount\": 3,\n");
    expect_in_health(fixture, "\"requiredNotificationRetryExhaustedCount\": 2,\n");
}

static void test_tools_are_shown(void **state)
{
    struct fixture *fixture = *state;
    gateway_roster_set_dialect(fixture->roster, DIALECT_FLAT);
    expect_in_health(fixture, "\"toolDialect\": \"flat\",\n    \"toolsCollide\": false\n");
    gateway_roster_note_collision(fixture->roster);
    expect_in_health(fixture, "\"toolDialect\": \"flat\",\n    \"toolsCollide\": true\n");
    gateway_roster_set_dialect(fixture->roster, DIALECT_NONE);
    expect_in_health(fixture, "\"toolDialect\": \"none\",");
}

/* Unusable slugs are told on v1 only, as on v0 every slug is usable. */
static void test_backend_is_shown(void **state)
{
    struct fixture *fixture = *state;
    struct convex *convex;
    assert_int_equal(convex_create(&convex, "http://127.0.0.1:9", "k57a", "token", NULL), 0);
    convex_pin_version(convex, BACKEND_PIN_V0);
    fixture->sources.convex = convex;
    gateway_roster_set_unusable(
        fixture->roster, json_pack("[{s:s, s:s}]", "slug", "task", "problem", "reserved"));
    run_everything(fixture);
    expect_in_health(fixture, "\"version\": \"v0\",\n    \"pinned\": \"v0\",");
    expect_in_health(fixture, "\"unusableSlugs\": []\n");
    convex_see_version(convex, BACKEND_V1);
    expect_status(fixture, "degraded");
    expect_in_health(
        fixture, "\"reason\": \"The backend is version v1, but BACKEND_VERSION=v0 is set\"");
    convex_pin_version(convex, BACKEND_PIN_AUTO);
    convex_see_version(convex, BACKEND_V1);
    expect_status(fixture, "healthy");
    expect_in_health(fixture, "\"version\": \"v1\",\n    \"pinned\": null,");
    expect_in_health(fixture, "\"slug\": \"task\",\n        \"problem\": \"reserved\"\n");
    int64_t now_ms = clock_wall_ms();
    backend_clock_see(convex_clock(convex), now_ms / 1000 * 1000 - 60000, now_ms, now_ms);
    expect_in_health(fixture, "\"clockAheadMs\": ");
    assert_null(strstr(get_health(fixture), "\"clockAheadMs\": null"));
    fixture->sources.convex = NULL;
    convex_destroy(convex);
}

static void test_errors_are_shown_without_secrets(void **state)
{
    struct fixture *fixture = *state;
    redact_add_secret("hunter2-secret");
    stats_delivery_failed(&fixture->stats, "line\nwith hunter2-secret and mc_service_k57_abc");
    stats_send_ended(&fixture->stats, "refused: Bearer abcdef012345 \xff");
    const char *text = get_health(fixture);
    assert_null(strstr(text, "hunter2"));
    assert_null(strstr(text, "k57_abc"));
    assert_null(strstr(text, "abcdef012345"));
    json_t *json = get_health_json(fixture);
    const json_t *delivery = json_object_get(json, "delivery");
    const json_t *gateway = json_object_get(json, "gateway");
    const char *message = json_string_value(json_object_get(delivery, "lastErrorMessage"));
    assert_non_null(message);
    assert_memory_equal(message, "line with ", strlen("line with "));
    assert_true(json_is_integer(json_object_get(delivery, "lastErrorAt")));
    assert_non_null(
        strstr(json_string_value(json_object_get(gateway, "lastSendError")), "refused"));
    json_decref(json);
}

static const json_t *get_process(struct fixture *fixture, json_t **json)
{
    *json = get_health_json(fixture);
    return json_object_get(json_object_get(*json, "gateway"), "process");
}

static const json_t *wait_for_exit(struct fixture *fixture, json_t **json)
{
    int64_t deadline_ms = clock_monotonic_ms() + 20000;
    const json_t *process = get_process(fixture, json);
    while (json_is_null(json_object_get(process, "lastExit"))) {
        assert_true(clock_monotonic_ms() < deadline_ms);
        json_decref(*json);
        process = get_process(fixture, json);
    }
    return process;
}

static void ignore_change(void *context, bool started)
{
    (void)context;
    (void)started;
}

static void test_gateway_process_is_shown(void **state)
{
    struct fixture *fixture = *state;
    json_t *json;
    char dir[TMP_DIR_BYTES];
    tmp_dir_create(dir);
    const struct supervisor_settings settings = {
        .command = "sh -c 'exit 3'", .state_dir = dir, .on_change = ignore_change};
    assert_int_equal(supervisor_create(&fixture->sources.supervisor, &settings, NULL), 0);
    run_everything(fixture);
    expect_status(fixture, "degraded");
    assert_non_null(strstr(get_health(fixture), "\"process\": {\n"
                                                "      \"pid\": null,\n"
                                                "      \"restarts\": 0,\n"
                                                "      \"lastExit\": null,\n"
                                                "      \"accepting\": false\n"
                                                "    }"));
    int64_t began_ms = clock_wall_ms();
    assert_int_equal(supervisor_start(fixture->sources.supervisor, NULL), 0);
    const json_t *last = json_object_get(wait_for_exit(fixture, &json), "lastExit");
    assert_int_equal(json_integer_value(json_object_get(last, "code")), 3);
    assert_true(json_is_null(json_object_get(last, "signal")));
    assert_in_range(json_integer_value(json_object_get(last, "at")), began_ms, clock_wall_ms());
    json_decref(json);
    supervisor_stop(fixture->sources.supervisor);
    supervisor_destroy(fixture->sources.supervisor);
    assert_int_equal(rmdir(dir), 0); /* nothing is left in it */
}

static void test_version_is_shown(void **state)
{
    struct fixture *fixture = *state;
    health_append_version(&fixture->body, &fixture->sources);
    assert_false(fixture->body.failed);
    assert_string_equal(fixture->body.data,
        "{\"runtimeServiceVersion\":\"0.2.0\",\"openclawVersion\":\"2026.9.6\","
        "\"dropletId\":\"d-1\",\"region\":\"f\u00fcr/1\"}");
}

#define WITH_SOURCES(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_SOURCES(test_status_is_degraded_while_anything_fails),
        WITH_SOURCES(test_open_breaker_is_shown),
        WITH_SOURCES(test_fresh_health_is_byte_exact),
        WITH_SOURCES(test_counters_and_times_are_shown),
        WITH_SOURCES(test_missing_answers_are_counted_by_their_end),
        WITH_SOURCES(test_tools_are_shown),
        WITH_SOURCES(test_backend_is_shown),
        WITH_SOURCES(test_errors_are_shown_without_secrets),
        WITH_SOURCES(test_gateway_process_is_shown),
        WITH_SOURCES(test_version_is_shown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
