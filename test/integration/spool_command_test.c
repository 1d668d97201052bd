/* `spool list|show|retry|drop`: output, changes on disk, and what the next start makes of them. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include <cmocka.h>

#include "../lib/board.h"
#include "spool/spool.h"

enum { PATH_BYTES = 512 };

static const char newer_record[] = "{\"version\":5,\"anything\":[]}";
static const char escaping_reply[] = "one\ttwo\n\x1B[31mred";

static void state_path(const struct test_env *env, const char *name, char path[static PATH_BYTES])
{
    snprintf(path, PATH_BYTES, "%s/state/%s", env->dir, name);
}

static bool state_file_exists(const struct test_env *env, const char *name)
{
    char path[PATH_BYTES];
    state_path(env, name, path);
    return access(path, F_OK) == 0;
}

static void write_state_file(const struct test_env *env, const char *name, const char *content)
{
    char path[PATH_BYTES];
    state_path(env, name, path);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fputs(content, file) >= 0, 1);
    assert_int_equal(fclose(file), 0);
}

static struct spool *open_spool(const struct test_env *env, const char *account_id)
{
    char path[PATH_BYTES];
    struct spool *spool;
    state_path(env, "", path);
    mkdir(path, 0700);
    assert_int_equal(spool_open(&spool, path, account_id, NULL), 0);
    return spool;
}

static struct spool_record make_record(const char *id, const char *reply)
{
    struct spool_record record = {.created_at_ms = 1700000000123, .runs = 2};
    text_copy(record.id, sizeof record.id, id);
    text_copy(record.agent_id, sizeof record.agent_id, "agent7");
    text_copy(record.agent_slug, sizeof record.agent_slug, "jarvis");
    text_copy(record.task_id, sizeof record.task_id, "task9");
    text_copy(record.failure, sizeof record.failure, "status 500");
    record.reply = reply != NULL ? strdup(reply) : NULL;
    return record;
}

/* Saves the record in spool/ or dead/ and frees its reply. */
static void save_record(const struct test_env *env, struct spool_record *record, bool dead)
{
    struct spool *spool = open_spool(env, TEST_ACCOUNT);
    assert_int_equal(spool_save(spool, record, true, NULL), 0);
    if (dead)
        assert_int_equal(spool_bury(spool, record->id, NULL), 0);
    spool_close(spool);
    free(record->reply);
}

static void save_reply(const struct test_env *env, const char *id, const char *reply, bool dead)
{
    struct spool_record record = make_record(id, reply);
    save_record(env, &record, dead);
}

/* One record of each state. */
static void save_one_of_each(const struct test_env *env)
{
    save_reply(env, "js_asking", NULL, false);
    save_reply(env, "js_waiting", "soon", false);
    save_reply(env, "js_late", escaping_reply, true);
    save_reply(env, "js_given_up", NULL, true);
    write_state_file(env, "dead/js_damaged.json", "{");
}

/* Runs the program with arguments and returns its output, freed by the caller. */
static char *run_command(struct test_env *env, int status, const char *const arguments[])
{
    test_env_launch(env, &env->second, NULL, arguments);
    int exit_status = process_wait_exit(&env->second, TEST_WAIT_MS);
    /* Never printed, so this returns at the end of the output. */
    process_wait_output(&env->second, "\f\f", TEST_WAIT_MS, NULL, 0);
    if (exit_status != status) {
        process_dump_output(&env->second, "spool");
        fail_msg("exit status %d, expected %d", exit_status, status);
    }
    return process_output(&env->second);
}

/* Nor is a record changed whose result could not be printed. */
static void test_failed_write_to_stdout_exits_71(void **state)
{
    struct test_env *env = *state;
    save_one_of_each(env);
    env->redirection = ">/dev/full";
    free(run_command(env, EX_OSERR, STRINGS("spool", "list")));
    free(run_command(env, EX_OSERR, STRINGS("spool", "drop", "--json", "js_late")));
    free(run_command(env, EX_OSERR, STRINGS("spool", "drop", "js_given_up", "js_damaged")));
    assert_false(state_file_exists(env, "dead/js_given_up.json"));
    assert_true(state_file_exists(env, "dead/js_damaged.json"));
}

