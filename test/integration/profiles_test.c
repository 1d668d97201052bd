/* Agents' profiles as a whole: what a v1 board says comes into files, and what happens if not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../lib/board.h"
#include "../lib/doctor.h"
#include "../lib/test_file.h"

enum { PATH_BYTES = 512, NOBODY = 65534 };

static const char strace_program[] = "/usr/bin/strace";

/* Starts the runtime with profiles in the directory "shared" of the environment. */
static void start_with(struct test_env *env, const char *interval, const char *setting)
{
    char root[PATH_BYTES];
    snprintf(root, sizeof root, "OPENCLAW_WORKSPACE_ROOT=%s/shared/agents", env->dir);
    test_env_list_agents(env, true);
    test_env_start_runtime(env, STRINGS("OPENCLAW_PROFILE_SYNC=true", root, interval, setting));
}

static void start_with_profiles(struct test_env *env)
{
    start_with(env, "AGENT_SYNC_INTERVAL=100", NULL);
}

static void seed(struct test_env *env, const char *json)
{
    json_t *body = json_loads(json, 0, NULL);
    assert_non_null(body);
    json_decref(test_env_post(env, "/sandbox/seed", body));
}

static void make_path(const struct test_env *env, const char *name, char path[static PATH_BYTES])
{
    snprintf(path, PATH_BYTES, "%s/shared/%s", env->dir, name);
}

static bool file_has(const struct test_env *env, const char *name, const char *words)
{
    char path[PATH_BYTES];
    make_path(env, name, path);
    if (access(path, R_OK) != 0)
        return false;
    char *content = test_file_read(path);
    bool has = strstr(content, words) != NULL;
    free(content);
    return has;
}

/* Waits for a later sync to have ended, since the file is written amid one. */
static void wait_for_file(struct test_env *env, const char *name, const char *words, bool wanted)
{
    for (int i = 0; i < 100 && file_has(env, name, words) != wanted; i++)
        test_env_wait_calls(env, "listAgentsForRuntime", 1);
    if (file_has(env, name, words) != wanted) {
        process_dump_output(&env->runtime, "runtime");
        fail_msg("%s %s \"%s\"", name, wanted ? "has no" : "has", words);
    }
}

static const char agents_file[] = "mission-control-agents.json";

static void test_the_board_comes_into_the_files(void **state)
{
    struct test_env *env = *state;
    start_with_profiles(env);
    seed(env, "{\"skills\":[{\"slug\":\"haggle\",\"name\":\"Haggling\","
              "\"contentMarkdown\":\"Ask.\"}],\"agents\":[{\"slug\":\"wanda\",\"name\":\"Wanda\","
              "\"soulContent\":\"Calm.\",\"skills\":[\"haggle\"]}]}");
    wait_for_file(env, agents_file, "\"wanda\"", true);
    assert_true(file_has(env, "agents/wanda/SOUL.md", "Calm."));
    assert_true(file_has(env, "agents/wanda/skills/haggle/SKILL.md", "name: \"Haggling\""));
    json_t *agents = board_documents(env, "agents");
    const char *id = board_string(json_array_get(agents, 0), "_id");
    json_decref(test_env_post(env, "/sandbox/set",
        json_pack("{s:s, s:{s:s, s:s}}", "id", id, "fields", "name", "Wanda Two", "soulContent",
            "In a hurry.")));
    wait_for_file(env, agents_file, "Wanda Two", true);
    wait_for_file(env, "agents/wanda/SOUL.md", "In a hurry.", true);
    json_decref(test_env_post(env, "/sandbox/delete", json_pack("{s:s}", "id", id)));
    wait_for_file(env, agents_file, "wanda", false);
    assert_true(file_has(env, "agents/wanda/SOUL.md", "In a hurry."));
    json_decref(agents);
    test_env_wait_words(env, "/health", "\"profilesError\": null", true);
}

