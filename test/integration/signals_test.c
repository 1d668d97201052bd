/* What the signals do that do not end the run: settings read again, work told, sends held. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../lib/board.h"
#include "base/containers.h"
#include "base/sync.h"

#define NEW_SECRET "fedcba9876543210fedcba9876543210"
#define NEW_TOKEN "mc_service_" TEST_ACCOUNT "_" NEW_SECRET

/* In minutes: of the heartbeats of agents that a test wants to see woken. */
static const double SHORT_INTERVAL = 0.005;

enum { PATH_BYTES = 512, LINE_BYTES = 256 };

/* Writes a file of the world, and the assignment that names it into variable. */
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
    test_env_start_runtime(env, (const char *[]){"SERVICE_TOKEN", variable, NULL});
}

static void hang_up(struct test_env *env, const char *words)
{
    process_signal(&env->runtime, SIGHUP);
    test_env_wait_log(env, words);
}

/* Loads one notification and waits until its agent is held by a rule; its id goes into id. */
static void hold_one(struct test_env *env, char id[static ID_BYTES])
{
    board_hold_agents(env, "held");
    json_t *rows = board_load(env, 1, 1);
    text_copy(id, ID_BYTES, board_string(json_array_get(rows, 0), "id"));
    json_decref(rows);
    test_env_wait(env, "held=1");
}

static void test_rotated_service_token_is_taken_over(void **state)
{
    struct test_env *env = *state;
    char path[PATH_BYTES];
    char id[ID_BYTES];
    start_with_token_file(env, TEST_TOKEN "\n", path);
    hold_one(env, id);
    json_decref(test_env_post(env, "/sandbox/token", json_pack("{s:s}", "secret", NEW_SECRET)));
    write_file(env, "token", NEW_TOKEN "\n", path);
    hang_up(env, "Reload 1: changed: SERVICE_TOKEN\n");
    board_clear_faults(env);
    test_env_wait(env, "delivered=1&undelivered=0");
    assert_int_equal(board_requests_for(env, id), 1);
    json_decref(board_load(env, 3, 1));
    test_env_wait(env, "delivered=4&undelivered=0");
    hang_up(env, "Reload 2: changed: nothing\n");
    test_env_stop_runtime(env);
    assert_false(process_has_output(&env->runtime, NEW_SECRET));
    json_t *rows = board_documents(env, "runtimes");
    assert_string_equal(board_string(json_array_get(rows, 0), "status"), "offline");
    json_decref(rows);
}

static void test_broken_token_file_changes_nothing(void **state)
{
    static const char *const broken[] = {
        "", "no-token-at-all", ("mc_service_k57other_" NEW_SECRET)};
    struct test_env *env = *state;
    char path[PATH_BYTES];
    char words[LINE_BYTES];
    start_with_token_file(env, TEST_TOKEN, path);
    for (unsigned i = 0; i < sizeof broken / sizeof broken[0]; i++) {
        write_file(env, "token", broken[i], path);
        snprintf(words, sizeof words, "Reload %u: the settings are wrong (above); the old", i + 1);
        hang_up(env, words);
    }
    assert_int_equal(remove(path), 0);
    hang_up(env, "Reload 4: the settings are wrong");
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
    test_env_launch(env, &env->runtime,
        (const char *[]){"OPENCLAW_GATEWAY_TOKEN", "DELIVERY_INTERVAL", NULL},
        (const char *[]){"--env-file", path, NULL});
    test_env_wait_log(env, "started successfully");
}

/* One wrong setting keeps the others from being taken over, too. */
static void test_env_file_is_read_again_as_a_whole(void **state)
{
    struct test_env *env = *state;
    char path[PATH_BYTES];
    write_file(env, "env", "OPENCLAW_GATEWAY_TOKEN=wrong-for-now\nDELIVERY_INTERVAL=200\n", path);
    start_with_env_file(env, path);
    test_env_wait_log(env, "No agent is asked for now");
    json_decref(board_load(env, 1, 1));
    write_file(env, "env",
        "OPENCLAW_GATEWAY_TOKEN=" TEST_GATEWAY_TOKEN "\nLOG_LEVEL=loud\nDELIVERY_INTERVAL=200\n",
        path);
    hang_up(env, "Reload 1: the settings are wrong");
    assert_true(process_has_output(&env->runtime, "Reload 1: LOG_LEVEL \"loud\" is not one of"));
    write_file(env, "env",
        "OPENCLAW_GATEWAY_TOKEN=" TEST_GATEWAY_TOKEN "\nLOG_LEVEL=debug\nDELIVERY_INTERVAL=201\n",
        path);
    assert_false(process_has_output(&env->runtime, "debug [Delivery]"));
    hang_up(env, "Reload 2: changed: LOG_LEVEL OPENCLAW_GATEWAY_TOKEN\n");
    test_env_wait_log(env, "Reload 2: DELIVERY_INTERVAL has changed; that needs a restart");
    test_env_wait_log(env, "debug [Delivery] Listed");
    test_env_wait(env, "delivered=1&undelivered=0");
    test_env_stop_runtime(env);
    assert_false(process_has_output(&env->runtime, TEST_GATEWAY_TOKEN));
}

