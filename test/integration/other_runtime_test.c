/*
 * Two runtimes on one account: both work, and the one that is always second says so. A single one
 * says nothing, whatever happens to it.
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

#include "../lib/backend_call.h"
#include "../lib/board.h"
#include "../lib/fault_proxy.h"
#include "../lib/talk.h"

enum { NOTIFICATIONS = 4 };

#define SEEN_WORDS "Another runtime seems to work on this account"

static void expect_seen(struct test_env *env, bool seen)
{
    test_env_wait_words(env, "/health", "\"status\": \"healthy\"", true);
    json_t *health = test_env_health_json(env, "/health");
    json_t *status = test_env_health_json(env, "/status");
    assert_true(json_is_boolean(json_object_get(health, "otherRuntime")));
    assert_int_equal(json_is_true(json_object_get(health, "otherRuntime")), seen);
    assert_int_equal(json_is_true(json_object_get(status, "otherRuntime")), seen);
    assert_int_equal(json_array_size(json_object_get(status, "reasons")), seen ? 1 : 0);
    assert_string_equal(board_string(health, "status"), "healthy");
    json_decref(health);
    json_decref(status);
    test_env_wait_words(env, "/metrics",
        seen ? "\nmission_control_other_runtime 1\n" : "\nmission_control_other_runtime 0\n", true);
    assert_int_equal(process_has_output(&env->runtime, SEEN_WORDS), seen);
}

/* The environment's runtime is slow, the second one is fast and has a directory of its own. */
static void start_both(struct test_env *env, const char *gateway)
{
    char state[TMP_DIR_BYTES + 32];
    env->options.may_overlap = true;
    snprintf(state, sizeof state, "STATE_DIR=%s/second", env->dir);
    test_env_start_runtime(env, STRINGS("DELIVERY_INTERVAL=50", gateway));
    test_env_launch(env, &env->second, STRINGS(state, "DELIVERY_INTERVAL=50"), NULL);
    assert_true(process_wait_output(&env->second, "started successfully", TEST_WAIT_MS, NULL, 0));
    /* What the first complete page of each lists proves nothing. */
    test_env_wait_calls(env, "listUndeliveredNotifications", 10);
}

static void stop_both(struct test_env *env)
{
    test_env_stop_runtime(env);
    process_signal(&env->second, SIGTERM);
    assert_int_equal(process_wait_exit(&env->second, TEST_WAIT_MS), 0);
}

static void test_second_runtime_is_noticed_by_the_list(void **state)
{
    enum { SLOWER_MS = 4000 };
    struct test_env *env = *state;
    char setting[64];
    struct fault_proxy *proxy = fault_proxy_start(test_env_sandbox_port(env));
    snprintf(setting, sizeof setting, "OPENCLAW_GATEWAY_URL=http://127.0.0.1:%u",
        fault_proxy_port(proxy));
    start_both(env, setting);
    expect_seen(env, false);
    FAULT(proxy, .kind = FAULT_DELAY_ANSWER, .match = "## Notification",
        .delay_ms = (int64_t)SLOWER_MS * process_timeout_scale());
    board_hold_agents(env, "agent");
    json_decref(board_load(env, NOTIFICATIONS, NOTIFICATIONS));
    test_env_wait(env, "in_flight=8");
    board_clear_faults(env);
    test_env_wait_log(env, SEEN_WORDS);
    expect_seen(env, true);
    test_env_wait_words(env, "/metrics",
        "mission_control_other_runtime_traces_total{trace=\"delivered\"} 4\n", true);
    /* Nothing is done about it. */
    assert_int_equal(test_env_stat(env, "gateway", "deliveries"), 2 * NOTIFICATIONS);
    assert_int_equal(test_env_stat(env, NULL, "replies"), NOTIFICATIONS);
    FAULT(proxy, .kind = FAULT_NONE);
    json_decref(board_load(env, 1, 1));
    test_env_wait(env, "undelivered=0&delivered=5&deliveries=9");
    stop_both(env);
    assert_false(process_has_output(&env->second, SEEN_WORDS));
    fault_proxy_stop(proxy);
}

static size_t count_lines_with(struct process *process, const char *words)
{
    char *output = process_output(process);
    size_t count = 0;
    for (const char *at = output; (at = strstr(at, words)) != NULL; at++)
        count++;
    free(output);
    return count;
}

/*
 * Lets "one" answer several times. Both runtimes have posted before either marks, so that only the
 * words tell: of two replies to a notification the second was dropped. agents are asked each time.
 * A poller that was held up may miss some.
 */