/* Traces the runtime for several syncs; the caller ends it. */
static void start_strace(struct test_env *env, const char *output)
{
    char pid[16];
    snprintf(pid, sizeof pid, "%d", (int)env->runtime.pid);
    const char *const argv[] = {strace_program, "-f", "-p", pid, "-o", output, "-e",
        "trace=openat,rename,renameat,renameat2,mkdirat,linkat,unlinkat,ftruncate", NULL};
    char *const environment[] = {NULL};
    process_start(&env->second, argv, environment);
    assert_true(process_wait_output(&env->second, "attached", TEST_WAIT_MS, NULL, 0));
}

/* The lines of the trace that write something below the shared directory. */
static void expect_only_reads(char *trace)
{
    char *rest = NULL;
    size_t opened = 0;

    for (char *line = strtok_r(trace, "\n", &rest); line != NULL;
         line = strtok_r(NULL, "\n", &rest)) {
        bool is_open = strstr(line, "openat(") != NULL || strstr(line, "openat resumed>") != NULL;
        opened += is_open && strstr(line, "SOUL.md") != NULL ? 1 : 0;
        if (!is_open ? strchr(line, '(') != NULL : strstr(line, "O_CREAT") != NULL)
            fail_msg("a sync without changes does: %s", line);
    }
    assert_true(opened > 0);
}

static void test_a_sync_without_changes_only_reads(void **state)
{
    struct test_env *env = *state;
    char output[PATH_BYTES];
    if (access(strace_program, X_OK) != 0 || geteuid() != 0)
        skip();
    start_with_profiles(env);
    seed(env, "{\"agents\":[{\"slug\":\"wanda\",\"heartbeatInterval\":1000}]}");
    wait_for_file(env, agents_file, "\"wanda\"", true);
    test_env_wait(env, "requests=1"); /* its first wake-up, which is recorded */
    test_env_wait(env, "action=updateAgentHeartbeat&calls=1");
    test_env_wait_calls(env, "listAgentsForRuntime", 2);
    snprintf(output, sizeof output, "%s/trace", env->dir);
    start_strace(env, output);
    test_env_wait_calls(env, "listAgentsForRuntime", 3);
    process_signal(&env->second, SIGINT);
    process_wait_exit(&env->second, TEST_WAIT_MS);
    process_fini(&env->second);
    char *trace = test_file_read(output);
    expect_only_reads(trace);
    free(trace);
}

/*
 * While profiles cannot be written for the reason in words: deliveries go on, the runtime is
 * degraded and says it once.
 */
static void expect_trouble(struct test_env *env, const char *words)
{
    test_env_wait_words(env, "/health", "Agents' profiles cannot be written", true);
    test_env_wait_words(env, "/health", "\"status\": \"degraded\"", true);
    test_env_wait_words(env, "/health", words, true);
    json_decref(board_load(env, 3, 2));
    test_env_wait(env, "undelivered=0");
    test_env_wait_calls(env, "listAgentsForRuntime", 3);
    char *log = process_output(&env->runtime);
    const char *said = strstr(log, words);
    assert_non_null(said);
    assert_null(strstr(said + 1, words));
    free(log);
}

static void expect_recovery(struct test_env *env)
{
    wait_for_file(env, "agents/worker1/TOOLS.md", "# Assigned skills", true);
    wait_for_file(env, agents_file, "\"worker1\"", true);
    test_env_wait_words(env, "/health", "\"status\": \"healthy\"", true);
    test_env_wait_log(env, "the agents' profiles are written again");
}

static void make_shared(const struct test_env *env, char path[static PATH_BYTES])
{
    make_path(env, "", path);
    assert_int_equal(mkdir(path, 0700), 0);
}

static void test_a_file_in_the_way_stops_nothing(void **state)
{
    struct test_env *env = *state;
    char path[PATH_BYTES];
    make_shared(env, path);
    make_path(env, "agents", path);
    test_file_write(path, "in the way");
    start_with_profiles(env);
    expect_trouble(env, "OPENCLAW_WORKSPACE_ROOT: cannot open");
    assert_int_equal(unlink(path), 0);
    expect_recovery(env);
}

