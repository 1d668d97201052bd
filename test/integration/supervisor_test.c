/* The gateway as a child process: startup, output, crashes, shutdown and leftover process groups.
 */
#include <dirent.h>
#include <errno.h>
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

#include "../lib/board.h"
#include "../lib/loopback.h"
#include "../lib/test_file.h"
#include "base/process.h"
#include "base/sync.h"
#include "gateway/supervisor_record.h"

enum { SETTING_BYTES = 768, RSS_GROWTH_LIMIT_BYTES = 16 * 1024 * 1024 };

/* From the moment at which a waiting gateway may start to its first run of work that is queued. */
enum { RETURN_MS = 2000, STALL_MS = 2000 };

/* A gateway that only waits; its shell leads a group of two processes. */
#define WAITING_COMMAND "sh -c 'sleep 1000 & echo ready; wait'"
#define SIGTERM_IGNORING_COMMAND "sh -c 'trap \"\" TERM; echo ready; while :; do sleep 1; done'"

/* gateway.process of /health; a new reference. */
static json_t *get_process_status(struct test_env *env)
{
    json_t *health = test_env_health_json(env, "/health");
    json_t *process = json_incref(json_object_get(json_object_get(health, "gateway"), "process"));
    json_decref(health);
    return process;
}

/* The gateway's process id in /health, 0 while none runs. */
static pid_t get_gateway_pid(struct test_env *env)
{
    json_t *process = get_process_status(env);
    pid_t pid = (pid_t)json_integer_value(json_object_get(process, "pid"));
    json_decref(process);
    return pid;
}

static bool group_is_alive(pid_t group)
{
    return process_group_find(group, PROCESS_ANY_SESSION) == PROCESS_RUNNING;
}

/* Starts the runtime with command as its gateway and returns the child's pid. */
static pid_t start_with_command(struct test_env *env, const char *command)
{
    char setting[SETTING_BYTES];
    snprintf(setting, sizeof setting, "OPENCLAW_GATEWAY_COMMAND=%s", command);
    test_env_start_runtime(env, STRINGS(setting));
    test_env_wait_log(env, "[Gateway process] Started ");
    test_env_wait_log(env, "[Gateway] ready");
    pid_t pid = get_gateway_pid(env);
    assert_true(group_is_alive(pid));
    return pid;
}

/* A failed test leaves a runtime, and with it a gateway. */
static int teardown_with_child(void **state)
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

static bool gateway_record_exists(const struct test_env *env)
{
    char path[SETTING_BYTES];
    snprintf(path, sizeof path, "%s/state/gateway.pid", env->dir);
    return access(path, F_OK) == 0;
}

/* Gateways of start_with_sandbox wait for options to start with; NULL lets the next ones wait. */
static void set_gateway_options(const struct test_env *env, const char *options)
{
    char path[SETTING_BYTES];
    snprintf(path, sizeof path, "%s/options", env->dir);
    if (options != NULL)
        test_file_write(path, options);
    else
        assert_int_equal(unlink(path), 0);
}

/*
 * Starts the runtime with a second sandbox as its gateway, which waits for its options before it
 * listens. *gateway becomes an environment for calls of that sandbox's control API.
 */
static void start_with_waiting_sandbox(
    struct test_env *env, struct test_env *gateway, const char *extra_setting)
{
    char command[SETTING_BYTES];
    char url[SETTING_BYTES];
    static int reserved = -1;
    unsigned port;
    if (reserved >= 0)
        close(reserved);
    reserved = loopback_reserve(&port);
    const char *build = getenv("MISSION_CONTROL_BUILD");
    snprintf(command, sizeof command,
        "OPENCLAW_GATEWAY_COMMAND=sh -c 'until [ -e \"$1\" ]; do sleep 0.05; done; "
        "exec \"$2\" --port %u $(cat \"$1\")' sh '%s/options' '%s/mission-control-sandbox'",
        port, env->dir, build != NULL ? build : "build");
    snprintf(url, sizeof url, "OPENCLAW_GATEWAY_URL=http://127.0.0.1:%u", port);
    *gateway = (struct test_env){.client = env->client};
    snprintf(gateway->url, sizeof gateway->url, "http://127.0.0.1:%u", port);
    test_env_start_runtime(env, STRINGS(command, url, extra_setting));
}

