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
static void seed(struct world *world)
{
    json_decref(world_post(world, "/sandbox/seed",
        json_pack("{s:[{s:s}, {s:s}, {s:s}], s:[{s:s}]}", "agents", "slug", "one", "slug", "two",
            "slug", "three", "tasks", "title", "talk")));
    json_decref(world_post(world, "/sandbox/settings", json_pack("{s:b}", "gateway_chatty", 1)));
}

static void say(struct world *world, const char *content)
{
    json_decref(world_post(
        world, "/sandbox/message", json_pack("{s:s, s:s}", "task", "talk", "content", content)));
}

static void start(struct world *world, const char *setting)
{
    world_start_runtime(world, (const char *[]){"DELIVERY_INTERVAL=20", setting, NULL});
}

/* Waits until polls come back empty, so that nothing is left that could still grow. */
static void wait_until_quiet(struct world *world)
{
    char later[128];
    world_wait(world, "undelivered=0");
    long calls = world_stat(world, "backend", "listUndeliveredNotifications");
    snprintf(later, sizeof later, "undelivered=0&action=listUndeliveredNotifications&calls=%ld",
        calls + 5);
    world_wait(world, later);
}

/* Each agent's own answer notifies the two others: the original ran them without end. */
static void test_one_message_runs_each_subscribed_agent_once(void **state)
{
    struct world *world = *state;
    seed(world);
    start(world, "DELIVERY_LOOP_GUARD=on");
    say(world, "@one @two @three hello");
    wait_until_quiet(world);
    assert_int_equal(world_stat(world, "gateway", "deliveries"), AGENTS);
    say(world, "and now all who read this");
    wait_until_quiet(world);
    assert_int_equal(world_stat(world, "gateway", "deliveries"), 2 * AGENTS);
    assert_int_equal(world_stat(world, NULL, "replies"), 2 * AGENTS);
    world_stop_runtime(world);
}

/* Without the guard the same goes on, which is what proves that the guard did it. */
static void test_without_the_guard_they_go_on(void **state)
{
    struct world *world = *state;
    seed(world);
    start(world, "DELIVERY_LOOP_GUARD=off");
    say(world, "@one @two @three hello");
    world_wait(world, "deliveries=30");
    world_stop_runtime(world);
}

static void let_mention(struct world *world, const char *agent, const char *text)
{
    board_gateway_fault(world,
        json_pack("{s:{s:s}, s:s, s:s}", "match", "agent", agent, "action", "reply", "text", text));
}

static void test_agents_that_mention_each_other_stop_at_the_limit(void **state)
{
    struct world *world = *state;
    seed(world);
    let_mention(world, "one", "@two your turn");
    let_mention(world, "two", "@one your turn");
    start(world, "DELIVERY_MAX_HOPS=5");
    say(world, "@one begin");
    wait_until_quiet(world);
    /* The person's message, and five hops after it. */
    assert_int_equal(world_stat(world, "gateway", "deliveries"), 6);
    assert_true(process_said(&world->runtime, "reason=too_many_hops"));
    world_stop_runtime(world);
}

/* What the guard knew is read from the backend again. */
static void test_a_chain_is_traced_after_a_restart(void **state)
{
    struct world *world = *state;
    seed(world);
    let_mention(world, "one", "@two your turn");
    let_mention(world, "two", "@one your turn");
    board_gateway_fault(
        world, json_pack("{s:{s:s}, s:s}", "match", "agent", "three", "action", "reply"));
    start(world, "DELIVERY_MAX_HOPS=2");
    say(world, "@one begin");
    wait_until_quiet(world);
    assert_int_equal(world_stat(world, "gateway", "deliveries"), 3);
    world_stop_runtime(world);
    /* One hop more is allowed now: the last skipped notification is over, a new one is made. */
    json_t *messages = board_documents(world, "messages");
    const json_t *last = json_array_get(messages, json_array_size(messages) - 1);
    json_decref(world_post(world, "/sandbox/notify",
        json_pack("{s:s, s:s, s:s, s:s}", "agent", "two", "task", "talk", "type", "mention",
            "message", board_string(last, "_id"))));
    json_decref(messages);
    start(world, "DELIVERY_MAX_HOPS=2");
    wait_until_quiet(world);
    assert_int_equal(world_stat(world, "gateway", "deliveries"), 3);
    assert_true(process_said(&world->runtime, "reason=too_many_hops"));
    world_stop_runtime(world);
}

