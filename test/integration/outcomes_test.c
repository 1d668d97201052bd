/*
 * How a notification ends when gateway and backend both misbehave: always with a note, a reply or a
 * dead letter.
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
#include <sys/stat.h>
#include <unistd.h>

#include "../lib/board.h"
#include "base/containers.h"

/* Refuses the first request to the agent once "refusal" is released. */
static void refuse_once_when_released(struct test_env *env)
{
    board_gateway_fault(env,
        json_pack("{s:s, s:b, s:s, s:i, s:i, s:{s:{s:s}}}", "name", "refusal", "hold", 1, "action",
            "status", "status", 400, "times", 1, "body_json", "error", "message", "not now"));
}

static void expect_content(struct test_env *env, const char *id, const char *words, bool expected)
{
    int count;
    json_t *messages = board_documents(env, "messages");
    const json_t *message = board_message_for(messages, id, &count);
    assert_int_equal(count, 1);
    assert_int_equal(strstr(board_string(message, "content"), words) != NULL, expected);
    json_decref(messages);
}

#define MESSAGE(text)                                                                      \
    "{\"type\":\"message\",\"role\":\"assistant\",\"content\":[{\"type\":\"output_text\"," \
    "\"text\":\"" text "\"}]}"

/* The gateway's answer to that notification. */
static void answer_with_output(struct test_env *env, const char *id, const char *items)
{
    json_t *output = json_loads(items, 0, NULL);
    assert_non_null(output);
    board_gateway_fault(
        env, json_pack("{s:{s:s}, s:s, s:{s:s, s:s, s:s, s:o}}", "match", "notification", id,
                 "action", "raw_body", "body_json", "id", "resp_1", "object", "response", "status",
                 "completed", "output", output));
}

/* All other shapes are those of test/unit/reply_test.c. */
static void test_only_what_agents_say_to_people_is_posted(void **state)
{
    static const struct {
        const char *items;
        const char *posted; /* NULL: nothing */
    } shapes[] = {
        {"[{\"type\":\"reasoning\",\"summary\":[{\"type\":\"summary_text\",\"text\":\"SECRET\"}],"
         "\"content\":[{\"type\":\"reasoning_text\",\"text\":\"SECRET\"}]}," MESSAGE("Seen.") "]",
            "Seen."},
        {"[{\"type\":\"message\",\"role\":\"assistant\",\"phase\":\"commentary\",\"content\":[{"
         "\"type\":"
         "\"output_text\",\"text\":\"Let me look.\"}]}," MESSAGE("Final.") "]",
            "Final."},
        {"[{\"type\":\"message\",\"role\":\"assistant\",\"content\":[{\"type\":\"refusal\","
         "\"refusal\":\"I cannot.\"}]}]",
            "I cannot."},
        {"[" MESSAGE("Nothing new.\\n\\nNO_REPLY") "]", "Nothing new."},
        {"[" MESSAGE("**no_reply.**") "]", NULL},
        {"[" MESSAGE("HEARTBEAT_OK") "]", NULL},
        {"[" MESSAGE("@ada No response from OpenClaw.") "]", NULL},
    };
    enum { SHAPES = sizeof shapes / sizeof shapes[0] };
    struct test_env *env = *state;
    int count;
    json_t *rows = board_load(env, SHAPES, SHAPES);
    for (size_t i = 0; i < SHAPES; i++)
        answer_with_output(env, board_string(json_array_get(rows, i), "id"), shapes[i].items);
    test_env_start_runtime(env, STRINGS("DELIVERY_MAX_RUNS=1"));
    test_env_wait(env, "undelivered=0");
    json_t *messages = board_documents(env, "messages");
    for (size_t i = 0; i < SHAPES; i++) {
        const json_t *message =
            board_message_for(messages, board_string(json_array_get(rows, i), "id"), &count);
        assert_int_equal(count, shapes[i].posted != NULL);
        if (shapes[i].posted != NULL)
            assert_string_equal(board_string(message, "content"), shapes[i].posted);
    }
    assert_int_equal(test_env_stat(env, "gateway", "deliveries"), SHAPES);
    /* v1 tells a placeholder from silence. */
    test_env_wait_words(env, "/metrics",
        test_env_is_v1(env) ? "mission_control_notifications_silent_total 2\n"
                            : "mission_control_notifications_silent_total 3\n",
        true);
    test_env_wait_log(env, "[Delivery] Silent ");
    test_env_wait_log(env, "reason=silent");
    json_decref(messages);
    json_decref(rows);
    test_env_stop_runtime(env);
}

