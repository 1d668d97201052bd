/* The program as a process: settings, exit codes, signals, the stop. */
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
#include "base/sync.h"

static void hold_agents(struct test_env *env)
{
    board_hold_agents(env, "agent");
}

static void test_every_bad_setting_is_said_at_once(void **state)
{
    struct test_env *env = *state;
    test_env_launch(env, &env->runtime,
        (const char *[]){"ACCOUNT_ID", "DELIVERY_INTERVAL=30x1", "HEALTH_PORT=99999",
            "AGENT_SYNC_INTERVAL=-5", "LOG_LEVEL=loud", "LOG_FORMAT=xml", NULL},
        NULL);
    assert_int_equal(process_wait_exit(&env->runtime, TEST_WAIT_MS), 78);
    static const char *const named[] = {"ACCOUNT_ID", "DELIVERY_INTERVAL", "HEALTH_PORT",
        "AGENT_SYNC_INTERVAL", "LOG_LEVEL", "LOG_FORMAT"};
    for (size_t i = 0; i < sizeof named / sizeof named[0]; i++)
        test_env_wait_log(env, named[i]);
    assert_false(process_has_output(&env->runtime, TEST_SECRET));
}

static void test_check_config_shows_no_secret(void **state)
{
    struct test_env *env = *state;
    test_env_launch(env, &env->runtime, NULL, (const char *[]){"--check-config", NULL});
    assert_int_equal(process_wait_exit(&env->runtime, TEST_WAIT_MS), 0);
    test_env_wait_log(env, "SERVICE_TOKEN=***");
    assert_false(process_has_output(&env->runtime, TEST_SECRET));
    assert_false(process_has_output(&env->runtime, TEST_GATEWAY_TOKEN));
}

static void test_unknown_argument_is_a_usage_error(void **state)
{
    struct test_env *env = *state;
    test_env_launch(env, &env->runtime, NULL, (const char *[]){"--frobnicate", NULL});
    assert_int_equal(process_wait_exit(&env->runtime, TEST_WAIT_MS), 64);
}

static void test_env_file_gives_settings(void **state)
{
    struct test_env *env = *state;
    char path[300];
    snprintf(path, sizeof path, "%s/settings.env", env->dir);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fprintf(file, "# settings\nexport DROPLET_REGION=\"fra1\" # where\nDELIVERY_INTERVAL=1\n");
    fclose(file);
    /* The environment's own DELIVERY_INTERVAL wins, else the file's would be an error. */
    test_env_launch(
        env, &env->runtime, NULL, (const char *[]){"--env-file", path, "--check-config", NULL});
    assert_int_equal(process_wait_exit(&env->runtime, TEST_WAIT_MS), 0);
    test_env_wait_log(env, "DROPLET_REGION=fra1");
    test_env_wait_log(env, "DELIVERY_INTERVAL=200");
}

static void test_second_runtime_on_a_state_dir_is_refused(void **state)
{
    struct test_env *env = *state;
    test_env_start_runtime(env, NULL);
    test_env_launch(env, &env->second, NULL, NULL);
    assert_int_equal(process_wait_exit(&env->second, TEST_WAIT_MS), 75);
    char holder[64];
    snprintf(holder, sizeof holder, "process %d", (int)env->runtime.pid);
    assert_true(process_wait_output(&env->second, holder, TEST_WAIT_MS, NULL, 0));
    test_env_stop_runtime(env);
}

static int listen_somewhere(unsigned *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(fd, 1), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &length), 0);
    *port = ntohs(address.sin_port);
    return fd;
}

static void test_busy_health_port_is_said(void **state)
{
    struct test_env *env = *state;
    unsigned port;
    char setting[64];
    int fd = listen_somewhere(&port);
    snprintf(setting, sizeof setting, "HEALTH_PORT=%u", port);
    test_env_launch(env, &env->runtime, (const char *[]){setting, NULL}, NULL);
    assert_int_equal(process_wait_exit(&env->runtime, TEST_WAIT_MS), 69);
    close(fd);
}