static void expect_output(
    struct test_env *env, int status, const char *const arguments[], const char *const words[])
{
    char *output = run_command(env, status, arguments);
    for (size_t i = 0; words[i] != NULL; i++)
        if (strstr(output, words[i]) == NULL)
            fail_msg("\"%s\" is not in:\n%s", words[i], output);
    free(output);
}

static void test_list_shows_each_state_and_totals(void **state)
{
    struct test_env *env = *state;
    save_one_of_each(env);
    expect_output(env, 0, STRINGS("spool", "list"),
        STRINGS("where  id           agent   state     runs  created", /* columns are as wide as the
                                                                        widest value */
            "spool  js_asking    jarvis  asking       2  2023-11-14T22:13:20.123Z            -",
            ".123Z            -  status 500\n",
            "spool  js_waiting   jarvis  replied      2  2023-11-14T22:13:20.123Z            4  ",
            "dead   js_damaged   -       damaged      -  -                                   -  -",
            "dead   js_given_up  jarvis  given up     2  ",
            "dead   js_late      jarvis  replied      2  ",
            "spool/: 2 records: 1 replied (4 bytes), 1 asking, 0 damaged\n",
            "dead/: 3 records: 1 replied (16 bytes), 1 given up, 1 damaged\n"));
    assert_false(state_file_exists(env, "lock"));
}

/* The id is the agent's; its next wake-up goes on with it. */
static void test_wake_up_is_listed(void **state)
{
    struct test_env *env = *state;
    struct spool_record record = make_record("jx_agent", NULL);
    record.is_wake_up = true;
    save_record(env, &record, false);
    expect_output(env, 0, STRINGS("spool", "list"),
        STRINGS("spool  jx_agent  jarvis  waking ",
            "spool/: 1 record: 0 replied (0 bytes), 0 asking, 0 damaged, 1 waking\n"));
    expect_output(env, 0, STRINGS("spool", "show", "jx_agent"), STRINGS("state:        waking"));
}

static void test_list_json_has_every_record(void **state)
{
    struct test_env *env = *state;
    save_one_of_each(env);
    char *output = run_command(env, 0, STRINGS("spool", "--json", "list"));
    json_t *rows = json_loads(output, 0, NULL);
    assert_int_equal(json_array_size(rows), 5);
    const json_t *late = json_array_get(rows, 4);
    assert_string_equal(board_string(late, "where"), "dead");
    assert_string_equal(board_string(late, "id"), "js_late");
    assert_string_equal(board_string(late, "state"), "replied");
    assert_string_equal(board_string(late, "agent"), "jarvis");
    assert_int_equal(json_integer_value(json_object_get(late, "createdAt")), 1700000000123);
    assert_int_equal(json_integer_value(json_object_get(late, "runs")), 2);
    assert_int_equal(json_integer_value(json_object_get(late, "replyBytes")), 16);
    assert_null(json_object_get(late, "reply"));
    assert_string_equal(board_string(json_array_get(rows, 2), "state"), "damaged");
    json_decref(rows);
    free(output);
}

static void test_show_prints_the_reply_verbatim(void **state)
{
    struct test_env *env = *state;
    char failed[PATH_BYTES];
    save_one_of_each(env);
    state_path(env, "dead/js_damaged.json", failed);
    expect_output(env, 0, STRINGS("spool", "show", "js_late"),
        STRINGS("agent:        jarvis (agent7)\n", "task:         task9\n", "runs:         2\n",
            "reply:        16 bytes\n\none\ttwo\n\x1B[31mred\n"));
    expect_output(
        env, 0, STRINGS("spool", "show", "js_asking"), STRINGS("state:        asking", "none"));
    expect_output(env, 0, STRINGS("spool", "show", "js_damaged"), STRINGS("invalid JSON", failed));
    expect_output(env, 1, STRINGS("spool", "show", "js_nowhere"), STRINGS("js_nowhere"));
    char *output = run_command(env, 0, STRINGS("spool", "--json", "show", "js_late"));
    json_t *rows = json_loads(output, 0, NULL);
    assert_string_equal(board_string(json_array_get(rows, 0), "reply"), escaping_reply);
    json_decref(rows);
    free(output);
}

