/* The gateway as a child of the runtime: its start, its output, its ends, and what is left of it.
 */
#include <arpa/inet.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "../lib/board.h"
#include "base/process.h"
#include "base/sync.h"
#include "gateway/supervisor_record.h"

enum { SETTING_BYTES = 768, RSS_GROWTH_LIMIT_BYTES = 16 * 1024 * 1024 };

/* A gateway that only waits; its shell is the leader of a group of two. */
#define WAITING "sh -c 'sleep 1000 & echo ready; wait'"
#define IGNORING_SIGTERM "sh -c 'trap \"\" TERM; echo ready; while :; do sleep 1; done'"

/* What /health says under gateway.process; a new reference. */
static json_t *ask_for_process(struct test_env *env)
{
    char *body;
    assert_int_equal(test_env_health_get(env, "/health", &body), 200);
    json_t *health = json_loads(body, 0, NULL);
    free(body);
    assert_non_null(health);
    json_t *process = json_incref(json_object_get(json_object_get(health, "gateway"), "process"));
    json_decref(health);
    return process;
}

/* The process id in /health, 0 while none runs. */
static pid_t pid_of_gateway(struct test_env *env)
{
    json_t *process = ask_for_process(env);
    pid_t pid = (pid_t)json_integer_value(json_object_get(process, "pid"));
    json_decref(process);
    return pid;
}

static bool lives(pid_t group)
{
    return process_group_find(group, PROCESS_ANY_SESSION) == PROCESS_RUNNING;
}

/* Starts the runtime with command as its gateway and returns the child's process id. */
static pid_t start_with(struct test_env *env, const char *command)
{
    char setting[SETTING_BYTES];
    snprintf(setting, sizeof setting, "OPENCLAW_GATEWAY_COMMAND=%s", command);
    test_env_start_runtime(env, (const char *[]){setting, NULL});
    test_env_wait_log(env, "[Gateway process] Started ");
    test_env_wait_log(env, "[Gateway] ready");
    pid_t pid = pid_of_gateway(env);
    assert_true(lives(pid));
    return pid;
}

/* A test that failed leaves a runtime, and that a gateway. */
static int teardown(void **state)
{
    struct test_env *env = *state;
    char dir[SETTING_BYTES];
    struct child_record record;
    process_fini(&env->runtime);
    snprintf(dir, sizeof dir, "%s/state", env->dir);
    if (child_record_load(dir, &record, NULL) == 0)
        child_record_end(&record, 1000, -1);
    return test_env_teardown(state);
}

static bool has_record(const struct test_env *env)
{
    char path[SETTING_BYTES];
    snprintf(path, sizeof path, "%s/state/gateway.pid", env->dir);
    return access(path, F_OK) == 0;
}

static unsigned free_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &length), 0);
    close(fd);
    return ntohs(address.sin_port);
}

/*
 * Starts the runtime with a second sandbox as its gateway, and waits until that accepts. *gateway
 * becomes a world through which that sandbox's control API is called.
 */
static void start_with_sandbox(
    struct test_env *env, struct test_env *gateway, const char *further_setting)
{
    char command[SETTING_BYTES];
    char url[SETTING_BYTES];
    unsigned port = free_port();
    const char *build = getenv("MISSION_CONTROL_BUILD");
    snprintf(command, sizeof command,
        "OPENCLAW_GATEWAY_COMMAND='%s/mission-control-sandbox' --port %u",
        build != NULL ? build : "build", port);
    snprintf(url, sizeof url, "OPENCLAW_GATEWAY_URL=http://127.0.0.1:%u", port);
    *gateway = (struct test_env){.client = env->client};
    snprintf(gateway->url, sizeof gateway->url, "http://127.0.0.1:%u", port);
    test_env_start_runtime(env, (const char *[]){command, url, further_setting, NULL});
    test_env_wait_log(env, "The gateway accepts connections after ");
    test_env_wait_log(env, "[Gateway] listening on http://127.0.0.1:");
}

/* Undelivered notifications for count agents, one each, whom the gateway knows, too. */
static void load(struct test_env *env, struct test_env *gateway, int count)
{
    json_t *agents = json_array();
    for (int i = 1; i <= count; i++) {
        char slug[32];
        snprintf(slug, sizeof slug, "worker%d", i);
        json_array_append_new(agents, json_pack("{s:s}", "slug", slug));
    }
    json_decref(test_env_post(gateway, "/sandbox/seed", json_pack("{s:o}", "agents", agents)));
    json_decref(board_load(env, count, count));
}

