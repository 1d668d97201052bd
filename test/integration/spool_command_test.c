/* The command spool: what it shows, what it changes, and what comes of that. */
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

static const char escaping_reply[] = "one\ttwo\n\x1B[31mred";

/* Words for the program, ended by NULL. */
#define WORDS(...) ((const char *const[]){__VA_ARGS__, NULL})

static void path_of(const struct test_env *env, const char *name, char path[static PATH_BYTES])
{
    snprintf(path, PATH_BYTES, "%s/state/%s", env->dir, name);
}

static bool exists(const struct test_env *env, const char *name)
{
    char path[PATH_BYTES];
    path_of(env, name, path);
    return access(path, F_OK) == 0;
}

static void write_file(const struct test_env *env, const char *name, const char *content)
{
    char path[PATH_BYTES];
    path_of(env, name, path);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fputs(content, file) >= 0, 1);
    assert_int_equal(fclose(file), 0);
}

static struct spool *open_spool(const struct test_env *env, const char *account_id)
{
    char path[PATH_BYTES];
    struct spool *spool;
    path_of(env, "", path);
    mkdir(path, 0700);
    assert_int_equal(spool_open(&spool, path, account_id, NULL), 0);
    return spool;
}

static struct spool_record record_of(const char *id, const char *reply)
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

/* Puts the record into spool/ or dead/ and frees its reply. */
static void keep(const struct test_env *env, struct spool_record *record, bool dead)
{
    struct spool *spool = open_spool(env, TEST_ACCOUNT);
    assert_int_equal(spool_save(spool, record, true, NULL), 0);
    if (dead)
        assert_int_equal(spool_bury(spool, record->id, NULL), 0);
    spool_close(spool);
    free(record->reply);
}

static void keep_as(const struct test_env *env, const char *id, const char *reply, bool dead)
{
    struct spool_record record = record_of(id, reply);
    keep(env, &record, dead);
}

/* One of each state. */
static void fill(const struct test_env *env)
{
    keep_as(env, "js_asking", NULL, false);
    keep_as(env, "js_waiting", "soon", false);
    keep_as(env, "js_late", escaping_reply, true);
    keep_as(env, "js_given_up", NULL, true);
    write_file(env, "dead/js_damaged.json", "{");
}

/* Runs the program with these words and returns all it said, the caller's to free. */
static char *command(struct test_env *env, int status, const char *const words[])
{
    test_env_launch(env, &env->second, NULL, words);
    int ended = process_wait_exit(&env->second, TEST_WAIT_MS);
    /* Never said, so this waits for the end of the output. */
    process_wait_output(&env->second, "\f\f", TEST_WAIT_MS, NULL, 0);
    if (ended != status) {
        process_dump_output(&env->second, "spool");
        fail_msg("exit status %d instead of %d", ended, status);
    }
    return process_output(&env->second);
}

/* Nor is anything done that could not be said. */
static void test_an_answer_that_cannot_be_written_is_no_success(void **state)
{
    struct test_env *env = *state;
    fill(env);
    env->redirection = ">/dev/full";
    free(command(env, EX_OSERR, WORDS("spool", "list")));
    free(command(env, EX_OSERR, WORDS("spool", "drop", "--json", "js_late")));
    free(command(env, EX_OSERR, WORDS("spool", "drop", "js_given_up", "js_damaged")));
    assert_false(exists(env, "dead/js_given_up.json"));
    assert_true(exists(env, "dead/js_damaged.json"));
}

static void expect_said(
    struct test_env *env, int status, const char *const words[], const char *const said[])
{
    char *output = command(env, status, words);
    for (size_t i = 0; said[i] != NULL; i++)
        if (strstr(output, said[i]) == NULL)
            fail_msg("\"%s\" is not in:\n%s", said[i], output);
    free(output);
}

static void test_list_shows_each_state_and_totals(void **state)
{
    struct test_env *env = *state;
    fill(env);
    expect_said(env, 0, WORDS("spool", "list"),
        WORDS("where  id           agent   state     runs  created", /* as wide as the widest */
            "spool  js_asking    jarvis  asking       2  2023-11-14T22:13:20.123Z            -",
            ".123Z            -  status 500\n",
            "spool  js_waiting   jarvis  replied      2  2023-11-14T22:13:20.123Z            4  ",
            "dead   js_damaged   -       damaged      -  -                                   -  -",
            "dead   js_given_up  jarvis  given up     2  ",
            "dead   js_late      jarvis  replied      2  ",
            "spool/: 2 records: 1 replied (4 bytes), 1 asking, 0 damaged\n",
            "dead/: 3 records: 1 replied (16 bytes), 1 given up, 1 damaged\n"));
    assert_false(exists(env, "lock"));
}