/* Runs argv with a terminal as its standard output, and collects what it prints. */
static void run_on_terminal(
    const char *const argv[], char *const environment[], char *output, size_t output_bytes)
{
    posix_spawn_file_actions_t actions;
    pid_t child;
    int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (master < 0) {
        print_message("skipped: no pty available: %s\n", strerror(errno));
        skip();
    }
    assert_int_equal(grantpt(master), 0);
    assert_int_equal(unlockpt(master), 0);
    assert_int_equal(posix_spawn_file_actions_init(&actions), 0);
    posix_spawn_file_actions_addopen(
        &actions, STDOUT_FILENO, ptsname(master), O_WRONLY | O_NOCTTY, 0);
    assert_int_equal(
        posix_spawn(&child, argv[0], &actions, NULL, (char *const *)argv, environment), 0);
    posix_spawn_file_actions_destroy(&actions);
    size_t used = 0;
    ssize_t length;
    while ((length = read(master, output + used, output_bytes - 1 - used)) > 0)
        used += (size_t)length;
    output[used] = '\0';
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    close(master);
    assert_int_equal(status, 0);
}

static void test_show_escapes_the_reply_on_a_terminal(void **state)
{
    struct test_env *env = *state;
    char program[256];
    char dir[PATH_BYTES + sizeof "STATE_DIR="];
    char output[4096];
    const char *build = getenv("MISSION_CONTROL_BUILD");
    char account[] = "ACCOUNT_ID=" TEST_ACCOUNT;
    char token[] = "SERVICE_TOKEN=" TEST_TOKEN;
    char url[] = "CONVEX_URL=http://127.0.0.1:1";
    save_one_of_each(env);
    snprintf(
        program, sizeof program, "%s/mission-control-runtime", build != NULL ? build : "build");
    snprintf(dir, sizeof dir, "STATE_DIR=%s/state", env->dir);
    char *environment[] = {account, token, url, dir, NULL};
    run_on_terminal(
        STRINGS(program, "spool", "show", "js_late"), environment, output, sizeof output);
    assert_null(strchr(output, '\x1B'));
    assert_non_null(strstr(output, "\\x1B[31mred"));
    assert_non_null(strstr(output, "one\ttwo"));
}

static void test_wrong_arguments_exit_64(void **state)
{
    struct test_env *env = *state;
    static const char *const usage[] = {"list, show ID, retry ID..., drop ID...", NULL};
    expect_output(env, 64, STRINGS("spool"), usage);
    expect_output(env, 64, STRINGS("spool", "empty"), usage);
    /* Also where no setting is right. */
    test_env_launch(
        env, &env->runtime, STRINGS("ACCOUNT_ID", "LOG_LEVEL=loud"), STRINGS("spool", "lst"));
    assert_int_equal(process_wait_exit(&env->runtime, TEST_WAIT_MS), 64);
    test_env_wait_log(env, "unknown command \"spool lst\"; expected one of list, show ID");
    process_fini(&env->runtime);
    expect_output(env, 64, STRINGS("spool", "list", "js1"), usage);
    expect_output(env, 64, STRINGS("spool", "show"), usage);
    expect_output(env, 64, STRINGS("spool", "show", "js1", "js2"), usage);
    expect_output(env, 64, STRINGS("spool", "retry"), usage);
    expect_output(env, 64, STRINGS("spool", "drop"), usage);
}

static void test_missing_or_foreign_state_dir_is_refused(void **state)
{
    struct test_env *env = *state;
    expect_output(env, 1, STRINGS("spool", "list"), STRINGS("/state does not exist"));
    expect_output(env, 1, STRINGS("spool", "retry", "js1"), STRINGS("/state does not exist"));
    assert_false(state_file_exists(env, ""));
    spool_close(open_spool(env, "another"));
    expect_output(env, 78, STRINGS("spool", "list"), STRINGS("belongs to account another"));
    expect_output(env, 78, STRINGS("spool", "drop", "js1"), STRINGS("belongs to account another"));
}

enum { OTHER_USER = 65534 };

static void give_state_dir_away(const struct test_env *env)
{
    static const char *const names[] = {"", "account", "spool", "dead", "dead/js_late.json"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char path[PATH_BYTES];
        state_path(env, names[i], path);
        assert_int_equal(chown(path, OTHER_USER, OTHER_USER), 0);
    }
}

