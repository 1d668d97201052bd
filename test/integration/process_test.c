/* The runtime as a process: settings, exit codes, signals, shutdown, file descriptors. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "../lib/board.h"
#include "../lib/loopback.h"
#include "../lib/test_file.h"
#include "base/sync.h"

enum { PROC_FILE_BYTES = 64 * 1024 };

static void test_every_bad_setting_is_reported_at_once(void **state)
{
    struct test_env *env = *state;
    test_env_launch(env, &env->runtime,
        STRINGS("ACCOUNT_ID", "DELIVERY_INTERVAL=30x1", "HEALTH_PORT=99999",
            "AGENT_SYNC_INTERVAL=-5", "LOG_LEVEL=loud", "LOG_FORMAT=xml"),
        NULL);
    assert_int_equal(process_wait_exit(&env->runtime, TEST_WAIT_MS), 78);
    static const char *const names[] = {"ACCOUNT_ID", "DELIVERY_INTERVAL", "HEALTH_PORT",
        "AGENT_SYNC_INTERVAL", "LOG_LEVEL", "LOG_FORMAT"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        test_env_wait_log(env, names[i]);
    assert_false(process_has_output(&env->runtime, TEST_SECRET));
}

static void test_check_config_hides_secrets(void **state)
{
    struct test_env *env = *state;
    test_env_launch(env, &env->runtime, NULL, STRINGS("--check-config"));
    assert_int_equal(process_wait_exit(&env->runtime, TEST_WAIT_MS), 0);
    test_env_wait_log(env, "SERVICE_TOKEN=***");
    assert_false(process_has_output(&env->runtime, TEST_SECRET));
    assert_false(process_has_output(&env->runtime, TEST_GATEWAY_TOKEN));
}

static void test_start_names_what_it_uses(void **state)
{
    struct test_env *env = *state;
    char rest[512];
    char directory[512];
    test_env_start_runtime(env, STRINGS("DELIVERY_MAX_CONCURRENT_SESSIONS=7"));
    snprintf(directory, sizeof directory, "State directory: %s/state\n", env->dir);
    const char *const lines[] = {"Runtime Service v" MISSION_CONTROL_VERSION " OpenClaw v",
        "Account ID: " TEST_ACCOUNT "\n",
        "Convex URL: http://127.0.0.1:", "Gateway: http://127.0.0.1:", directory, "Workers: 7\n",
        "Listening on 127.0.0.1 port "};
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++)
        test_env_wait_log(env, lines[i]);
    test_env_stop_runtime(env);
    process_fini(&env->runtime);
    test_env_start_runtime(env, STRINGS("OPENCLAW_GATEWAY_URL="));
    assert_true(process_wait_output(&env->runtime, "Gateway: ", TEST_WAIT_MS, rest, sizeof rest));
    assert_string_equal(rest, "disabled, because OPENCLAW_GATEWAY_URL is set to nothing; no agent "
                              "is asked, and notifications wait");
    test_env_stop_runtime(env);
}

static void test_unknown_argument_exits_64(void **state)
{
    struct test_env *env = *state;
    test_env_launch(env, &env->runtime, NULL, STRINGS("--frobnicate"));
    assert_int_equal(process_wait_exit(&env->runtime, TEST_WAIT_MS), 64);
}

static void test_env_file_yields_to_the_environment(void **state)
{
    struct test_env *env = *state;
    char path[300];
    snprintf(path, sizeof path, "%s/settings.env", env->dir);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fprintf(file, "# settings\nexport DROPLET_REGION=\"fra1\" # where\nDELIVERY_INTERVAL=1\n");
    fclose(file);
    /* DELIVERY_INTERVAL=1 of the file would be rejected; the environment takes precedence. */
    test_env_launch(env, &env->runtime, NULL, STRINGS("--env-file", path, "--check-config"));
    assert_int_equal(process_wait_exit(&env->runtime, TEST_WAIT_MS), 0);
    test_env_wait_log(env, "DROPLET_REGION=fra1");
    test_env_wait_log(env, "DELIVERY_INTERVAL=200");
}

static void test_second_runtime_on_a_state_dir_exits_75(void **state)
{
    struct test_env *env = *state;
    test_env_start_runtime(env, NULL);
    test_env_launch(env, &env->second, NULL, NULL);
    assert_int_equal(process_wait_exit(&env->second, TEST_WAIT_MS), 75);
    char owner[64];
    snprintf(owner, sizeof owner, "process %d", (int)env->runtime.pid);
    assert_true(process_wait_output(&env->second, owner, TEST_WAIT_MS, NULL, 0));
    test_env_stop_runtime(env);
}