/* No agent will be asked, so the stop does not wait for it, however long its grace is. */
static void test_a_stop_cuts_the_tracing_off(void **state)
{
    struct world *world = *state;
    seed(world);
    start(world, NULL);
    say(world, "@one begin");
    wait_until_quiet(world);
    world_stop_runtime(world);
    json_t *messages = board_documents(world, "messages");
    const json_t *last = json_array_get(messages, json_array_size(messages) - 1);
    json_decref(world_post(world, "/sandbox/notify",
        json_pack("{s:s, s:s, s:s, s:s}", "agent", "two", "task", "talk", "type", "mention",
            "message", board_string(last, "_id"))));
    board_backend_fault(
        world, json_pack("{s:{s:s}, s:s}", "match", "notification",
                   board_string(last, "sourceNotificationId"), "behaviour", "hold"));
    json_decref(messages);
    start(world, "SHUTDOWN_GRACE_MS=60000");
    world_wait(world, "held=1");
    world_stop_runtime(world);
    assert_int_equal(world_stat(world, "gateway", "deliveries"), 1);
}

static void test_an_assignee_is_told_of_a_colleagues_message(void **state)
{
    struct world *world = *state;
    seed(world);
    json_decref(world_post(
        world, "/sandbox/assign", json_pack("{s:s, s:s}", "task", "talk", "agent", "two")));
    start(world, "DELIVERY_LOOP_GUARD=on");
    world_wait(world, "delivered=1");
    say(world, "@one please");
    wait_until_quiet(world);
    /* The assignment, the mention of one, and of its answer the assignee, who subscribed by it. */
    assert_int_equal(world_stat(world, "gateway", "deliveries"), 4);
    world_stop_runtime(world);
}

static void test_own_message_is_skipped(void **state)
{
    struct world *world = *state;
    seed(world);
    let_mention(world, "one", "as @one said");
    start(world, "DELIVERY_LOOP_GUARD=on");
    say(world, "@one begin");
    wait_until_quiet(world);
    assert_int_equal(world_stat(world, "gateway", "deliveries"), 1);
    assert_true(process_said(&world->runtime, "reason=own_message"));
    world_stop_runtime(world);
}

/* The note that an agent did not answer must not set its colleagues to work. */
static void test_a_note_of_ours_runs_nobody(void **state)
{
    struct world *world = *state;
    seed(world);
    json_decref(world_post(
        world, "/sandbox/assign", json_pack("{s:s, s:s}", "task", "talk", "agent", "two")));
    start(world, "DELIVERY_MAX_RUNS=1");
    world_wait(world, "delivered=1");
    board_gateway_fault(
        world, json_pack("{s:{s:s}, s:s}", "match", "agent", "one", "action", "status"));
    say(world, "@one please");
    wait_until_quiet(world);
    assert_true(process_said(&world->runtime, "reason=caused_by_a_note"));
    world_stop_runtime(world);
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
#define IN_WORLD(test) cmocka_unit_test_setup_teardown(test, world_setup, world_teardown)
    const struct CMUnitTest tests[] = {
        IN_WORLD(test_one_message_runs_each_subscribed_agent_once),
        IN_WORLD(test_without_the_guard_they_go_on),
        IN_WORLD(test_agents_that_mention_each_other_stop_at_the_limit),
        IN_WORLD(test_a_chain_is_traced_after_a_restart),
        IN_WORLD(test_a_stop_cuts_the_tracing_off),
        IN_WORLD(test_an_assignee_is_told_of_a_colleagues_message),
        IN_WORLD(test_own_message_is_skipped),
        IN_WORLD(test_a_note_of_ours_runs_nobody),
    };
    return cmocka_run_group_tests_name("loop_guard", tests, NULL, NULL);
}
