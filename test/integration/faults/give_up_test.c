/* What cannot be delivered ends where a person can see it: as a note, or as a reply that is kept.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/containers.h"
#include "fault_env.h"

/* A notification and its agent, of a new board with nothing else. */
struct one {
    char id[ID_BYTES];
    char agent[ID_BYTES];
};

static struct one load_one(struct fault_env *faults)
{
    struct one one;
    json_t *rows = board_load(faults->env, 1, 1);
    const json_t *row = json_array_get(rows, 0);
    snprintf(one.id, sizeof one.id, "%s", board_string(row, "id"));
    snprintf(one.agent, sizeof one.agent, "%s", board_string(row, "agent"));
    json_decref(rows);
    return one;
}

static void refuse_messages(struct fault_env *faults)
{
    board_backend_fault(faults->env,
        json_pack("{s:s, s:s}", "action", "createMessageFromAgent", "behaviour", "function_error"));
}

static void expect_kept_reply(struct fault_env *faults, const char *id)
{
    char path[512];
    snprintf(path, sizeof path, "%s/dead/%s.json", faults->state_dir, id);
    json_t *record = json_load_file(path, 0, NULL);
    if (record == NULL)
        fail_msg("there is no %s", path);
    assert_non_null(strstr(board_string(record, "reply"), "Run 1"));
    json_decref(record);
    assert_int_equal(test_env_stat(faults->env, NULL, "replies"), 0);
}

static void test_reply_for_an_agent_that_is_gone_is_kept(void **state)
{
    struct fault_env *faults = *state;
    struct one one = load_one(faults);
    board_hold_agents(faults->env, "agent");
    fault_env_start(faults, NULL);
    test_env_wait(faults->env, "held=1");
    json_decref(test_env_post(faults->env, "/sandbox/delete", json_pack("{s:s}", "id", one.agent)));
    board_release(faults->env, "agent");
    test_env_wait(faults->env, "undelivered=0");
    test_env_stop_runtime(faults->env);
    assert_int_equal(board_requests_for(faults->env, one.id), 1);
    expect_kept_reply(faults, one.id);
}

static void test_reply_that_is_refused_for_too_long_is_kept(void **state)
{
    struct fault_env *faults = *state;
    struct one one = load_one(faults);
    refuse_messages(faults);
    fault_env_start(faults, (const char *[]){"DELIVERY_GIVE_UP_AFTER_MS=1000", NULL});
    test_env_wait(faults->env, "undelivered=0");
    test_env_stop_runtime(faults->env);
    assert_int_equal(board_requests_for(faults->env, one.id), 1);
    expect_kept_reply(faults, one.id);
}

static const char *const soon[] = {"DELIVERY_GIVE_UP_AFTER_MS=500", NULL};

static void send_again(struct fault_env *faults, const char *id)
{
    struct process *command = &faults->env->second;
    test_env_launch(faults->env, command, NULL, (const char *[]){"spool", "retry", id, NULL});
    assert_int_equal(process_wait_exit(command, TEST_WAIT_MS), 0);
}

static void expect_burial(struct fault_env *faults, const char *id)
{
    test_env_wait_log(faults->env, "it is kept in dead/");
    test_env_stop_runtime(faults->env);
    expect_kept_reply(faults, id);
}

/* The notification is marked by then, by us: that says nothing about the reply. */
static void test_reply_that_is_refused_again_is_kept_again(void **state)
{
    struct fault_env *faults = *state;
    struct one one = load_one(faults);
    refuse_messages(faults);
    fault_env_start(faults, soon);
    expect_burial(faults, one.id);
    assert_int_equal(test_env_stat(faults->env, NULL, "undelivered"), 0);
    send_again(faults, one.id);
    fault_env_start(faults, soon);
    expect_burial(faults, one.id);
    send_again(faults, one.id);
    board_clear_faults(faults->env);
    fault_env_start(faults, soon);
    test_env_wait(faults->env, "replies=1");
    test_env_stop_runtime(faults->env);
    assert_int_equal(board_requests_for(faults->env, one.id), 1);
}

static void test_retried_reply_for_an_agent_that_is_gone_is_kept_again(void **state)
{
    struct fault_env *faults = *state;
    struct one one = load_one(faults);
    board_hold_agents(faults->env, "agent");
    fault_env_start(faults, NULL);
    test_env_wait(faults->env, "held=1");
    json_decref(test_env_post(faults->env, "/sandbox/delete", json_pack("{s:s}", "id", one.agent)));
    board_release(faults->env, "agent");
    expect_burial(faults, one.id);
    send_again(faults, one.id);
    fault_env_start(faults, NULL);
    expect_burial(faults, one.id);
}

/* The process dies when the notification is marked and the reply not in dead/ yet. */
static void test_death_before_the_burial_loses_no_reply(void **state)
{
    struct fault_env *faults = *state;
    struct one one = load_one(faults);
    refuse_messages(faults);
    faults->env->runtime_program = "stop-points/mission-control-runtime";
    fault_env_launch(
        faults, (const char *[]){soon[0], "MISSION_CONTROL_STOP_AT=after_mark:1", NULL});
    assert_int_equal(process_wait_exit(&faults->env->runtime, TEST_WAIT_MS), 128 + SIGKILL);
    assert_int_equal(test_env_stat(faults->env, NULL, "undelivered"), 0);
    fault_env_start(faults, soon);
    expect_burial(faults, one.id);
}

static void test_agent_that_is_refused_for_too_long_ends_in_a_note(void **state)
{
    struct fault_env *faults = *state;
    struct one one = load_one(faults);
    board_gateway_fault(
        faults->env, json_pack("{s:{s:s}, s:s, s:b, s:i, s:{s:{s:s}}}", "match", "agent", "worker1",
                         "action", "status", "before_checks", 1, "status", 500, "body_json",
                         "error", "message", "made to fail"));
    fault_env_start(faults, (const char *[]){"DELIVERY_GIVE_UP_AFTER_MS=1000", NULL});
    fault_env_settle(faults, &(struct history_rules){.max_runs = 0, .notes = true});
    assert_int_equal(board_requests_for(faults->env, one.id), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_IN_FAULT_ENV(test_reply_for_an_agent_that_is_gone_is_kept),
        TEST_IN_FAULT_ENV(test_reply_that_is_refused_for_too_long_is_kept),
        TEST_IN_FAULT_ENV(test_reply_that_is_refused_again_is_kept_again),
        TEST_IN_FAULT_ENV(test_retried_reply_for_an_agent_that_is_gone_is_kept_again),
        TEST_IN_FAULT_ENV(test_death_before_the_burial_loses_no_reply),
        TEST_IN_FAULT_ENV(test_agent_that_is_refused_for_too_long_ends_in_a_note),
    };
    return cmocka_run_group_tests_name("give_up", tests, NULL, NULL);
}