static void test_busy_health_port_exits_69(void **state)
{
    struct test_env *env = *state;
    unsigned port;
    char setting[64];
    int fd = loopback_listen(1, &port);
    snprintf(setting, sizeof setting, "HEALTH_PORT=%u", port);
    test_env_launch(env, &env->runtime, STRINGS(setting), NULL);
    assert_int_equal(process_wait_exit(&env->runtime, TEST_WAIT_MS), 69);
    close(fd);
}

static void test_shutdown_waits_for_a_run_in_flight(void **state)
{
    struct test_env *env = *state;
    json_t *rows = board_load(env, 3, 1);
    board_hold_agents(env, "agent");
    test_env_start_runtime(env, NULL);
    test_env_wait(env, "in_flight=1");
    process_signal(&env->runtime, SIGTERM);
    test_env_wait_log(env, "wake-ups in flight");
    board_release(env, "agent");
    assert_int_equal(process_wait_exit(&env->runtime, TEST_WAIT_MS), 0);
    assert_int_equal(test_env_stat(env, "gateway", "requests"), 1);
    assert_int_equal(test_env_stat(env, NULL, "delivered"), 1);
    json_decref(rows);
}

static void test_shutdown_aborts_hung_runs_after_the_grace_period(void **state)
{
    struct test_env *env = *state;
    json_decref(board_load(env, 8, 8));
    board_hold_agents(env, "agent");
    test_env_start_runtime(env, STRINGS("SHUTDOWN_GRACE_MS=1500"));
    test_env_wait(env, "in_flight=8");
    int64_t began_ms = clock_monotonic_ms();
    process_signal(&env->runtime, SIGTERM);
    assert_int_equal(process_wait_exit(&env->runtime, TEST_WAIT_MS), 0);
    assert_true(clock_monotonic_ms() - began_ms < (int64_t)5000 * process_timeout_scale());
}

/* Calls that queue for one of the 28 call slots delay no loop and do not prolong shutdown. */
static void test_queued_calls_do_not_prolong_shutdown(void **state)
{
    struct test_env *env = *state;
    json_decref(board_load(env, 40, 40));
    board_backend_fault(
        env, json_pack("{s:s, s:s}", "action", "createMessageFromAgent", "behaviour", "hang"));
    test_env_start_runtime(env, STRINGS("DELIVERY_MAX_CONCURRENT_SESSIONS=40",
                                    "SHUTDOWN_GRACE_MS=1500", "DELIVERY_INTERVAL=10"));
    test_env_wait(env, "held=28");
    char polls[128];
    snprintf(polls, sizeof polls, "action=listUndeliveredNotifications&calls=%ld",
        test_env_stat(env, "backend", "listUndeliveredNotifications") + 3);
    test_env_wait(env, polls);
    assert_int_equal(test_env_stat(env, NULL, "held"), 28);
    int64_t began_ms = clock_monotonic_ms();
    test_env_stop_runtime(env);
    assert_in_range(clock_monotonic_ms() - began_ms, 0, 5000 * process_timeout_scale());
}

static char *read_proc_file(const struct process *process, const char *name)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/%s", (int)process->pid, name);
    FILE *file = fopen(path, "re");
    char *bytes = calloc(1, PROC_FILE_BYTES);
    assert_non_null(file);
    assert_non_null(bytes);
    size_t length = fread(bytes, 1, PROC_FILE_BYTES - 1, file);
    fclose(file);
    /* Variables are separated by NUL. */
    for (size_t i = 0; i < length; i++)
        if (bytes[i] == '\0')
            bytes[i] = ' ';
    return bytes;
}

static void must_not_be_readable(const struct process *process, const char *name)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/%s", (int)process->pid, name);
    assert_int_equal(open(path, O_RDONLY | O_CLOEXEC), -1);
    assert_int_equal(errno, EACCES);
}

/* The environment holds the token, and is read again at a reload. */
static void test_process_shows_no_environment_and_leaves_no_core(void **state)
{
    struct test_env *env = *state;
    test_env_start_runtime(env, NULL);
    if (geteuid() == 0) {
        char *variables = read_proc_file(&env->runtime, "environ");
        assert_null(strstr(variables, TEST_SECRET));
        assert_null(strstr(variables, "SERVICE_TOKEN"));
        free(variables);
    } else {
        must_not_be_readable(&env->runtime, "environ");
    }
    char *limits = read_proc_file(&env->runtime, "limits");
    assert_non_null(strstr(limits, "Max core file size        0                    0 "));
    free(limits);
    process_signal(&env->runtime, SIGHUP);
    test_env_wait_log(env, "Reload 1: changed: nothing");
    test_env_stop_runtime(env);
}

