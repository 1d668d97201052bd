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
#define NEW_TOKEN "mc_service_" WORLD_ACCOUNT "_" NEW_SECRET

/* In minutes: of the heartbeats of agents that a test wants to see woken. */
static const double SHORT_INTERVAL = 0.005;

enum { PATH_BYTES = 512, LINE_BYTES = 256 };

/* Writes a file of the world, and the assignment that names it into variable. */
static void write_file(struct world *world, const char *name, const char *text, char *path)
{
    snprintf(path, PATH_BYTES, "%s/%s", world->folder, name);
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void start_with_token_file(struct world *world, const char *token, char *path)
{
    char variable[PATH_BYTES + 32];
    write_file(world, "token", token, path);
    snprintf(variable, sizeof variable, "SERVICE_TOKEN_FILE=%s", path);
    world_start_runtime(world, (const char *[]){"SERVICE_TOKEN", variable, NULL});
}

static void must_say(struct world *world, const char *words)
{
    if (process_wait_for(&world->runtime, words, WORLD_WAIT_MS, NULL, 0))
        return;
    process_show(&world->runtime, "runtime");
    fail_msg("it does not say: %s", words);
}

static void hang_up(struct world *world, const char *words)
{
    process_signal(&world->runtime, SIGHUP);
    must_say(world, words);
}

/* Loads one notification and waits until its agent is held by a rule; its id goes into id. */
static void hold_one(struct world *world, char id[static ID_BYTES])
{
    board_gateway_fault(world, json_pack("{s:s, s:s}", "name", "held", "action", "hold"));
    json_t *rows = board_load(world, 1, 1);
    text_copy(id, ID_BYTES, board_string(json_array_get(rows, 0), "id"));
    json_decref(rows);
    world_wait(world, "held=1");
}

static void test_rotated_service_token_is_taken_over(void **state)
{
    struct world *world = *state;
    char path[PATH_BYTES];
    char id[ID_BYTES];
    start_with_token_file(world, WORLD_TOKEN "\n", path);
    hold_one(world, id);
    json_decref(world_post(world, "/sandbox/token", json_pack("{s:s}", "secret", NEW_SECRET)));
    write_file(world, "token", NEW_TOKEN "\n", path);
    hang_up(world, "Reload 1: changed: SERVICE_TOKEN\n");
    board_end_faults(world);
    world_wait(world, "delivered=1&undelivered=0");
    assert_int_equal(board_requests_for(world, id), 1);
    json_decref(board_load(world, 3, 1));
    world_wait(world, "delivered=4&undelivered=0");
    hang_up(world, "Reload 2: changed: nothing\n");
    world_stop_runtime(world);
    assert_false(process_said(&world->runtime, NEW_SECRET));
    json_t *rows = board_documents(world, "runtimes");
    assert_string_equal(board_string(json_array_get(rows, 0), "status"), "offline");
    json_decref(rows);
}

static void test_broken_token_file_changes_nothing(void **state)
{
    static const char *const broken[] = {
        "", "no-token-at-all", ("mc_service_k57other_" NEW_SECRET)};
    struct world *world = *state;
    char path[PATH_BYTES];
    char words[LINE_BYTES];
    start_with_token_file(world, WORLD_TOKEN, path);
    for (unsigned i = 0; i < sizeof broken / sizeof broken[0]; i++) {
        write_file(world, "token", broken[i], path);
        snprintf(words, sizeof words, "Reload %u: the settings are wrong (above); the old", i + 1);
        hang_up(world, words);
    }
    assert_int_equal(remove(path), 0);
    hang_up(world, "Reload 4: the settings are wrong");
    must_say(world, "Reload 1: SERVICE_TOKEN_FILE: ");
    must_say(world, "Reload 2: Invalid SERVICE_TOKEN format");
    must_say(world, "Reload 3: SERVICE_TOKEN account mismatch");
    must_say(world, "Reload 4: SERVICE_TOKEN_FILE: cannot read");
    json_decref(board_load(world, 2, 2));
    world_wait(world, "delivered=2&undelivered=0");
    world_stop_runtime(world);
    assert_false(process_said(&world->runtime, "no-token-at-all"));
    assert_false(process_said(&world->runtime, NEW_SECRET));
}

static void start_with_env_file(struct world *world, const char *path)
{
    world_launch(world, &world->runtime,
        (const char *[]){"OPENCLAW_GATEWAY_TOKEN", "DELIVERY_INTERVAL", NULL},
        (const char *[]){"--env-file", path, NULL});
    must_say(world, "started successfully");
}

/* One wrong setting keeps the others from being taken over, too. */
static void test_env_file_is_read_again_as_a_whole(void **state)
{
    struct world *world = *state;
    char path[PATH_BYTES];
    write_file(world, "env", "OPENCLAW_GATEWAY_TOKEN=wrong-for-now\nDELIVERY_INTERVAL=200\n", path);
    start_with_env_file(world, path);
    must_say(world, "No agent is asked for now");
    json_decref(board_load(world, 1, 1));
    write_file(world, "env",
        "OPENCLAW_GATEWAY_TOKEN=" WORLD_GATEWAY_TOKEN "\nLOG_LEVEL=loud\nDELIVERY_INTERVAL=200\n",
        path);
    hang_up(world, "Reload 1: the settings are wrong");
    assert_true(process_said(&world->runtime, "Reload 1: LOG_LEVEL \"loud\" is not one of"));
    write_file(world, "env",
        "OPENCLAW_GATEWAY_TOKEN=" WORLD_GATEWAY_TOKEN "\nLOG_LEVEL=debug\nDELIVERY_INTERVAL=201\n",
        path);
    assert_false(process_said(&world->runtime, "debug [Delivery]"));
    hang_up(world, "Reload 2: changed: LOG_LEVEL OPENCLAW_GATEWAY_TOKEN\n");
    must_say(world, "Reload 2: DELIVERY_INTERVAL has changed; that needs a restart");
    must_say(world, "debug [Delivery] Listed");
    world_wait(world, "delivered=1&undelivered=0");
    world_stop_runtime(world);
    assert_false(process_said(&world->runtime, WORLD_GATEWAY_TOKEN));
}

static void write_remotes(struct world *world, char *path, const char *account,
    const char *service_token, const char *convex_url, const char *gateway_url,
    const char *gateway_token)
{
    char text[1024];
    snprintf(text, sizeof text,
        "ACCOUNT_ID=%s\nSERVICE_TOKEN=%s\nCONVEX_URL=%s\nOPENCLAW_GATEWAY_URL=%s\n"
        "OPENCLAW_GATEWAY_TOKEN=%s\n",
        account, service_token, convex_url, gateway_url, gateway_token);
    write_file(world, "env", text, path);
}

static void must_deliver_another(struct world *world, int number)
{
    char condition[LINE_BYTES];
    json_decref(board_load(world, 1, 1));
    snprintf(condition, sizeof condition, "delivered=%d&undelivered=0", number);
    world_wait(world, condition);
}

/* Else a secret would go to the old address, or every call fail until the restart. */
static void test_token_of_another_address_is_not_taken_over(void **state)
{
    static const char other_url[] = "http://127.0.0.1:9";
    static const char other_token[] = "mc_service_k57other_" NEW_SECRET;
    static const char *const unset[] = {"ACCOUNT_ID", "SERVICE_TOKEN", "CONVEX_URL",
        "OPENCLAW_GATEWAY_URL", "OPENCLAW_GATEWAY_TOKEN", NULL};
    struct world *world = *state;
    const char *url = world->url;
    char path[PATH_BYTES];
    write_remotes(world, path, WORLD_ACCOUNT, WORLD_TOKEN, url, url, WORLD_GATEWAY_TOKEN);
    world_launch(world, &world->runtime, unset, (const char *[]){"--env-file", path, NULL});
    must_say(world, "started successfully");
    write_remotes(world, path, "k57other", other_token, url, url, WORLD_GATEWAY_TOKEN);
    hang_up(world, "Reload 1: changed: nothing\n");
    must_say(world, "Reload 1: ACCOUNT_ID has changed; that needs a restart");
    must_say(world, "Reload 1: SERVICE_TOKEN belongs to ACCOUNT_ID and CONVEX_URL; it stays");
    must_deliver_another(world, 1);
    write_remotes(world, path, WORLD_ACCOUNT, NEW_TOKEN, other_url, url, WORLD_GATEWAY_TOKEN);
    hang_up(world, "Reload 2: changed: nothing\n");
    must_say(world, "Reload 2: SERVICE_TOKEN belongs to ");
    must_deliver_another(world, 2);
    write_remotes(world, path, WORLD_ACCOUNT, NEW_TOKEN, url, other_url, "of-another-gateway");
    json_decref(world_post(world, "/sandbox/token", json_pack("{s:s}", "secret", NEW_SECRET)));
    hang_up(world, "Reload 3: changed: SERVICE_TOKEN\n");
    must_say(world, "Reload 3: OPENCLAW_GATEWAY_TOKEN belongs to OPENCLAW_GATEWAY_URL; it stays");
    assert_false(process_said(&world->runtime, "Reload 3: SERVICE_TOKEN belongs"));
    must_deliver_another(world, 3);
    world_stop_runtime(world);
}

static void test_work_is_told(void **state)
{
    struct world *world = *state;
    char id[ID_BYTES];
    char words[LINE_BYTES];
    char for_ms[32];
    world_start_runtime(world, (const char *[]){"DELIVERY_MAX_CONCURRENT_SESSIONS=2", NULL});
    hold_one(world, id);
    process_signal(&world->runtime, SIGUSR1);
    must_say(world, "info [Runtime] 1 of 2 workers are busy held=1 ");
    snprintf(words, sizeof words, ": delivers %s agent=worker1 stage=sending for_ms=", id);
    assert_true(process_wait_for(&world->runtime, words, WORLD_WAIT_MS, for_ms, sizeof for_ms));
    assert_in_range(strtol(for_ms, NULL, 10), 0, WORLD_WAIT_MS);
    must_say(world, ": idle for_ms=");
    assert_true(process_said(&world->runtime, "Worker 1: "));
    assert_true(process_said(&world->runtime, "Worker 2: "));
    board_end_faults(world);
    world_wait(world, "delivered=1");
    world_stop_runtime(world);
}

static void must_be_held(struct world *world, bool held)
{
    char *body;
    assert_int_equal(world_health_get(world, "/health", &body), 200);
    assert_non_null(strstr(body, held ? "\"heldByHand\": true" : "\"heldByHand\": false"));
    free(body);
}

/* Waits until the backend has been asked for that often more. */
static void wait_for_calls(struct world *world, const char *action, long calls)
{
    char condition[LINE_BYTES];
    snprintf(condition, sizeof condition, "action=%s&calls=%ld", action,
        world_stat(world, "backend", action) + calls);
    world_wait(world, condition);
}

/* A run that is under way is no send: its reply is written while the others wait. */
static void test_sends_are_held_and_released(void **state)
{
    struct world *world = *state;
    char id[ID_BYTES];
    world_start_runtime(world, (const char *[]){"AGENT_SYNC_INTERVAL=100", NULL});
    hold_one(world, id);
    must_be_held(world, false);
    process_signal(&world->runtime, SIGUSR2);
    must_say(world, "Sends are held by hand");
    must_be_held(world, true);
    json_decref(world_post(world, "/sandbox/load",
        json_pack("{s:i, s:i, s:f}", "notifications", 3, "agents", 3, "heartbeatInterval",
            SHORT_INTERVAL)));
    world_show_agents(world, true);
    board_end_faults(world);
    world_wait(world, "delivered=1");
    wait_for_calls(world, "listUndeliveredNotifications", 3);
    /* Long enough for wake-ups to come due. */
    wait_for_calls(world, "listAgents", 10);
    assert_int_equal(world_stat(world, "gateway", "requests"), 1);
    process_signal(&world->runtime, SIGUSR2);
    must_say(world, "Sends are no longer held by hand");
    must_be_held(world, false);
    world_wait(world, "delivered=4&undelivered=0");
    /* The four deliveries, and wake-ups. */
    world_wait(world, "requests=6");
    world_stop_runtime(world);
}

/* Waits until a pending signal has been taken, so that another one like it is a second one. */
static void wait_until_taken(const struct process *process, int number)
{
    char path[64];
    char line[LINE_BYTES];
    int64_t deadline_ms = clock_monotonic_ms() + WORLD_WAIT_MS;
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
static void leave_log_unread(struct world *world)
{
    process_stall(&world->runtime);
    for (int i = 0; i < 2; i++) {
        process_signal(&world->runtime, SIGUSR1);
        wait_until_taken(&world->runtime, SIGUSR1);
    }
}

/* Nothing waits for whoever reads the log; what was lost is said once it is read again. */
static void test_unread_log_holds_nothing_up(void **state)
{
    struct world *world = *state;
    world_start_runtime(world, NULL);
    leave_log_unread(world);
    json_decref(board_load(world, 40, 40));
    world_wait(world, "delivered=40&undelivered=0");
    process_read_on(&world->runtime);
    must_say(world, "warn [Log] Dropped ");
    json_decref(board_load(world, 1, 1));
    world_wait(world, "delivered=41&undelivered=0");
    world_stop_runtime(world);
}

static void test_unread_log_does_not_hold_up_the_stop(void **state)
{
    struct world *world = *state;
    world_start_runtime(world, NULL);
    leave_log_unread(world);
    world_stop_runtime(world);
}

static void test_second_signal_ends_it_though_nobody_reads(void **state)
{
    struct world *world = *state;
    char id[ID_BYTES];
    world_start_runtime(world, NULL);
    hold_one(world, id);
    leave_log_unread(world);
    process_signal(&world->runtime, SIGTERM);
    wait_until_taken(&world->runtime, SIGTERM);
    process_signal(&world->runtime, SIGTERM);
    assert_int_equal(process_wait_exit(&world->runtime, WORLD_WAIT_MS), 128 + SIGTERM);
    board_end_faults(world);
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
#define IN_WORLD(test) cmocka_unit_test_setup_teardown(test, world_setup, world_teardown)
    const struct CMUnitTest tests[] = {
        IN_WORLD(test_rotated_service_token_is_taken_over),
        IN_WORLD(test_broken_token_file_changes_nothing),
        IN_WORLD(test_env_file_is_read_again_as_a_whole),
        IN_WORLD(test_token_of_another_address_is_not_taken_over),
        IN_WORLD(test_work_is_told),
        IN_WORLD(test_sends_are_held_and_released),
        IN_WORLD(test_unread_log_holds_nothing_up),
        IN_WORLD(test_unread_log_does_not_hold_up_the_stop),
        IN_WORLD(test_second_signal_ends_it_though_nobody_reads),
    };
    return cmocka_run_group_tests_name("signals", tests, NULL, NULL);
}
