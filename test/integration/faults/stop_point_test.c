/* The runtime is killed exactly at each boundary between two stages of a delivery, and restarted.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../lib/backend_call.h"
#include "../../lib/thread.h"
#include "fault_env.h"

enum { NOTIFICATIONS = 5, STOP_AT = 3 /* the notification at which it is killed */ };

static int setup_stop_points(void **state)
{
    int result = fault_env_setup(state);
    if (result == 0)
        ((struct fault_env *)*state)->env->runtime_program = "stop-points/mission-control-runtime";
    return result;
}

/* Agents are listed, and so woken. */
static int setup_wake_ups(void **state)
{
    int result = setup_stop_points(state);
    if (result == 0)
        board_clear_faults(((struct fault_env *)*state)->env);
    return result;
}

/* Loads a lane and runs until the kill at point; returns the number of records in the spool. */
static size_t run_until_killed_at(struct fault_env *faults, const char *point, const char *max_runs)
{
    char stop_at[64];
    snprintf(stop_at, sizeof stop_at, "MISSION_CONTROL_STOP_AT=%s:%d", point, STOP_AT);
    json_decref(board_load(faults->env, NOTIFICATIONS, 1));
    fault_env_launch(faults, STRINGS(stop_at, max_runs));
    assert_int_equal(process_wait_exit(&faults->env->runtime, TEST_WAIT_MS), 128 + SIGKILL);
    return history_add_spool(&faults->history, faults->state_dir);
}

/* What a kill at a point leaves on disk, and how many runs it costs. */
struct kill_cost {
    const char *point;
    size_t records; /* in the spool, after the kill */
    size_t replies;
    long more_runs; /* requests to the agent beyond one for each notification */
};

static void expect_kill_cost(struct fault_env *faults, const struct kill_cost *kill_cost)
{
    const struct history_rules rules = {.max_runs = 2, .lost_answers = kill_cost->more_runs > 0};
    assert_int_equal(
        run_until_killed_at(faults, kill_cost->point, "DELIVERY_MAX_RUNS=2"), kill_cost->records);
    assert_int_equal(json_object_size(faults->history.spooled), kill_cost->replies);
    fault_env_start(faults, STRINGS("DELIVERY_MAX_RUNS=2"));
    fault_env_settle(faults, &rules);
    assert_int_equal(
        test_env_stat(faults->env, "gateway", "deliveries"), NOTIFICATIONS + kill_cost->more_runs);
}

static void test_kill_before_the_send_costs_no_run(void **state)
{
    expect_kill_cost(*state, &(struct kill_cost){"before_send", 1, 0, 0});
}

static void test_kill_before_the_reply_is_spooled_costs_a_run(void **state)
{
    expect_kill_cost(*state, &(struct kill_cost){"after_send", 1, 0, 1});
}

static void test_kill_after_the_reply_is_spooled_costs_no_run(void **state)
{
    expect_kill_cost(*state, &(struct kill_cost){"after_spool", 1, 1, 0});
}

static void test_kill_after_the_message_writes_no_second_one(void **state)
{
    expect_kill_cost(*state, &(struct kill_cost){"after_create_message", 1, 1, 0});
}

static void test_kill_after_the_mark_costs_no_run(void **state)
{
    expect_kill_cost(*state, &(struct kill_cost){"after_mark", 1, 1, 0});
}

static void test_kill_after_the_end_leaves_no_record(void **state)
{
    expect_kill_cost(*state, &(struct kill_cost){"after_spool_remove", 0, 0, 0});
}

/* A run counts once it has been recorded, whether or not the request was sent: budget spent. */
static void expect_note_after_kill(struct fault_env *faults, const char *point, long runs)
{
    const struct history_rules rules = {.max_runs = 1, .lost_answers = true, .notes = true};
    assert_int_equal(run_until_killed_at(faults, point, "DELIVERY_MAX_RUNS=1"), 1);
    fault_env_start(faults, STRINGS("DELIVERY_MAX_RUNS=1"));
    fault_env_settle(faults, &rules);
    assert_int_equal(test_env_stat(faults->env, "gateway", "deliveries"), runs);
}

static void test_kill_before_the_send_spends_the_budget(void **state)
{
    expect_note_after_kill(*state, "before_send", NOTIFICATIONS - 1);
}

static void test_kill_after_the_send_spends_the_budget(void **state)
{
    expect_note_after_kill(*state, "after_send", NOTIFICATIONS);
}

/* What a kill at a point of a round of tool calls leaves to be done. */
struct round_cost {
    const char *point;
    long changes;    /* calls of the backend by the tool, over both processes */
    long deliveries; /* requests to the agent that name the notification */
};

