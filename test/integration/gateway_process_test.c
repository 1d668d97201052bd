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
static json_t *ask_for_process(struct world *world)
{
    char *body;
    assert_int_equal(world_health_get(world, "/health", &body), 200);
    json_t *health = json_loads(body, 0, NULL);
    free(body);
    assert_non_null(health);
    json_t *process = json_incref(json_object_get(json_object_get(health, "gateway"), "process"));
    json_decref(health);
    return process;
}

/* The process id in /health, 0 while none runs. */
static pid_t pid_of_gateway(struct world *world)
{
    json_t *process = ask_for_process(world);
    pid_t pid = (pid_t)json_integer_value(json_object_get(process, "pid"));
    json_decref(process);
    return pid;
}

static bool lives(pid_t group)
{
    return process_group_look(group, PROCESS_ANY_SESSION) == PROCESS_LIVES;
}

static void must_say(struct world *world, const char *words)
{
    if (process_wait_for(&world->runtime, words, WORLD_WAIT_MS, NULL, 0))
        return;
    process_show(&world->runtime, "runtime");
    fail_msg("the runtime does not say \"%s\"", words);
}

/* Starts the runtime with command as its gateway and returns the child's process id. */
static pid_t start_with(struct world *world, const char *command)
{
    char setting[SETTING_BYTES];
    snprintf(setting, sizeof setting, "OPENCLAW_GATEWAY_COMMAND=%s", command);
    world_start_runtime(world, (const char *[]){setting, NULL});
    must_say(world, "[Gateway process] Started ");
    must_say(world, "[Gateway] ready");
    pid_t pid = pid_of_gateway(world);
    assert_true(lives(pid));
    return pid;
}

/* A test that failed leaves a runtime, and that a gateway. */
static int teardown(void **state)
{
    struct world *world = *state;
    char folder[SETTING_BYTES];
    struct gateway_record record;
    process_end(&world->runtime);
    snprintf(folder, sizeof folder, "%s/state", world->folder);
    if (gateway_record_load(folder, &record, NULL) == 0)
        gateway_record_end(&record, 1000, -1);
    return world_teardown(state);
}

static bool has_record(const struct world *world)
{
    char path[SETTING_BYTES];
    snprintf(path, sizeof path, "%s/state/gateway.pid", world->folder);
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
    struct world *world, struct world *gateway, const char *further_setting)
{
    char command[SETTING_BYTES];
    char url[SETTING_BYTES];
    unsigned port = free_port();
    const char *build = getenv("MISSION_CONTROL_BUILD");
    snprintf(command, sizeof command,
        "OPENCLAW_GATEWAY_COMMAND='%s/mission-control-sandbox' --port %u",
        build != NULL ? build : "build", port);
    snprintf(url, sizeof url, "OPENCLAW_GATEWAY_URL=http://127.0.0.1:%u", port);
    *gateway = (struct world){.client = world->client};
    snprintf(gateway->url, sizeof gateway->url, "http://127.0.0.1:%u", port);
    world_start_runtime(world, (const char *[]){command, url, further_setting, NULL});
    must_say(world, "The gateway accepts connections after ");
    must_say(world, "[Gateway] listening on http://127.0.0.1:");
}

/* Undelivered notifications for count agents, one each, whom the gateway knows, too. */
static void load(struct world *world, struct world *gateway, int count)
{
    json_t *agents = json_array();
    for (int i = 1; i <= count; i++) {
        char slug[32];
        snprintf(slug, sizeof slug, "worker%d", i);
        json_array_append_new(agents, json_pack("{s:s}", "slug", slug));
    }
    json_decref(world_post(gateway, "/sandbox/seed", json_pack("{s:o}", "agents", agents)));
    json_decref(board_load(world, count, count));
}

static void hold_agents(struct world *gateway)
{
    board_gateway_fault(gateway, json_pack("{s:s, s:s}", "action", "hold", "name", "agent"));
}