/* Gateway refusals and backend errors have separate give-up deadlines, which must not mix. */
static void test_refusal_and_error_deadlines_do_not_mix(void **state)
{
    struct test_env *env = *state;
    char id[ID_BYTES];
    board_load_one(env, id);
    refuse_once_when_released(env);
    test_env_start_runtime(env, STRINGS("DELIVERY_GIVE_UP_AFTER_MS=600000"));
    test_env_wait(env, "held=1");
    board_fail(env, "getNotificationForDelivery", "function_error", 1);
    board_release(env, "refusal");
    test_env_wait(env, "undelivered=0");
    assert_int_equal(board_requests_for(env, id), 2);
    expect_content(env, id, "No reply", false);
    test_env_stop_runtime(env);
}

static void test_unreadable_notification_becomes_a_dead_letter(void **state)
{
    struct test_env *env = *state;
    char id[ID_BYTES];
    board_load_one(env, id);
    board_fail(env, "getNotificationForDelivery", "function_error", -1);
    test_env_start_runtime(env, STRINGS("DELIVERY_GIVE_UP_AFTER_MS=200"));
    test_env_wait_log(env, "moved to dead/");
    assert_int_equal(test_env_stat(env, NULL, "undelivered"), 1);
    assert_int_equal(test_env_stat(env, "gateway", "deliveries"), 0);
    test_env_stop_runtime(env);
}

/* The reason is known before the notification is marked, and must survive a retry of the mark. */
static void test_skip_reason_survives_a_failed_mark(void **state)
{
    struct test_env *env = *state;
    char id[ID_BYTES];
    char rest[512];
    char *metrics;
    json_t *rows = board_load(env, 1, 1);
    snprintf(id, sizeof id, "%s", board_string(json_array_get(rows, 0), "task"));
    json_decref(rows);
    json_decref(test_env_post(env, "/sandbox/delete", json_pack("{s:s}", "id", id)));
    board_backend_fault(
        env, json_pack("{s:s, s:s, s:i, s:i}", "action", "markNotificationDelivered", "behaviour",
                 "status", "status", 503, "times", 1));
    test_env_start_runtime(env, NULL);
    assert_true(process_wait_output(&env->runtime, "Skipped ", TEST_WAIT_MS, rest, sizeof rest));
    assert_non_null(strstr(rest, "reason=task_gone"));
    assert_int_equal(test_env_health_get(env, "/metrics", &metrics), 200);
    assert_non_null(strstr(metrics, "reason=\"task_gone\"} 1"));
    free(metrics);
    test_env_stop_runtime(env);
}

/* The task is known from an earlier read of the context, so the note can be written. */
static void test_notification_unreadable_after_a_refusal_ends_with_a_note(void **state)
{
    struct test_env *env = *state;
    char id[ID_BYTES];
    board_load_one(env, id);
    refuse_once_when_released(env);
    test_env_start_runtime(env, STRINGS("DELIVERY_GIVE_UP_AFTER_MS=300"));
    test_env_wait(env, "held=1");
    board_fail(env, "getNotificationForDelivery", "function_error", -1);
    board_release(env, "refusal");
    test_env_wait(env, "undelivered=0");
    expect_content(env, id, "the backend refused it for too long", true);
    test_env_stop_runtime(env);
}

/* A proxy's timeout is not a refusal: the agent was at work. */
static void test_proxy_timeout_counts_as_a_run(void **state)
{
    struct test_env *env = *state;
    char id[ID_BYTES];
    board_load_one(env, id);
    board_gateway_fault(env, json_pack("{s:s, s:i, s:i, s:s}", "action", "status", "status", 504,
                                 "latency_ms", 3200, "body", "gateway timeout"));
    test_env_start_runtime(env, STRINGS("DELIVERY_MAX_RUNS=1"));
    test_env_wait(env, "undelivered=0");
    assert_int_equal(board_requests_for(env, id), 1);
    expect_content(env, id, "No reply", true);
    test_env_stop_runtime(env);
}