/* A call that changes something is made at most once, and the agent's words are not lost. */
static void expect_round_cost(struct fault_env *faults, const struct round_cost *cost)
{
    struct test_env *env = faults->env;
    char stop_at[64];
    snprintf(stop_at, sizeof stop_at, "MISSION_CONTROL_STOP_AT=%s:1", cost->point);
    thread_seed(env);
    board_gateway_fault(
        env, json_pack("{s:s, s:i, s:[{s:s, s:s}]}", "action", "reply", "times", 1, "calls", "name",
                 "task_status", "arguments", "{\"status\":\"review\"}"));
    thread_say(env, "@jarvis please");
    fault_env_launch(faults, STRINGS(stop_at));
    assert_int_equal(process_wait_exit(&env->runtime, TEST_WAIT_MS), 128 + SIGKILL);
    fault_env_start(faults, STRINGS("DELIVERY_MAX_RUNS=2"));
    test_env_wait(env, "undelivered=0");
    assert_int_equal(test_env_stat(env, "backend", "updateTaskStatusFromAgent"), cost->changes);
    assert_int_equal(test_env_stat(env, "gateway", "deliveries"), cost->deliveries);
    assert_int_equal(thread_count_replies(env), 1);
    test_env_stop_runtime(env);
}

static void test_kill_before_a_call_leaves_it_interrupted(void **state)
{
    expect_round_cost(*state, &(struct round_cost){"before_call", 0, 1});
}

static void test_kill_after_a_call_does_not_repeat_it(void **state)
{
    expect_round_cost(*state, &(struct round_cost){"after_call", 1, 1});
}

static void test_kill_after_a_result_sends_it(void **state)
{
    expect_round_cost(*state, &(struct round_cost){"after_result", 1, 1});
}

static void test_kill_before_the_results_costs_a_run(void **state)
{
    expect_round_cost(*state, &(struct round_cost){"before_results", 1, 2});
}

static void test_kill_after_the_results_costs_a_run(void **state)
{
    expect_round_cost(*state, &(struct round_cost){"after_results", 1, 2});
}

/* The document of a reply that is too long for a thread is found again, not made again. */
static void test_kill_after_the_document_makes_no_second_one(void **state)
{
    enum { REPLY_BYTES = 150000 };
    struct fault_env *faults = *state;
    struct test_env *env = faults->env;
    char *reply = malloc(REPLY_BYTES + 1);
    assert_non_null(reply);
    memset(reply, 'x', REPLY_BYTES);
    reply[REPLY_BYTES] = '\0';
    thread_seed(env);
    board_gateway_fault(env, json_pack("{s:s, s:s}", "action", "reply", "text", reply));
    free(reply);
    thread_say(env, "@jarvis please");
    fault_env_launch(faults, STRINGS("MISSION_CONTROL_STOP_AT=after_create_document:1"));
    assert_int_equal(process_wait_exit(&env->runtime, TEST_WAIT_MS), 128 + SIGKILL);
    fault_env_start(faults, NULL);
    test_env_wait(env, "undelivered=0");
    assert_int_equal(test_env_stat(env, "backend", "createDocumentFromAgent"), 1);
    assert_int_equal(test_env_stat(env, "gateway", "deliveries"), 1);
    json_t *messages = board_documents(env, "messages");
    const char *content = board_string(json_array_get(messages, 1), "content");
    assert_non_null(strstr(content, "[Full reply](/document/"));
    json_decref(messages);
    test_env_stop_runtime(env);
}

/* What a kill during a wake-up with a call leads to. */
struct wake_cost {
    const char *point;
    long changes;      /* calls of the backend by the tool, over both processes */
    const char *shown; /* in the second request: the result of the call, or what it had changed */
    long posts;        /* calls that post, over both processes */
};

/*
 * The agent is woken every 0.3 s or so, calls a tool once, and says once what came of it. The next
 * process goes on with its wake-up.
 */
static void expect_wake_cost(struct fault_env *faults, const struct wake_cost *cost)
{
    struct test_env *env = faults->env;
    char stop_at[64];
    snprintf(stop_at, sizeof stop_at, "MISSION_CONTROL_STOP_AT=%s:1", cost->point);
    test_env_list_agents(env, true);
    backend_set_up(env, "seed",
        "{'agents':[{'slug':'jarvis','heartbeatInterval':0.005}],"
        "'tasks':[{'title':'work','status':'in_progress','assign':['jarvis']}]}");
    thread_mark_all(env);
    board_gateway_fault(env, json_pack("{s:s, s:i, s:[{s:s, s:s}]}", "action", "reply", "times", 1,
                                 "calls", "name", "task_update", "arguments", "{\"priority\":1}"));
    board_gateway_fault(
        env, json_pack("{s:s, s:i, s:s}", "action", "reply", "times", 1, "text", "It is urgent."));
    fault_env_launch(faults, STRINGS(stop_at));
    assert_int_equal(process_wait_exit(&env->runtime, TEST_WAIT_MS), 128 + SIGKILL);
    assert_int_equal(history_add_spool(&faults->history, faults->state_dir), 1);
    fault_env_start(faults, NULL);
    test_env_wait_calls(env, "updateAgentHeartbeat", 2);
    assert_int_equal(test_env_stat(env, "backend", "updateTaskFromAgent"), cost->changes);
    assert_int_equal(test_env_stat(env, "backend", "createMessageFromAgent"), cost->posts);
    assert_int_equal(thread_count_replies(env), 1);
    json_t *second = thread_run(env, 1);
    char *written = json_dumps(second, JSON_COMPACT);
    if (strstr(written, cost->shown) == NULL)
        fail_msg("\"%s\" is not in %s", cost->shown, written);
    free(written);
    json_decref(second);
    test_env_stop_runtime(env);
    assert_int_equal(history_add_spool(&faults->history, faults->state_dir), 0);
}

