/* The loop guard: agents that answer each other stop, and a thread with several does not explode.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "../lib/backend_call.h"
#include "../lib/board.h"
#include "../lib/talk.h"

static void start_with_guard(struct test_env *env, const char *setting)
{
    test_env_start_runtime(env, STRINGS("DELIVERY_INTERVAL=20", setting));
}

/* Each agent's answer notifies the other two, which would go on without end unguarded. */
static void test_message_runs_each_subscribed_agent_once(void **state)
{
    struct test_env *env = *state;
    talk_seed(env);
    start_with_guard(env, "DELIVERY_LOOP_GUARD=on");
    talk_post(env, "@one @two @three hello");
    talk_wait_until_quiet(env);
    assert_int_equal(test_env_stat(env, "gateway", "deliveries"), TALK_AGENTS);
    /* All are asked before one answers: v1 changes a waiting update to the newer message. */
    board_hold_agents(env, "all");
    talk_post(env, "and now all who read this");
    test_env_wait(env, "held=3");
    board_clear_faults(env);
    talk_wait_until_quiet(env);
    assert_int_equal(test_env_stat(env, "gateway", "deliveries"), 2 * TALK_AGENTS);
    assert_int_equal(test_env_stat(env, NULL, "replies"), 2 * TALK_AGENTS);
    test_env_stop_runtime(env);
}

/* The control: without the guard the same thread goes on. */
static void test_agents_go_on_without_the_guard(void **state)
{
    struct test_env *env = *state;
    talk_seed(env);
    start_with_guard(env, "DELIVERY_LOOP_GUARD=off");
    talk_post(env, "@one @two @three hello");
    test_env_wait(env, "deliveries=30");
    test_env_stop_runtime(env);
}

static void test_mutual_mentions_stop_at_max_hops(void **state)
{
    struct test_env *env = *state;
    talk_seed(env);
    talk_set_reply(env, "one", "@two your turn");
    talk_set_reply(env, "two", "@one your turn");
    start_with_guard(env, "DELIVERY_MAX_HOPS=5");
    talk_post(env, "@one begin");
    talk_wait_until_quiet(env);
    /* The user's message and five hops. */
    assert_int_equal(test_env_stat(env, "gateway", "deliveries"), 6);
    test_env_wait_log(env, "reason=too_many_hops");
    test_env_stop_runtime(env);
}

/* After a restart the guard reads the chain from the backend. */
static void test_chain_is_traced_after_a_restart(void **state)
{
    struct test_env *env = *state;
    talk_seed(env);
    talk_set_reply(env, "one", "@two your turn");
    talk_set_reply(env, "two", "@one your turn");
    board_gateway_fault(
        env, json_pack("{s:{s:s}, s:s}", "match", "agent", "three", "action", "reply"));
    start_with_guard(env, "DELIVERY_MAX_HOPS=2");
    talk_post(env, "@one begin");
    talk_wait_until_quiet(env);
    assert_int_equal(test_env_stat(env, "gateway", "deliveries"), 3);
    test_env_stop_runtime(env);
    /* Notify again about the last message: the chain is at its limit already. */
    json_t *messages = board_documents(env, "messages");
    const json_t *last = json_array_get(messages, json_array_size(messages) - 1);
    json_decref(test_env_post(env, "/sandbox/notify",
        json_pack("{s:s, s:s, s:s, s:s}", "agent", "two", "task", "talk", "type", "mention",
            "message", board_string(last, "_id"))));
    json_decref(messages);
    start_with_guard(env, "DELIVERY_MAX_HOPS=2");
    talk_wait_until_quiet(env);
    assert_int_equal(test_env_stat(env, "gateway", "deliveries"), 3);
    test_env_wait_log(env, "reason=too_many_hops");
    test_env_stop_runtime(env);
}

/* Tracing a chain precedes a send, so shutdown aborts it however long the grace period is. */
static void test_shutdown_aborts_the_tracing(void **state)
{
    struct test_env *env = *state;
    talk_seed(env);
    start_with_guard(env, NULL);
    talk_post(env, "@one begin");
    talk_wait_until_quiet(env);
    test_env_stop_runtime(env);
    json_t *messages = board_documents(env, "messages");
    const json_t *last = json_array_get(messages, json_array_size(messages) - 1);
    json_decref(test_env_post(env, "/sandbox/notify",
        json_pack("{s:s, s:s, s:s, s:s}", "agent", "two", "task", "talk", "type", "mention",
            "message", board_string(last, "_id"))));
    board_backend_fault(env, json_pack("{s:{s:s}, s:s}", "match", "notification",
                                 board_string(last, "sourceNotificationId"), "behaviour", "hold"));
    json_decref(messages);
    start_with_guard(env, "SHUTDOWN_GRACE_MS=60000");
    test_env_wait(env, "held=1");
    test_env_stop_runtime(env);
    assert_int_equal(test_env_stat(env, "gateway", "deliveries"), 1);
}