/* Mounts a disk of a few pages at path, which ends with this process, or skips the test. */
static void mount_disk(const char *path, const char *options)
{
    if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("tmpfs", path, "tmpfs", 0, options) != 0)
        skip();
}

static void test_a_full_disk_stops_nothing(void **state)
{
    struct test_env *env = *state;
    char path[PATH_BYTES];
    make_shared(env, path);
    mount_disk(path, "size=16k");
    start_with_profiles(env);
    seed(env, "{\"agents\":[{\"slug\":\"worker1\"}]}");
    expect_trouble(env, "No space left on device");
    assert_int_equal(mount(NULL, path, NULL, MS_REMOUNT, "size=16m"), 0);
    expect_recovery(env);
    test_env_stop_runtime(env);
    assert_int_equal(umount(path), 0);
}

static void test_a_read_only_disk_stops_nothing(void **state)
{
    struct test_env *env = *state;
    char path[PATH_BYTES];
    make_shared(env, path);
    mount_disk(path, "size=16m");
    assert_int_equal(mount(NULL, path, NULL, MS_REMOUNT | MS_RDONLY, NULL), 0);
    start_with_profiles(env);
    expect_trouble(env, "cannot open");
    assert_int_equal(mount(NULL, path, NULL, MS_REMOUNT, NULL), 0);
    expect_recovery(env);
    test_env_stop_runtime(env);
    assert_int_equal(umount(path), 0);
}

static void test_a_folder_of_somebody_else_stops_nothing(void **state)
{
    struct test_env *env = *state;
    char path[PATH_BYTES];
    if (geteuid() != 0)
        skip();
    make_shared(env, path);
    make_path(env, "agents", path);
    assert_int_equal(mkdir(path, 0700), 0);
    make_path(env, "agents/worker1", path);
    assert_int_equal(mkdir(path, 0777), 0);
    assert_int_equal(chown(path, NOBODY, NOBODY), 0);
    json_decref(board_load(env, 1, 1));
    start_with_profiles(env);
    expect_trouble(env, "the folder worker1 belongs to another user");
    assert_int_equal(chown(path, geteuid(), getegid()), 0);
    expect_recovery(env);
}

/*
 * With a round for each agent: schedule and wake-ups do not wait for the last one, which the
 * gateway lacks, so that it is neither woken nor reported, and the rounds follow each other
 * although the interval is a day.
 */
static void test_a_long_sync_holds_nothing_up(void **state)
{
    static const char said[] = "the profiles of 2 agents take longer than a minute to write";
    struct test_env *env = *state;
    env->runtime_program = "stop-points/mission-control-runtime";
    seed(env, "{\"agents\":[{\"slug\":\"wanda\",\"heartbeatInterval\":0.005},"
              "{\"slug\":\"otto\",\"heartbeatInterval\":0.005}]}");
    board_set(env, json_pack("{s:[s]}", "gateway_agents", "wanda"));
    board_backend_fault(env, json_pack("{s:s, s:s, s:s}", "action", "listAgentsForRuntime",
                                 "behaviour", "hold", "name", "round"));
    start_with(env, "AGENT_SYNC_INTERVAL=86400000", "MISSION_CONTROL_PROFILES_ROUND_MS=0");
    test_env_wait(env, "held=1");
    board_release(env, "round");
    test_env_wait(env, "held=1&action=listAgentsForRuntime&calls=2");
    test_env_wait(env, "action=updateAgentHeartbeat&calls=2");
    assert_true(file_has(env, agents_file, "\"wanda\""));
    assert_false(file_has(env, agents_file, "\"otto\""));
    test_env_wait_words(env, "/health", "\"status\": \"healthy\"", true);
    board_set(env, json_pack("{s:n}", "gateway_agents"));
    board_clear_faults(env);
    test_env_wait_log(env, "the profiles of all agents have been written");
    assert_true(file_has(env, agents_file, "\"otto\""));
    test_env_wait_words(env, "/health", "\"status\": \"healthy\"", true);
    assert_int_equal(test_env_stat(env, "backend", "listAgentsForRuntime"), 2);
    assert_true(test_env_health_has(
        env, "/metrics", "mission_control_heartbeats_total{outcome=\"failed\"} 0\n"));
    char *log = process_output(&env->runtime);
    assert_null(strstr(log, "the gateway does not know"));
    assert_non_null(strstr(log, said));
    assert_null(strstr(strstr(log, said) + 1, said));
    free(log);
    test_env_stop_runtime(env);
}