static void test_stop_lets_a_running_send_end(void **state)
{
    struct test_env *env = *state;
    json_t *rows = board_load(env, 3, 1);
    hold_agents(env);
    test_env_start_runtime(env, NULL);
    test_env_wait(env, "in_flight=1");
    process_signal(&env->runtime, SIGTERM);
    test_env_wait_log(env, "that are under way");
    board_release(env, "agent");
    assert_int_equal(process_wait_exit(&env->runtime, TEST_WAIT_MS), 0);
    assert_int_equal(test_env_stat(env, "gateway", "requests"), 1);
    assert_int_equal(test_env_stat(env, NULL, "delivered"), 1);
    json_decref(rows);
}

static void test_stop_ends_hung_sends_at_the_grace(void **state)
{
    struct test_env *env = *state;
    json_decref(board_load(env, 8, 8));
    hold_agents(env);
    test_env_start_runtime(env, (const char *[]){"SHUTDOWN_GRACE_MS=1500", NULL});
    test_env_wait(env, "in_flight=8");
    int64_t began_ms = clock_monotonic_ms();
    process_signal(&env->runtime, SIGTERM);
    assert_int_equal(process_wait_exit(&env->runtime, TEST_WAIT_MS), 0);
    assert_true(clock_monotonic_ms() - began_ms < (int64_t)3500 * process_timeout_scale());
}

/* Calls that wait for their turn behind 28 that hang delay no loop, and are no reason to stay. */
static void test_calls_that_wait_for_their_turn(void **state)
{
    struct test_env *env = *state;
    json_decref(board_load(env, 40, 40));
    board_backend_fault(
        env, json_pack("{s:s, s:s}", "action", "createMessageFromAgent", "behaviour", "hang"));
    test_env_start_runtime(env, (const char *[]){"DELIVERY_MAX_CONCURRENT_SESSIONS=40",
                                    "SHUTDOWN_GRACE_MS=1500", "DELIVERY_INTERVAL=10", NULL});
    test_env_wait(env, "held=28");
    char polls[128];
    snprintf(polls, sizeof polls, "action=listUndeliveredNotifications&calls=%ld",
        test_env_stat(env, "backend", "listUndeliveredNotifications") + 20);
    test_env_wait(env, polls);
    assert_int_equal(test_env_stat(env, NULL, "held"), 28);
    int64_t began_ms = clock_monotonic_ms();
    test_env_stop_runtime(env);
    assert_in_range(clock_monotonic_ms() - began_ms, 0, 1500 + 2000);
}

static void test_second_signal_ends_at_once(void **state)
{
    struct test_env *env = *state;
    json_decref(board_load(env, 1, 1));
    hold_agents(env);
    test_env_start_runtime(env, (const char *[]){"SHUTDOWN_GRACE_MS=600000", NULL});
    test_env_wait(env, "in_flight=1");
    process_signal(&env->runtime, SIGTERM);
    test_env_wait_log(env, "that are under way");
    process_signal(&env->runtime, SIGINT);
    assert_int_equal(process_wait_exit(&env->runtime, TEST_WAIT_MS), 128 + SIGINT);
}

static void test_health_and_version(void **state)
{
    struct test_env *env = *state;
    char *body;
    test_env_start_runtime(env, (const char *[]){"DROPLET_ID=d1", "DROPLET_REGION=fra1", NULL});
    test_env_wait(env, "action=listUndeliveredNotifications&calls=2");
    assert_int_equal(test_env_health_get(env, "/health?x=1", &body), 200);
    assert_non_null(strstr(body, "\"status\": \"healthy\""));
    assert_null(strstr(body, TEST_SECRET));
    free(body);
    assert_int_equal(test_env_health_get(env, "/version", &body), 200);
    assert_string_equal(body,
        "{\"runtimeServiceVersion\":\"" MISSION_CONTROL_VERSION
        "\",\"openclawVersion\":\"2026.9.6\",\"dropletId\":\"d1\",\"region\":\"fra1\"}");
    free(body);
    assert_int_equal(test_env_health_get(env, "/nowhere", &body), 404);
    free(body);
    test_env_stop_runtime(env);
}