/* Root must leave nothing behind that the runtime's user cannot open. */
static void test_root_works_as_the_owner_of_the_directory(void **state)
{
    struct test_env *env = *state;
    struct stat status;
    char path[PATH_BYTES];
    if (geteuid() != 0)
        skip();
    save_reply(env, "js_late", "late", true);
    give_state_dir_away(env);
    expect_output(env, 0, STRINGS("spool", "retry", "js_late"), STRINGS("js_late: back in spool/"));
    state_path(env, "lock", path);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_uid, OTHER_USER);
    assert_int_equal(status.st_gid, OTHER_USER);
    assert_true(state_file_exists(env, "spool/js_late.json"));
}

/* What the directory's owner could do to make root read or move files elsewhere. */
static void test_root_follows_no_link(void **state)
{
    struct test_env *env = *state;
    char path[PATH_BYTES];
    char moved[PATH_BYTES];
    if (geteuid() != 0)
        skip();
    save_reply(env, "js_late", "late", true);
    give_state_dir_away(env);
    state_path(env, "dead", path);
    snprintf(moved, sizeof moved, "%s/elsewhere", env->dir);
    assert_int_equal(rename(path, moved), 0);
    assert_int_equal(symlink(moved, path), 0);
    assert_int_equal(lchown(path, OTHER_USER, OTHER_USER), 0);
    expect_output(env, 78, STRINGS("spool", "list"), STRINGS("cannot open"));
    expect_output(env, 78, STRINGS("spool", "drop", "js_late"), STRINGS("cannot open"));
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rename(moved, path), 0);
    state_path(env, "", path);
    path[strlen(path) - 1] = '\0';
    assert_int_equal(rename(path, moved), 0);
    assert_int_equal(symlink(moved, path), 0);
    assert_int_equal(lchown(path, OTHER_USER, OTHER_USER), 0);
    expect_output(env, 78, STRINGS("spool", "list"), STRINGS("symbolic links"));
    /* As systemd makes it for DynamicUser=. */
    assert_int_equal(lchown(path, 0, 0), 0);
    expect_output(env, 0, STRINGS("spool", "list"), STRINGS("js_late"));
}

static void test_list_and_show_work_beside_a_runtime(void **state)
{
    struct test_env *env = *state;
    save_reply(env, "js_late", "late", true);
    test_env_start_runtime(env, NULL);
    write_state_file(env, "spool/js_next.json.new", "a write that goes on");
    expect_output(env, 0, STRINGS("spool", "list"), STRINGS("dead   js_late"));
    expect_output(env, 0, STRINGS("spool", "show", "js_late"), STRINGS("late"));
    assert_true(state_file_exists(env, "spool/js_next.json.new"));
    test_env_stop_runtime(env);
}

/* As beside a runtime of an earlier release, which has no control socket. */
static void test_runtime_that_cannot_be_asked_has_to_be_stopped(void **state)
{
    struct test_env *env = *state;
    char owner[64];
    char path[PATH_BYTES];
    save_reply(env, "js_late", "late", true);
    test_env_start_runtime(env, NULL);
    snprintf(owner, sizeof owner, "process %d", (int)env->runtime.pid);
    state_path(env, "control", path);
    assert_int_equal(unlink(path), 0);
    expect_output(env, 75, STRINGS("spool", "retry", "js_late"),
        STRINGS(owner, "the runtime cannot be asked", "has to be stopped first"));
    expect_output(env, 75, STRINGS("spool", "drop", "js_late"), STRINGS(owner));
    assert_true(state_file_exists(env, "dead/js_late.json"));
    expect_output(env, 69, STRINGS("hold"),
        STRINGS("no runtime listens on", "; is it running, with this STATE_DIR?"));
    test_env_stop_runtime(env);
    expect_output(env, 0, STRINGS("spool", "drop", "js_late"), STRINGS("js_late: dropped"));
}