static void test_kill_of_a_wake_up_before_its_call(void **state)
{
    expect_wake_cost(*state, &(struct wake_cost){"before_call", 0, "interrupted: look before", 1});
}

static void test_kill_of_a_wake_up_after_its_call(void **state)
{
    expect_wake_cost(*state, &(struct wake_cost){"after_call", 1, "interrupted: look before", 1});
}

static void test_kill_of_a_wake_up_after_its_result(void **state)
{
    expect_wake_cost(*state, &(struct wake_cost){"after_result", 1, "\"results\":[", 1});
}

static void test_kill_of_a_wake_up_before_its_results(void **state)
{
    expect_wake_cost(*state, &(struct wake_cost){"before_results", 1, "do not repeat", 1});
}

static void test_kill_of_a_wake_up_with_its_reply(void **state)
{
    expect_wake_cost(*state, &(struct wake_cost){"after_wake_spool", 1, "\"results\":[", 1});
}

static void test_kill_of_a_wake_up_after_its_message(void **state)
{
    expect_wake_cost(*state, &(struct wake_cost){"after_wake_message", 1, "\"results\":[", 1});
}

/* The words of the second run were received, and may be lost with it; the change is not repeated.
 */
static void test_kill_of_a_wake_up_after_its_results(void **state)
{
    struct fault_env *faults = *state;
    board_gateway_fault(faults->env, json_pack("{s:{s:i}, s:s, s:i, s:s}", "match", "round", 2,
                                         "action", "reply", "times", 1, "text", "Lost."));
    expect_wake_cost(*state, &(struct wake_cost){"after_results", 1, "\"results\":[", 1});
    thread_run_must_show(faults->env, 2, "do not repeat what has been done");
}

int main(void)
{
#define V1_WITH_STOP_POINTS(test) \
    TEST_ON((test), #test, setup_stop_points, fault_env_teardown, "v1")
#define V1_WAKE_UP(test) TEST_ON((test), #test, setup_wake_ups, fault_env_teardown, "v1")
#define TEST_WITH_STOP_POINTS(test) \
    TEST_ON_BOTH_WITH(test, #test, setup_stop_points, fault_env_teardown)
    const struct CMUnitTest tests[] = {
        TEST_WITH_STOP_POINTS(test_kill_before_the_send_costs_no_run),
        TEST_WITH_STOP_POINTS(test_kill_before_the_reply_is_spooled_costs_a_run),
        TEST_WITH_STOP_POINTS(test_kill_after_the_reply_is_spooled_costs_no_run),
        TEST_WITH_STOP_POINTS(test_kill_after_the_message_writes_no_second_one),
        TEST_WITH_STOP_POINTS(test_kill_after_the_mark_costs_no_run),
        TEST_WITH_STOP_POINTS(test_kill_after_the_end_leaves_no_record),
        TEST_WITH_STOP_POINTS(test_kill_before_the_send_spends_the_budget),
        TEST_WITH_STOP_POINTS(test_kill_after_the_send_spends_the_budget),
        V1_WITH_STOP_POINTS(test_kill_before_a_call_leaves_it_interrupted),
        V1_WITH_STOP_POINTS(test_kill_after_a_call_does_not_repeat_it),
        V1_WITH_STOP_POINTS(test_kill_after_a_result_sends_it),
        V1_WITH_STOP_POINTS(test_kill_before_the_results_costs_a_run),
        V1_WITH_STOP_POINTS(test_kill_after_the_results_costs_a_run),
        V1_WITH_STOP_POINTS(test_kill_after_the_document_makes_no_second_one),
        V1_WAKE_UP(test_kill_of_a_wake_up_before_its_call),
        V1_WAKE_UP(test_kill_of_a_wake_up_after_its_call),
        V1_WAKE_UP(test_kill_of_a_wake_up_after_its_result),
        V1_WAKE_UP(test_kill_of_a_wake_up_before_its_results),
        V1_WAKE_UP(test_kill_of_a_wake_up_after_its_results),
        V1_WAKE_UP(test_kill_of_a_wake_up_with_its_reply),
        V1_WAKE_UP(test_kill_of_a_wake_up_after_its_message),
    };
    return cmocka_run_group_tests_name("stop_point", tests, NULL, NULL);
}