/* The same, until it accepts connections. */
static void start_with_sandbox(
    struct test_env *env, struct test_env *gateway, const char *extra_setting)
{
    set_gateway_options(env, "");
    start_with_waiting_sandbox(env, gateway, extra_setting);
    test_env_wait_log(env, "The gateway accepts connections after ");
    test_env_wait_log(env, "[Gateway] listening on http://127.0.0.1:");
}

/* Adds count agents to the board and the gateway, with one undelivered notification each. */
static void load_for_agents(struct test_env *env, struct test_env *gateway, int count)
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

static void test_gateway_child_is_started_used_and_stopped(void **state)
{
    struct test_env *env = *state;
    struct test_env gateway;
    start_with_sandbox(env, &gateway, NULL);
    json_t *process = get_process_status(env);
    pid_t pid = (pid_t)json_integer_value(json_object_get(process, "pid"));
    assert_true(group_is_alive(pid));
    assert_int_equal(getpgid(pid), pid);
    assert_true(json_is_true(json_object_get(process, "accepting")));
    assert_int_equal(json_integer_value(json_object_get(process, "restarts")), 0);
    assert_true(json_is_null(json_object_get(process, "lastExit")));
    json_decref(process);
    load_for_agents(env, &gateway, 5);
    test_env_wait(env, "delivered=5");
    assert_int_equal(test_env_stat(&gateway, "gateway", "answered"), 5);
    test_env_wait_words(env, "/health", "\"status\": \"healthy\"", true);
    assert_true(gateway_record_exists(env));
    test_env_stop_runtime(env);
    assert_false(group_is_alive(pid));
    assert_false(gateway_record_exists(env));
    test_env_wait_log(env, "The gateway exited with status 0");
}

static void test_no_command_starts_no_child(void **state)
{
    struct test_env *env = *state;
    test_env_start_runtime(env, NULL);
    json_t *process = get_process_status(env);
    assert_true(json_is_null(process));
    json_decref(process);
    test_env_stop_runtime(env);
    assert_false(process_has_output(&env->runtime, "[Gateway process]"));
}

static void test_child_output_is_logged(void **state)
{
    struct test_env *env = *state;
    start_with_command(env,
        "sh -c 'echo one; echo \"  two\" >&2; echo; printf \"three\\r\\n\\033[1mfour\\n\";"
        "echo my token $OPENCLAW_GATEWAY_TOKEN; echo key sk-ant-api03-Zz98Qw76Er54Ty32;"
        "echo ANTHROPIC_API_KEY=opaque; echo ready; exec sleep 1000'");
    test_env_wait_log(env, "info [Gateway] one\n");
    test_env_wait_log(env, "info [Gateway]   two\n");
    test_env_wait_log(env, "info [Gateway] three\n");
    test_env_wait_log(env, "[1mfour\n");
    test_env_wait_log(env, "info [Gateway] my token ***\n");
    test_env_wait_log(env, "info [Gateway] key ***\n");
    test_env_wait_log(env, "info [Gateway] ANTHROPIC_API_KEY=***\n");
    assert_false(process_has_output(&env->runtime, "[Gateway] \n"));
    test_env_stop_runtime(env);
    assert_false(process_has_output(&env->runtime, TEST_GATEWAY_TOKEN));
}

/* The child compares them itself, since the log would redact a token. */
static void test_child_gets_no_service_token(void **state)
{
    struct test_env *env = *state;
    start_with_command(env, "sh -c 'echo service ${SERVICE_TOKEN:-none};"
                            "env | grep -c mc_service_;"
                            "[ \"$OPENCLAW_GATEWAY_TOKEN\" = " TEST_GATEWAY_TOKEN " ] && echo same;"
                            "echo ready; exec sleep 1000'");
    test_env_wait_log(env, "[Gateway] service none\n");
    test_env_wait_log(env, "[Gateway] 0\n");
    test_env_wait_log(env, "[Gateway] same\n");
    test_env_stop_runtime(env);
}