static void test_list_for_programs(void **state)
{
    struct test_env *env = *state;
    fill(env);
    char *output = command(env, 0, WORDS("spool", "--json", "list"));
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

static void test_show_gives_the_reply_as_it_is(void **state)
{
    struct test_env *env = *state;
    char failed[PATH_BYTES];
    fill(env);
    path_of(env, "dead/js_damaged.json", failed);
    expect_said(env, 0, WORDS("spool", "show", "js_late"),
        WORDS("agent:        jarvis (agent7)\n", "task:         task9\n", "runs:         2\n",
            "reply:        16 bytes\n\none\ttwo\n\x1B[31mred\n"));
    expect_said(env, 0, WORDS("spool", "show", "js_asking"), WORDS("state:        asking", "none"));
    expect_said(env, 0, WORDS("spool", "show", "js_damaged"), WORDS("invalid JSON", failed));
    expect_said(env, 1, WORDS("spool", "show", "js_nowhere"), WORDS("js_nowhere"));
    char *output = command(env, 0, WORDS("spool", "--json", "show", "js_late"));
    json_t *rows = json_loads(output, 0, NULL);
    assert_string_equal(board_string(json_array_get(rows, 0), "reply"), escaping_reply);
    json_decref(rows);
    free(output);
}

/* What argv prints when its standard output is a terminal. */
static void run_on_terminal(
    const char *const argv[], char *const environment[], char *output, size_t output_bytes)
{
    posix_spawn_file_actions_t actions;
    pid_t child;
    int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (master < 0) {
        print_message("skipped: no terminal can be made here: %s\n", strerror(errno));
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

static void test_show_keeps_a_terminal_from_harm(void **state)
{
    struct test_env *env = *state;
    char program[256];
    char dir[PATH_BYTES + sizeof "STATE_DIR="];
    char output[4096];
    const char *build = getenv("MISSION_CONTROL_BUILD");
    char account[] = "ACCOUNT_ID=" TEST_ACCOUNT;
    char token[] = "SERVICE_TOKEN=" TEST_TOKEN;
    char url[] = "CONVEX_URL=http://127.0.0.1:1";
    fill(env);
    snprintf(
        program, sizeof program, "%s/mission-control-runtime", build != NULL ? build : "build");
    snprintf(dir, sizeof dir, "STATE_DIR=%s/state", env->dir);
    char *environment[] = {account, token, url, dir, NULL};
    run_on_terminal(WORDS(program, "spool", "show", "js_late"), environment, output, sizeof output);
    assert_null(strchr(output, '\x1B'));
    assert_non_null(strstr(output, "\\x1B[31mred"));
    assert_non_null(strstr(output, "one\ttwo"));
}

static void test_wrong_words_are_usage_errors(void **state)
{
    struct test_env *env = *state;
    static const char *const right[] = {"list, show ID, retry ID..., drop ID...", NULL};
    expect_said(env, 64, WORDS("spool"), right);
    expect_said(env, 64, WORDS("spool", "empty"), right);
    expect_said(env, 64, WORDS("spool", "list", "js1"), right);
    expect_said(env, 64, WORDS("spool", "show"), right);
    expect_said(env, 64, WORDS("spool", "show", "js1", "js2"), right);
    expect_said(env, 64, WORDS("spool", "retry"), right);
    expect_said(env, 64, WORDS("spool", "drop"), right);
}

static void test_dir_that_is_missing_or_anothers(void **state)
{
    struct test_env *env = *state;
    expect_said(env, 1, WORDS("spool", "list"), WORDS("/state does not exist"));
    expect_said(env, 1, WORDS("spool", "retry", "js1"), WORDS("/state does not exist"));
    assert_false(exists(env, ""));
    spool_close(open_spool(env, "another"));
    expect_said(env, 78, WORDS("spool", "list"), WORDS("belongs to account another"));
    expect_said(env, 78, WORDS("spool", "drop", "js1"), WORDS("belongs to account another"));
}

static void test_beside_a_runtime_one_may_look_only(void **state)
{
    struct test_env *env = *state;
    char holder[64];
    keep_as(env, "js_late", "late", true);
    test_env_start_runtime(env, NULL);
    snprintf(holder, sizeof holder, "process %d", (int)env->runtime.pid);
    expect_said(env, 75, WORDS("spool", "retry", "js_late"), WORDS(holder, "stop that one"));
    expect_said(env, 75, WORDS("spool", "drop", "js_late"), WORDS(holder, "stop that one"));
    assert_true(exists(env, "dead/js_late.json"));
    write_file(env, "spool/js_next.json.new", "a write that goes on");
    expect_said(env, 0, WORDS("spool", "list"), WORDS("dead   js_late"));
    expect_said(env, 0, WORDS("spool", "show", "js_late"), WORDS("late"));
    assert_true(exists(env, "spool/js_next.json.new"));
    test_env_stop_runtime(env);
    expect_said(env, 0, WORDS("spool", "drop", "js_late"), WORDS("js_late: dropped"));
}

static void test_drop_removes_dead_letters_only(void **state)
{
    struct test_env *env = *state;
    fill(env);
    expect_said(env, 1,
        WORDS("spool", "drop", "js_nowhere", "js_waiting", "../account", "js_late", "js_given_up",
            "js_damaged"),
        WORDS("js_nowhere: neither", "js_waiting: left as it is", "\"../account\" is no id",
            "js_late: dropped; lost is a reply of 16 bytes by jarvis",
            "js_given_up: dropped; it held no reply", "js_damaged: dropped; it was damaged"));
    assert_true(exists(env, "spool/js_waiting.json"));
    assert_true(exists(env, "account"));
    assert_false(exists(env, "dead/js_late.json"));
    assert_false(exists(env, "dead/js_given_up.json"));
    assert_false(exists(env, "dead/js_damaged.json"));
}

static void test_retry_does_all_that_it_can(void **state)
{
    struct test_env *env = *state;
    struct spool_record record;
    fill(env);
    keep_as(env, "js_waiting", "another", true);
    keep_as(env, "js_waiting", "soon", false);
    char *output = command(env, 1,
        WORDS("spool", "retry", "--json", "js_nowhere", "js_waiting", "js_late", "js_given_up",
            "js_damaged"));
    json_t *answers = json_loads(output, 0, NULL);
    static const bool done[] = {false, false, true, true, true};
    assert_int_equal(json_array_size(answers), 5);
    for (size_t i = 0; i < 5; i++)
        assert_int_equal(
            json_is_true(json_object_get(json_array_get(answers, i), "done")), done[i]);
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
    assert_false(exists(env, "dead/js_late.json"));
    assert_true(exists(env, "dead/js_waiting.json"));
    assert_false(exists(env, "dead/js_given_up.json"));
    assert_false(exists(env, "dead/js_damaged.json"));
}

/* A dead record of the only notification of a new board; its id is copied. */
static void bury_one(struct test_env *env, const char *reply, char id[static ID_BYTES])
{
    json_t *rows = board_load(env, 1, 1);
    const json_t *row = json_array_get(rows, 0);
    struct spool_record record = record_of(board_string(row, "id"), reply);
    text_copy(id, ID_BYTES, record.id);
    text_copy(record.agent_id, sizeof record.agent_id, board_string(row, "agent"));
    text_copy(record.agent_slug, sizeof record.agent_slug, board_string(row, "slug"));
    text_copy(record.task_id, sizeof record.task_id, board_string(row, "task"));
    keep(env, &record, true);
    json_decref(rows);
}

/* The runtime knows what is in dead/ as ended. */
static void start_in_vain(struct test_env *env)
{
    test_env_start_runtime(env, NULL);
    test_env_wait(env, "action=listUndeliveredNotifications&calls=3");
    test_env_stop_runtime(env);
    assert_int_equal(test_env_stat(env, "gateway", "requests"), 0);
    assert_int_equal(test_env_stat(env, NULL, "replies"), 0);
}

static void test_retried_reply_is_written_once_without_asking(void **state)
{
    struct test_env *env = *state;
    char id[ID_BYTES];
    int count;
    bury_one(env, "the late reply", id);
    start_in_vain(env);
    expect_said(env, 0, WORDS("spool", "retry", id), WORDS("the next start writes its reply"));
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
    expect_said(env, 0, WORDS("spool", "list"), WORDS("spool/: 0 records", "dead/: 0 records"));
}

static void test_retry_without_a_reply_has_the_agent_asked(void **state)
{
    struct test_env *env = *state;
    char id[ID_BYTES];
    bury_one(env, NULL, id);
    start_in_vain(env);
    expect_said(env, 0, WORDS("spool", "retry", id), WORDS("has the agent asked anew"));
    test_env_start_runtime(env, NULL);
    test_env_wait(env, "delivered=1");
    test_env_stop_runtime(env);
    assert_int_equal(board_requests_for(env, id), 1);
}

/* What the start itself finds damaged is a dead letter like any other. */
static void test_health_counts_what_the_start_found_damaged(void **state)
{
    struct test_env *env = *state;
    char *body;
    keep_as(env, "js_asking", NULL, false);
    write_file(env, "spool/js_damaged.json", "{");
    test_env_start_runtime(env, NULL);
    assert_int_equal(test_env_health_get(env, "/health", &body), 200);
    assert_true(exists(env, "dead/js_damaged.json"));
    assert_non_null(strstr(body, "\"dead\": 1"));
    free(body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_IN_ENV(test_list_shows_each_state_and_totals),
        TEST_IN_ENV(test_list_for_programs),
        TEST_IN_ENV(test_an_answer_that_cannot_be_written_is_no_success),
        TEST_IN_ENV(test_show_gives_the_reply_as_it_is),
        TEST_IN_ENV(test_show_keeps_a_terminal_from_harm),
        TEST_IN_ENV(test_wrong_words_are_usage_errors),
        TEST_IN_ENV(test_dir_that_is_missing_or_anothers),
        TEST_IN_ENV(test_beside_a_runtime_one_may_look_only),
        TEST_IN_ENV(test_drop_removes_dead_letters_only),
        TEST_IN_ENV(test_retry_does_all_that_it_can),
        TEST_IN_ENV(test_retried_reply_is_written_once_without_asking),
        TEST_IN_ENV(test_retry_without_a_reply_has_the_agent_asked),
        TEST_IN_ENV(test_health_counts_what_the_start_found_damaged),
    };
    return cmocka_run_group_tests_name("spool_command", tests, NULL, NULL);
}