static void test_debugging_is_allowed_and_warned_of(void **state)
{
    struct test_env *env = *state;
    test_env_start_runtime(env, STRINGS("MISSION_CONTROL_DEBUG_CORE=on"));
    test_env_wait_log(env, "warn [Runtime] MISSION_CONTROL_DEBUG_CORE=on: ");
    char *variables = read_proc_file(&env->runtime, "environ");
    assert_null(strstr(variables, TEST_SECRET));
    free(variables);
    test_env_stop_runtime(env);
}

/* Nothing listens at the proxy, so every request of the backend fails and is reported. */
static void test_credentials_of_a_proxy_are_never_shown(void **state)
{
    struct test_env *env = *state;
    static const char *const paths[] = {"/health", "/status", "/"};
    static const char proxy[] = "http_proxy=http://jonas:pr0xypassw0rd@127.0.0.1:1";
    static const char bare[] = "http_proxy=jonas:pr0xypassw0rd@127.0.0.1:1";
    const char *const settings[] = {proxy, "LOG_LEVEL=debug", "NO_PROXY", "no_proxy", NULL};
    test_env_start_runtime(env, settings);
    test_env_wait_log(env, "[Delivery]");
    test_env_wait_words(env, "/health", "\"degraded\"", true);
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++)
        assert_false(test_env_health_has(env, paths[i], "pr0xypassw0rd"));
    test_env_stop_runtime(env);
    test_env_launch(env, &env->second, STRINGS(bare), STRINGS("doctor"));
    assert_int_equal(process_wait_exit(&env->second, TEST_WAIT_MS), 1);
    assert_true(process_wait_output(&env->second, "backend connection", TEST_WAIT_MS, NULL, 0));
    assert_false(process_has_output(&env->runtime, "pr0xypassw0rd"));
    assert_false(process_has_output(&env->second, "pr0xypassw0rd"));
    assert_false(process_has_output(&env->second, "jonas"));
}

/* What lets others at the replies or the tokens is said at each start. */
static void test_exposed_files_are_warned_of_at_the_start(void **state)
{
    struct test_env *env = *state;
    char dir[300];
    char token[300];
    snprintf(dir, sizeof dir, "STATE_DIR=%s/state", env->dir);
    snprintf(token, sizeof token, "SERVICE_TOKEN_FILE=%s/token", env->dir);
    test_file_write_bytes(strchr(token, '=') + 1, TEST_TOKEN, sizeof TEST_TOKEN - 1, 0644);
    assert_int_equal(mkdir(strchr(dir, '=') + 1, 0700), 0);
    assert_int_equal(chmod(strchr(dir, '=') + 1, 0770), 0);
    test_env_start_runtime(env, STRINGS(dir, "SERVICE_TOKEN", token));
    test_env_wait_log(env, "can be written to by other users");
    test_env_wait_log(env, "/token contains a secret but is readable by all users");
    test_env_stop_runtime(env);
}

static void test_second_signal_exits_at_once(void **state)
{
    struct test_env *env = *state;
    json_decref(board_load(env, 1, 1));
    board_hold_agents(env, "agent");
    test_env_start_runtime(env, STRINGS("SHUTDOWN_GRACE_MS=600000"));
    test_env_wait(env, "in_flight=1");
    process_signal(&env->runtime, SIGTERM);
    test_env_wait_log(env, "wake-ups in flight");
    process_signal(&env->runtime, SIGINT);
    assert_int_equal(process_wait_exit(&env->runtime, TEST_WAIT_MS), 128 + SIGINT);
}