static void test_assignee_is_run_for_another_agents_message(void **state)
{
    struct test_env *env = *state;
    talk_seed(env);
    json_decref(test_env_post(
        env, "/sandbox/assign", json_pack("{s:s, s:s}", "task", "talk", "agent", "two")));
    start_with_guard(env, "DELIVERY_LOOP_GUARD=on");
    test_env_wait(env, "delivered=1");
    talk_post(env, "@one please");
    talk_wait_until_quiet(env);
    /*
     * The assignment; the message for one and, on v0, which tells followers of mentions as well,
     * for the subscribed assignee; one's answer for two.
     */
    assert_int_equal(test_env_stat(env, "gateway", "deliveries"), test_env_is_v1(env) ? 3 : 4);
    test_env_stop_runtime(env);
}

static void test_agents_own_message_is_skipped(void **state)
{
    struct test_env *env = *state;
    talk_seed(env);
    talk_set_reply(env, "one", "as @one said");
    start_with_guard(env, "DELIVERY_LOOP_GUARD=on");
    talk_post(env, "@one begin");
    talk_wait_until_quiet(env);
    assert_int_equal(test_env_stat(env, "gateway", "deliveries"), 1);
    test_env_wait_log(env, "reason=own_message");
    test_env_stop_runtime(env);
}

/* Our note that an agent gave no reply must not run other agents. */
static void test_note_runs_no_agent(void **state)
{
    struct test_env *env = *state;
    talk_seed(env);
    json_decref(test_env_post(
        env, "/sandbox/assign", json_pack("{s:s, s:s}", "task", "talk", "agent", "two")));
    start_with_guard(env, "DELIVERY_MAX_RUNS=1");
    test_env_wait(env, "delivered=1");
    board_gateway_fault(
        env, json_pack("{s:{s:s}, s:s}", "match", "agent", "one", "action", "status"));
    talk_post(env, "@one please");
    talk_wait_until_quiet(env);
    test_env_wait_log(env, "reason=caused_by_a_note");
    test_env_stop_runtime(env);
}

static void must_have_run(struct test_env *env, long runs, int notes)
{
    talk_wait_until_quiet(env);
    assert_int_equal(test_env_stat(env, "gateway", "deliveries"), runs);
    assert_int_equal(talk_count_limit_notes(env), notes);
}

/* Depth alone does not end it: each reply causes two more. */
static void test_breadth_stops_at_max_agent_runs(void **state)
{
    struct test_env *env = *state;
    talk_seed(env);
    talk_set_mutual_replies(env);
    start_with_guard(env, "DELIVERY_MAX_AGENT_RUNS=12");
    talk_post(env, "@one begin");
    must_have_run(env, 12, 1);
    test_env_wait_log(env, "reason=too_many_agent_runs");
    /* A person writes: as many again, and one more note. */
    talk_post(env, "@two go on, please");
    must_have_run(env, 24, 2);
    test_env_stop_runtime(env);
}

/* What people cause themselves is never skipped, however many agents it runs. */
static void test_person_is_heard_over_the_budget(void **state)
{
    struct test_env *env = *state;
    talk_seed(env);
    talk_set_mutual_replies(env);
    start_with_guard(env, "DELIVERY_MAX_AGENT_RUNS=1");
    talk_post(env, "@one @two @three begin");
    must_have_run(env, TALK_AGENTS, 1);
    json_decref(test_env_post(
        env, "/sandbox/assign", json_pack("{s:s, s:s}", "task", "talk", "agent", "two")));
    must_have_run(env, TALK_AGENTS + 1, 1);
    test_env_stop_runtime(env);
}