/*
 * The backend rejects the reply, and the first move to dead/ fails. Whatever happens in between
 * must not drop it.
 */
static void test_reply_survives_a_failed_move_to_dead(void **state)
{
    struct test_env *env = *state;
    char id[ID_BYTES];
    char path[512];
    board_load_one(env, id);
    board_fail(env, "createMessageFromAgent", "function_error", -1);
    board_hold_agents(env, "agent");
    test_env_start_runtime(env, STRINGS("DELIVERY_GIVE_UP_AFTER_MS=200"));
    test_env_wait(env, "held=1");
    snprintf(path, sizeof path, "%s/state/dead/%s.json", env->dir, id);
    assert_int_equal(mkdir(path, 0700), 0);
    board_release(env, "agent");
    test_env_wait_log(env, "cannot move");
    test_env_wait(env, "undelivered=0");
    assert_int_equal(rmdir(path), 0);
    test_env_wait_log(env, "moved to dead/");
    assert_int_equal(access(path, F_OK), 0);
    assert_int_equal(board_requests_for(env, id), 1);
    test_env_stop_runtime(env);
}

/* The first signal asks for the shutdown that is in progress already. */
static void test_signal_during_a_requested_restart_aborts_nothing(void **state)
{
    struct test_env *env = *state;
    char id[ID_BYTES];
    board_load_one(env, id);
    board_hold_agents(env, "agent");
    test_env_start_runtime(env, STRINGS("HEALTH_CHECK_INTERVAL=50"));
    test_env_wait(env, "held=1");
    json_decref(test_env_post(env, "/sandbox/restart", json_object()));
    test_env_wait_log(env, "Shutting down... (requested by the backend)");
    test_env_wait_log(env, "wake-ups in flight");
    process_signal(&env->runtime, SIGTERM);
    board_release(env, "agent");
    assert_int_equal(process_wait_exit(&env->runtime, TEST_WAIT_MS), 0);
    assert_int_equal(test_env_stat(env, NULL, "replies"), 1);
    assert_int_equal(test_env_stat(env, NULL, "undelivered"), 0);
}

static void test_second_signal_during_a_requested_restart_exits_at_once(void **state)
{
    struct test_env *env = *state;
    char id[ID_BYTES];
    board_load_one(env, id);
    board_hold_agents(env, "agent");
    test_env_start_runtime(env, STRINGS("HEALTH_CHECK_INTERVAL=50"));
    test_env_wait(env, "held=1");
    json_decref(test_env_post(env, "/sandbox/restart", json_object()));
    test_env_wait_log(env, "wake-ups in flight");
    process_signal(&env->runtime, SIGTERM);
    process_signal(&env->runtime, SIGINT);
    /* If both are pending at once, the kernel delivers the lower number first. */
    int status = process_wait_exit(&env->runtime, TEST_WAIT_MS);
    assert_true(status == 128 + SIGINT || status == 128 + SIGTERM);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_ON_BOTH(test_only_what_agents_say_to_people_is_posted),
        TEST_ON_BOTH(test_refusal_and_error_deadlines_do_not_mix),
        TEST_ON_BOTH(test_unreadable_notification_becomes_a_dead_letter),
        TEST_ON_BOTH(test_notification_unreadable_after_a_refusal_ends_with_a_note),
        TEST_ON_BOTH(test_skip_reason_survives_a_failed_mark),
        TEST_ON_BOTH(test_proxy_timeout_counts_as_a_run),
        TEST_ON_BOTH(test_reply_survives_a_failed_move_to_dead),
        TEST_ON_BOTH(test_signal_during_a_requested_restart_aborts_nothing),
        TEST_ON_BOTH(test_second_signal_during_a_requested_restart_exits_at_once),
    };
    return cmocka_run_group_tests_name("outcomes", tests, NULL, NULL);
}