static void hold_agents(struct test_env *gateway)
{
    board_gateway_fault(gateway, json_pack("{s:s, s:s}", "action", "hold", "name", "agent"));
}

static void test_gateway_is_started_used_and_stopped(void **state)
{
    struct test_env *env = *state;
    struct test_env gateway;
    char *body;
    start_with_sandbox(env, &gateway, NULL);
    json_t *process = ask_for_process(env);
    pid_t pid = (pid_t)json_integer_value(json_object_get(process, "pid"));
    assert_true(lives(pid));
    assert_int_equal(getpgid(pid), pid);
    assert_true(json_is_true(json_object_get(process, "accepting")));
    assert_int_equal(json_integer_value(json_object_get(process, "restarts")), 0);
    assert_true(json_is_null(json_object_get(process, "lastExit")));
    json_decref(process);
    load(env, &gateway, 5);
    test_env_wait(env, "delivered=5");
    assert_int_equal(test_env_stat(&gateway, "gateway", "answered"), 5);
    assert_int_equal(test_env_health_get(env, "/health", &body), 200);
    assert_non_null(strstr(body, "\"status\": \"healthy\""));
    free(body);
    assert_true(has_record(env));
    test_env_stop_runtime(env);
    assert_false(lives(pid));
    assert_false(has_record(env));
    test_env_wait_log(env, "The gateway exited with status 0");
}

static void test_no_command_no_child(void **state)
{
    struct test_env *env = *state;
    test_env_start_runtime(env, NULL);
    json_t *process = ask_for_process(env);
    assert_true(json_is_null(process));
    json_decref(process);
    test_env_stop_runtime(env);
    assert_false(process_has_output(&env->runtime, "[Gateway process]"));
}

static void test_output_is_passed_on(void **state)
{
    struct test_env *env = *state;
    start_with(env,
        "sh -c 'echo one; echo \"  two\" >&2; echo; printf \"three\\r\\n\\033[1mfour\\n\";"
        "echo my token $OPENCLAW_GATEWAY_TOKEN; echo ready; exec sleep 1000'");
    test_env_wait_log(env, "info [Gateway] one\n");
    test_env_wait_log(env, "info [Gateway]   two\n");
    test_env_wait_log(env, "info [Gateway] three\n");
    test_env_wait_log(env, "[1mfour\n");
    test_env_wait_log(env, "info [Gateway] my token ***\n");
    assert_false(process_has_output(&env->runtime, "[Gateway] \n"));
    test_env_stop_runtime(env);
    assert_false(process_has_output(&env->runtime, TEST_GATEWAY_TOKEN));
}

/* Told apart by the child itself, as the log would hide a token. */
static void test_child_has_no_service_token(void **state)
{
    struct test_env *env = *state;
    start_with(env, "sh -c 'echo service ${SERVICE_TOKEN:-none};"
                    "env | grep -c mc_service_;"
                    "[ \"$OPENCLAW_GATEWAY_TOKEN\" = " TEST_GATEWAY_TOKEN " ] && echo same;"
                    "echo ready; exec sleep 1000'");
    test_env_wait_log(env, "[Gateway] service none\n");
    test_env_wait_log(env, "[Gateway] 0\n");
    test_env_wait_log(env, "[Gateway] same\n");
    test_env_stop_runtime(env);
}

static void test_killed_child_is_started_again(void **state)
{
    struct test_env *env = *state;
    pid_t first = start_with(env, WAITING);
    assert_int_equal(kill(first, SIGKILL), 0);
    test_env_wait_log(env, "The gateway was killed by signal 9");
    test_env_wait_log(env, "Restarting the gateway in 1000 ms");
    char started[64];
    int64_t deadline_ms = clock_monotonic_ms() + (int64_t)TEST_WAIT_MS * process_timeout_scale();
    while (pid_of_gateway(env) == 0)
        assert_true(clock_monotonic_ms() < deadline_ms);
    json_t *process = ask_for_process(env);
    pid_t second = (pid_t)json_integer_value(json_object_get(process, "pid"));
    snprintf(started, sizeof started, "Started sh, pid %d\n", (int)second);
    test_env_wait_log(env, started);
    assert_int_not_equal(first, second);
    assert_int_equal(json_integer_value(json_object_get(process, "restarts")), 1);
    const json_t *last = json_object_get(process, "lastExit");
    assert_int_equal(json_integer_value(json_object_get(last, "signal")), SIGKILL);
    assert_true(json_is_null(json_object_get(last, "code")));
    json_decref(process);
    assert_false(lives(first)); /* nor the sleep that it left behind */
    assert_true(lives(second));
    test_env_stop_runtime(env);
    assert_false(lives(second));
}

