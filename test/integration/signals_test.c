/* Signals other than shutdown: SIGHUP reloads, SIGUSR1 dumps workers, SIGUSR2 pauses sends. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../lib/board.h"
#include "base/containers.h"
#include "base/sync.h"

#define NEW_SECRET "fedcba9876543210fedcba9876543210"
#define NEW_TOKEN "mc_service_" TEST_ACCOUNT "_" NEW_SECRET

/* A heartbeat interval in minutes, short enough to see agents woken. */
static const double SHORT_INTERVAL = 0.005;

enum { PATH_BYTES = 512, LINE_BYTES = 256 };

/* Writes a file in the test directory and stores its path. */
static void write_file(struct test_env *env, const char *name, const char *text, char *path)
{
    snprintf(path, PATH_BYTES, "%s/%s", env->dir, name);
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void start_with_token_file(struct test_env *env, const char *token, char *path)
{
    char variable[PATH_BYTES + 32];
    write_file(env, "token", token, path);
    snprintf(variable, sizeof variable, "SERVICE_TOKEN_FILE=%s", path);
    test_env_start_runtime(env, STRINGS("SERVICE_TOKEN", variable));
}

static void reload_and_wait_log(struct test_env *env, const char *words)
{
    process_signal(&env->runtime, SIGHUP);
    test_env_wait_log(env, words);
}

/* Loads one notification, copies its id and waits until its agent run is held. */
static void hold_one_run(struct test_env *env, char id[static ID_BYTES])
{
    board_hold_agents(env, "held");
    board_load_one(env, id);
    test_env_wait(env, "held=1");
}

static void test_sighup_applies_a_rotated_service_token(void **state)
{
    struct test_env *env = *state;
    char path[PATH_BYTES];
    char id[ID_BYTES];
    start_with_token_file(env, TEST_TOKEN "\n", path);
    hold_one_run(env, id);
    json_decref(test_env_post(env, "/sandbox/token", json_pack("{s:s}", "secret", NEW_SECRET)));
    write_file(env, "token", NEW_TOKEN "\n", path);
    reload_and_wait_log(env, "Reload 1: changed: SERVICE_TOKEN\n");
    board_clear_faults(env);
    test_env_wait(env, "delivered=1&undelivered=0");
    assert_int_equal(board_requests_for(env, id), 1);
    json_decref(board_load(env, 3, 1));
    test_env_wait(env, "delivered=4&undelivered=0");
    reload_and_wait_log(env, "Reload 2: changed: nothing\n");
    test_env_stop_runtime(env);
    assert_false(process_has_output(&env->runtime, NEW_SECRET));
    json_t *rows = board_documents(env, "runtimes");
    assert_string_equal(board_string(json_array_get(rows, 0), "status"), "offline");
    json_decref(rows);
}

static void test_sighup_with_a_broken_token_file_changes_nothing(void **state)
{
    static const char *const broken[] = {
        "", "no-token-at-all", ("mc_service_k57other_" NEW_SECRET)};
    struct test_env *env = *state;
    char path[PATH_BYTES];
    char words[LINE_BYTES];
    start_with_token_file(env, TEST_TOKEN, path);
    for (unsigned i = 0; i < sizeof broken / sizeof broken[0]; i++) {
        write_file(env, "token", broken[i], path);
        snprintf(
            words, sizeof words, "Reload %u: invalid settings (see above); keeping the", i + 1);
        reload_and_wait_log(env, words);
    }
    assert_int_equal(remove(path), 0);
    reload_and_wait_log(env, "Reload 4: invalid settings");
    test_env_wait_log(env, "Reload 1: SERVICE_TOKEN_FILE: ");
    test_env_wait_log(env, "Reload 2: Invalid SERVICE_TOKEN format");
    test_env_wait_log(env, "Reload 3: SERVICE_TOKEN account mismatch");
    test_env_wait_log(env, "Reload 4: SERVICE_TOKEN_FILE: cannot read");
    json_decref(board_load(env, 2, 2));
    test_env_wait(env, "delivered=2&undelivered=0");
    test_env_stop_runtime(env);
    assert_false(process_has_output(&env->runtime, "no-token-at-all"));
    assert_false(process_has_output(&env->runtime, NEW_SECRET));
}

static void start_with_env_file(struct test_env *env, const char *path)
{
    test_env_launch(env, &env->runtime, STRINGS("OPENCLAW_GATEWAY_TOKEN", "DELIVERY_INTERVAL"),
        STRINGS("--env-file", path));
    test_env_wait_log(env, "started successfully");
}

/* One wrong setting rejects the whole reload. */
static void test_sighup_applies_the_env_file_as_a_whole(void **state)
{
    struct test_env *env = *state;
    char path[PATH_BYTES];
    write_file(env, "env", "OPENCLAW_GATEWAY_TOKEN=wrong-for-now\nDELIVERY_INTERVAL=200\n", path);
    start_with_env_file(env, path);
    test_env_wait_log(env, "gateway unavailable, sends paused");
    json_decref(board_load(env, 1, 1));
    write_file(env, "env",
        "OPENCLAW_GATEWAY_TOKEN=" TEST_GATEWAY_TOKEN "\nLOG_LEVEL=loud\nDELIVERY_INTERVAL=200\n",
        path);
    reload_and_wait_log(env, "Reload 1: invalid settings");
    test_env_wait_log(env, "Reload 1: LOG_LEVEL \"loud\" is not one of");
    write_file(env, "env",
        "OPENCLAW_GATEWAY_TOKEN=" TEST_GATEWAY_TOKEN "\nLOG_LEVEL=debug\nDELIVERY_INTERVAL=201\n",
        path);
    assert_false(process_has_output(&env->runtime, "debug [Delivery]"));
    reload_and_wait_log(env, "Reload 2: changed: LOG_LEVEL OPENCLAW_GATEWAY_TOKEN\n");
    test_env_wait_log(env, "Reload 2: DELIVERY_INTERVAL has changed, which requires a restart");
    test_env_wait_log(env, "debug [Delivery] Listed");
    test_env_wait(env, "delivered=1&undelivered=0");
    test_env_stop_runtime(env);
    assert_false(process_has_output(&env->runtime, TEST_GATEWAY_TOKEN));
}

static void write_connection_settings(struct test_env *env, char *path, const char *account,
    const char *service_token, const char *convex_url, const char *gateway_url,
    const char *gateway_token)
{
    char text[1024];
    snprintf(text, sizeof text,
        "ACCOUNT_ID=%s\nSERVICE_TOKEN=%s\nCONVEX_URL=%s\nOPENCLAW_GATEWAY_URL=%s\n"
        "OPENCLAW_GATEWAY_TOKEN=%s\n",
        account, service_token, convex_url, gateway_url, gateway_token);
    write_file(env, "env", text, path);
}

static void expect_delivery(struct test_env *env, int number)
{
    char condition[LINE_BYTES];
    json_decref(board_load(env, 1, 1));
    snprintf(condition, sizeof condition, "delivered=%d&undelivered=0", number);
    test_env_wait(env, condition);
}

/* Otherwise the old address would get the new secret, or calls would fail until a restart. */
static void test_sighup_rejects_the_token_of_another_address(void **state)
{
    static const char other_url[] = "http://127.0.0.1:9";
    static const char other_token[] = "mc_service_k57other_" NEW_SECRET;
    static const char *const unset[] = {"ACCOUNT_ID", "SERVICE_TOKEN", "CONVEX_URL",
        "OPENCLAW_GATEWAY_URL", "OPENCLAW_GATEWAY_TOKEN", NULL};
    struct test_env *env = *state;
    const char *url = env->url;
    char path[PATH_BYTES];
    write_connection_settings(env, path, TEST_ACCOUNT, TEST_TOKEN, url, url, TEST_GATEWAY_TOKEN);
    test_env_launch(env, &env->runtime, unset, STRINGS("--env-file", path));
    test_env_wait_log(env, "started successfully");
    write_connection_settings(env, path, "k57other", other_token, url, url, TEST_GATEWAY_TOKEN);
    reload_and_wait_log(env, "Reload 1: changed: nothing\n");
    test_env_wait_log(env, "Reload 1: ACCOUNT_ID has changed, which requires a restart");
    test_env_wait_log(env, "Reload 1: keeping the old SERVICE_TOKEN until the restart");
    expect_delivery(env, 1);
    write_connection_settings(
        env, path, TEST_ACCOUNT, NEW_TOKEN, other_url, url, TEST_GATEWAY_TOKEN);
    reload_and_wait_log(env, "Reload 2: changed: nothing\n");
    test_env_wait_log(env, "Reload 2: keeping the old SERVICE_TOKEN");
    expect_delivery(env, 2);
    write_connection_settings(
        env, path, TEST_ACCOUNT, NEW_TOKEN, url, other_url, "of-another-gateway");
    json_decref(test_env_post(env, "/sandbox/token", json_pack("{s:s}", "secret", NEW_SECRET)));
    reload_and_wait_log(env, "Reload 3: changed: SERVICE_TOKEN\n");
    test_env_wait_log(env, "Reload 3: keeping the old OPENCLAW_GATEWAY_TOKEN until the restart");
    assert_false(process_has_output(&env->runtime, "Reload 3: keeping the old SERVICE_TOKEN"));
    expect_delivery(env, 3);
    test_env_stop_runtime(env);
}

/* The writer of a pipe, or a disk of the network, may keep its reader waiting forever. */
static void test_sighup_does_not_wait_for_a_file(void **state)
{
    struct test_env *env = *state;
    char path[PATH_BYTES];
    start_with_token_file(env, TEST_TOKEN "\n", path);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkfifo(path, 0600), 0);
    int writer = open(path, O_RDWR | O_CLOEXEC);
    assert_true(writer >= 0);
    process_signal(&env->runtime, SIGHUP);
    process_signal(&env->runtime, SIGUSR1);
    test_env_wait_log(env, "workers are busy");
    test_env_stop_runtime(env);
    close(writer);
}

