/* Undeliverable notifications end visibly: with a note in the thread, or as a dead letter. */
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

/* The only notification of a board, and its agent. */
struct target {
    char id[ID_BYTES];
    char agent[ID_BYTES];
};

static struct target load_target(struct fault_env *faults)
{
    struct target target;
    json_t *rows = board_load(faults->env, 1, 1);
    const json_t *row = json_array_get(rows, 0);
    snprintf(target.id, sizeof target.id, "%s", board_string(row, "id"));
    snprintf(target.agent, sizeof target.agent, "%s", board_string(row, "agent"));
    json_decref(rows);
    return target;
}

/* The agent replies, but is no longer there when the reply is posted. */
static void start_and_delete_agent_during_run(struct fault_env *faults, const char *agent)
{
    board_hold_agents(faults->env, "agent");
    fault_env_start(faults, NULL);
    test_env_wait(faults->env, "held=1");
    json_decref(test_env_post(faults->env, "/sandbox/delete", json_pack("{s:s}", "id", agent)));
    board_release(faults->env, "agent");
}

static void expect_dead_letter(struct fault_env *faults, const char *id)
{
    char path[512];
    snprintf(path, sizeof path, "%s/dead/%s.json", faults->state_dir, id);
    json_t *record = json_load_file(path, 0, NULL);
    if (record == NULL)
        fail_msg("%s does not exist", path);
    assert_non_null(strstr(board_string(record, "reply"), "Run 1"));
    json_decref(record);
    assert_int_equal(test_env_stat(faults->env, NULL, "replies"), 0);
}

static void test_reply_of_a_deleted_agent_becomes_a_dead_letter(void **state)
{
    struct fault_env *faults = *state;
    struct target target = load_target(faults);
    start_and_delete_agent_during_run(faults, target.agent);
    test_env_wait(faults->env, "undelivered=0");
    test_env_stop_runtime(faults->env);
    assert_int_equal(board_requests_for(faults->env, target.id), 1);
    expect_dead_letter(faults, target.id);
}

static void test_reply_rejected_too_long_becomes_a_dead_letter(void **state)
{
    struct fault_env *faults = *state;
    struct target target = load_target(faults);
    board_fail(faults->env, "createMessageFromAgent", "function_error", -1);
    fault_env_start(faults, STRINGS("DELIVERY_GIVE_UP_AFTER_MS=1000"));
    test_env_wait(faults->env, "undelivered=0");
    test_env_stop_runtime(faults->env);
    assert_int_equal(board_requests_for(faults->env, target.id), 1);
    expect_dead_letter(faults, target.id);
}

static const char *const short_deadline[] = {"DELIVERY_GIVE_UP_AFTER_MS=500", NULL};

static void retry_dead_letter(struct fault_env *faults, const char *id)
{
    struct process *command = &faults->env->second;
    test_env_launch(faults->env, command, NULL, STRINGS("spool", "retry", id));
    assert_int_equal(process_wait_exit(command, TEST_WAIT_MS), 0);
}

static void expect_moved_to_dead(struct fault_env *faults, const char *id)
{
    test_env_wait_log(faults->env, "moved to dead/");
    test_env_stop_runtime(faults->env);
    expect_dead_letter(faults, id);
}

/* By then we have marked the notification ourselves, which does not mean the reply was written. */
static void test_retried_reply_rejected_again_stays_a_dead_letter(void **state)
{
    struct fault_env *faults = *state;
    struct target target = load_target(faults);
    board_fail(faults->env, "createMessageFromAgent", "function_error", -1);
    fault_env_start(faults, short_deadline);
    expect_moved_to_dead(faults, target.id);
    assert_int_equal(test_env_stat(faults->env, NULL, "undelivered"), 0);
    retry_dead_letter(faults, target.id);
    fault_env_start(faults, short_deadline);
    expect_moved_to_dead(faults, target.id);
    retry_dead_letter(faults, target.id);
    board_clear_faults(faults->env);
    fault_env_start(faults, short_deadline);
    test_env_wait(faults->env, "replies=1");
    test_env_stop_runtime(faults->env);
    assert_int_equal(board_requests_for(faults->env, target.id), 1);
}

static void test_retried_reply_of_a_deleted_agent_stays_a_dead_letter(void **state)
{
    struct fault_env *faults = *state;
    struct target target = load_target(faults);
    start_and_delete_agent_during_run(faults, target.agent);
    expect_moved_to_dead(faults, target.id);
    retry_dead_letter(faults, target.id);
    fault_env_start(faults, NULL);
    expect_moved_to_dead(faults, target.id);
}

/* The process dies after marking the notification and before moving the reply to dead/. */
static void test_crash_before_the_move_to_dead_loses_no_reply(void **state)
{
    struct fault_env *faults = *state;
    struct target target = load_target(faults);
    board_fail(faults->env, "createMessageFromAgent", "function_error", -1);
    faults->env->runtime_program = "stop-points/mission-control-runtime";
    fault_env_launch(faults, STRINGS(short_deadline[0], "MISSION_CONTROL_STOP_AT=after_mark:1"));
    assert_int_equal(process_wait_exit(&faults->env->runtime, TEST_WAIT_MS), 128 + SIGKILL);
    assert_int_equal(test_env_stat(faults->env, NULL, "undelivered"), 0);
    fault_env_start(faults, short_deadline);
    expect_moved_to_dead(faults, target.id);
}

static void test_agent_refused_too_long_ends_with_a_note(void **state)
{
    struct fault_env *faults = *state;
    struct target target = load_target(faults);
    board_gateway_fault(
        faults->env, json_pack("{s:{s:s}, s:s, s:b, s:i, s:{s:{s:s}}}", "match", "agent", "worker1",
                         "action", "status", "before_checks", 1, "status", 400, "body_json",
                         "error", "message", "made to fail"));
    fault_env_start(faults, STRINGS("DELIVERY_GIVE_UP_AFTER_MS=1000"));
    fault_env_settle(faults, &(struct history_rules){.max_runs = 0, .notes = true});
    assert_int_equal(board_requests_for(faults->env, target.id), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_IN_FAULT_ENV(test_reply_of_a_deleted_agent_becomes_a_dead_letter),
        TEST_IN_FAULT_ENV(test_reply_rejected_too_long_becomes_a_dead_letter),
        TEST_IN_FAULT_ENV(test_retried_reply_rejected_again_stays_a_dead_letter),
        TEST_IN_FAULT_ENV(test_retried_reply_of_a_deleted_agent_stays_a_dead_letter),
        TEST_IN_FAULT_ENV(test_crash_before_the_move_to_dead_loses_no_reply),
        TEST_IN_FAULT_ENV(test_agent_refused_too_long_ends_with_a_note),
    };
    return cmocka_run_group_tests_name("give_up", tests, NULL, NULL);
}
