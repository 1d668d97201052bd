/* Agents that answer each other come to an end, and a thread with several is no storm. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../lib/board.h"

enum { AGENTS = 3 };

/* A thread with a task, agents named one, two and three, and no assignee. */
static void seed(struct test_env *env)
{
    json_decref(test_env_post(env, "/sandbox/seed",
        json_pack("{s:[{s:s}, {s:s}, {s:s}], s:[{s:s}]}", "agents", "slug", "one", "slug", "two",
            "slug", "three", "tasks", "title", "talk")));
    board_set_flag(env, "gateway_chatty", true);
}

static void say(struct test_env *env, const char *content)
{
    json_decref(test_env_post(
        env, "/sandbox/message", json_pack("{s:s, s:s}", "task", "talk", "content", content)));
}

static void start(struct test_env *env, const char *setting)
{
    test_env_start_runtime(env, (const char *[]){"DELIVERY_INTERVAL=20", setting, NULL});
}

/* Waits until polls come back empty, so that nothing is left that could still grow. */
static void wait_until_quiet(struct test_env *env)
{
    char later[128];
    test_env_wait(env, "undelivered=0");
    long calls = test_env_stat(env, "backend", "listUndeliveredNotifications");
    snprintf(later, sizeof later, "undelivered=0&action=listUndeliveredNotifications&calls=%ld",
        calls + 5);
    test_env_wait(env, later);
}

/* Each agent's own answer notifies the two others: the original ran them without end. */
static void test_one_message_runs_each_subscribed_agent_once(void **state)
{
    struct test_env *env = *state;
    seed(env);
    start(env, "DELIVERY_LOOP_GUARD=on");
    say(env, "@one @two @three hello");
    wait_until_quiet(env);
    assert_int_equal(test_env_stat(env, "gateway", "deliveries"), AGENTS);
    say(env, "and now all who read this");
    wait_until_quiet(env);
    assert_int_equal(test_env_stat(env, "gateway", "deliveries"), 2 * AGENTS);
    assert_int_equal(test_env_stat(env, NULL, "replies"), 2 * AGENTS);
    test_env_stop_runtime(env);
}

/* Without the guard the same goes on, which is what proves that the guard did it. */
static void test_without_the_guard_they_go_on(void **state)
{
    struct test_env *env = *state;
    seed(env);
    start(env, "DELIVERY_LOOP_GUARD=off");
    say(env, "@one @two @three hello");
    test_env_wait(env, "deliveries=30");
    test_env_stop_runtime(env);
}

static void let_mention(struct test_env *env, const char *agent, const char *text)
{
    board_gateway_fault(env,
        json_pack("{s:{s:s}, s:s, s:s}", "match", "agent", agent, "action", "reply", "text", text));
}

static void test_agents_that_mention_each_other_stop_at_the_limit(void **state)
{
    struct test_env *env = *state;
    seed(env);
    let_mention(env, "one", "@two your turn");
    let_mention(env, "two", "@one your turn");
    start(env, "DELIVERY_MAX_HOPS=5");
    say(env, "@one begin");
    wait_until_quiet(env);
    /* The person's message, and five hops after it. */
    assert_int_equal(test_env_stat(env, "gateway", "deliveries"), 6);
    assert_true(process_has_output(&env->runtime, "reason=too_many_hops"));
    test_env_stop_runtime(env);
}

/* What the guard knew is read from the backend again. */
static void test_a_chain_is_traced_after_a_restart(void **state)
{
    struct test_env *env = *state;
    seed(env);
    let_mention(env, "one", "@two your turn");
    let_mention(env, "two", "@one your turn");
    board_gateway_fault(
        env, json_pack("{s:{s:s}, s:s}", "match", "agent", "three", "action", "reply"));
    start(env, "DELIVERY_MAX_HOPS=2");
    say(env, "@one begin");
    wait_until_quiet(env);
    assert_int_equal(test_env_stat(env, "gateway", "deliveries"), 3);
    test_env_stop_runtime(env);
    /* One hop more is allowed now: the last skipped notification is over, a new one is made. */
    json_t *messages = board_documents(env, "messages");
    const json_t *last = json_array_get(messages, json_array_size(messages) - 1);
    json_decref(test_env_post(env, "/sandbox/notify",
        json_pack("{s:s, s:s, s:s, s:s}", "agent", "two", "task", "talk", "type", "mention",
            "message", board_string(last, "_id"))));
    json_decref(messages);
    start(env, "DELIVERY_MAX_HOPS=2");
    wait_until_quiet(env);
    assert_int_equal(test_env_stat(env, "gateway", "deliveries"), 3);
    assert_true(process_has_output(&env->runtime, "reason=too_many_hops"));
    test_env_stop_runtime(env);
}