static void test_gateway_is_started_used_and_stopped(void **state)
{
    struct world *world = *state;
    struct world gateway;
    char *body;
    start_with_sandbox(world, &gateway, NULL);
    json_t *process = ask_for_process(world);
    pid_t pid = (pid_t)json_integer_value(json_object_get(process, "pid"));
    assert_true(lives(pid));
    assert_int_equal(getpgid(pid), pid);
    assert_true(json_is_true(json_object_get(process, "accepting")));
    assert_int_equal(json_integer_value(json_object_get(process, "restarts")), 0);
    assert_true(json_is_null(json_object_get(process, "lastExit")));
    json_decref(process);
    load(world, &gateway, 5);
    world_wait(world, "delivered=5");
    assert_int_equal(world_stat(&gateway, "gateway", "answered"), 5);
    assert_int_equal(world_health_get(world, "/health", &body), 200);
    assert_non_null(strstr(body, "\"status\": \"healthy\""));
    free(body);
    assert_true(has_record(world));
    world_stop_runtime(world);
    assert_false(lives(pid));
    assert_false(has_record(world));
    must_say(world, "The gateway ended with status 0");
}

static void test_no_command_no_child(void **state)
{
    struct world *world = *state;
    world_start_runtime(world, NULL);
    json_t *process = ask_for_process(world);
    assert_true(json_is_null(process));
    json_decref(process);
    world_stop_runtime(world);
    assert_false(process_said(&world->runtime, "[Gateway process]"));
}

static void test_output_is_passed_on(void **state)
{
    struct world *world = *state;
    start_with(world,
        "sh -c 'echo one; echo \"  two\" >&2; echo; printf \"three\\r\\n\\033[1mfour\\n\";"
        "echo my token $OPENCLAW_GATEWAY_TOKEN; echo ready; exec sleep 1000'");
    must_say(world, "info [Gateway] one\n");
    must_say(world, "info [Gateway]   two\n");
    must_say(world, "info [Gateway] three\n");
    must_say(world, "[1mfour\n");
    must_say(world, "info [Gateway] my token ***\n");
    assert_false(process_said(&world->runtime, "[Gateway] \n"));
    world_stop_runtime(world);
    assert_false(process_said(&world->runtime, WORLD_GATEWAY_TOKEN));
}

/* Told apart by the child itself, as the log would hide a token. */
static void test_child_has_no_service_token(void **state)
{
    struct world *world = *state;
    start_with(world, "sh -c 'echo service ${SERVICE_TOKEN:-none};"
                      "env | grep -c mc_service_;"
                      "[ \"$OPENCLAW_GATEWAY_TOKEN\" = " WORLD_GATEWAY_TOKEN " ] && echo same;"
                      "echo ready; exec sleep 1000'");
    must_say(world, "[Gateway] service none\n");
    must_say(world, "[Gateway] 0\n");
    must_say(world, "[Gateway] same\n");
    world_stop_runtime(world);
}

static void test_killed_child_is_started_again(void **state)
{
    struct world *world = *state;
    pid_t first = start_with(world, WAITING);
    assert_int_equal(kill(first, SIGKILL), 0);
    must_say(world, "The gateway was ended by signal 9");
    must_say(world, "The gateway is started again in 1000 ms");
    char started[64];
    int64_t deadline_ms = clock_monotonic_ms() + (int64_t)WORLD_WAIT_MS * process_patience();
    while (pid_of_gateway(world) == 0)
        assert_true(clock_monotonic_ms() < deadline_ms);
    json_t *process = ask_for_process(world);
    pid_t second = (pid_t)json_integer_value(json_object_get(process, "pid"));
    snprintf(started, sizeof started, "Started sh, process %d\n", (int)second);
    must_say(world, started);
    assert_int_not_equal(first, second);
    assert_int_equal(json_integer_value(json_object_get(process, "restarts")), 1);
    const json_t *last = json_object_get(process, "lastExit");
    assert_int_equal(json_integer_value(json_object_get(last, "signal")), SIGKILL);
    assert_true(json_is_null(json_object_get(last, "code")));
    json_decref(process);
    assert_false(lives(first)); /* nor the sleep that it left behind */
    assert_true(lives(second));
    world_stop_runtime(world);
    assert_false(lives(second));
}

