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

static void hold_agents(struct world *world)
{
    board_gateway_fault(world, json_pack("{s:s, s:s}", "action", "hold", "name", "agent"));
}

static void test_every_bad_setting_is_said_at_once(void **state)
{
    struct world *world = *state;
    world_launch(world, &world->runtime,
        (const char *[]){"ACCOUNT_ID", "DELIVERY_INTERVAL=30x1", "HEALTH_PORT=99999",
            "AGENT_SYNC_INTERVAL=-5", "LOG_LEVEL=loud", "LOG_FORMAT=xml", NULL},
        NULL);
    assert_int_equal(process_wait_exit(&world->runtime, WORLD_WAIT_MS), 78);
    static const char *const named[] = {"ACCOUNT_ID", "DELIVERY_INTERVAL", "HEALTH_PORT",
        "AGENT_SYNC_INTERVAL", "LOG_LEVEL", "LOG_FORMAT"};
    for (size_t i = 0; i < sizeof named / sizeof named[0]; i++)
        assert_true(process_wait_for(&world->runtime, named[i], WORLD_WAIT_MS, NULL, 0));
    assert_false(process_said(&world->runtime, WORLD_SECRET));
}

static void test_check_config_shows_no_secret(void **state)
{
    struct world *world = *state;
    world_launch(world, &world->runtime, NULL, (const char *[]){"--check-config", NULL});
    assert_int_equal(process_wait_exit(&world->runtime, WORLD_WAIT_MS), 0);
    assert_true(process_wait_for(&world->runtime, "SERVICE_TOKEN=***", WORLD_WAIT_MS, NULL, 0));
    assert_false(process_said(&world->runtime, WORLD_SECRET));
    assert_false(process_said(&world->runtime, WORLD_GATEWAY_TOKEN));
}

static void test_unknown_argument_is_a_usage_error(void **state)
{
    struct world *world = *state;
    world_launch(world, &world->runtime, NULL, (const char *[]){"--frobnicate", NULL});
    assert_int_equal(process_wait_exit(&world->runtime, WORLD_WAIT_MS), 64);
}

static void test_env_file_gives_settings(void **state)
{
    struct world *world = *state;
    char path[300];
    snprintf(path, sizeof path, "%s/settings.env", world->folder);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fprintf(file, "# settings\nexport DROPLET_REGION=\"fra1\" # where\nDELIVERY_INTERVAL=1\n");
    fclose(file);
    /* The environment's own DELIVERY_INTERVAL wins, else the file's would be an error. */
    world_launch(
        world, &world->runtime, NULL, (const char *[]){"--env-file", path, "--check-config", NULL});
    assert_int_equal(process_wait_exit(&world->runtime, WORLD_WAIT_MS), 0);
    assert_true(process_wait_for(&world->runtime, "DROPLET_REGION=fra1", WORLD_WAIT_MS, NULL, 0));
    assert_true(process_wait_for(&world->runtime, "DELIVERY_INTERVAL=200", WORLD_WAIT_MS, NULL, 0));
}

static void test_second_runtime_on_a_state_folder_is_refused(void **state)
{
    struct world *world = *state;
    world_start_runtime(world, NULL);
    world_launch(world, &world->second, NULL, NULL);
    assert_int_equal(process_wait_exit(&world->second, WORLD_WAIT_MS), 75);
    char holder[64];
    snprintf(holder, sizeof holder, "process %d", (int)world->runtime.pid);
    assert_true(process_wait_for(&world->second, holder, WORLD_WAIT_MS, NULL, 0));
    world_stop_runtime(world);
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
    struct world *world = *state;
    unsigned port;
    char setting[64];
    int fd = listen_somewhere(&port);
    snprintf(setting, sizeof setting, "HEALTH_PORT=%u", port);
    world_launch(world, &world->runtime, (const char *[]){setting, NULL}, NULL);
    assert_int_equal(process_wait_exit(&world->runtime, WORLD_WAIT_MS), 69);
    close(fd);
}