static void test_drop_removes_dead_letters_only(void **state)
{
    struct test_env *env = *state;
    save_one_of_each(env);
    expect_output(env, 1,
        STRINGS("spool", "drop", "js_nowhere", "js_waiting", "../account", "js_late", "js_given_up",
            "js_damaged"),
        STRINGS("js_nowhere: no record", "js_waiting: unchanged", "\"../account\" is not a",
            "js_late: dropped with a reply of 16 bytes by jarvis",
            "js_given_up: dropped; it held no reply", "js_damaged: dropped; it was damaged"));
    assert_true(state_file_exists(env, "spool/js_waiting.json"));
    assert_true(state_file_exists(env, "account"));
    assert_false(state_file_exists(env, "dead/js_late.json"));
    assert_false(state_file_exists(env, "dead/js_given_up.json"));
    assert_false(state_file_exists(env, "dead/js_damaged.json"));
}

static void test_retry_moves_every_record_it_can(void **state)
{
    struct test_env *env = *state;
    struct spool_record record;
    save_one_of_each(env);
    save_reply(env, "js_waiting", "another", true);
    save_reply(env, "js_waiting", "soon", false);
    char *output = run_command(env, 1,
        STRINGS("spool", "retry", "--json", "js_nowhere", "js_waiting", "js_late", "js_given_up",
            "js_damaged"));
    json_t *answers = json_loads(output, 0, NULL);
    static const bool expected_done[] = {false, false, true, true, true};
    assert_int_equal(json_array_size(answers), 5);
    for (size_t i = 0; i < 5; i++)
        assert_int_equal(
            json_is_true(json_object_get(json_array_get(answers, i), "done")), expected_done[i]);
    json_decref(answers);
    free(output);
    struct spool *spool = open_spool(env, TEST_ACCOUNT);
    assert_int_equal(spool_load(spool, "js_late", &record, NULL), 0);
    assert_string_equal(record.reply, escaping_reply);
    assert_int_equal(record.runs, 2);
    free(record.reply);
    assert_int_equal(spool_load(spool, "js_waiting", &record, NULL), 0);
    assert_string_equal(record.reply, "soon");
    free(record.reply);
    spool_close(spool);
    assert_false(state_file_exists(env, "dead/js_late.json"));
    assert_true(state_file_exists(env, "dead/js_waiting.json"));
    assert_false(state_file_exists(env, "dead/js_given_up.json"));
    assert_false(state_file_exists(env, "dead/js_damaged.json"));
}

/* Loads one notification, copies its id and makes it a dead letter. */
static void load_dead_letter(struct test_env *env, const char *reply, char id[static ID_BYTES])
{
    json_t *rows = board_load(env, 1, 1);
    const json_t *row = json_array_get(rows, 0);
    struct spool_record record = make_record(board_string(row, "id"), reply);
    text_copy(id, ID_BYTES, record.id);
    text_copy(record.agent_id, sizeof record.agent_id, board_string(row, "agent"));
    text_copy(record.agent_slug, sizeof record.agent_slug, board_string(row, "slug"));
    text_copy(record.task_id, sizeof record.task_id, board_string(row, "task"));
    save_record(env, &record, true);
    json_decref(rows);
}

/* Left as they are by every command but drop, which an operator has to ask for. */
static void test_records_of_a_newer_release_are_shown_and_kept(void **state)
{
    struct test_env *env = *state;
    static const char dead_line[] =
        "dead/: 4 records: 1 replied (16 bytes), 1 given up, 1 damaged, 1 of a newer release\n";
    save_one_of_each(env);
    write_state_file(env, "spool/js_newer.json", newer_record);
    write_state_file(env, "dead/js_newest.json", newer_record);
    expect_output(env, 0, STRINGS("spool", "list"),
        STRINGS("spool  js_newer     -       newer release     -  -  ",
            "dead   js_newest    -       newer release     -  -  ",
            "spool/: 3 records: 1 replied (4 bytes), 1 asking, 0 damaged, 1 of a newer release\n",
            dead_line));
    expect_output(env, 0, STRINGS("spool", "list", "--json"),
        STRINGS("\"id\": \"js_newer\",\n    \"state\": \"newer release\""));
    expect_output(env, 0, STRINGS("spool", "show", "js_newer"),
        STRINGS("state:        newer release\n", "reason:       ", "written by a newer release",
            "format version 4"));
    expect_output(env, 1, STRINGS("spool", "retry", "js_newest", "js_newer"),
        STRINGS("js_newest: unchanged: it was written by a newer release",
            "js_newer: unchanged: it is in spool/, not in dead/, and was written by a newer"));
    expect_output(env, 1, STRINGS("spool", "drop", "js_newer"), STRINGS("js_newer: unchanged"));
    assert_true(state_file_exists(env, "spool/js_newer.json"));
    assert_true(state_file_exists(env, "dead/js_newest.json"));
    expect_output(env, 0, STRINGS("spool", "drop", "js_newest"),
        STRINGS("js_newest: dropped; it was written by a newer release"));
    assert_false(state_file_exists(env, "dead/js_newest.json"));
}

