/*
 * The environment of an integration test: a sandbox on a port of its own and a runtime connected
 * to it, started from the build directory with a minimal environment. Intervals are shortened so
 * that polls and retries take milliseconds.
 */
#include "test_env.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/json.h"

enum {
    VARIABLES = 64,
    VARIABLE_BYTES = 512,
    CALL_TIMEOUT_MS = 30000,
    ANSWER_LIMIT_BYTES = 64 << 20
};

static const atomic_bool never_abort = false;

/* Settings under construction; later ones win. */
struct environment {
    char values[VARIABLES][VARIABLE_BYTES];
    char *pointers[VARIABLES + 1];
    size_t count;
};

static size_t find_variable(const struct environment *environment, const char *assignment)
{
    size_t name_bytes = strcspn(assignment, "=");
    size_t i = 0;
    while (
        i < environment->count && (strncmp(environment->values[i], assignment, name_bytes) != 0 ||
                                      environment->values[i][name_bytes] != '='))
        i++;
    return i;
}

static void set_variable(struct environment *environment, const char *assignment)
{
    size_t at = find_variable(environment, assignment);
    if (strchr(assignment, '=') == NULL) {
        if (at < environment->count)
            memcpy(
                environment->values[at], environment->values[--environment->count], VARIABLE_BYTES);
        return;
    }
    assert_true(at < VARIABLES);
    snprintf(environment->values[at], VARIABLE_BYTES, "%s", assignment);
    if (at == environment->count)
        environment->count++;
}

__attribute__((format(printf, 2, 3))) static void set_variable_format(
    struct environment *environment, const char *format, ...)
{
    char assignment[VARIABLE_BYTES];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(assignment, sizeof assignment, format, arguments);
    va_end(arguments);
    set_variable(environment, assignment);
}

static char **finish_environment(struct environment *environment)
{
    for (size_t i = 0; i < environment->count; i++)
        environment->pointers[i] = environment->values[i];
    environment->pointers[environment->count] = NULL;
    return environment->pointers;
}

/* Variables for every program: the search path and the sanitizers' options. */
static void set_common_variables(struct environment *environment)
{
    static const char *const passed_on[] = {
        "PATH", "ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS", "LSAN_OPTIONS"};
    memset(environment, 0, sizeof *environment);
    for (size_t i = 0; i < sizeof passed_on / sizeof passed_on[0]; i++)
        if (getenv(passed_on[i]) != NULL)
            set_variable_format(environment, "%s=%s", passed_on[i], getenv(passed_on[i]));
}

static void program_path(char *path, size_t path_bytes, const char *program)
{
    const char *build = getenv("MISSION_CONTROL_BUILD");
    snprintf(path, path_bytes, "%s/%s", build != NULL ? build : "build", program);
}

static void start_sandbox(struct test_env *env, unsigned on_port)
{
    struct environment *environment = calloc(1, sizeof *environment);
    assert_non_null(environment);
    char path[256];
    set_common_variables(environment);
    set_variable(environment, "ACCOUNT_ID=" TEST_ACCOUNT);
    set_variable(environment, "SERVICE_TOKEN=" TEST_TOKEN);
    set_variable(environment, "OPENCLAW_GATEWAY_TOKEN=" TEST_GATEWAY_TOKEN);
    program_path(path, sizeof path, "mission-control-sandbox");
    char port[16];
    snprintf(port, sizeof port, "%u", on_port);
    char pid_file[TMP_DIR_BYTES + 16];
    snprintf(pid_file, sizeof pid_file, "%s/runtime.pid", env->dir);
    const char *argv[10] = {path, "--port", port};
    size_t count = 3;
    if (env->options.backend != NULL) {
        argv[count++] = "--backend";
        argv[count++] = env->options.backend;
    }
    if (env->options.demo) {
        argv[count++] = "--demo";
        argv[count++] = "--latency-ms=0";
    }
    if (env->options.supervised) {
        argv[count++] = "--runtime-pid-file";
        argv[count++] = pid_file;
    }
    process_start(&env->sandbox, argv, finish_environment(environment));
    free(environment);
    char rest[128];
    if (!process_wait_output(&env->sandbox, "listening on ", TEST_WAIT_MS, rest, sizeof rest)) {
        process_dump_output(&env->sandbox, "sandbox");
        fail_msg("the sandbox did not start");
    }
    snprintf(env->url, sizeof env->url, "%s", rest);
}