/* Waits until a child runs again. */
static void wait_for_child(struct test_env *env)
{
    int64_t deadline_ms = clock_monotonic_ms() + (int64_t)TEST_WAIT_MS * process_timeout_scale();
    while (get_gateway_pid(env) == 0)
        assert_true(clock_monotonic_ms() < deadline_ms);
}

static void test_killed_child_is_restarted(void **state)
{
    struct test_env *env = *state;
    pid_t first = start_with_command(env, WAITING_COMMAND);
    assert_int_equal(kill(first, SIGKILL), 0);
    test_env_wait_log(env, "The gateway was killed by signal 9");
    test_env_wait_log(env, "Restarting the gateway in 1000 ms");
    char started[64];
    wait_for_child(env);
    json_t *process = get_process_status(env);
    pid_t second = (pid_t)json_integer_value(json_object_get(process, "pid"));
    snprintf(started, sizeof started, "Started sh, pid %d\n", (int)second);
    test_env_wait_log(env, started);
    assert_int_not_equal(first, second);
    assert_int_equal(json_integer_value(json_object_get(process, "restarts")), 1);
    const json_t *last = json_object_get(process, "lastExit");
    assert_int_equal(json_integer_value(json_object_get(last, "signal")), SIGKILL);
    assert_true(json_is_null(json_object_get(last, "code")));
    json_decref(process);
    assert_false(group_is_alive(first)); /* nor its leftover sleep */
    assert_true(group_is_alive(second));
    test_env_stop_runtime(env);
    assert_false(group_is_alive(second));
}

/* Waits until gateway.process of /health has the exit of a child. */
static void wait_for_exit(struct test_env *env)
{
    int64_t deadline_ms = clock_monotonic_ms() + (int64_t)TEST_WAIT_MS * process_timeout_scale();
    while (test_env_health_has(env, "/health", "\"lastExit\": null"))
        assert_true(clock_monotonic_ms() < deadline_ms);
}

/* Loads count notifications of an agent that every sandbox knows, a restarted one as well. */
static void load_for_main(struct test_env *env, int count)
{
    json_decref(
        test_env_post(env, "/sandbox/seed", json_pack("{s:[{s:s}]}", "agents", "slug", "main")));
    json_decref(board_load(env, count, 1));
}

static json_int_t count_failed_attempts(struct test_env *env)
{
    json_t *health = test_env_health_json(env, "/health");
    const json_t *failed = json_object_get(json_object_get(health, "delivery"), "failed");
    assert_true(json_is_integer(failed));
    json_int_t count = json_integer_value(failed);
    json_decref(health);
    return count;
}

/* When the gateway began its first run, on the monotonic clock. */
static int64_t first_run_ms(struct test_env *gateway)
{
    json_t *answer = test_env_get(gateway, "/sandbox/gateway?limit=1");
    const json_t *run = json_array_get(json_object_get(answer, "requests"), 0);
    assert_int_equal(json_integer_value(json_object_get(run, "number")), 1);
    int64_t begun_ms = json_integer_value(json_object_get(run, "begun_us")) / 1000;
    json_decref(answer);
    return begun_ms;
}

/* Its absence until then is expected, and so it is no error, nor any warning. */
static void test_starting_gateway_is_waited_for_without_an_error(void **state)
{
    struct test_env *env = *state;
    struct test_env gateway;
    start_with_waiting_sandbox(env, &gateway, NULL);
    test_env_wait_log(env, "waiting for the gateway process to accept connections");
    set_gateway_options(env, "");
    test_env_wait_log(env, "gateway available, sends allowed");
    assert_false(process_has_output(&env->runtime, "Z error "));
    assert_false(process_has_output(&env->runtime, "gateway unavailable"));
    test_env_wait_log(env, ", run by this process (OPENCLAW_GATEWAY_COMMAND)");
    test_env_stop_runtime(env);
}