/* A runtime treats notifications in dead/ as ended and does nothing for them. */
static void expect_start_does_nothing(struct test_env *env)
{
    test_env_start_runtime(env, NULL);
    test_env_wait(env, "action=listUndeliveredNotifications&calls=3");
    test_env_stop_runtime(env);
    assert_int_equal(test_env_stat(env, "gateway", "requests"), 0);
    assert_int_equal(test_env_stat(env, NULL, "replies"), 0);
}

static void test_retried_reply_is_written_once_without_a_run(void **state)
{
    struct test_env *env = *state;
    char id[ID_BYTES];
    int count;
    load_dead_letter(env, "the late reply", id);
    expect_start_does_nothing(env);
    expect_output(env, 0, STRINGS("spool", "retry", id), STRINGS("the next start posts its reply"));
    test_env_start_runtime(env, NULL);
    test_env_wait(env, "delivered=1");
    test_env_stop_runtime(env);
    test_env_start_runtime(env, NULL);
    test_env_stop_runtime(env);
    json_t *messages = board_documents(env, "messages");
    const json_t *message = board_message_for(messages, id, &count);
    assert_int_equal(count, 1);
    assert_string_equal(board_string(message, "content"), "the late reply");
    json_decref(messages);
    assert_int_equal(test_env_stat(env, "gateway", "requests"), 0);
    expect_output(
        env, 0, STRINGS("spool", "list"), STRINGS("spool/: 0 records", "dead/: 0 records"));
}

static void test_retry_without_a_reply_runs_the_agent(void **state)
{
    struct test_env *env = *state;
    char id[ID_BYTES];
    load_dead_letter(env, NULL, id);
    expect_start_does_nothing(env);
    expect_output(env, 0, STRINGS("spool", "retry", id), STRINGS("the agent is asked again after"));
    test_env_start_runtime(env, NULL);
    test_env_wait(env, "delivered=1");
    test_env_stop_runtime(env);
    assert_int_equal(board_requests_for(env, id), 1);
}

/* The runtime goes on meanwhile: the reply is posted now, once, and no agent is asked. */
static void test_running_runtime_posts_a_retried_reply_once(void **state)
{
    struct test_env *env = *state;
    char id[ID_BYTES];
    int count;
    load_dead_letter(env, "the late reply", id);
    test_env_start_runtime(env, NULL);
    test_env_wait_calls(env, "listUndeliveredNotifications", 2);
    expect_output(env, 0, STRINGS("spool", "retry", id), STRINGS("the runtime posts its reply"));
    test_env_wait(env, "delivered=1");
    expect_output(
        env, 1, STRINGS("spool", "retry", id, "js_nowhere"), STRINGS("js_nowhere: no record"));
    test_env_wait_calls(env, "listUndeliveredNotifications", 2);
    test_env_wait_words(env, "/health", "\"dead\": 0", true);
    json_t *messages = board_documents(env, "messages");
    const json_t *message = board_message_for(messages, id, &count);
    assert_int_equal(count, 1);
    assert_string_equal(board_string(message, "content"), "the late reply");
    json_decref(messages);
    test_env_wait_log(env, "[Control] by an operator: ");
    test_env_stop_runtime(env);
    assert_int_equal(test_env_stat(env, "gateway", "requests"), 0);
    assert_false(state_file_exists(env, "control"));
}

static void test_running_runtime_asks_again_for_a_retried_letter_without_reply(void **state)
{
    struct test_env *env = *state;
    char id[ID_BYTES];
    load_dead_letter(env, NULL, id);
    test_env_start_runtime(env, NULL);
    test_env_wait_calls(env, "listUndeliveredNotifications", 2);
    assert_int_equal(board_requests_for(env, id), 0);
    expect_output(env, 0, STRINGS("spool", "retry", id), STRINGS("the agent is asked again\n"));
    test_env_wait(env, "delivered=1");
    test_env_wait_calls(env, "listUndeliveredNotifications", 2);
    assert_int_equal(board_requests_for(env, id), 1);
    test_env_stop_runtime(env);
}