static void test_stop_ends_grandchildren(void **state)
{
    struct world *world = *state;
    pid_t pid = start_with(world, WAITING);
    int64_t began_ms = clock_monotonic_ms();
    world_stop_runtime(world);
    assert_true(clock_monotonic_ms() - began_ms < (int64_t)5000 * process_patience());
    assert_false(lives(pid));
}

/* A wrapper that ends at once must not cost the gateway behind it the time to end well. */
static void test_grandchild_may_outlive_its_parent_during_the_stop(void **state)
{
    struct world *world = *state;
    pid_t pid = start_with(world,
        "sh -c 'trap \"exit 5\" TERM; (trap \"sleep 1; echo well ended; exit\" TERM; echo ready;"
        "while :; do sleep 0.1; done) & wait'");
    world_stop_runtime(world);
    assert_false(lives(pid));
    must_say(world, "[Gateway] well ended");
    must_say(world, "The gateway ended with status 5");
}

static void test_child_that_ignores_sigterm_is_killed_after_10_s(void **state)
{
    struct world *world = *state;
    pid_t pid = start_with(world, IGNORING_SIGTERM);
    int64_t began_ms = clock_monotonic_ms();
    world_stop_runtime(world);
    int64_t took_ms = clock_monotonic_ms() - began_ms;
    assert_in_range(took_ms, 10000, 12000 * process_patience());
    assert_false(lives(pid));
    must_say(world, "did not end within 10000 ms of SIGTERM");
    must_say(world, "The gateway was ended by signal 9");
}

static void test_child_of_a_killed_runtime_is_taken_down(void **state)
{
    struct world *world = *state;
    pid_t first = start_with(world, WAITING);
    assert_true(has_record(world));
    process_signal(&world->runtime, SIGKILL);
    assert_int_equal(process_wait_exit(&world->runtime, WORLD_WAIT_MS), 128 + SIGKILL);
    assert_true(lives(first));
    pid_t second = start_with(world, WAITING);
    must_say(world, "the gateway of an earlier runtime, still runs");
    assert_int_not_equal(first, second);
    assert_false(lives(first));
    world_stop_runtime(world);
    assert_false(lives(second));
}

static void test_damaged_record_stops_nothing(void **state)
{
    struct world *world = *state;
    char path[SETTING_BYTES];
    world_start_runtime(world, NULL);
    world_stop_runtime(world);
    snprintf(path, sizeof path, "%s/state/gateway.pid", world->folder);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs("{\"pid\":1}", file);
    fclose(file);
    pid_t pid = start_with(world, WAITING);
    must_say(world, "cannot be looked for");
    world_stop_runtime(world);
    assert_false(lives(pid));
}

static void test_missing_program_is_said_and_tried_again(void **state)
{
    struct world *world = *state;
    world_start_runtime(
        world, (const char *[]){"OPENCLAW_GATEWAY_COMMAND=no-such-gateway --port 1", NULL});
    must_say(world, "does not start: cannot run no-such-gateway: No such file or directory\n");
    must_say(world, "The gateway is started again in 2000 ms");
    json_t *process = ask_for_process(world);
    assert_true(json_is_null(json_object_get(process, "pid")));
    assert_true(json_is_null(json_object_get(process, "lastExit")));
    assert_true(json_is_false(json_object_get(process, "accepting")));
    assert_int_equal(json_integer_value(json_object_get(process, "restarts")), 1);
    json_decref(process);
    /* The stop does not wait for the backoff. */
    int64_t began_ms = clock_monotonic_ms();
    world_stop_runtime(world);
    assert_true(clock_monotonic_ms() - began_ms < (int64_t)1500 * process_patience());
}