/* The exit alone pauses sends: the runtime does not have to lose some first. */
static void test_killed_gateway_is_sent_nothing_until_the_next_one_answers(void **state)
{
    struct test_env *env = *state;
    struct test_env gateway;
    start_with_sandbox(env, &gateway, NULL);
    load_for_main(env, 2);
    test_env_wait(env, "delivered=2");
    test_env_wait_words(env, "/health", "\"state\": \"open\"", true);
    set_gateway_options(env, NULL);
    assert_int_equal(kill(get_gateway_pid(env), SIGKILL), 0);
    wait_for_exit(env);
    assert_false(test_env_health_has(env, "/health", "\"state\": \"open\""));
    test_env_wait_words(env, "/health", "\"accepting\": false", true);
    test_env_wait_words(env, "/health", "\"status\": \"degraded\"", true);
    json_decref(board_load(env, 3, 1));
    wait_for_child(env);
    test_env_wait_calls(env, "listUndeliveredNotifications", 3);
    assert_int_equal(count_failed_attempts(env), 0);
    int64_t released_ms = clock_monotonic_ms();
    set_gateway_options(env, "");
    test_env_wait(env, "delivered=5");
    assert_in_range(
        first_run_ms(&gateway) - released_ms, 0, (RETURN_MS + STALL_MS) * process_timeout_scale());
    assert_int_equal(test_env_stat(&gateway, "gateway", "requests"), 3);
    assert_int_equal(test_env_stat(env, NULL, "replies"), 5);
    assert_int_equal(count_failed_attempts(env), 0);
    test_env_wait_words(env, "/health", "\"accepting\": true", true);
    test_env_stop_runtime(env);
}

/* One that refuses the token accepts connections. The next one may accept the token as well. */
static void test_gateway_that_refused_the_token_is_tried_again_when_restarted(void **state)
{
    struct test_env *env = *state;
    struct test_env gateway;
    start_with_sandbox(env, &gateway, NULL);
    set_gateway_options(env, "--gateway-token another");
    assert_int_equal(kill(get_gateway_pid(env), SIGKILL), 0);
    test_env_wait_log(env, "check OPENCLAW_GATEWAY_TOKEN; the gateway rejects it");
    test_env_wait_words(env, "/health", "\"accepting\": true", true);
    test_env_wait_words(env, "/health", "\"state\": \"shut\"", true);
    load_for_main(env, 1);
    set_gateway_options(env, "");
    assert_int_equal(kill(get_gateway_pid(env), SIGKILL), 0);
    test_env_wait(env, "delivered=1");
    assert_int_equal(count_failed_attempts(env), 0);
    test_env_stop_runtime(env);
}

static void test_shutdown_kills_grandchildren(void **state)
{
    struct test_env *env = *state;
    pid_t pid = start_with_command(env, WAITING_COMMAND);
    int64_t began_ms = clock_monotonic_ms();
    test_env_stop_runtime(env);
    assert_true(clock_monotonic_ms() - began_ms < (int64_t)5000 * process_timeout_scale());
    assert_false(group_is_alive(pid));
}

/* A wrapper that exits at once must not shorten the gateway's time to exit cleanly. */
static void test_grandchild_may_outlive_its_parent_during_shutdown(void **state)
{
    struct test_env *env = *state;
    pid_t pid = start_with_command(env,
        "sh -c 'trap \"exit 5\" TERM; (trap \"sleep 1; echo clean exit; exit\" TERM; echo ready;"
        "while :; do sleep 0.1; done) & wait'");
    test_env_stop_runtime(env);
    assert_false(group_is_alive(pid));
    test_env_wait_log(env, "[Gateway] clean exit");
    test_env_wait_log(env, "The gateway exited with status 5");
}