static void test_running_runtime_keeps_a_dropped_letter_settled(void **state)
{
    struct test_env *env = *state;
    char id[ID_BYTES];
    load_dead_letter(env, "the late reply", id);
    test_env_start_runtime(env, NULL);
    expect_output(
        env, 0, STRINGS("spool", "drop", id), STRINGS("dropped with a reply of 14 bytes"));
    test_env_wait_calls(env, "listUndeliveredNotifications", 3);
    assert_int_equal(board_requests_for(env, id), 0);
    test_env_wait_words(env, "/health", "\"dead\": 0", true);
    test_env_stop_runtime(env);
    assert_int_equal(test_env_stat(env, NULL, "delivered"), 0);
}

/* Why: in the list, whether the runtime still tries or has given up, in its log and on its page. */
static void test_reason_of_a_reply_that_is_refused_is_shown(void **state)
{
    struct test_env *env = *state;
    char id[ID_BYTES];
    board_load_one(env, id);
    board_backend_fault(env, json_pack("{s:s, s:s, s:s}", "action", "createMessageFromAgent",
                                 "behaviour", "function_error", "message", "the thread is locked"));
    test_env_start_runtime(
        env, STRINGS("DELIVERY_BACKOFF_BASE_MS=300", "DELIVERY_BACKOFF_MAX_MS=300"));
    test_env_wait_log(env, "Failed to deliver");
    expect_output(env, 0, STRINGS("spool", "list"), STRINGS("spool  js", "the thread is locked"));
    process_fini(&env->runtime);
    test_env_start_runtime(env, STRINGS("DELIVERY_GIVE_UP_AFTER_MS=1500",
                                    "DELIVERY_BACKOFF_BASE_MS=300", "DELIVERY_BACKOFF_MAX_MS=300"));
    test_env_wait_log(env, "moved to dead/");
    expect_output(env, 0, STRINGS("spool", "list"), STRINGS("dead   js", "the thread is locked"));
    test_env_wait_log(env, "the thread is locked");
    test_env_wait_words(env, "/status", "\"part\":\"dead letter\"", true);
    test_env_stop_runtime(env);
    process_fini(&env->runtime);
    test_env_start_runtime(env, NULL);
    test_env_wait_words(env, "/status", "\"part\":\"dead letter\"", true);
    test_env_wait_words(env, "/status", "\"state\":\"attention\"", true);
    test_env_stop_runtime(env);
}

/* Its letter is of an earlier end; the notification itself is with a worker. */
static void test_notification_in_hand_is_not_retried(void **state)
{
    struct test_env *env = *state;
    char id[ID_BYTES];
    board_hold_agents(env, "agent");
    board_load_one(env, id);
    test_env_start_runtime(env, NULL);
    test_env_wait(env, "in_flight=1");
    struct spool_record record = make_record(id, "an earlier reply");
    struct spool *spool = open_spool(env, TEST_ACCOUNT);
    assert_int_equal(spool_save(spool, &record, true, NULL), 0);
    assert_int_equal(spool_bury(spool, id, NULL), 0);
    spool_close(spool);
    free(record.reply);
    expect_output(env, 1, STRINGS("spool", "retry", id),
        STRINGS("unchanged: the runtime has this notification in hand"));
    board_release(env, "agent");
    test_env_wait(env, "delivered=1");
    test_env_stop_runtime(env);
    assert_int_equal(board_requests_for(env, id), 1);
}