/*
 * While a later round runs, agents that have had no turn are still not woken. A sync that fails
 * between two rounds is repeated after its own delay, here an hour, not after the second that is
 * between rounds.
 */
static void test_rounds_hold_back_and_back_off(void **state)
{
    struct test_env *env = *state;
    char root[PATH_BYTES];
    snprintf(root, sizeof root, "OPENCLAW_WORKSPACE_ROOT=%s/shared/agents", env->dir);
    env->runtime_program = "stop-points/mission-control-runtime";
    test_env_list_agents(env, true);
    seed(env, "{\"agents\":[{\"slug\":\"wanda\",\"heartbeatInterval\":0.005},"
              "{\"slug\":\"otto\",\"heartbeatInterval\":0.005},"
              "{\"slug\":\"ida\",\"heartbeatInterval\":0.005}]}");
    board_set(env, json_pack("{s:[s]}", "gateway_agents", "wanda"));
    board_backend_fault(env, json_pack("{s:s, s:s, s:s}", "action", "listAgentsForRuntime",
                                 "behaviour", "hold", "name", "round"));
    test_env_start_runtime(
        env, STRINGS("OPENCLAW_PROFILE_SYNC=true", root, "AGENT_SYNC_INTERVAL=86400000",
                 "DELIVERY_BACKOFF_BASE_MS=3600000", "DELIVERY_BACKOFF_MAX_MS=3600000",
                 "MISSION_CONTROL_PROFILES_ROUND_MS=0"));
    test_env_wait(env, "held=1");
    board_release(env, "round");
    test_env_wait(env, "held=1&action=listAgentsForRuntime&calls=2");
    test_env_wait_calls(env, "updateAgentHeartbeat", 8);
    assert_true(test_env_health_has(
        env, "/metrics", "mission_control_heartbeats_total{outcome=\"failed\"} 0\n"));
    board_fail(env, "listAgents", "function_error", -1);
    board_release(env, "round");
    test_env_wait_log(env, "agent sync failed");
    long calls = test_env_stat(env, "backend", "listAgents");
    test_env_wait_calls(env, "updateAgentHeartbeat", 8);
    assert_int_equal(test_env_stat(env, "backend", "listAgents"), calls);
    test_env_stop_runtime(env);
}

static void test_v0_has_no_profiles(void **state)
{
    struct test_env *env = *state;
    char path[PATH_BYTES];
    doctor_seed_agent(env);
    start_with_profiles(env);
    test_env_wait_log(env, "OPENCLAW_PROFILE_SYNC has no effect: the backend is version 0");
    test_env_wait_calls(env, "listAgents", 3);
    assert_int_equal(test_env_stat(env, "backend", "listAgentsForRuntime"), 0);
    make_path(env, "", path);
    assert_int_equal(access(path, F_OK), -1);
}

/* So the doctor has the same advice as if they were off. */
static void test_doctor_expects_no_profiles_of_v0(void **state)
{
    struct test_env *env = *state;
    const char *settings[] = {"OPENCLAW_PROFILE_SYNC=true", NULL, NULL};
    doctor_seed_agent(env);
    test_env_list_agents(env, true);
    board_set(env, json_pack("{s:[s]}", "gateway_agents", "main"));
    doctor_expect_read_only(
        env, settings, 1, STRINGS("fix: set OPENCLAW_FALLBACK_AGENT or add the agent"));
    settings[1] = "OPENCLAW_FALLBACK_AGENT=main";
    doctor_expect_read_only(
        env, settings, 0, STRINGS("1 of the account's agents run as main, because the gateway"));
}