static void test_broken_quoting_is_a_configuration_error(void **state)
{
    struct world *world = *state;
    world_launch(world, &world->runtime,
        (const char *[]){"OPENCLAW_GATEWAY_COMMAND=openclaw 'run", NULL}, NULL);
    assert_int_equal(process_wait_exit(&world->runtime, WORLD_WAIT_MS), 78);
    must_say(world, "error: OPENCLAW_GATEWAY_COMMAND \"openclaw 'run\" has a ' without");
}

static json_int_t resident_bytes(struct world *world)
{
    char *body;
    assert_int_equal(world_health_get(world, "/health", &body), 200);
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
    struct world *world = *state;
    char command[SETTING_BYTES];
    char signal_file[SETTING_BYTES / 2];
    snprintf(signal_file, sizeof signal_file, "%s/go", world->folder);
    snprintf(command, sizeof command,
        "sh -c 'echo ready; while [ ! -e %s ]; do sleep 0.05; done;"
        "head -c 50000000 /dev/zero | tr \"\\\\0\" x; echo; echo over; exec sleep 1000'",
        signal_file);
    start_with(world, command);
    json_int_t before_bytes = resident_bytes(world);
    FILE *file = fopen(signal_file, "w");
    assert_non_null(file);
    fclose(file);
    must_say(world, "[Gateway] xxxxxxxx");
    must_say(world, "[Gateway] over\n");
    assert_true(resident_bytes(world) < before_bytes + RSS_GROWTH_LIMIT_BYTES);
    world_stop_runtime(world);
    char *output = process_output(&world->runtime);
    assert_true(strlen(output) < 20000);
    free(output);
}

static void test_stop_loses_no_running_reply(void **state)
{
    struct world *world = *state;
    struct world gateway;
    start_with_sandbox(world, &gateway, NULL);
    hold_agents(&gateway);
    load(world, &gateway, 1);
    world_wait(&gateway, "in_flight=1");
    process_signal(&world->runtime, SIGTERM);
    must_say(world, "that are under way");
    board_release(&gateway, "agent");
    assert_int_equal(process_wait_exit(&world->runtime, WORLD_WAIT_MS), 0);
    assert_int_equal(world_stat(world, NULL, "delivered"), 1);
    assert_int_equal(world_stat(world, NULL, "replies"), 1);
}

static void test_hung_sends_do_not_keep_the_gateway_beyond_the_grace(void **state)
{
    struct world *world = *state;
    struct world gateway;
    start_with_sandbox(world, &gateway, "SHUTDOWN_GRACE_MS=1500");
    hold_agents(&gateway);
    load(world, &gateway, 2);
    world_wait(&gateway, "in_flight=2");
    pid_t pid = pid_of_gateway(world);
    int64_t began_ms = clock_monotonic_ms();
    world_stop_runtime(world);
    assert_true(clock_monotonic_ms() - began_ms < (int64_t)3500 * process_patience());
    assert_false(lives(pid));
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
#define IN_WORLD(test) cmocka_unit_test_setup_teardown(test, world_setup, teardown)
    const struct CMUnitTest tests[] = {
        IN_WORLD(test_gateway_is_started_used_and_stopped),
        IN_WORLD(test_no_command_no_child),
        IN_WORLD(test_output_is_passed_on),
        IN_WORLD(test_child_has_no_service_token),
        IN_WORLD(test_killed_child_is_started_again),
        IN_WORLD(test_stop_ends_grandchildren),
        IN_WORLD(test_grandchild_may_outlive_its_parent_during_the_stop),
        IN_WORLD(test_child_that_ignores_sigterm_is_killed_after_10_s),
        IN_WORLD(test_child_of_a_killed_runtime_is_taken_down),
        IN_WORLD(test_damaged_record_stops_nothing),
        IN_WORLD(test_missing_program_is_said_and_tried_again),
        IN_WORLD(test_broken_quoting_is_a_configuration_error),
        IN_WORLD(test_endless_line_costs_nothing),
        IN_WORLD(test_stop_loses_no_running_reply),
        IN_WORLD(test_hung_sends_do_not_keep_the_gateway_beyond_the_grace),
    };
    return cmocka_run_group_tests_name("gateway_process", tests, NULL, NULL);
}