/* The same with a reader that hangs, whatever the file. */
static void test_reloads_wait_for_each_other_only(void **state)
{
    struct test_env *env = *state;
    env->runtime_program = "stop-points/mission-control-runtime";
    test_env_start_runtime(env, STRINGS("MISSION_CONTROL_STOP_AT=reading_settings:2:hang",
                                    "MISSION_CONTROL_HANG_LIMIT_MS=60000"));
    reload_and_wait_log(env, "Reload 1: changed: nothing\n");
    process_signal(&env->runtime, SIGHUP);
    /* Signals are read in the order of their numbers, so SIGHUP has been when this is logged. */
    process_signal(&env->runtime, SIGUSR1);
    test_env_wait_log(env, "workers are busy");
    reload_and_wait_log(env, "Reload 2 is still reading the settings; another one follows");
    process_signal(&env->runtime, SIGUSR2);
    test_env_wait_log(env, "paused by operator");
    assert_true(test_env_health_has(env, "/livez", "alive"));
    json_decref(board_load(env, 1, 1));
    process_signal(&env->runtime, SIGUSR2);
    test_env_wait(env, "delivered=1");
    test_env_stop_runtime(env);
}

static void test_sighup_during_a_reload_is_not_lost(void **state)
{
    struct test_env *env = *state;
    char path[PATH_BYTES];
    enum { SIGNALS = 20 };
    start_with_token_file(env, TEST_TOKEN "\n", path);
    json_decref(test_env_post(env, "/sandbox/token", json_pack("{s:s}", "secret", NEW_SECRET)));
    for (int i = 0; i < SIGNALS; i++)
        process_signal(&env->runtime, SIGHUP);
    write_file(env, "token", NEW_TOKEN "\n", path);
    /* However many of them were merged, a reload begins after this one. */
    reload_and_wait_log(env, "changed: SERVICE_TOKEN\n");
    json_decref(board_load(env, 1, 1));
    test_env_wait(env, "delivered=1");
    test_env_stop_runtime(env);
}