static void test_stop_lets_a_running_send_end(void **state)
{
    struct world *world = *state;
    json_t *rows = board_load(world, 3, 1);
    hold_agents(world);
    world_start_runtime(world, NULL);
    world_wait(world, "in_flight=1");
    process_signal(&world->runtime, SIGTERM);
    assert_true(process_wait_for(&world->runtime, "that are under way", WORLD_WAIT_MS, NULL, 0));
    board_release(world, "agent");
    assert_int_equal(process_wait_exit(&world->runtime, WORLD_WAIT_MS), 0);
    assert_int_equal(world_stat(world, "gateway", "requests"), 1);
    assert_int_equal(world_stat(world, NULL, "delivered"), 1);
    json_decref(rows);
}

static void test_stop_ends_hung_sends_at_the_grace(void **state)
{
    struct world *world = *state;
    json_decref(board_load(world, 8, 8));
    hold_agents(world);
    world_start_runtime(world, (const char *[]){"SHUTDOWN_GRACE_MS=1500", NULL});
    world_wait(world, "in_flight=8");
    int64_t began_ms = clock_monotonic_ms();
    process_signal(&world->runtime, SIGTERM);
    assert_int_equal(process_wait_exit(&world->runtime, WORLD_WAIT_MS), 0);
    assert_true(clock_monotonic_ms() - began_ms < (int64_t)3500 * process_patience());
}

/* Calls that wait for their turn behind 28 that hang delay no loop, and are no reason to stay. */
static void test_calls_that_wait_for_their_turn(void **state)
{
    struct world *world = *state;
    json_decref(board_load(world, 40, 40));
    board_backend_fault(
        world, json_pack("{s:s, s:s}", "action", "createMessageFromAgent", "behaviour", "hang"));
    world_start_runtime(world, (const char *[]){"DELIVERY_MAX_CONCURRENT_SESSIONS=40",
                                   "SHUTDOWN_GRACE_MS=1500", "DELIVERY_INTERVAL=10", NULL});
    world_wait(world, "held=28");
    char polls[128];
    snprintf(polls, sizeof polls, "action=listUndeliveredNotifications&calls=%ld",
        world_stat(world, "backend", "listUndeliveredNotifications") + 20);
    world_wait(world, polls);
    assert_int_equal(world_stat(world, NULL, "held"), 28);
    int64_t began_ms = clock_monotonic_ms();
    world_stop_runtime(world);
    assert_in_range(clock_monotonic_ms() - began_ms, 0, 1500 + 2000);
}

static void test_second_signal_ends_at_once(void **state)
{
    struct world *world = *state;
    json_decref(board_load(world, 1, 1));
    hold_agents(world);
    world_start_runtime(world, (const char *[]){"SHUTDOWN_GRACE_MS=600000", NULL});
    world_wait(world, "in_flight=1");
    process_signal(&world->runtime, SIGTERM);
    assert_true(process_wait_for(&world->runtime, "that are under way", WORLD_WAIT_MS, NULL, 0));
    process_signal(&world->runtime, SIGINT);
    assert_int_equal(process_wait_exit(&world->runtime, WORLD_WAIT_MS), 128 + SIGINT);
}

static void test_health_and_version(void **state)
{
    struct world *world = *state;
    char *body;
    world_start_runtime(world, (const char *[]){"DROPLET_ID=d1", "DROPLET_REGION=fra1", NULL});
    world_wait(world, "action=listUndeliveredNotifications&calls=2");
    assert_int_equal(world_health_get(world, "/health?x=1", &body), 200);
    assert_non_null(strstr(body, "\"status\": \"healthy\""));
    assert_null(strstr(body, WORLD_SECRET));
    free(body);
    assert_int_equal(world_health_get(world, "/version", &body), 200);
    assert_string_equal(body,
        "{\"runtimeServiceVersion\":\"" MISSION_CONTROL_VERSION
        "\",\"openclawVersion\":\"2026.9.6\",\"dropletId\":\"d1\",\"region\":\"fra1\"}");
    free(body);
    assert_int_equal(world_health_get(world, "/nowhere", &body), 404);
    free(body);
    world_stop_runtime(world);
}