/* Notifies an agent again of the last reply, for which none has been run: it is the last. */
static void repeat_last_notification(struct test_env *env)
{
    json_t *messages = board_documents(env, "messages");
    const json_t *last = NULL;
    size_t index;
    const json_t *message;
    json_array_foreach (messages, index, message)
        if (board_string(message, "content")[0] == '@')
            last = message;
    assert_non_null(last);
    bool names_one = strncmp(board_string(last, "content"), "@one", 4) == 0;
    json_decref(test_env_post(env, "/sandbox/notify",
        json_pack("{s:s, s:s, s:s, s:s}", "agent", names_one ? "one" : "two", "task", "talk",
            "type", "mention", "message", board_string(last, "_id"))));
    json_decref(messages);
}

/* The counts outlive the process, and so does the knowledge of the note. */
static void test_budget_outlives_a_restart(void **state)
{
    struct test_env *env = *state;
    talk_seed(env);
    talk_set_mutual_replies(env);
    start_with_guard(env, "DELIVERY_MAX_AGENT_RUNS=12");
    talk_post(env, "@one begin");
    must_have_run(env, 12, 1);
    test_env_stop_runtime(env);
    repeat_last_notification(env);
    start_with_guard(env, "DELIVERY_MAX_AGENT_RUNS=12");
    must_have_run(env, 12, 1);
    test_env_wait_log(env, "reason=too_many_agent_runs");
    talk_post(env, "@two go on, please");
    must_have_run(env, 24, 2);
    test_env_stop_runtime(env);
}

/* The backend is away when the note is due: the same notification posts it later, once. */
static void test_note_is_posted_when_the_backend_is_back(void **state)
{
    struct test_env *env = *state;
    talk_seed(env);
    talk_set_mutual_replies(env);
    board_backend_fault(
        env, json_pack("{s:s, s:s, s:i, s:{s:s}}", "action", "createMessageFromAgent", "behaviour",
                 "status", "times", 2, "match", "agent", "two"));
    board_backend_fault(
        env, json_pack("{s:s, s:s, s:i, s:{s:s}}", "action", "createMessageFromAgent", "behaviour",
                 "drop_after", "times", 2, "match", "agent", "three"));
    test_env_start_runtime(env, STRINGS("DELIVERY_INTERVAL=20", "DELIVERY_MAX_AGENT_RUNS=1",
                                    "DELIVERY_BACKOFF_BASE_MS=1", "DELIVERY_BACKOFF_MAX_MS=10"));
    talk_post(env, "@one begin");
    must_have_run(env, 1, 1);
    test_env_stop_runtime(env);
}

/* The backend's function refuses the note: the next notification that is skipped posts it. */
static void test_refused_note_is_left_to_the_next_one(void **state)
{
    struct test_env *env = *state;
    talk_seed(env);
    talk_set_reply(env, "one", "@two go on");
    board_backend_fault(
        env, json_pack("{s:s, s:s, s:i, s:{s:s}}", "action", "createMessageFromAgent", "behaviour",
                 "function_error", "times", 1, "match", "agent", "two"));
    start_with_guard(env, "DELIVERY_MAX_AGENT_RUNS=1");
    talk_post(env, "@one begin");
    must_have_run(env, 1, 0);
    test_env_wait_log(env, "reached their limit of runs");
    json_t *messages = board_documents(env, "messages");
    const json_t *last = json_array_get(messages, json_array_size(messages) - 1);
    json_decref(test_env_post(env, "/sandbox/notify",
        json_pack("{s:s, s:s, s:s, s:s}", "agent", "three", "task", "talk", "type", "mention",
            "message", board_string(last, "_id"))));
    json_decref(messages);
    must_have_run(env, 1, 1);
    test_env_stop_runtime(env);
}

/* A send that the gateway certainly did not run costs nothing of the limit. */
static void test_refused_sends_use_up_no_runs(void **state)
{
    struct test_env *env = *state;
    talk_seed(env);
    talk_set_reply(env, "one", "@two go on");
    board_gateway_fault(
        env, json_pack("{s:{s:s}, s:s, s:i, s:i, s:b, s:{s:{s:s, s:s}}}", "match", "agent", "two",
                 "action", "status", "times", 3, "status", 400, "before_checks", true, "body_json",
                 "error", "message", "no", "type", "invalid_request_error"));
    test_env_start_runtime(env, STRINGS("DELIVERY_INTERVAL=20", "DELIVERY_MAX_AGENT_RUNS=2",
                                    "DELIVERY_BACKOFF_BASE_MS=1", "DELIVERY_BACKOFF_MAX_MS=10"));
    talk_post(env, "@one begin");
    must_have_run(env, 2, 0);
    test_env_stop_runtime(env);
}