bool test_env_is_v1(const struct test_env *env)
{
    return env->options.backend != NULL && strcmp(env->options.backend, "v1") == 0;
}

void test_env_list_agents(struct test_env *env, bool listed)
{
    json_decref(
        test_env_post(env, "/sandbox/settings", json_pack("{s:b}", "hide_agents", !listed)));
}

/* Returns its exit status. */
static int end_sandbox(struct test_env *env)
{
    process_signal(&env->sandbox, SIGTERM);
    int status = process_wait_exit(&env->sandbox, TEST_WAIT_MS);
    if (status != 0)
        process_dump_output(&env->sandbox, "sandbox");
    process_fini(&env->sandbox);
    return status;
}

void test_env_replace_sandbox(struct test_env *env, const char *backend)
{
    assert_int_equal(end_sandbox(env), 0);
    env->options.backend = backend;
    start_sandbox(env, test_env_sandbox_port(env));
}

int test_env_setup(void **state)
{
    struct test_env *env = calloc(1, sizeof *env);
    assert_non_null(env);
    if (*state != NULL)
        env->options = *(const struct test_env_options *)*state;
    signal(SIGPIPE, SIG_IGN);
    tmp_dir_create(env->dir);
    assert_int_equal(http_client_library_start(NULL), 0);
    assert_int_equal(ca_store_create(&env->store, NULL, NULL), 0);
    assert_int_equal(http_client_create(&env->client, env->store, &never_abort, NULL), 0);
    start_sandbox(env, 0);
    test_env_list_agents(env, false);
    *state = env;
    return 0;
}

/* Prints the runs that began while another one of their session was in flight; returns how many. */
static int report_overlaps(struct test_env *env)
{
    json_t *gateway = test_env_get(env, "/sandbox/gateway");
    int overlaps = 0;
    size_t index;
    const json_t *run;
    json_array_foreach (json_object_get(gateway, "requests"), index, run) {
        double in_flight = json_number_value(json_object_get(run, "in_flight_session"));
        if (in_flight <= 1)
            continue;
        overlaps++;
        print_error("run %.0f overlaps another run of its session %s\n",
            json_number_value(json_object_get(run, "number")), json_guard_string(run, "session"));
    }
    json_decref(gateway);
    return overlaps;
}

int test_env_teardown(void **state)
{
    struct test_env *env = *state;
    process_fini(&env->second);
    process_fini(&env->runtime);
    int overlaps = test_env_is_v1(env) && !env->options.may_overlap ? report_overlaps(env) : 0;
    int status = end_sandbox(env);
    http_client_destroy(env->client);
    ca_store_destroy(env->store);
    http_client_library_stop();
    tmp_dir_remove(env->dir);
    free(env);
    return status != 0 ? status : overlaps;
}

static void set_runtime_variables(struct environment *environment, const struct test_env *env)
{
    set_common_variables(environment);
    set_variable(environment, "ACCOUNT_ID=" TEST_ACCOUNT);
    set_variable(environment, "SERVICE_TOKEN=" TEST_TOKEN);
    set_variable_format(environment, "CONVEX_URL=%s", env->url);
    set_variable_format(environment, "OPENCLAW_GATEWAY_URL=%s", env->url);
    set_variable(environment, "OPENCLAW_GATEWAY_TOKEN=" TEST_GATEWAY_TOKEN);
    set_variable(environment, "OPENCLAW_VERSION=2026.9.6");
    set_variable(environment, "HEALTH_PORT=0");
    set_variable(environment, "DELIVERY_INTERVAL=200");
    set_variable(environment, "DELIVERY_BACKOFF_BASE_MS=20");
    set_variable(environment, "DELIVERY_BACKOFF_MAX_MS=200");
    set_variable_format(environment, "STATE_DIR=%s/state", env->dir);
}