static void test_sigusr1_logs_every_worker(void **state)
{
    struct test_env *env = *state;
    char id[ID_BYTES];
    char words[LINE_BYTES];
    char for_ms[32];
    test_env_start_runtime(env, STRINGS("DELIVERY_MAX_CONCURRENT_SESSIONS=2"));
    hold_one_run(env, id);
    process_signal(&env->runtime, SIGUSR1);
    test_env_wait_log(env, "info [Runtime] 1 of 2 workers are busy held=1 ");
    snprintf(words, sizeof words, ": delivers %s agent=worker1 stage=sending for_ms=", id);
    assert_true(process_wait_output(&env->runtime, words, TEST_WAIT_MS, for_ms, sizeof for_ms));
    assert_in_range(strtol(for_ms, NULL, 10), 0, TEST_WAIT_MS);
    test_env_wait_log(env, ": idle for_ms=");
    test_env_wait_log(env, "Worker 1: ");
    test_env_wait_log(env, "Worker 2: ");
    board_clear_faults(env);
    test_env_wait(env, "delivered=1");
    test_env_stop_runtime(env);
}

static void expect_paused(struct test_env *env, bool paused)
{
    test_env_wait_words(
        env, "/health", paused ? "\"heldByHand\": true" : "\"heldByHand\": false", true);
}