/* Killed between the disk and the queue: the next start posts what is in spool/, once. */
static void test_kill_amid_a_retry_loses_and_repeats_nothing(void **state)
{
    struct test_env *env = *state;
    char id[ID_BYTES];
    int count;
    env->runtime_program = "stop-points/mission-control-runtime";
    load_dead_letter(env, "the late reply", id);
    test_env_start_runtime(env, STRINGS("MISSION_CONTROL_STOP_AT=after_exhume:1"));
    expect_output(env, 1, STRINGS("spool", "retry", id),
        STRINGS("it is not known whether this was done; see spool list"));
    assert_int_equal(process_wait_exit(&env->runtime, TEST_WAIT_MS), 128 + SIGKILL);
    process_fini(&env->runtime);
    assert_true(state_file_exists(env, "control"));
    expect_output(env, 0, STRINGS("spool", "list"), STRINGS("spool/: 1 record: 1 replied"));
    test_env_start_runtime(env, NULL);
    test_env_wait(env, "delivered=1");
    test_env_stop_runtime(env);
    json_t *messages = board_documents(env, "messages");
    board_message_for(messages, id, &count);
    assert_int_equal(count, 1);
    json_decref(messages);
    assert_int_equal(test_env_stat(env, "gateway", "requests"), 0);
}

/* After a rollback: the notification is still listed, but its record may hold a reply. */
static void test_record_of_a_newer_release_is_not_sent_again(void **state)
{
    struct test_env *env = *state;
    json_t *rows = board_load(env, 1, 1);
    char name[ID_BYTES + sizeof "spool/.json"];
    char id[ID_BYTES];
    text_copy(id, sizeof id, board_string(json_array_get(rows, 0), "id"));
    spool_close(open_spool(env, TEST_ACCOUNT));
    snprintf(name, sizeof name, "spool/%s.json", id);
    json_decref(rows);
    write_state_file(env, name, newer_record);
    test_env_start_runtime(env, NULL);
    test_env_wait_words(env, "/health", "\"newer\": 1", true);
    test_env_wait(env, "action=listUndeliveredNotifications&calls=3");
    test_env_stop_runtime(env);
    assert_int_equal(test_env_stat(env, "gateway", "requests"), 0);
    assert_true(state_file_exists(env, name));
}

/* A record found damaged at startup is a dead letter like any other. */
static void test_health_counts_records_found_damaged_at_startup(void **state)
{
    struct test_env *env = *state;
    save_reply(env, "js_asking", NULL, false);
    write_state_file(env, "spool/js_damaged.json", "{");
    test_env_start_runtime(env, NULL);
    test_env_wait_words(env, "/health", "\"dead\": 1", true);
    assert_true(state_file_exists(env, "dead/js_damaged.json"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_IN_ENV(test_list_shows_each_state_and_totals),
        TEST_IN_ENV(test_wake_up_is_listed),
        TEST_IN_ENV(test_list_json_has_every_record),
        TEST_IN_ENV(test_failed_write_to_stdout_exits_71),
        TEST_IN_ENV(test_show_prints_the_reply_verbatim),
        TEST_IN_ENV(test_show_escapes_the_reply_on_a_terminal),
        TEST_IN_ENV(test_wrong_arguments_exit_64),
        TEST_IN_ENV(test_missing_or_foreign_state_dir_is_refused),
        TEST_IN_ENV(test_list_and_show_work_beside_a_runtime),
        TEST_IN_ENV(test_runtime_that_cannot_be_asked_has_to_be_stopped),
        TEST_ON_BOTH(test_running_runtime_posts_a_retried_reply_once),
        TEST_ON_BOTH(test_running_runtime_asks_again_for_a_retried_letter_without_reply),
        TEST_IN_ENV(test_running_runtime_keeps_a_dropped_letter_settled),
        TEST_ON_BOTH(test_reason_of_a_reply_that_is_refused_is_shown),
        TEST_IN_ENV(test_notification_in_hand_is_not_retried),
        TEST_ON_BOTH(test_kill_amid_a_retry_loses_and_repeats_nothing),
        TEST_IN_ENV(test_root_works_as_the_owner_of_the_directory),
        TEST_IN_ENV(test_root_follows_no_link),
        TEST_IN_ENV(test_drop_removes_dead_letters_only),
        TEST_ON_BOTH(test_retry_moves_every_record_it_can),
        TEST_ON_BOTH(test_retried_reply_is_written_once_without_a_run),
        TEST_ON_BOTH(test_retry_without_a_reply_runs_the_agent),
        TEST_IN_ENV(test_records_of_a_newer_release_are_shown_and_kept),
        TEST_IN_ENV(test_record_of_a_newer_release_is_not_sent_again),
        TEST_IN_ENV(test_health_counts_records_found_damaged_at_startup),
    };
    return cmocka_run_group_tests_name("spool_command", tests, NULL, NULL);
}