/* Puts the words that start the program at path into argv; returns their number. */
static size_t start_argv(const struct test_env *env, const char *path, const char *argv[])
{
    static char script[128];
    size_t count = 0;
    if (env->redirection != NULL) {
        snprintf(script, sizeof script, "exec \"$0\" \"$@\" %s", env->redirection);
        argv[count++] = "/bin/sh";
        argv[count++] = "-c";
        argv[count++] = script;
    }
    argv[count++] = path;
    return count;
}

void test_env_launch(struct test_env *env, struct process *process, const char *const settings[],
    const char *const arguments[])
{
    enum { MAX_ARGUMENTS = 14 };
    struct environment *environment = calloc(1, sizeof *environment);
    assert_non_null(environment);
    char path[256];
    const char *argv[MAX_ARGUMENTS + 5] = {NULL};
    size_t count = start_argv(env, path, argv);
    set_runtime_variables(environment, env);
    for (size_t i = 0; settings != NULL && settings[i] != NULL; i++)
        set_variable(environment, settings[i]);
    for (size_t i = 0; arguments != NULL && arguments[i] != NULL && i < MAX_ARGUMENTS; i++)
        argv[count++] = arguments[i];
    program_path(path, sizeof path,
        env->runtime_program != NULL ? env->runtime_program : "mission-control-runtime");
    process_fini(process);
    process_start(process, argv, finish_environment(environment));
    free(environment);
}

void test_env_start_runtime(struct test_env *env, const char *const settings[])
{
    static const char before_port[] = " port ";
    char rest[256]; /* "127.0.0.1 port 3001" and what follows */
    test_env_launch(env, &env->runtime, settings, NULL);
    if (!process_wait_output(&env->runtime, "Listening on ", TEST_WAIT_MS, rest, sizeof rest)) {
        process_dump_output(&env->runtime, "runtime");
        fail_msg("the runtime did not start");
    }
    const char *port = strstr(rest, before_port);
    assert_non_null(port);
    env->health_port = (unsigned)strtoul(port + sizeof before_port - 1, NULL, 10);
    test_env_wait_log(env, "started successfully");
}

void test_env_stop_runtime(struct test_env *env)
{
    process_signal(&env->runtime, SIGTERM);
    int status = process_wait_exit(&env->runtime, TEST_WAIT_MS);
    if (status != 0)
        process_dump_output(&env->runtime, "runtime");
    assert_int_equal(status, 0);
}

static void perform_request(
    struct test_env *env, const char *url, const char *body, struct http_response *answer)
{
    static const char *const headers[] = {"Content-Type: application/json", NULL};
    const struct http_request request = {
        .url = url,
        .headers = headers,
        .body = body,
        .body_bytes = body != NULL ? strlen(body) : 0,
        .timeout_ms = (int64_t)CALL_TIMEOUT_MS * process_timeout_scale(),
        .response_limit_bytes = ANSWER_LIMIT_BYTES,
        .ignore_proxy = true,
    };
    http_client_perform(env->client, &request, answer);
}

static json_t *call_control_api(struct test_env *env, const char *path, const char *body)
{
    char url[512];
    struct http_response answer;
    json_t *value;
    snprintf(url, sizeof url, "%s%s", env->url, path);
    perform_request(env, url, body, &answer);
    if (answer.failure != HTTP_ANSWERED || answer.status != 200) {
        process_dump_output(&env->sandbox, "sandbox");
        fail_msg("%s: status %d, %s %.*s", path, answer.status, answer.reason,
            (int)answer.body.length_bytes, answer.body.bytes);
    }
    /* Not json_guard: the control API returns more values than that accepts. */
    value = json_loadb(answer.body.bytes, answer.body.length_bytes, JSON_ALLOW_NUL, NULL);
    assert_non_null(value);
    return value;
}