static void test_child_that_ignores_sigterm_is_killed_after_10_s(void **state)
{
    struct test_env *env = *state;
    pid_t pid = start_with_command(env, SIGTERM_IGNORING_COMMAND);
    int64_t began_ms = clock_monotonic_ms();
    test_env_stop_runtime(env);
    int64_t took_ms = clock_monotonic_ms() - began_ms;
    assert_in_range(took_ms, 10000, 14000 * process_timeout_scale());
    assert_false(group_is_alive(pid));
    test_env_wait_log(env, "did not exit within 10000 ms of SIGTERM");
    test_env_wait_log(env, "The gateway was killed by signal 9");
}

static void test_orphan_of_a_killed_runtime_is_killed(void **state)
{
    struct test_env *env = *state;
    pid_t first = start_with_command(env, WAITING_COMMAND);
    assert_true(gateway_record_exists(env));
    process_signal(&env->runtime, SIGKILL);
    assert_int_equal(process_wait_exit(&env->runtime, TEST_WAIT_MS), 128 + SIGKILL);
    assert_true(group_is_alive(first));
    pid_t second = start_with_command(env, WAITING_COMMAND);
    test_env_wait_log(env, "The gateway of an earlier runtime (pid ");
    assert_int_not_equal(first, second);
    assert_false(group_is_alive(first));
    test_env_stop_runtime(env);
    assert_false(group_is_alive(second));
}

static void test_damaged_gateway_record_does_no_harm(void **state)
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
    pid_t pid = start_with_command(env, WAITING_COMMAND);
    test_env_wait_log(env, "Cannot check for a gateway of an earlier runtime");
    test_env_stop_runtime(env);
    assert_false(group_is_alive(pid));
}

static void test_missing_program_is_reported_and_retried(void **state)
{
    struct test_env *env = *state;
    test_env_start_runtime(env, STRINGS("OPENCLAW_GATEWAY_COMMAND=no-such-gateway --port 1"));
    test_env_wait_log(
        env, "Cannot start the gateway: cannot run no-such-gateway: No such file or directory\n");
    test_env_wait_log(env, "Restarting the gateway in 4000 ms");
    json_t *process = get_process_status(env);
    assert_true(json_is_null(json_object_get(process, "pid")));
    assert_true(json_is_null(json_object_get(process, "lastExit")));
    assert_true(json_is_false(json_object_get(process, "accepting")));
    assert_int_equal(json_integer_value(json_object_get(process, "restarts")), 2);
    json_decref(process);
    /* Shutdown does not wait for the backoff. */
    int64_t began_ms = clock_monotonic_ms();
    test_env_stop_runtime(env);
    assert_true(clock_monotonic_ms() - began_ms < (int64_t)3500 * process_timeout_scale());
}

static void test_broken_quoting_exits_78(void **state)
{
    struct test_env *env = *state;
    test_env_launch(env, &env->runtime, STRINGS("OPENCLAW_GATEWAY_COMMAND=openclaw 'run"), NULL);
    assert_int_equal(process_wait_exit(&env->runtime, TEST_WAIT_MS), 78);
    test_env_wait_log(
        env, "error: OPENCLAW_GATEWAY_COMMAND \"openclaw 'run\" has an unterminated single quote");
}

static json_int_t resident_bytes(struct test_env *env)
{
    json_t *health = test_env_health_json(env, "/health");
    json_int_t bytes =
        json_integer_value(json_object_get(json_object_get(health, "memory"), "rss"));
    json_decref(health);
    assert_true(bytes > 0);
    return bytes;
}