static void post_before_marks(
    struct test_env *env, const char *reply, int agents, const char *words)
{
    talk_seed(env);
    board_set(env, json_pack("{s:b}", "gateway_numbers", 1));
    start_both(env, NULL);
    size_t found = 0;
    int round = 0;
    for (; round < NOTIFICATIONS || (found < NOTIFICATIONS - 1 && round < 3 * NOTIFICATIONS);
         round++) {
        char posted[96];
        talk_set_reply(env, "one", reply);
        board_backend_fault(env, json_pack("{s:s, s:s, s:s}", "action", "markNotificationDelivered",
                                     "behaviour", "hold", "name", "mark"));
        snprintf(posted, sizeof posted, "held=%d&action=createMessageFromAgent&calls=%ld",
            2 * agents, test_env_stat(env, "backend", "createMessageFromAgent") + 2L * agents);
        talk_post(env, "@one begin");
        test_env_wait(env, posted);
        board_clear_faults(env);
        test_env_wait(env, "undelivered=0");
        /* Both have forgotten it. */
        test_env_wait_calls(env, "listUndeliveredNotifications", 10);
        found = count_lines_with(&env->runtime, words) + count_lines_with(&env->second, words);
    }
    stop_both(env);
    assert_in_range(found, NOTIFICATIONS - 1, 9 * (size_t)round);
}

/* Another agent is asked about the reply that is there. */
static void test_second_runtime_is_noticed_by_its_messages(void **state)
{
    post_before_marks(*state, "@two your turn", 2, "is about a reply with other words than ours");
}

/* The next time, the thread has the reply that is there. */
static void test_second_runtime_is_noticed_in_threads(void **state)
{
    post_before_marks(*state, "done", 1, "has other words than the reply that was posted as it");
}

/* Single runtimes. */

static void expect_no_trace(struct test_env *env)
{
    test_env_wait_calls(env, "listUndeliveredNotifications", 4);
    expect_seen(env, false);
    test_env_wait_words(env, "/metrics",
        "mission_control_other_runtime_traces_total{trace=\"delivered\"} 0\n", true);
    test_env_wait_words(
        env, "/metrics", "mission_control_other_runtime_traces_total{trace=\"reply\"} 0\n", true);
}

/* Starts with an empty board, so that nothing is excused as that of an earlier process. */
static void start_alone(struct test_env *env)
{
    test_env_start_runtime(env, STRINGS("DELIVERY_INTERVAL=50"));
    test_env_wait_calls(env, "listUndeliveredNotifications", 2);
}

static void test_lost_answers_are_no_traces(void **state)
{
    static const char *const functions[] = {
        "markNotificationDelivered", "createMessageFromAgent", "getNotificationForDelivery"};
    static const char *const behaviours[] = {
        "drop_after", "status_after", "drop_mid_answer", "function_error"};
    struct test_env *env = *state;
    start_alone(env);
    for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++) {
        for (size_t j = 0; j < sizeof behaviours / sizeof behaviours[0]; j++)
            board_fail(env, functions[i], behaviours[j], NOTIFICATIONS);
        json_decref(board_load(env, 2 * NOTIFICATIONS, 2 * NOTIFICATIONS));
        test_env_wait(env, "undelivered=0");
        test_env_wait_calls(env, "listUndeliveredNotifications", 4);
        board_clear_faults(env);
    }
    expect_no_trace(env);
    test_env_stop_runtime(env);
}

/* Starts a runtime whose agents are all at work; returns their notifications, a new reference. */
static json_t *start_with_runs_in_flight(struct test_env *env)
{
    start_alone(env);
    board_hold_agents(env, "agent");
    json_t *rows = board_load(env, NOTIFICATIONS, NOTIFICATIONS);
    test_env_wait(env, "in_flight=4");
    return rows;
}

static void test_deleted_rows_are_no_traces(void **state)
{
    struct test_env *env = *state;
    size_t index;
    const json_t *row;
    json_t *rows = start_with_runs_in_flight(env);
    json_array_foreach (rows, index, row)
        json_decref(test_env_post(
            env, "/sandbox/delete", json_pack("{s:s}", "id", board_string(row, "id"))));
    test_env_wait_calls(env, "listUndeliveredNotifications", 3);
    long marks = test_env_stat(env, "backend", "markNotificationDelivered");
    board_clear_faults(env);
    char condition[96];
    snprintf(condition, sizeof condition, "action=markNotificationDelivered&calls=%ld",
        marks + NOTIFICATIONS);
    test_env_wait(env, condition);
    expect_no_trace(env);
    json_decref(rows);
    test_env_stop_runtime(env);
}