static void test_stop_ends_grandchildren(void **state)
{
    struct test_env *env = *state;
    pid_t pid = start_with(env, WAITING);
    int64_t began_ms = clock_monotonic_ms();
    test_env_stop_runtime(env);
    assert_true(clock_monotonic_ms() - began_ms < (int64_t)5000 * process_timeout_scale());
    assert_false(lives(pid));
}

/* A wrapper that ends at once must not cost the gateway behind it the time to end well. */
static void test_grandchild_may_outlive_its_parent_during_the_stop(void **state)
{
    struct test_env *env = *state;
    pid_t pid = start_with(env,
        "sh -c 'trap \"exit 5\" TERM; (trap \"sleep 1; echo well ended; exit\" TERM; echo ready;"
        "while :; do sleep 0.1; done) & wait'");
    test_env_stop_runtime(env);
    assert_false(lives(pid));
    test_env_wait_log(env, "[Gateway] well ended");
    test_env_wait_log(env, "The gateway exited with status 5");
}

static void test_child_that_ignores_sigterm_is_killed_after_10_s(void **state)
{
    struct test_env *env = *state;
    pid_t pid = start_with(env, IGNORING_SIGTERM);
    int64_t began_ms = clock_monotonic_ms();
    test_env_stop_runtime(env);
    int64_t took_ms = clock_monotonic_ms() - began_ms;
    assert_in_range(took_ms, 10000, 12000 * process_timeout_scale());
    assert_false(lives(pid));
    test_env_wait_log(env, "did not exit within 10000 ms of SIGTERM");
    test_env_wait_log(env, "The gateway was killed by signal 9");
}

static void test_child_of_a_killed_runtime_is_taken_down(void **state)
{
    struct test_env *env = *state;
    pid_t first = start_with(env, WAITING);
    assert_true(has_record(env));
    process_signal(&env->runtime, SIGKILL);
    assert_int_equal(process_wait_exit(&env->runtime, TEST_WAIT_MS), 128 + SIGKILL);
    assert_true(lives(first));
    pid_t second = start_with(env, WAITING);
    test_env_wait_log(env, "The gateway of an earlier runtime (pid ");
    assert_int_not_equal(first, second);
    assert_false(lives(first));
    test_env_stop_runtime(env);
    assert_false(lives(second));
}

static void test_damaged_record_stops_nothing(void **state)
{
    struct test_env *env = *state;
    char path[SETTING_BYTES];
    test_env_start_runtime(env, NULL);
    test_env_stop_runtime(env);
    snprintf(path, sizeof path, "%s/state/gateway.pid", env->dir);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs("{\"pid\":1}", file);
    fclose(file);
    pid_t pid = start_with(env, WAITING);
    test_env_wait_log(env, "Cannot check for a gateway of an earlier runtime");
    test_env_stop_runtime(env);
    assert_false(lives(pid));
}

static void test_missing_program_is_said_and_tried_again(void **state)
{
    struct test_env *env = *state;
    test_env_start_runtime(
        env, (const char *[]){"OPENCLAW_GATEWAY_COMMAND=no-such-gateway --port 1", NULL});
    test_env_wait_log(
        env, "Cannot start the gateway: cannot run no-such-gateway: No such file or directory\n");
    test_env_wait_log(env, "Restarting the gateway in 2000 ms");
    json_t *process = ask_for_process(env);
    assert_true(json_is_null(json_object_get(process, "pid")));
    assert_true(json_is_null(json_object_get(process, "lastExit")));
    assert_true(json_is_false(json_object_get(process, "accepting")));
    assert_int_equal(json_integer_value(json_object_get(process, "restarts")), 1);
    json_decref(process);
    /* The stop does not wait for the backoff. */
    int64_t began_ms = clock_monotonic_ms();
    test_env_stop_runtime(env);
    assert_true(clock_monotonic_ms() - began_ms < (int64_t)1500 * process_timeout_scale());
}

static void test_broken_quoting_is_a_configuration_error(void **state)
{
    struct test_env *env = *state;
    test_env_launch(
        env, &env->runtime, (const char *[]){"OPENCLAW_GATEWAY_COMMAND=openclaw 'run", NULL}, NULL);
    assert_int_equal(process_wait_exit(&env->runtime, TEST_WAIT_MS), 78);
    test_env_wait_log(env, "error: OPENCLAW_GATEWAY_COMMAND \"openclaw 'run\" has a ' without");
}

