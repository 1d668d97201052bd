/* Checks the metrics and the files in deploy/prometheus with Prometheus itself. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <jansson.h>
#include <unistd.h>

#include "../lib/board.h"
#include "../lib/loopback.h"
#include "../lib/plain_http.h"
#include "base/sync.h"

enum { CHECK_MS = 60000 };

static bool has_program(const char *name)
{
    char command[64];
    struct process process = {0};
    snprintf(command, sizeof command, "command -v %s", name);
    process_start(&process, STRINGS("/bin/sh", "-c", command), environ);
    bool found = process_wait_exit(&process, CHECK_MS) == 0;
    process_fini(&process);
    return found;
}

static void skip_without_prometheus(void)
{
    if (has_program("prometheus") && has_program("promtool"))
        return;
    print_message("skipped: prometheus is not installed\n");
    skip();
}

/* Runs a shell command that must exit 0, and print nothing if silent. */
static void expect_command(const char *command, bool silent)
{
    struct process process = {0};
    process_start(&process, STRINGS("/bin/sh", "-c", command), environ);
    int status = process_wait_exit(&process, CHECK_MS);
    char *output = process_output(&process);
    if (status != 0 || (silent && output[0] != '\0'))
        fail_msg("%s: status %d: %s", command, status, output);
    free(output);
    process_fini(&process);
}

static void test_shipped_config_and_rules_pass_promtool(void **state)
{
    (void)state;
    skip_without_prometheus();
    expect_command("cd deploy/prometheus && promtool check config prometheus.yml", false);
    expect_command(
        "cd deploy/prometheus && promtool check rules recording-rules.yml alerts.yml", false);
    expect_command("cd deploy/prometheus && promtool test rules rules-test.yml", false);
}

static void test_metrics_pass_promtool(void **state)
{
    struct test_env *env = *state;
    char command[512];
    skip_without_prometheus();
    json_decref(board_load(env, 3, 3));
    test_env_start_runtime(env, NULL);
    test_env_wait(env, "undelivered=0");
    char *body;
    assert_int_equal(test_env_health_get(env, "/metrics", &body), 200);
    char path[300];
    snprintf(path, sizeof path, "%s/metrics", env->dir);
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    assert_true(fputs(body, file) >= 0);
    assert_int_equal(fclose(file), 0);
    free(body);
    snprintf(command, sizeof command, "promtool check metrics <%s", path);
    expect_command(command, true);
    test_env_stop_runtime(env);
}

static void write_prometheus_config(const struct test_env *env, const char *path)
{
    char dir[512];
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    assert_non_null(getcwd(dir, sizeof dir));
    fprintf(file,
        "global: {scrape_interval: 200ms, evaluation_interval: 1s}\n"
        "rule_files: [%s/deploy/prometheus/recording-rules.yml, %s/deploy/prometheus/alerts.yml]\n"
        "scrape_configs:\n"
        "  - {job_name: mission-control-runtime, metrics_path: /metrics,\n"
        "     static_configs: [{targets: ['127.0.0.1:%u']}]}\n"
        "  - {job_name: health, metrics_path: /health,\n"
        "     static_configs: [{targets: ['127.0.0.1:%u']}]}\n",
        dir, dir, env->health_port, env->health_port);
    assert_int_equal(fclose(file), 0);
}

/* Starts Prometheus on a free port; tries another when that has been taken meanwhile. */
static unsigned start_prometheus(struct test_env *env, struct process *prometheus)
{
    char path[300];
    char command[1200];
    snprintf(path, sizeof path, "%s/prometheus.yml", env->dir);
    write_prometheus_config(env, path);
    for (int try = 0; try < 3; try++) {
        unsigned port = loopback_free_port();
        snprintf(command, sizeof command,
            "exec prometheus --config.file=%s --storage.tsdb.path=%s/tsdb "
            "--web.listen-address=127.0.0.1:%u --log.level=info",
            path, env->dir, port);
        process_start(prometheus, STRINGS("/bin/sh", "-c", command), environ);
        if (process_wait_output(prometheus, "ready to receive web requests", CHECK_MS, NULL, 0))
            return port;
        process_dump_output(prometheus, "prometheus");
        process_fini(prometheus);
    }
    fail_msg("prometheus did not start");
    return 0;
}

/* The value of the only series that query (URL-encoded) selects, or -1. */
static double query_value(unsigned port, const char *query)
{
    struct plain_response answer;
    char path[512];
    snprintf(path, sizeof path, "/api/v1/query?query=%s", query);
    plain_http_request(port, "GET", path, "Connection: close\r\n", &answer);
    assert_int_equal(answer.status, 200);
    json_t *json = json_loads(answer.body, 0, NULL);
    plain_response_fini(&answer);
    assert_non_null(json);
    const json_t *result = json_object_get(json_object_get(json, "data"), "result");
    const json_t *sample = json_object_get(json_array_get(result, 0), "value");
    const char *value = json_string_value(json_array_get(sample, 1));
    double number = json_array_size(result) == 1 && value != NULL ? strtod(value, NULL) : -1;
    json_decref(json);
    return number;
}

static void wait_query(unsigned port, const char *query, double value)
{
    int64_t deadline_ms = clock_monotonic_ms() + CHECK_MS;
    while (query_value(port, query) != value)
        if (clock_monotonic_ms() > deadline_ms)
            fail_msg(
                "Prometheus has %f, expected %f, for %s", query_value(port, query), value, query);
}

/* Scraping /health needs no setting: Prometheus' Accept header selects the metrics. */
static void test_prometheus_scrapes_metrics_and_health(void **state)
{
    struct test_env *env = *state;
    struct process *prometheus = &env->second;
    skip_without_prometheus();
    json_decref(board_load(env, 4, 2));
    test_env_start_runtime(env, NULL);
    test_env_wait(env, "undelivered=0");
    unsigned port = start_prometheus(env, prometheus);
    static const char *const jobs[] = {"mission-control-runtime", "health"};
    for (size_t i = 0; i < sizeof jobs / sizeof jobs[0]; i++) {
        char query[256];
        snprintf(query, sizeof query, "up%%7Bjob=%%22%s%%22%%7D", jobs[i]);
        wait_query(port, query, 1);
        snprintf(query, sizeof query,
            "mission_control_notifications_delivered_total%%7Bjob=%%22%s%%22%%7D", jobs[i]);
        wait_query(port, query, 4);
        snprintf(query, sizeof query,
            "mission_control_agent_run_seconds_count%%7Bjob=%%22%s%%22%%7D", jobs[i]);
        wait_query(port, query, 4);
    }
    process_signal(prometheus, SIGTERM);
    assert_int_equal(process_wait_exit(prometheus, CHECK_MS), 0);
    test_env_stop_runtime(env);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shipped_config_and_rules_pass_promtool),
        TEST_IN_ENV(test_metrics_pass_promtool),
        TEST_IN_ENV(test_prometheus_scrapes_metrics_and_health),
    };
    return cmocka_run_group_tests_name("prometheus", tests, NULL, NULL);
}