/* As a careless supervisor starts it: the log is lost then, and goes into no file of ours. */
static void test_missing_standard_descriptors(void **state)
{
    struct test_env *env = *state;
    char path[300];
    char lock[64];
    char expected[64];
    json_decref(board_load(env, 3, 1));
    env->redirection = "<&- >&- 2>&-";
    test_env_launch(env, &env->runtime, NULL, NULL);
    test_env_wait(env, "undelivered=0");
    snprintf(path, sizeof path, "%s/state/lock", env->dir);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    lock[fread(lock, 1, sizeof lock - 1, file)] = '\0';
    fclose(file);
    snprintf(expected, sizeof expected, "%d\n", (int)env->runtime.pid);
    assert_string_equal(lock, expected);
    process_signal(&env->runtime, SIGTERM);
    assert_int_equal(process_wait_exit(&env->runtime, TEST_WAIT_MS), 0);
}

static void test_json_log_lines_are_json(void **state)
{
    struct test_env *env = *state;
    json_decref(board_load(env, 2, 1));
    test_env_start_runtime(env, (const char *[]){"LOG_FORMAT=json", NULL});
    test_env_wait(env, "delivered=2");
    test_env_stop_runtime(env);
    char *output = process_output(&env->runtime);
    int lines = 0;
    for (char *rest = output, *line; (line = strsep(&rest, "\n")) != NULL && *line != '\0';) {
        json_t *parsed = json_loads(line, 0, NULL);
        if (parsed == NULL)
            fail_msg("not JSON: %s", line);
        board_string(parsed, "ts");
        board_string(parsed, "level");
        board_string(parsed, "component");
        board_string(parsed, "msg");
        json_decref(parsed);
        lines++;
    }
    assert_in_range(lines, 5, 1000);
    free(output);
}

/* The shell lowers the limit for good and becomes the runtime. */
static void launch_with_descriptors(struct test_env *env, unsigned max)
{
    char script[64];
    char program[300];
    const char *build = getenv("MISSION_CONTROL_BUILD");
    snprintf(script, sizeof script, "ulimit -n %u && exec \"$0\"", max);
    snprintf(
        program, sizeof program, "%s/mission-control-runtime", build != NULL ? build : "build");
    env->runtime_program = "../../../../../../../../../../../../bin/sh";
    test_env_launch(env, &env->runtime, NULL, (const char *[]){"-c", script, program, NULL});
}

/* Where it can start at all, it can be stopped. */
static void test_few_descriptors_do_not_keep_it_from_ending(void **state)
{
    struct test_env *env = *state;
    for (unsigned max = 20; max <= 36; max += 4) {
        launch_with_descriptors(env, max);
        bool started =
            process_wait_output(&env->runtime, "started successfully", TEST_WAIT_MS, NULL, 0);
        if (started)
            process_signal(&env->runtime, SIGTERM);
        assert_int_equal(process_wait_exit(&env->runtime, TEST_WAIT_MS), started ? 0 : 71);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_IN_ENV(test_every_bad_setting_is_said_at_once),
        TEST_IN_ENV(test_check_config_shows_no_secret),
        TEST_IN_ENV(test_unknown_argument_is_a_usage_error),
        TEST_IN_ENV(test_env_file_gives_settings),
        TEST_IN_ENV(test_second_runtime_on_a_state_dir_is_refused),
        TEST_IN_ENV(test_busy_health_port_is_said),
        TEST_IN_ENV(test_stop_lets_a_running_send_end),
        TEST_IN_ENV(test_stop_ends_hung_sends_at_the_grace),
        TEST_IN_ENV(test_calls_that_wait_for_their_turn),
        TEST_IN_ENV(test_second_signal_ends_at_once),
        TEST_IN_ENV(test_few_descriptors_do_not_keep_it_from_ending),
        TEST_IN_ENV(test_health_and_version),
        TEST_IN_ENV(test_missing_standard_descriptors),
        TEST_IN_ENV(test_json_log_lines_are_json),
    };
    return cmocka_run_group_tests_name("process", tests, NULL, NULL);
}