static void test_endless_line_does_not_fill_memory(void **state)
{
    struct test_env *env = *state;
    char command[SETTING_BYTES];
    char go_file[SETTING_BYTES / 2];
    snprintf(go_file, sizeof go_file, "%s/go", env->dir);
    snprintf(command, sizeof command,
        "sh -c 'echo ready; while [ ! -e %s ]; do sleep 0.05; done;"
        "head -c 50000000 /dev/zero | tr \"\\\\0\" x; echo; echo done; exec sleep 1000'",
        go_file);
    start_with_command(env, command);
    /* Its threads have done what costs them memory once. */
    test_env_wait_words(env, "/health", "\"status\": \"healthy\"", true);
    test_env_wait(env, "action=listUndeliveredNotifications&calls=3");
    json_int_t before_bytes = resident_bytes(env);
    FILE *file = fopen(go_file, "w");
    assert_non_null(file);
    fclose(file);
    test_env_wait_log(env, "[Gateway] xxxxxxxx");
    test_env_wait_log(env, "[Gateway] done\n");
    assert_true(resident_bytes(env) < before_bytes + RSS_GROWTH_LIMIT_BYTES);
    test_env_stop_runtime(env);
    char *output = process_output(&env->runtime);
    assert_true(strlen(output) < 20000);
    free(output);
}

static void test_shutdown_loses_no_reply_in_flight(void **state)
{
    struct test_env *env = *state;
    struct test_env gateway;
    start_with_sandbox(env, &gateway, NULL);
    board_hold_agents(&gateway, "agent");
    load_for_agents(env, &gateway, 1);
    test_env_wait(&gateway, "in_flight=1");
    process_signal(&env->runtime, SIGTERM);
    test_env_wait_log(env, "wake-ups in flight");
    board_release(&gateway, "agent");
    assert_int_equal(process_wait_exit(&env->runtime, TEST_WAIT_MS), 0);
    assert_int_equal(test_env_stat(env, NULL, "delivered"), 1);
    assert_int_equal(test_env_stat(env, NULL, "replies"), 1);
}

static void test_hung_runs_do_not_keep_the_gateway_past_the_grace_period(void **state)
{
    struct test_env *env = *state;
    struct test_env gateway;
    start_with_sandbox(env, &gateway, "SHUTDOWN_GRACE_MS=1500");
    board_hold_agents(&gateway, "agent");
    load_for_agents(env, &gateway, 2);
    test_env_wait(&gateway, "in_flight=2");
    pid_t pid = get_gateway_pid(env);
    int64_t began_ms = clock_monotonic_ms();
    test_env_stop_runtime(env);
    assert_true(clock_monotonic_ms() - began_ms < (int64_t)3500 * process_timeout_scale());
    assert_false(group_is_alive(pid));
}

/* Counts its children that have ended and were not reaped; *running is one that runs, or 0. */
static int look_at_children(pid_t parent, pid_t *running)
{
    int zombies = 0;
    *running = 0;
    DIR *processes = opendir("/proc");
    assert_non_null(processes);
    const struct dirent *entry;
    while ((entry = readdir(processes)) != NULL) {
        char path[sizeof "/proc//stat" + sizeof entry->d_name];
        char line[512];
        snprintf(path, sizeof path, "/proc/%s/stat", entry->d_name);
        FILE *file = entry->d_name[0] >= '0' && entry->d_name[0] <= '9' ? fopen(path, "r") : NULL;
        if (file == NULL)
            continue;
        /* "PID (NAME) STATE PARENT ..." (proc(5)) */
        const char *name_end = fgets(line, sizeof line, file) != NULL ? strrchr(line, ')') : NULL;
        if (name_end != NULL && strlen(name_end) > 4 && strtol(name_end + 4, NULL, 10) == parent) {
            if (name_end[2] == 'Z')
                zombies++;
            else
                *running = (pid_t)strtol(entry->d_name, NULL, 10);
        }
        fclose(file);
    }
    closedir(processes);
    return zombies;
}

static int count_zombies(pid_t parent)
{
    pid_t running;
    return look_at_children(parent, &running);
}

static pid_t find_child(pid_t parent)
{
    pid_t running;
    look_at_children(parent, &running);
    return running;
}

/* The next runtime is process 1, as in a container without an init. */
static void isolate_or_skip(void)
{
    if (process_isolate_next())
        return;
    print_message("skipped: cannot create a PID namespace here: %s\n", strerror(errno));
    skip();
}