/* The backend notifies an agent twice when one message names it in two spellings. */
static void test_message_runs_an_agent_once(void **state)
{
    struct test_env *env = *state;
    json_decref(test_env_post(env, "/sandbox/seed",
        json_pack("{s:[{s:s, s:s}], s:[{s:s}]}", "agents", "slug", "fri", "name", "Friday Two",
            "tasks", "title", "talk")));
    start_with_guard(env, "DELIVERY_LOOP_GUARD=on");
    talk_post(env, "@fri @\"Friday Two\" @FRI hello");
    test_env_wait(env, "delivered=2");
    talk_wait_until_quiet(env);
    assert_int_equal(test_env_stat(env, "gateway", "deliveries"), 1);
    assert_int_equal(test_env_stat(env, NULL, "replies"), 1);
    test_env_wait_log(env, "reason=same_message");
    test_env_stop_runtime(env);
}

/* The orchestrator, who hears of all that agents write, and two assignees, who hear of its words.
 */
static void seed_orchestrated_thread(struct test_env *env)
{
    backend_set_up(env, "seed",
        "{'agents':[{'slug':'boss','orchestrator':true},{'slug':'one'},{'slug':'two'}],"
        "'tasks':[{'title':'talk','status':'in_progress','assign':['one','two']}]}");
    board_set_flag(env, "gateway_chatty", true);
}

/* By v1's rules alone it would go on: an assignee answers the orchestrator, and so on. */
static void test_orchestrator_and_assignees_stop_at_max_agent_runs(void **state)
{
    struct test_env *env = *state;
    seed_orchestrated_thread(env);
    start_with_guard(env, "DELIVERY_MAX_AGENT_RUNS=8");
    talk_wait_until_quiet(env);
    long runs = test_env_stat(env, "gateway", "deliveries");
    /* The limit, and what people cause directly, here two assignments. */
    assert_in_range(runs, 8, 8 + 2);
    assert_int_equal(talk_count_limit_notes(env), 1);
    test_env_wait_log(env, "reason=too_many_agent_runs");
    talk_post(env, "go on, please");
    talk_wait_until_quiet(env);
    assert_in_range(test_env_stat(env, "gateway", "deliveries"), runs + 8, runs + 8 + 3);
    assert_int_equal(talk_count_limit_notes(env), 2);
    test_env_stop_runtime(env);
}

/* The control: with the guard off, v1's rules do not end it. */
static void test_orchestrator_and_assignees_go_on_without_the_guard(void **state)
{
    struct test_env *env = *state;
    seed_orchestrated_thread(env);
    start_with_guard(env, "DELIVERY_LOOP_GUARD=off");
    test_env_wait(env, "deliveries=40");
    test_env_stop_runtime(env);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_ON_BOTH(test_message_runs_each_subscribed_agent_once),
        TEST_IN_ENV(test_agents_go_on_without_the_guard),
        TEST_ON_BOTH(test_mutual_mentions_stop_at_max_hops),
        TEST_IN_ENV(test_chain_is_traced_after_a_restart),
        TEST_IN_ENV(test_shutdown_aborts_the_tracing),
        TEST_ON_BOTH(test_assignee_is_run_for_another_agents_message),
        TEST_ON_BOTH(test_agents_own_message_is_skipped),
        TEST_ON_BOTH(test_note_runs_no_agent),
        TEST_ON_BOTH(test_breadth_stops_at_max_agent_runs),
        TEST_ON_BOTH(test_person_is_heard_over_the_budget),
        TEST_ON_BOTH(test_budget_outlives_a_restart),
        TEST_ON_BOTH(test_note_is_posted_when_the_backend_is_back),
        TEST_ON_BOTH(test_refused_note_is_left_to_the_next_one),
        TEST_ON_BOTH(test_refused_sends_use_up_no_runs),
        TEST_IN_ENV(test_message_runs_an_agent_once),
        TEST_IN_ENV_WITH(test_orchestrator_and_assignees_stop_at_max_agent_runs, .backend = "v1"),
        TEST_IN_ENV_WITH(test_orchestrator_and_assignees_go_on_without_the_guard, .backend = "v1"),
    };
    return cmocka_run_group_tests_name("loop_guard", tests, NULL, NULL);
}