static json_int_t resident_bytes(struct test_env *env)
{
    char *body;
    assert_int_equal(test_env_health_get(env, "/health", &body), 200);
    json_t *health = json_loads(body, 0, NULL);
    free(body);
    json_int_t bytes =
        json_integer_value(json_object_get(json_object_get(health, "memory"), "rss"));
    json_decref(health);
    assert_true(bytes > 0);
    return bytes;
}

static void test_endless_line_costs_nothing(void **state)
{
    struct test_env *env = *state;
    char command[SETTING_BYTES];
    char signal_file[SETTING_BYTES / 2];
    snprintf(signal_file, sizeof signal_file, "%s/go", env->dir);
    snprintf(command, sizeof command,
        "sh -c 'echo ready; while [ ! -e %s ]; do sleep 0.05; done;"
        "head -c 50000000 /dev/zero | tr \"\\\\0\" x; echo; echo over; exec sleep 1000'",
        signal_file);
    start_with(env, command);
    json_int_t before_bytes = resident_bytes(env);
    FILE *file = fopen(signal_file, "w");
    assert_non_null(file);
    fclose(file);
    test_env_wait_log(env, "[Gateway] xxxxxxxx");
    test_env_wait_log(env, "[Gateway] over\n");
    assert_true(resident_bytes(env) < before_bytes + RSS_GROWTH_LIMIT_BYTES);
    test_env_stop_runtime(env);
    char *output = process_output(&env->runtime);
    assert_true(strlen(output) < 20000);
    free(output);
}

static void test_stop_loses_no_running_reply(void **state)
{
    struct test_env *env = *state;
    struct test_env gateway;
    start_with_sandbox(env, &gateway, NULL);
    hold_agents(&gateway);
    load(env, &gateway, 1);
    test_env_wait(&gateway, "in_flight=1");
    process_signal(&env->runtime, SIGTERM);
    test_env_wait_log(env, "that are under way");
    board_release(&gateway, "agent");
    assert_int_equal(process_wait_exit(&env->runtime, TEST_WAIT_MS), 0);
    assert_int_equal(test_env_stat(env, NULL, "delivered"), 1);
    assert_int_equal(test_env_stat(env, NULL, "replies"), 1);
}

static void test_hung_sends_do_not_keep_the_gateway_beyond_the_grace(void **state)
{
    struct test_env *env = *state;
    struct test_env gateway;
    start_with_sandbox(env, &gateway, "SHUTDOWN_GRACE_MS=1500");
    hold_agents(&gateway);
    load(env, &gateway, 2);
    test_env_wait(&gateway, "in_flight=2");
    pid_t pid = pid_of_gateway(env);
    int64_t began_ms = clock_monotonic_ms();
    test_env_stop_runtime(env);
    assert_true(clock_monotonic_ms() - began_ms < (int64_t)3500 * process_timeout_scale());
    assert_false(lives(pid));
}

int main(void)
{
#define TEST_WITH_CHILD(test) cmocka_unit_test_setup_teardown(test, test_env_setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST_WITH_CHILD(test_gateway_is_started_used_and_stopped),
        TEST_WITH_CHILD(test_no_command_no_child),
        TEST_WITH_CHILD(test_output_is_passed_on),
        TEST_WITH_CHILD(test_child_has_no_service_token),
        TEST_WITH_CHILD(test_killed_child_is_started_again),
        TEST_WITH_CHILD(test_stop_ends_grandchildren),
        TEST_WITH_CHILD(test_grandchild_may_outlive_its_parent_during_the_stop),
        TEST_WITH_CHILD(test_child_that_ignores_sigterm_is_killed_after_10_s),
        TEST_WITH_CHILD(test_child_of_a_killed_runtime_is_taken_down),
        TEST_WITH_CHILD(test_damaged_record_stops_nothing),
        TEST_WITH_CHILD(test_missing_program_is_said_and_tried_again),
        TEST_WITH_CHILD(test_broken_quoting_is_a_configuration_error),
        TEST_WITH_CHILD(test_endless_line_costs_nothing),
        TEST_WITH_CHILD(test_stop_loses_no_running_reply),
        TEST_WITH_CHILD(test_hung_sends_do_not_keep_the_gateway_beyond_the_grace),
    };
    return cmocka_run_group_tests_name("gateway_process", tests, NULL, NULL);
}