/* Pausing holds new sends only: the run in flight completes and its reply is written. */
static void test_sigusr2_pauses_and_resumes_sends(void **state)
{
    struct test_env *env = *state;
    char id[ID_BYTES];
    test_env_start_runtime(env, STRINGS("AGENT_SYNC_INTERVAL=100"));
    hold_one_run(env, id);
    expect_paused(env, false);
    process_signal(&env->runtime, SIGUSR2);
    test_env_wait_log(env, "sends paused by operator");
    expect_paused(env, true);
    json_decref(test_env_post(env, "/sandbox/load",
        json_pack("{s:i, s:i, s:f}", "notifications", 3, "agents", 3, "heartbeatInterval",
            SHORT_INTERVAL)));
    test_env_list_agents(env, true);
    board_clear_faults(env);
    test_env_wait(env, "delivered=1");
    test_env_wait_calls(env, "listUndeliveredNotifications", 3);
    /* Enough time for heartbeats to fall due. */
    test_env_wait_calls(env, "listAgents", 10);
    assert_int_equal(test_env_stat(env, "gateway", "requests"), 1);
    process_signal(&env->runtime, SIGUSR2);
    test_env_wait_log(env, "sends resumed by operator");
    expect_paused(env, false);
    test_env_wait(env, "delivered=4&undelivered=0");
    /* The four deliveries and two heartbeats. */
    test_env_wait(env, "requests=6");
    test_env_stop_runtime(env);
}

/* Runs a command beside the runtime, which must succeed and print the words. */
static void expect_command_prints(struct test_env *env, const char *command, const char *words)
{
    test_env_launch(env, &env->second, NULL, STRINGS(command));
    assert_int_equal(process_wait_exit(&env->second, TEST_WAIT_MS), 0);
    assert_true(process_wait_output(&env->second, words, TEST_WAIT_MS, NULL, 0));
    process_fini(&env->second);
}

/* Unlike the signal, which toggles, and cannot be repeated when one is not sure that it came. */
static void test_hold_and_release_are_idempotent(void **state)
{
    struct test_env *env = *state;
    test_env_start_runtime(env, NULL);
    expect_command_prints(env, "release", "nothing to do: sends are not paused");
    expect_command_prints(env, "hold", "sends are paused; agents are not asked until release");
    expect_paused(env, true);
    expect_command_prints(env, "hold", "nothing to do: sends are paused");
    expect_paused(env, true);
    json_decref(board_load(env, 1, 1));
    test_env_wait_calls(env, "listUndeliveredNotifications", 3);
    assert_int_equal(test_env_stat(env, "gateway", "requests"), 0);
    process_signal(&env->runtime, SIGUSR2);
    test_env_wait_log(env, "sends resumed by operator (SIGUSR2)");
    test_env_wait(env, "delivered=1");
    expect_command_prints(env, "hold", "sends are paused");
    expect_command_prints(env, "release", "sends are not paused");
    expect_paused(env, false);
    test_env_wait_log(env, "sends resumed by operator (release)");
    test_env_stop_runtime(env);
    test_env_launch(env, &env->second, NULL, STRINGS("hold"));
    assert_int_equal(process_wait_exit(&env->second, TEST_WAIT_MS), 69);
}