/* No agent will be asked, so the stop does not wait for it, however long its grace is. */
static void test_a_stop_cuts_the_tracing_off(void **state)
{
    struct test_env *env = *state;
    seed(env);
    start(env, NULL);
    say(env, "@one begin");
    wait_until_quiet(env);
    test_env_stop_runtime(env);
    json_t *messages = board_documents(env, "messages");
    const json_t *last = json_array_get(messages, json_array_size(messages) - 1);
    json_decref(test_env_post(env, "/sandbox/notify",
        json_pack("{s:s, s:s, s:s, s:s}", "agent", "two", "task", "talk", "type", "mention",
            "message", board_string(last, "_id"))));
    board_backend_fault(env, json_pack("{s:{s:s}, s:s}", "match", "notification",
                                 board_string(last, "sourceNotificationId"), "behaviour", "hold"));
    json_decref(messages);
    start(env, "SHUTDOWN_GRACE_MS=60000");
    test_env_wait(env, "held=1");
    test_env_stop_runtime(env);
    assert_int_equal(test_env_stat(env, "gateway", "deliveries"), 1);
}

static void test_an_assignee_is_told_of_a_colleagues_message(void **state)
{
    struct test_env *env = *state;
    seed(env);
    json_decref(test_env_post(
        env, "/sandbox/assign", json_pack("{s:s, s:s}", "task", "talk", "agent", "two")));
    start(env, "DELIVERY_LOOP_GUARD=on");
    test_env_wait(env, "delivered=1");
    say(env, "@one please");
    wait_until_quiet(env);
    /* The assignment, the mention of one, and of its answer the assignee, who subscribed by it. */
    assert_int_equal(test_env_stat(env, "gateway", "deliveries"), 4);
    test_env_stop_runtime(env);
}

static void test_own_message_is_skipped(void **state)
{
    struct test_env *env = *state;
    seed(env);
    let_mention(env, "one", "as @one said");
    start(env, "DELIVERY_LOOP_GUARD=on");
    say(env, "@one begin");
    wait_until_quiet(env);
    assert_int_equal(test_env_stat(env, "gateway", "deliveries"), 1);
    assert_true(process_has_output(&env->runtime, "reason=own_message"));
    test_env_stop_runtime(env);
}

/* The note that an agent did not answer must not set its colleagues to work. */
static void test_a_note_of_ours_runs_nobody(void **state)
{
    struct test_env *env = *state;
    seed(env);
    json_decref(test_env_post(
        env, "/sandbox/assign", json_pack("{s:s, s:s}", "task", "talk", "agent", "two")));
    start(env, "DELIVERY_MAX_RUNS=1");
    test_env_wait(env, "delivered=1");
    board_gateway_fault(
        env, json_pack("{s:{s:s}, s:s}", "match", "agent", "one", "action", "status"));
    say(env, "@one please");
    wait_until_quiet(env);
    assert_true(process_has_output(&env->runtime, "reason=caused_by_a_note"));
    test_env_stop_runtime(env);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_IN_ENV(test_one_message_runs_each_subscribed_agent_once),
        TEST_IN_ENV(test_without_the_guard_they_go_on),
        TEST_IN_ENV(test_agents_that_mention_each_other_stop_at_the_limit),
        TEST_IN_ENV(test_a_chain_is_traced_after_a_restart),
        TEST_IN_ENV(test_a_stop_cuts_the_tracing_off),
        TEST_IN_ENV(test_an_assignee_is_told_of_a_colleagues_message),
        TEST_IN_ENV(test_own_message_is_skipped),
        TEST_IN_ENV(test_a_note_of_ours_runs_nobody),
    };
    return cmocka_run_group_tests_name("loop_guard", tests, NULL, NULL);
}