static void write_remotes(struct test_env *env, char *path, const char *account,
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

static void must_deliver_another(struct test_env *env, int number)
{
    char condition[LINE_BYTES];
    json_decref(board_load(env, 1, 1));
    snprintf(condition, sizeof condition, "delivered=%d&undelivered=0", number);
    test_env_wait(env, condition);
}

/* Else a secret would go to the old address, or every call fail until the restart. */
static void test_token_of_another_address_is_not_taken_over(void **state)
{
    static const char other_url[] = "http://127.0.0.1:9";
    static const char other_token[] = "mc_service_k57other_" NEW_SECRET;
    static const char *const unset[] = {"ACCOUNT_ID", "SERVICE_TOKEN", "CONVEX_URL",
        "OPENCLAW_GATEWAY_URL", "OPENCLAW_GATEWAY_TOKEN", NULL};
    struct test_env *env = *state;
    const char *url = env->url;
    char path[PATH_BYTES];
    write_remotes(env, path, TEST_ACCOUNT, TEST_TOKEN, url, url, TEST_GATEWAY_TOKEN);
    test_env_launch(env, &env->runtime, unset, (const char *[]){"--env-file", path, NULL});
    test_env_wait_log(env, "started successfully");
    write_remotes(env, path, "k57other", other_token, url, url, TEST_GATEWAY_TOKEN);
    hang_up(env, "Reload 1: changed: nothing\n");
    test_env_wait_log(env, "Reload 1: ACCOUNT_ID has changed; that needs a restart");
    test_env_wait_log(
        env, "Reload 1: SERVICE_TOKEN belongs to ACCOUNT_ID and CONVEX_URL; it stays");
    must_deliver_another(env, 1);
    write_remotes(env, path, TEST_ACCOUNT, NEW_TOKEN, other_url, url, TEST_GATEWAY_TOKEN);
    hang_up(env, "Reload 2: changed: nothing\n");
    test_env_wait_log(env, "Reload 2: SERVICE_TOKEN belongs to ");
    must_deliver_another(env, 2);
    write_remotes(env, path, TEST_ACCOUNT, NEW_TOKEN, url, other_url, "of-another-gateway");
    json_decref(test_env_post(env, "/sandbox/token", json_pack("{s:s}", "secret", NEW_SECRET)));
    hang_up(env, "Reload 3: changed: SERVICE_TOKEN\n");
    test_env_wait_log(
        env, "Reload 3: OPENCLAW_GATEWAY_TOKEN belongs to OPENCLAW_GATEWAY_URL; it stays");
    assert_false(process_has_output(&env->runtime, "Reload 3: SERVICE_TOKEN belongs"));
    must_deliver_another(env, 3);
    test_env_stop_runtime(env);
}

static void test_work_is_told(void **state)
{
    struct test_env *env = *state;
    char id[ID_BYTES];
    char words[LINE_BYTES];
    char for_ms[32];
    test_env_start_runtime(env, (const char *[]){"DELIVERY_MAX_CONCURRENT_SESSIONS=2", NULL});
    hold_one(env, id);
    process_signal(&env->runtime, SIGUSR1);
    test_env_wait_log(env, "info [Runtime] 1 of 2 workers are busy held=1 ");
    snprintf(words, sizeof words, ": delivers %s agent=worker1 stage=sending for_ms=", id);
    assert_true(process_wait_output(&env->runtime, words, TEST_WAIT_MS, for_ms, sizeof for_ms));
    assert_in_range(strtol(for_ms, NULL, 10), 0, TEST_WAIT_MS);
    test_env_wait_log(env, ": idle for_ms=");
    assert_true(process_has_output(&env->runtime, "Worker 1: "));
    assert_true(process_has_output(&env->runtime, "Worker 2: "));
    board_clear_faults(env);
    test_env_wait(env, "delivered=1");
    test_env_stop_runtime(env);
}

static void must_be_held(struct test_env *env, bool held)
{
    char *body;
    assert_int_equal(test_env_health_get(env, "/health", &body), 200);
    assert_non_null(strstr(body, held ? "\"heldByHand\": true" : "\"heldByHand\": false"));
    free(body);
}

/* A run that is under way is no send: its reply is written while the others wait. */
static void test_sends_are_held_and_released(void **state)
{
    struct test_env *env = *state;
    char id[ID_BYTES];
    test_env_start_runtime(env, (const char *[]){"AGENT_SYNC_INTERVAL=100", NULL});
    hold_one(env, id);
    must_be_held(env, false);
    process_signal(&env->runtime, SIGUSR2);
    test_env_wait_log(env, "Sends are held by hand");
    must_be_held(env, true);
    json_decref(test_env_post(env, "/sandbox/load",
        json_pack("{s:i, s:i, s:f}", "notifications", 3, "agents", 3, "heartbeatInterval",
            SHORT_INTERVAL)));
    test_env_list_agents(env, true);
    board_clear_faults(env);
    test_env_wait(env, "delivered=1");
    test_env_wait_calls(env, "listUndeliveredNotifications", 3);
    /* Long enough for wake-ups to come due. */
    test_env_wait_calls(env, "listAgents", 10);
    assert_int_equal(test_env_stat(env, "gateway", "requests"), 1);
    process_signal(&env->runtime, SIGUSR2);
    test_env_wait_log(env, "Sends are no longer held by hand");
    must_be_held(env, false);
    test_env_wait(env, "delivered=4&undelivered=0");
    /* The four deliveries, and wake-ups. */
    test_env_wait(env, "requests=6");
    test_env_stop_runtime(env);
}

/* Waits until a pending signal has been taken, so that another one like it is a second one. */
static void wait_until_taken(const struct process *process, int number)
{
    char path[64];
    char line[LINE_BYTES];
    int64_t deadline_ms = clock_monotonic_ms() + TEST_WAIT_MS;
    bool pending = true;
    snprintf(path, sizeof path, "/proc/%d/status", (int)process->pid);
    while (pending && clock_monotonic_ms() < deadline_ms) {
        FILE *file = fopen(path, "re");
        assert_non_null(file);
        while (fgets(line, sizeof line, file) != NULL)
            if (strncmp(line, "ShdPnd:", 7) == 0)
                pending = (strtoull(line + 7, NULL, 16) >> (number - 1) & 1) != 0;
        fclose(file);
    }
    assert_false(pending);
}

/* Has the runtime drop lines: before that it would not take the second signal. */
static void leave_log_unread(struct test_env *env)
{
    process_stall_output(&env->runtime);
    for (int i = 0; i < 2; i++) {
        process_signal(&env->runtime, SIGUSR1);
        wait_until_taken(&env->runtime, SIGUSR1);
    }
}

/* Nothing waits for whoever reads the log; what was lost is said once it is read again. */
static void test_unread_log_holds_nothing_up(void **state)
{
    struct test_env *env = *state;
    test_env_start_runtime(env, NULL);
    leave_log_unread(env);
    json_decref(board_load(env, 40, 40));
    test_env_wait(env, "delivered=40&undelivered=0");
    process_resume_output(&env->runtime);
    test_env_wait_log(env, "warn [Log] dropped ");
    json_decref(board_load(env, 1, 1));
    test_env_wait(env, "delivered=41&undelivered=0");
    test_env_stop_runtime(env);
}

static void test_unread_log_does_not_hold_up_the_stop(void **state)
{
    struct test_env *env = *state;
    test_env_start_runtime(env, NULL);
    leave_log_unread(env);
    test_env_stop_runtime(env);
}

static void test_second_signal_ends_it_though_nobody_reads(void **state)
{
    struct test_env *env = *state;
    char id[ID_BYTES];
    test_env_start_runtime(env, NULL);
    hold_one(env, id);
    leave_log_unread(env);
    process_signal(&env->runtime, SIGTERM);
    wait_until_taken(&env->runtime, SIGTERM);
    process_signal(&env->runtime, SIGTERM);
    assert_int_equal(process_wait_exit(&env->runtime, TEST_WAIT_MS), 128 + SIGTERM);
    board_clear_faults(env);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_IN_ENV(test_rotated_service_token_is_taken_over),
        TEST_IN_ENV(test_broken_token_file_changes_nothing),
        TEST_IN_ENV(test_env_file_is_read_again_as_a_whole),
        TEST_IN_ENV(test_token_of_another_address_is_not_taken_over),
        TEST_IN_ENV(test_work_is_told),
        TEST_IN_ENV(test_sends_are_held_and_released),
        TEST_IN_ENV(test_unread_log_holds_nothing_up),
        TEST_IN_ENV(test_unread_log_does_not_hold_up_the_stop),
        TEST_IN_ENV(test_second_signal_ends_it_though_nobody_reads),
    };
    return cmocka_run_group_tests_name("signals", tests, NULL, NULL);
}