static void test_profiles_that_cannot_be_read_change_nothing(void **state)
{
    struct test_env *env = *state;
    start_with_profiles(env);
    seed(env, "{\"agents\":[{\"slug\":\"wanda\"}]}");
    wait_for_file(env, agents_file, "\"wanda\"", true);
    board_fail(env, "listAgentsForRuntime", "status", -1);
    test_env_wait_log(env, "the agents' profiles cannot be read");
    test_env_wait_calls(env, "listAgents", 2);
    assert_true(file_has(env, agents_file, "\"wanda\""));
    board_clear_faults(env);
    seed(env, "{\"agents\":[{\"slug\":\"otto\"}]}");
    wait_for_file(env, agents_file, "\"otto\"", true);
}

static void test_doctor_tells_what_the_gateway_lacks(void **state)
{
    struct test_env *env = *state;
    char root[PATH_BYTES];
    char path[PATH_BYTES];
    snprintf(root, sizeof root, "OPENCLAW_WORKSPACE_ROOT=%s/shared/agents", env->dir);
    seed(env, "{\"agents\":[{\"slug\":\"wanda\"}]}");
    test_env_list_agents(env, true);
    board_set(env, json_pack("{s:[s]}", "gateway_agents", "main"));
    const char *const settings[] = {root, "OPENCLAW_PROFILE_SYNC=true", NULL};
    doctor_expect_read_only(env, settings, 1,
        STRINGS("FAIL  gateway agents      the gateway does not know 1 of the account's agents: "
                "wanda, and the agents' file does not have them either; fix: start the runtime",
            "ok    workspaces          ", "warn  agents file         not there yet: "));
    make_path(env, "", path);
    assert_int_equal(access(path, F_OK), -1); /* the doctor makes nothing */
    start_with_profiles(env);
    wait_for_file(env, agents_file, "\"wanda\"", true);
    test_env_stop_runtime(env);
    doctor_expect_output(env, settings, STRINGS("doctor"), 1,
        STRINGS("wanda, though the agents' file has them; fix: add \"$include\": \"",
            "OPENCLAW_INCLUDE_ROOTS", "ok    agents file         "));
    board_set(env, json_pack("{s:n}", "gateway_agents"));
    doctor_expect_output(env, settings, STRINGS("doctor"), 0,
        STRINGS("ok    gateway agents      the gateway knows every agent"));
    make_path(env, "agents/wanda", path);
    assert_int_equal(chmod(path, 0500), 0);
    doctor_expect_output(env, settings, STRINGS("doctor"), 1,
        STRINGS("FAIL  workspaces          ", "is not writable for its owner"));
    if (geteuid() == 0) {
        assert_int_equal(chown(path, NOBODY, NOBODY), 0);
        doctor_expect_output(env, settings, STRINGS("doctor"), 1,
            STRINGS("belongs to another user than the runtime's; fix: give the directory"));
    }
    assert_int_equal(chmod(path, 0700), 0);
}

int main(void)
{
#define ON_V1(test) TEST_IN_ENV_WITH(test, .backend = "v1")
    const struct CMUnitTest tests[] = {
        ON_V1(test_the_board_comes_into_the_files),
        ON_V1(test_a_sync_without_changes_only_reads),
        ON_V1(test_a_file_in_the_way_stops_nothing),
        ON_V1(test_a_full_disk_stops_nothing),
        ON_V1(test_a_read_only_disk_stops_nothing),
        ON_V1(test_a_folder_of_somebody_else_stops_nothing),
        ON_V1(test_a_long_sync_holds_nothing_up),
        ON_V1(test_rounds_hold_back_and_back_off),
        TEST_IN_ENV(test_v0_has_no_profiles),
        TEST_IN_ENV(test_doctor_expects_no_profiles_of_v0),
        ON_V1(test_profiles_that_cannot_be_read_change_nothing),
        ON_V1(test_doctor_tells_what_the_gateway_lacks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