/* Marks of the process that was killed take effect while its successor is at work. */
static void test_late_marks_of_a_killed_process_are_no_traces(void **state)
{
    struct test_env *env = *state;
    size_t index;
    const json_t *row;
    json_t *rows = start_with_runs_in_flight(env);
    process_signal(&env->runtime, SIGKILL);
    process_wait_exit(&env->runtime, TEST_WAIT_MS);
    test_env_start_runtime(env, STRINGS("DELIVERY_INTERVAL=50"));
    test_env_wait(env, "deliveries=8");
    json_array_foreach (rows, index, row)
        backend_do(
            env, "markNotificationDelivered", "{'notificationId':'%s'}", board_string(row, "id"));
    test_env_wait_calls(env, "listUndeliveredNotifications", 3);
    board_clear_faults(env);
    test_env_wait(env, "replies=4");
    json_decref(board_load(env, NOTIFICATIONS, NOTIFICATIONS));
    test_env_wait(env, "undelivered=0&delivered=8");
    expect_no_trace(env);
    json_decref(rows);
    test_env_stop_runtime(env);
}

/* Claims. */

static void kill_with_reply_in_spool(struct test_env *env, char id[static ID_BYTES])
{
    board_set(env, json_pack("{s:b}", "gateway_numbers", 1));
    board_fail(env, "createMessageFromAgent", "status", -1);
    test_env_start_runtime(env, NULL);
    board_load_one(env, id);
    test_env_wait(env, "action=createMessageFromAgent&calls=1");
    process_signal(&env->runtime, SIGKILL);
    process_wait_exit(&env->runtime, TEST_WAIT_MS);
    board_clear_faults(env);
}

/* As after a task has moved to another node, which has delivered meanwhile, and back. */
static void test_old_spool_claims_no_delivery_of_another(void **state)
{
    struct test_env *env = *state;
    char id[ID_BYTES];
    char words[ID_BYTES + 64];
    char second[TMP_DIR_BYTES + 32];
    kill_with_reply_in_spool(env, id);
    snprintf(second, sizeof second, "STATE_DIR=%s/second", env->dir);
    test_env_start_runtime(env, STRINGS(second));
    test_env_wait(env, "undelivered=0");
    test_env_stop_runtime(env);
    test_env_start_runtime(env, NULL);
    snprintf(words, sizeof words, "Skipped %s", id);
    test_env_wait_log(env, words);
    test_env_wait_log(env, "reason=already_delivered");
    assert_false(process_has_output(&env->runtime, "reason=replied"));
    test_env_wait_words(
        env, "/metrics", "\nmission_control_notifications_delivered_total 0\n", true);
    assert_int_equal(test_env_stat(env, NULL, "replies"), 1);
    test_env_stop_runtime(env);
}

/* The thread of v1 shows whose reply it was. v0 does not, so there the end is nobody's. */
static void test_own_mark_before_the_end_of_a_process(void **state)
{
    struct test_env *env = *state;
    board_set(env, json_pack("{s:b}", "gateway_numbers", 1));
    board_backend_fault(env, json_pack("{s:s, s:s, s:s}", "action", "markNotificationDelivered",
                                 "behaviour", "hold_after", "name", "mark"));
    test_env_start_runtime(env, NULL);
    json_decref(board_load(env, 1, 1));
    test_env_wait(env, "held=1&delivered=1");
    process_signal(&env->runtime, SIGKILL);
    process_wait_exit(&env->runtime, TEST_WAIT_MS);
    board_clear_faults(env);
    test_env_start_runtime(env, NULL);
    test_env_wait_log(env, test_env_is_v1(env) ? "reason=replied" : "reason=already_delivered");
    assert_int_equal(test_env_stat(env, "gateway", "deliveries"), 1);
    test_env_stop_runtime(env);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_ON_BOTH(test_second_runtime_is_noticed_by_the_list),
        TEST_ON_BOTH(test_second_runtime_is_noticed_by_its_messages),
        TEST_IN_ENV_WITH(test_second_runtime_is_noticed_in_threads, .backend = "v1"),
        TEST_ON_BOTH(test_lost_answers_are_no_traces),
        TEST_ON_BOTH(test_deleted_rows_are_no_traces),
        TEST_ON_BOTH(test_late_marks_of_a_killed_process_are_no_traces),
        TEST_ON_BOTH(test_old_spool_claims_no_delivery_of_another),
        TEST_ON_BOTH(test_own_mark_before_the_end_of_a_process),
    };
    return cmocka_run_group_tests_name("other_runtime", tests, NULL, NULL);
}