json_t *test_env_get(struct test_env *env, const char *path)
{
    return call_control_api(env, path, NULL);
}

json_t *test_env_post(struct test_env *env, const char *path, json_t *body)
{
    assert_non_null(body);
    char *text = json_dumps(body, JSON_COMPACT);
    json_decref(body);
    assert_non_null(text);
    json_t *value = call_control_api(env, path, text);
    free(text);
    return value;
}

long test_env_stat(struct test_env *env, const char *part, const char *key)
{
    json_t *stats = test_env_get(env, "/sandbox/stats");
    const json_t *place = part != NULL ? json_object_get(stats, part) : stats;
    const json_t *value = json_object_get(place, key);
    if (json_is_object(value))
        value = json_object_get(value, "calls");
    long number = json_is_number(value) ? (long)json_number_value(value) : 0;
    json_decref(stats);
    return number;
}

int test_env_health_get(struct test_env *env, const char *path, char **body)
{
    char url[128];
    struct http_response answer;
    snprintf(url, sizeof url, "http://127.0.0.1:%u%s", env->health_port, path);
    perform_request(env, url, NULL, &answer);
    assert_int_equal(answer.failure, HTTP_ANSWERED);
    *body = strndup(answer.body.bytes, answer.body.length_bytes);
    assert_non_null(*body);
    return answer.status;
}

bool test_env_health_has(struct test_env *env, const char *path, const char *words)
{
    char *body;
    assert_int_equal(test_env_health_get(env, path, &body), 200);
    bool found = strstr(body, words) != NULL;
    free(body);
    return found;
}

json_t *test_env_health_json(struct test_env *env, const char *path)
{
    char *body;
    json_error_t error;
    assert_int_equal(test_env_health_get(env, path, &body), 200);
    json_t *value = json_loads(body, 0, &error);
    if (value == NULL)
        fail_msg("%s: %s in %s", path, error.text, body);
    free(body);
    return value;
}

void test_env_wait_words(struct test_env *env, const char *path, const char *words, bool present)
{
    int64_t deadline_ms = clock_monotonic_ms() + (int64_t)TEST_WAIT_MS * process_timeout_scale();
    while (test_env_health_has(env, path, words) != present) {
        if (clock_monotonic_ms() > deadline_ms) {
            process_dump_output(&env->runtime, "runtime");
            fail_msg("%s: \"%s\" is %s", path, words, present ? "not there" : "still there");
        }
        usleep(10000);
    }
}

unsigned test_env_sandbox_port(const struct test_env *env)
{
    const char *colon = strrchr(env->url, ':');
    assert_non_null(colon);
    return (unsigned)strtoul(colon + 1, NULL, 10);
}

bool test_env_check(struct test_env *env, const char *condition)
{
    char path[256];
    snprintf(path, sizeof path, "/sandbox/wait?%s", condition);
    json_t *answer = test_env_get(env, path);
    bool met = json_is_true(json_object_get(answer, "met"));
    json_decref(answer);
    return met;
}

void test_env_wait(struct test_env *env, const char *condition)
{
    char path[256];
    snprintf(path, sizeof path, "/sandbox/wait?%s&timeout_ms=%d", condition,
        TEST_WAIT_MS * process_timeout_scale());
    json_t *answer = test_env_get(env, path);
    bool met = json_is_true(json_object_get(answer, "met"));
    json_decref(answer);
    if (!met) {
        process_dump_output(&env->runtime, "runtime");
        fail_msg("timed out waiting for %s", condition);
    }
}

void test_env_wait_calls(struct test_env *env, const char *function, long more)
{
    char condition[128];
    snprintf(condition, sizeof condition, "action=%s&calls=%ld", function,
        test_env_stat(env, "backend", function) + more);
    test_env_wait(env, condition);
}

void test_env_wait_log(struct test_env *env, const char *words)
{
    if (process_wait_output(&env->runtime, words, TEST_WAIT_MS, NULL, 0))
        return;
    process_dump_output(&env->runtime, "runtime");
    fail_msg("the runtime did not log \"%s\"", words);
}