/* As a careless supervisor starts it: the log is lost then, and goes into no file of ours. */
static void test_missing_standard_descriptors(void **state)
{
    struct world *world = *state;
    char path[300];
    char lock[64];
    char expected[64];
    json_decref(board_load(world, 3, 1));
    world->redirection = "<&- >&- 2>&-";
    world_launch(world, &world->runtime, NULL, NULL);
    world_wait(world, "undelivered=0");
    snprintf(path, sizeof path, "%s/state/lock", world->folder);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    lock[fread(lock, 1, sizeof lock - 1, file)] = '\0';
    fclose(file);
    snprintf(expected, sizeof expected, "%d\n", (int)world->runtime.pid);
    assert_string_equal(lock, expected);
    process_signal(&world->runtime, SIGTERM);
    assert_int_equal(process_wait_exit(&world->runtime, WORLD_WAIT_MS), 0);
}

static void test_json_log_lines_are_json(void **state)
{
    struct world *world = *state;
    json_decref(board_load(world, 2, 1));
    world_start_runtime(world, (const char *[]){"LOG_FORMAT=json", NULL});
    world_wait(world, "delivered=2");
    world_stop_runtime(world);
    char *output = process_output(&world->runtime);
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
static void launch_with_descriptors(struct world *world, unsigned most)
{
    char script[64];
    char program[300];
    const char *build = getenv("MISSION_CONTROL_BUILD");
    snprintf(script, sizeof script, "ulimit -n %u && exec \"$0\"", most);
    snprintf(
        program, sizeof program, "%s/mission-control-runtime", build != NULL ? build : "build");
    world->runtime_program = "../../../../../../../../../../../../bin/sh";
    world_launch(world, &world->runtime, NULL, (const char *[]){"-c", script, program, NULL});
}

/* Where it can start at all, it can be stopped. */
static void test_few_descriptors_do_not_keep_it_from_ending(void **state)
{
    struct world *world = *state;
    for (unsigned most = 20; most <= 36; most += 4) {
        launch_with_descriptors(world, most);
        bool started =
            process_wait_for(&world->runtime, "started successfully", WORLD_WAIT_MS, NULL, 0);
        if (started)
            process_signal(&world->runtime, SIGTERM);
        assert_int_equal(process_wait_exit(&world->runtime, WORLD_WAIT_MS), started ? 0 : 71);
    }
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
#define IN_WORLD(test) cmocka_unit_test_setup_teardown(test, world_setup, world_teardown)
    const struct CMUnitTest tests[] = {
        IN_WORLD(test_every_bad_setting_is_said_at_once),
        IN_WORLD(test_check_config_shows_no_secret),
        IN_WORLD(test_unknown_argument_is_a_usage_error),
        IN_WORLD(test_env_file_gives_settings),
        IN_WORLD(test_second_runtime_on_a_state_folder_is_refused),
        IN_WORLD(test_busy_health_port_is_said),
        IN_WORLD(test_stop_lets_a_running_send_end),
        IN_WORLD(test_stop_ends_hung_sends_at_the_grace),
        IN_WORLD(test_calls_that_wait_for_their_turn),
        IN_WORLD(test_second_signal_ends_at_once),
        IN_WORLD(test_few_descriptors_do_not_keep_it_from_ending),
        IN_WORLD(test_health_and_version),
        IN_WORLD(test_missing_standard_descriptors),
        IN_WORLD(test_json_log_lines_are_json),
    };
    return cmocka_run_group_tests_name("process", tests, NULL, NULL);
}