static void test_health_and_version_answer(void **state)
{
    struct test_env *env = *state;
    char *body;
    test_env_start_runtime(env, STRINGS("DROPLET_ID=d1", "DROPLET_REGION=fra1"));
    test_env_wait_words(env, "/health", "\"status\": \"healthy\"", true);
    assert_int_equal(test_env_health_get(env, "/health?x=1", &body), 200);
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

/* Started with fds 0-2 closed: the log is lost, and must not end up in one of our files. */
static void test_closed_standard_fds_do_no_harm(void **state)
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
    test_env_start_runtime(env, STRINGS("LOG_FORMAT=json"));
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

/* Starts the runtime through a shell that lowers its limit on file descriptors. */
static void launch_with_fd_limit(struct test_env *env, unsigned max)
{
    char script[64];
    char program[300];
    const char *build = getenv("MISSION_CONTROL_BUILD");
    snprintf(script, sizeof script, "ulimit -n %u && exec \"$0\"", max);
    snprintf(
        program, sizeof program, "%s/mission-control-runtime", build != NULL ? build : "build");
    env->runtime_program = "../../../../../../../../../../../../bin/sh";
    test_env_launch(env, &env->runtime, NULL, STRINGS("-c", script, program));
}

/* With few descriptors it may fail to start, but if it starts it can be stopped. */
static void test_few_descriptors_do_not_block_shutdown(void **state)
{
    struct test_env *env = *state;
    for (unsigned max = 20; max <= 36; max += 4) {
        launch_with_fd_limit(env, max);
        bool started =
            process_wait_output(&env->runtime, "started successfully", TEST_WAIT_MS, NULL, 0);
        if (started)
            process_signal(&env->runtime, SIGTERM);
        assert_int_equal(process_wait_exit(&env->runtime, TEST_WAIT_MS), started ? 0 : 71);
    }
}

/* A limit below the lowest free number: everything that is open stays, and nothing can be opened.
 */
static void allow_new_descriptors(const struct process *process, bool allowed)
{
    struct rlimit limit;
    assert_int_equal(prlimit(process->pid, RLIMIT_NOFILE, NULL, &limit), 0);
    limit.rlim_cur = allowed ? limit.rlim_max : 3;
    assert_int_equal(prlimit(process->pid, RLIMIT_NOFILE, &limit, NULL), 0);
}

/* Processor time of the process so far, in clock ticks. */
static long processor_ticks(const struct process *process)
{
    char path[64];
    char line[1024];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)process->pid);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    assert_non_null(fgets(line, sizeof line, file));
    fclose(file);
    /* utime and stime, the 12th and 13th fields after the name (proc(5)). */
    char *at = strrchr(line, ')');
    for (int field = 0; field < 12; field++) {
        assert_non_null(at);
        at = strchr(at + 1, ' ');
    }
    assert_non_null(at);
    long user = strtol(at, &at, 10);
    return user + strtol(at, &at, 10);
}

/* Without descriptors the cause is named, no loop spins, and work resumes when there are some. */
static void test_shortage_of_descriptors_is_named(void **state)
{
    struct test_env *env = *state;
    test_env_start_runtime(
        env, STRINGS("DELIVERY_BACKOFF_BASE_MS=50", "DELIVERY_BACKOFF_MAX_MS=200"));
    test_env_wait(env, "action=listUndeliveredNotifications&calls=2");
    allow_new_descriptors(&env->runtime, false);
    int client = loopback_connect(env->health_port);
    json_decref(board_load(env, 1, 1));
    test_env_wait_log(env, "cannot open a socket: Too many open files");
    test_env_wait_log(env, "cannot accept connections: Too many open files");
    long before = processor_ticks(&env->runtime);
    sleep(1);
    assert_in_range(processor_ticks(&env->runtime) - before, 0, sysconf(_SC_CLK_TCK) / 4);
    assert_false(process_has_output(&env->runtime, "Couldn't connect to server"));
    assert_false(process_has_output(&env->runtime, "start the gateway at"));
    allow_new_descriptors(&env->runtime, true);
    test_env_wait(env, "undelivered=0");
    assert_int_equal(test_env_stat(env, "gateway", "deliveries"), 1);
    close(client);
    test_env_stop_runtime(env);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_IN_ENV(test_every_bad_setting_is_reported_at_once),
        TEST_IN_ENV(test_check_config_hides_secrets),
        TEST_IN_ENV(test_start_names_what_it_uses),
        TEST_IN_ENV(test_unknown_argument_exits_64),
        TEST_IN_ENV(test_env_file_yields_to_the_environment),
        TEST_IN_ENV(test_second_runtime_on_a_state_dir_exits_75),
        TEST_IN_ENV(test_busy_health_port_exits_69),
        TEST_ON_BOTH(test_shutdown_waits_for_a_run_in_flight),
        TEST_ON_BOTH(test_shutdown_aborts_hung_runs_after_the_grace_period),
        TEST_IN_ENV(test_queued_calls_do_not_prolong_shutdown),
        TEST_IN_ENV(test_second_signal_exits_at_once),
        TEST_IN_ENV(test_exposed_files_are_warned_of_at_the_start),
        TEST_IN_ENV(test_credentials_of_a_proxy_are_never_shown),
        TEST_IN_ENV(test_process_shows_no_environment_and_leaves_no_core),
        TEST_IN_ENV(test_debugging_is_allowed_and_warned_of),
        TEST_IN_ENV(test_few_descriptors_do_not_block_shutdown),
        TEST_IN_ENV(test_shortage_of_descriptors_is_named),
        TEST_IN_ENV(test_health_and_version_answer),
        TEST_IN_ENV(test_closed_standard_fds_do_no_harm),
        TEST_IN_ENV(test_json_log_lines_are_json),
    };
    return cmocka_run_group_tests_name("process", tests, NULL, NULL);
}
