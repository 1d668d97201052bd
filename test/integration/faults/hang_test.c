/*
 * A thread that hangs ends the process, whichever it is: each of them is made to hang at a stop
 * point, with a limit that is shorter than that of a release.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "../../lib/agent_caller.h"
#include "../../lib/board.h"
#include "../../lib/loopback.h"

enum { LIMIT_MS = 1200, SETTING_BYTES = 128 };

static int hang_setup(void **state)
{
    int result = test_env_setup(state);
    if (result == 0)
        ((struct test_env *)*state)->runtime_program = "stop-points/mission-control-runtime";
    return result;
}

#define TEST_OF_HANG(test, ...)               \
    cmocka_unit_test_prestate_setup_teardown( \
        (test), hang_setup, test_env_teardown, (&(struct test_env_options){__VA_ARGS__}))

/* The settings by which the thread of that name hangs when it ends its count-th wait. */
struct hang_settings {
    char stop_at[SETTING_BYTES];
    char limit[SETTING_BYTES];
};

static void make_hang_settings(struct hang_settings *settings, const char *thread, int count)
{
    snprintf(settings->stop_at, SETTING_BYTES, "MISSION_CONTROL_STOP_AT=%s:%d:hang", thread, count);
    snprintf(settings->limit, SETTING_BYTES, "MISSION_CONTROL_HANG_LIMIT_MS=%d",
        LIMIT_MS * process_timeout_scale());
}

/* Fails the test unless the process ends because of that thread. */
static void expect_end(struct test_env *env, const char *thread)
{
    char rest[256] = "";
    int status = process_wait_exit(&env->runtime, 2 * TEST_WAIT_MS);
    bool is_said =
        process_wait_output(&env->runtime, "which hang: ", TEST_WAIT_MS, rest, sizeof rest);
    if (status == EX_SOFTWARE && is_said && strstr(rest, thread) != NULL)
        return;
    process_dump_output(&env->runtime, "runtime");
    fail_msg("status %d, threads \"%s\" instead of %s", status, rest, thread);
}

static void launch(struct test_env *env, const struct hang_settings *hang, const char *further)
{
    test_env_launch(env, &env->runtime,
        STRINGS(hang->stop_at, hang->limit, "HEALTH_CHECK_INTERVAL=50", "AGENT_SYNC_INTERVAL=50",
            "DELIVERY_INTERVAL=50", "DELIVERY_MAX_CONCURRENT_SESSIONS=1", further),
        NULL);
}

/* Threads that have something to do of their own accord. */
static void test_main_and_control_threads(void **state)
{
    struct test_env *env = *state;
    static const char *const threads[] = {
        "main", "mc-poll", "mc-beat", "mc-agents", "mc-report", "mc-probe"};
    json_decref(board_load(env, 1, 1));
    test_env_list_agents(env, true);
    for (size_t i = 0; i < sizeof threads / sizeof threads[0]; i++) {
        struct hang_settings hang;
        make_hang_settings(&hang, threads[i], 1);
        launch(env, &hang, NULL);
        expect_end(env, threads[i]);
    }
}

/* Later on as well, here while another thread waits for it in the shutdown. */
static void test_hang_during_the_shutdown(void **state)
{
    struct test_env *env = *state;
    struct hang_settings hang;
    char id[ID_BYTES];
    make_hang_settings(&hang, "mc-send-01", 1);
    board_load_one(env, id);
    board_hold_agents(env, "held");
    launch(env, &hang, "DELIVERY_INTERVAL=10");
    test_env_wait_log(env, "started successfully");
    test_env_wait_log(env, "hanging at mc-send-01");
    process_signal(&env->runtime, SIGTERM);
    expect_end(env, "mc-send-01");
}

static void test_worker(void **state)
{
    struct test_env *env = *state;
    struct hang_settings hang;
    char id[ID_BYTES];
    make_hang_settings(&hang, "mc-send-01", 3);
    board_load_one(env, id);
    launch(env, &hang, NULL);
    expect_end(env, "mc-send-01");
    /* What it had in hand is delivered by the next one. */
    env->runtime_program = NULL;
    test_env_start_runtime(env, NULL);
    test_env_wait(env, "delivered=1&undelivered=0");
    test_env_stop_runtime(env);
}