/* What the gateway's tools leave behind in sessions of their own is reaped when it has ended. */
static void test_process_1_reaps_orphans(void **state)
{
    struct test_env *env = *state;
    char line[32];
    isolate_or_skip();
    test_env_start_runtime(env,
        STRINGS("OPENCLAW_GATEWAY_COMMAND=sh -c 'for i in 1 2 3 4 5; do "
                "(setsid sh -c \"sleep 0.1; echo orphan $i ended\" &); done; exec sleep 1000'"));
    for (int i = 1; i <= 5; i++) {
        snprintf(line, sizeof line, "orphan %d ended", i);
        test_env_wait_log(env, line);
    }
    int64_t deadline_ms = clock_monotonic_ms() + (int64_t)TEST_WAIT_MS * process_timeout_scale();
    while (count_zombies(env->runtime.pid) > 0)
        assert_true(clock_monotonic_ms() < deadline_ms);
    test_env_stop_runtime(env);
}

/* A container is restarted by the status of process 1, so it is that of the runtime. */
static void test_process_1_ends_as_the_runtime_does(void **state)
{
    struct test_env *env = *state;
    isolate_or_skip();
    test_env_launch(env, &env->runtime, STRINGS("HEALTH_HOST=192.0.2.1"), NULL);
    assert_int_equal(process_wait_exit(&env->runtime, TEST_WAIT_MS), 69);
    isolate_or_skip();
    test_env_launch(env, &env->runtime, STRINGS("HEALTH_PORT=0"), NULL);
    test_env_wait_log(env, "started successfully");
    pid_t runtime = find_child(env->runtime.pid);
    assert_true(runtime > 0);
    kill(runtime, SIGKILL);
    assert_int_equal(process_wait_exit(&env->runtime, TEST_WAIT_MS), 128 + SIGKILL);
}

int main(void)
{
#define TEST_WITH_CHILD(test) \
    cmocka_unit_test_setup_teardown(test, test_env_setup, teardown_with_child)
    const struct CMUnitTest tests[] = {
        TEST_WITH_CHILD(test_gateway_child_is_started_used_and_stopped),
        TEST_WITH_CHILD(test_no_command_starts_no_child),
        TEST_WITH_CHILD(test_child_output_is_logged),
        TEST_WITH_CHILD(test_child_gets_no_service_token),
        TEST_WITH_CHILD(test_killed_child_is_restarted),
        TEST_WITH_CHILD(test_starting_gateway_is_waited_for_without_an_error),
        TEST_WITH_CHILD(test_killed_gateway_is_sent_nothing_until_the_next_one_answers),
        TEST_WITH_CHILD(test_gateway_that_refused_the_token_is_tried_again_when_restarted),
        TEST_WITH_CHILD(test_shutdown_kills_grandchildren),
        TEST_WITH_CHILD(test_grandchild_may_outlive_its_parent_during_shutdown),
        TEST_WITH_CHILD(test_child_that_ignores_sigterm_is_killed_after_10_s),
        TEST_WITH_CHILD(test_orphan_of_a_killed_runtime_is_killed),
        TEST_WITH_CHILD(test_damaged_gateway_record_does_no_harm),
        TEST_WITH_CHILD(test_missing_program_is_reported_and_retried),
        TEST_WITH_CHILD(test_broken_quoting_exits_78),
        TEST_WITH_CHILD(test_endless_line_does_not_fill_memory),
        TEST_WITH_CHILD(test_process_1_reaps_orphans),
        TEST_WITH_CHILD(test_process_1_ends_as_the_runtime_does),
        TEST_WITH_CHILD(test_shutdown_loses_no_reply_in_flight),
        TEST_WITH_CHILD(test_hung_runs_do_not_keep_the_gateway_past_the_grace_period),
    };
    return cmocka_run_group_tests_name("supervisor", tests, NULL, NULL);
}