/* Waits until a pending signal has been taken, so another like it does not merge with it. */
static void wait_until_signal_taken(const struct process *process, int number)
{
    char path[64];
    char line[LINE_BYTES];
    int64_t deadline_ms = clock_monotonic_ms() + (int64_t)TEST_WAIT_MS * process_timeout_scale();
    bool pending = true;
    snprintf(path, sizeof path, "/proc/%d/status", (int)process->pid);
    while (pending && clock_monotonic_ms() < deadline_ms) {
        FILE *file = fopen(path, "re");
        assert_non_null(file);
        while (fgets(line, sizeof line, file) != NULL)
            if (strncmp(line, "ShdPnd:", 7) == 0)
                pending = (strtoull(line + 7, NULL, 16) >> (number - 1) & 1) != 0;
        fclose(file);
        usleep(1000);
    }
    assert_false(pending);
}

/* So that the test may fill the pipe whatever user runs it. */
static const char *const accessible[] = {"MISSION_CONTROL_DEBUG_CORE=on", NULL};

/* Stalls the log reader until lines are dropped; the second signal is not taken before. */
static void stall_log_reader(struct test_env *env)
{
    process_stall_output(&env->runtime);
    for (int i = 0; i < 2; i++) {
        process_signal(&env->runtime, SIGUSR1);
        wait_until_signal_taken(&env->runtime, SIGUSR1);
    }
}

/* No thread waits for the log reader; dropped lines are reported once it reads again. */
static void test_stalled_log_reader_blocks_no_delivery(void **state)
{
    struct test_env *env = *state;
    test_env_start_runtime(env, accessible);
    stall_log_reader(env);
    json_decref(board_load(env, 40, 40));
    test_env_wait(env, "delivered=40&undelivered=0");
    process_resume_output(&env->runtime);
    test_env_wait_log(env, "warn [Log] dropped ");
    json_decref(board_load(env, 1, 1));
    test_env_wait(env, "delivered=41&undelivered=0");
    test_env_stop_runtime(env);
}

static void test_stalled_log_reader_does_not_block_shutdown(void **state)
{
    struct test_env *env = *state;
    test_env_start_runtime(env, accessible);
    stall_log_reader(env);
    test_env_stop_runtime(env);
}

static void test_second_signal_exits_with_a_stalled_log_reader(void **state)
{
    struct test_env *env = *state;
    char id[ID_BYTES];
    test_env_start_runtime(env, accessible);
    hold_one_run(env, id);
    stall_log_reader(env);
    process_signal(&env->runtime, SIGTERM);
    wait_until_signal_taken(&env->runtime, SIGTERM);
    process_signal(&env->runtime, SIGTERM);
    assert_int_equal(process_wait_exit(&env->runtime, TEST_WAIT_MS), 128 + SIGTERM);
    board_clear_faults(env);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_IN_ENV(test_hold_and_release_are_idempotent),
        TEST_IN_ENV(test_sighup_applies_a_rotated_service_token),
        TEST_IN_ENV(test_sighup_with_a_broken_token_file_changes_nothing),
        TEST_IN_ENV(test_sighup_applies_the_env_file_as_a_whole),
        TEST_IN_ENV(test_sighup_rejects_the_token_of_another_address),
        TEST_IN_ENV(test_sighup_does_not_wait_for_a_file),
        TEST_IN_ENV(test_reloads_wait_for_each_other_only),
        TEST_IN_ENV(test_sighup_during_a_reload_is_not_lost),
        TEST_ON_BOTH(test_sigusr1_logs_every_worker),
        TEST_ON_BOTH(test_sigusr2_pauses_and_resumes_sends),
        TEST_ON_BOTH(test_stalled_log_reader_blocks_no_delivery),
        TEST_IN_ENV(test_stalled_log_reader_does_not_block_shutdown),
        TEST_IN_ENV(test_second_signal_exits_with_a_stalled_log_reader),
    };
    return cmocka_run_group_tests_name("signals", tests, NULL, NULL);
}