static void test_http_server(void **state)
{
    struct test_env *env = *state;
    struct hang_settings hang;
    make_hang_settings(&hang, "mc-http", 1);
    test_env_launch(env, &env->runtime, STRINGS(hang.stop_at, hang.limit), NULL);
    expect_end(env, "mc-http");
}

/*
 * Sends requests, each of which some thread of the API takes, without waiting for the answers. The
 * process may end before the last.
 */
static void send_agent_requests(struct test_env *env, const char *credential)
{
    enum { REQUESTS = 16, REQUEST_BYTES = 1024 };
    char request[REQUEST_BYTES];
    int fds[REQUESTS];
    int length = snprintf(request, sizeof request,
        "POST /agent/task-status HTTP/1.1\r\nHost: h\r\nx-openclaw-session-key: %s\r\n"
        "Content-Length: 2\r\n\r\n{}",
        credential);
    for (int i = 0; i < REQUESTS; i++) {
        fds[i] = loopback_connect(env->health_port);
        send(fds[i], request, (size_t)length, MSG_NOSIGNAL);
    }
    for (int i = 0; i < REQUESTS; i++)
        close(fds[i]);
}

static void test_thread_of_the_agents_api(void **state)
{
    struct test_env *env = *state;
    struct hang_settings hang;
    char credential[AGENT_CREDENTIAL_BYTES];
    make_hang_settings(&hang, "mc-agent-1", 1);
    agent_caller_start(env, STRINGS(hang.stop_at, hang.limit));
    agent_caller_credential(env, "jarvis", credential);
    send_agent_requests(env, credential);
    expect_end(env, "mc-agent-1");
}

static void test_version_probe(void **state)
{
    struct test_env *env = *state;
    struct hang_settings hang;
    char path[TMP_DIR_BYTES + sizeof "PATH=/openclaw"];
    make_hang_settings(&hang, "mc-version", 1);
    snprintf(path, sizeof path, "%s/openclaw", env->dir);
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    fputs("#!/bin/sh\necho 2026.9.6\n", file);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(chmod(path, 0700), 0);
    snprintf(path, sizeof path, "PATH=%s", env->dir);
    test_env_launch(
        env, &env->runtime, STRINGS(hang.stop_at, hang.limit, path, "OPENCLAW_VERSION"), NULL);
    expect_end(env, "mc-version");
}

/*
 * As in a container: the runtime is the child of process 1, which ends with its status and so ends
 * the gateway, too.
 */
static void test_gateway_supervisor_in_a_container(void **state)
{
    struct test_env *env = *state;
    struct hang_settings hang;
    make_hang_settings(&hang, "mc-gateway", 1);
    if (!process_isolate_next()) {
        print_message("skipped: cannot create a PID namespace here: %s\n", strerror(errno));
        skip();
    }
    launch(env, &hang, "OPENCLAW_GATEWAY_COMMAND=sh -c 'echo ready; exec sleep 1000'");
    expect_end(env, "mc-gateway");
}

/* An agent that takes longer than a limit that no stall of the machine exceeds. */
static void test_waits_are_no_hangs(void **state)
{
    struct test_env *env = *state;
    char limit[SETTING_BYTES];
    int limit_ms = 3000 * process_timeout_scale();
    snprintf(limit, sizeof limit, "MISSION_CONTROL_HANG_LIMIT_MS=%d", limit_ms);
    board_set(env, json_pack("{s:i}", "gateway_latency_ms", 2 * limit_ms));
    json_decref(board_load(env, 1, 1));
    test_env_start_runtime(env, STRINGS(limit));
    test_env_wait(env, "delivered=1&undelivered=0");
    assert_true(test_env_health_has(env, "/livez", "alive"));
    test_env_stop_runtime(env);
    assert_false(process_has_output(&env->runtime, "which hang"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_OF_HANG(test_main_and_control_threads, .backend = "v0"),
        TEST_OF_HANG(test_hang_during_the_shutdown, .backend = "v0"),
        TEST_OF_HANG(test_worker, .backend = "v1"),
        TEST_OF_HANG(test_http_server, .backend = "v0"),
        TEST_OF_HANG(test_thread_of_the_agents_api, .backend = "v1"),
        TEST_OF_HANG(test_version_probe, .backend = "v0"),
        TEST_OF_HANG(test_gateway_supervisor_in_a_container, .backend = "v0"),
        TEST_OF_HANG(test_waits_are_no_hangs, .backend = "v1"),
    };
    return cmocka_run_group_tests_name("hang", tests, NULL, NULL);
}
